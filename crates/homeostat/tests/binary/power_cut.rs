//! What a power cut would leave of a data directory that was just made and acknowledged something: every name in it is on the
//! disk by then, and no file got its name before what is in it. What a killed process left is put there by the next.
//!
//! The system's calls are looked at (strace), since the machine the test runs on cannot be cut off. A file system may keep more
//! than was asked for, most do; none has to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use domain::Clock;
use provider::clock::SystemClock;
use serde_json::json;

use crate::Test;
use crate::fleet::{Fleet, agent, until};
use crate::port::free_port;
use crate::processes;

pub(crate) const TESTS: &[Test] =
    &[("what_is_acknowledged_has_its_names_on_the_disk_also_behind_a_process_that_was_killed", names)];

/// The calls that make names, and those that put them on the disk.
const CALLS: &str = "trace=mkdir,mkdirat,open,openat,creat,rename,renameat,renameat2,fsync,fdatasync";

/// What a start makes anew: locks, logs, and where it can be found. Room for a full disk, and SQLite's index of its log.
const ANEW: [&str; 8] =
    ["lock", "keeper.log", "address", "otlp", "reserve", "homeostat.db-shm", "otlp-endpoint", "logs"];

/// What is on the disk of the names below a directory, by the calls of those who made them.
struct Disk {
    below: PathBuf,
    /// Made, and not on the disk.
    unsynced: BTreeSet<PathBuf>,
    /// Files that were made or emptied, and not synced since.
    unwritten: BTreeSet<PathBuf>,
    /// Files that took their name while they were not written.
    early: Vec<PathBuf>,
    known: BTreeSet<PathBuf>,
    /// Files and directories that were synced.
    synced: BTreeSet<PathBuf>,
}

impl Disk {
    fn after(calls: &str, below: &Path) -> Self {
        let (unsynced, unwritten, early, known, synced) = Default::default();
        let mut disk = Self { below: below.to_owned(), unsynced, unwritten, early, known, synced };
        let mut unfinished: BTreeMap<&str, &str> = BTreeMap::new();
        for line in calls.lines() {
            let Some((process, call)) = line.split_once(' ') else { continue };
            let call = call.trim_start();
            if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
                unfinished.insert(process, begun);
            } else if let Some((_, rest)) = call.split_once(" resumed>") {
                let begun = unfinished.remove(process).unwrap_or_default();
                disk.see(&format!("{begun}{rest}"));
            } else {
                disk.see(call);
            }
        }
        disk
    }

    fn see(&mut self, call: &str) {
        let Some((name, rest)) = call.split_once('(') else { return };
        let Some((arguments, result)) = rest.rsplit_once(" = ") else { return };
        if result.starts_with('-') {
            return;
        }
        // What strace says of a file that is open: 7</path>.
        let opened = |text: &str| {
            PathBuf::from(
                text.split_once('<').map_or("", |(_, path)| path.trim_end().trim_end_matches(['>', ')'])),
            )
        };
        let quoted: Vec<PathBuf> = arguments.split('"').skip(1).step_by(2).map(PathBuf::from).collect();
        match (name, &quoted[..]) {
            ("mkdir" | "mkdirat", [dir]) => self.made(dir),
            ("creat" | "open" | "openat", [_]) if arguments.contains("O_CREAT") || name == "creat" => {
                let file = opened(result);
                if !self.known.contains(&file) || arguments.contains("O_TRUNC") {
                    self.unwritten.insert(file.clone());
                }
                self.made(&file);
            }
            ("rename" | "renameat" | "renameat2", [from, to]) => {
                if self.unwritten.remove(from) {
                    self.early.push(to.clone());
                }
                self.unsynced.remove(from);
                self.known.remove(from);
                self.known.remove(to);
                self.made(to);
            }
            ("fsync" | "fdatasync", []) => {
                let synced = opened(arguments);
                self.unwritten.remove(&synced);
                self.unsynced.retain(|path| path.parent() != Some(&synced));
                self.synced.insert(synced);
            }
            _ => {}
        }
    }

    /// Makes a name, if it is new and below the directory.
    fn made(&mut self, path: &Path) {
        if path.starts_with(&self.below) && self.known.insert(path.to_owned()) {
            self.unsynced.insert(path.to_owned());
        }
    }
}

