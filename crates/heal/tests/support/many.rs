//! Many runs, one report.

use std::time::Instant;

use serde_json::{Value, json};

use super::storm::{Deaths, run};

/// Runs the seeds from `from` on, until `runs` are done or `seconds` are over.
pub fn many(runs: u64, from: u64, seconds: u64) -> Value {
    let began = Instant::now();
    let mut sums = [0_u64; 7];
    let (mut done, mut virtual_seconds, mut violations) = (0, 0.0, Vec::new());
    for seed in from..from.saturating_add(runs) {
        if began.elapsed().as_secs() >= seconds {
            break;
        }
        let report = run(seed, if seed % 2 == 0 { Deaths::None } else { Deaths::Some });
        let counts = [
            report.turns,
            report.repairs,
            report.approved,
            report.faults,
            report.troubles,
            report.storms,
            report.crashes,
        ];
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += u64::from(count);
        }
        done += 1;
        virtual_seconds += report.virtual_seconds;
        if !report.violations.is_empty() {
            eprintln!("seed {seed}: {}", report.violations.join("\n  "));
            violations.push(json!({"seed": seed, "what": report.violations}));
        }
    }
    let [turns, repairs, approved, faults, troubles, storms, crashes] = sums;
    json!({
        "runs": done, "from": from, "violating_runs": violations.len(), "violations": violations,
        "turns": turns, "repairs": repairs, "approved": approved, "faults": faults, "troubles": troubles,
        "storms": storms, "crashes": crashes, "virtual_seconds": virtual_seconds.round(),
        "seconds": began.elapsed().as_secs_f64(),
    })
}
