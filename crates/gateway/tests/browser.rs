//! The page in a real browser: it renders wide and narrow, its script runs under its own content security
//! policy, and nothing on its console is an error. Skipped, loudly, where there is no Chromium.

mod support;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::scene;
use support::server::{Kept, Server, start, start_with_metrics, start_with_traces};
use support::traces::{self, LARGE, trace_id};

/// How long one start of the browser may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

/// Runs headless Chromium on `url`; `None` where there is none. It is ended when it takes too long: the page
/// keeps a connection open for live updates, so the browser is told how long to look at most.
fn chromium(url: &str, profile: &Path, arguments: &[&str]) -> Option<Output> {
    let child = Command::new("chromium")
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"])
        .args([
            "--disable-background-networking",
            "--disable-sync",
            "--enable-logging=stderr",
            "--timeout=30000",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(arguments)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = match child {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        child => child.unwrap(),
    };
    let pid = child.id();
    let waiting = std::thread::spawn(move || child.wait_with_output());
    let began = Instant::now();
    while !waiting.is_finished() {
        if began.elapsed() > LIMIT {
            // Its end makes the wait above end too.
            let _ = Command::new("kill").arg(pid.to_string()).status();
            panic!("chromium did not end within {LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Some(waiting.join().unwrap().unwrap())
}

#[test]
fn the_page_renders_and_its_script_runs_under_its_policy() {
    let server = start(scene::busy);
    let profile = tempfile::tempdir().unwrap();
    let Some(shown) = chromium(&server.origin(), profile.path(), &["--dump-dom"]) else {
        println!("skipped: no Chromium");
        return;
    };
    let dom = String::from_utf8_lossy(&shown.stdout);
    assert!(dom.contains("3 issues are open, 2 of them being repaired"), "{dom}");
    let console = String::from_utf8_lossy(&shown.stderr);
    let wrong: Vec<&str> = console
        .lines()
        .filter(|line| line.contains(":CONSOLE") && (line.contains("Refused") || line.contains("Uncaught")))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");

    for (width, name) in [(1280, "wide"), (400, "narrow")] {
        let picture = profile.path().join(format!("{name}.png"));
        let arguments = [format!("--screenshot={}", picture.display()), format!("--window-size={width},900")];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        chromium(&server.origin(), profile.path(), &arguments).unwrap();
        let bytes = std::fs::read(&picture).unwrap();
        // A blank page compresses to a few kilobytes.
        assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 20_000, "{name}: {} bytes", bytes.len());
    }
}

/// What a page is after its script ran; `None` where there is no Chromium. Nothing on the console may be an error.
fn dom(server: &Server, path: &str, profile: &Path) -> Option<String> {
    dom_with(server, path, profile, &[])
}

fn dom_with(server: &Server, path: &str, profile: &Path, more: &[&str]) -> Option<String> {
    let arguments = [&["--dump-dom", "--window-size=1280,900"], more].concat();
    let shown = chromium(&format!("{}{path}", server.origin()), profile, &arguments)?;
    let console = String::from_utf8_lossy(&shown.stderr);
    let is_wrong =
        |line: &&str| line.contains(":CONSOLE") && (line.contains("Refused") || line.contains("Uncaught"));
    let wrong: Vec<&str> = console.lines().filter(is_wrong).collect();
    assert!(wrong.is_empty(), "{path}: {wrong:?}");
    Some(String::from_utf8_lossy(&shown.stdout).into_owned())
}

#[test]
fn a_large_trace_rolls_and_only_a_slice_of_it_is_in_the_page() {
    let server = start_with_traces(traces::large);
    let profile = tempfile::tempdir().unwrap();
    let Some(page) = dom(&server, &format!("/traces/{}?row=20000", trace_id(LARGE)), profile.path()) else {
        println!("skipped: no Chromium");
        return;
    };
    let (_, rolling) =
        page.split_once("class=\"rolling\"").unwrap_or_else(|| panic!("no rolling rows: {page}"));
    let (rows, _) = rolling.split_once("</ol>").unwrap();
    assert!((50..=200).contains(&rows.matches("<li ").count()), "{rows}");
    assert!(
        rows.contains("height: 480000px") || rows.contains("height: 479"),
        "room for the rows above: {rows}"
    );
}

#[test]
fn the_pages_of_traces_run_under_the_policy() {
    let server = start_with_traces(traces::shop);
    let profile = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("/traces", "class=\"scatter\""),
        ("/service-map", "class=\"service-map\""),
        ("/latency?service=front", "data-heat="),
    ] {
        let Some(page) = dom(&server, path, profile.path()) else {
            println!("skipped: no Chromium");
            return;
        };
        assert!(page.contains(text), "{path}: {page}");
    }
}

#[test]
fn graphiql_starts_from_our_own_assets_under_its_own_policy() {
    let server = start(scene::busy);
    let profile = tempfile::tempdir().unwrap();
    // It draws after the page was loaded: the browser looks when nothing is left to do.
    let settled = ["--virtual-time-budget=10000"];
    let Some(page) = dom_with(&server, "/graphiql", profile.path(), &settled) else {
        println!("skipped: no Chromium");
        return;
    };
    assert!(page.contains("graphiql-container") && page.contains("CodeMirror"), "{page}");
}

#[test]
fn the_metrics_explorer_draws_by_script_under_the_policy() {
    let now_ms = domain::Clock::now(&support::MachineClock::start()).wall_us / 1000;
    let server = start_with_metrics(support::series::shop(now_ms), Kept::default());
    let profile = tempfile::tempdir().unwrap();
    let path = "/metrics-explorer?query=histogram_quantile(0.9,rate(took_seconds_bucket%5B5m%5D))";
    let Some(page) = dom(&server, path, profile.path()) else {
        println!("skipped: no Chromium");
        return;
    };
    assert!(page.contains("class=\"series-chart live\"") && page.contains("<canvas"), "{page}");
    assert_eq!(page.matches("class=\"mark-link\"").count(), 5, "{page}");
    assert!(page.contains("role=\"combobox\""), "{page}");
}
