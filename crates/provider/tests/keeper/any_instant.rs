//! The keeper killed at random instants while faults, repairs and crashes go on.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use domain::{Attachment, Fault, FaultKind, FileClass, PathScope, Percent, StopManner};
use serde_json::{Value, json};

use crate::fleet::{Fleet, Test, fault, get, kill, named, runs, state, token, until};

const SHOP: &str = "  cart:\n    command: [\"{homeostat}\", service, serve]\n    listens: http\n    replicas: 2\n    limits: {cpu: 0.3}\n    volume: {size: 8MiB}\n    restart: {settled: 10ms, initial: 20ms, max: 50ms}\n  front:\n    command: [\"{homeostat}\", service, idle]\n    dependencies: [cart]\n";

const ROUNDS: usize = 25;

pub(crate) const TESTS: &[Test] =
    &[("whenever_the_keeper_dies_the_next_one_has_every_instance_once_and_no_fault", any_instant)];

fn any_instant() {
    let fleet = Fleet::up(SHOP);
    let seed = 20_261_121;
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..ROUNDS {
        let first = fleet.ready("cart-0");
        fleet.ready("cart-1");
        let requests = disturbance(&fleet, &mut random);
        send(&fleet, &requests);
        if random.bool() {
            kill(first, "KILL");
        }
        std::thread::sleep(Duration::from_micros(random.u64(0..25_000)));
        fleet.kill_keeper();
        let context = format!("seed {seed}, round {round}, {requests:?}");
        let pids = [fleet.ready("cart-0"), fleet.ready("cart-1")];
        until(&format!("no fault is left ({context})"), || {
            let calm =
                pids.iter().all(|pid| state(*pid) != Some('T')) && processes(&fleet, "stress").is_empty();
            (calm && fillers(&fleet) == 0).then_some(())
        });
        until(&format!("each instance runs once ({context})"), || {
            (processes(&fleet, "serve").len() == 2 && processes(&fleet, "idle").len() == 1).then_some(())
        });
        until(&format!("the link serves ({context})"), || {
            let listener = fleet.ask(json!({"link": {"link": "front->cart"}})).ok()?;
            let address: std::net::SocketAddr = listener["address"].as_str()?.parse().ok()?;
            get(address.port(), "/").ok()?.parse::<u32>().ok().filter(|pid| runs(*pid))
        });
    }
}

fn disturbance(fleet: &Fleet, random: &mut fastrand::Rng) -> Vec<Value> {
    let expected = fleet.instance("cart-1").incarnation;
    let cpu = FaultKind::CpuStress { load: Percent(50.0), attachment: Attachment::Attached };
    let disk = FaultKind::DiskFill { fill: Percent(80.0), class: FileClass::Data, ramp: Duration::ZERO };
    let delay = Duration::from_millis(50);
    let latency = FaultKind::NetworkLatency { delay, jitter: Duration::ZERO, scope: PathScope::All };
    let all = [
        fault("instance/cart-1", FaultKind::Pause, 60),
        fault("instance/cart-1", cpu, 60),
        fault("volume/cart-1", disk, 60),
        fault("link/front->cart", latency, 60),
        fault("instance/cart-1", FaultKind::PodKill, 60),
    ];
    let inject = |fault: &Fault| json!({"inject": {"token": token(), "fault": fault, "expected": expected}});
    let mut chosen: Vec<Value> = all.iter().filter(|_| random.bool()).map(inject).collect();
    if random.bool() {
        chosen.push(json!({"restart": {"token": token(), "instance": "cart-1", "expected": expected,
            "manner": StopManner::Drain}}));
    }
    chosen
}

/// Sends without waiting for answers: the keeper may die in any of them.
fn send(fleet: &Fleet, requests: &[Value]) {
    for request in requests {
        let mut stream = UnixStream::connect(fleet.dir.path().join("keeper/keeper.sock")).unwrap();
        writeln!(stream, "{}\n{request}", json!({"hello": {"version": 1}})).unwrap();
        // Kept open by a thread that reads until the keeper is gone.
        std::thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
    }
}

fn fillers(fleet: &Fleet) -> usize {
    let volume = fleet.provider.volume_path(&named("cart-1")).unwrap();
    let entries = std::fs::read_dir(volume).unwrap().filter_map(Result::ok);
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("homeostat-fill")).count()
}

/// The living processes of this fleet with a word in their command line.
fn processes(fleet: &Fleet, word: &str) -> Vec<u32> {
    let mark = format!("HOMEOSTAT_KEEPER={}/keeper", fleet.dir.path().canonicalize().unwrap().display());
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    let parts = |pid: u32, file: &str| {
        let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        bytes
            .split(|byte| *byte == 0)
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .collect::<Vec<_>>()
    };
    let ours = |pid: &u32| {
        parts(*pid, "environ").contains(&mark) && parts(*pid, "cmdline").iter().any(|part| part == word)
    };
    pids.filter(ours).filter(|pid| runs(*pid)).collect()
}
