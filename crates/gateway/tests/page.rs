//! The web page over real HTTP: what it says, its forms, its live updates.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use support::server::{TOKEN, start};
use support::{Fleet, scene, whole};

#[test]
fn the_page_says_in_one_sentence_how_it_is() {
    let sentence = |scene: fn(&Fleet)| {
        let page = start(scene).get("/").body;
        let (_, rest) = page.split_once("<h1 class=\"sentence\">").unwrap();
        rest.split_once("</h1>").unwrap().0.to_owned()
    };
    assert_eq!(sentence(|_| {}), "Nothing was looked at yet.");
    assert_eq!(sentence(scene::calm), "All is well: 7 services, 12 instances.");
    assert_eq!(
        sentence(scene::busy),
        "3 issues are open, 2 of them being repaired; 1 approval waits for you; 2 faults are injected on purpose."
    );
}

#[test]
fn the_page_shows_marks_with_words_empty_and_full() {
    let empty = start(|_| {}).get("/").body;
    for text in ["homeostat up FILE", "No issue is open.", "Nothing waits for a person.", "unknown"] {
        assert!(empty.contains(text), "{text}");
    }
    let full = start(scene::busy).get("/").body;
    for text in [
        "class=\"mark disturbed\"",
        "class=\"mark bad\"",
        "class=\"mark good\"",
        "97 %, <span class=\"limit\">limit 95 %",
        "412 ms, <span class=\"limit\">limit 200 ms",
        "front → catalogue",
        " s left</time>",
    ] {
        assert!(full.contains(text), "{text}");
    }
}

#[test]
fn an_issue_reads_from_what_was_seen_to_the_proof() {
    let server = start(scene::busy);
    let page = server.get(&format!("/issues/{}", server.first("issues"))).body;
    let places: Vec<_> =
        ["<h2>Seen", "<h2>Why", "<h2>Plan", "<h2>Proof"].map(|text| page.find(text)).to_vec();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
    for text in [
        "process hangs",
        "confidence 96.0 %",
        "Kill cart-1 and start it again",
        "under way",
        ", step 1 of 1",
        "<dt>limit</dt><dd>3</dd>",
    ] {
        assert!(page.contains(text), "{text}");
    }
    let error = server.raw("GET", "/issues/x", &[("host", &server.host()), ("accept", "text/html")], "");
    assert_eq!(error.status, 404);
    assert!(error.body.contains("There is no issue x.") && error.body.contains("class=\"rail\""));
}

#[test]
fn every_page_is_there() {
    let server = start(scene::busy);
    let experiment = server.get("/api/v3/chaos/experiments").json()[0]["id"].as_str().unwrap().to_owned();
    let detail = [
        format!("/remediations/{}", server.first("remediations")),
        format!("/experiments/{experiment}"),
        "/services/cart".to_owned(),
    ];
    let lists = [
        "/issues?severity=high",
        "/remediations?status=success&within=86400",
        "/experiments",
        "/services",
        "/login",
        "/emergency-stop",
    ];
    for path in lists.into_iter().chain(detail.iter().map(String::as_str)) {
        let reply = server.get(path);
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        assert!(reply.body.contains("Emergency stop"), "{path}");
    }
    let wrong = server.get("/remediations?status=nonsense");
    assert_eq!(wrong.status, 422);
    assert!(wrong.body.contains("<code>status</code> is &quot;nonsense&quot;; give"), "{}", wrong.body);
    assert!(wrong.body.contains("awaiting_approval"), "{}", wrong.body);
}

