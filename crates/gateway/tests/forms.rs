//! What forms on pages ask for, over HTTP: decisions with a reason, experiments from a form, the user's own figures; and
//! what the pages weigh.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use audit::{Audit, Filter, Outcome};
use domain::PlanStatus;
use gateway::{Control, RunMode};
use serde_json::json;
use support::graphql::code;
use support::server::{Kept, Server, assert_problem, serve_with, start};
use support::{Fleet, MachineClock, scene, whole};

const SHOP: &str = "name: shop\nservices: { cart: { command: [cart] } }\n";

fn waiting(server: &Server) -> String {
    server.get("/remediations?status=awaiting_approval&format=json").json()[0]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_decision_keeps_why_and_leads_back() {
    let server = start(scene::busy);
    let page = server.get("/approvals").body;
    for text in [
        "1 plan waits for a person.",
        "asked <time",
        "by healing",
        "Clear the caches of catalogue-0",
        "Cannot be taken back",
        "Diagnosis confidence 82.0 %",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let (id, cookie) = (waiting(&server), server.cookie());
    let long = "x".repeat(501);
    let refused = server.submit(&format!("/remediations/{id}/approve"), &format!("reason={long}"), &cookie);
    assert_eq!(refused.status, 422);
    assert_eq!(waiting(&server), id, "a reason that is refused decided nothing");
    let form = "reason=looked+at+the+%3Ccache%3E&back=%2Fapprovals";
    let reply = server.submit(&format!("/remediations/{id}/approve"), form, &cookie);
    assert_eq!((reply.status, reply.header("location")), (303, Some("/approvals")));
    let page = server.get(&format!("/remediations/{id}")).body;
    assert!(page.contains("<q>looked at the &lt;cache&gt;</q>"), "{page}");
    assert!(server.get("/approvals").body.contains("Nothing waits for a person."));
}

#[test]
fn a_decision_on_what_was_chosen_leads_back_to_what_was_chosen() {
    let server = start(scene::asked);
    let address = "/approvals?requested_by=ada&q=1%20of%20orders&sort=-created_at";
    let page = server.get(address).body;
    let (_, form) = page.split_once("<form class=\"decide\"").unwrap();
    let (_, rest) = form.split_once("name=\"back\" value=\"").unwrap();
    let back = rest.split('"').next().unwrap().replace("&amp;", "&");
    assert_eq!(back, address);
    let id = server.get(&format!("{address}&format=json")).json()[0]["id"].as_str().unwrap().to_owned();
    let form = format!("back={}", back.replace('%', "%25").replace('&', "%26"));
    let reply = server.submit(&format!("/remediations/{id}/reject"), &form, &server.cookie());
    assert_eq!((reply.status, reply.header("location")), (303, Some(address)), "{}", reply.body);
    let page = server.get(address).body;
    assert!(page.contains("3 plans wait for a person.") && page.contains("No approval matches."), "{page}");
}

#[test]
fn what_somebody_asked_for_and_waits_for_its_turn_can_be_rejected_on_its_page() {
    let server = start(scene::busy);
    let asked = server.fleet.scale(&"cart".parse().unwrap(), 7, RunMode::Run, "ada").unwrap();
    server
        .fleet
        .store
        .add_plan(&asked.plan, PlanStatus::Pending, &["a roll-out is under way".to_owned()])
        .unwrap();
    let page = format!("/remediations/{}", asked.plan.id);
    let reject = format!("action=\"{page}/reject\"");
    let body = server.get(&page).body;
    assert!(body.contains(&reject) && !body.contains("Approve and run"), "{body}");
}

#[test]
fn an_experiment_is_previewed_before_it_is_begun() {
    let server = start(scene::calm);
    let query =
        "type=network_latency&target=link%2Ffront-%3Ecart&duration=30&delay_ms=250&jitter_ms=10&scope=cart-0";
    let page = server.get(&format!("/experiments/preview?{query}")).body;
    for text in [
        "Latency of 250 ms ± 10 ms on the path to cart-0 for 30 s at front → cart?",
        "Nothing was changed.",
        "name=\"delay_ms\" value=\"250\"",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(server.fleet.faults.lock().unwrap().is_empty());
    let asked = server.submit("/experiments/start", query, "");
    assert_eq!(asked.header("location"), Some("/login?next=%2Fexperiments%2Fnew"));
    let reply = server.submit("/experiments/start", query, &server.cookie());
    assert_eq!(reply.status, 303, "{}", reply.body);
    assert_eq!(server.fleet.faults.lock().unwrap().len(), 1);
    assert_eq!(server.get(reply.header("location").unwrap()).status, 200);
}

#[test]
fn what_cannot_be_begun_leads_back_to_the_form_with_why() {
    let server = start(scene::calm);
    for (query, text) in [
        ("type=pause&target=instance%2Fcart-1&duration=0", "duration_seconds"),
        ("type=pause&duration=30", "target.resource"),
        ("type=pause&target=link%2Ffront-%3Ecart&duration=30", "cannot be done"),
        ("type=cpu_stress&target=instance%2Fcart-1&duration=30&load_percent=lots", "load_percent"),
    ] {
        let page = server.get(&format!("/experiments/preview?{query}")).body;
        assert!(page.contains("role=\"alert\"") && page.contains(text), "{query}: {page}");
        assert!(
            page.contains("aria-invalid=\"true\"") && !page.contains("/experiments/start"),
            "{query}: {page}"
        );
    }
    let stopped = start(scene::stopped);
    let page = stopped.get("/experiments/preview?type=pause&target=instance%2Fcart-1&duration=30").body;
    assert!(page.contains("The guard would refuse it.") && !page.contains("/experiments/start"), "{page}");
}

fn with_shop(fleet: &Fleet) {
    scene::busy(fleet);
    *fleet.infrastructure.lock().unwrap() = Some(provider::manifest::parse("shop", SHOP).unwrap());
}

/// What the guard does not let begin is one and the same in the audit trail: refused, why, and the plan that is kept.
#[test]
fn a_refused_plan_is_recorded_alike_however_it_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path(), Arc::new(MachineClock::start())).unwrap();
    let server = serve_with(with_shop, Kept { audit: Some(audit.clone()), ..Kept::default() });
    let cookie = server.cookie();
    let issue = server.first("issues?severity=critical");
    server.fleet.store.latch_emergency_stop(domain::Clock::now(server.fleet.clock.as_ref())).unwrap();
    let assert_told = |action: &str, plan: &str| {
        let asked = Filter { action: Some(action.to_owned()), limit: 1, ..Filter::default() };
        let told = audit.query(&asked).unwrap().records.remove(0);
        assert_eq!(told.outcome, Outcome::Refused, "{told:?}");
        assert_eq!(told.plan.map(|plan| plan.to_string()).as_deref(), Some(plan), "{told:?}");
        let why = told.detail.as_deref().unwrap();
        assert!(why.starts_with("refused: the emergency stop is latched"), "{told:?}");
    };
    let newest = || server.first("remediations?purpose=any&status=refused");

    let scale = "/api/v3/infrastructures/shop/scale";
    let reply = server.post(scale, json!({"service": "cart", "replicas": 3}));
    assert_problem(&reply, 409, "refused");
    assert_told("infrastructures.scale", &newest());

    let answer = server.graphql("mutation { scaleDeployment(service: \"cart\", replicas: 4) { status } }");
    assert_eq!(code(&answer), "refused");
    let named = answer["errors"][0]["extensions"]["remediationId"].as_str();
    assert_eq!(named, Some(newest().as_str()), "{answer}");
    assert_told("infrastructures.scale", &newest());

    let form = |path: &str, form: &str, action: &str| {
        let reply = server.submit(path, form, &cookie);
        let kept = newest();
        assert_eq!(reply.status, 303, "{path}: {}", reply.body);
        assert_eq!(reply.header("location"), Some(&*format!("/remediations/{kept}")));
        assert_told(action, &kept);
    };
    form("/services/cart/scale", "replicas=5", "infrastructures.scale");
    form("/infrastructure/shop/delete", "", "infrastructures.delete");
    form(&format!("/issues/{issue}/repair"), "", "issues.remediate");
    *server.fleet.infrastructure.lock().unwrap() = None;
    let definition = "definition=name%3A+shop%0Aservices%3A+%7Bcart%3A+%7Bcommand%3A+%5Bcart%5D%7D%7D";
    form("/infrastructure/create", definition, "infrastructures.create");

    // What runs is done, as before.
    server.fleet.store.clear_emergency_stop().unwrap();
    assert_eq!(server.submit("/services/cart/scale", "replicas=5", &cookie).status, 303);
    let asked = Filter { action: Some("infrastructures.scale".to_owned()), limit: 1, ..Filter::default() };
    assert_eq!(audit.query(&asked).unwrap().records[0].outcome, Outcome::Done);
}

#[test]
fn savings_come_from_the_users_figures_or_not_at_all() {
    let server = start(scene::busy);
    let page = server.get("/statistics?window=7d").body;
    assert!(page.contains("<h1 class=\"sentence\">3 of 4 repairs in the last 7 d worked"), "{page}");
    assert!(page.contains("needs both of your figures") && page.contains("none is assumed"), "{page}");
    assert!(page.contains("mean of 3 repairs"), "what recovered by itself was repaired by nobody: {page}");
    let cookie = server.cookie();
    let wrong = server.submit("/statistics/baseline", "mttr_minutes=-3", &cookie);
    assert_eq!(wrong.status, 422);
    let kept = server.submit("/statistics/baseline", "mttr_minutes=45&outage_cost_per_hour=1200", &cookie);
    assert_eq!(kept.header("location"), Some("/statistics#baseline"));
    let page = server.get("/statistics?window=7d").body;
    assert!(page.contains("your 45 min, now ") && page.contains("in your currency"), "{page}");
    let told = |window: &str| server.get(&format!("/api/v3/self-healing/statistics?window={window}")).json();
    let reduction = told("7d")["mttr_reduction"].as_str().map(str::to_owned).unwrap();
    assert!(reduction.starts_with('-') && reduction.ends_with('%'), "{reduction}");
    assert!(page.contains(&format!(": {reduction}</dd>")), "the page says the same: {reduction} {page}");
    let dashboard = server.get("/api/v3/observability/dashboard").json();
    assert_eq!(dashboard["remediations"]["mttr_reduction"], told("24h")["mttr_reduction"]);
    assert!(told("7d")["uptime_improvement"].is_null(), "no uptime of before is known");
    server.submit("/statistics/baseline", "mttr_minutes=&outage_cost_per_hour=", &cookie);
    assert!(server.get("/statistics").body.contains("needs both of your figures"));
    assert!(told("7d")["mttr_reduction"].is_null(), "nothing to compare with");
}

#[test]
fn a_form_with_a_field_that_it_does_not_have_does_nothing() {
    let server = start(scene::busy);
    let cookie = server.cookie();
    let form = "mttr_minutes=30&outage_cost_per_hour=5";
    assert_eq!(server.submit("/statistics/baseline", form, &cookie).status, 303);
    for (path, form, field) in [
        ("/statistics/baseline", "mttr=abc", "mttr"),
        ("/statistics/baseline", "mttr_minutes=45", "outage_cost_per_hour"),
        ("/statistics/baseline", "", "mttr_minutes"),
        ("/services/cart/pause", "for=5m&typo=1", "typo"),
    ] {
        let reply = server.submit(path, form, &cookie);
        assert_eq!(reply.status, 422, "{path} {form}: {}", reply.body);
        assert!(reply.body.contains("<h1") && reply.body.contains(field), "{path} {form}: {}", reply.body);
    }
    assert!(
        server.get("/statistics").body.contains("name=\"mttr_minutes\" min=\"0\" step=\"any\" value=\"30\"")
    );
    assert_eq!(server.get("/api/v3/self-healing/pauses").json(), json!([]));
}

/// The forms of a page that are sent, by where to, each with the names of its fields.
fn sent_forms(page: &str) -> Vec<(String, Vec<String>)> {
    let attribute = |tag: &str, name: &str| -> Option<String> {
        let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let forms = page.split("<form ").skip(1).filter_map(|form| form.split_once("</form>"));
    let forms = forms.filter(|(form, _)| form.contains("method=\"post\""));
    let fields = |form: &str| {
        let tags = form.split('<').skip(1).filter_map(|tag| tag.split_once('>'));
        tags.filter_map(|(tag, _)| attribute(tag, "name")).collect()
    };
    forms.filter_map(|(form, _)| Some((attribute(&format!(" {form}"), "action")?, fields(form)))).collect()
}

#[test]
fn every_form_of_every_page_has_the_fields_it_is_known_by_and_no_other() {
    let server = whole::full();
    let cookie = whole::ada(&server);
    let mut seen = BTreeSet::new();
    for page in whole::pages(&server) {
        let shown = server.raw("GET", &page.address, &[("host", &server.host()), ("cookie", &cookie)], "");
        for (action, mut fields) in sent_forms(&shown.body) {
            if !seen.insert((action.clone(), fields.clone())) {
                continue;
            }
            // The one that is not known is the last: each before it is.
            fields.push("typo".to_owned());
            let form = fields.iter().map(|name| format!("{name}=")).collect::<Vec<_>>().join("&");
            let reply = server.submit(&action, &form, &cookie);
            assert_eq!(reply.status, 422, "{action} of {}: {form}: {}", page.address, reply.body);
            assert!(reply.body.contains("typo"), "{action} of {}: {form}: {}", page.address, reply.body);
        }
    }
    assert!(seen.len() > 20, "{seen:?}");
}

#[test]
fn the_palette_finds_pages_services_issues_and_actions() {
    let server = start(scene::busy);
    let found = |asked: &str| {
        let items = server.get(&format!("/palette?q={asked}")).json()["items"].take();
        let each = items.as_array().unwrap().iter();
        each.map(|item| {
            (item["kind"].as_str().unwrap().to_owned(), item["href"].as_str().unwrap().to_owned())
        })
        .collect::<Vec<_>>()
    };
    let first = |asked: &str| found(asked).into_iter().next().unwrap();
    assert_eq!(first("catalogue"), ("service".to_owned(), "/services/catalogue".to_owned()));
    assert_eq!(first("Remed"), ("page".to_owned(), "/remediations".to_owned()));
    assert_eq!(first("stop+everything"), ("action".to_owned(), "/emergency-stop".to_owned()));
    assert_eq!(first("cart-1+runs").0, "issue");
    assert_eq!(found("no+such+thing"), Vec::new());
}

#[test]
fn script_and_style_of_our_own_pages_stay_small_and_ask_nobody_else() {
    let server = start(scene::calm);
    let mut bytes = 0;
    for name in ["style.css", "page.js", "traces.js", "metrics.js", "uplot.js", "timeline.js", "passkeys.js"]
    {
        let asset = server.get(&format!("/assets/{name}"));
        assert_eq!(asset.status, 200, "{name}");
        bytes += asset.body.len();
        let foreign = asset
            .body
            .lines()
            .find(|line| line.contains("url(") || line.contains("fetch(\"http") || line.contains("@import"));
        assert_eq!(foreign, None, "{name}");
    }
    println!("script and style: {bytes} bytes");
    assert!(bytes <= 150 << 10, "{bytes} bytes, at most 150 KiB");
}
