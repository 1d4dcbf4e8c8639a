//! Rules at work: evaluated when they are due, their series stored, their alerts sent.
//!
//! ```text
//! files ──load──► groups ──due──► promql::rules::evaluate ──samples──► metrics::Metrics
//!                                     │ alerts
//!                                     ├──► Alertmanager: a queue and a thread for each
//!                                     └──► whoever asks: RuleStates, domain::AlertSource
//! ```
//!
//! In: paths of rule files, a store of series, addresses of Alertmanagers. Out: series in the store, alerts at the
//! Alertmanagers, how the rules stand. What a rule means is `promql::rules`' business.
//!
//! Deliberately absent: routing, silences, and who is called: that is what Alertmanager is for. What is being injected is
//! not known here: alerts come from series alone, and those that read series about experiments are kept from the loop.

mod alertmanager;
mod barrier;
mod counters;
mod files;
mod runner;
mod schedule;

pub use alertmanager::{Address, AddressError, Alertmanager, AlertmanagerError, EndpointState};
pub use counters::{Counter, Counters};
pub use files::{LoadError, load, matching};
pub use runner::{Rules, Settings, StartError, engine};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Who is told what a person should know.
pub(crate) type Say = dyn Fn(&str) + Send + Sync;

/// What is behind these locks is complete before something can panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
