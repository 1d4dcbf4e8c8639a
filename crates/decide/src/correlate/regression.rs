//! A deployment, and the service is worse since.
//!
//! Not by mere order in time: a service's steps from the deployment on (until [`LASTS_US`] later, its next deployment or
//! the end of the window) are tested against those of [`LASTS_US`] before it (see [`shift`](super::shift)), once for
//! errors and once for time. A deployment without a shift is no pattern.
//!
//! Confidence: 100 · (2A − 1) · (1 − p) ÷ c of the surer of the two, where c counts the changes that could explain it:
//! deployments, experiments and repairs on the service, or on one that it calls, that began in the range before or
//! within a minute after; the deployment itself is one of them. What came after it as an answer is none: a repair, and
//! the deployment that takes it back.

use domain::{Happening, HappeningKind, Percent};

use super::{Figure, Pattern, PatternName, Seen, Shift, Span, TOGETHER_US, count};

/// How long before and after is compared, microseconds.
pub const LASTS_US: i64 = 600_000_000;

pub(crate) fn find(seen: &Seen<'_>) -> Vec<Pattern> {
    let deployments = seen.events.iter().filter(|event| event.kind == HappeningKind::Deployment);
    deployments.filter_map(|deployment| of_deployment(seen, deployment)).collect()
}

fn of_deployment(seen: &Seen<'_>, deployment: &Happening) -> Option<Pattern> {
    let service = deployment.service.as_deref()?;
    let at = deployment.from_us;
    let next = seen
        .events
        .iter()
        .filter(|event| event.kind == HappeningKind::Deployment && event.service.as_deref() == Some(service))
        .map(|event| event.from_us)
        .find(|from| *from > at);
    let before = Span { from_us: at.saturating_sub(LASTS_US).max(seen.window.from_us), to_us: at };
    let after = Span {
        from_us: at,
        to_us: at.saturating_add(LASTS_US).min(next.unwrap_or(i64::MAX)).min(seen.window.to_us),
    };
    let shift = |figure| Shift::between(figure, seen.steps_of(service), before, after);
    let sureness = |shift: &Shift| shift.strength() * (1.0 - shift.p);
    let shifts: Vec<Shift> = [Figure::Errors, Figure::Time].into_iter().filter_map(shift).collect();
    let surest = shifts.iter().map(sureness).max_by(f64::total_cmp)?;
    let others = rivals(seen, deployment, service, before);
    let troubles = troubles_after(seen, service, after);
    let mut evidence: Vec<String> =
        shifts.iter().map(|shift| format!("{service}'s {}", shift.words())).collect();
    if !others.is_empty() {
        evidence.push(format!("{} at that time too", count(others.len(), "other change", "other changes")));
    }
    let mut events: Vec<&Happening> = vec![deployment];
    events.extend(&troubles);
    Some(Pattern {
        name: PatternName::DeploymentThenRegression,
        confidence: Percent(100.0 * surest / (1.0 + others.len() as f64)),
        service: service.to_owned(),
        from_us: at,
        sentence: format!("{service} is worse since {}", deployment.label),
        evidence,
        events: events.into_iter().map(|event| event.id.clone()).collect(),
        affected_services: seen.graph.affected_by(service),
    })
}

/// Other changes that could explain it.
fn rivals<'a>(seen: &Seen<'a>, deployment: &Happening, service: &str, before: Span) -> Vec<&'a Happening> {
    let near = before.from_us..=deployment.from_us.saturating_add(TOGETHER_US);
    let concerns = |event: &&Happening| {
        let name = event.service.as_deref();
        name.is_some_and(|name| name == service || seen.graph.callees(service).any(|callee| callee == name))
    };
    let changes = seen.events.iter().filter(|event| super::is_change(event) && event.id != deployment.id);
    let answers = |event: &&Happening| {
        let repair = event.kind == HappeningKind::Remediation && event.from_us > deployment.from_us;
        repair || event.of.as_ref() == Some(&deployment.id)
    };
    changes.filter(|event| near.contains(&event.from_us) && !answers(event)).filter(concerns).collect()
}

/// What went wrong on the service since.
fn troubles_after<'a>(seen: &Seen<'a>, service: &str, after: Span) -> Vec<&'a Happening> {
    let events = seen.events.iter().filter(|event| super::is_trouble(event));
    events
        .filter(|event| event.service.as_deref() == Some(service))
        .filter(|event| (after.from_us..=after.to_us).contains(&event.from_us))
        .collect()
}
