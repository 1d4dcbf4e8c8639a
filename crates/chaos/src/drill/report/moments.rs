//! The times of a run, in the order of the loop, with their definitions.

use super::super::score::RunScore;

/// One time of a run.
pub(super) struct Moment {
    /// Its name in tables and pictures.
    pub(super) word: &'static str,
    /// Its key in JSON; `None` for the start, which is always 0.
    pub(super) key: Option<&'static str>,
    /// What it means.
    pub(super) definition: &'static str,
    /// Milliseconds since the fault's step began.
    pub(super) at: fn(&RunScore) -> Option<f64>,
}

/// Every time of a run.
pub(super) const MOMENTS: [Moment; 7] = [
    Moment {
        word: "injected",
        key: None,
        definition: "the step that injects the fault begins. Every time counts from here",
        at: |_| Some(0.0),
    },
    Moment {
        word: "effect proven",
        key: Some("effect_ms"),
        definition: "the fault has measured its own effect",
        at: |run| run.effect_ms,
    },
    Moment {
        word: "detected",
        key: Some("detected_ms"),
        definition: "an issue of the expected type is open on the disturbed resource or its service",
        at: |run| run.detected_ms,
    },
    Moment {
        word: "diagnosed",
        key: Some("diagnosed_ms"),
        definition: "the ranked causes are there that the first repair rests on",
        at: |run| run.diagnosed_ms,
    },
    Moment {
        word: "first action",
        key: Some("first_action_ms"),
        definition: "the first step of the first repair begins; where the keeper's standing restart answers, \
                     the successor is executed",
        at: |run| run.first_action_ms,
    },
    Moment {
        word: "serving again",
        key: Some("serving_ms"),
        definition: "the disturbed instance, or the one after it, is ready again; where none was lost, the last \
                     request has failed",
        at: |run| run.serving_ms,
    },
    Moment {
        word: "verified",
        key: Some("verified_ms"),
        definition: "the first passing check of the repair that held through its hold window; for a standing \
                     restart, the instance is ready again",
        at: |run| run.verified_ms,
    },
];

/// The last time that was reached.
pub(super) fn end(run: &RunScore) -> f64 {
    MOMENTS.iter().filter_map(|moment| (moment.at)(run)).fold(0.0, f64::max)
}
