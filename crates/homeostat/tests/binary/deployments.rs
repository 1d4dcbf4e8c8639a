//! Another version of a service of the demo fleet, with the real binary: one with a defect is found, rolled back and
//! verified by the loop; a good one stays; one that never gets ready is undone.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Test;
use crate::fleet::{Fleet, until};

pub(crate) const TESTS: &[Test] = &[
    ("a_deployment_that_breaks_a_service_is_rolled_back_and_a_good_one_stays", bad_then_good),
    ("a_version_that_never_gets_ready_is_taken_back_by_itself", never_ready),
    ("what_is_wrong_with_a_deployment_is_said_before_anything_is_touched", wrong),
];

const SHOP: &str = include_str!("../../../../drills/shop.yaml");

/// The time limit of a step that deploys to two instances is 90 s.
const TAKEN_BACK_WITHIN: Duration = Duration::from_secs(150);

/// Everything is on auto, waits are short. A version of these is bad by its errors; what is slow because the machine is
/// is nobody's doing.
const CONFIG: &str = r#"
[thresholds]
latency_ms = 10000
[policy.verification]
deadline = "20s"
hold = "5s"
[policy.ladder]
default = "auto"
"#;

fn catalogue(fleet: &Fleet) -> Result<Value, String> {
    fleet.get("/api/v3/self-healing/services/catalogue")
}

fn deployments(fleet: &Fleet) -> Vec<Value> {
    let listed = fleet.get("/api/v3/observability/deployments").unwrap();
    listed.as_array().unwrap().iter().rev().cloned().collect()
}

/// So many requests were served before anything is deployed: what gets worse is told by comparing with them.
const SERVED_BEFORE: f64 = 150.0;

/// The shop, once visitors came for a while.
fn shop() -> Fleet {
    // An instance that stands still for a while, as the machine may, serves all the same.
    let patient = SHOP.replace("timeout: 500ms", "timeout: 20s");
    let fleet = Fleet::up(CONFIG, &patient);
    until("visitors come", || {
        let query = "/api/v1/query?query=sum(homeostat_link_requests_total%7Bto=%22catalogue%22%7D)";
        let answer = fleet.get(query)?;
        let served: f64 = answer["data"]["result"][0]["value"][1].as_str().unwrap_or("0").parse().unwrap();
        if served >= SERVED_BEFORE { Ok(()) } else { Err(format!("{served} requests so far")) }
    });
    fleet
}

