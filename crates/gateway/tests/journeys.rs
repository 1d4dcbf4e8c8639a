//! What people do on the pages, in a real browser: searching a list, the palette, approving, beginning an experiment, all
//! by keyboard; and axe-core's judgement of every page in both themes. Skipped, loudly, where there is no chromedriver.

mod support;

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use support::scene;
use support::server::{Kept, Server, start, start_with_objectives, start_with_traces};
use support::webdriver::{Browser, CONTROL, DOWN, ENTER, ESCAPE, Theme};
use support::{objectives, traces};

/// A browser, or the line that says that there is none.
fn browser(theme: Theme) -> Option<Browser> {
    let browser = Browser::start(theme);
    if browser.is_none() {
        println!("skipped: no chromedriver");
    }
    browser
}

/// A browser of somebody who is signed in, on a page.
fn signed_in(server: &Server, path: &str) -> Option<Browser> {
    let browser = browser(Theme::Light)?;
    browser.open(&format!("{}/login", server.origin()));
    browser.sign_in(&server.cookie());
    browser.open(&format!("{}{path}", server.origin()));
    Some(browser)
}

#[test]
fn a_list_is_searched_filtered_and_taken_away_as_a_file() {
    let server = start(scene::busy);
    let Some(browser) = browser(Theme::Light) else { return };
    browser.open(&format!("{}/issues", server.origin()));
    browser.tab_to("input[name=q]");
    browser.keys(&format!("cart-0{ENTER}"));
    browser
        .wait("location.search.includes('q=cart-0') && document.querySelectorAll('tbody tr').length === 2");
    // A filter applies as soon as it is chosen, and keeps the words.
    browser.run("const s = document.querySelector('select[name=state]'); s.value = 'open'; s.dispatchEvent(new Event('change', {bubbles: true}))");
    browser.wait(
        "location.search.includes('state=open') && document.body.innerText.includes('No issue matches')",
    );
    browser.open(&format!("{}/issues?q=cart-0", server.origin()));
    let href = browser.run("return document.querySelector('.exports a').href");
    assert!(href.as_str().unwrap().contains("q=cart-0"), "{href}");
    let file = browser.run_until_called(
        "const done = arguments[0]; fetch(document.querySelector('.exports a').href).then((r) => r.text()).then(done)",
    );
    let file = file.as_str().unwrap();
    assert_eq!(file.split("\r\n").filter(|line| line.contains("instance/cart-0")).count(), 2, "{file}");
    assert_eq!(file.lines().count(), 3, "{file}");
}

#[test]
fn the_palette_leads_by_keyboard_alone() {
    let server = start(scene::busy);
    let Some(browser) = browser(Theme::Light) else { return };
    browser.open(&server.origin());
    browser.wait("document.querySelector('.opener')");
    browser.chord(CONTROL, "k");
    browser.wait("document.querySelectorAll('#palette-items [role=option]').length > 5");
    browser.keys("catalogue");
    browser.wait(
        "document.querySelector('#palette-items:not([aria-busy]) [role=option]')?.dataset.href === '/services/catalogue'",
    );
    let chosen = || browser.run("return document.activeElement.getAttribute('aria-activedescendant')");
    assert_eq!(chosen(), json!("palette-0"));
    browser.keys(DOWN);
    assert_eq!(chosen(), json!("palette-1"));
    browser.keys(ESCAPE);
    browser.wait("!document.querySelector('dialog[open]')");
    browser.keys("/");
    browser.wait("document.activeElement.closest('dialog[open]')");
    browser.keys("emergency");
    browser.wait(
        "document.querySelector('#palette-items:not([aria-busy]) [role=option]')?.dataset.href === '/emergency-stop'",
    );
    browser.keys(ENTER);
    browser.wait("location.pathname === '/emergency-stop' && document.querySelector('.opener')");
    assert!(
        server.fleet.store.switches().unwrap().emergency_stop.is_none(),
        "it only leads to the page that asks"
    );
    browser.keys("gi");
    browser.wait("location.pathname === '/issues' && document.querySelector('.opener')");
    browser.keys("jj");
    browser.keys(ENTER);
    browser.wait("location.pathname.startsWith('/issues/') && document.querySelector('.opener')");
    browser.keys("?");
    browser.wait("document.querySelector('dialog[open]').innerText.includes('g i')");
}

