//! A server with something on every page, one with nothing on any, and where each page of the page table is seen.

use std::path::Path;
use std::sync::Arc;

use audit::Audit;
use chaos::drill::Archive;
use domain::Clock;
use gateway::access::{AccessConfig, SealingKey};
use store::Store;
use telemetry::Telemetry;

use super::server::{Kept, Server, serve_with};
use super::{Fleet, MachineClock, drills, extreme, objectives, scene, series, traces};

/// One page of the page table, on a server.
pub(crate) struct Shown {
    /// Its place in the table, as the name of a file: `issues-id`.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) address: String,
}

const PASSWORD: &str = "four+plain+words+here";

/// With something of everything: a bad morning, traces, series, objectives, users, tokens, records of the audit trail.
pub(crate) fn full() -> Server {
    full_with(SHOP, |_| None)
}

/// The same, strained: see [`extreme`].
pub(crate) fn strained() -> Server {
    let server = full_with(STRAINED, |_| None);
    let cookie = ada(&server);
    for name in [extreme::HEBREW, extreme::UNBROKEN] {
        let said = encode(&name.chars().take(NAME_MAX).collect::<String>());
        let forms = [
            ("/account/tokens", format!("name={said}&role=viewer&days=365")),
            (
                "/users/create",
                format!(
                    "name={LONG_NAME}-{}&display_name={said}&password={PASSWORD}&role=viewer",
                    said.len()
                ),
            ),
        ];
        for (path, form) in forms {
            let reply = server.submit(path, &form, &cookie);
            assert!([200, 303].contains(&reply.status), "{path}: {} {}", reply.status, reply.body);
        }
    }
    server
}

/// Characters that a name may have.
const NAME_MAX: usize = 64;
const LONG_NAME: &str = "somebody-whose-name-is-as-long-as-may-be";

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// What is seen of a fleet, and what is kept of its traces and series.
struct Seen {
    fleet: fn(&Fleet),
    spans: fn(&Telemetry, u64),
    series: series::Scene,
}

const SHOP: Seen = Seen { fleet: scene::full, spans: traces::shop, series: series::shop };
const STRAINED: Seen = Seen { fleet: extreme::fleet, spans: extreme::spans, series: extreme::numbers };

/// The same over a database in the server's directory, parts of which can be made unreadable.
pub(crate) fn full_on_disk() -> Server {
    full_with(SHOP, |dir| Some(Store::open(&dir.join("state")).unwrap()))
}

fn full_with(seen: Seen, store: fn(&Path) -> Option<Store>) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(MachineClock::start());
    let telemetry = Telemetry::open(telemetry::Config::new(dir.path())).unwrap();
    (seen.spans)(&telemetry, clock.now().wall_us as u64 * 1000);
    let kept = Kept {
        metrics: Some(series::store(dir.path(), Arc::clone(&clock), seen.series)),
        objectives: Some(objectives::with_a_past),
        drills: Some(drills::kept(dir.path(), clock.now())),
        store: store(dir.path()),
        ..kept(dir.path(), telemetry)
    };
    let server = serve_with(seen.fleet, kept).keeping(dir);
    people(&server);
    server
}

/// With a store of each kind, and nothing in any.
pub(crate) fn empty() -> Server {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(MachineClock::start());
    let telemetry = Telemetry::open(telemetry::Config::new(dir.path())).unwrap();
    let kept = Kept {
        metrics: Some(series::store(dir.path(), clock, |_| metrics::Batch::default())),
        objectives: Some(objectives::empty),
        drills: Some(Archive::of_data_directory(dir.path())),
        ..kept(dir.path(), telemetry)
    };
    serve_with(|_| {}, kept).keeping(dir)
}

fn kept(dir: &Path, telemetry: Telemetry) -> Kept {
    Kept {
        telemetry: Some(telemetry),
        audit: Some(Audit::open(&dir.join("audit"), Arc::new(MachineClock::start())).unwrap()),
        access: AccessConfig { key: Some(SealingKey::new(&[7; 32])), ..AccessConfig::default() },
        ..Kept::default()
    }
}

