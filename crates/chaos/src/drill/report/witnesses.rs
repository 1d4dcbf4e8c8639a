//! Who told what is in a report, in sentences.

use super::super::witness::{Agreement, RequestWitness};
use super::{Report, words};

/// What the loop was told, who counted the requests, and how the two that could agree. No full stops.
pub(super) fn sentences(report: &Report) -> Vec<String> {
    let mut all = vec![report.witness.sentence().to_owned()];
    let agreement = &report.summary.agreement;
    let (by_spans, by_log) = (agreement.runs_by_spans, agreement.runs_by_log);
    let of = |runs: u64| words::counted(runs, "run");
    match (by_spans, by_log) {
        (0, 0) => {}
        (_, 0) => all.push(format!("requests are counted by the load's root spans, in all {}", of(by_spans))),
        (0, _) => all.push(format!("requests are counted by the load's request log, in all {}", of(by_log))),
        _ => all.push(format!(
            "requests are counted by the load's root spans in {}, by its request log in {}",
            of(by_spans),
            of(by_log)
        )),
    }
    all.extend(agreed(agreement));
    all.extend(without_spans(report));
    all
}

fn agreed(agreement: &Agreement) -> Option<String> {
    let Agreement { runs_by_both, runs_alike, by_spans, by_log, total_off_max, failed_off_max, .. } =
        agreement;
    (*runs_by_both > 0).then(|| {
        let off = if runs_alike == runs_by_both {
            String::new()
        } else {
            format!(", at most {total_off_max} requests and {failed_off_max} failures apart in one run")
        };
        format!(
            "two witnesses of requests: spans tell of {}, {} failed; the request log of {}, {} failed; they say the \
             same in {}{off}",
            by_spans.total,
            by_spans.failed,
            by_log.total,
            by_log.failed,
            words::share(*runs_alike as usize, *runs_by_both as usize) + " runs",
        )
    })
}

/// Why spans could not tell, each reason once, with its runs.
fn without_spans(report: &Report) -> Vec<String> {
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for run in &report.runs {
        let Some(told) = &run.witnesses else { continue };
        let (RequestWitness::RequestLog, Some(why)) = (told.believed(), &told.no_spans) else { continue };
        match reasons.iter_mut().find(|(reason, _)| reason == why) {
            Some((_, runs)) => runs.push(run.number.to_string()),
            None => reasons.push((why, vec![run.number.to_string()])),
        }
    }
    let sentence = |(why, runs): (&str, Vec<String>)| match runs.len() == report.runs.len() {
        true => format!("spans could not count requests: {why}"),
        false => format!("spans could not count requests of run {}: {why}", runs.join(", ")),
    };
    reasons.into_iter().map(sentence).collect()
}
