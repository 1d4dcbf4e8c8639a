//! What a service runs is changed one instance after another, and taken back the same way.

use domain::snapshot::Phase;
use domain::{Action, Attribute, AttributeValue, Captured, Effect, Release, Step, StepToken, Undo};
use provider::{Change, Look, Undone};
use serde_json::json;

use crate::fleet::{Fleet, Test, token, until};

pub(crate) const TESTS: &[Test] = &[
    ("a_release_replaces_one_instance_after_another_and_is_taken_back_exactly", one_after_another),
    ("a_release_that_never_gets_ready_stops_at_its_first_instance_until_it_is_taken_back", never_ready),
    ("the_next_keeper_goes_on_with_a_rollout", next_keeper),
    ("a_release_that_cannot_be_run_is_refused_before_anything_is_touched", refused),
    ("a_program_is_found_by_the_path_of_its_service", own_path),
    ("what_is_stored_of_a_service_cannot_mark_it_as_a_worker", no_worker),
];

/// An instance that stands still for a while, as the machine may, is ready all the same.
const WEB: &str = r#"
  web:
    command: ["{homeostat}", service, serve]
    version: "1"
    replicas: 2
    listens: http
    environment: { FLAVOUR: plain, OTEL_RESOURCE_ATTRIBUTES: "team=shop,service.version=0" }
    readiness: { http: /, interval: 50ms, timeout: 20s, failures: 1 }
    stop_timeout: 200ms
"#;

fn release(fleet: &Fleet) -> Release {
    fleet.provider.sample().unwrap().services.into_values().next().unwrap().release
}

fn spicy(fleet: &Fleet) -> Release {
    let mut release = release(fleet);
    release.version = Some("2".to_owned());
    release.environment.insert("FLAVOUR".to_owned(), "spicy {version}".to_owned());
    release
}

fn attribute() -> Attribute {
    Attribute::Release("web".parse().unwrap())
}

/// Orders the release, as the executor does with the step that is returned.
fn order(fleet: &Fleet, release: Release) -> (StepToken, Step, Captured) {
    let token = token();
    let held = fleet.ask(json!({"attribute": {"attribute": attribute()}})).unwrap();
    let value = AttributeValue::Release(Box::new(release.clone()));
    let set =
        json!({"attribute": attribute(), "value": value, "expected": held["generation"], "token": token});
    fleet.ask(json!({"set": set})).unwrap();
    let action = Action::Deploy { service: "web".parse().unwrap(), release: Box::new(release) };
    let step = Step { action, undo: Undo::Exact, timeout: std::time::Duration::from_secs(60) };
    let captured = Captured::Attribute {
        attribute: attribute(),
        value: serde_json::from_value(held["value"].clone()).unwrap(),
        generation: held["generation"].as_u64().unwrap(),
    };
    (token, step, captured)
}

fn is_there(fleet: &Fleet, (token, step, captured): &(StepToken, Step, Captured)) -> Option<()> {
    (fleet.provider.prove(*token, step, captured).unwrap() == Effect::Present).then_some(())
}

fn variables(fleet: &Fleet, name: &str) -> [String; 2] {
    ["web-0", "web-1"].map(|instance| fleet.get(instance, &format!("/variable/{name}")))
}

fn one_after_another() {
    let fleet = Fleet::up(WEB);
    ["web-0", "web-1"].iter().for_each(|name| {
        fleet.ready(name);
    });
    assert_eq!(variables(&fleet, "OTEL_RESOURCE_ATTRIBUTES"), ["team=shop,service.version=1"; 2]);
    let before = release(&fleet);
    let ordered = order(&fleet, spicy(&fleet));
    until("every instance runs it", || {
        let service = fleet.provider.sample().unwrap().services.into_values().next().unwrap();
        let ready = service.instances.values().filter(|it| it.phase == Phase::Ready).count();
        assert!(ready >= 1, "both are away at once: {:?}", service.instances);
        let done = is_there(&fleet, &ordered);
        assert!(done.is_some() || service.rolling_out || service.instances.values().all(|it| !it.outdated));
        done
    });
    assert_eq!(variables(&fleet, "FLAVOUR"), ["spicy {version}"; 2], "placeholders are the command's");
    assert_eq!(variables(&fleet, "OTEL_RESOURCE_ATTRIBUTES"), ["team=shop,service.version=2"; 2]);
    assert_eq!(release(&fleet).version.as_deref(), Some("2"));
    until("the rollout is over", || {
        let sample = fleet.provider.sample().unwrap();
        sample.services.values().all(|service| !service.rolling_out).then_some(())
    });

    let (token, step, captured) = &ordered;
    assert_eq!(fleet.provider.undo(*token, step, captured).unwrap(), Undone::Restored);
    assert_eq!(release(&fleet), before);
    until("the former release is back", || {
        let service = fleet.provider.sample().unwrap().services.into_values().next().unwrap();
        service.instances.values().all(|it| it.phase == Phase::Ready && !it.outdated).then_some(())
    });
    assert_eq!(variables(&fleet, "FLAVOUR"), ["plain"; 2]);
    assert_eq!(fleet.provider.undo(*token, step, captured).unwrap(), Undone::NothingThere);
}