/// Serves on the data directory, with the calls of all its processes in a file.
fn traced(fleet: &Fleet, calls: &Path) -> Child {
    let serve = fleet.command(&["serve", "--any-port"]);
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-y", "-s", "4096", "-e", CALLS, "-o"]).arg(calls);
    traced.arg(serve.get_program()).args(serve.get_args());
    for (name, _) in serve.get_envs() {
        traced.env_remove(name);
    }
    let traced = traced.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("it answers", || fleet.get("/health"));
    traced
}

fn names() {
    let works =
        Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    if !works.is_ok_and(|status| status.success()) {
        println!("skipped: no strace");
        return;
    }
    let (http, grpc) = (free_port(), free_port());
    let mut fleet = Fleet::new(&format!("[otlp]\nhttp_port = {http}\ngrpc_port = {grpc}\n"));
    let home = fleet.dir.parent().unwrap().to_owned();
    let (made, calls) = (home.join("made"), home.join("calls"));
    fleet.dir = made.join("by/itself");
    let mut first = traced(&fleet, &calls);
    acknowledge(&fleet, http);
    let disk = Disk::after(&std::fs::read_to_string(&calls).unwrap(), &made);
    // Whoever traces it has its words as well.
    let lock = std::fs::read_to_string(fleet.dir.join("lock")).unwrap();
    processes::kill(lock.trim().parse().unwrap());
    let _ = std::fs::remove_file(fleet.dir.join("address"));

    assert!(disk.early.is_empty(), "{:?} had their names before their content", disk.early);
    let lasting = |path: &&PathBuf| {
        disk.known.contains(*path)
            && !path.components().any(|part| ANEW.iter().any(|name| part.as_os_str() == *name))
    };
    let lost: Vec<&PathBuf> = disk.unsynced.iter().filter(lasting).collect();
    assert!(lost.is_empty(), "a power cut may take back {lost:#?}");
    let filled = |path: &&PathBuf| path.metadata().is_ok_and(|file| file.len() > 0);
    let empty: Vec<&PathBuf> = disk.unwritten.iter().filter(lasting).filter(filled).collect();
    assert!(empty.is_empty(), "a power cut may empty {empty:#?}");
    for name in ["", "homeostat.db", "token", "audit/head", "telemetry/hot", "metrics/log", "keeper"] {
        assert!(disk.known.contains(&fleet.dir.join(name)), "{name} was looked at: {:#?}", disk.known);
    }

    // What a killed process left may be in memory alone. It counts from now on, so the disk has to keep it first.
    let again = home.join("calls-again");
    let mut second = traced(&fleet, &again);
    let disk = Disk::after(&std::fs::read_to_string(&again).unwrap(), &made);
    let mut unsynced = vec!["", "homeostat.db", "audit", "audit/head", "audit/keys", "audit/log", "metrics"];
    unsynced.extend(["telemetry/archive", "telemetry/cold"]);
    // Without a slash at its end, as strace writes it.
    let path = |name: &str| fleet.dir.join(name).components().collect::<PathBuf>();
    unsynced.retain(|name| !disk.synced.contains(&path(name)));
    assert!(unsynced.is_empty(), "{unsynced:?} are not among {:#?}", disk.synced);
    fleet.run(&["down"]).done();
    let _ = (first.wait(), second.wait());
}

/// Has a record of the trail and a row of the database acknowledged, a span and a sample.
fn acknowledge(fleet: &Fleet, http: u16) {
    let event = json!({ "type": "incident", "title": "an event" });
    fleet.post("/api/v3/observability/events", &event).unwrap();
    let at = (SystemClock.now().wall_us * 1000).to_string();
    let span = json!({ "traceId": "5b8efff798038103d269b63300000001", "spanId": "eee19b7ec3c1b174", "name": "a",
        "startTimeUnixNano": at, "endTimeUnixNano": at });
    let gauge =
        json!({ "name": "a_series", "gauge": { "dataPoints": [{ "timeUnixNano": at, "asInt": "3" }] } });
    for (path, body) in [
        ("traces", json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] })),
        ("metrics", json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [gauge] }] }] })),
    ] {
        let sent = agent().post(format!("http://127.0.0.1:{http}/v1/{path}")).send_json(&body).unwrap();
        assert_eq!(sent.status().as_u16(), 200, "{path}");
    }
}
