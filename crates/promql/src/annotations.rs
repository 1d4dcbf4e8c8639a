//! Warnings and infos: what a query's author should know about its answer, in Prometheus' words.

use std::collections::BTreeMap;

use crate::error::Position;
use crate::go::{General, TwoDigits};

/// Each said once, however often it came up.
#[derive(Debug, Default)]
pub(crate) struct Annotations(BTreeMap<String, Note>);

#[derive(Debug)]
struct Note {
    level: Level,
    /// Byte of the expression.
    at: usize,
    detail: Detail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Warning,
    Info,
}

#[derive(Debug)]
enum Detail {
    None,
    Monotonicity(Monotonicity),
    /// How often samples overlapped.
    Overlap(u64),
}

/// How far the counts of a classic histogram's buckets had to be changed so that they rise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Monotonicity {
    pub(crate) bucket_min: f64,
    pub(crate) bucket_max: f64,
    pub(crate) difference_max: f64,
    pub(crate) samples: u64,
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
}

impl Annotations {
    pub(crate) fn warn(&mut self, at: usize, text: impl Into<String>) {
        self.add(format!("PromQL warning: {}", text.into()), Level::Warning, at, Detail::None);
    }

    pub(crate) fn info(&mut self, at: usize, text: impl Into<String>) {
        self.add(format!("PromQL info: {}", text.into()), Level::Info, at, Detail::None);
    }

    pub(crate) fn monotonicity(&mut self, at: usize, metric: &str, forced: Monotonicity) {
        let text = "PromQL info: input to histogram_quantile needed to be fixed for monotonicity \
            (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
        self.add(of_metric(text, metric), Level::Info, at, Detail::Monotonicity(forced));
    }

    pub(crate) fn overlap(&mut self, at: usize, metric: &str) {
        let text = "PromQL warning: sample has start time that overlaps with previous sample timestamp";
        self.add(format!("{text} for metric {metric:?}"), Level::Warning, at, Detail::Overlap(1));
    }

    /// Adds what was said elsewhere, after what was said here.
    pub(crate) fn extend(&mut self, other: Self) {
        for (text, Note { level, at, detail }) in other.0 {
            self.add(text, level, at, detail);
        }
    }

    fn add(&mut self, text: String, level: Level, at: usize, detail: Detail) {
        let Some(known) = self.0.get_mut(&text) else {
            self.0.insert(text, Note { level, at, detail });
            return;
        };
        known.at = at;
        match (&mut known.detail, detail) {
            (Detail::Overlap(count), Detail::Overlap(more)) => *count += more,
            (Detail::Monotonicity(known), Detail::Monotonicity(new)) => {
                known.bucket_min = known.bucket_min.min(new.bucket_min);
                known.bucket_max = known.bucket_max.max(new.bucket_max);
                known.difference_max = known.difference_max.max(new.difference_max);
                known.samples += new.samples;
                known.from_ms = known.from_ms.min(new.from_ms);
                known.to_ms = known.to_ms.max(new.to_ms);
            }
            _ => {}
        }
    }

    /// Warnings and infos, each with its place in the expression, sorted.
    pub(crate) fn shown(&self, expression: &str) -> (Vec<String>, Vec<String>) {
        let (mut warnings, mut infos) = (Vec::new(), Vec::new());
        for (text, note) in &self.0 {
            let detail = match &note.detail {
                Detail::Monotonicity(forced) => forced.shown(),
                Detail::Overlap(count) if *count > 1 => format!(" ({count} occurrences)"),
                Detail::None | Detail::Overlap(_) => String::new(),
            };
            let shown = format!("{text}{detail} ({})", Position::of(expression, note.at));
            match note.level {
                Level::Warning => warnings.push(shown),
                Level::Info => infos.push(shown),
            }
        }
        (warnings, infos)
    }
}

impl Monotonicity {
    fn shown(&self) -> String {
        format!(
            ", from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
            General(self.bucket_min),
            General(self.bucket_max),
            TwoDigits(self.difference_max),
            self.samples,
            crate::calendar::rfc3339(self.from_ms),
            crate::calendar::rfc3339(self.to_ms),
        )
    }
}

/// With the metric's name, where it has one.
pub(crate) fn of_metric(text: &str, metric: &str) -> String {
    if metric.is_empty() { text.to_string() } else { format!("{text} for metric name {metric:?}") }
}
