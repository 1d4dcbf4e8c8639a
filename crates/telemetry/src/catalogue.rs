//! Which services there are, and which operations they have: more of them than have series of their own
//! (see [`derive`](crate::derive)), which shows each to this list when it is new.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::intake::lock;
use crate::model::SpanKind;

/// Operations kept of one service, and services kept: a name with an id in it must not grow us for ever. Jaeger's UI
/// lists them all, and nobody reads a longer list.
const NAMES_MAX: usize = 10_000;

/// An operation of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Operation {
    /// The spans' name.
    pub name: String,
    /// The spans' kind.
    pub kind: SpanKind,
}

/// Services with their operations.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    services: Mutex<BTreeMap<Arc<str>, BTreeMap<SpanKind, Names>>>,
}

/// Names, sorted.
type Names = std::collections::BTreeSet<Box<str>>;

impl Catalogue {
    /// Learns an operation.
    pub(crate) fn learn(&self, service: &str, name: &str, kind: SpanKind) {
        let mut services = lock(&self.services);
        if !services.contains_key(service) {
            if services.len() >= NAMES_MAX {
                return;
            }
            services.insert(service.into(), BTreeMap::new());
        }
        let names = services.get_mut(service).map(|kinds| kinds.entry(kind).or_default());
        if let Some(names) = names
            && names.len() < NAMES_MAX
            && !names.contains(name)
        {
            names.insert(name.into());
        }
    }

    /// All services, sorted.
    pub(crate) fn services(&self) -> Vec<String> {
        lock(&self.services).keys().map(|service| service.to_string()).collect()
    }

    /// The operations of a service, sorted by name.
    pub(crate) fn operations(&self, service: &str) -> Vec<Operation> {
        let services = lock(&self.services);
        let mut operations: Vec<Operation> = services
            .get(service)
            .into_iter()
            .flatten()
            .flat_map(|(&kind, names)| {
                names.iter().map(move |name| Operation { name: name.to_string(), kind })
            })
            .collect();
        operations.sort();
        operations
    }
}
