//! Users, tokens and Infrastructures by the command line, against a server that runs: here, and as if it were elsewhere.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::Test;
use crate::fleet::{Fleet, Ran, until};
use crate::wrong_input::{SMALL, refused};

pub(crate) const TESTS: &[Test] = &[
    ("users_and_tokens_are_made_changed_and_ended_by_the_command_line", access),
    ("infrastructures_are_scaled_taken_down_and_looked_up_by_the_command_line", infrastructures),
    ("a_program_with_the_scope_of_the_guide_sees_what_it_did_to_the_end", scopes),
    ("where_two_people_are_asked_for_a_token_counts_as_its_owner", two_people),
];

const PASSWORD: &str = "a heron stood in the reeds";

/// Runs a command that reads this.
pub(crate) fn fed(fleet: &Fleet, words: &[&str], text: &str) -> Ran {
    let mut command = fleet.command(words);
    command.env("XDG_CONFIG_HOME", fleet.dir.parent().unwrap().join("config"));
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().unwrap();
    // Who refuses before it reads has closed it.
    let _ = running.stdin.take().unwrap().write_all(text.as_bytes());
    let output = running.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn access() {
    let fleet = Fleet::up("", SMALL);
    let run = |words: &[&str]| fed(&fleet, words, "");
    let refused_short = fed(&fleet, &["users", "create", "ada", "--role", "viewer"], "short\n");
    refused(&refused_short, 2, &["12"]);
    let line = format!("{PASSWORD}\n");
    fed(&fleet, &["users", "create", "ada", "--role", "viewer"], &line).done();
    let users = run(&["users", "list", "--json"]).done().json();
    assert_eq!((&users[0]["name"], &users[0]["roles"]), (&json!("ada"), &json!(["viewer"])));
    run(&["users", "roles", "ada", "viewer", "approver"]).done();
    fed(&fleet, &["users", "password", "ada", "--forget-factors"], &line).done();
    assert_eq!(run(&["users", "passkeys", "ada", "--json"]).done().json(), json!([]));
    refused(&run(&["users", "remove-passkey", "laptop", "--of", "ada"]), 2, &["no passkey \"laptop\""]);

    // As if the server were elsewhere.
    let address = std::fs::read_to_string(fleet.dir.join("address")).unwrap();
    let server = address.trim();
    let there = |words: &[&str]| fed(&fleet, &[words, &["--server", server]].concat(), &line);
    refused(&there(&["whoami"]), 2, &["homeostat login"]);
    refused(&fed(&fleet, &["login", "ada", "--server", server], "wrong, all of it\n"), 2, &["wrong"]);
    there(&["login", "ada"]).done();
    let file = fleet.dir.parent().unwrap().join("config/homeostat/servers.json");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept.contains("hst_") && !kept.contains(PASSWORD), "{kept}");
    let me = there(&["whoami", "--json"]).done().json();
    assert_eq!((&me["user"], &me["roles"]), (&json!("ada"), &json!(["viewer", "approver"])));
    refused(&there(&["users", "list"]), 2, &["access:manage", "admin"]);
    there(&["status"]).done();

    let made = run(&["token", "create", "ci", "--role", "viewer", "--expires-in", "1h"]).done();
    let secret = made.out.trim().to_owned();
    assert!(secret.starts_with("hst_"), "{made:#?}");
    let tokens = run(&["token", "list"]).done();
    assert!(tokens.out.contains("ci") && !tokens.out.contains(&secret), "{tokens:#?}");
    run(&["token", "revoke", "ci"]).done();
    let audit = there(&["audit", "list", "--action", "users.", "--json"]).done().json();
    let actions: Vec<&str> =
        audit.as_array().unwrap().iter().map(|one| one["action"].as_str().unwrap()).collect();
    assert!(actions.contains(&"users.create") && actions.contains(&"users.update"), "{actions:?}");

    // Other keys, and who kept the old ones knows the log by them.
    let kept = fleet.dir.parent().unwrap().join("audit.pub");
    std::fs::write(&kept, run(&["audit", "keys"]).done().out).unwrap();
    refused(&there(&["audit", "rotate-key"]), 2, &["server:manage"]);
    let keys = run(&["audit", "rotate-key"]).done();
    assert_eq!(keys.out, run(&["audit", "keys"]).done().out, "{keys:#?}");
    let verified = run(&["audit", "verify", "--json", "--keys", kept.to_str().unwrap()]).done().json();
    assert_eq!((&verified["holds"], &verified["rotations"]), (&json!(true), &json!(1)), "{verified:#}");
    until("the database has a head", || {
        let verified = run(&["audit", "verify", "--json"]).done().json();
        if verified["anchored"].as_u64().is_some() { Ok(()) } else { Err(verified.to_string()) }
    });

    there(&["logout"]).done();
    assert!(!std::fs::read_to_string(&file).unwrap().contains("hst_"));
    refused(&there(&["whoami"]), 2, &["homeostat login"]);
    run(&["users", "remove", "ada"]).done();
    refused(&there(&["login", "ada"]), 2, &["wrong"]);
    let far = fed(&fleet, &["whoami", "--server", "http://192.0.2.1:4000"], "");
    refused(&far, 2, &["in the clear"]);
}

