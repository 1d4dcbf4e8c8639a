//! Slow traces and errors at once: an incident.
//!
//! Looked for in each group of troubles. For each sign (slowness, failure) there are two witnesses:
//!
//! - reports: n issues, alerts, incidents or anomalies that show it, worth n ÷ (n + 1);
//! - traces: t traces that show it, worth t ÷ (t + 1), times the strength of the shift (see
//!   [`shift`](super::shift)) of their service's figure from before the group to within it. Without a shift traces are
//!   worth nothing: of many calls some are always slow.
//!
//! The strength of a sign is 1 − (1 − reports) · (1 − traces). Where both signs have some, the confidence is
//! 100 · √(slowness · failure).

use std::collections::BTreeMap;

use domain::{Happening, HappeningKind, Percent, Sign};

use super::groups::Group;
use super::{Figure, Pattern, PatternName, Seen, Shift, Span, count};

/// How much of the time before a group is what was usual, microseconds.
const BEFORE_US: i64 = 600_000_000;

pub(crate) fn find(seen: &Seen<'_>, groups: &[Group]) -> Vec<Pattern> {
    groups.iter().filter_map(|group| of_group(seen, group)).collect()
}

fn of_group(seen: &Seen<'_>, group: &Group) -> Option<Pattern> {
    let members: Vec<&Happening> = group.members(seen).collect();
    let (slowness, slow_words) = strength(seen, group, &members, Sign::Slow)?;
    let (failure, error_words) = strength(seen, group, &members, Sign::Errors)?;
    let service = pointed_to(&members)?;
    let signed = members.iter().filter(|event| !event.signs.is_empty());
    let evidence: Vec<String> = slow_words.into_iter().chain(error_words).collect();
    Some(Pattern {
        name: PatternName::SlowTracesWithErrors,
        confidence: Percent(100.0 * (slowness * failure).sqrt()),
        from_us: group.span.from_us,
        sentence: format!("answers of {service} were slow and failed at once"),
        evidence,
        events: signed.map(|event| event.id.clone()).collect(),
        affected_services: seen.graph.affected_by(&service),
        service,
    })
}

/// How strongly a sign shows, with what shows it; `None` where it does not.
fn strength(
    seen: &Seen<'_>,
    group: &Group,
    members: &[&Happening],
    sign: Sign,
) -> Option<(f64, Vec<String>)> {
    let shows = |event: &&&Happening| event.signs.contains(&sign);
    let (traces, reports): (Vec<&Happening>, Vec<&Happening>) =
        members.iter().filter(shows).partition(|event| event.kind == HappeningKind::Trace);
    let share = |n: usize| n as f64 / (n as f64 + 1.0);
    let word = match sign {
        Sign::Slow => "slow",
        Sign::Errors => "failed",
    };
    let mut words = Vec::new();
    if !reports.is_empty() {
        let many = count(reports.len(), "report", "reports");
        words.push(format!("{many} of {}: {}", word_of(sign), reports[0].title));
    }
    let mut told = 0.0_f64;
    if let Some(shift) = traces.first().and_then(|_| shift_of(seen, group, &traces, sign)) {
        words.push(format!(
            "{} of {}; its {}",
            count(traces.len(), &format!("{word} trace"), &format!("{word} traces")),
            shift.0,
            shift.1.words()
        ));
        told = share(traces.len()) * shift.1.strength();
    }
    let strength = 1.0 - (1.0 - share(reports.len())) * (1.0 - told);
    (strength > 0.0).then_some((strength, words))
}

fn word_of(sign: Sign) -> &'static str {
    match sign {
        Sign::Slow => "slowness",
        Sign::Errors => "failure",
    }
}

/// The strongest shift among the services of the traces.
fn shift_of<'a>(
    seen: &Seen<'_>,
    group: &Group,
    traces: &[&'a Happening],
    sign: Sign,
) -> Option<(&'a str, Shift)> {
    let figure = match sign {
        Sign::Slow => Figure::Time,
        Sign::Errors => Figure::Errors,
    };
    let before = Span {
        from_us: group.span.from_us.saturating_sub(BEFORE_US).max(seen.window.from_us),
        to_us: group.span.from_us,
    };
    let shifts = traces.iter().filter_map(|trace| {
        let service = trace.service.as_deref()?;
        let shift = Shift::between(figure, seen.steps_of(service), before, group.span)?;
        Some((service, shift))
    });
    shifts.max_by(|a, b| a.1.strength().total_cmp(&b.1.strength()).then(b.0.cmp(a.0)))
}

/// The service that most of what shows a sign lies on; of equals the one that showed it first, then by name.
fn pointed_to(members: &[&Happening]) -> Option<String> {
    let mut votes: BTreeMap<&str, (usize, i64)> = BTreeMap::new();
    for event in members.iter().filter(|event| !event.signs.is_empty()) {
        if let Some(service) = &event.service {
            let (n, first) = votes.entry(service).or_insert((0, event.from_us));
            *n += 1;
            *first = event.from_us.min(*first);
        }
    }
    let best = votes.into_iter().min_by_key(|(name, (n, first))| (usize::MAX - n, *first, *name));
    best.map(|(service, _)| service.to_owned())
}
