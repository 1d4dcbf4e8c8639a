//! The nouns of Homeostat: what the loop passes from stage to stage.
//!
//! In: nothing. Out: values. This crate does no I/O, reads no clock, knows no async runtime; `now` and
//! randomness are handed in ([`Clock`], [`IdSource`]). One word has one meaning, defined here once; the
//! table of words is in ARCHITECTURE.md.
//!
//! Reading order: [`resource`] and [`infrastructure`] (what is watched), [`snapshot`] (what was seen),
//! [`issue`] and [`cause`] (what is wrong and why), [`plan`] and [`fault`] (what is to be changed, and how
//! it is undone), [`outcome`] (what came of it), [`happening`] (all of it on one axis).

pub mod access;
pub mod alert;
pub mod capability;
pub mod cause;
pub mod cmdb;
pub mod deployment;
pub mod event;
pub mod fault;
pub mod growth;
pub mod happening;
pub mod id;
pub mod infrastructure;
pub mod issue;
pub mod outcome;
pub mod plan;
#[cfg(any(test, feature = "fuzz"))]
pub mod properties;
pub mod resource;
pub mod restart;
pub mod slo;
pub mod snapshot;
pub mod strategy;
pub mod time;
pub mod traces;
pub mod units;
pub mod volume;
pub mod window;

pub use access::{AnonymousReads, Identity, Permission, Permissions, Proof, Role};
pub use alert::{AlertPhase, AlertSource, Alerts, RuleAlert};
pub use capability::{Capabilities, Enforcement};
pub use cause::{Cause, CauseClass, EvidenceItem};
pub use cmdb::{Inventory, Item, ItemChange, ItemKind, Relation, Revised};
pub use deployment::{CallCounts, Deployment, DeploymentSource, Release, SeenBy};
pub use event::{Event, EventKind};
pub use fault::{Attachment, Fault, FaultKind, PathScope};
pub use growth::Growth;
pub use happening::{Bearing, Happening, HappeningKind, HappeningLink, Lane, Sign};
pub use id::{
    DeploymentId, EventId, ExperimentId, IdSource, IssueId, PasskeyId, PlanId, SessionId, TokenId, UserId,
};
pub use infrastructure::{CpuLimits, Environment, Infrastructure, ServiceSpec};
pub use issue::{Issue, IssueKind, Reason, Severity};
pub use outcome::{Outcome, OutcomeKind};
pub use plan::{
    Action, Actor, Attribute, AttributeValue, Captured, Effect, Intent, Plan, PlanStatus, Signal, Step,
    StepToken, StopManner, Undo, UpWhen,
};
pub use resource::{Incarnation, InstanceName, LinkName, ResourceId, ServiceName};
pub use restart::RestartPolicy;
pub use slo::{
    BadEvents, Burn, BurnBound, ObjectiveSource, ObjectiveState, Objectives, SloAlert, SloSeverity, SloStatus,
};
pub use snapshot::{InstanceState, LinkState, ServiceState, Snapshot};
pub use strategy::Strategy;
pub use time::{Clock, Time};
pub use traces::{TraceSource, TracedCalls, Traces};
pub use units::{Bytes, Cores, Percent};
pub use volume::FileClass;
pub use window::Window;
