//! Which traces an issue cites: the ids that its description and the evidence of its causes name.

use domain::{Cause, Intent, Issue};
use store::PlanRecord;
use telemetry::TraceId;

/// Hexadecimal digits of an id, as detection and diagnosis write it.
const DIGITS: usize = 32;

/// The traces that an issue and its plans name, each once, in the order in which they do.
pub fn cited_traces(issue: &Issue, plans: &[PlanRecord]) -> Vec<TraceId> {
    let causes = plans.iter().filter_map(|record| cause(&record.plan.intent));
    let evidence = causes.flat_map(|cause| cause.evidence.iter().map(|item| item.text.as_str()));
    let mut cited: Vec<TraceId> = Vec::new();
    for id in std::iter::once(issue.description.as_str()).chain(evidence).flat_map(named) {
        if !cited.contains(&id) {
            cited.push(id);
        }
    }
    cited
}

fn cause(intent: &Intent) -> Option<&Cause> {
    match intent {
        Intent::Remediation { cause, .. } => Some(cause),
        _ => None,
    }
}

fn named(text: &str) -> impl Iterator<Item = TraceId> + '_ {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.filter(|word| word.len() == DIGITS).filter_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_sentences_and_nothing_else_is() {
        let (a, b) = ("5b8efff798038103d269b633813fc60c", "00000000000000000000000000000abc");
        let text = format!("calls fail, limit 1 %; see trace {a} (traces {b}, {a}), not {a}0 or plan-7");
        let found: Vec<String> = named(&text).map(|id| id.to_string()).collect();
        assert_eq!(found, [a, b, a]);
        assert_eq!(named("018f3c2e-7b1a-7000-8000-0000000000ab 12 %").count(), 0);
    }
}
