//! A data directory that is broken, full or not ours, and words nobody knows: a sentence that names what is
//! wrong, the documented exit code, nothing half done.

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::Test;
use crate::fleet::{Fleet, Ran, until};
use crate::wrong_input::{SMALL, contents, nothing_runs, refused, up, used};

pub(crate) const TESTS: &[Test] = &[
    ("a_broken_database_is_named_and_stays_as_it_is", broken_database),
    ("a_broken_table_is_named_at_once_and_stays_as_it_is", broken_table),
    ("a_token_that_cannot_be_used_starts_nothing", broken_token),
    ("a_disk_too_small_for_the_control_plane_keeps_no_service", small_disk),
    ("a_directory_that_cannot_be_written_is_named", not_writable),
    ("a_directory_that_others_could_change_is_refused_and_one_they_could_read_is_closed", open_to_others),
    ("a_published_port_that_is_occupied_is_named_and_nothing_is_started", occupied_publish),
    ("a_file_that_is_no_infrastructure_is_named", no_infrastructure),
    ("words_nobody_knows_are_told_with_those_that_are_known", usage),
];

fn broken_database() {
    let fleet = used();
    let (database, file) = (fleet.dir.join("homeostat.db"), fleet.dir.parent().unwrap().join("fleet.yaml"));
    let whole = std::fs::read(&database).unwrap();
    let mut torn = whole.clone();
    // The third page is the first of a table; the second says where pages belong.
    torn[8192..12_288].fill(0xaa);
    for broken in [b"this is no database at all".to_vec(), whole[..5000].to_vec(), torn] {
        std::fs::write(&database, &broken).unwrap();
        for words in [&["serve", "--any-port"][..], &["up", file.to_str().unwrap()], &["chaos", "recover"]] {
            refused(&fleet.run(words), 1, &[database.to_str().unwrap(), "backup", "move it away"]);
            nothing_runs(&fleet);
            assert!(std::fs::read(&database).unwrap() == broken, "the broken file was changed");
        }
    }
}

fn broken_table() {
    let fleet = used();
    let (table, file) = (fleet.dir.join("keeper/table.json"), fleet.dir.parent().unwrap().join("fleet.yaml"));
    for broken in ["", "{\"version\": 1", "\0\0\0\0", "{\"version\": 99}"] {
        std::fs::write(&table, broken).unwrap();
        let began = std::time::Instant::now();
        for words in [&["serve", "--any-port"][..], &["up", file.to_str().unwrap()]] {
            refused(&fleet.run(words), 1, &[table.to_str().unwrap(), "cannot read"]);
            nothing_runs(&fleet);
            assert_eq!(std::fs::read_to_string(&table).unwrap(), broken);
        }
        // Twice the ten seconds that a keeper is waited for would be the sign of having started one.
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    }
}

fn broken_token() {
    let fleet = used();
    let token = fleet.dir.join("token");
    std::fs::write(&token, "short\n").unwrap();
    refused(&up(&fleet, SMALL), 1, &["the token has 5 characters"]);
    nothing_runs(&fleet);
    let bytes = b"0123456789abcdef0123456789abcde\xff\xfe".as_slice();
    std::fs::write(&token, bytes).unwrap();
    let ran = fleet.run(&["serve", "--any-port"]);
    refused(&ran, 1, &[token.to_str().unwrap(), "is no UTF-8 text", "or remove the file"]);
    nothing_runs(&fleet);
    assert_eq!(std::fs::read(&token).unwrap(), bytes, "it was replaced");
    std::fs::remove_file(&token).unwrap();
    std::fs::create_dir(&token).unwrap();
    refused(&up(&fleet, SMALL), 1, &[token.to_str().unwrap()]);
    nothing_runs(&fleet);
}

/// Runs `up` with the data directory on a tmpfs of its own; `None` where that is not allowed here.
fn up_on_tmpfs(fleet: &Fleet, options: &str) -> Option<Ran> {
    let file = fleet.write("fleet.yaml", SMALL);
    let config = fleet.write("homeostat.toml", "");
    // What is still running when the shell ends is seen by the test: the processes carry the directory's name.
    let script = r#"mount -t tmpfs -o "mode=0700,$5" tmpfs "$1" || exit 77
        "$2" up "$3" --dir "$1" --config "$4""#;
    let output = std::process::Command::new("unshare")
        .args(["-Urm", "sh", "-c", script, "sh"])
        .args([&fleet.dir, Path::new(crate::fleet::BINARY), &file, &config, Path::new(options)])
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ran = Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) };
    if ran.code == Some(77) || ran.err.starts_with("unshare:") {
        println!("skipped: no user namespace");
        return None;
    }
    Some(ran)
}

/// 1 MiB takes the keeper and its table, and not the database of a control plane.
fn small_disk() {
    let fleet = Fleet::new("");
    let Some(ran) = up_on_tmpfs(&fleet, "size=1m") else { return };
    refused(&ran, 1, &["the disk of the data directory is full"]);
    nothing_runs(&fleet);
}

fn not_writable() {
    let fleet = Fleet::new("");
    let Some(ran) = up_on_tmpfs(&fleet, "ro") else { return };
    refused(&ran, 1, &[fleet.dir.to_str().unwrap(), "Read-only file system"]);
    nothing_runs(&fleet);
    // A file where the directory should be.
    std::fs::remove_dir(&fleet.dir).unwrap();
    std::fs::write(&fleet.dir, "").unwrap();
    refused(&up(&fleet, SMALL), 1, &["cannot use the data directory", fleet.dir.to_str().unwrap()]);
}

