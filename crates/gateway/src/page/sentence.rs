//! The one sentence at the top of the overview: whether anything needs a person, and what.

use std::borrow::Cow;

use domain::PlanStatus;
use maud::{Markup, html};

use super::view::View;

/// The sentence.
pub(crate) fn overall(view: &View) -> String {
    if view.switches.emergency_stop.is_some() {
        let open = match view.issues.len() {
            0 => String::new(),
            n => format!("; {}", is(n, "issue", "issues", "open")),
        };
        return format!(
            "The emergency stop is engaged: nothing is repaired or disturbed until it is cleared{open}."
        );
    }
    let Some(snapshot) = &view.snapshot else {
        return "Nothing was looked at yet.".to_owned();
    };
    if view.stale().is_some() {
        return "What is shown here is old: the loops give no snapshots.".to_owned();
    }
    if snapshot.services.is_empty() && view.refusing.is_none() {
        return "There is nothing to look after yet.".to_owned();
    }
    let clauses = clauses(view);
    if !clauses.is_empty() {
        return format!("{}.", capital(&clauses.join("; ")));
    }
    let services = count(snapshot.services.len(), "service", "services");
    match view.instances() {
        (ready, wanted) if (ready as u64) < wanted => {
            format!("No issue is open; {ready} of {wanted} instances are ready.")
        }
        (ready, _) => {
            let paused = paused(view).map_or(String::new(), |paused| format!("; {paused}"));
            format!("All is well: {services}, {}{paused}.", count(ready, "instance", "instances"))
        }
    }
}

/// What is neither repaired nor disturbed because a person said so.
fn paused(view: &View) -> Option<String> {
    let now = view.stamp.now;
    let paused: Vec<_> =
        view.switches.pauses.keys().filter(|service| view.switches.is_paused(service, now)).collect();
    match paused.as_slice() {
        [] => None,
        [service] => Some(format!("{service} is paused")),
        several => Some(format!("{} services are paused", several.len())),
    }
}

fn clauses(view: &View) -> Vec<String> {
    let mut clauses = Vec::new();
    let open = view.issues.len();
    let repairing = view
        .issues
        .iter()
        .filter_map(|issue| view.plan_for(issue.id))
        .filter(|record| matches!(record.status, PlanStatus::InProgress | PlanStatus::Verifying))
        .count();
    match (open, repairing) {
        (0, _) => {}
        (1, 1) => clauses.push("1 issue is being repaired".to_owned()),
        (open, 0) => clauses.push(is(open, "issue", "issues", "open")),
        (open, all) if open == all => clauses.push(format!("{open} issues are being repaired")),
        (open, some) => {
            clauses.push(format!("{open} issues are open, {some} of them being repaired"));
        }
    }
    match view.waiting().count() {
        0 => {}
        1 => clauses.push("1 approval waits for you".to_owned()),
        n => clauses.push(format!("{n} approvals wait for you")),
    }
    match view.faults.len() {
        0 => {}
        n => clauses.push(is(n, "fault", "faults", "injected on purpose")),
    }
    if let Some(backlog) = view.refusing {
        let mebibytes = backlog.bytes >> 20;
        clauses.push(format!("spans and logs are refused because {mebibytes} MiB wait for compaction"));
    }
    if !clauses.is_empty() {
        clauses.extend(paused(view));
    }
    clauses
}

fn is(n: usize, one: &str, many: &str, what: &str) -> String {
    let verb = if n == 1 { "is" } else { "are" };
    format!("{} {verb} {what}", count(n, one, many))
}

/// `1 issue`, `2 issues`, `50,000 issues`.
pub(crate) fn count(n: usize, one: &str, many: &str) -> String {
    format!("{} {}", grouped(n), if n == 1 { one } else { many })
}

/// A number with its thousands apart: `50,000`.
pub(crate) fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A name from outside among words of ours: one that is written from right to left turns nothing beside it. Characters that
/// only say which way to write are left out: one of them could end the isolation and turn what stands behind the name.
pub(crate) fn isolated(name: &str) -> Cow<'_, str> {
    let steers = |letter: char| matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let turns = |letter: char| {
        matches!(letter,
            '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}'
            | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}' | '\u{200e}' | '\u{200f}')
    };
    if !name.chars().any(|letter| steers(letter) || turns(letter)) {
        return Cow::Borrowed(name);
    }
    let name = name.chars().filter(|letter| !steers(*letter));
    Cow::Owned(['\u{2068}'].into_iter().chain(name).chain(['\u{2069}']).collect())
}

/// A name in no more than `room` characters. It loses its middle: what tells two of them apart stands at the end as
/// often as at the beginning.
pub(crate) fn shortened(name: &str, room: usize) -> Cow<'_, str> {
    let length = name.chars().count();
    if length <= room {
        return Cow::Borrowed(name);
    }
    let kept = room.saturating_sub(1);
    let (first, last) = (kept.div_ceil(2), kept / 2);
    name.chars().take(first).chain(['…']).chain(name.chars().skip(length - last)).collect()
}

/// What stands between backticks as code, for a page.
pub(crate) fn with_code(text: &str) -> Markup {
    html! {
        @for (place, part) in text.split('`').enumerate() {
            @if place % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// The same text with a capital letter in front.
pub(crate) fn capital(text: &str) -> String {
    if let Some(short) = ["cpu", "api"].into_iter().find(|short| text.starts_with(&format!("{short} "))) {
        return format!("{}{}", short.to_uppercase(), &text[short.len()..]);
    }
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(count(1, "span", "spans"), "1 span");
        assert_eq!(count(50_000, "span", "spans"), "50,000 spans");
    }

    #[test]
    fn long_names_keep_their_ends() {
        assert_eq!(shortened("cart-0", 20), "cart-0");
        assert_eq!(shortened("payments-worker-eu-b-0", 20), "payments-w…er-eu-b-0");
        assert_eq!(shortened("支払い支払い", 4), "支払…い");
        assert_eq!(shortened("cart", 1), "…");
    }

    #[test]
    fn names_from_right_to_left_turn_no_words_of_ours() {
        assert_eq!(isolated("front"), "front");
        assert_eq!(isolated("支払い é"), "支払い é");
        assert_eq!(isolated("الخدمة"), "\u{2068}الخدمة\u{2069}");
        assert_eq!(
            isolated("a\u{2069}\u{202e}b"),
            "\u{2068}ab\u{2069}",
            "it ends no isolation and turns nothing"
        );
    }
}
