//! A backup made while everything is written to, and what a restore of it is: all that was acknowledged before, or a
//! refusal that changes nothing.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::Clock;
use provider::clock::SystemClock;
use serde_json::{Value, json};

use crate::Test;
use crate::access::fed;
use crate::fleet::{Fleet, agent, until};
use crate::port::free_port;
use crate::wrong_input::{SMALL, contents, refused};

pub(crate) const TESTS: &[Test] = &[
    ("a_backup_under_load_holds_what_was_acknowledged_before_it_began", under_load),
    ("a_trail_that_is_lost_is_given_up_by_a_person_alone_and_the_new_one_says_so", set_aside),
    ("all_of_a_data_directory_is_in_a_backup_or_named_by_the_guide_as_left_out", nothing_is_forgotten),
    ("a_start_without_the_key_of_second_factors_says_whose_they_are_and_keeps_them", key_is_gone),
    ("a_backup_that_is_not_whole_or_has_no_place_changes_nothing", refusals),
];

/// What was acknowledged, by what is sent.
#[derive(Default)]
struct Acknowledged {
    /// Titles of posted events.
    events: BTreeSet<String>,
    /// Ids of traces with a span each.
    traces: BTreeSet<String>,
    /// Names of series.
    series: BTreeSet<String>,
}

fn under_load() {
    let (http, grpc) = (free_port(), free_port());
    let config = format!("[otlp]\nhttp_port = {http}\ngrpc_port = {grpc}\n");
    let fleet = Fleet::up(&config, SMALL);
    let (acknowledged, stop) = (Mutex::new(Acknowledged::default()), AtomicBool::new(false));
    let archive = fleet.dir.parent().unwrap().join("backup.tar.zst");
    let before = std::thread::scope(|threads| {
        threads.spawn(|| {
            (0..).take_while(|_| !stop.load(Ordering::Relaxed)).for_each(|n| {
                send(&fleet, http, n);
                let mut known = acknowledged.lock().unwrap();
                known.events.insert(format!("event {n}"));
                known.traces.insert(trace_id(n));
                known.series.insert(format!("series_{n}"));
            })
        });
        until("something is acknowledged", || match acknowledged.lock().unwrap().events.len() {
            20.. => Ok(()),
            few => Err(few.to_string()),
        });
        let before = std::mem::take(&mut *acknowledged.lock().unwrap());
        let made = fleet.run(&["backup", archive.to_str().unwrap(), "--json"]);
        stop.store(true, Ordering::Relaxed);
        assert!(made.json()["bytes"].as_u64().unwrap() > 0);
        before
    });
    fleet.run(&["down"]).done();

    let mut elsewhere = Fleet::new(&config);
    elsewhere.run(&["restore", archive.to_str().unwrap()]).done();
    // Every event that was posted is a record of the trail: it is whole before anything was started on it.
    let trail = elsewhere.run(&["audit", "verify", "--json"]).done().json();
    assert_eq!((&trail["holds"], &trail["records"]), (&json!(true), &trail["acknowledged"]), "{trail:#}");
    assert!(trail["records"].as_u64().unwrap() >= before.events.len() as u64, "{trail:#}");
    elsewhere.serve();
    let shown = elsewhere.get("/api/v3/observability/timeline?within=1h").unwrap().to_string();
    let lost: Vec<&String> =
        before.events.iter().filter(|title| !shown.contains(&format!("\"{title}\""))).collect();
    assert!(lost.is_empty(), "{lost:?} are not in {shown}");
    for trace in &before.traces {
        let found = elsewhere.get(&format!("/api/traces/{trace}")).unwrap();
        assert_eq!(found["data"][0]["traceID"], trace.as_str(), "{found}");
    }
    let names = elsewhere.get("/api/v1/label/__name__/values").unwrap();
    let names: BTreeSet<&str> =
        names["data"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let lost: Vec<&String> = before.series.iter().filter(|name| !names.contains(name.as_str())).collect();
    assert!(lost.is_empty(), "{lost:?} are not in {names:?}");
    // What was declared is brought up anew.
    until("the services are ready", || elsewhere.all_ready());
    elsewhere.run(&["down"]).done();
}

fn set_aside() {
    let mut fleet = Fleet::up("", SMALL);
    let words = ["audit", "set-aside", "--why", "the disk was damaged"];
    fleet.run(&["pause", "ticker", "--for", "10m"]).done();
    refused(&fleet.run(&words), 1, &["in use by the controller"]);
    fleet.run(&["down"]).done();
    let log = fleet.dir.join("audit/log");
    let segment = std::fs::read_dir(&log).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&segment).unwrap();
    std::fs::write(&segment, text.replacen("local token", "total token", 1)).unwrap();
    assert_ne!(std::fs::read_to_string(&segment).unwrap(), text);
    refused(&fleet.run(&["serve", "--any-port"]), 1, &["audit", "set-aside"]);

    fleet.run(&words).done();
    fleet.serve();
    let records = fleet.run(&["audit", "export"]).done().out;
    let first: Value = serde_json::from_str(records.lines().next().unwrap()).unwrap();
    assert_eq!(first["action"], "audit.set_aside");
    assert!(first["why"].as_str().unwrap().starts_with("the disk was damaged, kept as "), "{first}");
    assert_eq!(fleet.run(&["audit", "verify", "--json"]).done().json()["holds"], true);
    let kept = std::fs::read_dir(fleet.dir.join("set-aside")).unwrap().next().unwrap().unwrap().path();
    let kept = kept.join("audit/log").join(segment.file_name().unwrap());
    assert!(std::fs::read_to_string(kept).unwrap().contains("total token"), "it is kept as it was found");
    fleet.run(&["down"]).done();

    // One that is gone altogether.
    std::fs::remove_dir_all(fleet.dir.join("audit")).unwrap();
    refused(&fleet.run(&["serve", "--any-port"]), 1, &["audit"]);
    fleet.run(&words).done();
    fleet.serve();
    fleet.run(&["down"]).done();
}

