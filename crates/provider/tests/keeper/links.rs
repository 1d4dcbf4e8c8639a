//! Links under faults and measures, proven by requests through them.

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use domain::{Action, Attribute, AttributeValue, Captured, Effect, FaultKind, PathScope, Step, Undo};
use provider::{Change, Look, Undone};
use serde_json::{Value, json};

use crate::fleet::{Fleet, Test, fault, get, kill, named, runs, step, token, until};

const SHOP: &str = "  cart:\n    command: [\"{homeostat}\", service, serve]\n    listens: http\n    replicas: 2\n    readiness: {http: /ready}\n    restart: {settled: 50ms}\n  front:\n    command: [\"{homeostat}\", service, idle]\n    dependencies: [cart]\n";

pub(crate) const TESTS: &[Test] = &[
    ("network_faults_are_felt_through_the_link_and_gone_after_undo", network_faults),
    ("an_ejected_instance_gets_no_requests_until_the_undo", ejection),
    ("an_open_breaker_answers_instead_of_the_callee", breaker),
    ("a_link_listens_at_the_same_port_after_the_death_of_the_keeper", same_port),
    ("a_published_port_serves", published),
    ("a_port_that_somebody_else_took_is_told_with_who_has_it_once_and_served_again", taken),
    ("what_the_keeper_says_is_rotated_as_the_logs_of_instances_are", own_log),
];

fn shop() -> Fleet {
    let fleet = Fleet::up(SHOP);
    fleet.ready("cart-0");
    fleet.ready("cart-1");
    fleet
}

fn port(fleet: &Fleet) -> u16 {
    let listener = fleet.ask(json!({"link": {"link": "front->cart"}})).unwrap();
    let address: std::net::SocketAddr = listener["address"].as_str().unwrap().parse().unwrap();
    address.port()
}

fn network_faults() {
    let fleet = shop();
    let port = port(&fleet);
    let delay = Duration::from_millis(120);
    let kinds = [
        FaultKind::NetworkLatency { delay, jitter: Duration::ZERO, scope: PathScope::All },
        FaultKind::NetworkLatency {
            delay,
            jitter: Duration::ZERO,
            scope: PathScope::Backend(named("cart-1")),
        },
        FaultKind::NetworkPartition { scope: PathScope::All },
        FaultKind::ApiThrottling { requests_per_second: 1, scope: PathScope::All },
    ];
    for kind in kinds {
        let fault = fault("link/front->cart", kind.clone(), 60);
        let (token, step) = (token(), step(&fault));
        let prove = || fleet.provider.prove(token, &step, &Captured::Nothing).unwrap();
        assert_eq!(prove(), Effect::Absent, "{kind}");
        fleet.ask(json!({"inject": {"token": token, "fault": fault, "expected": null}})).unwrap();
        until("the fault is felt", || (prove() == Effect::Present).then_some(()));
        assert_eq!(fleet.provider.undo(token, &step, &Captured::Nothing).unwrap(), Undone::Restored);
        until("requests pass again", || {
            let begun = std::time::Instant::now();
            let body = get(port, "/").ok()?;
            (body.parse::<u32>().is_ok() && begun.elapsed() < delay).then_some(())
        });
    }
}

fn set(fleet: &Fleet, action: Action) -> (domain::StepToken, Step, Captured) {
    let (attribute, value) = action.sets().unwrap();
    let token = token();
    let request = json!({"set": {"attribute": attribute, "value": value, "expected": 0, "token": token}});
    assert_eq!(fleet.ask(request), Ok(Value::Null));
    let captured = Captured::Attribute { attribute, value: AttributeValue::Flag(false), generation: 0 };
    (token, Step { action, undo: Undo::Exact, timeout: Duration::from_secs(5) }, captured)
}

