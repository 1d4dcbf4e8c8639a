//! Pages of metrics in text: Prometheus' exposition format 0.0.4 and OpenMetrics 1.0, as scrapers read them.
//!
//! ```text
//! page ─ entries (line by line) ─► target (labels of the target, what stood there before) ─► Decoded
//! ```
//!
//! A page is taken whole or not at all: an error in one line is an error of the page, as in Prometheus, and names line
//! and column.
//!
//! What is read beyond the two formats is what Prometheus 3 reads: names of metrics and labels in quotes (any UTF-8). `le`
//! of histograms and `quantile` of summaries are written as OpenMetrics writes numbers, so that `le="1"` and `le="1.0"`
//! are one series whichever format a target has today.
//!
//! Deliberately absent: Prometheus' protobuf format, and so native histograms of scraped targets; `_created` lines are
//! series, as Prometheus has them by default.
//!
//! Sources: <https://prometheus.io/docs/instrumenting/exposition_formats/>,
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

mod cursor;
mod entries;
mod number;
mod target;

pub use target::{HonorLabels, TargetDecoder};

/// The formats a page may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, 0.0.4, and 1.0.0 which is the same with quoted names.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// What a scraper asks for, best first.
pub const ACCEPT: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
application/openmetrics-text;version=0.0.1;q=0.5,\
text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

impl Format {
    /// The format a `Content-Type` stands for; `None` for one that is none of both, which is not guessed at.
    pub(crate) fn of_content_type(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            kind if kind.eq_ignore_ascii_case("application/openmetrics-text") => Some(Self::OpenMetrics),
            kind if kind.eq_ignore_ascii_case("text/plain") => Some(Self::Prometheus),
            _ => None,
        }
    }
}

/// Why a page is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct PageError {
    /// Counted from 1.
    pub line: usize,
    /// In bytes, counted from 1.
    pub column: usize,
    /// What was wrong.
    pub what: String,
}

#[cfg(test)]
mod tests;
