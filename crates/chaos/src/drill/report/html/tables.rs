//! The tables of the page: by fault, stated confidence, by run.

use domain::OutcomeKind;
use maud::{Markup, html};

use super::super::super::score::RunScore;
use super::super::{faults, verdict, words};
use super::time;
use decide::learn::confidence::Calibration;

/// Figures of each fault.
pub(super) fn by_fault(runs: &[RunScore]) -> Markup {
    let share = |(part, whole): (usize, usize)| words::share(part, whole);
    html! {
        section {
            h2 { "By fault" }
            div.scroll {
                table {
                    thead {
                        tr {
                            th { "fault" } th.r { "runs" } th.r { "detected p50" } th.r { "p95" } th.r { "verified p50" }
                            th.r { "p95" } th.r { "healed" } th.r { "mitigated" } th.r { "cause first" }
                        }
                    }
                    tbody {
                        @for group in faults::by_fault(runs) {
                            @let detected = group.quantiles(|run| run.detected_ms);
                            @let verified = group.quantiles(|run| run.verified_ms);
                            tr {
                                td { (group.fault) }
                                td.r { (group.runs.len()) }
                                td.r { (time(detected.p50)) }
                                td.r { (time(detected.p95)) }
                                td.r { (time(verified.p50)) }
                                td.r { (time(verified.p95)) }
                                td.r { (share(group.ended(OutcomeKind::Healed))) }
                                td.r { (share(group.ended(OutcomeKind::Mitigated))) }
                                td.r { (share(group.cause_first())) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Stated confidence beside the share that was right.
pub(super) fn calibration(held: &Calibration) -> Markup {
    html! {
        section {
            h2 { "Stated confidence against what came of it" }
            @if let (Some(stated), Some(observed), Some(gap)) = (held.stated, held.observed, held.error) {
                p {
                    "Over " (words::counted(held.runs, "run")) ", stated " (format!("{:.1} %", stated.0)) " and right "
                    (format!("{:.1} %", observed.0)) "; off by " (format!("{gap:.1} points")) ", limit 10."
                }
                div.scroll {
                    table.small {
                        thead { tr { th { "stated" } th.r { "runs" } th.r { "mean stated" } th.r { "right" } th.r { "" } } }
                        tbody {
                            @for range in &held.bins {
                                tr {
                                    td.nowrap { (range.from.0) " to " (range.to.0) " %" }
                                    td.r { (range.runs) }
                                    td.r { (format!("{:.1} %", range.stated.0)) }
                                    td.r { (format!("{:.1} %", range.observed.0)) }
                                    td.r.quiet { (words::share(range.right as usize, range.runs as usize)) }
                                }
                            }
                        }
                    }
                }
            }
            @if held.runs == 0 { p.quiet { "No run has a stated confidence." } }
        }
    }
}

/// Every run in one line.
pub(super) fn by_run(runs: &[RunScore]) -> Markup {
    let heads = ["effect", "detected", "diagnosed", "cause", "action", "serving", "verified"];
    html! {
        section {
            details {
                summary { h2 { "All runs as a table" span.quiet { (words::counted(runs.len() as u64, "run")) } } }
                div.scroll {
                    table {
                        thead {
                            tr {
                                th.r { "run" } th { "row" } th { "fault" } th { "target" }
                                @for head in heads { th.r { (head) } }
                                th { "outcome" } th { "rolled back" } th.r { "failed" } th.r { "budget" } th.r { "left" }
                            }
                        }
                        tbody { @for run in runs { (row(run)) } }
                    }
                }
            }
        }
    }
}

fn row(run: &RunScore) -> Markup {
    let class = (!verdict::of_run(run).is_empty()).then_some("bad");
    html! {
        tr {
            td.r { a href=(format!("#run-{}", run.number)) { (run.number) } }
            td { (run.row) }
            td { (run.fault) }
            td { (run.target) }
            td.r { (time(run.effect_ms)) }
            td.r { (time(run.detected_ms)) }
            td.r { (time(run.diagnosed_ms)) }
            td.r { @match run.cause_rank { Some(rank) => (rank), None => span.quiet { (words::NONE) } } }
            td.r { (time(run.first_action_ms)) }
            td.r { (time(run.serving_ms)) }
            td.r { (time(run.verified_ms)) }
            td { span class=[class] { (words::verdict(run)) } }
            td { @if run.rolled_back { "yes" } @else { span.quiet { "no" } } }
            td.r.nowrap { (run.requests_failed) " of " (run.requests) }
            td.r { @match run.error_budget_spent { Some(spent) => (format!("{spent:.1}")), None => span.quiet { (words::NONE) } } }
            td.r { (run.left_behind.len()) }
        }
    }
}