fn open_to_others() {
    let fleet = used();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let open = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let (file, key) = (fleet.write("fleet.yaml", SMALL), fleet.dir.join("key.pem"));
    open(&fleet.dir, 0o777);
    for words in [
        &["serve", "--any-port"][..],
        &["up", file.to_str().unwrap()],
        &["tls", "self-signed", "--name", "localhost"],
    ] {
        refused(
            &fleet.run(words),
            1,
            &[fleet.dir.to_str().unwrap(), "everybody may write in it", "chmod o-w"],
        );
        nothing_runs(&fleet);
    }
    assert!(!key.exists());
    let database = fleet.dir.join("homeostat.db");
    open(&fleet.dir, 0o755);
    open(&database, 0o644);
    up(&fleet, SMALL).done();
    assert_eq!((mode(&fleet.dir), mode(&database)), (0o750, 0o600));
}

fn occupied_publish() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let fleet = Fleet::new("");
    let ran = up(&fleet, &format!("{SMALL}    listens: tcp\n    publish: {port}\n"));
    refused(&ran, 1, &[&port.to_string(), "services.ticker.publish", "in use"]);
    nothing_runs(&fleet);
}

fn no_infrastructure() {
    let fleet = Fleet::new("");
    let path = fleet.write("fleet.yaml", "");
    let mut bomb = "a: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..8 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb += &format!("b{level}: &a{level} [{aliases}]\n");
    }
    let padded = format!("{SMALL}{}", "# padding\n".repeat(1_000_000));
    let cases: [(&[u8], &str); 7] = [
        (b"", "fleet.yaml:1:1"),
        (b"[]\n", "fleet.yaml:1:1"),
        (b"name: \xff\xfe\n", "UTF-8"),
        (bomb.as_bytes(), "fleet.yaml:"),
        (padded.as_bytes(), "at most 1 MiB are read"),
        (b"name: s\n---\nname: t\n", "fleet.yaml:"),
        (b"name: s\nservices:\n  a: {command: [x]}\n  a: {command: [y]}\n", "fleet.yaml:4:"),
    ];
    for (bytes, word) in cases {
        std::fs::write(&path, bytes).unwrap();
        refused(&fleet.run(&["up", path.to_str().unwrap()]), 2, &["fleet.yaml", word]);
        nothing_runs(&fleet);
        assert!(contents(&fleet.dir).is_empty());
    }
}

/// Refused by the command line itself, so without the name of the program in front.
fn usage() {
    let fleet = Fleet::new("");
    let inject = |words: &[&'static str]| [&["chaos", "inject"], words].concat();
    let on = ["--target", "instance/a-0", "--for", "5s"];
    let cases: Vec<(Vec<&str>, Vec<&str>)> = vec![
        (vec!["staus"], vec!["staus", "status"]),
        (inject(&[&["pod_kil"][..], &on].concat()), vec!["pod_kill", "network_partition"]),
        (inject(&[&["cpu_stress"][..], &on, &["--percent", "nan"]].concat()), vec!["number of percent"]),
        (inject(&[&["api_throttling"][..], &on, &["--rate", "-1"]].concat()), vec!["-1", "1..=100"]),
        (inject(&["pause", "--target", "instance/a", "--for", "5s"]), vec!["no instance", "cart-0"]),
        (inject(&["pause", "--target", "instance/a-0", "--for", "5"]), vec!["\"5\"", "250ms"]),
        (vec!["pause", "a", "--for", "-5s"], vec!["-5s", "a duration"]),
        (vec!["logs", "a", "--lines", "-1"], vec!["-1", "--lines"]),
        (vec!["heal", "1234"], vec!["1234", "no id"]),
        (vec!["chaos", "stop"], vec!["--emergency"]),
        (vec!["drill", "--count", "0"], vec!["--count"]),
        (vec!["trace", ""], vec!["is not a trace id", "32 hexadecimal digits"]),
        (vec!["archive", "add", "xyz"], vec!["is not a trace id"]),
        (vec!["slo", "show", ""], vec!["is empty", "an id"]),
        (vec!["users", "disable", ""], vec!["is empty", "a name"]),
        (vec!["token", "revoke", " "], vec!["is empty", "an id"]),
        (vec!["traces", "--service", ""], vec!["--service", "is empty"]),
        (vec!["traces", "--text", ""], vec!["--text", "is empty"]),
        (vec!["log-level", "debug", "--for", "0s"], vec!["above 0"]),
        (vec!["audit", "prove", "-1"], vec!["-1", "[SEQUENCE]"]),
        (vec!["deploy", "a", "--version", ""], vec!["is no version"]),
    ];
    for (words, said) in cases {
        let ran = fleet.run(&words);
        assert_eq!(ran.code, Some(2), "{ran:#?}");
        for word in said {
            assert!(ran.err.contains(word), "{word:?} is not said to {words:?}: {}", ran.err);
        }
    }
    let fleet = Fleet::up("", SMALL);
    until("every instance is ready", || fleet.all_ready());
    refused(&fleet.run(&["pause", "ticker", "--for", "0s"]), 2, &["above 0"]);
    refused(&fleet.run(&["logs", "ticker", "--lines", "0"]), 2, &["`lines`", "1 to 5000"]);
    refused(&fleet.run(&["issues", "--limit", "0"]), 2, &["`limit`"]);
}
