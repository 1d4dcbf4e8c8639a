//! Several services fail within a minute, and all of them call the same one.
//!
//! A service fails where a trouble with a sign lies on it, or where its calls to somebody are in trouble. For each
//! service D that somebody calls, the minute is looked for in which the most of its callers begin to fail:
//!
//! - k: direct callers of D that fail in it, by a trouble that does not lie on the way to somebody else; at least two;
//! - R = k ÷ all direct callers of D;
//! - P: of all services that fail in it (but D), the share whose requests reach D, directly or through others;
//! - F₁ = 2 · P · R ÷ (P + R);
//! - n = k, and one more where D itself is in trouble in that minute.
//!
//! Confidence: 100 · F₁ · n ÷ (n + 1).

use std::collections::{BTreeMap, BTreeSet};

use domain::{Happening, Percent};

use super::{Pattern, PatternName, Seen, TOGETHER_US, count, is_trouble};

/// One service that begins to fail.
#[derive(Debug, Clone, Copy)]
struct Failing<'a> {
    service: &'a str,
    /// On the way to whom, where it was seen on a path.
    towards: Option<&'a str>,
    event: &'a Happening,
}

pub(crate) fn find(seen: &Seen<'_>) -> Vec<Pattern> {
    let failing = failing(seen);
    seen.graph.called().filter_map(|callee| of_callee(seen, &failing, callee)).collect()
}

/// In the order of the events.
fn failing<'a>(seen: &Seen<'a>) -> Vec<Failing<'a>> {
    let troubles = seen.events.iter().filter(|event| is_trouble(event) && !event.signs.is_empty());
    // What began before the window began some time: only beginnings that were seen say that they came together.
    let seen_beginning = troubles.filter(|event| event.from_us >= seen.window.from_us);
    seen_beginning
        .filter_map(|event| {
            let callee = event.service.as_deref()?;
            Some(match event.caller.as_deref() {
                Some(caller) => Failing { service: caller, towards: Some(callee), event },
                None => Failing { service: callee, towards: None, event },
            })
        })
        .collect()
}

fn of_callee(seen: &Seen<'_>, failing: &[Failing<'_>], callee: &str) -> Option<Pattern> {
    let callers: BTreeSet<&str> = seen.graph.callers(callee).collect();
    let points_here = |one: &&Failing<'_>| {
        callers.contains(one.service) && one.towards.is_none_or(|towards| towards == callee)
    };
    // The minute in which the most callers begin to fail, the first of equals.
    let minutes = failing.iter().filter(points_here).map(|one| one.event.from_us);
    let in_minute =
        |from: i64| move |one: &&Failing<'_>| (from..=from + TOGETHER_US).contains(&one.event.from_us);
    let services_in = |from: i64| -> BTreeSet<&str> {
        failing.iter().filter(points_here).filter(in_minute(from)).map(|one| one.service).collect()
    };
    let (here, from_us) = minutes
        .map(|from| (services_in(from), from))
        .max_by_key(|(services, from)| (services.len(), std::cmp::Reverse(*from)))?;
    if here.len() < 2 {
        return None;
    }
    let all: BTreeSet<&str> = failing
        .iter()
        .filter(in_minute(from_us))
        .map(|one| one.service)
        .filter(|name| *name != callee)
        .collect();
    let reaching = seen.graph.affected_by(callee);
    let explained = all.iter().filter(|name| reaching.contains(**name)).count();
    let itself = failing.iter().filter(in_minute(from_us)).any(|one| one.service == callee);
    let (k, recall) = (here.len(), here.len() as f64 / callers.len() as f64);
    let precision = explained as f64 / all.len() as f64;
    let f1 = 2.0 * precision * recall / (precision + recall);
    let n = k as f64 + f64::from(u8::from(itself));
    let events: BTreeMap<(i64, &str), ()> = failing
        .iter()
        .filter(in_minute(from_us))
        .filter(|one| points_here(one) || one.service == callee)
        .map(|one| ((one.event.from_us, one.event.id.as_str()), ()))
        .collect();
    let names = here.iter().copied().collect::<Vec<_>>().join(", ");
    let mut evidence = vec![
        format!("{k} of {} that call {callee} fail: {names}", count(callers.len(), "service", "services")),
        format!(
            "{explained} of {} that fail in that minute need it",
            count(all.len(), "service", "services")
        ),
    ];
    if itself {
        evidence.push(format!("{callee} itself is in trouble"));
    }
    Some(Pattern {
        name: PatternName::SharedDependency,
        confidence: Percent(100.0 * f1 * n / (n + 1.0)),
        service: callee.to_owned(),
        from_us,
        sentence: format!(
            "{} that call {callee} began to fail within a minute",
            count(k, "service", "services")
        ),
        evidence,
        events: events.into_keys().map(|(_, id)| id.to_owned()).collect(),
        affected_services: reaching,
    })
}
