//! Runs to test the report with.

use domain::{CauseClass, OutcomeKind, Reason};

use super::super::matrix::TrueCause;
use super::super::score::RunScore;
use super::super::witness::{LoopWitness, RequestCount, RequestWitnesses};
use super::{Machine, Quiet, QuietPeriod, Report, Setting};

/// A hang that was repaired.
pub(in crate::drill) fn hang(number: u32) -> RunScore {
    RunScore {
        number,
        row: "pause-cart".to_owned(),
        fault: "pause".to_owned(),
        target: "instance/cart-1".to_owned(),
        effect_ms: Some(41.2),
        detected_ms: Some(1902.4),
        diagnosed_ms: Some(1910.5),
        diagnosis_took_ms: Some(0.8),
        cause_rank: Some(1),
        confidence: Some(91.6667),
        pattern: Some("liveness_failing".to_owned()),
        first_action_ms: Some(1950.0),
        serving_ms: Some(2611.0),
        verified_ms: Some(2803.7),
        outcome: OutcomeKind::Healed,
        expected: OutcomeKind::Healed,
        reason: Some(Reason::Unresponsive),
        as_expected: true,
        notes: Vec::new(),
        strategy: Some("restart_pod".to_owned()),
        rolled_back: false,
        explanation: None,
        true_cause: cause("instance/cart-1", CauseClass::ProcessHangs),
        requests_failed: 12,
        requests: 410,
        witnesses: told(410, 12),
        error_budget_spent: Some(29.2683),
        left_behind: Vec::new(),
    }
}

/// A crash that the keeper answered.
pub(in crate::drill) fn crash(number: u32) -> RunScore {
    RunScore {
        row: "kill-cart".to_owned(),
        fault: "pod_kill".to_owned(),
        target: "instance/cart-0".to_owned(),
        effect_ms: Some(2.1),
        detected_ms: Some(11.9),
        diagnosed_ms: None,
        diagnosis_took_ms: None,
        cause_rank: None,
        confidence: None,
        pattern: None,
        first_action_ms: Some(6.3),
        serving_ms: Some(431.0),
        verified_ms: Some(431.0),
        reason: Some(Reason::Exit),
        strategy: Some("standing_restart".to_owned()),
        true_cause: cause("instance/cart-0", CauseClass::ProcessEnded),
        requests_failed: 0,
        witnesses: told(410, 0),
        error_budget_spent: Some(0.0),
        ..hang(number)
    }
}

/// A slow path that was cut off and not repaired, as expected.
pub(in crate::drill) fn slow(number: u32) -> RunScore {
    RunScore {
        row: "latency-all-catalogue".to_owned(),
        fault: "network_latency".to_owned(),
        target: "link/front->catalogue".to_owned(),
        cause_rank: Some(2),
        serving_ms: None,
        outcome: OutcomeKind::Mitigated,
        expected: OutcomeKind::Mitigated,
        reason: Some(Reason::AllBackends),
        strategy: Some("circuit_break_dependency".to_owned()),
        true_cause: cause("link/front->catalogue", CauseClass::PathSlow),
        requests_failed: 1,
        requests: 1,
        witnesses: told(1, 1),
        error_budget_spent: Some(1000.0),
        ..hang(number)
    }
}

/// A full volume that nobody noticed, with something left behind.
pub(in crate::drill) fn missed(number: u32) -> RunScore {
    RunScore {
        row: "disk-logs-front".to_owned(),
        fault: "disk_fill".to_owned(),
        target: "volume/front-0".to_owned(),
        effect_ms: Some(104.0),
        detected_ms: None,
        diagnosed_ms: None,
        diagnosis_took_ms: None,
        cause_rank: None,
        confidence: None,
        pattern: None,
        first_action_ms: None,
        serving_ms: None,
        verified_ms: None,
        outcome: OutcomeKind::NotHealed,
        reason: None,
        as_expected: false,
        strategy: None,
        true_cause: cause("volume/front-0", CauseClass::DiskExhausted),
        requests_failed: 0,
        requests: 0,
        witnesses: told(0, 0),
        error_budget_spent: None,
        left_behind: vec!["a file of 15 MiB in the volume of front-0".to_owned()],
        ..hang(number)
    }
}

/// What both witnesses say alike.
fn told(total: u64, failed: u64) -> Option<RequestWitnesses> {
    let count = Some(RequestCount { total, failed });
    Some(RequestWitnesses { spans: count, no_spans: None, log: count })
}

fn cause(resource: &str, class: CauseClass) -> TrueCause {
    TrueCause { resource: resource.parse().unwrap(), class }
}

/// A report of some runs with one quiet minute.
pub(in crate::drill) fn report(runs: Vec<RunScore>) -> Report {
    let machine = Machine {
        cores: 2,
        memory_bytes: 8 << 30,
        kernel: "6.12.8".to_owned(),
        limits_enforced_by: "supervision".to_owned(),
    };
    let quiet = Quiet::new(vec![QuietPeriod {
        began_at: "2026-11-21T03:10:00.000Z".to_owned(),
        seconds: 60.0,
        false_alarms: Vec::new(),
    }]);
    let notes = vec!["waits scaled by 0.1".to_owned()];
    let setting = Setting {
        homeostat: "0.1.0".to_owned(),
        machine,
        seed: 7,
        witness: LoopWitness::Spans,
        started_at: "2026-11-21T03:00:00.000Z".to_owned(),
        notes,
    };
    Report::new(setting, runs, quiet)
}
