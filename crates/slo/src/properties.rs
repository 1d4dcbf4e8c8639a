//! What holds for every file.
//!
//! In: any bytes. Out: a panic where a property does not hold. The fuzz target of `fuzz/` and the test here run the same
//! function; nothing that ships contains it.

use std::sync::Arc;

use domain::Time;

use crate::objective::{PERIOD_MAX, PERIOD_MIN};
use crate::prometheus::{Provenance, RuleFile};
use crate::{Counts, Indicator, Tracker, read};

/// A file is read whole, or every problem has a place in it. What is read can be counted and exported.
pub fn slo_file(input: &[u8]) {
    let lines = input.iter().filter(|byte| **byte == b'\n' || **byte == b'\r').count() as u64 + 1;
    let objectives = match read("slos.yaml", input) {
        Ok(objectives) => objectives,
        Err(error) => {
            assert!(!error.problems.is_empty());
            for problem in &error.problems {
                assert!((1..=lines + 1).contains(&problem.line) && problem.column >= 1, "{problem}");
                assert!(!problem.message.is_empty(), "{problem}");
            }
            return;
        }
    };
    for objective in objectives {
        assert!((PERIOD_MIN..=PERIOD_MAX).contains(&objective.period));
        let provenance =
            Provenance { mode: String::new(), version: String::new(), labels: Default::default() };
        let exported = RuleFile::of([&objective], &provenance);
        match &objective.indicator {
            Indicator::Exact(_) => assert!(exported.is_err()),
            Indicator::Promql(_) => {
                let yaml = exported.expect("PromQL can be exported").to_yaml();
                let _: RuleFile = serde_saphyr::from_str(&yaml).expect("a rule file of our own");
            }
        }
        let mut tracker = Tracker::new(Arc::new(objective));
        tracker.count(0, Counts::of_bad(1, 2));
        let now = Time { boot_us: 1, wall_us: 1 };
        let evaluation = tracker.evaluate(now);
        assert!(evaluation.standing.coverage > 0.0);
        let again = Tracker::restore(Arc::new(tracker.objective().clone()), tracker.save(now), now);
        assert_eq!(again.expect("what was saved").evaluate(now).standing.sums, evaluation.standing.sums);
    }
}

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use super::seeds::hold;

    #[test]
    fn a_file_is_read_whole_or_every_problem_has_a_place() {
        hold("slo_file", 400, super::slo_file);
    }
}
