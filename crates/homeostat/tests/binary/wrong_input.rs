//! Wrong input: a clear sentence on stderr, the documented exit code, nothing half done.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;

use crate::Test;
use crate::fleet::{Fleet, Ran, until};
use crate::processes::Part;

pub(crate) const TESTS: &[Test] = &[
    ("a_bad_infrastructure_file_is_named_by_line_and_field_and_starts_nothing", bad_infrastructure),
    ("an_unknown_key_of_the_configuration_is_named_by_line_and_starts_nothing", unknown_key),
    ("what_does_not_exist_or_cannot_be_done_is_refused_by_name", unknown_and_impossible),
    ("an_occupied_port_is_named_and_nothing_is_started", occupied_port),
    ("a_second_controller_is_refused_and_the_first_goes_on", second_controller),
    ("a_newer_data_directory_is_refused_and_stays_as_it_is", newer_schema),
    ("serve_where_nothing_was_ever_up_leaves_nothing", nothing_up),
    ("a_full_disk_is_named_and_nothing_is_started", full_disk),
    ("what_is_not_there_is_told_with_the_command_that_lists_what_there_is", listed_by_commands),
    ("a_file_that_the_configuration_names_is_checked_before_a_start", named_files),
    ("what_works_on_this_machine_refuses_to_be_meant_for_a_server", meant_for_a_server),
];

pub(crate) const SMALL: &str =
    "name: small\nservices:\n  ticker:\n    command: [/bin/sleep, \"1000\"]\n    replicas: 2\n";

/// One sentence for people: no debug output, no panic, and the words that say what was wrong.
#[track_caller]
pub(crate) fn refused(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, Some(code), "{ran:#?}");
    assert!(ran.err.starts_with("homeostat: "), "{ran:#?}");
    for word in words {
        assert!(ran.err.contains(word), "{word:?} is not said: {ran:#?}");
    }
    for noise in ["panicked", "Err(", "Error {", "RUST_BACKTRACE"] {
        assert!(!ran.err.contains(noise), "{ran:#?}");
    }
}

