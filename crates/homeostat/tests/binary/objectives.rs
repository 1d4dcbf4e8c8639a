//! Objectives of the real binary over real processes: a full outage pages, and what was counted survives a kill.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Test;
use crate::fleet::{Fleet, until};
use crate::port::free_port;
use crate::processes::{self, Part};

pub(crate) const TESTS: &[Test] = &[
    ("a_full_outage_at_three_nines_pages_within_a_minute", outage),
    ("what_objectives_counted_survives_a_kill_and_counts_once", kill),
    ("a_wrong_objective_is_named_with_its_place_and_nothing_starts", wrong),
];

/// A page of a server that answers, and one whose answers nobody gets once it is gone.
const WEB: &str = "\
name: web
services:
  web:
    command: [python3, -m, http.server, \"{port}\", --bind, 127.0.0.1]
    listens: http
    publish: PORT
";

const ANSWERED: &str = "\
apiVersion: openslo/v1
kind: SLO
metadata: {name: answers}
spec:
  service: web
  budgetingMethod: Occurrences
  timeWindow: [{duration: 30d, isRolling: true}]
  objectives: [{target: 0.999}]
  indicator:
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {type: Homeostat, spec: {events: requests, to: web, outcome: bad}}}
        total: {metricSource: {type: Homeostat, spec: {events: requests, to: web}}}
";

/// A fleet of one web server with that objective, and the port it is published at.
fn fleet() -> (Fleet, u16) {
    let port = free_port();
    let fleet = Fleet::new("");
    let file = fleet.write("answered.yaml", ANSWERED);
    let config =
        format!("[otlp]\nenabled = false\n[slo]\nfiles = [{file:?}]\n[healing]\nauto_remediation = false\n");
    fleet.write("homeostat.toml", &config);
    let infrastructure = fleet.write("fleet.yaml", &WEB.replace("PORT", &port.to_string()));
    fleet.run(&["up", infrastructure.to_str().unwrap()]).done();
    (fleet, port)
}

fn ask(port: u16) -> bool {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .http_status_as_error(false)
        .build()
        .into();
    agent.get(format!("http://127.0.0.1:{port}/")).call().is_ok_and(|answer| answer.status().is_success())
}

fn objective(fleet: &Fleet) -> Value {
    fleet.run(&["slo", "show", "web-answers", "--json"]).json()
}

fn outage() {
    let (fleet, port) = fleet();
    until("a first answer", || if ask(port) { Ok(()) } else { Err("no answer".to_owned()) });
    fleet
        .run(&["chaos", "inject", "network_partition", "--target", "link/outside->web", "--for", "3m"])
        .done();
    let began = Instant::now();
    let alert = loop {
        ask(port);
        let slo = objective(&fleet);
        if slo["alerts_firing"].as_array().is_some_and(|firing| !firing.is_empty()) {
            break slo;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "no page after two minutes of outage: {slo}");
        std::thread::sleep(Duration::from_millis(200));
    };
    assert_eq!(alert["alerts"][0]["severity"], "page", "{alert}");
    until("an issue on the service", || {
        let issues = fleet.run(&["issues", "--json"]).json();
        let burns = |issue: &Value| issue["type"] == "slo_burn" && issue["resource"] == "service/web";
        if issues.as_array().unwrap().iter().any(burns) { Ok(()) } else { Err(issues.to_string()) }
    });
}

fn kill() {
    let (mut fleet, port) = fleet();
    until("every instance is ready", || fleet.all_ready());
    let total = |fleet: &Fleet| objective(fleet)["events"]["total"].as_f64().unwrap() as u64;
    let counted = |fleet: &Fleet, asked: u64| {
        until("every request counted", || {
            let counted = total(fleet);
            if counted >= asked { Ok(()) } else { Err(format!("{counted} of {asked}")) }
        });
    };
    for _ in 0..20 {
        assert!(ask(port));
    }
    counted(&fleet, 20);
    for _ in 0..2 {
        // The second one is a child of this process, and leads nothing.
        let running = fleet.processes();
        let control_plane = running.iter().find(|one| one.part == Part::ControlPlane).unwrap();
        processes::kill(control_plane.pid);
        for _ in 0..10 {
            ask(port);
        }
        fleet.serve();
        assert!(ask(port));
    }
    let asked = 20 + 2 * 11;
    counted(&fleet, asked);
    // Seconds are counted in their order: what would count twice is counted before this one.
    ask(port);
    counted(&fleet, asked + 1);
    assert_eq!(total(&fleet), asked + 1, "nothing counts twice");
}

fn wrong() {
    let fleet = Fleet::new("");
    let file = fleet.write("wrong.yaml", &ANSWERED.replace("0.999", "1.5"));
    fleet.write("homeostat.toml", &format!("[slo]\nfiles = [{file:?}]\n"));
    let checked = fleet.run(&["slo", "check", file.to_str().unwrap()]);
    assert_eq!(checked.code, Some(2), "{checked:#?}");
    assert!(checked.err.contains("wrong.yaml:8:"), "{}", checked.err);
    let served = fleet.run(&["serve", "--any-port"]);
    assert_ne!(served.code, Some(0));
    assert!(served.err.contains("wrong.yaml:8:"), "{}", served.err);
}
