//! The types of the schema: one file for each noun.
//!
//! In: values of `domain`, `store`, `slo` and `promql`. Out: objects whose fields are read where they are asked for. What
//! lies beside a row of a list is read for the whole list at once ([`issue::Family`]), so that no list costs a read a row.

pub(super) mod anomaly;
pub(super) mod automation;
pub(super) mod change;
pub(super) mod compute;
pub(super) mod deployment;
pub(super) mod experiment;
pub(super) mod health;
pub(super) mod infrastructure;
pub(super) mod issue;
pub(super) mod metric;
pub(super) mod remediation;
pub(super) mod service;
pub(super) mod slo;