fn trace_id(n: u32) -> String {
    format!("5b8efff798038103d269b633{n:08x}")
}

/// Sends an event, a span and a sample, each acknowledged.
fn send(fleet: &Fleet, http: u16, n: u32) {
    let title = format!("event {n}");
    fleet.post("/api/v3/observability/events", &json!({ "type": "incident", "title": title })).unwrap();
    let at = (SystemClock.now().wall_us * 1000).to_string();
    let span = json!({ "traceId": trace_id(n), "spanId": "eee19b7ec3c1b174", "name": "a",
        "startTimeUnixNano": at, "endTimeUnixNano": at });
    let gauge = json!({ "name": format!("series_{n}"),
        "gauge": { "dataPoints": [{ "timeUnixNano": at, "asInt": "3" }] } });
    for (path, body) in [
        ("traces", json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] })),
        ("metrics", json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [gauge] }] }] })),
    ] {
        let sent = agent().post(format!("http://127.0.0.1:{http}/v1/{path}")).send_json(&body).unwrap();
        assert_eq!(sent.status().as_u16(), 200, "{path}");
    }
}

/// What a backup leaves out, as the guide names it: by how a path below the data directory begins, or ends.
const LEFT_OUT: [&str; 14] = [
    "keeper/volumes/",
    "keeper/logs/",
    "keeper/keeper.log",
    "keeper/requests.log",
    "control-plane.log",
    "keeper/keeper.sock",
    "control.sock",
    "address",
    "page-address",
    "otlp-endpoint",
    "lock",
    "reserve",
    "homeostat.db-wal",
    "homeostat.db-shm",
];

fn nothing_is_forgotten() {
    let fleet = Fleet::up("", SMALL);
    let guide = include_str!("../../../../docs/guides/backup-and-reload.md");
    for what in LEFT_OUT {
        assert!(guide.contains(&format!("`{what}`")), "the guide does not say that {what} is left out");
    }
    std::fs::create_dir(fleet.dir.join("drills")).unwrap();
    std::fs::write(fleet.dir.join("drills/20261122T070712Z-41.json"), "{}").unwrap();
    let archive = fleet.dir.parent().unwrap().join("backup.tar.zst");
    fleet.run(&["backup", archive.to_str().unwrap()]).done();
    fleet.run(&["down"]).done();
    let restored = Fleet::new("");
    restored.run(&["restore", archive.to_str().unwrap()]).done();
    let (all, kept) = (contents(&fleet.dir), contents(&restored.dir));
    assert!(kept.contains_key("access.key") && kept["access.key"] == all["access.key"]);
    // Telemetry is rewritten all the time under other names, and has its own tests of what a copy holds.
    let is_rewritten = |name: &str| name.starts_with("telemetry/") || name.starts_with("metrics/");
    let is_left_out = |name: &str| {
        LEFT_OUT.iter().any(|one| {
            name == *one
                || (one.ends_with('/') && name.starts_with(one))
                || name.ends_with(&format!("/{one}"))
        })
    };
    let forgotten: Vec<&String> = all
        .keys()
        .filter(|name| !kept.contains_key(*name) && !is_rewritten(name) && !is_left_out(name))
        .collect();
    assert!(forgotten.is_empty(), "neither in the backup nor said to be left out: {forgotten:?}");
}

