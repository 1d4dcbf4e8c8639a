//! The loop's own turns as traces of service `homeostat`: a span for the turn, one for each phase in it.
//!
//! In: what the loop tells ([`heal::Tell`]). Out: spans to the own receivers. A repair runs on beside the turn that began
//! it and stays in its trace; it is verified by later turns, which say the same issue and plan. Turns in which nothing
//! was opened, begun, decided or taken back, and nothing failed in a new way, are forgotten.

use heal::{Phase, Tell, TellElsewhere, Told};
use homeostat_tracer::{Context, Entered, LocalSpan, Span, Status, Tracer, Value};

/// Traces the loop.
pub(crate) struct LoopTraces {
    tracer: Tracer,
}

impl LoopTraces {
    /// With the tracer of the control plane.
    pub(crate) fn new(tracer: Tracer) -> Self {
        Self { tracer }
    }
}

impl Tell for LoopTraces {
    fn begin(&self, phase: Phase) -> Box<dyn Told> {
        Box::new(match phase {
            Phase::Turn => Saying::Turn(self.tracer.root(phase.name()).enter()),
            phase => Saying::Phase(homeostat_tracer::span(phase.name())),
        })
    }

    fn elsewhere(&self) -> TellElsewhere {
        let (tracer, within) = (self.tracer.clone(), Context::current());
        Box::new(move |phase| {
            Box::new(Saying::Elsewhere(match within {
                Some(context) => homeostat_tracer::task_of(context, phase.name()),
                // A person asked for it, not a turn.
                None => tracer.root(phase.name()).start(),
            }))
        })
    }
}

/// The span of a phase, by how it is held.
enum Saying {
    Turn(Entered),
    Phase(LocalSpan),
    Elsewhere(Span),
}

impl Told for Saying {
    fn say(&mut self, key: &'static str, value: &str) {
        match self {
            Self::Turn(span) => span.attribute(key, value),
            Self::Phase(span) => span.attribute(key, value),
            Self::Elsewhere(span) => span.attribute(key, value),
        }
    }

    fn happened(&mut self, what: &'static str, details: &[(&'static str, &str)]) {
        let details: Vec<(&'static str, Value<'_>)> =
            details.iter().map(|&(key, value)| (key, Value::Text(value))).collect();
        match self {
            Self::Turn(span) => span.event(what, &details),
            Self::Phase(span) => span.event(what, &details),
            Self::Elsewhere(span) => span.event(what, &details),
        }
    }

    fn failed(&mut self, why: &str) {
        match self {
            Self::Turn(span) => span.status(Status::Error(why)),
            Self::Phase(span) => span.status(Status::Error(why)),
            Self::Elsewhere(span) => span.status(Status::Error(why)),
        }
    }

    fn forget(self: Box<Self>) {
        if let Self::Turn(span) = *self {
            span.discard();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use telemetry::{StatusCode, TraceFilter};

    use super::*;
    use crate::config::Config;
    use crate::control_plane::OccupiedPort;
    use crate::receiving::Receiving;

    #[test]
    fn a_turn_that_did_something_is_a_trace_and_an_idle_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let receiving =
            Receiving::start(dir.path(), &Config::default(), OccupiedPort::TakeAnother, None, None)
                .unwrap()
                .unwrap();
        let tracer = receiving.tracer().unwrap();
        let traces = LoopTraces::new(tracer.clone());
        let idle = traces.begin(Phase::Turn);
        drop(traces.begin(Phase::Observe));
        idle.forget();
        let turn = traces.begin(Phase::Turn);
        drop(traces.begin(Phase::Observe));
        let mut plan = traces.begin(Phase::Plan);
        plan.say("homeostat.issue.id", "i-1");
        let act = traces.elsewhere();
        drop(plan);
        drop(turn);
        std::thread::spawn(move || act(Phase::Act).failed("no such process")).join().unwrap();
        tracer.flush(Duration::from_secs(5)).unwrap();

        let mut spans = Vec::new();
        let all = TraceFilter { service: Some("homeostat".to_owned()), ..TraceFilter::default() };
        receiving.store().each_match(&all, |span| spans.push(span)).unwrap();
        let mut names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
        names.sort_unstable();
        assert_eq!(names, ["act", "observe", "plan", "turn"]);
        assert!(spans.iter().all(|span| span.trace_id == spans[0].trace_id), "{spans:?}");
        let of = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
        assert_eq!(
            (of("act").parent, of("plan").parent),
            (Some(of("plan").span_id), Some(of("turn").span_id))
        );
        assert_eq!((of("act").status, &*of("act").status_message), (StatusCode::Error, "no such process"));
        assert_eq!(of("plan").attributes[0].0, "homeostat.issue.id");
        receiving.stop();
    }
}
