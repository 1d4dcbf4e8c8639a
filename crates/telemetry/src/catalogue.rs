//! Which services there are, and which operations they have.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::batch::Batch;
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

fn learn(
    services: &mut BTreeMap<Arc<str>, BTreeMap<SpanKind, Names>>,
    service: &Arc<str>,
    name: &str,
    kind: SpanKind,
) {
    if !services.contains_key(service) && services.len() >= NAMES_MAX {
        return;
    }
    let names = services.entry(Arc::clone(service)).or_default().entry(kind).or_default();
    if !names.contains(name) && names.len() < NAMES_MAX {
        names.insert(name.into());
    }
}

/// Names, sorted.
type Names = std::collections::BTreeSet<Box<str>>;

impl Catalogue {
    /// Learns what a batch of spans shows.
    pub(crate) fn observe(&self, batch: &Batch) {
        let mut distinct: Vec<(u32, u32, u8)> = Vec::new();
        let mut seen = vec![0u8; batch.origins.pairs.len() * batch.name.entries()];
        for row in 0..batch.rows() {
            let (origin, name, kind) = (batch.origin[row], batch.name.code(row), batch.kind[row]);
            let at = &mut seen[origin as usize * batch.name.entries() + name as usize];
            if *at & 1 << kind == 0 {
                *at |= 1 << kind;
                distinct.push((origin, name, kind));
            }
        }
        let mut services = lock(&self.services);
        for (origin, name, kind) in distinct {
            let kind = SpanKind::from_number(kind.into());
            learn(&mut services, batch.origins.service(origin), batch.name.text(name), kind);
        }
    }

    /// Learns what compacted spans show.
    pub(crate) fn learn<'a>(&self, operations: impl Iterator<Item = (&'a str, &'a str, SpanKind)>) {
        let mut services = lock(&self.services);
        operations.for_each(|(service, name, kind)| learn(&mut services, &service.into(), name, kind));
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
