//! Happenings as marks in lanes.

use domain::{Happening, Lane};

use super::draw;
use crate::page::marks::of_bearing;

/// More marks than this in one lane cannot be told apart.
const ITEMS: usize = 200;

/// The lanes of `wanted` that are of `always` or hold something, each with what lasts and the newest of the rest. `group` names what
/// belongs together beyond a repair and its issue.
pub(super) fn lanes(
    events: &[Happening],
    wanted: &[Lane],
    always: &[Lane],
    group: impl Fn(&Happening) -> Option<String>,
) -> Vec<draw::Lane> {
    let drawn = |lane: &Lane| draw::Lane {
        name: title(*lane),
        items: drawn_of(events, *lane).into_iter().map(|event| item(event, group(event))).collect(),
    };
    let shown =
        |lane: &&Lane| always.contains(lane) || events.iter().any(|event| event.kind.lane() == **lane);
    Lane::ALL
        .iter()
        .filter(|lane| **lane != Lane::Budget && wanted.contains(lane))
        .filter(shown)
        .map(drawn)
        .collect()
}

/// The newest of a lane. What still lasts is never left out for what is over.
fn drawn_of(events: &[Happening], lane: Lane) -> Vec<&Happening> {
    let mut of_it: Vec<(usize, &Happening)> =
        events.iter().filter(|event| event.kind.lane() == lane).enumerate().collect();
    of_it.sort_by_key(|(_, event)| event.to_us.is_some());
    of_it.truncate(ITEMS);
    of_it.sort_by_key(|(place, _)| *place);
    of_it.into_iter().map(|(_, event)| event).collect()
}

pub(super) fn title(lane: Lane) -> &'static str {
    match lane {
        Lane::Budget => "Budget",
        Lane::Issues => "Issues",
        Lane::Actions => "Actions",
        Lane::Faults => "Faults",
        Lane::Deployments => "Deployments",
        Lane::Alerts => "Alerts",
        Lane::Traces => "Traces",
    }
}

fn item(event: &Happening, group: Option<String>) -> draw::Item {
    draw::Item {
        begin_us: event.from_us,
        end_us: event.to_us,
        meaning: of_bearing(event.bearing),
        label: event.label.clone(),
        title: event.title.clone(),
        href: href(event),
        group: group.or_else(|| event.of.clone()).unwrap_or_else(|| event.id.clone()),
    }
}

/// Its page; for what was posted without an address, the time line around it.
pub(super) fn href(event: &Happening) -> String {
    event.links.first().map_or_else(|| page_around(event), |link| link.href.clone())
}

fn page_around(event: &Happening) -> String {
    let end = event.to_us.unwrap_or(event.from_us);
    let stamp = |us: i64| crate::body::encode(&crate::happenings::time(us).rfc3339());
    format!("/timeline?from={}&to={}", stamp(event.from_us - 300_000_000), stamp(end + 300_000_000))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domain::{Bearing, HappeningKind};

    use super::*;

    fn issue(from_us: i64, to_us: Option<i64>) -> Happening {
        Happening {
            id: from_us.to_string(),
            kind: HappeningKind::Issue,
            from_us,
            to_us,
            service: None,
            caller: None,
            label: String::new(),
            title: String::new(),
            severity: None,
            bearing: Bearing::Bad,
            signs: BTreeSet::new(),
            of: None,
            links: Vec::new(),
        }
    }

    #[test]
    fn what_still_lasts_is_drawn_however_much_is_newer() {
        let newer = (1..=ITEMS as i64 + 50).rev().map(|at| issue(at, Some(at + 1)));
        let events: Vec<Happening> = newer.chain([issue(0, None)]).collect();
        let drawn = drawn_of(&events, Lane::Issues);
        assert_eq!((drawn.len(), drawn[0].from_us), (ITEMS, ITEMS as i64 + 50));
        assert_eq!(drawn.last().map(|event| event.to_us), Some(None));
    }
}
