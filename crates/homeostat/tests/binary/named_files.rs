//! Files that are named by mistake: said for what they are, at once, whatever the command.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Test;
use crate::fleet::{BINARY, Fleet, Ran, until};
use crate::wrong_input::{SMALL, contents, nothing_runs, refused};

pub(crate) const TESTS: &[Test] = &[
    ("what_is_no_file_is_refused_for_what_it_is_by_every_command_that_reads_one", no_file),
    ("a_pipe_of_a_shell_is_a_file_where_it_is_read_once", piped),
    ("a_password_that_never_ends_is_refused", endless_password),
    ("an_export_takes_the_place_of_no_device", export_to_device),
];

/// Every command that reads a file which somebody names; `FILE` stands for it.
const READERS: [&[&str]; 19] = [
    &["config", "check", "--config", "FILE"],
    &["serve", "--any-port", "--config", "FILE"],
    &["serve", "--any-port", "--infrastructure", "FILE"],
    &["up", "FILE"],
    &["infra", "create", "FILE"],
    &["rules", "check", "FILE"],
    &["slo", "check", "FILE"],
    &["slo", "export-rules", "FILE"],
    &["drill", "--compare", "FILE", "FILE"],
    &["drill", "--train", "FILE", "--count", "1"],
    &["restore", "FILE"],
    &["audit", "verify", "--proof", "FILE"],
    &["audit", "verify", "--keys", "FILE"],
    &["audit", "verify", "--checkpoint", "FILE"],
    &["audit", "prove", "0", "--checkpoint", "FILE"],
    &["audit", "prove", "--since-checkpoint", "FILE"],
    &["login", "root", "--server", "http://127.0.0.1:9", "--password-file", "FILE"],
    &["status", "--server", "https://127.0.0.1:9", "--ca", "FILE"],
    &[
        "users",
        "create",
        "ann",
        "--role",
        "viewer",
        "--server",
        "http://127.0.0.1:9",
        "--password-file",
        "FILE",
    ],
];

/// Runs a command that has to end by itself, in little memory; `file` stands where it says `FILE`.
#[track_caller]
fn run(fleet: &Fleet, words: &[&str], file: &Path) -> Ran {
    let words: Vec<&str> =
        words.iter().map(|word| if *word == "FILE" { file.to_str().unwrap() } else { word }).collect();
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -v 8000000; exec \"$0\" \"$@\"", BINARY])
        .args(&words)
        .arg("--dir")
        .arg(&fleet.dir);
    command.env("HOME", &fleet.dir).env("HOMEOSTAT_TOKEN", "none");
    for name in ["HOMEOSTAT_SERVER", "HOMEOSTAT_CA", "HOMEOSTAT_CONFIG", "XDG_CONFIG_HOME"] {
        command.env_remove(name);
    }
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until("it ends", || child.try_wait().unwrap().ok_or_else(|| format!("{words:?} still runs")));
    }));
    if let Err(panic) = ended {
        child.kill().unwrap();
        std::panic::resume_unwind(panic);
    }
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn no_file() {
    let fleet = Fleet::new("");
    let beside = |name: &str| fleet.dir.parent().unwrap().join(name);
    let (fifo, socket, directory, large) =
        (beside("fifo"), beside("socket"), beside("directory"), beside("large"));
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let _listening = UnixListener::bind(&socket).unwrap();
    std::fs::create_dir(&directory).unwrap();
    std::fs::File::create(&large).unwrap().set_len(1 << 40).unwrap();
    let files: [(PathBuf, &str); 5] = [
        (PathBuf::from("/dev/zero"), "it is a device"),
        (fifo, "it is a named pipe"),
        (socket, "it is a socket"),
        (directory, "it is a directory"),
        (large, "it has 1024 GiB, at most"),
    ];
    for words in READERS {
        for (file, what) in &files {
            // How long a backup is it says itself; one of zeros alone is none.
            let what =
                if words[0] == "restore" && what.contains("GiB") { "is no whole backup" } else { what };
            let code = if what.starts_with("is no whole") { 1 } else { 2 };
            refused(&run(&fleet, words, file), code, &[file.to_str().unwrap(), what]);
        }
        nothing_runs(&fleet);
        assert!(contents(&fleet.dir).is_empty(), "{words:?}: {:?}", contents(&fleet.dir).keys());
    }
}

/// Runs words in a shell with `$H` as the binary, on the directory of a fleet.
fn shell(fleet: &Fleet, line: &str, input: &str) -> Ran {
    let mut child = Command::new("bash")
        .args(["-c", line])
        .env("H", BINARY)
        .env("HOMEOSTAT_DIR", &fleet.dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who refuses to read goes away before all is written.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn piped() {
    const RULES: &str = "groups: [{name: a, rules: [{record: a, expr: 1}]}]";
    let fleet = Fleet::new("");
    for line in [
        "$H rules check -",
        "$H rules check /dev/stdin",
        "$H rules check <(cat)",
        "cat > /dev/null; $H config check --config /dev/null",
        "cat > /dev/null; $H config check --config <(echo '[gateway]'; echo 'port = 4001')",
        "cat > /dev/null; echo '[gateway]' | $H config check --config -",
    ] {
        shell(&fleet, line, RULES).done();
    }
    let endless = shell(&fleet, "$H rules check - < /dev/zero", "");
    refused(&endless, 2, &["rules -", "it goes on beyond 16 MiB"]);
    let file = fleet.write("fleet.yaml", SMALL);
    for line in [
        format!("$H up <(cat {})", file.display()),
        format!("$H up - < {}", file.display()),
        format!("$H up {} --config <(echo)", file.display()),
        "$H serve --any-port --config <(echo)".to_owned(),
        "$H support-bundle none.tar.zst --config <(echo)".to_owned(),
    ] {
        refused(&shell(&fleet, &line, ""), 2, &["a pipe", "write it to a file"]);
        nothing_runs(&fleet);
        assert!(contents(&fleet.dir).is_empty(), "{line}");
    }
}

fn endless_password() {
    let fleet = Fleet::new("");
    let ran = shell(&fleet, "$H login root --server http://127.0.0.1:9 < /dev/zero", "");
    refused(&ran, 2, &["no end within 64 KiB"]);
}

/// As a link, so that a failure of this test costs nobody their device.
fn export_to_device() {
    let fleet = crate::wrong_input::used();
    let link = fleet.dir.parent().unwrap().join("link");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    refused(
        &fleet.run(&["audit", "export", "--output", link.to_str().unwrap()]),
        2,
        &["no regular file", "--output"],
    );
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink(), "it was replaced");
}