fn ejection() {
    let fleet = shop();
    let link = "front->cart".parse::<domain::LinkName>().unwrap();
    let action = Action::EjectBackend { link: link.clone(), instance: named("cart-1") };
    let (token, step, captured) = set(&fleet, action);
    assert_eq!(fleet.provider.prove(token, &step, &captured).unwrap(), Effect::Present);
    let (port, only) = (port(&fleet), fleet.pid("cart-0").to_string());
    for _ in 0..20 {
        assert_eq!(get(port, "/").unwrap(), only);
    }
    assert_eq!(fleet.provider.undo(token, &step, &captured).unwrap(), Undone::Restored);
    until("both answer", || get(port, "/").ok().filter(|pid| *pid != only));
    let held = fleet.ask(json!({"attribute": {"attribute": Attribute::Ejected(link, named("cart-1"))}}));
    assert_eq!(held.unwrap()["generation"], 2);
}

fn breaker() {
    let fleet = shop();
    let port = port(&fleet);
    until("requests pass", || get(port, "/").ok()?.parse::<u32>().ok());
    let action = Action::OpenBreaker { link: "front->cart".parse().unwrap() };
    let (token, step, captured) = set(&fleet, action);
    assert_eq!(fleet.provider.prove(token, &step, &captured).unwrap(), Effect::Present);
    assert!(get(port, "/").unwrap().parse::<u32>().is_err());
    assert_eq!(fleet.provider.undo(token, &step, &captured).unwrap(), Undone::Restored);
    until("requests pass again", || get(port, "/").ok()?.parse::<u32>().ok());
}

fn same_port() {
    let fleet = shop();
    let before = port(&fleet);
    fleet.kill_keeper();
    fleet.ready("cart-0");
    assert_eq!(port(&fleet), before);
    until("requests pass", || get(before, "/").ok()?.parse::<u32>().ok());
}

fn published() {
    let free = crate::port::free_port();
    let fleet = Fleet::up(&format!(
        "  cart:\n    command: [\"{{homeostat}}\", service, serve]\n    listens: http\n    publish: {free}\n"
    ));
    let pid = fleet.ready("cart-0");
    until("it serves", || get(free, "/").ok().filter(|body| *body == pid.to_string()));
    kill(pid, "KILL");
    until("another serves", || {
        get(free, "/").ok()?.parse::<u32>().ok().filter(|new| *new != pid && runs(*new))
    });
}

fn taken() {
    let port = crate::port::free_port();
    let fleet = Fleet::up(&format!(
        "  cart:\n    command: [\"{{homeostat}}\", service, serve]\n    listens: http\n    publish: {port}\n"
    ));
    fleet.ready("cart-0");
    assert_eq!(fleet.provider.sample().unwrap().unbound, []);
    fleet.kill_keeper();
    // What a killed process had open is closed with its last thread, a moment after it counts as dead.
    let thief = until("the port is free", || TcpListener::bind(("127.0.0.1", port)).ok());

    let told = until("it is seen", || fleet.provider.sample().unwrap().unbound.into_iter().next());
    assert_eq!((told.port, told.holder.as_ref().unwrap().pid), (port, std::process::id()), "{told:?}");
    assert!(told.what().contains(&format!("port {port}, which cart publishes")), "{}", told.what());
    assert!(told.why().contains("in use") && told.why().contains("publish another port"), "{}", told.why());
    // It is tried every second, and said once.
    let first = fleet.provider.sample().unwrap().taken;
    until("it was tried again", || {
        let sample = fleet.provider.sample().unwrap();
        assert_eq!(sample.unbound, std::slice::from_ref(&told));
        (sample.taken.since(first) > Duration::from_millis(2500)).then_some(())
    });
    let log = std::fs::read_to_string(fleet.dir.path().join("keeper/keeper.log")).unwrap();
    assert_eq!(log.matches(&format!("port {port}")).count(), 1, "{log}");

    drop(thief);
    until("it serves again", || get(port, "/").ok()?.parse::<u32>().ok());
    until("that is seen", || fleet.provider.sample().unwrap().unbound.is_empty().then_some(()));
}

fn own_log() {
    let fleet = shop();
    let log = fleet.dir.path().join("keeper/keeper.log");
    let mut text = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
    text.write_all(&b"said once too often\n".repeat(1 << 20)).unwrap();
    until("it is emptied", || (log.metadata().unwrap().len() < 1 << 20).then_some(()));
    let packed = fleet.dir.path().join("keeper/keeper.log.1.gz");
    assert!(packed.metadata().is_ok_and(|meta| meta.len() > 0));
}
