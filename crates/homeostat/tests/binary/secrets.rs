//! A secret that is referred to reaches who is to have it, and is nowhere else: not in what is kept, shown or said.

use std::fs;
use std::path::Path;

use crate::Test;
use crate::fleet::{Fleet, agent, until};
use crate::wrong_input::{nothing_runs, refused, up};

pub(crate) const TESTS: &[Test] = &[
    ("a_secret_that_is_referred_to_is_given_to_its_process_and_kept_nowhere", referred),
    ("a_reference_that_leads_nowhere_is_named_with_file_and_line", nowhere),
];

/// What must turn up nowhere.
const KEY: &str = "canary-key-91ad";
const HOOK: &str = "canary-hook-04be";
const LATER: &str = "canary-later-5c77";

const SERVICES: &str = "name: small
services:
  ticker:
    command: [/bin/sleep, \"1000\"]
    environment: { API_KEY: \"${file:key}\" }
";

/// Every file below a directory that holds one of the secrets.
fn holding(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
        if kind.is_dir() {
            found.extend(holding(&path));
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            if [KEY, HOOK, LATER].iter().any(|secret| text.contains(secret)) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

fn referred() {
    let mut fleet = Fleet::new("[notify]\nwebhook_url = \"${file:hook}\"\n\n[otlp]\nenabled = false\n");
    fleet.write("key", &format!("{KEY}\n"));
    fleet.write("later", LATER);
    fleet.write("hook", &format!("http://127.0.0.1:9/{HOOK}"));
    up(&fleet, SERVICES).done();
    fleet.serve_as_configured();
    until("the service is ready", || fleet.all_ready());
    let given = |fleet: &Fleet| {
        let environ = fs::read(format!("/proc/{}/environ", fleet.pid("ticker-0"))).unwrap();
        String::from_utf8_lossy(&environ).into_owned()
    };
    assert!(given(&fleet).contains(&format!("API_KEY={KEY}\0")), "{}", given(&fleet));

    // By a deployment too: the plan, its undo and its journal hold the reference.
    let later = fleet.dir.parent().unwrap().join("later");
    let variable = format!("API_KEY=${{file:{}}}", later.display());
    fleet.run(&["deploy", "ticker", "--version", "2", "--env", &variable]);
    until("the other secret is given", || {
        let environ = given(&fleet);
        if environ.contains(LATER) { Ok(()) } else { Err(environ) }
    });

    let address = fs::read_to_string(fleet.dir.join("address")).unwrap();
    for page in [
        "/settings",
        "/services/ticker",
        "/cmdb",
        "/metrics",
        "/api/v3/self-healing/services",
        "/api/v3/self-healing/remediations",
        "/api/v3/observability/deployments",
        "/api/v3/cmdb/items",
    ] {
        let mut answer = agent().get(format!("{address}{page}")).call().unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        assert!(![KEY, HOOK, LATER].iter().any(|secret| text.contains(secret)), "{page}: {text}");
    }
    let bundle = fleet.dir.parent().unwrap().join("bundle.tar.zst");
    fleet.run(&["support-bundle", bundle.to_str().unwrap()]).done();
    let unpacked = zstd::decode_all(fs::File::open(&bundle).unwrap()).unwrap();
    let text = String::from_utf8_lossy(&unpacked);
    assert!(![KEY, HOOK, LATER].iter().any(|secret| text.contains(secret)), "the bundle holds a secret");
    assert!(text.contains("${file:hook}"), "what is referred to is shown by its reference");
    assert_eq!(holding(&fleet.dir), Vec::<String>::new());
    assert!(![KEY, HOOK, LATER].iter().any(|secret| fleet.said().contains(secret)), "{}", fleet.said());
    fleet.run(&["down"]).done();
    assert_eq!(holding(&fleet.dir), Vec::<String>::new());
}

fn nowhere() {
    let fleet = Fleet::new("");
    refused(&up(&fleet, SERVICES), 2, &["fleet.yaml:5:", "services.ticker.environment.API_KEY", "/key"]);
    let services = SERVICES.replace("${file:key}", "${env:NO_SUCH_VARIABLE_HERE}");
    refused(&up(&fleet, &services), 2, &["fleet.yaml:5:", "NO_SUCH_VARIABLE_HERE"]);
    fleet.write("homeostat.toml", "[notify]\nwebhook_url = \"${file:hook}\"\n");
    refused(&fleet.run(&["config", "check"]), 2, &["homeostat.toml:2", "notify.webhook_url", "/hook"]);
    refused(&fleet.run(&["serve"]), 2, &["homeostat.toml:2", "/hook"]);
    nothing_runs(&fleet);
}