/// Runs a command to its good end. What the record of earlier runs does not cover waits for a person; the test is that
/// person.
fn deploy_with_a_person_at_hand(fleet: &Fleet, words: &[&str]) -> Value {
    let mut command = fleet.command(words);
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while running.try_wait().unwrap().is_none() {
        let waiting = fleet.get("/api/v3/self-healing/remediations?status=awaiting_approval").unwrap();
        for plan in waiting.as_array().into_iter().flatten() {
            fleet.run(&["approve", plan["id"].as_str().unwrap_or_default()]).done();
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let ended = running.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(ended.status.success(), "{}\n{}", text(&ended.stdout), text(&ended.stderr));
    serde_json::from_slice(&ended.stdout).unwrap()
}

fn bad_then_good() {
    let fleet = shop();
    let story = deploy_with_a_person_at_hand(&fleet, &["demo", "deploy", "--bad", "--json"]);
    let at = |name: &str| story[name].as_f64().unwrap_or_else(|| panic!("no {name}: {story:#}"));
    assert_eq!(story["outcome"], "healed", "{story:#}");
    assert!(at("detected_after_s") < at("rolled_back_after_s"), "{story:#}");
    assert!(at("rolled_back_after_s") <= at("verified_after_s"), "{story:#}");
    assert!(
        story["cause"].as_str().unwrap().contains("version 2.0 was deployed in place of 1.0"),
        "{story:#}"
    );
    assert_eq!(catalogue(&fleet).unwrap()["version"], "1.0");

    let told = deployments(&fleet);
    let brief = |it: &Value| json!([it["version"], it["previous_version"], it["seen_by"], it["reversible"]]);
    let expected = [json!(["2.0", "1.0", "plan", true]), json!(["1.0", "2.0", "plan", true])];
    // Spans said the same versions, and made no deployments of it.
    assert_eq!(told.iter().map(brief).collect::<Vec<_>>(), expected);
    assert_eq!(told[1]["rolls_back"], told[0]["id"]);
    assert_eq!(told[1]["remediation_id"], story["rollback"]);

    let story = fleet.run(&["demo", "deploy", "--json"]).json();
    assert_eq!(story["rollback"], Value::Null, "{story:#}");
    assert_eq!(catalogue(&fleet).unwrap()["version"], "1.1");
    assert_eq!(deployments(&fleet).len(), 3);
}

fn never_ready() {
    let fleet = shop();
    // The catalogue knows no such version and ends at once, again and again.
    let asked = json!({ "version": "7.7" });
    let plan = fleet.post("/api/v3/self-healing/deploy/catalogue", &asked).unwrap();
    until("the first instance tries to run it", || {
        let service = catalogue(&fleet)?;
        let instances = service["instances"].as_array().ok_or("no instances")?;
        let down = instances.iter().filter(|it| it["phase"] != "ready").count();
        let outdated = instances.iter().filter(|it| it["outdated"] == true).count();
        if (down, outdated) == (1, 1) { Ok(()) } else { Err(service.to_string()) }
    });
    let id = plan["id"].as_str().unwrap();
    let deadline = Instant::now() + TAKEN_BACK_WITHIN;
    loop {
        let plan = fleet.get(&format!("/api/v3/self-healing/remediations/{id}")).unwrap();
        if plan["status"] == "rolled_back" {
            break;
        }
        let ready = catalogue(&fleet).unwrap()["ready"].as_u64();
        assert!(ready >= Some(1), "the other instance goes on serving");
        assert!(plan["status"] == "in_progress" && Instant::now() < deadline, "{plan:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
    until("what ran before serves again", || fleet.all_ready());
    assert_eq!(catalogue(&fleet).unwrap()["version"], "1.0");
    let repairs = fleet.get("/api/v3/self-healing/remediations?resource=service%2Fcatalogue").unwrap();
    assert_eq!(repairs, json!([]), "healing waits for a rollout");
}

fn wrong() {
    let fleet = shop();
    let before = catalogue(&fleet).unwrap()["instances"].clone();
    for (words, code, said) in [
        (&["deploy", "catalogue", "--version", "two words"][..], 2, "is no version"),
        (&["deploy", "catalogue", "--version", ""], 2, "is no version"),
        (&["deploy", "catalogue", "--version", "2", "--command", ""], 2, "give a program"),
        (&["deploy", "catalogue", "--version", "1.0"], 4, "runs exactly that already"),
        (&["deploy", "nobody", "--version", "2"], 2, "there is no service nobody"),
        (&["deploy", "catalogue", "--version", "2", "--env", "NAME"], 2, "must be NAME=VALUE"),
    ] {
        let ran = fleet.run(words);
        assert!(ran.code == Some(code) && ran.err.contains(said), "{words:?}: {ran:#?}");
    }
    for dry_run in [true, false] {
        let asked = json!({ "version": "2", "command": ["/nowhere/x"], "dry_run": dry_run });
        let said = fleet.post("/api/v3/self-healing/deploy/catalogue", &asked).unwrap_err();
        assert!(said.contains("unsupported") && said.contains("there is no program /nowhere/x"), "{said}");
        let dry_run = dry_run.then_some("--dry-run");
        // The command takes all words to the end of the line.
        let words = ["deploy", "catalogue", "--version", "2"].into_iter().chain(dry_run);
        let ran = fleet.command(&[]).args(words).args(["--command", "/nowhere/x"]).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.code() == Some(2) && said.contains("no program /nowhere/x"), "{ran:?}");
    }
    let shown = fleet.run(&["deploy", "catalogue", "--version", "1.1", "--dry-run"]).done();
    assert!(shown.out.contains("let catalogue run 1.1, one instance after another"), "{shown:#?}");
    let posted =
        fleet.post("/api/v3/observability/deployments", &json!({ "service": "cart", "version": "9" }));
    let posted = posted.unwrap();
    assert_eq!((&posted["seen_by"], &posted["reversible"]), (&json!("posted"), &json!(false)));
    for (body, said) in [
        (json!({ "service": "cart" }), "`version` is missing"),
        (json!({ "service": "cart", "version": "9", "at": "yesterday" }), "is no RFC 3339 time"),
        (json!({ "service": "cart", "version": "9", "at": "2999-01-01T00:00:00Z" }), "in the future"),
        (json!({ "service": "nobody", "version": "9" }), "there is no service nobody"),
    ] {
        let refused = fleet.post("/api/v3/observability/deployments", &body).unwrap_err();
        assert!(refused.contains(said), "{body}: {refused}");
    }
    let pids = |instances: &Value| -> Vec<Value> {
        instances.as_array().unwrap().iter().map(|it| it["pid"].clone()).collect()
    };
    assert_eq!(pids(&catalogue(&fleet).unwrap()["instances"]), pids(&before), "nothing was touched");
}
