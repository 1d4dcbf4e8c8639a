//! Figures and names in the words of the report.

use std::borrow::Cow;

use domain::OutcomeKind;

use super::super::score::{RunScore, STANDING_RESTART};

/// What stands where a time was not reached or a share has nothing to be a share of.
pub(super) const NONE: &str = "–";

/// A time with two significant figures, as everywhere: `12 µs`, `3.2 ms`, `38 ms`, `0.43 s`, `12 s`, `3.1 min`.
pub(super) fn time(ms: Option<f64>) -> String {
    ms.map_or_else(|| NONE.to_owned(), duration)
}

/// An RFC 3339 time in UTC, as a person reads it: `2026-11-21 03:00:00 UTC`. Anything else as it is.
pub(super) fn moment(rfc3339: &str) -> String {
    let split = || {
        let (date, time) = rfc3339.strip_suffix('Z')?.split_once('T')?;
        Some(format!("{date} {} UTC", time.get(..8)?))
    };
    split().unwrap_or_else(|| rfc3339.to_owned())
}

/// As [`time`], for one that was reached.
pub(super) fn duration(ms: f64) -> String {
    let tenths = |value: f64, unit: &str| {
        if value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
    };
    match ms {
        0.0 => "0 s".to_owned(),
        ms if ms < 0.0995 => format!("{:.0} µs", ms * 1e3),
        ms if ms < 99.5 => tenths(ms, "ms"),
        ms if ms < 995.0 => format!("{:.2} s", ms / 1e3),
        ms if ms < 119_500.0 => tenths(ms / 1e3, "s"),
        ms => tenths(ms / 60e3, "min"),
    }
}

/// Two quantiles in one cell.
pub(super) fn pair(p50: Option<f64>, p95: Option<f64>) -> String {
    match (p50, p95) {
        (None, None) => NONE.to_owned(),
        (p50, p95) => format!("{} / {}", time(p50), time(p95)),
    }
}

/// `18 of 20`, or a dash where there is nothing to count.
pub(super) fn share(part: usize, whole: usize) -> String {
    if whole == 0 { NONE.to_owned() } else { format!("{part} of {whole}") }
}

/// A share in percent; never rounded up to 100 nor down to 0.
pub(super) fn percent(part: usize, whole: usize) -> String {
    if whole == 0 {
        return NONE.to_owned();
    }
    let exact = part as f64 / whole as f64 * 100.0;
    if part == whole || part == 0 || (0.5..99.5).contains(&exact) {
        format!("{exact:.0} %")
    } else {
        format!("{:.1} %", exact.clamp(0.1, 99.9))
    }
}

/// `1 run`, `2 runs`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// `12 of 410 requests failed`.
pub(super) fn requests(run: &RunScore) -> String {
    match (run.requests_failed, run.requests) {
        (_, 0) => "no request was made".to_owned(),
        (0, all) => format!("none of {} failed", counted(all, "request")),
        (failed, all) => format!("{failed} of {} failed", counted(all, "request")),
    }
}

/// What a fault does to its target, as somebody would tell it who saw it.
pub(super) fn happened(run: &RunScore) -> String {
    let name = run.target.split_once('/').map_or(run.target.as_str(), |(_, name)| name);
    let path = || match name.split_once("->") {
        Some((from, to)) => format!("calls from {from} to {to}"),
        None => format!("calls to {name}"),
    };
    match run.fault.as_str() {
        "pod_kill" => format!("{name} was killed"),
        "pod_deletion" => format!("{name} was stopped"),
        "pause" => format!("{name} stopped answering"),
        "cpu_stress" => format!("{name} ran short of CPU"),
        "memory_stress" => format!("{name} ran short of memory"),
        "disk_fill" => format!("the volume of {name} filled up"),
        "network_latency" => format!("{} became slow", path()),
        "network_partition" => format!("{} stopped getting through", path()),
        "api_throttling" => format!("{} were turned away", path()),
        other => format!("{other} on {}", run.target),
    }
}

/// What a strategy did, as a participle.
pub(super) fn done(strategy: &str) -> Cow<'_, str> {
    Cow::Borrowed(match strategy {
        STANDING_RESTART => "restarted by its keeper",
        "restart_pod" => "restarted",
        "graceful_restart" => "drained and restarted",
        "scale_replicas" => "an instance added",
        "scale_horizontally" => "scaled out",
        "increase_cpu_limit" => "given more CPU",
        "increase_memory_limit" => "given more memory",
        "cleanup_temp_files" => "old temporary files removed",
        "rotate_logs" => "logs rotated",
        "clear_caches" => "caches cleared",
        "expand_volume" => "volume grown",
        "reroute_traffic" => "traffic rerouted",
        "circuit_break_dependency" => "breaker opened",
        "reset_connection_pool" => "connections reset",
        other => return Cow::Owned(format!("repaired by {other}")),
    })
}

/// An outcome as prose: `not healed`.
pub(super) fn outcome(kind: OutcomeKind) -> String {
    kind.name().replace('_', " ")
}

/// The outcome with the strategy: `healed by restart_pod`.
pub(super) fn verdict(run: &RunScore) -> String {
    match (&run.strategy, run.outcome) {
        (Some(strategy), OutcomeKind::Healed | OutcomeKind::Mitigated) => {
            format!("{} by {strategy}", outcome(run.outcome))
        }
        (Some(strategy), kind) => format!("{}, tried {strategy}", outcome(kind)),
        (None, kind) => outcome(kind),
    }
}
