//! What an objective counts: which events there are, and which of them are good.

use std::time::Duration;

use crate::counts::Counts;

/// What an objective counts.
#[derive(Debug, Clone, PartialEq)]
pub enum Indicator {
    /// What PromQL says: as exact as the series and its extrapolation are.
    Promql(Promql),
    /// What Homeostat itself counts, event by event.
    Exact(Exact),
}

/// Amounts from PromQL. An amount may be a count, a rate, or a sum of samples: all that matters is that the two of an
/// objective are in the same unit, and that it does not change from minute to minute.
#[derive(Debug, Clone, PartialEq)]
pub enum Promql {
    /// What was good, of all.
    Good {
        /// The good ones.
        good: Template,
        /// All.
        total: Template,
        /// The limit where good means fast.
        latency: Option<Duration>,
        /// Labels of which each value has a budget of its own; empty where there is one budget.
        grouping: Vec<String>,
    },
    /// What was bad, of all.
    Bad {
        /// The bad ones.
        bad: Template,
        /// All.
        total: Template,
        /// Labels of which each value has a budget of its own; empty where there is one budget.
        grouping: Vec<String>,
    },
    /// The share that was bad, from 0 to 1, without saying of how many: every minute counts the same.
    ErrorRatio {
        /// The share.
        ratio: Template,
    },
}

/// Amounts are counted in millionths: a rate of one event in ten minutes is still told apart from two.
const PER_UNIT: f64 = 1e6;

impl Promql {
    /// What one minute's evaluation says, `part` being the good ones of [`Promql::Good`], the bad ones of
    /// [`Promql::Bad`], and the share of [`Promql::ErrorRatio`], where `total` says nothing. `None` where the answer is
    /// no amount (NaN, infinite, negative): then nothing was measured.
    pub fn counts(&self, part: f64, total: f64) -> Option<Counts> {
        let amount =
            |value: f64| (value.is_finite() && value >= 0.0).then(|| (value * PER_UNIT).round() as u64);
        match self {
            Self::Good { .. } => Some(Counts::of_good(amount(part)?, amount(total)?)),
            Self::Bad { .. } => Some(Counts::of_bad(amount(part)?, amount(total)?)),
            Self::ErrorRatio { .. } => Some(Counts::of_bad(amount(part)?, PER_UNIT as u64)),
        }
    }
}

/// A PromQL expression with a place for the window: `{{.window}}`, as Sloth writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

impl Template {
    /// Of a text. `None` where it has no place for the window, or another placeholder.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let mut has_window = false;
        let mut rest = &text[..];
        while let Some(start) = rest.find("{{") {
            rest = window_at(&rest[start..])?;
            has_window = true;
        }
        has_window.then_some(Self(text))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// With the window in its places.
    pub fn over(&self, window: &str) -> String {
        let mut out = String::with_capacity(self.0.len());
        let mut rest = &self.0[..];
        while let Some(start) = rest.find("{{") {
            let Some(after) = window_at(&rest[start..]) else { break };
            out.push_str(&rest[..start]);
            out.push_str(window);
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

/// What follows `{{.window}}` at the beginning of a text; `None` where that is not what is there.
fn window_at(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("{{")?.trim_start_matches(' ').strip_prefix(".window")?;
    inner.trim_start_matches(' ').strip_prefix("}}")
}

/// Events that Homeostat counts itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Exact {
    /// Which there are.
    pub events: Events,
    /// Which of them are good.
    pub good: Good,
}

/// Which events there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Events {
    /// Spans that were received.
    Spans {
        /// `service.name`; of every service where it is `None`.
        service: Option<String>,
        /// The span's name; any where it is `None`.
        operation: Option<String>,
        /// The part the span has in a request; any where it is `None`.
        role: Option<SpanRole>,
    },
    /// Requests through the links' proxies.
    Requests {
        /// The caller; `outside` for what comes into the fleet. Any where it is `None`.
        from: Option<String>,
        /// The callee. Any where it is `None`.
        to: Option<String>,
    },
    /// Repairs that have ended.
    Remediations,
    /// Requests that Homeostat's own gateway answered: the web page and the API. Bad are answers of status 500 and above.
    Gateway,
}

/// The part a span has in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpanRole {
    /// It answers: kind server.
    Server,
    /// It asks: kind client.
    Client,
    /// It asks a database: kind client with `db.system` or `db.system.name`.
    Database,
}

/// Which events are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Good {
    /// Those that succeeded: the file says what is good.
    Succeeded,
    /// Those that did not fail, which are the same; the file says what is bad.
    NotFailed,
    /// Those that took less.
    Faster(Duration),
    /// Those that took at most so long.
    AtMost(Duration),
}

impl Good {
    /// Whether an event is good. An event that failed is not good by being fast.
    pub fn holds(self, failed: bool, took: Duration) -> bool {
        match self {
            Self::Succeeded | Self::NotFailed => !failed,
            Self::Faster(limit) => !failed && took < limit,
            Self::AtMost(limit) => !failed && took <= limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_goes_into_every_place() {
        let template =
            Template::new("rate(a[{{.window}}]) / rate(b{x=~\"(5..|429)\"}[{{ .window }}])").unwrap();
        assert_eq!(template.over("5m"), "rate(a[5m]) / rate(b{x=~\"(5..|429)\"}[5m])");
        assert_eq!(Template::new("rate(a[5m])"), None);
        assert_eq!(Template::new("rate(a[{{.window}}]) + {{.other}}"), None);
        assert_eq!(Template::new("rate(a[{{.window"), None);
    }

    #[test]
    fn amounts_keep_their_share_and_what_is_no_amount_was_not_measured() {
        let template = Template::new("a[{{.window}}]").unwrap();
        let bad = Promql::Bad { bad: template.clone(), total: template.clone(), grouping: Vec::new() };
        assert_eq!(bad.counts(0.25, 2.0), Some(Counts::of_bad(250_000, 2_000_000)));
        assert_eq!(bad.counts(f64::NAN, 2.0), None);
        assert_eq!(bad.counts(0.0, -1.0), None);
        let ratio = Promql::ErrorRatio { ratio: template };
        assert_eq!(ratio.counts(0.02, f64::NAN), Some(Counts::of_bad(20_000, 1_000_000)));
    }

    #[test]
    fn a_failure_is_not_good_for_being_quick() {
        let limit = Duration::from_millis(500);
        assert!(Good::Faster(limit).holds(false, Duration::from_millis(499)));
        assert!(!Good::Faster(limit).holds(false, limit));
        assert!(Good::AtMost(limit).holds(false, limit));
        assert!(!Good::Faster(limit).holds(true, Duration::ZERO));
    }
}
