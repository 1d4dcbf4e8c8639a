//! What strains a page: names as long as they may be, words without a gap, text that runs from right to left, hundreds of
//! rows, numbers of many digits, values near nothing and values beyond all bounds.

use domain::{Bearing, EventId, Happening, HappeningKind, IssueKind, Reason, Severity, Sign, Time};
use metrics::{Batch, Kind, Metadata};
use promql::{Labels, Sample, Value};
use telemetry::Telemetry;

use super::otlp::text;
use super::scene::{self, LONG_CALLEE, LONG_CALLER};
use super::traces::{Batch as Spans, Span};
use super::{Fleet, series, traces};

/// A sentence that runs from right to left.
pub(crate) const HEBREW: &str = "השירות אינו עונה לבקשות מאז העדכון האחרון של מסד הנתונים";
/// A word without a gap in which a line could end.
pub(crate) const UNBROKEN: &str = "com.example.warehouse.northern.inventory.RecommendationsForReturningCustomersRepositoryImpl$$Proxy1234567890";
/// Number of the trace that strains its page.
pub(crate) const TRACE: u64 = 9100;
/// The series that do.
pub(crate) const QUERY: &str = "strained";

const MS: u64 = 1_000_000;

/// `full`, with a hundred services more, 300 issues, 60 plans that wait, and what nobody named with a page in mind.
pub(crate) fn fleet(fleet: &Fleet) {
    scene::full(fleet);
    let now = fleet.clock.now();
    scene::strain(fleet, now, 300);
    scene::asked_again(fleet, LONG_CALLER, 60);
    for (n, title) in [HEBREW, UNBROKEN].iter().enumerate() {
        let at = now.minus(std::time::Duration::from_secs(90 + 40 * n as u64));
        fleet.store.post_event(&alert(fleet, at, title), None).unwrap();
        let issue = scene::issue_of(fleet, at, IssueKind::ErrorRate, Reason::AllBackends, title);
        fleet.store.save_issue(&issue).unwrap();
    }
}

fn alert(fleet: &Fleet, at: Time, title: &str) -> Happening {
    Happening {
        id: fleet.id::<EventId>(at).to_string(),
        kind: HappeningKind::Alert,
        from_us: at.wall_us,
        to_us: None,
        service: Some(LONG_CALLER.to_owned()),
        caller: None,
        label: title.to_owned(),
        title: title.to_owned(),
        severity: Some(Severity::Critical),
        bearing: Bearing::Bad,
        signs: [Sign::Errors].into(),
        of: None,
        links: Vec::new(),
    }
}

/// The shop's, and one whose names and durations strain.
pub(crate) fn spans(telemetry: &Telemetry, now: u64) {
    traces::shop(telemetry, now);
    let mut batch = Spans::new();
    let start = now - 7_200_000 * MS;
    let mut parent = 0;
    for depth in 0..24_u64 {
        let name = [UNBROKEN, HEBREW, "a"][depth as usize % 3];
        let failed = (depth % 7 == 3).then_some(HEBREW);
        parent = batch.add(Span {
            trace: TRACE,
            parent,
            service: [LONG_CALLER, LONG_CALLEE][depth as usize % 2],
            name,
            kind: 2,
            start: start + depth,
            // From an hour and a half down to a nanosecond.
            nano: ((5_400_000 * MS) >> (2 * depth)).max(1),
            failed,
            more: vec![text("warehouse.query", &UNBROKEN.repeat(6)), text(UNBROKEN, HEBREW)],
        });
    }
    batch.send(telemetry);
}

/// The shop's, and two hundred from 10⁻¹² to 10¹⁵, above and below nothing.
pub(crate) fn numbers(now_ms: i64) -> Batch {
    let mut batch = series::shop(now_ms);
    for n in 0..200 {
        let size = 10_f64.powi(n % 28 - 12) * if n % 2 == 0 { 1.0 } else { -1.0 };
        let who = [UNBROKEN, HEBREW, LONG_CALLER][n as usize % 3];
        let labels = Labels::new([("__name__", QUERY), ("who", who), ("n", &n.to_string())]);
        let sample = |at: i64| Sample {
            at_ms: now_ms - (240 - at) * 15_000,
            value: Value::Float(size * (1.234_567_890_123 + (at as f64 / 9.0).sin())),
        };
        batch.series.push((labels, (0..=240).map(sample).collect()));
    }
    let known = Metadata { kind: Kind::Gauge, help: HEBREW.to_owned(), unit: String::new() };
    batch.metadata.push((QUERY.to_owned(), known));
    batch
}