/// Every file of a directory with its bytes; what only says who held a lock last is left out.
pub(crate) fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).unwrap().filter_map(Result::ok) {
            let path = entry.path();
            let name = path.strip_prefix(dir).unwrap().display().to_string();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() && name != "lock" && !name.ends_with(".log") {
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// A directory in which a fleet was up and is down again.
pub(crate) fn used() -> Fleet {
    let fleet = Fleet::up("", SMALL);
    fleet.run(&["down"]).done();
    fleet
}

#[track_caller]
pub(crate) fn nothing_runs(fleet: &Fleet) {
    let left = fleet.processes();
    assert!(left.is_empty(), "still runs: {left:#?}");
}

pub(crate) fn up(fleet: &Fleet, infrastructure: &str) -> Ran {
    let file = fleet.write("fleet.yaml", infrastructure);
    fleet.run(&["up", file.to_str().unwrap()])
}

fn bad_infrastructure() {
    let fleet = Fleet::new("");
    let cases: [(&str, &[&str]); 4] = [
        (
            "name: small\nservices:\n  cart:\n    command: [sleep]\n    replicsa: 2\n",
            &["fleet.yaml:5:", "replicsa"],
        ),
        (
            "name: small\nservices:\n  cart:\n    command: [sleep]\n    replicas: many\n",
            &["fleet.yaml:5:", "services.cart.replicas"],
        ),
        (
            "name: small\nservices:\n  cart:\n    command: [sleep]\n    dependencies: [database]\n",
            &["fleet.yaml:5:", "services.cart.dependencies", "database"],
        ),
        (
            "name: small\nservices:\n  cart:\n    command: [sleep]\n    replicas: 0\n",
            &["fleet.yaml:5:", "services.cart.replicas"],
        ),
    ];
    for (text, words) in cases {
        refused(&up(&fleet, text), 2, words);
        nothing_runs(&fleet);
        assert!(contents(&fleet.dir).is_empty(), "{:?}", contents(&fleet.dir).keys());
    }
    refused(&fleet.run(&["up", "not-there.yaml"]), 2, &["not-there.yaml", "No such file"]);
    // A command that does not exist on this machine is known before anything is started.
    let missing = up(&fleet, "name: small\nservices:\n  cart:\n    command: [/no/such/program]\n");
    assert_ne!(missing.code, Some(0), "{missing:#?}");
    assert!(missing.err.contains("/no/such/program"), "{missing:#?}");
    nothing_runs(&fleet);
}

fn unknown_key() {
    let fleet = Fleet::new("[healing]\nscan_interval_seconds = 30\nscan_intervall = 3\n");
    let file = fleet.write("fleet.yaml", SMALL);
    for words in
        [vec!["serve", "--any-port"], vec!["up", file.to_str().unwrap()], vec!["demo"], vec!["drill"]]
    {
        refused(&fleet.run(&words), 2, &["homeostat.toml:3:", "scan_intervall"]);
        nothing_runs(&fleet);
        assert!(contents(&fleet.dir).is_empty(), "{:?}", contents(&fleet.dir).keys());
    }
    refused(&fleet.run(&["config", "check"]), 2, &["homeostat.toml:3:", "scan_intervall"]);
}

fn unknown_and_impossible() {
    // Whatever the machine has: without held limits there is no stress beside an instance.
    let small = SMALL.replace("services:", "cpu_limits: reference\nservices:");
    let fleet = Fleet::up("", &small);
    until("every instance is ready", || fleet.all_ready());
    let pids = ["ticker-0", "ticker-1"].map(|name| fleet.pid(name));
    let inject = |words: &[&str]| fleet.run(&[&["chaos", "inject"], words, &["--for", "30s"]].concat());
    refused(&inject(&["pause", "--target", "instance/ticker-7"]), 2, &["instance/ticker-7"]);
    refused(&inject(&["pause", "--target", "instance/nobody-0"]), 2, &["instance/nobody-0"]);
    refused(&inject(&["network_partition", "--target", "link/ticker->nobody"]), 2, &["link/ticker->nobody"]);
    refused(
        &inject(&["cpu_stress", "--target", "instance/ticker-0", "--percent", "50", "--host"]),
        2,
        &["cpu_limits: reference"],
    );
    refused(
        &inject(&["disk_fill", "--target", "volume/ticker-0", "--percent", "90"]),
        2,
        &["volume/ticker-0"],
    );
    refused(&inject(&["pause", "--target", "instance/ticker-0", "--percent", "90"]), 2, &["fill_percent"]);
    refused(&fleet.run(&["logs", "nobody"]), 2, &["nobody"]);
    refused(&fleet.run(&["pause", "nobody"]), 2, &["nobody"]);
    refused(&fleet.run(&["heal", "01900000-0000-7000-8000-000000000000"]), 2, &["no issue"]);
    refused(&fleet.run(&["approve", "01900000-0000-7000-8000-000000000000"]), 2, &["no plan"]);
    let other = SMALL.replace("ticker", "other");
    let refusal = up(&fleet, &other);
    refused(&refusal, 1, &["up"]);

    assert_eq!(["ticker-0", "ticker-1"].map(|name| fleet.pid(name)), pids);
    let all = fleet.processes();
    assert!(all.iter().all(|one| one.state != 'T'), "{all:#?}");
    assert!(!all.iter().any(|one| matches!(one.part, Part::Worker(_))), "{all:#?}");
    assert_eq!(fleet.get("/api/v3/chaos/faults").unwrap(), serde_json::json!([]));
    // What a person can do, the same words do.
    fleet.run(&["pause", "ticker", "--for", "10m"]).done();
}

/// What a start would refuse, `config check` refuses, and in the same words.
fn named_files() {
    let fleet = Fleet::new("");
    fleet.write("rules.yaml", "groups: [{name: a, rules: [{alert: X, expr: 'sum('}]}]\n");
    fleet.write("slos.yaml", "apiVersion: openslo/v1\nkind: SLO\n");
    for (text, words) in [
        ("[rules]\nfiles = [\"none.yaml\"]\n", &["none.yaml", "No such file"][..]),
        ("[rules]\nfiles = [\"rules.yaml\"]\n", &["rules.yaml:1:"]),
        ("[slo]\nfiles = [\"none.yaml\"]\n", &["none.yaml", "No such file"]),
        ("[slo]\nfiles = [\"slos.yaml\"]\n", &["slos.yaml:"]),
        ("[tls]\ncertificate = \"none.pem\"\nkey = \"none.key\"\n", &["none.", "No such file"]),
    ] {
        let config = fleet.write("named.toml", text);
        let checked = fleet.run_with(&config, &["config", "check"]);
        refused(&checked, 2, words);
        refused(&fleet.run_with(&config, &["serve", "--any-port"]), 1, words);
        nothing_runs(&fleet);
    }
    assert!(fleet.run(&["config", "check"]).done().err.contains("is well"));
}

/// A shell's reader is told of commands and options, not of the API's addresses and fields.
fn listed_by_commands() {
    let fleet = Fleet::up("", SMALL);
    until("every instance is ready", || fleet.all_ready());
    let (id, trace) = ("01900000-0000-7000-8000-000000000000", "0123456789abcdef0123456789abcdef");
    let cases: [(&[&str], &str); 16] = [
        (&["heal", id], "`homeostat issues` lists"),
        (&["approve", id], "`homeostat status` lists those that wait"),
        (&["logs", "nobody"], "`homeostat status` lists"),
        (&["deploy", "nobody", "--version", "2"], "`homeostat status` lists"),
        (&["pause", "nobody"], "`homeostat status` lists"),
        (&["trace", trace], "`homeostat traces` lists"),
        (&["archive", "add", trace], "`homeostat traces` lists"),
        (&["archive", "remove", trace], "`homeostat archive list` lists"),
        (&["slo", "show", "nothing"], "`homeostat slo list` lists"),
        (&["infra", "show", "nothing"], "`homeostat infra list` lists"),
        (&["infra", "delete", "nothing"], "`homeostat infra list` lists"),
        (&["infra", "history", "service/nobody"], "`homeostat infra items` lists"),
        (&["users", "disable", "nobody"], "`homeostat users list` lists"),
        (&["chaos", "abort", id], "`homeostat chaos inject` prints"),
        (&["timeline", "--since", "0s"], "--since: `within` is \"0s\"; give a duration above 0"),
        (
            &["chaos", "inject", "pause", "--target", "instance/ticker-0", "--for", "9h"],
            "--for: `duration_seconds`",
        ),
    ];
    for (words, said) in cases {
        let ran = fleet.run(words);
        refused(&ran, 2, &[said]);
        for foreign in ["GET ", "/api/", "Authorization"] {
            assert!(!ran.err.contains(foreign), "{words:?}: {}", ran.err);
        }
    }
    // Programs that ask the API are told of its addresses.
    let agent = crate::fleet::agent();
    let answer = agent.get(format!("{}/api/v3/observability/slo/nothing", fleet.address().unwrap())).call();
    let problem: serde_json::Value = answer.unwrap().body_mut().read_json().unwrap();
    assert_eq!(problem["listed_at"], "/api/v3/observability/slos", "{problem:#}");
    assert_eq!(problem["detail"], "there is no objective \"nothing\"");
}

fn occupied_port() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let fleet = used();
    let before = contents(&fleet.dir);
    let config = fleet.write("taken.toml", &format!("[gateway]\nport = {port}\n"));
    let ran = fleet.run_with(&config, &["serve"]);
    refused(&ran, 1, &[&port.to_string(), "occupied", "--any-port"]);
    nothing_runs(&fleet);
    assert!(contents(&fleet.dir) == before, "the data directory changed");
}

fn meant_for_a_server() {
    let fleet = Fleet::up("", SMALL);
    let before = ["ticker-0", "ticker-1"].map(|name| fleet.pid(name));
    let (file, elsewhere) = (fleet.write("backup.tar.zst", ""), "https://homeostat.example:4000");
    let file = file.to_str().unwrap();
    for words in [
        vec!["down"],
        vec!["backup", file],
        vec!["restore", file, "--replace"],
        vec!["reload"],
        vec!["audit", "verify"],
        vec!["chaos", "recover"],
        vec!["tls", "self-signed", "--name", "localhost"],
    ] {
        let ran = fleet.run(&[words.as_slice(), &["--server", elsewhere]].concat());
        refused(&ran, 2, &[words[0], elsewhere, fleet.dir.to_str().unwrap()]);
    }
    assert_eq!(["ticker-0", "ticker-1"].map(|name| fleet.pid(name)), before);
    assert_eq!(std::fs::read(file).unwrap(), b"");
}

fn second_controller() {
    let fleet = Fleet::up("", SMALL);
    until("every instance is ready", || fleet.all_ready());
    let (first, keeper) = (fleet.the(&Part::ControlPlane), fleet.the(&Part::Keeper));
    let pids = ["ticker-0", "ticker-1"].map(|name| fleet.pid(name));
    let ran = fleet.run(&["serve", "--any-port"]);
    refused(&ran, 1, &[fleet.dir.to_str().unwrap(), &first.to_string()]);
    assert_eq!((fleet.the(&Part::ControlPlane), fleet.the(&Part::Keeper)), (first, keeper));
    assert_eq!(["ticker-0", "ticker-1"].map(|name| fleet.pid(name)), pids);
    fleet.run(&["status"]).done();
}

fn newer_schema() {
    let fleet = used();
    let database = fleet.dir.join("homeostat.db");
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    // The log is folded into the file, so that its bytes can be compared.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(connection);
    let before = contents(&fleet.dir);
    let file = fleet.dir.parent().unwrap().join("fleet.yaml");
    for words in [vec!["serve", "--any-port"], vec!["up", file.to_str().unwrap()]] {
        refused(&fleet.run(&words), 1, &["homeostat.db", "99", "newer"]);
        nothing_runs(&fleet);
        let after = contents(&fleet.dir);
        let changed: Vec<_> = after.iter().filter(|(name, bytes)| before.get(*name) != Some(bytes)).collect();
        assert!(changed.is_empty() && after.len() == before.len(), "{:?}", after.keys());
    }
}

fn nothing_up() {
    for words in [&["status"][..], &["down"], &["chaos", "resume"], &["chaos", "recover"]] {
        refused(&Fleet::new("").run(words), 3, &["no control plane runs"]);
    }
}

/// The data directory on a file system of its own that has no room.
fn full_disk() {
    let fleet = Fleet::new("");
    let file = fleet.write("fleet.yaml", SMALL);
    let config = fleet.write("homeostat.toml", "");
    let script = r#"mount -t tmpfs -o mode=0700,size=64k tmpfs "$1" || exit 77
        dd if=/dev/zero of="$1/full" bs=4k 2>/dev/null
        "$2" up "$3" --dir "$1" --config "$4"; code=$?
        exit $code"#;
    let output = std::process::Command::new("unshare")
        .args(["-Urm", "sh", "-c", script, "sh"])
        .args([&fleet.dir, Path::new(crate::fleet::BINARY), &file, &config])
        .output()
        .unwrap();
    if output.status.code() == Some(77) || String::from_utf8_lossy(&output.stderr).starts_with("unshare:") {
        println!("skipped: no user namespace");
        return;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ran = Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) };
    refused(&ran, 1, &["the disk of the data directory is full", "nothing was written"]);
    nothing_runs(&fleet);
}
