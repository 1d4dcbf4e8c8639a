//! A secret that is referred to reaches who is to have it, and is nowhere else: not in what is kept, shown or said.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::Test;
use crate::fleet::{Fleet, agent, until};
use crate::wrong_input::{nothing_runs, refused, up};

pub(crate) const TESTS: &[Test] = &[
    ("a_secret_that_is_referred_to_is_given_to_its_process_and_kept_nowhere", referred),
    ("a_deployment_with_a_reference_that_leads_nowhere_touches_nothing", deployed_nowhere),
    ("what_a_definition_refers_to_is_looked_for_before_it_is_brought_up", defined),
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

fn environ(fleet: &Fleet) -> String {
    let environ = fs::read(format!("/proc/{}/environ", fleet.pid("ticker-0"))).unwrap();
    String::from_utf8_lossy(&environ).into_owned()
}

fn deployed_nowhere() {
    let mut fleet = Fleet::new("[otlp]\nenabled = false\n");
    fleet.write("key", KEY);
    fleet.write("later", LATER);
    up(&fleet, SERVICES).done();
    fleet.serve_as_configured();
    until("the service is ready", || fleet.all_ready());
    let pid = fleet.pid("ticker-0");
    for dry_run in [true, false] {
        for (value, code, said) in [
            ("${env:NO_SUCH_VARIABLE_HERE}", "unsupported", "no variable NO_SUCH_VARIABLE_HERE"),
            ("${file:/no/such/file}", "unsupported", "cannot read /no/such/file"),
            ("${file:later}", "invalid_field", "the whole path"),
            ("${env:KEY", "invalid_field", "no closing brace"),
        ] {
            let body = json!({ "version": "2", "environment": { "API_KEY": value }, "dry_run": dry_run });
            let refused = fleet.post("/api/v3/self-healing/deploy/ticker", &body).unwrap_err();
            let words = [code, "environment.API_KEY", said];
            assert!(words.iter().all(|word| refused.contains(word)), "{body}: {refused}");
        }
    }
    let body = json!({ "version": "2", "command": ["/bin/sleep", "${env:PATH}"], "dry_run": true });
    let shown = fleet.post("/api/v3/self-healing/deploy/ticker", &body).unwrap_err();
    assert!(shown.contains("\"command\"") && shown.contains("list of processes"), "{shown}");

    let plans = || match fleet.get("/api/v3/self-healing/remediations?purpose=any").unwrap() {
        Value::Array(plans) => plans,
        other => panic!("{other}"),
    };
    assert_eq!(plans().len(), 1, "the one that brought it up: {:#?}", plans());

    // What the command line is told is meant from where it is said.
    let home = fleet.dir.parent().unwrap().to_owned();
    let deploy = |value: &str| {
        let variable = format!("API_KEY={value}");
        let mut command = fleet.command(&["deploy", "ticker", "--version", "2", "--env", &variable]);
        command.current_dir(&home).output().unwrap()
    };
    let ran = deploy("${file:nowhere}");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(2), "{said}");
    let missing = home.join("nowhere");
    assert!(said.contains(missing.to_str().unwrap()) && said.contains("environment.API_KEY"), "{said}");
    assert_eq!(fleet.pid("ticker-0"), pid, "nothing was touched");
    assert!(environ(&fleet).contains(&format!("API_KEY={KEY}\0")));
    assert_eq!(plans().len(), 1, "no plan is left of it: {:#?}", plans());
    let ran = deploy("${file:later}");
    assert!(ran.status.success(), "{ran:?}");
    assert!(environ(&fleet).contains(&format!("API_KEY={LATER}\0")));
}

fn defined() {
    let mut fleet = Fleet::new("[otlp]\nenabled = false\n");
    fleet.serve();
    let refused = |definition: &str, words: &[&str]| {
        for dry_run in [true, false] {
            let body = json!({ "definition": definition, "dry_run": dry_run });
            let said = fleet.post("/api/v3/infrastructures", &body).unwrap_err();
            assert!(words.iter().all(|word| said.contains(word)), "{definition}: {said}");
        }
    };
    let at = "services.ticker.environment.API_KEY";
    refused(SERVICES, &["invalid_field", "\"definition\"", at, "the whole path"]);
    let nowhere = SERVICES.replace("${file:key}", "${env:NO_SUCH_VARIABLE_HERE}");
    refused(&nowhere, &["unsupported", at, "NO_SUCH_VARIABLE_HERE"]);
    refused(
        "name: s\nservices: { a: { command: [/nowhere/a] } }\n",
        &["unsupported", "no program /nowhere/a"],
    );
    let query = "mutation($it: String!) { createInfrastructure(definition: $it, dryRun: true) { id } }";
    let asked = json!({ "query": query, "variables": { "it": nowhere } });
    let said = fleet.post("/graphql", &asked).unwrap_or_else(Into::into).to_string();
    assert!(said.contains("unsupported") && said.contains("NO_SUCH_VARIABLE_HERE"), "{said}");

    let file = fleet.write("fleet.yaml", SERVICES);
    fleet.write("key", KEY);
    fleet.run(&["infra", "create", file.to_str().unwrap(), "--dry-run"]).done();
    fleet.run(&["infra", "create", file.to_str().unwrap()]).done();
    until("the service is ready", || fleet.all_ready());
    assert!(environ(&fleet).contains(&format!("API_KEY={KEY}\0")));
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
