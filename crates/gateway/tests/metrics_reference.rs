//! `docs/reference/metrics.md`: every name at `/metrics`, as servers say it that have something to say.
//!
//! What is made here must be what is committed; `cargo xtask docs` writes it anew. What rules, Alertmanagers and object
//! storage count, and the confidence of diagnoses, comes with parts that no server here has; its names are read where they are
//! written.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use homeostat_tracer::Tracer;
use metrics::Batch;
use promql::{Labels, Sample, Value};
use support::server::{Kept, TOKEN, serve_with, start_receiving, start_with_metrics, start_with_objectives};
use support::{objectives, scene, traces};
use telemetry::Telemetry;

/// Set, what is made is written; else it must be what lies there already.
const WRITE: &str = "HOMEOSTAT_WRITE_REFERENCE";

/// Sources with names that stand beside their help, and the beginnings of those names.
const WRITTEN: [(&str, &str); 6] = [
    (include_str!("../src/api/metrics/healing.rs"), "rca_"),
    (include_str!("../../alerting/src/counters.rs"), "rule_"),
    (include_str!("../../alerting/src/alertmanager/mod.rs"), "alertmanager_"),
    (include_str!("../src/api/metrics.rs"), "tls_"),
    (include_str!("../src/api/metrics.rs"), "telemetry_moved_"),
    (include_str!("../src/api/metrics.rs"), "telemetry_objects_"),
];

/// What the page says of names that begin so, in the order of the page.
const GROUPS: [(&str, &str); 14] = [
    ("self_healing_", "Issues and repairs"),
    ("healing_", ""),
    ("auto_remediation_", ""),
    ("rca_", ""),
    ("predict", "Issues before they come to pass"),
    ("prevented_", ""),
    ("chaos_", "Experiments"),
    ("homeostat_slo_", "Objectives"),
    ("rule_", "Rules, where `[rules]` names files"),
    ("alertmanager_", "Alertmanagers, where `[alertmanager]` names one"),
    ("metrics_", "The store of series"),
    ("otlp_", "Receivers of OTLP and remote-write"),
    ("remote_write_", ""),
    ("gateway_", "The gateway"),
];

const MORE_GROUPS: [(&str, &str); 6] = [
    ("tls_", "The certificate, where `[tls]` names one"),
    ("telemetry_", "The store of spans and logs"),
    ("telemetry_moved_", "Object storage, where `[telemetry.objects]` names a bucket"),
    ("telemetry_objects_", ""),
    ("traces_", "Spans and the service graph, counted before anything is sampled"),
    ("tracing_", "Homeostat's own spans"),
];

#[derive(Debug, Clone, PartialEq)]
struct Family {
    kind: String,
    help: String,
    labels: Vec<String>,
}

/// Families by name, out of an exposition.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut found: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            let family = Family { kind: String::new(), help: help.to_owned(), labels: Vec::new() };
            found.entry(name.to_owned()).or_insert(family);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let family = found.get_mut(name).unwrap_or_else(|| panic!("{name} has no help"));
            kind.clone_into(&mut family.kind);
        } else if let Some((series, _)) = line.rsplit_once(' ') {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let bare = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let family = [Some(name), bare].into_iter().flatten().find(|name| found.contains_key(*name));
            let family = family.unwrap_or_else(|| panic!("{name} has no type")).to_owned();
            let of = &mut found.get_mut(&family).unwrap().labels;
            for label in labels.split("\",").filter_map(|label| Some(label.split_once('=')?.0)) {
                let label = label.trim_start_matches(',');
                if label != "le" && !of.iter().any(|known| known == label) {
                    of.push(label.to_owned());
                }
            }
        }
    }
    found
}

/// Names with their help as they stand in a source: two texts behind each other, the kind between them where it is said.
fn written(source: &str, begins: &str) -> BTreeMap<String, Family> {
    let texts: Vec<&str> = source.split('"').skip(1).step_by(2).collect();
    let mut found = BTreeMap::new();
    for (at, name) in texts.iter().enumerate() {
        let is_name = name.starts_with(begins) && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let (Some(next), true) = (texts.get(at + 1), is_name) else { continue };
        let (kind, help) = match *next {
            "counter" | "gauge" => (*next, texts[at + 2]),
            help if name.ends_with("_total") => ("counter", help),
            help => ("gauge", help),
        };
        let labels = if begins == "alertmanager_" { vec!["alertmanager".to_owned()] } else { Vec::new() };
        found.insert((*name).to_owned(), Family { kind: kind.to_owned(), help: help.to_owned(), labels });
    }
    assert!(!found.is_empty(), "no name begins with {begins}");
    found
}

