//! Two drills that were kept: one in which all went well, and a longer one before it in which a full disk was not repaired.

use std::path::Path;

use chaos::drill::report::{Machine, Quiet, QuietPeriod, Report, Setting};
use chaos::drill::{Archive, LoopWitness, RunScore, TrueCause};
use domain::{CauseClass, OutcomeKind, Time};

/// An archive in a data directory, with both.
pub(crate) fn kept(dir: &Path, now: Time) -> Archive {
    let archive = Archive::of_data_directory(dir);
    let hangs =
        |count: u32| (0..count).map(|n| run(n, "pause", "instance/cart-1", 1600.0 + f64::from(n) * 210.0));
    let at = |hours: i64| Time { boot_us: 0, wall_us: now.wall_us - hours * 3_600_000_000 }.rfc3339();
    let full = RunScore {
        outcome: OutcomeKind::NotHealed,
        verified_ms: None,
        serving_ms: None,
        cause_rank: Some(2),
        explanation: Some("the volume was full again within the hold window".to_owned()),
        strategy: Some("cleanup_temp_files".to_owned()),
        ..run(8, "disk_fill", "volume/catalogue-0", 900.0)
    };
    let crashes = (4..8).map(|n| RunScore {
        strategy: Some("standing_restart".to_owned()),
        ..run(n, "pod_kill", "instance/orders-0", 12.0 + f64::from(n))
    });
    let longer: Vec<RunScore> = hangs(4).chain(crashes).chain([full]).collect();
    archive.keep(&report(41, &at(70), longer)).unwrap();
    archive.keep(&report(7, &at(2), hangs(3).collect())).unwrap();
    archive
}

fn report(seed: u64, began: &str, runs: Vec<RunScore>) -> Report {
    let machine = Machine {
        cores: 2,
        memory_bytes: 8 << 30,
        kernel: "6.12.8".to_owned(),
        limits_enforced_by: "supervision".to_owned(),
    };
    let setting = Setting {
        homeostat: "0.1.0".to_owned(),
        machine,
        seed,
        witness: LoopWitness::Spans,
        started_at: began.to_owned(),
        notes: vec!["waits scaled: a signal has 20 s to come back and must hold for 5 s".to_owned()],
    };
    let quiet = QuietPeriod { began_at: began.to_owned(), seconds: 60.0, false_alarms: Vec::new() };
    Report::new(setting, runs, Quiet::new(vec![quiet]))
}

fn run(number: u32, fault: &str, target: &str, found_ms: f64) -> RunScore {
    RunScore {
        number,
        row: format!("{fault}-{}", target.rsplit('/').next().unwrap()),
        fault: fault.to_owned(),
        target: target.to_owned(),
        effect_ms: Some(found_ms / 40.0),
        detected_ms: Some(found_ms),
        diagnosed_ms: Some(found_ms + 6.0),
        diagnosis_took_ms: Some(0.7),
        cause_rank: Some(1),
        confidence: Some(92.0),
        pattern: Some("liveness_failing".to_owned()),
        first_action_ms: Some(found_ms * 1.05),
        serving_ms: Some(found_ms * 1.4),
        verified_ms: Some(found_ms * 1.6),
        outcome: OutcomeKind::Healed,
        expected: OutcomeKind::Healed,
        reason: None,
        as_expected: true,
        notes: Vec::new(),
        strategy: Some("restart_pod".to_owned()),
        rolled_back: false,
        explanation: None,
        true_cause: TrueCause { resource: target.parse().unwrap(), class: CauseClass::ProcessHangs },
        requests_failed: 3,
        requests: 410,
        witnesses: None,
        error_budget_spent: Some(7.3),
        left_behind: Vec::new(),
    }
}
