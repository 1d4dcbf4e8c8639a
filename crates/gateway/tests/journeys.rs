//! What people do on the pages, in a real browser: searching a list, the palette, approving, beginning an experiment, all
//! by keyboard; the audit trail and the configuration items. Skipped, loudly, where there is no chromedriver.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use support::scene;
use support::server::{Server, start, start_with_traces};
use support::traces;
use support::webdriver::{Browser, CONTROL, DOWN, ENTER, ESCAPE, Theme};
use support::whole;

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
fn a_page_that_was_told_to_wait_looks_again_by_itself() {
    let server = start(scene::busy);
    let Some(browser) = browser(Theme::Light) else { return };
    // As many different pages as are kept live at once.
    let others: Vec<TcpStream> = (0..128).map(|number| live_page(&server, number)).collect();
    browser.open(&format!("{}/services", server.origin()));
    browser.wait("document.getElementById('link-state').textContent.includes('Not connected')");
    drop(others);
    browser.wait("!document.getElementById('link-state').textContent");
}

#[test]
fn a_waterfall_is_walked_with_the_arrows() {
    let server = start_with_traces(traces::large);
    let Some(browser) = browser(Theme::Light) else { return };
    browser.open(&format!("{}/traces/{}", server.origin(), traces::trace_id(traces::LARGE)));
    browser.wait("document.querySelectorAll('.rolling .spans > li').length > 20");
    browser.tab_to(".spans > li .step > a:last-of-type");
    let row = || browser.run("return document.activeElement.closest('.spans > li')?.dataset.key ?? null");
    let first = row();
    browser.keys(DOWN);
    let second = row();
    assert!(first.is_string() && second.is_string() && second != first, "{first} {second}");
    browser.keys(ENTER);
    browser.wait("document.querySelector('#span a.close')");
    browser.run("document.querySelector('#span a.close').focus()");
    browser.keys(ESCAPE);
    browser.wait("!document.querySelector('#span a.close')");
    assert_eq!(row(), second, "the focus is where it was before the details");
}