#[test]
fn a_plan_is_rejected_with_a_reason_by_keyboard() {
    let server = start(scene::busy);
    let Some(browser) = signed_in(&server, "/approvals") else { return };
    browser.tab_to("input[name=reason]");
    browser.keys("the cache is needed");
    browser.tab_to("button[formaction$='/reject']");
    browser.keys(ENTER);
    browser.wait("location.pathname === '/approvals' && document.body.innerText.includes('Nothing waits for a person')");
    let waited = server.get("/remediations?status=refused&format=json").json();
    let id = waited[0]["id"].as_str().unwrap().to_owned();
    let page = server.get(&format!("/remediations/{id}")).body;
    assert!(
        page.contains("Rejected by local token") && page.contains("<q>the cache is needed</q>"),
        "{page}"
    );
}

#[test]
fn an_experiment_goes_from_its_form_over_its_preview_to_its_page() {
    let server = start(scene::calm);
    let Some(browser) = signed_in(&server, "/experiments") else { return };
    browser.tab_to("a[href='/experiments/new']");
    browser.keys(ENTER);
    browser.wait("location.pathname === '/experiments/new'");
    browser.tab_to("a[href='/experiments/new?type=pause']");
    browser.keys(ENTER);
    browser.wait("document.querySelector('input[name=target]')");
    browser.tab_to("input[name=target]");
    browser.keys(&format!("instance/cart-9{ENTER}"));
    browser.wait("document.querySelector('[role=alert]')?.innerText.includes('instance/cart-9')");
    browser.open(&format!("{}/experiments/new?type=pause&target=instance/cart-1", server.origin()));
    browser.tab_to("input[name=duration]");
    browser.keys(ENTER);
    browser.wait("location.pathname === '/experiments/preview' && document.querySelector('button.danger')");
    assert!(server.fleet.faults.lock().unwrap().is_empty(), "a preview changes nothing");
    let page = browser.run("return document.querySelector('main').innerText");
    for text in ["Pause for 30 s at cart-1?", "Callers: front.", "would let it begin now"] {
        assert!(page.as_str().unwrap().contains(text), "{text}: {page}");
    }
    browser.tab_to("main button.danger");
    browser.keys(ENTER);
    browser.wait("/^\\/experiments\\/[0-9a-f-]{36}$/.test(location.pathname)");
    assert_eq!(server.fleet.faults.lock().unwrap().len(), 1);
}

#[test]
fn what_is_typed_survives_live_updates() {
    let server = start(scene::busy);
    let Some(browser) = browser(Theme::Light) else { return };
    browser.open(&format!("{}/approvals", server.origin()));
    browser.tab_to("input[name=reason]");
    browser.keys("half a rea");
    browser.run("document.querySelector('input[name=reason]').blur(); scrollTo(0, 120)");
    let scrolled = browser.run("return scrollY");
    // Another plan comes to wait, so the part is patched around what was typed.
    let now = server.fleet.clock.now();
    let issue = server
        .fleet
        .store
        .open_issues()
        .unwrap()
        .into_iter()
        .find(|issue| issue.resource.instance().is_some());
    let plan = support::restart_plan(server.fleet.id(now), &issue.unwrap(), now);
    server.fleet.store.add_plan(&plan, domain::PlanStatus::AwaitingApproval, &[]).unwrap();
    browser.wait("document.querySelectorAll('article.approval').length === 2");
    assert_eq!(browser.run("return document.querySelector('input[name=reason]').value"), json!("half a rea"));
    assert_eq!(browser.run("return scrollY"), scrolled);
}

#[test]
fn the_first_user_is_made_with_the_local_token_and_a_viewer_is_told_what_it_may_not() {
    let server = start(scene::busy);
    let Some(browser) = browser(Theme::Light) else { return };
    browser.open(&format!("{}/login?next=/users", server.origin()));
    browser.run("document.querySelector('#token').focus()");
    browser.keys(&format!("{}{ENTER}", support::server::TOKEN));
    browser
        .wait("location.pathname === '/users' && document.body.innerText.includes('Nobody has a user yet')");
    browser.run("document.querySelector('form[action=\"/users/create\"] input[name=name]').focus()");
    browser.keys("ada");
    browser.run("document.querySelector('form[action=\"/users/create\"] input[name=password]').focus()");
    browser.keys(&format!("four plain words here{ENTER}"));
    browser.wait("location.pathname === '/users/ada'");
    browser.tab_to(".who button");
    browser.keys(ENTER);
    browser.wait("location.pathname === '/' && document.querySelector('.who').innerText.includes('Sign in')");
    browser.open(&format!("{}/login?next=/infrastructure", server.origin()));
    browser.run("document.querySelector('#name').focus()");
    browser.keys("ada");
    browser.run("document.querySelector('#password').focus()");
    browser.keys(&format!("four plain words here{ENTER}"));
    browser.wait(
        "location.pathname === '/infrastructure' && document.querySelector('.who').innerText.includes('ada')",
    );
    assert_eq!(browser.run("return document.querySelector('textarea, main button.danger')"), Value::Null);
    browser.run("document.querySelector('form[action=\"/automation\"] button').click()");
    browser.wait("document.querySelector('main').innerText.includes('This needs the role')");
    assert!(server.fleet.store.switches().unwrap().automation);
}

