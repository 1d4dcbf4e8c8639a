//! Which program runs: beside the file that names it, from where a command was given, by the service's own PATH; and what is
//! told where there is none, and where a service's port is somebody else's.

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;
use serde_json::json;

use crate::Test;
use crate::fleet::{Fleet, until};
use crate::processes::{self, Part};
use crate::wrong_input::{nothing_runs, refused};

pub(crate) const TESTS: &[Test] = &[
    ("a_relative_program_runs_by_a_file_and_by_a_deployment_and_is_refused_over_the_api", relative),
    ("a_program_that_is_not_there_is_told_by_file_and_service_before_anything_is_started", missing),
    ("a_published_port_that_somebody_else_has_is_among_the_troubles", taken_port),
];

/// A program that does nothing, in a directory.
fn program(path: &Path) {
    std::fs::write(path, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

fn relative() {
    let fleet = Fleet::new("");
    let (home, next) = (fleet.dir.parent().unwrap(), fleet.dir.parent().unwrap().join("next"));
    std::fs::create_dir(&next).unwrap();
    [home, &next].iter().for_each(|dir| program(&dir.join("web")));
    let text = "name: small\nservices:\n  web:\n    command: [./web]\n";
    let file = fleet.write("fleet.yaml", text);
    fleet.run(&["up", file.to_str().unwrap()]).done();
    until("it runs", || fleet.all_ready());
    let from = |dir: &Path, words: &[&str]| {
        // What follows `--command` is the service's, to the end of the line.
        let ran = fleet.command_before(words).current_dir(dir).output().unwrap();
        assert!(ran.status.success(), "{words:?}: {ran:?}");
    };
    let before = fleet.pid("web-0");
    from(home, &["up", "./fleet.yaml"]);
    assert_eq!(fleet.pid("web-0"), before, "the same again, named otherwise, changes nothing");
    from(&next, &["deploy", "web", "--version", "2", "--command", "./web"]);
    let runs = std::fs::read_to_string(format!("/proc/{}/environ", fleet.pid("web-0"))).unwrap();
    assert!(runs.contains("service.version=2"), "{runs}");

    let path = "/api/v3/self-healing/deploy/web";
    let refused = fleet.post(path, &json!({ "version": "3", "command": ["./web"] })).unwrap_err();
    assert!(refused.contains("./web") && refused.contains("whole path"), "{refused}");
    let environment = json!({ "HOMEOSTAT_WORKER": "mine" });
    let refused = fleet.post(path, &json!({ "version": "3", "environment": environment })).unwrap_err();
    assert!(refused.contains("HOMEOSTAT_WORKER"), "{refused}");
    let refused = fleet.post("/api/v3/infrastructures", &json!({ "definition": text })).unwrap_err();
    assert!(refused.contains("definition:4:5") && refused.contains("./web"), "{refused}");
}

fn missing() {
    let fleet = Fleet::new("");
    let text = "name: small\nservices:\n  web:\n    command: [./web]\n";
    let file = fleet.write("fleet.yaml", text);
    let program = fleet.dir.parent().unwrap().join("web").display().to_string();
    let words = ["fleet.yaml", "services.web.command", "there is no program", &program];
    refused(&fleet.run(&["up", file.to_str().unwrap()]), 2, &words);
    refused(&fleet.run(&["serve", "--infrastructure", file.to_str().unwrap()]), 2, &words);
    nothing_runs(&fleet);
    assert!(std::fs::read_dir(&fleet.dir).unwrap().next().is_none(), "nothing was begun");
    let own =
        "name: small\nservices:\n  web:\n    command: [sleep, \"1000\"]\n    environment: {PATH: /nowhere}\n";
    let file = fleet.write("fleet.yaml", own);
    refused(&fleet.run(&["up", file.to_str().unwrap()]), 2, &["no program sleep in its own PATH (/nowhere)"]);
}

fn taken_port() {
    let port = crate::port::free_port();
    let fleet = Fleet::up(
        "",
        &format!(
            r#"name: small
services:
  database:
    command: ["{{homeostat}}", demo-service, database]
    listens: http
    publish: {port}
    volume: {{ size: 8MiB }}
"#
        ),
    );
    let plane = fleet.the(&Part::ControlPlane);
    // It starts another keeper at once otherwise, which is faster than we are.
    processes::signal(plane, Signal::STOP);
    processes::kill(fleet.the(&Part::Keeper));
    // What a killed process had open is closed with its last thread, which may end after it is gone from the list.
    let thief = until("the port is free", || {
        TcpListener::bind(("127.0.0.1", port)).map_err(|error| error.to_string())
    });
    processes::signal(plane, Signal::CONT);
    let troubles = || fleet.get("/health").map(|health| health["troubles"].to_string());
    let told = until("it is told", || {
        troubles().and_then(|told| if told.contains(&port.to_string()) { Ok(told) } else { Err(told) })
    });
    assert!(told.contains("which database publishes") && told.contains("publish another port"), "{told}");
    assert!(told.contains(&format!("(process {})", std::process::id())), "{told}");
    assert!(fleet.run(&["status"]).out.contains(&format!("port {port}, which database publishes")));
    drop(thief);
    until("it is over", || troubles().and_then(|told| if told == "[]" { Ok(()) } else { Err(told) }));
}