#[test]
fn a_form_needs_the_cookie_and_leads_back() {
    let server = start(scene::busy);
    let asked = server.submit("/automation", "enabled=false", "");
    assert_eq!((asked.status, asked.header("location")), (303, Some("/login?next=%2F")));
    assert!(server.fleet.store.switches().unwrap().automation);
    let wrong = server.submit("/login", "token=guess", "");
    assert_eq!(wrong.status, 401);
    assert!(wrong.body.contains("not the token") && wrong.header("set-cookie").is_none());
    let cookie = server.cookie();
    assert_eq!(server.submit("/automation", "enabled=false", &cookie).status, 303);
    assert!(!server.fleet.store.switches().unwrap().automation);
    assert!(server.get("/").body.contains("Automatic repair is off"));
    let foreign = [("host", server.host()), ("origin", "http://localhost:1".to_owned()), ("cookie", cookie)];
    let foreign: Vec<_> = foreign.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let foreign = server.raw("POST", "/automation", &foreign, "enabled=true");
    assert_eq!(foreign.status, 403);
    assert!(foreign.body.contains("wrong_origin"), "{}", foreign.body);
}

#[test]
fn turning_automatic_repair_off_leads_back_to_the_page_it_was_done_on() {
    let server = start(scene::calm);
    let page = server.get("/services/cart").body;
    assert!(page.contains("name=\"back\" value=\"/services/cart\""), "{page}");
    let cookie = server.cookie();
    let reply = server.submit("/automation", "back=%2Fservices%2Fcart&enabled=false", &cookie);
    assert_eq!((reply.status, reply.header("location")), (303, Some("/services/cart")));
    let foreign = server.submit("/automation", "back=%2F%2Fevil.example&enabled=true", &cookie);
    assert_eq!(foreign.header("location"), Some("/"));
}

#[test]
fn in_a_large_fleet_the_overview_shows_what_is_not_well_and_counts_the_rest() {
    let server = start(scene::crowded);
    let overview = server.get("/").body;
    assert!(overview.contains("href=\"/services/service-99\"") && overview.contains("0: not ready"));
    assert!(!overview.contains("href=\"/services/service-00\""));
    assert!(overview.contains("99 services are healthy."), "{overview}");
    assert!(server.get("/services").body.contains("href=\"/services/service-00\""));
}

#[test]
fn what_is_old_is_never_shown_as_well() {
    let page = start(scene::stale).get("/").body;
    assert!(!page.contains("class=\"mark good\"") && !page.contains("gauge good"), "{page}");
    assert!(page.contains("as it was <time"), "{page}");
}

#[test]
fn the_sentence_names_a_pause_and_what_the_emergency_stop_leaves_open() {
    let page = start(scene::paused).get("/").body;
    assert!(page.contains("All is well: 7 services, 12 instances; cart is paused."), "{page}");
    let page = start(scene::stopped).get("/").body;
    assert!(page.contains("until it is cleared; 3 issues are open."), "{page}");
}

#[test]
fn an_experiment_is_told_in_words_and_links() {
    let server = start(scene::busy);
    let id = server.get("/api/v3/chaos/experiments").json()[0]["id"].as_str().unwrap().to_owned();
    let page = server.get(&format!("/experiments/{id}")).body;
    for text in [
        "<h1 class=\"sentence\">Pause for 60 s at cart-1</h1>",
        "Pause for 60 s at <a href=\"/services/cart\"",
        "<dt>at most</dt><dd>60 s</dd>",
        "Time line",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("&quot;resource&quot;"), "{page}");
}

