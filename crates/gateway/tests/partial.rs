//! A part of a page that fails says so in its place, with what to do, and the rest of the page is shown.

mod support;

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use support::server::Server;
use support::traces::trace_id;
use support::whole;

/// What stands in the place of a part.
const FAILED: &str = "<strong>Cannot be shown now</strong>";
const NEXT: &str = "<a href=\"\">Try again</a>";

/// Takes a table of the server's database away.
fn break_table(server: &Server, table: &str) {
    counterpart::take_table_away(&server.directory().join("state/homeostat.db"), table);
}

/// The page with one part that failed, below this heading, and all of the rest.
#[track_caller]
fn assert_fails_alone(page: &str, heading: &str, rest: &[&str]) {
    assert_eq!(page.matches(FAILED).count(), 1, "{page}");
    assert!(page.contains(NEXT) && page.contains("The rest of this page can."), "{page}");
    let (before, _) = page.split_once(FAILED).unwrap();
    let last = before
        .rsplit("<h")
        .find(|rest| rest.starts_with('1') || rest.starts_with('2') || rest.starts_with('3'));
    assert!(last.is_some_and(|last| last.contains(heading)), "not below {heading}: {page}");
    for text in rest {
        assert!(page.contains(text), "{text} is not on {page}");
    }
}

/// A page as an admin sees it, who is a user.
fn seen(server: &Server, cookie: &str, path: &str) -> String {
    let reply = server.raw("GET", path, &[("host", &server.host()), ("cookie", cookie)], "");
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    reply.body
}

