//! Who told what a drill measured: of the load's requests, and to the loop.
//!
//! In: counts of two independent witnesses. Out: the count that is believed, and how far the two agree, so that a loss
//! of spans shows. Pure.

use serde::{Deserialize, Serialize};

/// What the loop was told beside what is measured from outside (probes, link proxies, processes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoopWitness {
    /// What spans say, to detection and diagnosis.
    Spans,
    /// Nothing: probes and proxies alone. So were all drills before spans were received.
    #[default]
    Probes,
}

impl LoopWitness {
    /// In one line of a report.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Spans => "the loop heard probes, link proxies and spans",
            Self::Probes => "the loop heard probes and link proxies alone, no spans",
        }
    }
}

/// Who counts requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestWitness {
    /// The root spans of the load, in the span store.
    Spans,
    /// The load's own request log.
    RequestLog,
}

/// Requests that ended in the time of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RequestCount {
    /// All of them.
    pub total: u64,
    /// Of these, failed.
    pub failed: u64,
}

/// What both witnesses say of the requests of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestWitnesses {
    /// By spans; `None` where they cannot tell.
    pub spans: Option<RequestCount>,
    /// Why spans cannot tell.
    pub no_spans: Option<String>,
    /// By the request log; `None` where it cannot be read.
    pub log: Option<RequestCount>,
}

impl RequestWitnesses {
    /// Who is believed: spans, wherever they are complete.
    pub fn believed(&self) -> RequestWitness {
        if self.spans.is_some() { RequestWitness::Spans } else { RequestWitness::RequestLog }
    }

    /// What the believed one says; nothing at all where neither can tell.
    pub fn counted(&self) -> RequestCount {
        self.spans.or(self.log).unwrap_or_default()
    }
}

/// How two witnesses agree over some runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Agreement {
    /// Runs counted by spans.
    pub runs_by_spans: u64,
    /// Runs counted by the request log, since spans could not tell.
    pub runs_by_log: u64,
    /// Runs in which both could tell; what follows is over these.
    pub runs_by_both: u64,
    /// Of these, those in which both say the same.
    pub runs_alike: u64,
    /// What spans say.
    pub by_spans: RequestCount,
    /// What the request log says.
    pub by_log: RequestCount,
    /// The greatest difference in the requests of one run.
    pub total_off_max: u64,
    /// The greatest difference in the failed requests of one run.
    pub failed_off_max: u64,
}

impl Agreement {
    /// Over some runs.
    pub fn over<'a>(runs: impl Iterator<Item = &'a RequestWitnesses>) -> Self {
        let mut all = Self::default();
        for run in runs {
            match run.believed() {
                RequestWitness::Spans => all.runs_by_spans += 1,
                RequestWitness::RequestLog => all.runs_by_log += 1,
            }
            let (Some(spans), Some(log)) = (run.spans, run.log) else { continue };
            all.runs_by_both += 1;
            all.runs_alike += u64::from(spans == log);
            for (sum, one) in [(&mut all.by_spans, spans), (&mut all.by_log, log)] {
                sum.total += one.total;
                sum.failed += one.failed;
            }
            all.total_off_max = all.total_off_max.max(spans.total.abs_diff(log.total));
            all.failed_off_max = all.failed_off_max.max(spans.failed.abs_diff(log.failed));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(spans: Option<(u64, u64)>, log: Option<(u64, u64)>) -> RequestWitnesses {
        let count = |(total, failed)| RequestCount { total, failed };
        let no_spans = spans.is_none().then(|| "the spans of 3 requests are missing".to_owned());
        RequestWitnesses { spans: spans.map(count), no_spans, log: log.map(count) }
    }

    #[test]
    fn spans_are_believed_where_they_are_complete() {
        let both = told(Some((410, 12)), Some((411, 12)));
        assert_eq!((both.believed(), both.counted().total), (RequestWitness::Spans, 410));
        let log = told(None, Some((411, 12)));
        assert_eq!((log.believed(), log.counted().total), (RequestWitness::RequestLog, 411));
        assert_eq!(told(None, None).counted(), RequestCount::default());
    }

    #[test]
    fn witnesses_are_compared_where_both_could_tell() {
        let runs = [
            told(Some((400, 12)), Some((401, 12))),
            told(Some((300, 0)), Some((300, 0))),
            told(None, Some((9, 9))),
        ];
        let agreement = Agreement::over(runs.iter());
        assert_eq!((agreement.runs_by_spans, agreement.runs_by_log, agreement.runs_by_both), (2, 1, 2));
        assert_eq!((agreement.runs_alike, agreement.total_off_max, agreement.failed_off_max), (1, 1, 0));
        assert_eq!((agreement.by_spans.total, agreement.by_log.total), (700, 701));
    }
}
