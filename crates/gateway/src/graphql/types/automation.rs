//! Whether repairs run by themselves.

use async_graphql::SimpleObject;
use store::Switches;

use crate::overwritten::Standing;

/// Whether repairs run by themselves.
#[derive(SimpleObject)]
pub(in crate::graphql) struct AutomaticRepair {
    /// Whether they do, as far as the trust ladder allows.
    enabled: bool,
    /// Another one wherever it was switched; `ifMatch` takes it.
    etag: String,
}

impl AutomaticRepair {
    pub(in crate::graphql) fn of(switches: &Switches) -> Self {
        Self { enabled: switches.automation, etag: Standing::automation(switches).version }
    }
}