fn first(server: &Server, list: &str) -> String {
    server.get(&format!("/{list}&format=json")).json()[0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn without_deployments_only_what_tells_of_them_is_missing() {
    let server = whole::full_on_disk();
    let (experiment, issue) =
        (first(&server, "experiments?status=completed"), first(&server, "issues?state=open"));
    break_table(&server, "deployments");
    let page = server.get(&format!("/experiments/{experiment}")).body;
    assert_fails_alone(&page, "Time line", &["<h2>Fault", "<h2>Course", "<h2>Record"]);
    let page = server.get("/slos/cart-answers").body;
    assert_fails_alone(
        &page,
        "Deployments",
        &["class=\"spent\"", "How fast it burns", "What was wrong meanwhile"],
    );
    let page = server.get("/").body;
    assert_fails_alone(&page, "Time line", &["class=\"health\"", "Needs you", "Happening now"]);
    let page = server.get("/timeline?lane=issues&lane=deployments&lane=actions").body;
    assert!(page.contains("pod crash cart-1") && page.contains("<h3>Deployments</h3>"), "{page}");
    let page = server.get(&format!("/issues/{issue}")).body;
    assert!(
        page.contains("<h2>Why") && page.contains("<h2>Time line</h2>") && page.contains(FAILED),
        "{page}"
    );
    // A question that was wrong is no part that failed.
    assert_eq!(server.get("/timeline?within=x").status, 422);
    assert_eq!(server.get("/issues?severity=x").status, 422);
}

#[test]
fn a_list_that_cannot_be_read_leaves_what_runs_and_the_form() {
    let server = whole::full_on_disk();
    break_table(&server, "experiments");
    let page = server.get("/experiments").body;
    assert_fails_alone(
        &page,
        "Experiments",
        &["2 faults are injected on purpose.", "it ends by itself", "name=\"status\""],
    );
}

#[test]
fn configuration_items_are_shown_without_their_relations_or_their_history() {
    let server = whole::full_on_disk();
    break_table(&server, "cmdb_relations");
    let page = server.get("/cmdb").body;
    assert_fails_alone(
        &page,
        "How they belong together",
        &["38 configuration items.", "href=\"/cmdb/item?id=service%2Fcart\""],
    );
    let page = server.get("/cmdb/item?id=service%2Fcart").body;
    assert_fails_alone(&page, "Belongs together with", &["<h2>Declared", "<h2>History"]);
    let server = whole::full_on_disk();
    break_table(&server, "cmdb_changes");
    let page = server.get("/cmdb/item?id=service%2Fcart").body;
    assert_fails_alone(&page, "Changes", &["<h2>Declared", "<h2>Belongs together with", "<h2>History"]);
}

#[test]
fn a_repair_is_shown_without_how_far_its_steps_came() {
    let server = whole::full_on_disk();
    let (plan, issue) = (first(&server, "remediations?status=success"), first(&server, "issues?state=open"));
    break_table(&server, "journal");
    let page = server.get(&format!("/remediations/{plan}")).body;
    assert_fails_alone(&page, "How far its steps came", &["<h2>Why", "1 of 1", "<h2>Proof"]);
    let page = server.get(&format!("/issues/{issue}")).body;
    assert_fails_alone(&page, "How far its steps came", &["<h2>Seen", "<h2>Proof", "Time line"]);
}

#[test]
fn plans_can_be_decided_where_nobody_knows_until_when() {
    let server = whole::full_on_disk();
    break_table(&server, "timers");
    let page = server.get("/approvals").body;
    assert_fails_alone(
        &page,
        "Until when each can be decided",
        &["1 plan waits for a person.", "name=\"requested_by\"", "<h2>Decide", "/reject"],
    );
    // A file has no place to say what it leaves out.
    assert_eq!(server.get("/approvals?format=csv").status, 500);
}

#[test]
fn figures_of_our_own_stand_without_those_of_the_user() {
    let server = whole::full_on_disk();
    server.fleet.store.put_document("statistics/baseline", "torn {").unwrap();
    let page = server.get("/statistics").body;
    assert_fails_alone(
        &page,
        "Your figures",
        &["Time to repair", "By type of issue", "name=\"mttr_minutes\""],
    );
    assert!(page.contains("your figures cannot be read"), "{page}");
    // They are entered anew, and all is well again.
    let kept =
        server.submit("/statistics/baseline", "mttr_minutes=45&outage_cost_per_hour=", &server.cookie());
    assert_eq!(kept.status, 303, "{}", kept.body);
    assert!(!server.get("/statistics").body.contains(FAILED));
}

#[test]
fn an_account_is_shown_without_its_passkeys_or_tokens() {
    let server = whole::full_on_disk();
    let ada = whole::ada(&server);
    break_table(&server, "passkeys");
    let page = seen(&server, &ada, "/account");
    assert_fails_alone(&page, "Passkeys", &["You are ada", "<h2>Sessions", "<h2>Tokens", "<h2>Password"]);
    let page = seen(&server, &ada, "/users/grace");
    assert_fails_alone(&page, "Passkeys", &["Grace Hopper", "<h2>Sessions", "<h2>Ways in"]);
}

/// The file of spans and logs that was written last.
fn newest_segment(dir: &Path) -> PathBuf {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|ending| ending == "segment") {
                found.push(path);
            }
        }
    }
    found.into_iter().max().expect("what was sent is on the disk")
}

#[test]
fn a_trace_is_shown_without_its_logs() {
    let server = whole::full();
    let address = format!("/traces/{}", trace_id(7));
    let whole = server.get(&format!("{address}?tab=logs")).body;
    assert!(whole.contains("charging 41.90 EUR"), "{whole}");
    let span = whole.split("href=\"?span=").nth(1).unwrap().split('"').next().unwrap().to_owned();
    // The logs were sent last: the end of the file is theirs.
    let mut file = OpenOptions::new().write(true).open(newest_segment(server.directory())).unwrap();
    file.seek(SeekFrom::End(-24)).unwrap();
    file.write_all(&[0xA5; 16]).unwrap();
    let page = server.get(&format!("{address}?tab=logs")).body;
    assert_fails_alone(&page, "Logs", &["<dt>Duration", "Waterfall", "Compare with another"]);
    let page = server.get(&format!("{address}?span={span}")).body;
    assert_fails_alone(&page, "Logs", &["<h3>Attributes", "class=\"span-detail\"", "Critical path"]);
}
