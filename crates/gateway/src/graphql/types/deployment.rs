//! A service with its version, its replicas and the history of its versions.

use std::collections::BTreeMap;

use async_graphql::{Enum, ID, SimpleObject};
use domain::{SeenBy, Snapshot};

use super::service::ready;
use crate::graphql::scalars::DateTime;
use crate::overwritten::Standing;

/// Changes of version that are told of each service, at most.
const HISTORY_MAX: usize = 50;

/// A service with what it runs. Services that are not declared, and only told of, have a history alone.
#[derive(SimpleObject)]
pub(in crate::graphql) struct Deployment {
    /// Its id, such as `service/cart`.
    id: ID,
    /// The name of the service.
    pub(in crate::graphql) service: String,
    /// What runs there; null where it has no name.
    version: Option<String>,
    /// How many instances should be there; null where the service is not declared here.
    replicas: Option<u32>,
    /// Another one wherever another number of instances should be there; `ifMatch` takes it. Null where the service is not
    /// declared here.
    etag: Option<String>,
    /// How many are ready; null where the service is not declared here.
    ready: Option<usize>,
    /// Whether a change is under way.
    rolling_out: bool,
    /// The changes of version of the last 90 days, newest first, at most 50.
    history: Vec<VersionChange>,
}

/// Who saw a change of version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "SeenBy")]
pub(in crate::graphql) enum Witness {
    /// A plan of ours made it.
    Plan,
    /// The spans of the service carry another version than before.
    Spans,
    /// Somebody told.
    Posted,
}

/// A service began to run something else.
#[derive(SimpleObject)]
pub(in crate::graphql) struct VersionChange {
    /// Its id.
    id: ID,
    /// What runs since then; null where it has no name.
    version: Option<String>,
    /// What ran before; null where it has no name, or nobody knows it.
    previous_version: Option<String>,
    /// When it began.
    at: DateTime,
    /// When every instance ran it; null while it is under way, or where nobody knows.
    finished_at: Option<DateTime>,
    /// How it came to be known.
    seen_by: Witness,
    /// The plan that made it.
    remediation_id: Option<ID>,
    /// The change it takes back.
    rolls_back: Option<ID>,
    /// Whether what ran before is known, so that it could be put back.
    reversible: bool,
}

impl From<&domain::Deployment> for VersionChange {
    fn from(change: &domain::Deployment) -> Self {
        Self {
            id: ID(change.id.to_string()),
            version: change.version.clone(),
            previous_version: change.previous_version.clone(),
            at: DateTime(change.at),
            finished_at: change.finished_at.map(DateTime),
            seen_by: change.seen_by.into(),
            remediation_id: change.plan.map(|plan| ID(plan.to_string())),
            rolls_back: change.rolls_back.map(|id| ID(id.to_string())),
            reversible: change.former.is_some(),
        }
    }
}

impl Deployment {
    /// Every service that runs or was told of, by name, with its history out of `changes`, oldest first.
    pub(in crate::graphql) fn all(
        snapshot: Option<&Snapshot>,
        changes: &[domain::Deployment],
        service: Option<&str>,
    ) -> Vec<Self> {
        let mut all: BTreeMap<String, Self> = BTreeMap::new();
        for (name, state) in snapshot.into_iter().flat_map(|snapshot| &snapshot.services) {
            let deployment = Self {
                version: state.release.version.clone(),
                replicas: Some(state.replicas),
                etag: Some(Standing::size(name, state.replicas).version),
                ready: Some(ready(state)),
                rolling_out: state.rolling_out,
                ..Self::told_of(name.as_str())
            };
            all.insert(name.to_string(), deployment);
        }
        for change in changes.iter().rev() {
            let name = change.service.as_str();
            let of = all.entry(name.to_owned()).or_insert_with(|| Self {
                version: change.version.clone(),
                rolling_out: false,
                ..Self::told_of(name)
            });
            if of.history.len() < HISTORY_MAX {
                of.history.push(VersionChange::from(change));
            }
        }
        all.into_values().filter(|of| service.is_none_or(|service| of.service == service)).collect()
    }

    fn told_of(service: &str) -> Self {
        Self {
            id: ID(format!("service/{service}")),
            service: service.to_owned(),
            version: None,
            replicas: None,
            etag: None,
            ready: None,
            rolling_out: false,
            history: Vec::new(),
        }
    }
}