/// A page that somebody looks at, as its browser asks for it; it is answered when this returns.
fn live_page(server: &Server, number: u32) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let host = server.host();
    write!(stream, "GET /events?page=%2Fissues%3Fq%3D{number} HTTP/1.1\r\nhost: {host}\r\n\r\n").unwrap();
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    stream
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
    browser.wait("[...document.querySelectorAll('[role=alert]')].some((one) => one.innerText.includes('instance/cart-9'))");
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
fn a_filtered_list_of_what_waits_stays_so_while_it_lives_and_after_a_decision() {
    let server = start(scene::asked);
    let Some(browser) = signed_in(&server, "/approvals") else { return };
    browser.tab_to("input[name=requested_by]");
    browser.keys(&format!("ada{ENTER}"));
    let articles = |count: usize| format!("document.querySelectorAll('article.approval').length === {count}");
    browser.wait(&format!("location.search.includes('requested_by=ada') && {}", articles(2)));
    // What is typed into the search stays there, and the focus with it, while another plan of hers comes to wait; one
    // that somebody else asked for does not come to this list.
    browser.tab_to("input[name=q]");
    browser.keys("half a wo");
    let (fleet, now) = (&server.fleet, server.fleet.clock.now());
    let issue = fleet.store.open_issues().unwrap().remove(0);
    let instance = domain::ServiceName::new("cart").unwrap().instance(0);
    let hung = domain::Issue { resource: domain::ResourceId::Instance(instance), ..issue };
    let plan = support::restart_plan(fleet.id(now), &hung, now);
    fleet.store.add_plan(&plan, domain::PlanStatus::AwaitingApproval, &[]).unwrap();
    scene::asked_again(fleet, "payments", 1);
    browser
        .wait(&format!("document.querySelector('h1').textContent.startsWith('6 plans') && {}", articles(3)));
    assert_eq!(
        browser.run("return [document.activeElement.name, document.activeElement.value]"),
        json!(["q", "half a wo"])
    );
    // Words apply as every filter does, as soon as they are left.
    browser.keys(ENTER);
    browser.wait("document.body.innerText.includes('No approval matches')");
    browser.open(&format!("{}/approvals?requested_by=ada&q=payments", server.origin()));
    browser.tab_to("input[name=reason]");
    browser.keys("they are needed");
    browser.tab_to("button[formaction$='/reject']");
    browser.keys(ENTER);
    browser.wait(
        "location.search === '?requested_by=ada&q=payments' && document.body.innerText.includes('5 plans wait for a person')",
    );
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

/// A browser of an admin among the users of a server with something on every page.
fn ada(server: &Server, path: &str) -> Option<Browser> {
    let browser = browser(Theme::Light)?;
    browser.open(&format!("{}/login", server.origin()));
    browser.sign_in(&whole::ada(server));
    browser.open(&format!("{}{path}", server.origin()));
    Some(browser)
}

#[test]
fn the_audit_trail_is_filtered_opened_and_says_what_proves_a_record() {
    let server = whole::full();
    let Some(browser) = ada(&server, "/audit") else { return };
    browser.run(
        "const s = document.querySelector('select[name=outcome]'); s.value = 'refused'; s.dispatchEvent(new Event('change', {bubbles: true}))",
    );
    browser.wait(
        "location.search.includes('outcome=refused') && document.querySelectorAll('tbody tr').length === 1",
    );
    let row = browser.run("return document.querySelector('tbody tr').innerText");
    assert!(row.as_str().unwrap().contains("sessions.create"), "{row}");
    browser.tab_to("tbody td.name a");
    browser.keys(ENTER);
    browser.wait("/^\\/audit\\/[0-9]+$/.test(location.pathname)");
    let record = browser.run("return document.querySelector('main').innerText");
    let record = record.as_str().unwrap();
    for text in
        ["anonymous: sessions.create, refused.", "Its hash", "Of the record before", "homeostat audit prove"]
    {
        assert!(record.contains(text), "{text}: {record}");
    }
    browser.tab_to("main summary");
    browser.keys(ENTER);
    browser.wait("document.querySelector('main details').open && document.querySelector('main details').innerText.includes('ML-DSA together')");
}

#[test]
fn configuration_items_are_drawn_found_and_told_with_their_history() {
    let server = whole::full();
    let Some(browser) = ada(&server, "/cmdb") else { return };
    browser.wait("document.querySelectorAll('svg.cmdb .node').length >= 30 && document.querySelectorAll('svg.cmdb .line').length >= 30");
    browser.run(
        "const s = document.querySelector('select[name=state]'); s.value = 'gone'; s.dispatchEvent(new Event('change', {bubbles: true}))",
    );
    browser
        .wait("location.search.includes('state=gone') && document.querySelectorAll('tbody tr').length > 0");
    let gone = browser
        .run("return [...document.querySelectorAll('tbody td.name')].map((cell) => cell.innerText).sort()");
    assert_eq!(gone, json!(["payments-1", "volume of payments-1"]));
    browser.open(&format!("{}/cmdb?q=cart&kind=service", server.origin()));
    browser.tab_to("tbody td.name a");
    browser.keys(ENTER);
    browser.wait("location.pathname === '/cmdb/item'");
    let item = browser.run("return document.querySelector('main').innerText");
    let item = item.as_str().unwrap();
    for text in [
        "Cart, version 2.",
        "discovered.memory_bytes: 128 MiB → 192 MiB",
        "Became",
        "ada",
        "front depends on it",
    ] {
        assert!(item.contains(text), "{text}: {item}");
    }
}

#[test]
fn a_list_is_ordered_on_a_phone_where_no_headings_are_shown() {
    let server = start(scene::busy);
    let Some(browser) = browser(Theme::Light) else { return };
    browser.open(&format!("{}/services", server.origin()));
    let shown = "return document.querySelector('select[name=sort]').checkVisibility()";
    assert_eq!(browser.run(shown), json!(false), "headings do it on a wide screen");
    browser.resize(390, 844);
    assert_eq!(browser.run(shown), json!(false), "it is folded away, so that the list is on the screen");
    browser.tab_to("details.folded > summary");
    browser.keys(ENTER);
    browser.wait("document.querySelector('select[name=sort]').checkVisibility()");
    browser.run(
        "const s = document.querySelector('select[name=sort]'); s.value = '-service'; s.dispatchEvent(new Event('change', {bubbles: true}))",
    );
    browser.wait("location.search.includes('sort=-service')");
    let names = browser.run("return [...document.querySelectorAll('#services td.name, [data-live=rows] td.name')].map((cell) => cell.innerText.trim())");
    let names: Vec<&str> = names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(names.first(), Some(&"payments"), "{names:?}");
    assert_eq!(browser.run("return document.querySelector('select[name=sort]').value"), json!("-service"));
}

#[test]
fn a_page_that_is_left_for_long_becomes_a_skeleton_in_which_nothing_moves() {
    let server = start(scene::busy);
    let Some(browser) = browser(Theme::Light) else { return };
    browser.open(&format!("{}/issues", server.origin()));
    browser.wait("document.querySelector('.opener') && document.querySelectorAll('tbody tr').length > 1");
    browser.run(
        "window.shifted = 0; new PerformanceObserver((list) => { for (const one of list.getEntries()) shifted += one.value; }).observe({type: 'layout-shift'});
         window.places = () => JSON.stringify([...document.querySelectorAll('main *')].map((e) => { const r = e.getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; }));
         // What counts on by itself is no concern here.
         document.querySelectorAll('time[data-age]').forEach((time) => time.removeAttribute('data-age'));
         window.before = places();
         // An answer that does not come: the click is heard, and leads nowhere.
         addEventListener('click', (event) => event.preventDefault());",
    );
    let is_loading = "return document.body.classList.contains('loading')";
    let at_once = browser.run("document.querySelector('.rail a[href=\"/services\"]').click(); return document.body.classList.contains('loading')");
    assert_eq!(at_once, json!(false), "an answer that comes soon finds the page as it is");
    browser.wait("document.body.classList.contains('loading')");
    // It comes in within a few frames; then no word is to be read, and each has its bar.
    browser.wait("getComputedStyle(document.querySelector('#main')).animationPlayState && document.getAnimations().length === 0");
    let style = browser.run(
        "return ['h1', 'tbody td', 'tbody a'].map((name) => { const s = getComputedStyle(document.querySelector('main ' + name)); return [s.webkitTextFillColor, s.textDecorationLine]; })",
    );
    for one in style.as_array().unwrap() {
        assert_eq!(*one, json!(["rgba(0, 0, 0, 0)", "line-through"]), "{style}");
    }
    let field = browser
        .run("return getComputedStyle(document.querySelector('main input[name=q]')).webkitTextFillColor");
    assert_ne!(field, json!("rgba(0, 0, 0, 0)"), "what is typed stays to be seen");
    assert_eq!(
        browser.run("return document.querySelector('#main').getAttribute('aria-busy')"),
        json!("true")
    );
    assert_eq!(browser.run("return places() === before && shifted === 0"), json!(true));
    browser.keys(ESCAPE);
    assert_eq!(browser.run(is_loading), json!(false));
    assert_eq!(
        browser.run("return document.querySelector('#main').getAttribute('aria-busy')"),
        json!("false")
    );
}
