//! Providers: one trait pair, [`Look`] and [`Change`], in front of every engine that runs services.
//!
//! In: cleared steps and undo orders. Out: samples, events, capabilities, captured state. A provider makes
//! no decisions; it says what it can do ([`domain::Capabilities`]), shows what is there, and does one step
//! at a time. All calls block; a provider is used from plain threads.
//!
//! Deliberately absent: a sample tells nothing of faults. What is being injected reaches neither
//! detection nor diagnosis.

#![allow(
    clippy::missing_errors_doc,
    reason = "`Look` and `Change` say once what all their methods fail with"
)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "Homeostat runs on Linux alone: it holds what it starts by pidfds, control groups and what /proc says"
);

pub mod backup;
mod cgroup;
pub mod clock;
mod connection;
mod cpu_meter;
mod files;
pub mod keeper;
mod layout;
mod leftovers;
pub mod manifest;
pub mod open_files;
mod process;
mod processes;
pub mod program;
mod proof;
#[cfg(any(test, feature = "fuzz"))]
pub mod properties;
mod protocol;
pub mod role;
mod runnable;
pub mod sample;
pub mod say;
pub mod secret;
pub mod stress;
mod volume;

use std::time::Duration;

use decide::plan::ClearedStep;
use domain::{Capabilities, Captured, Effect, Event, Infrastructure, ServiceName, Step, StepToken};

pub use clock::SystemClock;
pub use processes::ProcessProvider;
pub use sample::Sample;

/// Why a provider did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It cannot be done here, ever; the text says why and what would change that.
    #[error("{what} cannot be done here: {why}")]
    Unsupported {
        /// What was asked.
        what: String,
        /// Why not.
        why: String,
    },
    /// The resource does not exist.
    #[error("there is no {resource}; `homeostat status` lists what there is")]
    UnknownResource {
        /// What was named.
        resource: String,
    },
    /// Someone else changed the attribute since it was captured.
    #[error("{attribute} was changed by someone else meanwhile (generation {seen}, expected {expected})")]
    Conflict {
        /// Which attribute.
        attribute: String,
        /// Its generation now.
        seen: u64,
        /// The generation the step was planned on.
        expected: u64,
    },
    /// It was tried and failed.
    #[error("{what} failed: {why}")]
    Failed {
        /// What was tried.
        what: String,
        /// What happened.
        why: String,
    },
    /// The engine did not answer.
    #[error("the {engine} does not answer: {why}")]
    Unreachable {
        /// Which engine.
        engine: &'static str,
        /// What happened.
        why: String,
    },
}

/// What an undo found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// The effect was there and is gone; what was captured is back.
    Restored,
    /// The effect was not there (the step never ran, or was undone before).
    NothingThere,
    /// Someone changed the value since; theirs stays.
    Superseded,
}

/// Looks at the world.
///
/// # Errors
///
/// Every method fails with [`ProviderError::Unreachable`] where the engine does not answer, and with
/// [`ProviderError::UnknownResource`] where what was named is not there.
pub trait Look: Send + Sync {
    /// What can be done here.
    fn capabilities(&self) -> Capabilities;

    /// What was declared and is being kept; `None` where nothing is up.
    fn infrastructure(&self) -> Result<Option<Infrastructure>, ProviderError>;

    /// Everything measurable, now.
    fn sample(&self) -> Result<Sample, ProviderError>;

    /// The events after sequence number `after`, oldest first. Waits up to `timeout` for the first one.
    /// Events may be lost when the engine restarts; the 30 s scan makes up for it.
    fn events(&self, after: u64, timeout: Duration) -> Result<Vec<Event>, ProviderError>;

    /// The last `lines` lines of captured output of every instance of a service, oldest first, each line
    /// with the instance that wrote it in front.
    fn logs(&self, service: &ServiceName, lines: usize) -> Result<Vec<String>, ProviderError>;
}

/// Changes the world, one step at a time. Only `act` is handed one.
///
/// For every step `act` calls [`check`](Self::check), [`capture`](Self::capture), writes the intent, calls
/// [`apply`](Self::apply), then [`prove`](Self::prove) until the effect is present, and writes the ending.
///
/// # Errors
///
/// As those of [`Look`]; and [`ProviderError::Unsupported`] where it cannot be done here, ever,
/// [`ProviderError::Conflict`] where somebody else set the value since it was captured, [`ProviderError::Failed`] where
/// it was tried in vain.
pub trait Change: Send + Sync {
    /// Whether the step could be done now. Changes nothing, and so needs no clearance: a step that is only shown is asked
    /// about too.
    fn check(&self, token: StepToken, step: &Step) -> Result<(), ProviderError>;

    /// What has to be known to undo the step. Changes nothing.
    fn capture(&self, step: ClearedStep<'_>) -> Result<Captured, ProviderError>;

    /// Does the step. Doing it again with the same token and captured state changes nothing more. Returns
    /// as soon as the change is under way; [`prove`](Self::prove) says when it is there.
    fn apply(&self, step: ClearedStep<'_>, captured: &Captured) -> Result<(), ProviderError>;

    /// Whether the effect of the step is there, measured. Changes nothing. Also answers, after a crash,
    /// whether a step whose ending was not written has happened.
    fn prove(&self, token: StepToken, step: &Step, captured: &Captured) -> Result<Effect, ProviderError>;

    /// Takes the step back as its `undo` says. Safe twice, and safe when the step never ran. Needs no
    /// clearance.
    fn undo(&self, token: StepToken, step: &Step, captured: &Captured) -> Result<Undone, ProviderError>;

    /// Takes out every fault at once, whoever injected it, and returns how many there were. Needs no
    /// clearance.
    fn remove_all_faults(&self) -> Result<u32, ProviderError>;
}
