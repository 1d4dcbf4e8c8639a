//! What a control plane is started with and what it is ended with are plans like every other: judged, journaled, and in the
//! audit trail with who asked.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::Test;
use crate::fleet::{Fleet, until};
use crate::processes::{self, Part};
use crate::wrong_input::{SMALL, refused};

pub(crate) const TESTS: &[Test] = &[
    ("what_up_starts_and_down_ends_are_plans_that_the_audit_trail_knows", up_and_down),
    ("down_without_a_control_plane_settles_what_it_left_and_is_recorded", after_a_kill),
    ("the_emergency_stop_holds_up_back_and_not_down", emergency),
    ("where_two_people_are_asked_for_down_waits_for_the_second", two_people),
    ("what_is_produced_with_is_started_by_who_starts_it_unless_two_people_are_asked_for", production),
    ("a_loop_that_only_shows_its_plans_is_started_and_ended_all_the_same", dry_run),
    ("down_ends_a_fleet_whose_records_cannot_be_written_and_says_so", unwritable),
    ("what_is_changed_beside_the_api_is_in_the_audit_trail_with_who_did_it", beside_the_api),
];

/// The records of an action, oldest first, read from the directory itself.
fn records(fleet: &Fleet, action: &str) -> Vec<Value> {
    let all = fleet.run(&["audit", "export"]).done().out;
    let all = all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|record| record["action"] == action).collect()
}

/// Plans that are no repairs, newest first.
fn operations(fleet: &Fleet) -> Vec<Value> {
    let all = fleet.get("/api/v3/self-healing/remediations?purpose=operation").unwrap();
    all.as_array().unwrap().clone()
}

/// Who runs this test, as the trail calls them.
fn me() -> String {
    format!("uid {}", rustix::process::getuid().as_raw())
}

fn is_of(record: &Value, plan: &Value, outcome: &str) {
    let found = ["who", "via", "target", "outcome", "plan"].map(|field| record[field].clone());
    let expected = [json!(me()), json!("command_line"), json!("infrastructure/small"), json!(outcome)];
    assert_eq!(found[..4], expected, "{record:#}");
    assert_eq!(found[4], plan["id"], "{record:#}");
}

fn up_and_down() {
    let mut fleet = Fleet::up("", SMALL);
    let [up] = &operations(&fleet)[..] else { panic!("{:#?}", operations(&fleet)) };
    assert_eq!((&up["status"], &up["requested_by"]), (&json!("success"), &json!("local token")), "{up:#}");
    // Somebody had it brought up: that stands with what there is.
    let found = until("the service is known", || {
        let history = fleet.run(&["infra", "history", "infrastructure/small", "--json"]);
        if history.code == Some(0) { Ok(history.json()) } else { Err(history.err) }
    });
    assert_eq!(
        (&found[0]["who"], &found[0]["remediation_id"]),
        (&json!("local token"), &up["id"]),
        "{found:#}"
    );
    fleet.run(&["down"]).done();
    assert!(fleet.processes().is_empty(), "{:#?}", fleet.processes());

    let created = records(&fleet, "infrastructures.create");
    let deleted = records(&fleet, "infrastructures.delete");
    assert_eq!((created.len(), deleted.len()), (1, 1), "{created:#?} {deleted:#?}");
    is_of(&created[0], up, "done");
    let ended = records(&fleet, "operation.success");
    assert_eq!(
        ended.iter().map(|record| &record["plan"]).collect::<Vec<_>>(),
        [&up["id"], &deleted[0]["plan"]]
    );
    fleet.run(&["audit", "verify"]).done();

    fleet.serve();
    let down = &operations(&fleet)[0];
    is_of(&deleted[0], down, "done");
    assert_eq!((&down["status"], operations(&fleet).len()), (&json!("success"), 2), "{down:#}");
    // Nothing is up: there is nothing to take down.
    fleet.run(&["down"]).done();
    assert_eq!(records(&fleet, "infrastructures.delete").len(), 1);
}

fn after_a_kill() {
    let fleet = Fleet::up("", SMALL);
    until("ticker-0 runs", || fleet.all_ready());
    let words = ["chaos", "inject", "pause", "--target", "instance/ticker-0", "--for", "10m"];
    fleet.run(&words).done();
    processes::kill(fleet.the(&Part::ControlPlane));
    fleet.run(&["down"]).done();
    assert!(fleet.processes().is_empty(), "{:#?}", fleet.processes());
    assert_eq!(records(&fleet, "infrastructures.delete").len(), 1);
    // Its fault was ended, and nothing is owed to the next start.
    let ran = fleet.run(&["chaos", "recover"]).done();
    assert!(ran.err.contains("nothing was left behind"), "{ran:#?}");
}

fn emergency() {
    let mut fleet = Fleet::new("");
    fleet.serve();
    fleet.run(&["chaos", "stop", "--emergency"]).done();
    fleet.run(&["down"]).done();
    let file = fleet.write("fleet.yaml", SMALL);
    let up = ["up", file.to_str().unwrap()];
    let held = fleet.run(&up);
    refused(&held, 4, &["small is not up", "the emergency stop is latched; clear it first"]);
    // It is cleared where a control plane runs.
    fleet.run(&["chaos", "resume"]).done();
    fleet.run(&up).done();
    fleet.run(&["chaos", "stop", "--emergency"]).done();
    fleet.run(&["down"]).done();
    assert!(fleet.processes().is_empty(), "{:#?}", fleet.processes());
    let outcomes: Vec<Value> =
        records(&fleet, "infrastructures.create").iter().map(|record| record["outcome"].clone()).collect();
    assert_eq!(outcomes, ["refused", "done"]);
    assert_eq!(records(&fleet, "infrastructures.delete")[0]["outcome"], "done");
}

