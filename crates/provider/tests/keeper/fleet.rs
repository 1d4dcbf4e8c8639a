//! A fleet in a directory of its own, and the raw protocol for what only a cleared step may do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use domain::snapshot::{InstanceState, Phase};
use domain::{Action, Fault, FaultKind, IdSource, InstanceName, Step, StepToken, Time, Undo};
use provider::{Look, ProcessProvider};
use serde_json::{Value, json};

pub(crate) use crate::harness::Test;

/// Long enough for a busy machine; nothing waits this long unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// What services that are said to settle declare as `restart.settled`.
const SETTLED: Duration = Duration::from_millis(50);

pub(crate) struct Fleet {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) provider: ProcessProvider,
}

impl Fleet {
    /// Brings up the services of a YAML text below `services:`.
    pub(crate) fn up(services: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let provider = ProcessProvider::open(dir.path()).unwrap();
        let fleet = Self { dir, provider };
        fleet.provider.up(&declared(services)).unwrap();
        fleet
    }

    pub(crate) fn instance(&self, name: &str) -> InstanceState {
        self.find(name).unwrap_or_else(|| panic!("there is no {name}"))
    }

    pub(crate) fn find(&self, name: &str) -> Option<InstanceState> {
        self.provider.sample().unwrap().services.values().find_map(|s| s.instances.get(&named(name)).cloned())
    }

    pub(crate) fn pid(&self, name: &str) -> u32 {
        self.instance(name).incarnation.expect("it runs").pid
    }

    /// Waits until the instance is ready and gives its process id.
    pub(crate) fn ready(&self, name: &str) -> u32 {
        until(&format!("{name} is ready"), || {
            let seen = self.find(name)?;
            (seen.phase == Phase::Ready).then(|| seen.incarnation.map(|it| it.pid))?
        })
    }

    /// Waits until the instance has been ready for [`SETTLED`], so that its next end is its first, and gives its
    /// process id.
    pub(crate) fn settled(&self, name: &str) -> u32 {
        until(&format!("{name} has settled"), || {
            let sample = self.provider.sample().unwrap();
            let seen = sample.services.values().find_map(|service| service.instances.get(&named(name)))?;
            let is_settled = seen.phase == Phase::Ready && sample.taken.since(seen.phase_since) >= SETTLED;
            seen.incarnation.as_ref().filter(|_| is_settled).map(|it| it.pid)
        })
    }

    /// Asks the instance itself.
    pub(crate) fn get(&self, name: &str, path: &str) -> String {
        // What has to be answered may take its time: in an emulated machine, with a CPU limit, seconds.
        get_within(Duration::from_secs(20), self.instance(name).port.expect("it listens"), path).unwrap()
    }

    /// One request over the socket, as a control plane would send it.
    pub(crate) fn ask(&self, request: Value) -> Result<Value, Value> {
        let stream = UnixStream::connect(self.dir.path().join("keeper/keeper.sock")).unwrap();
        let mut lines = BufReader::new(stream);
        let mut answer = Value::Null;
        for request in [json!({"hello": {"version": 1}}), request] {
            writeln!(lines.get_mut(), "{request}").unwrap();
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            answer = serde_json::from_str(&line).unwrap();
        }
        match answer.get("ok") {
            Some(value) => Ok(value.clone()),
            None => Err(answer["refused"].clone()),
        }
    }

    pub(crate) fn inject(&self, token: StepToken, fault: &Fault) -> Result<Value, Value> {
        let expected = fault.target.instance().and_then(|name| self.instance(&name.to_string()).incarnation);
        self.ask(json!({"inject": {"token": token, "fault": fault, "expected": expected}}))
    }

    pub(crate) fn kill_keeper(&self) {
        let pid = self.provider.keeper_pid().unwrap();
        kill(pid, "KILL");
        until("the keeper is dead", || (!runs(pid)).then_some(()));
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Err(error) = self.provider.down() {
            eprintln!("the fleet did not go down: {error}");
        }
        let mark = format!("HOMEOSTAT_KEEPER={}", self.dir.path().canonicalize().unwrap().display());
        let left = || processes_with(&mark);
        let deadline = Instant::now() + PATIENCE;
        while !left().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let left = left();
        if !left.is_empty() && !std::thread::panicking() {
            panic!("left behind: {left:?}");
        }
    }
}

pub(crate) fn declared(services: &str) -> domain::Infrastructure {
    provider::manifest::parse("test.yaml", &format!("name: test\nservices:\n{services}")).unwrap()
}

pub(crate) fn named(name: &str) -> InstanceName {
    name.parse().unwrap()
}

pub(crate) fn token() -> StepToken {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let seed = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    StepToken { plan: IdSource::seeded(seed).next(Time { boot_us: 0, wall_us: 0 }), index: 0 }
}

pub(crate) fn fault(target: &str, kind: FaultKind, seconds: u64) -> Fault {
    Fault { target: target.parse().unwrap(), kind, duration: Duration::from_secs(seconds) }
}

/// The step that injects a fault.
pub(crate) fn step(fault: &Fault) -> Step {
    Step { action: Action::Inject(fault.clone()), undo: Undo::Exact, timeout: PATIENCE }
}

/// Polls until there is a value.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn get(port: u16, path: &str) -> std::io::Result<String> {
    get_within(Duration::from_secs(10), port, path)
}

fn get_within(limit: Duration, port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(limit))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .ok_or(std::io::ErrorKind::InvalidData.into())
}

pub(crate) fn kill(pid: u32, signal: &str) {
    let done = std::process::Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
    assert!(done.unwrap().success());
}

pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 2..].chars().next()
}

pub(crate) fn runs(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

fn processes_with(mark: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let marked = entries.filter(|entry| {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|part| {
            String::from_utf8_lossy(part).strip_prefix(mark).is_some_and(|rest| rest == "/keeper")
        })
    });
    marked.map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default()).collect()
}