fn infrastructures() {
    let fleet = Fleet::up("", SMALL);
    until("the service is ready", || fleet.all_ready());
    let up = fleet.run(&["infra", "list", "--json"]).done().json();
    assert_eq!((&up[0]["name"], &up[0]["services"]["ticker"]["replicas"]), (&json!("small"), &json!(2)));
    let shown = fleet.run(&["infra", "scale", "ticker", "3", "--dry-run", "--json"]).done().json();
    assert_eq!(shown["status"], "pending", "{shown:#}");
    fleet.run(&["infra", "scale", "ticker", "3"]).done();
    until("three run", || {
        let service = fleet.get("/api/v3/self-healing/services/ticker")?;
        if service["replicas"] == 3 { Ok(()) } else { Err(service.to_string()) }
    });
    let items = until("items are known", || {
        let items = fleet.run(&["infra", "items", "--kind", "service", "--json"]).done().json();
        if items.as_array().is_some_and(|all| !all.is_empty()) { Ok(items) } else { Err(items.to_string()) }
    });
    assert_eq!(items[0]["id"], "service/ticker");
    let history: Value = fleet.run(&["infra", "history", "service/ticker", "--json"]).done().json();
    assert_eq!(history.as_array().unwrap().last().unwrap()["kind"], "appeared", "{history:#}");
    refused(&fleet.run(&["infra", "history", "service/nobody"]), 2, &["no item service/nobody"]);
    // Taking it down waits for a person.
    let waits = fleet.run(&["infra", "delete", "small"]);
    assert_eq!(waits.code, Some(4), "{waits:#?}");
    assert!(waits.err.contains("homeostat approve"), "{waits:#?}");
    refused(&fleet.run(&["infra", "delete", "large"]), 2, &["large"]);
}

/// The scopes of `docs/guides/secure-it.md`, and the same without what lets them watch.
fn scopes() {
    let fleet = Fleet::up("", SMALL);
    until("the service is ready", || fleet.all_ready());
    let address = std::fs::read_to_string(fleet.dir.join("address")).unwrap();
    let by = |name: &str, scope: &[&str], words: &[&str]| {
        let body = json!({ "name": name, "roles": ["operator"], "scope": scope });
        let made = fleet.post("/api/v3/access/tokens", &body).unwrap();
        let mut command = fleet.command(&[words, &["--server", address.trim()]].concat());
        let output = command.env("HOMEOSTAT_TOKEN", made["token"].as_str().unwrap()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    };
    by("scales", &["infrastructure:write", "state:read"], &["infra", "scale", "ticker", "3"]).done();
    let pause = ["chaos", "inject", "pause", "--target", "instance/ticker-0", "--for", "1s"];
    by("disturbs", &["chaos:run", "state:read"], &pause).done();
    until("nothing is disturbed any more", || fleet.all_ready());
    by("deploys", &["services:operate", "state:read"], &["deploy", "ticker", "--version", "2"]).done();
    let blind = by("blind", &["services:operate"], &["deploy", "ticker", "--version", "3"]);
    assert_eq!(blind.code, Some(1), "{blind:#?}");
    assert!(blind.err.contains("was begun") && blind.err.contains("needs state:read"), "{blind:#?}");
    // It names the plan, which goes on.
    let id = blind.err.split_once("plan ").and_then(|(_, rest)| rest.split(' ').next()).unwrap();
    until("what was begun is done", || {
        let plan = fleet.get(&format!("/api/v3/self-healing/remediations/{id}"))?;
        if plan["status"] == "success" { Ok(()) } else { Err(plan["status"].to_string()) }
    });
}

fn two_people() {
    let fleet = Fleet::up("[policy.approval]\ntwo_people = true\n", SMALL);
    until("the service is ready", || fleet.all_ready());
    let line = format!("{PASSWORD}\n");
    for name in ["ada", "bob"] {
        fed(&fleet, &["users", "create", name, "--role", "admin"], &line).done();
    }
    let made = |body: Value| {
        let made = fleet.post("/api/v3/access/tokens", &body).unwrap();
        made["token"].as_str().unwrap().to_owned()
    };
    let of = |name: &str, owner: &str| made(json!({ "name": name, "owner": owner, "roles": ["admin"] }));
    let (laptop, pipeline, bobs) = (of("laptop", "ada"), of("pipeline", "ada"), of("bob's", "bob"));
    let address = std::fs::read_to_string(fleet.dir.join("address")).unwrap();
    let as_whom = |token: &str, words: &[&str]| {
        let mut command = fleet.command(&[words, &["--server", address.trim()]].concat());
        let output = command.env("HOMEOSTAT_TOKEN", token).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    };
    let waits = as_whom(&laptop, &["infra", "delete", "small", "--json"]);
    assert_eq!(waits.code, Some(4), "{waits:#?}");
    let plan: Value = serde_json::from_str(&waits.out).unwrap();
    let id = plan["id"].as_str().unwrap();
    for own in [&laptop, &pipeline] {
        refused(&as_whom(own, &["approve", id]), 4, &["ada asked for this plan", "two_people"]);
    }
    // Whoever holds the token of the data directory made this one, and has it.
    let nobodys = made(json!({ "name": "nobody's", "roles": ["admin"] }));
    as_whom(&bobs, &["reject", id]).done();
    let waits = as_whom(&nobodys, &["infra", "delete", "small", "--json"]);
    let plan: Value = serde_json::from_str(&waits.out).unwrap();
    let id = plan["id"].as_str().unwrap();
    refused(&fed(&fleet, &["approve", id], ""), 4, &["local token asked for this plan", "two_people"]);
    as_whom(&bobs, &["approve", id]).done();
}