#[test]
fn on_the_time_line_a_failed_repair_has_another_shape_than_a_healed_one() {
    let page = start(scene::busy).get("/").body;
    let shape_after = |title: &str| {
        let (_, rest) = page.split_once(title).unwrap_or_else(|| panic!("{title} is not in {page}"));
        let (_, rest) = rest.split_once("<path d=\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    let (failed, healed) = (shape_after("(not healed)</title>"), shape_after("(healed)</title>"));
    assert_ne!(failed, healed);
    assert_eq!(failed, "M1 1H11V11H1z", "a square");
}

#[test]
fn a_fault_is_on_the_time_line_for_as_long_as_it_is_in_force() {
    let server = start(scene::healing);
    let plans = server.fleet.faults.lock().unwrap().iter().map(|f| f.token.plan).collect::<Vec<_>>();
    // Its plan is over as soon as its effect is proven.
    let now = server.fleet.clock.now();
    let over = |plan| {
        let (from, to) = (domain::PlanStatus::InProgress, domain::PlanStatus::Success);
        server.fleet.store.set_plan_status(plan, from, to, now, None).unwrap()
    };
    assert!(!plans.is_empty() && plans.into_iter().all(over));
    let page = server.get("/").body;
    assert!(page.contains("class=\"item disturbed open\""), "{page}");
}

#[test]
fn a_value_back_within_its_limit_is_not_shown_as_over_while_its_issue_is_open() {
    let server = start(scene::busy);
    assert!(server.get("/services").body.contains("412 ms, <span class=\"limit\">"));
    *server.fleet.snapshot.lock().unwrap() = Some(scene::snapshot(server.fleet.clock.now()).into());
    let page = server.get("/services").body;
    assert!(!page.contains("class=\"over\"") && page.contains("class=\"back\""), "{page}");
}

#[test]
fn signing_in_never_leads_to_another_site() {
    let server = start(scene::calm);
    for next in ["%2F%2Fevil.example", "https%3A%2F%2Fevil.example", "%2F%5Cevil.example", "%2F%0d%0ax"] {
        let reply = server.submit("/login", &format!("token={TOKEN}&next={next}"), "");
        assert_eq!((reply.status, reply.header("location")), (303, Some("/")), "{next}");
    }
}

#[test]
fn a_repair_from_the_page_is_shown_before_it_is_run() {
    let server = start(scene::busy);
    let (issue, cookie) = (server.first("issues"), server.cookie());
    let before = server.first("remediations");
    let preview = server.submit(&format!("/issues/{issue}/preview"), "", &cookie);
    assert_eq!(preview.status, 200);
    assert!(preview.body.contains("Nothing was changed.") && preview.body.contains("Run this repair"));
    assert_eq!(server.first("remediations"), before);
    let run = server.submit(&format!("/issues/{issue}/repair"), "", &cookie);
    assert_eq!(
        run.header("location"),
        Some(format!("/remediations/{}", server.first("remediations")).as_str())
    );
    let stop = server.submit("/emergency-stop", "", &cookie);
    assert_eq!(stop.header("location"), Some("/"));
    assert!(server.fleet.store.switches().unwrap().emergency_stop.is_some());
}

#[test]
fn an_open_page_is_sent_what_changed_and_nothing_else() {
    let server = start(scene::calm);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    write!(stream, "GET /events?page=%2Fservices HTTP/1.1\r\nhost: {}\r\n\r\n", server.host()).unwrap();
    let mut seen = String::new();
    let mut read_until = |what: &str, done: &dyn Fn(&str) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(30);
        let from = seen.len();
        while !done(&seen[from..]) {
            assert!(Instant::now() < deadline, "{what} did not come: {seen}");
            let mut buffer = [0; 65536];
            if let Ok(read) = stream.read(&mut buffer) {
                seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
        }
        seen[from..].to_owned()
    };
    read_until("the first state", &|text| text.contains("event: now"));
    let quiet = read_until("a quiet beat", &|text| text.contains("event: now"));
    assert!(!quiet.contains("event: patch"), "nothing happened: {quiet}");
    server.fleet.store.set_automation(false).unwrap();
    let changed =
        read_until("the change", &|text| text.contains("event: now") && text.contains("event: patch"));
    assert!(changed.contains("Automatic repair is off"), "{changed}");
    assert!(!changed.contains("\"id\":\"services\""), "the services did not change");
    // An open page has no end of its own.
    let begin = Instant::now();
    server.gateway.shutdown();
    assert!(begin.elapsed() < Duration::from_secs(20), "open pages do not hold the shutdown up");
}

#[test]
fn drills_are_told_with_their_figures_and_a_broken_report_hides_none() {
    let server = whole::full();
    let kept = server.get("/api/v3/chaos/drills").json();
    assert_eq!(
        (kept.as_array().unwrap().len(), &kept[0]["seed"], &kept[0]["passed"]),
        (2, &7.into(), &true.into())
    );
    assert_eq!((&kept[1]["passed"], &kept[1]["runs"]), (&false.into(), &9.into()));
    let list = server.get("/drills").body;
    assert!(list.contains("2 drills. The newest: All 3 runs came out as expected"), "{list}");
    let id = kept[1]["id"].as_str().unwrap();
    let page = server.get(&format!("/drills/{id}")).body;
    for text in [
        "8 of 9 runs came out as expected",
        "came out not healed, expected healed: the volume was full again within the hold window",
        "healed without a human",
        "≥ 95 %",
        "8 of 9 runs expected to heal",
        "class=\"mark attention\"",
        "disk fill at volume/catalogue-0: found after 900 ms",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let report = server.get(&format!("/api/v3/chaos/drills/{id}")).json();
    assert_eq!(
        (report["runs_made"].as_array().unwrap().len(), &report["runs_made"][8]["cause_rank"]),
        (9, &2.into())
    );
    assert_eq!(server.get("/drills/20200101T000000Z-1").status, 404);
    assert_eq!(server.get("/api/v3/chaos/drills/..%2Ftoken").status, 404);
    let broken = server.directory().join("drills/20300101T000000Z-1.json");
    std::fs::write(broken, "{").unwrap();
    let list = server.get("/drills").body;
    assert!(
        list.contains("20300101T000000Z-1.json cannot be read") && list.contains("as expected"),
        "{list}"
    );
}

#[test]
fn the_settings_tell_the_ladder_and_the_limits_in_force() {
    let page = start(scene::busy).get("/settings").body;
    for text in [
        "every other service",
        "data-label=\"auto\">restart pod, graceful restart</td>",
        "data-label=\"advise\">every repair</td>",
        "<dt>Repairs of one resource</dt><dd>10 in 60 min</dd>",
        "<dt>Blast radius of an experiment</dt><dd>at most 25.0 % of the instances</dd>",
        "none: plain HTTP",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
}

#[test]
fn a_slash_behind_leads_to_the_page_and_to_no_other_server() {
    let server = start(scene::calm);
    let host = server.host();
    let browser = [("host", host.as_str()), ("accept", "text/html,application/xhtml+xml")];
    for (address, to) in [
        ("/docs/", "/docs"),
        ("/issues/?state=open", "/issues?state=open"),
        ("/services/cart/", "/services/cart"),
        ("/docs/guides/first-hour/", "/docs/guides/first-hour"),
    ] {
        for method in ["GET", "HEAD"] {
            let reply = server.raw(method, address, &browser, "");
            assert_eq!((reply.status, reply.header("location")), (308, Some(to)), "{method} {address}");
        }
    }
    for address in ["//evil.example/", "//issues/", "/nothing/", "/nothing", "/issues//"] {
        let reply = server.raw("GET", address, &browser, "");
        assert_eq!((reply.status, reply.header("location")), (404, None), "{address}");
        assert!(reply.header("content-type").unwrap().starts_with("text/html"), "{address}: {}", reply.body);
    }
    let posted = server.raw("POST", "/issues/", &browser, "");
    assert_eq!((posted.status, posted.header("location")), (404, None));
}

#[test]
fn a_request_that_names_two_hosts_is_no_request() {
    let server = start(scene::calm);
    let host = server.host();
    let reply = server.raw("GET", "/", &[("host", host.as_str()), ("host", "evil.example")], "");
    assert_eq!(reply.status, 400, "{}", reply.body);
    let twice = server.raw("GET", "/", &[("host", host.as_str()), ("host", host.as_str())], "");
    assert_eq!(twice.status, 400, "{}", twice.body);
}