/// The cookie of an admin who is one of the users; only of [`full`].
pub(crate) fn ada(server: &Server) -> String {
    let reply = server.submit("/login", &format!("name=ada&password={PASSWORD}"), "");
    assert_eq!(reply.status, 303, "{}", reply.body);
    reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

/// Users and tokens, and what they did: all of it is in the audit trail then.
fn people(server: &Server) {
    let local = server.cookie();
    let done = |path: &str, form: &str, cookie: &str| {
        let reply = server.submit(path, form, cookie);
        assert!([200, 303].contains(&reply.status), "{path}: {} {}", reply.status, reply.body);
    };
    for (name, whole, role) in [
        ("ada", "Ada+Lovelace", "admin"),
        ("grace", "Grace+Hopper", "operator"),
        ("lin", "Lin+Wei", "viewer"),
    ] {
        let form = format!("name={name}&display_name={whole}&password={PASSWORD}&role={role}");
        done("/users/create", &form, &local);
    }
    let ada = ada(server);
    for (name, role, days) in [("dashboard", "viewer", "365"), ("pipeline", "operator", "90")] {
        done("/account/tokens", &format!("name={name}&role={role}&days={days}"), &ada);
    }
    done("/automation", "enabled=false", &ada);
    done("/automation", "enabled=true", &ada);
    done("/services/orders/pause", "for=1h", &ada);
    done("/services/orders/resume", "", &ada);
    let refused = server.submit("/login", "name=lin&password=not+the+one+it+is", "");
    assert_eq!(refused.status, 401, "{}", refused.body);
}

/// Lets the last look of the loops be just now, as it is while they run.
pub(crate) fn look_again(server: &Server) {
    if let Some(snapshot) = server.fleet.snapshot.lock().unwrap().as_mut() {
        Arc::make_mut(snapshot).taken = server.fleet.clock.now();
    }
}

/// Every page of the page table as it is on a server with something on every page.
pub(crate) fn pages(server: &Server) -> Vec<Shown> {
    gateway::page_table()
        .map(|pattern| Shown { name: file_name(pattern), address: address(server, pattern) })
        .collect()
}

/// Those pages of a server that [`strained`] made which show what strains them.
pub(crate) fn strained_pages(server: &Server) -> Vec<Shown> {
    let id = traces::trace_id(extreme::TRACE);
    let strained = |pattern: &str| match pattern {
        "/issues/{id}" => {
            let found = server.get("/issues?state=open&q=Proxy&format=json").json();
            Some(format!("/issues/{}", found[0]["id"].as_str().unwrap()))
        }

        "/services/{name}" => Some(format!("/services/{}", scene::LONG_CALLER)),
        "/traces" => Some(format!("/traces?service={}&within=86400", scene::LONG_CALLER)),
        "/traces/{id}" => Some(format!("/traces/{id}")),
        "/traces/compare" => Some(format!("/traces/compare?a={id}&b={}", traces::trace_id(7))),
        "/metrics-explorer" => Some(format!("/metrics-explorer?query={}", extreme::QUERY)),
        _ => None,
    };
    let shown = |pattern: &'static str| Shown {
        name: file_name(pattern),
        address: strained(pattern).unwrap_or_else(|| address(server, pattern)),
    };
    gateway::page_table().map(shown).collect()
}

/// Those that are there where nothing is stored.
pub(crate) fn pages_of_nothing() -> Vec<Shown> {
    let anywhere = gateway::page_table().filter(|pattern| !pattern.contains('{') && *pattern != "/cmdb/item");
    anywhere.map(|pattern| Shown { name: file_name(pattern), address: pattern.to_owned() }).collect()
}

/// The name that a page's files have.
pub(crate) fn file_name(pattern: &str) -> String {
    let words: Vec<&str> = pattern.split(['/', '{', '}', '*']).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "overview".to_owned() } else { words.join("-") }
}

/// Where a page has something to show.
fn address(server: &Server, pattern: &str) -> String {
    let first =
        |list: &str| server.get(&format!("/{list}&format=json")).json()[0]["id"].as_str().unwrap().to_owned();
    match pattern {
        "/issues/{id}" => format!("/issues/{}", first("issues?state=open")),
        "/remediations/{id}" => format!("/remediations/{}", first("remediations?status=success")),
        "/experiments/{id}" => format!("/experiments/{}", first("experiments?status=completed")),
        "/experiments/preview" => {
            "/experiments/preview?type=pause&target=instance/cart-1&duration=30".to_owned()
        }
        "/drills/{id}" => {
            let drills = server.get("/drills?sort=-runs&format=json").json();
            format!("/drills/{}", drills[0]["id"].as_str().unwrap())
        }
        "/services/{name}" => "/services/cart".to_owned(),
        "/slos/{id}" => "/slos/cart-answers".to_owned(),
        "/traces/{id}" => format!("/traces/{}", traces::trace_id(7)),
        "/traces/compare" => format!("/traces/compare?a={}&b={}", traces::trace_id(7), traces::trace_id(8)),
        "/latency" => "/latency?service=front".to_owned(),
        "/metrics-explorer" => {
            "/metrics-explorer?query=histogram_quantile(0.9,rate(took_seconds_bucket%5B5m%5D))".to_owned()
        }
        "/cmdb/item" => "/cmdb/item?id=service%2Fcart".to_owned(),
        "/audit/{sequence}" => "/audit/3".to_owned(),
        "/users/{name}" => "/users/grace".to_owned(),
        "/docs/{*page}" => "/docs/guides/chaos-engineering".to_owned(),
        plain if !plain.contains('{') => plain.to_owned(),
        other => panic!("say in tests/support/whole.rs where {other} has something to show"),
    }
}
