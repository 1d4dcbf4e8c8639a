//! A support bundle says what helps, and nothing that is secret.

use crate::Test;
use crate::fleet::{Fleet, until};
use crate::wrong_input::refused;

pub(crate) const TESTS: &[Test] = &[("a_support_bundle_holds_no_secret", bundle)];

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
