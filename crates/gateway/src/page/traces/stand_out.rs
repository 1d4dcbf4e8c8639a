//! What is different about some spans: the attributes whose share differs most from that in other spans.
//!
//! For each attribute with its value, two shares: among the chosen spans, and among the others. Told are those whose
//! shares lie further apart than chance would easily bring about: more than twice the standard error of the difference
//! of two proportions, and seen in five spans or more. Nothing is claimed about causes.

use std::collections::{HashMap, HashSet};

use telemetry::{Span, StatusCode};

use super::visible::show;

/// A value longer than this is one of a kind, or cannot be read.
const VALUE_MAX: usize = 120;
/// Shares that differ less are of no use to anybody.
const LEAST: f64 = 0.05;
/// Spans that have a value, on the side where it is more frequent: with fewer the standard error says nothing.
const SPANS_LEAST: usize = 5;

/// One attribute with its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    pub(super) key: String,
    pub(super) value: String,
    /// Chosen spans that have it.
    pub(super) inside: usize,
    /// Others that have it.
    pub(super) outside: usize,
    /// Share inside less share outside, −1 to 1.
    pub(super) step: f64,
}

/// The attributes that differ, most first.
pub(super) fn differences(inside: &[&Span], outside: &[&Span]) -> Vec<Difference> {
    let mut counts: HashMap<(String, String), [usize; 2]> = HashMap::new();
    for (side, spans) in [inside, outside].into_iter().enumerate() {
        for span in spans {
            for pair in pairs(span) {
                counts.entry(pair).or_default()[side] += 1;
            }
        }
    }
    let (n, m) = (inside.len() as f64, outside.len() as f64);
    if inside.is_empty() || outside.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<Difference> =
        counts
            .into_iter()
            .filter_map(|((key, value), [inside, outside])| {
                let step = inside as f64 / n - outside as f64 / m;
                let pooled = (inside + outside) as f64 / (n + m);
                let error = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
                let seen = if step > 0.0 { inside } else { outside };
                (step.abs() >= LEAST && step.abs() > 2.0 * error && seen >= SPANS_LEAST)
                    .then_some(Difference { key, value, inside, outside, step })
            })
            .collect();
    // Where one value is told to be more frequent, that others are less so goes without saying.
    let more: HashSet<String> =
        found.iter().filter(|one| one.step > 0.0).map(|one| one.key.clone()).collect();
    found.retain(|one| one.step > 0.0 || !more.contains(&one.key));
    found.sort_by(|a, b| {
        b.step.abs().total_cmp(&a.step.abs()).then_with(|| (&a.key, &a.value).cmp(&(&b.key, &b.value)))
    });
    found
}

/// What can be told of a span by name and value, each once.
fn pairs(span: &Span) -> HashSet<(String, String)> {
    let attributes = span.attributes.iter().chain(&span.resource.attributes);
    let mut pairs: HashSet<(String, String)> = attributes
        .map(|(key, value)| (key.clone(), show(value)))
        .filter(|(_, value)| value.chars().count() <= VALUE_MAX)
        .collect();
    pairs.insert(("operation".to_owned(), span.name.clone()));
    let error = span.status == StatusCode::Error;
    pairs.insert(("error".to_owned(), error.to_string()));
    pairs
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use telemetry::{Dropped, Resource, Scope, SpanId, SpanKind, TraceId, Value};

    use super::*;

    fn span(id: u64, region: &str) -> Span {
        Span {
            trace_id: TraceId([1; 16]),
            span_id: SpanId(id.to_be_bytes()),
            parent: None,
            trace_state: String::new(),
            flags: 0,
            name: "GET /".to_owned(),
            kind: SpanKind::Server,
            start_unix_nano: 0,
            duration_nano: 1,
            status: StatusCode::Unset,
            status_message: String::new(),
            resource: Arc::new(Resource::default()),
            scope: Arc::new(Scope::default()),
            attributes: vec![
                ("region".to_owned(), Value::Text(region.to_owned())),
                ("request.id".to_owned(), Value::Int(id as i64)),
            ],
            events: Vec::new(),
            links: Vec::new(),
            dropped: Dropped::default(),
        }
    }

    #[test]
    fn what_the_slow_ones_have_in_common_comes_first_and_ids_never() {
        let slow: Vec<Span> = (0..40).map(|id| span(id, if id < 36 { "west" } else { "east" })).collect();
        let fast: Vec<Span> = (100..300).map(|id| span(id, if id < 110 { "west" } else { "east" })).collect();
        let found = differences(&slow.iter().collect::<Vec<_>>(), &fast.iter().collect::<Vec<_>>());
        let told: Vec<_> =
            found.iter().map(|d| (d.key.as_str(), d.value.as_str(), d.inside, d.outside)).collect();
        assert_eq!(told, [("region", "west", 36, 10)]);
        assert!(found[0].step > 0.8);
    }

    #[test]
    fn what_chance_brings_about_is_not_told() {
        let few = [span(1, "west"), span(2, "east")];
        let many: Vec<Span> = (10..20).map(|id| span(id, if id < 16 { "west" } else { "east" })).collect();
        let found = differences(&few.iter().collect::<Vec<_>>(), &many.iter().collect::<Vec<_>>());
        assert_eq!(found, []);
    }
}
