//! What spans say of services and of the calls between them: a second witness beside the link proxies.
//!
//! In: nothing. Out: the values a [`Snapshot`](crate::Snapshot) carries, and the trait by which they come. Times in
//! them are those at which calls *started*; spans arrive late, so the windows end a little before the look.
//!
//! Deliberately absent: what is being injected, and any judgement.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::resource::{LinkName, ServiceName};
use crate::time::Time;
use crate::window::Window;

/// Where what spans say comes from.
pub trait TraceSource: Send + Sync {
    /// What the spans of the last seconds before `now` say. Empty where none came.
    fn traces(&self, now: Time) -> Traces;
}

/// What spans say. A service or link without spans is absent: nothing is known of it by this witness.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Traces {
    /// What each service was asked, by its own server and consumer spans.
    pub services: BTreeMap<ServiceName, TracedCalls>,
    /// The calls from one service to another, as the caller's span saw them.
    pub links: BTreeMap<LinkName, TracedCalls>,
    /// The version each service says it is (`service.version`), where all its spans of late say the same one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<ServiceName, SeenVersion>,
}

/// A version that spans carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenVersion {
    /// As they say it.
    pub version: String,
    /// When the first span that carried it started, since none did.
    pub since: Time,
}

impl Traces {
    /// Whether no spans came.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.links.is_empty() && self.versions.is_empty()
    }
}

/// The calls of one service or link.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TracedCalls {
    /// The last 10 complete seconds that spans had time to arrive from. `throttled`, `unanswered` and `rejected`
    /// are 0: a span does not tell them apart.
    pub recent: Window,
    /// The minute before: what is usual.
    pub before: Window,
    /// Milliseconds of each call that were spent in the service itself, not in those it called, on average; `None` for
    /// a link, and without calls. Calls made side by side count one after the other, so it is at least 0 and may be
    /// less than the truth.
    pub own_ms: Option<f64>,
    /// The same in the minute before.
    pub own_ms_before: Option<f64>,
    /// Of the errors in `recent`, those that no failing call of the service to another one explains, at most.
    pub own_errors: u64,
    /// Traces to look at, 32 hexadecimal digits each: of failing calls first, then of slow ones. At most three.
    pub exemplars: Vec<String>,
    /// Whether a source sampled, so that counts are weighted estimates.
    pub estimated: bool,
}
