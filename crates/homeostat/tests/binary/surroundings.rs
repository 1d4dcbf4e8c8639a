//! Where and as whom a command is run: without a home, with an output that takes nothing, beside files that are somebody else's.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Test;
use crate::fleet::{BINARY, Fleet, Ran, until};
use crate::wrong_input::{SMALL, contents, nothing_runs, refused};

pub(crate) const TESTS: &[Test] = &[
    ("without_a_home_no_command_means_the_working_directory", no_home),
    ("an_output_that_takes_nothing_is_a_failure_and_one_that_was_closed_is_none", output),
    ("what_is_somebody_elses_is_told_as_that_and_health_needs_no_token", not_ours),
    ("a_socket_and_an_address_that_were_left_behind_are_no_server", left_behind),
    ("a_data_directory_that_is_no_text_starts_nothing", no_text),
    ("what_is_at_work_on_a_resource_is_told_with_how_it_ends", at_work),
];

fn ran(command: &mut Command) -> Ran {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn no_home() {
    let dir = tempfile::tempdir().unwrap();
    let bare = || {
        let mut command = Command::new(BINARY);
        command.env_clear().env("TMPDIR", dir.path()).current_dir(dir.path());
        command
    };
    let me = dir.path().metadata().unwrap().uid();
    let (elsewhere, shown) = (dir.path().join(format!("homeostat-{me}")), " .local");
    for home in [None, Some(""), Some("home")] {
        let mut command = bare();
        command.arg("status").envs(home.map(|home| ("HOME", home)));
        let said = ran(&mut command);
        refused(&said, 3, &[&format!("runs in {};", elsewhere.display())]);
        assert!(!said.err.contains(shown), "{said:?}");
    }
    let mut asking = bare();
    asking.args(["status", "--server", "http://127.0.0.1:9"]).env("HOMEOSTAT_TOKEN", "a token");
    refused(&ran(&mut asking), 3, &["http://127.0.0.1:9 does not answer"]);
    let mut login = bare();
    login.args(["login", "root", "--server", "http://127.0.0.1:9"]);
    refused(&ran(&mut login), 2, &["set HOME"]);
}

fn output() {
    let fleet = Fleet::new("");
    let mut full = fleet.command(&["config", "init"]);
    let status = full.stdout(File::create("/dev/full").unwrap()).stderr(Stdio::piped()).spawn().unwrap();
    let output = status.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write the output: No space left"));
    // As behind `| head -1` that has ended.
    let (reading, writing) = std::io::pipe().unwrap();
    drop(reading);
    let ended = fleet.command(&["config", "init"]).stdout(writing).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]));
}

/// Whoever runs this may be root, whom no mode keeps from anything: without capabilities, modes count for root too.
fn unprivileged(fleet: &Fleet, words: &[&str]) -> Ran {
    let mut command = match rustix::process::geteuid().is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set=-all", "--inh-caps=-all", BINARY]);
            command
        }
        false => Command::new(BINARY),
    };
    for name in ["HOMEOSTAT_SERVER", "HOMEOSTAT_TOKEN", "HOMEOSTAT_CONFIG"] {
        command.env_remove(name);
    }
    ran(command.args(words).arg("--dir").arg(&fleet.dir))
}

fn not_ours() {
    let fleet = Fleet::up("", SMALL);
    let closed = |name: &str| {
        let path = fleet.dir.join(name);
        std::fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
        path.display().to_string()
    };
    let token = closed("token");
    refused(&unprivileged(&fleet, &["status"]), 2, &[&token, "Permission denied", "run this as", "--server"]);
    let health = until("it has looked", || match unprivileged(&fleet, &["health"]) {
        ran if ran.code == Some(0) => Ok(ran),
        ran => Err(ran.err),
    });
    assert_eq!(health.out, "healthy\n");
    closed("control.sock");
    let said = ["cannot reach the control plane in", fleet.dir.to_str().unwrap(), "Permission denied"];
    refused(&unprivileged(&fleet, &["reload"]), 1, &said);
    refused(&unprivileged(&fleet, &["log-level", "debug"]), 1, &said);
}

/// As a machine that lost its power leaves them.
fn left_behind() {
    let fleet = Fleet::new("");
    drop(UnixListener::bind(fleet.dir.join("control.sock")).unwrap());
    std::fs::write(fleet.dir.join("token"), "0123456789abcdef0123456789abcdef").unwrap();
    for address in ["http://127.0.0.1:9\n", "", "no address", "http://[::1"] {
        std::fs::write(fleet.dir.join("address"), address).unwrap();
        for words in [&["status"][..], &["health"], &["reload"], &["log-level", "debug"], &["down"]] {
            refused(&fleet.run(words), 3, &["no control plane runs in", fleet.dir.to_str().unwrap()]);
        }
    }
    let file = fleet.write("fleet.yaml", SMALL);
    fleet.run(&["up", file.to_str().unwrap()]).done();
    fleet.run(&["reload"]).done();
}

fn no_text() {
    let fleet = Fleet::new("");
    let file = fleet.write("fleet.yaml", SMALL);
    let dir = fleet.dir.join(OsStr::from_bytes(b"\xff"));
    for words in [&["up", file.to_str().unwrap()][..], &["serve", "--any-port"]] {
        let mut command = Command::new(BINARY);
        let said = ran(command.args(words).arg("--dir").arg::<&Path>(&dir));
        refused(&said, 2, &["is no UTF-8 text", "--dir"]);
        nothing_runs(&fleet);
        assert!(contents(&fleet.dir).is_empty() && !dir.exists());
    }
}

fn at_work() {
    let fleet = Fleet::up("", SMALL);
    until("every instance is ready", || fleet.all_ready());
    let inject = ["chaos", "inject", "pause", "--target", "instance/ticker-0", "--for", "60s"];
    let experiment = fleet.run(&inject).done().out.trim().to_owned();
    refused(
        &fleet.run(&inject),
        4,
        &["a fault is in effect on instance/ticker-0", "it ends by itself", "`homeostat status` shows"],
    );
    let status = fleet.run(&["status"]).done().out;
    assert!(status.contains(&format!("{experiment}  instance/ticker-0: pause for 60 s until ")), "{status}");
    fleet.run(&["chaos", "abort", &experiment]).done();
    let misplaced = ["chaos", "inject", "pause", "--target", "service/ticker", "--for", "5s"];
    refused(
        &fleet.run(&misplaced),
        2,
        &["--target", "cannot be done to service/ticker; it takes instance/NAME-N"],
    );
}
