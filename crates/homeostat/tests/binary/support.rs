//! A support bundle says what helps, and nothing that is secret.

use std::net::TcpListener;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::Test;
use crate::fleet::{Fleet, until};
use crate::wrong_input::refused;

pub(crate) const TESTS: &[Test] = &[
    ("a_support_bundle_holds_no_secret", bundle),
    ("a_support_bundle_that_was_broken_off_stands_in_nobodys_way", broken_off),
];

/// What must turn up nowhere.
const HOOK: &str = "canary-hook-3f9a";
const PASSWORD: &str = "canary-password-77c1";
const VARIABLE: &str = "canary-variable-b20e";

fn bundle() {
    let config = format!(
        "[notify]\nwebhook_url = \"http://relay:{PASSWORD}@127.0.0.1:9/services/{HOOK}\"\n\n[otlp]\nenabled = false\n"
    );
    let services = format!(
        "name: small\nservices:\n  ticker:\n    command: [/bin/sleep, \"1000\"]\n    environment: {{ API_KEY: {VARIABLE} }}\n"
    );
    let mut fleet = Fleet::up(&config, &services);
    fleet.serve_as_configured();
    until("the service is ready", || fleet.all_ready());
    // A plan whose document holds the environment, and an issue beside it.
    let deploy = ["deploy", "ticker", "--version", "2", "--env", &format!("API_KEY={VARIABLE}")];
    fleet.run(&deploy);
    let token = std::fs::read_to_string(fleet.dir.join("token")).unwrap();
    let file = fleet.dir.parent().unwrap().join("bundle.tar.zst");
    let ran = fleet.run(&["support-bundle", file.to_str().unwrap()]).done();
    assert!(ran.err.contains("look before you send it"), "{ran:#?}");

    let packed = std::fs::File::open(&file).unwrap();
    let mut archive = tar::Archive::new(zstd::Decoder::new(packed).unwrap());
    let mut names = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
        for secret in [HOOK, PASSWORD, VARIABLE, token.trim()] {
            assert!(!text.contains(secret), "{secret} is in {name}");
        }
        assert!(!text.trim().is_empty(), "{name} says nothing");
        if name.ends_with("configuration.toml") {
            assert!(text.contains("http://[removed]@127.0.0.1:9/[removed]"), "{text}");
        }
        if name.ends_with(".json") {
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{name}: {text}");
        }
        if name.ends_with("log.txt") {
            assert!(text.contains("page http://localhost"), "{text}");
        }
        names.push(name);
    }
    for name in [
        "version.json",
        "platform.txt",
        "health.json",
        "capabilities.json",
        "issues.json",
        "open_issues.json",
        "waiting_plans.json",
        "plans.json",
        "metrics.txt",
        "sizes.txt",
    ] {
        assert!(names.iter().any(|found| found.ends_with(name)), "{name} is not in {names:?}");
    }
    let written = std::fs::read(&file).unwrap();
    refused(&fleet.run(&["support-bundle", file.to_str().unwrap()]), 2, &["name another file"]);
    assert!(std::fs::read(&file).unwrap() == written, "it was written over");

    // Without a server it says what is on the disk, and that there is none.
    let again = fleet.dir.parent().unwrap().join("again.tar.zst");
    fleet.run(&["down"]).done();
    fleet.run(&["support-bundle", again.to_str().unwrap()]).done();
}

/// Ended while a server does not answer, as by Ctrl-C; that itself is passed over by whatever a shell started in its background,
/// as these tests may be.
fn broken_off() {
    let fleet = Fleet::new("");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = fleet.dir.join("address");
    std::fs::write(&address, format!("http://{}", silent.local_addr().unwrap())).unwrap();
    std::fs::write(fleet.dir.join("token"), "canary-token-51d0").unwrap();
    let file = fleet.dir.parent().unwrap().join("bundle.tar.zst");
    let words = ["support-bundle", file.to_str().unwrap()];

    let mut asking = fleet.command(&words).stderr(Stdio::null()).spawn().unwrap();
    // It waits for an answer, which never comes.
    silent.set_nonblocking(true).unwrap();
    let asked = until("it asks", || silent.accept().map_err(|error| error.to_string()));
    kill_process(Pid::from_child(&asking), Signal::TERM).unwrap();
    assert!(!asking.wait().unwrap().success());
    assert!(!file.exists(), "what is not whole has no name");
    drop(asked);

    std::fs::remove_file(address).unwrap();
    fleet.run(&words).done();
    assert!(std::fs::metadata(&file).unwrap().len() > 0);
    let beside = std::fs::read_dir(fleet.dir.parent().unwrap()).unwrap();
    let left = beside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = left.filter(|name| name.contains("unfinished")).collect();
    assert!(left.is_empty(), "{left:?}");
}