/// axe-core's script, from npm into target/; `None` where that cannot be had.
fn axe() -> Option<String> {
    const VERSION: &str = "4.14.1";
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("axe");
    let script = dir.join("node_modules/axe-core/axe.min.js");
    if !script.exists() {
        let package = format!("axe-core@{VERSION}");
        let npm = Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
            .arg(&dir)
            .arg(package)
            .output();
        match npm {
            Ok(done) if done.status.success() => {}
            Ok(done) => {
                println!(
                    "skipped: no axe-core: {}",
                    String::from_utf8_lossy(&done.stderr).lines().next().unwrap_or("")
                );
                return None;
            }
            Err(_) => {
                println!("skipped: no axe-core: npm is missing");
                return None;
            }
        }
    }
    Some(std::fs::read_to_string(script).unwrap())
}

/// The serious and critical findings on a page: its address, the rule and the elements.
fn findings(browser: &Browser, axe: &str, server: &Server, path: &str) -> Vec<String> {
    browser.open(&format!("{}{path}", server.origin()));
    browser.run(axe);
    let found = browser.run_until_called(
        "const done = arguments[0]; axe.run().then((r) => done(r.violations), (e) => done(String(e)))",
    );
    let found = found.as_array().unwrap_or_else(|| panic!("{path}: {found}"));
    let bad =
        found.iter().filter(|one| ["serious", "critical"].contains(&one["impact"].as_str().unwrap_or("")));
    let place = |one: &Value| -> Vec<String> {
        one["nodes"].as_array().into_iter().flatten().take(3).map(|node| node["html"].to_string()).collect()
    };
    bad.map(|one| format!("{path}: {} {}", one["id"], place(one).join(" | "))).collect()
}

fn judge(theme: Theme) {
    let Some(browser) = browser(theme) else { return };
    let Some(axe) = axe() else { return };
    let server = start(scene::busy);
    let experiment = server.get("/experiments?format=json").json()[0]["id"].as_str().unwrap().to_owned();
    let mut pages = [
        "/",
        "/issues",
        "/issues?q=nothing+at+all",
        "/remediations",
        "/approvals",
        "/experiments",
        "/experiments/new",
        "/experiments/new?type=memory_stress",
        "/experiments/preview?type=pause&target=instance/cart-1&duration=30",
        "/experiments/preview?type=pause&duration=x",
        "/services",
        "/services/cart",
        "/timeline",
        "/statistics",
        "/login",
        "/emergency-stop",
        "/cmdb",
        "/infrastructure",
        "/settings",
        "/no-such-page",
    ]
    .map(str::to_owned)
    .to_vec();
    pages.push(format!("/issues/{}", server.first("issues")));
    pages.push(format!("/remediations/{}", server.first("remediations")));
    pages.push(format!("/experiments/{experiment}"));
    let mut wrong: Vec<String> =
        pages.iter().flat_map(|path| findings(&browser, &axe, &server, path)).collect();
    browser.open(&format!("{}/login", server.origin()));
    browser.sign_in(&server.cookie());
    for path in ["/account", "/users", "/tokens", "/audit"] {
        wrong.extend(findings(&browser, &axe, &server, path));
    }
    let traced = start_with_traces(traces::shop);
    for path in ["/traces", "/service-map", "/latency?service=front"] {
        wrong.extend(findings(&browser, &axe, &traced, path));
    }
    let (promised, ..) = start_with_objectives(scene::busy, objectives::with_a_past);
    wrong.extend(findings(&browser, &axe, &promised, "/slos"));
    let now_ms = domain::Clock::now(&support::MachineClock::start()).wall_us / 1000;
    let measured = support::server::start_with_metrics(support::series::shop(now_ms), Kept::default());
    wrong.extend(findings(&browser, &axe, &measured, "/metrics-explorer?query=up"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn axe_finds_nothing_serious_in_light() {
    judge(Theme::Light);
}

#[test]
fn axe_finds_nothing_serious_in_dark() {
    judge(Theme::Dark);
}
