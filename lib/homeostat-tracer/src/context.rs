//! What is known of a trace at one point: enough to start a child here, on another thread or in another
//! process.
//!
//! In: headers ([`crate::propagation`]) or the span in scope. Out: parents of spans, and headers. Deliberately
//! absent: anything a span records.

use std::sync::Arc;

use crate::baggage::Baggage;
use crate::ids::{SpanId, TraceId};
use crate::join::Branch;
use crate::local;

/// A point in a trace. Cheap to clone; goes wherever the work goes.
#[derive(Debug, Clone)]
pub struct Context {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) sampled: bool,
    /// The trace id's low 56 bits are random (flag 2 of level 2).
    pub(crate) random: bool,
    pub(crate) remote: bool,
    /// Whoever made it records all the same and decides when its local root ends.
    pub(crate) undecided: bool,
    /// The sampling threshold that `sampled` came from, 56 bits; absent where nobody said.
    pub(crate) threshold: Option<u64>,
    /// Randomness said in so many words (`rv`), in place of the trace id's.
    pub(crate) randomness: Option<u64>,
    pub(crate) carried: Option<Arc<Carried>>,
    /// The recording this point lies in, where that is in this process.
    pub(crate) branch: Option<Branch>,
}

/// What travels along and is not ours to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    /// Members of `tracestate` except ours and OpenTelemetry's.
    pub(crate) trace_state: Box<str>,
    /// Fields of the member `ot` except `th` and `rv`.
    pub(crate) ot_rest: Box<str>,
    pub(crate) baggage: Baggage,
    /// Envoy's `x-request-id`.
    pub(crate) request_id: Option<Box<str>>,
}

impl Carried {
    pub(crate) fn is_empty(&self) -> bool {
        self.trace_state.is_empty()
            && self.ot_rest.is_empty()
            && self.baggage.is_empty()
            && self.request_id.is_none()
    }

    /// `None` where nothing is carried, so that the usual case costs nothing.
    pub(crate) fn shared(self) -> Option<Arc<Self>> {
        (!self.is_empty()).then(|| Arc::new(self))
    }
}

impl Context {
    /// A context whose parent lies elsewhere, such as one read from a format of your own. It is not marked
    /// random, since nothing is known of how its id was made.
    pub fn remote(trace_id: TraceId, span_id: SpanId, sampled: bool) -> Self {
        Self {
            trace_id,
            span_id,
            sampled,
            random: false,
            remote: true,
            undecided: false,
            threshold: None,
            randomness: None,
            carried: None,
            branch: None,
        }
    }

    /// The span in scope on this thread: recorded or, where sampling dropped the trace, only passed on. None
    /// where no span is in scope.
    pub fn current() -> Option<Self> {
        local::with_active(|active| active.context()).flatten()
    }

    /// The trace's id.
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// The span's id: that of the parent where the context came from elsewhere.
    pub fn span_id(&self) -> SpanId {
        self.span_id
    }

    /// What the `sampled` flag says. Under adaptive sampling that is the decision so far: an error or a slow
    /// local root turns it into yes for this service's part.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// Whether it came from another process.
    pub fn is_remote(&self) -> bool {
        self.remote
    }

    /// The key-value pairs that travel with the trace.
    pub fn baggage(&self) -> &Baggage {
        const NONE: &Baggage = &Baggage::new();
        self.carried.as_ref().map_or(NONE, |carried| &carried.baggage)
    }

    /// The same context with this baggage: what is started with it as parent, and injected from it, carries it.
    #[must_use]
    pub fn with_baggage(mut self, baggage: Baggage) -> Self {
        let mut carried = self.carried.as_deref().cloned().unwrap_or_default();
        carried.baggage = baggage;
        self.carried = carried.shared();
        self
    }

    /// Envoy's `x-request-id`, where one came in.
    pub fn request_id(&self) -> Option<&str> {
        self.carried.as_ref()?.request_id.as_deref()
    }

    /// The 56 bits that consistent sampling compares with its threshold.
    pub(crate) fn randomness(&self) -> u64 {
        self.randomness.unwrap_or_else(|| self.trace_id.randomness())
    }
}