fn key_is_gone() {
    let mut fleet = Fleet::up("", SMALL);
    fed(&fleet, &["users", "create", "ada", "--role", "viewer"], "correct horse battery\n").done();
    fleet.run(&["down"]).done();
    let sealed = store::SealedSecret(vec![7; 48]);
    let opened = store::Store::open(&fleet.dir).unwrap();
    assert!(opened.set_totp_pending("ada", &sealed).unwrap());
    assert!(opened.confirm_totp("ada", &sealed, 1, &[]).unwrap());
    drop(opened);
    std::fs::remove_file(fleet.dir.join("access.key")).unwrap();
    fleet.serve();
    let said = fleet.said();
    for word in ["codes of authenticators cannot be checked for ada", "recovery code", "access.key"] {
        assert!(said.contains(word), "{word:?} is not said: {said}");
    }
    fleet.run(&["down"]).done();
    let kept = store::Store::open(&fleet.dir).unwrap().user("ada").unwrap().unwrap();
    assert_eq!(kept.totp, Some(sealed));
}

fn refusals() {
    let mut fleet = Fleet::new("[otlp]\nenabled = false\n");
    let archive = fleet.dir.parent().unwrap().join("backup.tar.zst");
    let file = archive.to_str().unwrap();
    refused(&fleet.run(&["backup", file]), 2, &["holds no data"]);
    assert!(!archive.exists());
    let services = fleet.write("fleet.yaml", SMALL);
    fleet.run(&["up", services.to_str().unwrap()]).done();
    fleet.run(&["backup", file, "--without-telemetry"]).done();
    let whole = std::fs::read(&archive).unwrap();
    refused(&fleet.run(&["backup", file]), 2, &[file, "name another file"]);
    assert!(std::fs::read(&archive).unwrap() == whole, "it was written over");
    // What is in the way is of no interest before there is a backup.
    let home = fleet.dir.parent().unwrap();
    for (named, why) in [(home.join("none.tar.zst"), "No such file"), (home.to_owned(), "directory")] {
        let ran = fleet.run(&["restore", named.to_str().unwrap()]);
        refused(&ran, 2, &[named.to_str().unwrap(), why, "homeostat backup"]);
        assert!(!ran.err.contains("--replace"), "{ran:#?}");
    }
    refused(&fleet.run(&["restore", file]), 2, &["is not empty", "--replace"]);
    refused(&fleet.run(&["restore", file, "--replace"]), 2, &["is in use", "homeostat down"]);
    fleet.run(&["down"]).done();

    // A byte that changed anywhere, or an end that is missing, is found before anything is touched.
    let before = contents(&fleet.dir);
    let unpacked = zstd::decode_all(&whole[..]).unwrap();
    let wrong = fleet.dir.parent().unwrap().join("wrong.tar.zst");
    for at in (0..whole.len()).step_by(whole.len() / 20 + 1) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&wrong, &bytes).unwrap();
        // Of a few bits nothing depends that is packed.
        if zstd::decode_all(&bytes[..]).ok() != Some(unpacked.clone()) {
            refused(
                &fleet.run(&["restore", wrong.to_str().unwrap(), "--replace"]),
                1,
                &["nothing was restored"],
            );
        }
        std::fs::write(&wrong, &whole[..at]).unwrap();
        refused(&fleet.run(&["restore", wrong.to_str().unwrap(), "--replace"]), 1, &["nothing was restored"]);
    }
    assert!(contents(&fleet.dir) == before, "a restore that was refused changed something");

    fleet.run(&["restore", file, "--replace"]).done();
    let beside: Vec<String> = fleet
        .dir
        .parent()
        .unwrap()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("restore") || name.contains("unfinished"))
        .collect();
    assert!(beside.is_empty(), "left behind: {beside:?}");
    fleet.serve();
}
