//! State that survives: issues, plans, the journal, outcomes, timers, switches, health scores, users.
//!
//! In: values of [`domain`]. Out: the same values, also after `kill -9` and after a reboot. What a method
//! acknowledged (returned `Ok`) was synced to the disk before.
//!
//! The engine is one SQLite file, `DIR/homeostat.db`, in WAL mode with `synchronous=FULL`. [`Store`] is
//! cheap to clone; all clones share *one connection behind a mutex*. One writer is all SQLite has, and a
//! compare-and-set that counts rows before it writes is only right when nobody writes between; a second
//! connection for readers would buy nothing at the few hundred rows a second of one controller, and would
//! let a reader see less than the writer acknowledged.
//!
//! # Invariants
//!
//! - One controller per data directory: [`Store::open`] holds `flock` on `DIR/lock`.
//! - A newer schema is refused, an older one is upgraded in place.
//! - Statuses change by compare-and-set only; the slots a plan needs are counted in the transaction that
//!   gives them.
//! - The journal is append-only: an intent, then its endings. Nothing edits them; retention removes them
//!   only with their plan, and never while a step is open or in force.
//! - Every time in the file belongs to the boot named in it ([`boot`]); opening it in another boot
//!   translates all of them first.
//! - `DIR/reserve` keeps room for the repair path on a full disk ([`Reserve`]).
//!
//! Deliberately absent: decisions. Whether a plan may run is the guard's business (`decide`), doing it is
//! `act`'s, wire shapes are the gateway's. No clock is read here except once, at opening, to see whether
//! the machine was rebooted.

#![allow(clippy::missing_errors_doc, reason = "what all methods fail with stands once, at `Store`")]

mod access;
pub mod backup;
pub mod boot;
mod changes;
mod cmdb;
mod decisions;
mod deployments;
mod directory;
mod documents;
mod error;
mod events;
mod experiments;
mod health;
mod idempotency;
mod issues;
mod journal;
mod objectives;
mod plan_cache;
mod plans;
#[cfg(any(test, feature = "fuzz"))]
pub mod properties;
mod purge;
mod queue;
mod readers;
mod records;
mod retention;
mod room;
mod schema;
mod slots;
mod statistics;
mod store;
mod sweep;
mod switches;
mod timers;

pub use access::{
    EndedSessions, Factors, Hash, NewToken, OidcSubject, PasskeyRecord, PasskeySaved, PasswordHash,
    SealedSecret, SessionHolder, SessionRecord, SignedInBy, TokenOwner, TokenRecord, UserChange, UserChanged,
    UserRecord, UserSaved,
};
pub use changes::{Changed, Subscription, Topic};
pub use cmdb::{ChangeRecord, ItemFilter, ItemRecord, Presence};
pub use decisions::{Decision, Verdict};
pub use deployments::DeploymentFilter;
pub use directory::{Held, Holder, HolderKind, Reserve, hold, holder};
pub use documents::diagnosis_key;
pub use error::{Result, StoreError};
pub use events::{EVENTS_MAX, Posted};
pub use experiments::{ExperimentRecord, ExperimentStatus};
pub use health::HealthRecord;
pub use idempotency::{Claim, KEY_BODY_MAX, KEY_KEPT, KEYS_MAX, KeptAnswer};
pub use issues::{IssueFilter, IssueState};
pub use journal::{Ended, Ending, EntryState, Found, JournalEntry};
pub use objectives::{EndedRemediation, ObjectiveRecord, ObjectiveSave};
pub use plans::{PlanFilter, PlanPurpose, PlanRecord};
pub use purge::{
    GoneTraces, OldTraces, PurgeEnd, PurgeId, PurgeMode, PurgeNote, PurgeOrder, Purgeable, Purged,
    RecordKind, UnrecordedPurges, purge_ended, purge_told,
};
pub use retention::{Pruned, Retention, Round};
pub use room::Room;
pub use slots::{Sharing, SlotLimits, Started};
pub use statistics::{Confidences, DETECTED_WITHIN, Figures, Foretold, KindFigures, Repairs, Statistics};
pub use store::Store;
pub use switches::Switches;
pub use timers::{Timer, TimerKind};

/// How many rows a list has where the caller does not say.
pub const LIST_LIMIT_DEFAULT: usize = 100;

/// How many rows a list has at most, whatever the caller says: at about 4 KiB a plan this keeps one answer
/// below 4 MiB.
pub const LIST_LIMIT_MAX: usize = 1000;