fn never_ready() {
    let fleet = Fleet::up(WEB);
    let pids = ["web-0", "web-1"].map(|name| fleet.ready(name));
    let mut broken = spicy(&fleet);
    broken.command[2] = "idle".to_owned();
    let ordered = order(&fleet, broken);
    until("the first instance runs it", || {
        let first = fleet.instance("web-0");
        (first.phase == Phase::Starting && !first.outdated).then_some(())
    });
    assert_eq!(is_there(&fleet, &ordered), None);
    assert_eq!(fleet.pid("web-1"), pids[1], "the other one goes on serving");

    let (token, step, captured) = &ordered;
    assert_eq!(fleet.provider.undo(*token, step, captured).unwrap(), Undone::Restored);
    until("the first instance runs what it ran before", || {
        let first = fleet.instance("web-0");
        (first.phase == Phase::Ready && !first.outdated).then_some(())
    });
    assert_ne!(fleet.pid("web-0"), pids[0]);
    assert_eq!(fleet.pid("web-1"), pids[1], "it never ran anything else, so it is left alone");
    assert_eq!(variables(&fleet, "FLAVOUR"), ["plain"; 2]);
}

fn next_keeper() {
    let fleet = Fleet::up(WEB);
    ["web-0", "web-1"].iter().for_each(|name| {
        fleet.ready(name);
    });
    let ordered = order(&fleet, spicy(&fleet));
    fleet.kill_keeper();
    until("every instance runs it", || is_there(&fleet, &ordered));
    assert_eq!(variables(&fleet, "FLAVOUR"), ["spicy {version}"; 2]);
    // What a keeper adopts is not replaced for nothing.
    let pids = ["web-0", "web-1"].map(|name| fleet.pid(name));
    fleet.kill_keeper();
    assert_eq!(["web-0", "web-1"].map(|name| fleet.ready(name)), pids);
}

fn refused() {
    let fleet = Fleet::up(WEB);
    let pids = ["web-0", "web-1"].map(|name| fleet.ready(name));
    let mut missing = spicy(&fleet);
    missing.command = vec!["/nowhere/web".to_owned()];
    let ask = |release: &Release| fleet.ask(json!({"check_release": {"service": "web", "release": release}}));
    let why = ask(&missing).unwrap_err().to_string();
    assert!(why.contains("there is no program /nowhere/web"), "{why}");
    let mut nameless = spicy(&fleet);
    nameless.version = Some("two words".to_owned());
    assert!(ask(&nameless).unwrap_err().to_string().contains("is no version"));
    // What it refers to is followed by who will start it, before anything ends.
    let key = fleet.dir.path().join("key");
    let mut secret = spicy(&fleet);
    let mut refer = |text: String| {
        secret.environment.insert("KEY".to_owned(), text);
        ask(&secret)
    };
    let of_a_file = format!("a${{file:{}}}", key.display());
    for (text, said) in [
        ("${env:NO_SUCH_VARIABLE_HERE}", "no variable NO_SUCH_VARIABLE_HERE"),
        (of_a_file.as_str(), "cannot read"),
        ("${file:key}", "the whole path"),
    ] {
        let why = refer(text.to_owned()).unwrap_err().to_string();
        assert!(why.contains("services.web.environment.KEY: ") && why.contains(said), "{text}: {why}");
    }
    std::fs::write(&key, "canary").unwrap();
    assert!(refer(of_a_file).is_ok());
    assert!(ask(&spicy(&fleet)).is_ok());
    assert_eq!(["web-0", "web-1"].map(|name| fleet.pid(name)), pids);
}

fn own_path() {
    let bin = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(std::env::current_exe().unwrap(), bin.path().join("shopweb")).unwrap();
    let web = WEB.replace("\"{homeostat}\"", "shopweb");
    let fleet = Fleet::up(&web.replace("FLAVOUR", &format!("PATH: {}, FLAVOUR", bin.path().display())));
    fleet.ready("web-0");
    let mut elsewhere = release(&fleet);
    elsewhere.environment.insert("PATH".to_owned(), "/nowhere".to_owned());
    let asked = json!({"check_release": {"service": "web", "release": elsewhere}});
    let why = fleet.ask(asked).unwrap_err().to_string();
    assert!(why.contains("no program shopweb in its own PATH (/nowhere)"), "{why}");
    // Whoever asks before a keeper runs is told the same.
    let other = crate::fleet::declared(&web.replace("FLAVOUR", "PATH: /nowhere, FLAVOUR"));
    let nobody = tempfile::tempdir().unwrap();
    let why = provider::ProcessProvider::in_the_way(nobody.path(), &other).unwrap().unwrap();
    assert!(why.starts_with("services.web.command: there is no program shopweb"), "{why}");
    assert!(std::fs::read_dir(nobody.path()).unwrap().next().is_none(), "nothing is started by asking");
}

fn no_worker() {
    let fleet = Fleet::up(WEB);
    let mut marked = spicy(&fleet);
    marked.environment.insert("HOMEOSTAT_WORKER".to_owned(), "mine".to_owned());
    let asked = json!({"check_release": {"service": "web", "release": marked}});
    let why = fleet.ask(asked).unwrap_err().to_string();
    assert!(why.contains("services.web.environment.HOMEOSTAT_WORKER: is set by Homeostat"), "{why}");

    // What an earlier version let through stands in the table.
    let pid = fleet.ready("web-0");
    fleet.kill_keeper();
    let table = fleet.dir.path().join("keeper/table.json");
    let text = std::fs::read_to_string(&table).unwrap();
    assert!(text.contains("FLAVOUR"), "{text}");
    std::fs::write(&table, text.replace("FLAVOUR", "HOMEOSTAT_WORKER")).unwrap();
    crate::fleet::kill(pid, "KILL");
    let pid = until("another runs", || Some(fleet.ready("web-0")).filter(|now| *now != pid));
    fleet.kill_keeper();
    assert_eq!(fleet.ready("web-0"), pid, "it is known again");
}