/// What servers say that have everything a server can have.
fn said() -> BTreeMap<String, Family> {
    let dir = tempfile::tempdir().unwrap();
    let telemetry = Telemetry::open(telemetry::Config::new(dir.path())).unwrap();
    let now = support::MachineClock::start();
    traces::SCENES[0].1(&telemetry, domain::Clock::now(&now).wall_us as u64 * 1000);
    let tracer = Tracer::builder(gateway::OWN_SERVICE).build().unwrap();
    let kept = Kept { telemetry: Some(telemetry), tracer: Some(tracer), ..Kept::default() };
    let sample = Sample { at_ms: domain::Clock::now(&now).wall_us / 1000, value: Value::Float(1.0) };
    let mut batch = Batch::default();
    batch.series.push((Labels::new([("__name__", "one")]), vec![sample]));

    let mut all = BTreeMap::new();
    let mut scrape = |server: &support::server::Server| {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("host", server.host()), ("authorization", bearer)];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let reply = server.raw("GET", "/metrics", &headers, "");
        assert_eq!(reply.status, 200, "{}", reply.body);
        all.extend(families(&reply.body));
    };
    scrape(&serve_with(scene::busy, kept));
    scrape(&start_with_metrics(batch, Kept::default()));
    let (receiving, _receivers) = start_receiving();
    scrape(&receiving);
    let (objecting, _, _) = start_with_objectives(scene::busy, |store, now, answers| {
        objectives::with_a_past(store, now, answers)
    });
    scrape(&objecting);
    all
}

fn page(all: &BTreeMap<String, Family>) -> String {
    let mut text = "<!-- Made from what `/metrics` says by `cargo xtask docs`; changes made here are lost. -->\n\n\
        # Metrics\n\n\
        What `GET /metrics` exports, in Prometheus' text format. Homeostat keeps the same as series of its own, so that\n\
        `/metrics-explorer` and Prometheus' API answer for it without a Prometheus. Series of instances and links are kept\n\
        (`homeostat_instance_…`, `homeostat_link_…`) and not exported.\n\n\
        A counter that is made from stored records goes on after a restart, and where retention removes records. What was not\n\
        measured is absent, never 0. Which rules and dashboards read these is in `deploy/`.\n"
        .to_owned();
    let groups: Vec<(&str, &str)> = GROUPS.into_iter().chain(MORE_GROUPS).collect();
    let group = |name: &str| {
        let fits = groups.iter().enumerate().filter(|(_, (begins, _))| name.starts_with(begins));
        fits.max_by_key(|(_, (begins, _))| begins.len()).map(|(at, _)| at)
    };
    if let Some(name) = all.keys().find(|name| group(name).is_none()) {
        panic!("{name} belongs to no group of the page; add one to GROUPS in {}", file!());
    }
    for (at, (_, title)) in groups.iter().enumerate() {
        if !title.is_empty() {
            let _ = write!(text, "\n## {title}\n\n| name | type | labels | meaning |\n|---|---|---|---|\n");
        }
        for (name, Family { kind, help, labels }) in all.iter().filter(|(name, _)| group(name) == Some(at)) {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            let _ = writeln!(
                text,
                "| `{name}` | {kind} | {} | {} |",
                labels.join(", "),
                help.replace('|', "\\|")
            );
        }
    }
    text
}

#[test]
fn every_name_is_on_the_page_and_every_name_on_the_page_is_said() {
    let mut all = said();
    for (source, begins) in WRITTEN {
        for (name, family) in written(source, begins) {
            all.entry(name).or_insert(family);
        }
    }
    let made = page(&all);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics.md");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &made).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let difference = committed.lines().zip(made.lines()).find(|(committed, made)| committed != made);
    assert!(
        committed == made,
        "docs/reference/metrics.md is not what /metrics says: {difference:?}; run `cargo xtask docs` and commit what it writes"
    );
}
