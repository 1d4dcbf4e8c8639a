//! What an open issue says of its reason while the looks at it differ.

use std::time::Duration;

use domain::{IdSource, Issue, IssueKind, Reason, Window};

use crate::detect::{Thresholds, detect, track};
use crate::fixture::{Fleet, Part};

const LINK: &str = "front->cart";

/// What one look sees of `front->cart`, which has two instances behind it.
#[derive(Debug, Clone, Copy)]
enum Sees {
    /// Requests through one path, or all, are turned away.
    Throttled(Part<'static>),
    /// Requests through one path, or all, take 400 ms longer.
    Slow(Part<'static>),
    /// The same, and a check at cart-0 was slow too.
    SlowOldAndOneCheck,
    /// The p95 is high and no part of the link is worse than the others.
    SlowSomehow,
    /// The breaker is open: no requests; the checks fail at these instances.
    ChecksFail(&'static [&'static str]),
}
use Sees::*;

const ONE: Part<'static> = Part::Backend("cart-1");

impl Sees {
    fn fleet(self, at: Duration) -> Fleet {
        let mut fleet = Fleet::healthy();
        fleet.after(at);
        match self {
            Throttled(part) => drop(fleet.throttled_path(LINK, part)),
            Slow(part) => drop(fleet.slow_path(LINK, part, 400.0)),
            SlowOldAndOneCheck => {
                fleet.slow_path(LINK, Part::OldConnections, 400.0);
                let backends = &mut fleet.link_mut(LINK).backends;
                backends.values_mut().next().unwrap().path_check = Some(Duration::from_millis(150));
            }
            SlowSomehow => {
                let link = fleet.link_mut(LINK);
                (link.recent.p95_ms, link.before.p95_ms) = (Some(320.0), Some(300.0));
            }
            ChecksFail(at) => {
                let link = fleet.link_mut(LINK);
                let none = Window { seconds: 3, ..Window::default() };
                (link.recent, link.old_connections, link.new_connections) = (none, none, none);
                for (name, backend) in &mut link.backends {
                    backend.recent = none;
                    if at.contains(&name.to_string().as_str()) {
                        (backend.path_check, backend.path_check_failures) = (None, 6);
                    }
                }
            }
        }
        fleet
    }
}

/// The reasons of the one open issue of a type on the link after each look, a second apart.
fn stated(kind: IssueKind, looks: &[Sees]) -> Vec<Reason> {
    let mut open: Vec<Issue> = Vec::new();
    let mut ids = IdSource::seeded(3);
    let mut reasons = Vec::new();
    for (second, sees) in looks.iter().enumerate() {
        let fleet = sees.fleet(Duration::from_secs(second as u64));
        let (snapshot, thresholds) = (&fleet.snapshot, Thresholds::default());
        let findings = detect(snapshot, &thresholds);
        let changes = track(&open, &findings, snapshot, &thresholds, &[], &mut || ids.next(snapshot.taken));
        open = changes.into_iter().map(|change| change.issue().clone()).collect();
        let is_it =
            |issue: &&Issue| issue.kind == kind && issue.resource.to_string() == format!("link/{LINK}");
        let issue = open.iter().find(is_it).unwrap_or_else(|| panic!("look {second}: none in {open:#?}"));
        assert!(
            !issue.description.contains(match issue.reason {
                Reason::OneBackend => "; every ",
                _ => "; only cart",
            }),
            "look {second}: {} is said as {:?}",
            issue.reason,
            issue.description
        );
        reasons.push(issue.reason);
    }
    reasons
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_reason_is_stable_while_the_looks_alternate() {
    use Reason::{AllBackends, OneBackend, StaleConnections, Unspecified};
    let all = Part::All;
    let (first, second, both): (Sees, Sees, Sees) =
        (ChecksFail(&["cart-0"]), ChecksFail(&["cart-1"]), ChecksFail(&["cart-0", "cart-1"]));
    type Row<'a> = (&'a str, IssueKind, Vec<Sees>, Vec<Reason>);
    let rows: [Row<'_>; 9] = [
        (
            "all throttled; then the breaker is open and checks pass in turn",
            IssueKind::ErrorRate,
            vec![Throttled(all), first, second, both, first, second, first, first, first, first, first],
            vec![AllBackends; 11],
        ),
        (
            "one throttled; then checks fail in turn",
            IssueKind::ErrorRate,
            vec![Throttled(ONE), second, both, first, both, both, both, both, both, both, second],
            vec![OneBackend; 11],
        ),
        (
            "checks alone: all tells more than one, and stays",
            IssueKind::ErrorRate,
            vec![first, both, second, both, first, both],
            vec![OneBackend, AllBackends, AllBackends, AllBackends, AllBackends, AllBackends],
        ),
        (
            "requests are better evidence than checks",
            IssueKind::ErrorRate,
            vec![both, Throttled(ONE), both, Throttled(ONE)],
            vec![AllBackends, OneBackend, OneBackend, OneBackend],
        ),
        (
            "the first requests show one instance, the next ones all",
            IssueKind::NetworkLatency,
            vec![Slow(ONE), Slow(all), Slow(ONE), Slow(all), Slow(ONE), Slow(all)],
            vec![OneBackend, AllBackends, AllBackends, AllBackends, AllBackends, AllBackends],
        ),
        (
            "one of all gets well, for longer than a window",
            IssueKind::NetworkLatency,
            vec![Slow(all), Slow(ONE), Slow(ONE), Slow(ONE), Slow(ONE), Slow(ONE), Slow(ONE), Slow(ONE)],
            vec![
                AllBackends,
                AllBackends,
                AllBackends,
                AllBackends,
                AllBackends,
                AllBackends,
                OneBackend,
                OneBackend,
            ],
        ),
        (
            "old connections, and a slow check now and then",
            IssueKind::NetworkLatency,
            vec![
                Slow(Part::OldConnections),
                SlowOldAndOneCheck,
                Slow(Part::OldConnections),
                SlowOldAndOneCheck,
                SlowSomehow,
                SlowOldAndOneCheck,
                Slow(Part::OldConnections),
            ],
            vec![StaleConnections; 7],
        ),
        (
            "all that are slow turn out to be the old connections",
            IssueKind::NetworkLatency,
            vec![SlowOldAndOneCheck, Slow(Part::OldConnections), SlowOldAndOneCheck],
            vec![AllBackends, StaleConnections, StaleConnections],
        ),
        (
            "no part is told at first, and again later",
            IssueKind::NetworkLatency,
            vec![SlowSomehow, Slow(ONE), SlowSomehow, SlowSomehow, SlowSomehow, SlowSomehow, SlowSomehow],
            vec![Unspecified, OneBackend, OneBackend, OneBackend, OneBackend, OneBackend, OneBackend],
        ),
    ];
    for (name, kind, looks, expected) in rows {
        assert_eq!(stated(kind, &looks), expected, "{name}");
    }
}
