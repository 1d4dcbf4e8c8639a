//! One stream of a live bench, and the sums over many.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

/// A stream that was told nothing for so long has not lasted, open or not: pages and series are told something every second.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How a stream ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lasted {
    /// It was open when everything was over.
    ToTheEnd,
    /// It was refused or ended before.
    Ended(String),
}

/// What is told on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Page,
    Status,
    Anomalies,
    Series,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Page => "live page",
            Self::Status => "infrastructureStatus",
            Self::Anomalies => "anomalyAlerts",
            Self::Series => "metricsStream",
        }
    }

    /// Whether it is told something every second.
    fn is_steady(self) -> bool {
        matches!(self, Self::Page | Self::Series)
    }
}

/// What one stream was told.
#[derive(Debug)]
pub(super) struct Told {
    kind: Kind,
    pub(super) lasted: Lasted,
    /// Changes it was told; of a page without the time that it is told every second.
    pub(super) events: u64,
    heard: Instant,
    /// From each change to its receipt.
    pub(super) late: Vec<Duration>,
}

impl Told {
    pub(super) fn nothing(kind: Kind) -> Self {
        Self { kind, lasted: Lasted::ToTheEnd, events: 0, heard: Instant::now(), late: Vec::new() }
    }

    /// Something came in.
    pub(super) fn hears(&mut self) {
        self.heard = Instant::now();
    }

    /// It was open to its end, or for a reason not.
    pub(super) fn end(mut self, ended: Result<(), String>) -> Self {
        let silent = self.kind.is_steady() && self.heard.elapsed() > SILENCE_MAX;
        self.lasted = match ended {
            Ok(()) if silent => Lasted::Ended(format!("{}: silent", self.kind.name())),
            Ok(()) => Lasted::ToTheEnd,
            Err(why) => Lasted::Ended(format!("{}: {why}", self.kind.name())),
        };
        self
    }
}

/// All streams of a kind.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Row {
    told: &'static str,
    streams: usize,
    /// Open to the end, and not silent.
    lasted: usize,
    events_min: u64,
    events_median: u64,
    late_p50_ms: f64,
    late_p95_ms: f64,
    late_max_ms: f64,
    /// How many times were measured.
    late_count: usize,
    /// Switches that a page was not told of, over all pages; `None` where nothing is switched.
    #[serde(skip_serializing_if = "Option::is_none")]
    missed: Option<u64>,
}

impl Row {
    fn of(kind: Kind, told: &[&Told], switched: u64) -> Self {
        let mut events: Vec<u64> = told.iter().map(|told| told.events).collect();
        events.sort_unstable();
        let mut late: Vec<Duration> = told.iter().flat_map(|told| told.late.iter().copied()).collect();
        late.sort_unstable();
        let ms = |share: f64| {
            let rank = (late.len() as f64 * share).ceil() as usize;
            late.get(rank.saturating_sub(1)).map_or(0.0, |late| late.as_secs_f64() * 1e3)
        };
        let due = switched * told.len() as u64;
        Self {
            told: kind.name(),
            streams: told.len(),
            lasted: told.iter().filter(|told| told.lasted == Lasted::ToTheEnd).count(),
            events_min: events.first().copied().unwrap_or_default(),
            events_median: events.get(events.len() / 2).copied().unwrap_or_default(),
            late_p50_ms: ms(0.5),
            late_p95_ms: ms(0.95),
            late_max_ms: ms(1.0),
            late_count: late.len(),
            missed: (kind == Kind::Page).then(|| due.saturating_sub(late.len() as u64)),
        }
    }

    pub(super) fn line(&self) -> String {
        format!(
            "{:>8} {:>8} {:>8} {:>8} {:>9.1} {:>9.1}  {}\n",
            self.streams,
            self.lasted,
            self.events_min,
            self.events_median,
            self.late_p50_ms,
            self.late_p95_ms,
            self.told
        )
    }
}

/// A row for each kind.
pub(super) fn rows(told: &[Told], switched: u64) -> Vec<Row> {
    let mut kinds: BTreeMap<Kind, Vec<&Told>> = BTreeMap::new();
    for one in told {
        kinds.entry(one.kind).or_default().push(one);
    }
    kinds.into_iter().map(|(kind, told)| Row::of(kind, &told, switched)).collect()
}

/// Each of them once, with how often it was.
pub(super) fn errors<'a>(all: impl Iterator<Item = &'a str>) -> Vec<(String, usize)> {
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    for one in all {
        *counted.entry(one).or_default() += 1;
    }
    counted.into_iter().map(|(why, times)| (why.to_owned(), times)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_ended_or_was_not_told_shows() {
        let told = |events: u64, late: &[u64], ended: Result<(), String>| {
            let late = late.iter().map(|ms| Duration::from_millis(*ms)).collect();
            Told { events, late, ..Told::nothing(Kind::Page) }.end(ended)
        };
        let all = [told(7, &[100, 300], Ok(())), told(3, &[200], Err("closed".to_owned()))];
        let rows = rows(&all, 2);
        assert_eq!((rows.len(), rows[0].streams, rows[0].lasted), (1, 2, 1));
        assert_eq!((rows[0].events_min, rows[0].missed), (3, Some(1)));
        assert_eq!((rows[0].late_p50_ms, rows[0].late_p95_ms), (200.0, 300.0));
    }
}
