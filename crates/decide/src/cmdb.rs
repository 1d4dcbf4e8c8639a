//! Snapshot and declaration → what is configured → what changed since it was last known.
//!
//! In: a look, what was declared, what people paused, the inventory as it was. Out: the items that have a new version,
//! each with the change that made it. Pure, and cheap where nothing changed: [`fingerprint`] says so before anything
//! is put together.
//!
//! What is measured (processor, memory, requests, phases, process ids) is no configuration and makes no change. What
//! spans alone tell of stays known when they fall silent: absence is unknown, not gone.
//!
//! The values of environment variables may be secrets, so that an item holds their names with sixteen bits of a hash:
//! enough to see that one changed, too little to find out what it is.

mod compare;
mod made_by;
mod seen;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use domain::{Cores, ServiceName, Snapshot, Time};

pub use compare::changes;
pub use made_by::made_by;
pub use seen::{Seen, SeenItem, seen};

/// Services that people paused, and until when.
pub type Paused = BTreeMap<ServiceName, Option<Time>>;

/// A number that is the same as long as nothing of the configuration in a look changed, save for what was declared:
/// that changes only while nothing is up, when [`Snapshot::fleet_age`] begins anew.
pub fn fingerprint(snapshot: &Snapshot, paused: &Paused) -> u64 {
    let mut of = DefaultHasher::new();
    snapshot.infrastructure.hash(&mut of);
    (snapshot.environment as u8).hash(&mut of);
    let cores = |cores: Option<Cores>| cores.map(|cores| cores.0.to_bits());
    for (name, service) in &snapshot.services {
        (name, service.replicas, cores(service.limits.cpu), service.limits.memory).hash(&mut of);
        (&service.dependencies, service.hands_off, service.protected).hash(&mut of);
        (&service.release.version, &service.release.command, &service.release.environment).hash(&mut of);
        for (instance, state) in &service.instances {
            (instance, state.port, state.usage.disk_size).hash(&mut of);
        }
    }
    for (name, link) in &snapshot.links {
        name.hash(&mut of);
        link.backends.iter().filter(|(_, it)| it.ejected_by_plan).for_each(|(it, _)| it.hash(&mut of));
    }
    snapshot.traces.services.keys().for_each(|name| name.hash(&mut of));
    snapshot.traces.links.keys().for_each(|name| name.hash(&mut of));
    for (name, seen) in &snapshot.traces.versions {
        (name, &seen.version).hash(&mut of);
    }
    for (name, until) in paused {
        (name, until.map(|until| until.wall_us)).hash(&mut of);
    }
    of.finish()
}

#[cfg(test)]
mod tests;