fn two_people() {
    let mut fleet = Fleet::up("[policy.approval]\ntwo_people = true\n", SMALL);
    until("the service is ready", || fleet.all_ready());
    let words = ["somebody else", "policy.approval.two_people", "homeostat infra delete small"];
    refused(&fleet.run(&["down"]), 4, &words);
    // By the policy of the control plane that runs, whatever is configured for who asks.
    let other = fleet.write("other.toml", "");
    refused(&fleet.run_with(&other, &["down"]), 4, &words);
    fleet.all_ready().unwrap();
    processes::kill(fleet.the(&Part::ControlPlane));
    refused(&fleet.run(&["down"]), 4, &words);
    fleet.serve();
    fleet.all_ready().unwrap();
    assert!(records(&fleet, "infrastructures.delete").is_empty());
}

fn production() {
    let infrastructure = SMALL.replacen("services:", "environment: production\nservices:", 1);
    let fleet = Fleet::up("", &infrastructure);
    until("the service is ready", || fleet.all_ready());
    fleet.run(&["down"]).done();

    let fleet = Fleet::new("[policy.approval]\ntwo_people = true\n");
    let file = fleet.write("fleet.yaml", &infrastructure);
    let waits = fleet.run(&["up", file.to_str().unwrap()]);
    refused(&waits, 4, &["small is not up", "production", "homeostat approve"]);
    let plan = operations(&fleet)[0]["id"].as_str().unwrap().to_owned();
    // With the token of the directory it is the same person.
    refused(&fleet.run(&["approve", &plan]), 4, &["somebody else", "two_people"]);
    fleet.run(&["down"]).done();
}

fn dry_run() {
    let fleet = Fleet::up("[healing]\ndry_run = true\n", SMALL);
    until("the service is ready", || fleet.all_ready());
    fleet.run(&["down"]).done();
    assert!(fleet.processes().is_empty(), "{:#?}", fleet.processes());
    assert_eq!(records(&fleet, "infrastructures.delete").len(), 1);
}

fn unwritable() {
    let fleet = Fleet::up("", SMALL);
    processes::kill(fleet.the(&Part::ControlPlane));
    // As after a damage of the disk.
    for name in ["homeostat.db", "homeostat.db-wal"] {
        std::fs::write(fleet.dir.join(name), "nothing of a database").unwrap();
    }
    let ran = fleet.run(&["down"]).done();
    for word in ["by no plan", "in no audit trail", "homeostat.db"] {
        assert!(ran.err.contains(word), "{word:?} is not said: {}", ran.err);
    }
    assert!(fleet.processes().is_empty(), "{:#?}", fleet.processes());
}

fn beside_the_api() {
    let mut fleet = Fleet::up("", SMALL);
    fleet.serve_as_configured();
    let server = store::holder(&fleet.dir).unwrap().unwrap().pid;
    let signal = |signal| processes::signal(server, signal);
    let recorded = |action: &str, many: usize| {
        until(&format!("{many} of {action}"), || {
            let found = records(&fleet, action);
            if found.len() == many { Ok(found) } else { Err(format!("{found:#?}")) }
        })
    };
    let is = |record: &Value, who: &str, via: &str, outcome: &str, detail: &str| {
        let found = ["who", "via", "outcome"].map(|field| record[field].clone());
        assert_eq!(found, [json!(who), json!(via), json!(outcome)], "{record:#}");
        assert!(record["detail"].as_str().unwrap().contains(detail), "{record:#}");
    };
    fleet.write("homeostat.toml", "[policy.approval]\ntwo_people = true\n[otlp]\nhttp_port = 4711\n");
    fleet.run(&["reload"]).done();
    fleet.write("homeostat.toml", "[policy]\nnothing = 1\n");
    assert_eq!(fleet.run(&["reload"]).code, Some(2));
    fleet.write("homeostat.toml", "");
    signal(Signal::HUP);
    let all = recorded("configuration.reload", 3);
    is(&all[0], &me(), "command_line", "done", "policy.approval.two_people is in force: true");
    is(&all[0], &me(), "command_line", "done", "otlp.http_port waits for a restart");
    is(&all[1], &me(), "command_line", "failed", "nothing");
    is(&all[2], "sender of SIGHUP", "signal", "done", "policy.approval.two_people is in force: false");

    fleet.run(&["log-level", "debug", "--for", "2m"]).done();
    is(&recorded("log_level.set", 1)[0], &me(), "command_line", "done", "debug for 2.0 min");

    let file = fleet.dir.join("EMERGENCY_STOP");
    std::fs::write(&file, "").unwrap();
    is(&recorded("emergency_stop.engage", 1)[0], &me(), "signal", "done", "0 faults taken out");
    signal(Signal::USR1);
    is(&recorded("emergency_stop.engage", 2)[1], "sender of SIGUSR1", "signal", "done", "0 faults taken out");

    let archive = fleet.dir.parent().unwrap().join("backup.tar.zst");
    let made = fleet.run(&["backup", archive.to_str().unwrap(), "--json"]).json();
    let elsewhere = Fleet::new("");
    elsewhere.run(&["restore", archive.to_str().unwrap()]).done();
    let restored = records(&elsewhere, "backup.restore");
    is(&restored[0], &me(), "command_line", "done", made["made_at"].as_str().unwrap());
    assert_eq!(restored[0]["target"], archive.to_str().unwrap());
    elsewhere.run(&["audit", "verify"]).done();
}
