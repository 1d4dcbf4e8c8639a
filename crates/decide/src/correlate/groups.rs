//! Troubles that belong together.
//!
//! Two belong together where one brought the other about (a repair and its issue), or where both are troubles, lie on
//! the same service or on two of which one calls the other, and lasted at the same time or up to
//! [`TOGETHER_US`] apart. Belonging together goes on from one to the next.

use std::collections::BTreeMap;

use domain::{Happening, HappeningKind};

use super::{Seen, Span, TOGETHER_US, is_trouble};

/// Happenings that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// From the first beginning to the last end, within the window.
    pub span: Span,
    /// Their ids with their kinds, by time; at least two.
    pub events: Vec<(HappeningKind, String)>,
}

impl Group {
    /// Its events.
    pub(crate) fn members<'a>(&self, seen: &Seen<'a>) -> impl Iterator<Item = &'a Happening> {
        let events = seen.events.iter();
        events.filter(|event| self.events.iter().any(|(kind, id)| (event.kind, &event.id) == (*kind, id)))
    }
}

/// Groups, by time.
pub(crate) fn groups(seen: &Seen<'_>) -> Vec<Group> {
    let events: Vec<&Happening> =
        seen.events.iter().filter(|event| is_trouble(event) || event.of.is_some()).collect();
    let mut sets = Sets((0..events.len()).collect());
    for (at, one) in events.iter().enumerate() {
        for (other_at, other) in events.iter().enumerate().skip(at + 1) {
            if belong_together(seen, one, other) {
                sets.join(at, other_at);
            }
        }
    }
    let mut by_set: BTreeMap<usize, Vec<&Happening>> = BTreeMap::new();
    for (at, event) in events.iter().enumerate() {
        by_set.entry(sets.of(at)).or_default().push(event);
    }
    let groups = by_set.into_values().filter(|members| members.len() > 1);
    groups.map(|members| group(seen.window, &members)).collect()
}

fn group(window: Span, members: &[&Happening]) -> Group {
    let begins = members.iter().map(|event| event.from_us.max(window.from_us));
    let ends = members.iter().map(|event| event.to_us.unwrap_or(window.to_us).min(window.to_us));
    Group {
        span: Span {
            from_us: begins.min().unwrap_or(window.from_us),
            to_us: ends.max().unwrap_or(window.to_us),
        },
        events: members.iter().map(|event| (event.kind, event.id.clone())).collect(),
    }
}

fn belong_together(seen: &Seen<'_>, one: &Happening, other: &Happening) -> bool {
    if one.of.as_ref() == Some(&other.id) || other.of.as_ref() == Some(&one.id) {
        return true;
    }
    if !is_trouble(one) || !is_trouble(other) {
        return false;
    }
    let end = |event: &Happening| event.to_us.unwrap_or(i64::MAX).saturating_add(TOGETHER_US);
    let at_once = one.from_us <= end(other) && other.from_us <= end(one);
    at_once && one.services().any(|a| other.services().any(|b| a == b || seen.graph.are_neighbours(a, b)))
}

/// Disjoint sets; each number leads to a smaller one of its set, or to itself.
struct Sets(Vec<usize>);

impl Sets {
    fn of(&mut self, mut at: usize) -> usize {
        while self.0[at] != at {
            self.0[at] = self.0[self.0[at]];
            at = self.0[at];
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.of(a), self.of(b));
        self.0[a.max(b)] = a.min(b);
    }
}
