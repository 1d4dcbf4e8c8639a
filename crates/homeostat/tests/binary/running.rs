//! A server while it runs: its configuration read again, its log turned up, and what its service manager is told.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::Test;
use crate::fleet::{Fleet, until};
use crate::processes::{self, Part};
use crate::wrong_input::{SMALL, refused};

pub(crate) const TESTS: &[Test] = &[
    ("a_configuration_is_taken_over_key_by_key_or_refused_whole", reloaded),
    ("the_log_says_more_for_a_while_and_in_json_where_that_is_asked_for", log_level),
    ("a_service_manager_is_told_of_start_life_reload_and_end", told),
    ("the_unit_for_systemd_is_one", unit),
];

fn reloaded() {
    let mut fleet = Fleet::up("", SMALL);
    fleet.serve_as_configured();
    let changed = |fleet: &Fleet| fleet.run(&["reload", "--json"]).json()["changed"].clone();
    assert_eq!(changed(&fleet), json!([]));
    let write = |fleet: &Fleet, text: &str| {
        fleet.write("homeostat.toml", text);
    };
    write(
        &fleet,
        "[policy.limits]\nat_a_time = 4\n[healing]\nscan_interval_seconds = 7\n[gateway]\nport = 4711\nrequests_per_second = 1\n",
    );
    let effect = |key: &str, effect: &str| json!({ "key": key, "effect": effect });
    let all = json!([
        effect("gateway.port", "at_restart"),
        effect("gateway.requests_per_second", "in_force"),
        effect("healing.scan_interval_seconds", "in_force"),
        effect("policy.limits.at_a_time", "in_force"),
    ]);
    assert_eq!(changed(&fleet), all);
    // What is in force changed no more; what waits goes on waiting, and is said again.
    assert_eq!(changed(&fleet), json!([effect("gateway.port", "at_restart")]));
    until("who asks more often than once a second is refused", || {
        match fleet.get("/api/v3/self-healing/issues") {
            Err(said) if said.contains("rate_limited") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });

    write(&fleet, "[policy.limits]\nat_a_time = 5\n\n[healing]\nscan_interval_seconds = 0\n");
    refused(&fleet.run(&["reload"]), 2, &["homeostat.toml:5", "scan_interval_seconds", "stays as it was"]);
    write(&fleet, "[policy.limits]\nat_a_time = 4\n[healing]\nscan_interval_seconds = 7\n");
    // Nothing of the refused one was taken over; and what waited is as at start again.
    assert_eq!(changed(&fleet), json!([effect("gateway.requests_per_second", "in_force")]));

    // A dry run is in force at once: nothing is repaired any more, and SIGHUP does the same as the command.
    write(&fleet, "[healing]\ndry_run = true\n");
    kill_process(pid(&fleet), Signal::HUP).unwrap();
    until("it says what changed", || {
        let said = fleet.said();
        if said.contains("healing.dry_run is in force") { Ok(()) } else { Err(said) }
    });
    let mode = fleet.dir.join("control.sock").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fleet.run(&["down"]).done();
    refused(&fleet.run(&["reload"]), 3, &["no control plane runs"]);
}

fn pid(fleet: &Fleet) -> Pid {
    let holder = store::holder(&fleet.dir).unwrap().unwrap();
    Pid::from_raw(i32::try_from(holder.pid).unwrap()).unwrap()
}

fn log_level() {
    let mut fleet = Fleet::up("[log]\nlevel = \"warn\"\nformat = \"json\"\n", SMALL);
    fleet.serve_as_configured();
    let turns = |fleet: &Fleet| fleet.said().matches("a turn took").count();
    assert_eq!(turns(&fleet), 0);
    // The while is short, and a machine that stands still may let it pass without a turn.
    until("a turn is told", || {
        fleet.run(&["log-level", "debug", "--for", "2s"]).done();
        if turns(&fleet) > 0 { Ok(()) } else { Err(fleet.said()) }
    });
    let said = fleet.said();
    let line = said.lines().find(|line| line.contains("a turn took")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["level"], &line["target"]), (&json!("debug"), &json!("heal::driver")), "{line}");
    // Each look is a turn; it says nothing of it any more.
    until("turns are made and not told", || {
        let before = turns(&fleet);
        for _ in 0..2 {
            let last = looked(&fleet);
            until("it looks again", || if looked(&fleet) != last { Ok(()) } else { Err(last.clone()) });
        }
        if turns(&fleet) == before { Ok(()) } else { Err("it still says them".to_owned()) }
    });
    refused_word(&fleet);
}

/// When the loop looked last.
fn looked(fleet: &Fleet) -> String {
    let services = fleet.get("/api/v3/self-healing/services").unwrap();
    services[0]["timestamp"].as_str().unwrap_or_default().to_owned()
}

fn refused_word(fleet: &Fleet) {
    let ran = fleet.run(&["log-level", "loud"]);
    assert!(ran.code == Some(2) && ran.err.contains("loud") && ran.err.contains("debug"), "{ran:#?}");
}

fn told() {
    let mut fleet = Fleet::up("", SMALL);
    let path = fleet.dir.parent().unwrap().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(crate::fleet::PATIENCE)).unwrap();
    let next = |wanted: &str| loop {
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).unwrap_or_else(|error| panic!("{wanted}: {error}"));
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        if text.lines().any(|line| line == wanted) {
            return text;
        }
    };
    processes::kill(fleet.the(&Part::ControlPlane));
    fleet.serve_with(&[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "4000000")]);
    next("READY=1");
    next("WATCHDOG=1");
    fleet.run(&["reload"]).done();
    assert!(next("RELOADING=1").contains("MONOTONIC_USEC="));
    next("READY=1");
    next("WATCHDOG=1");

    // The keeper stands still, and the loop with it: no sign of life until it goes on.
    let keeper = Pid::from_raw(i32::try_from(fleet.the(&Part::Keeper)).unwrap()).unwrap();
    kill_process(keeper, Signal::STOP).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
    until("the watchdog is fed no more", || match socket.recv(&mut [0; 4096]) {
        Err(_) => Ok(()),
        Ok(_) => Err("it is".to_owned()),
    });
    kill_process(keeper, Signal::CONT).unwrap();
    socket.set_read_timeout(Some(crate::fleet::PATIENCE)).unwrap();
    next("WATCHDOG=1");
    kill_process(pid(&fleet), Signal::TERM).unwrap();
    next("STOPPING=1");
}

fn unit() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/systemd/homeostat.service");
    let text = std::fs::read_to_string(unit).unwrap();
    for line in ["Type=notify", "ExecReload=", "WatchdogSec=", "KillMode=process"] {
        assert!(text.lines().any(|it| it.starts_with(line)), "{line}");
    }
    // The binary is where a package puts it; here it is the one that was built.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("homeostat.service");
    std::fs::write(&file, text.replace("/usr/local/bin/homeostat", crate::fleet::BINARY)).unwrap();
    match std::process::Command::new("systemd-analyze").arg("verify").arg(&file).output() {
        Err(_) => println!("skipped: no systemd-analyze"),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && !said.contains("homeostat.service:"), "{said}");
        }
    }
}
