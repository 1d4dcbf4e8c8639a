//! What is answered when the one who asked cannot hear, or asks for what takes longer than an answer may.

use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use crate::Test;
use crate::fleet::{Fleet, until};
use crate::port::free_port;
use crate::processes::{self, Part};
use crate::wrong_input::SMALL;

pub(crate) const TESTS: &[Test] = &[
    ("a_reader_that_went_away_ends_no_command", reader_gone),
    ("a_fault_that_is_not_felt_in_time_is_accepted_and_told_later", slow_to_be_felt),
];

/// Lets a command write where nobody reads any more.
fn unheard(command: &mut Command) -> &mut Command {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer.try_clone().unwrap()).stderr(writer)
}

fn reader_gone() {
    let fleet = Fleet::up("", SMALL);
    until("every instance is ready", || fleet.all_ready());
    for words in
        [&["config", "check"][..], &["config", "init"], &["status"], &["issues"], &["pause", "ticker"]]
    {
        let ended = unheard(&mut fleet.command(words)).status().unwrap();
        assert_eq!(ended.code(), Some(0), "{words:?}");
    }
    // Wrong use keeps its exit code.
    let ended = unheard(&mut fleet.command(&["heal", "1234"])).status().unwrap();
    assert_eq!(ended.code(), Some(2));

    processes::kill(fleet.the(&Part::ControlPlane));
    std::fs::remove_file(fleet.dir.join("address")).unwrap();
    let mut serving = unheard(&mut fleet.command(&["serve", "--any-port"])).spawn().unwrap();
    until("it serves", || fleet.get("/health"));
    // What it says at an emergency stop is lost, and the stop is not.
    processes::signal(serving.id(), Signal::USR1);
    until("everything is stopped", || {
        let state = fleet.get("/api/v3/chaos/emergency-stop")?;
        if state["engaged"] == true { Ok(()) } else { Err(state.to_string()) }
    });
    processes::signal(serving.id(), Signal::TERM);
    assert_eq!(serving.wait().unwrap().code(), Some(0));
    fleet.run(&["down"]).done();
}

/// Connections that are open now are throttled, and there are none: nothing is felt.
fn slow_to_be_felt() {
    let port = free_port();
    let infrastructure = format!(
        "name: one\nservices:\n  database:\n    command: [\"{{homeostat}}\", demo-service, database]\n    \
         listens: http\n    publish: {port}\n    volume: {{ size: 8MiB }}\n"
    );
    let fleet = Fleet::up("", &infrastructure);
    until("every instance is ready", || fleet.all_ready());
    let body = json!({
        "name": "nobody there", "type": "api_throttling", "duration_seconds": 60,
        "target": {"resource": "link/outside->database"},
        "parameters": {"requests_per_second": 5, "scope": "established_connections"},
    });
    // Refused while it is being rolled out.
    let accepted = until("it is accepted", || fleet.post("/api/v3/chaos/experiment", &body));
    // An answer that had waited for it to be felt would say that it failed.
    assert!(accepted["started_at"].is_null() && accepted["status"] == "running", "{accepted:#}");
    let path = format!("/api/v3/chaos/experiment/{}", accepted["id"].as_str().unwrap());
    until("it is told that nothing was felt", || {
        let experiment = fleet.get(&path)?;
        let is_told = experiment["status"] == "failed" && experiment["error"].is_string();
        if is_told { Ok(()) } else { Err(experiment.to_string()) }
    });
}
