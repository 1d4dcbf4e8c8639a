//! Which series there are. A name with an id in it must not grow us for ever: what is over the limits is counted
//! together, and visibly so.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::histogram::Histogram;
use crate::model::SpanKind;

/// Services, and peers of services, that have series of their own. The first one is what all others come under.
pub(crate) const NAMES_MAX: usize = 1000;

/// Series of all services together, beside one [`Name::Other`] for each service and kind.
pub(crate) const SERIES_MAX: usize = 2000;

/// Series of one service.
pub(crate) const SERIES_PER_SERVICE_MAX: u32 = 200;

/// Edges of the service map.
pub(crate) const EDGES_MAX: usize = 4000;

/// What stands in the place of a name over a limit, where text is asked for.
pub const OTHER: &str = "other";

/// The number under which services over the limit come.
pub(crate) const OTHER_NAME: u32 = 0;

/// Names of services and peers.
#[derive(Debug)]
pub(crate) struct Names {
    names: Vec<Arc<str>>,
    by_name: HashTable<u32>,
    hasher: RandomState,
}

impl Default for Names {
    fn default() -> Self {
        Self { names: vec![OTHER.into()], by_name: HashTable::new(), hasher: RandomState::default() }
    }
}

impl Names {
    /// The number of a name; [`OTHER_NAME`] where there are too many.
    pub(crate) fn intern(&mut self, name: &str) -> u32 {
        let hash = self.hasher.hash_one(name);
        let names = &self.names;
        if let Some(&known) = self.by_name.find(hash, |&id| *names[id as usize] == *name) {
            return known;
        }
        if self.names.len() >= NAMES_MAX {
            return OTHER_NAME;
        }
        let id = self.names.len() as u32;
        self.names.push(name.into());
        let (names, hasher) = (&self.names, &self.hasher);
        self.by_name.insert_unique(hash, id, |&id| hasher.hash_one(&*names[id as usize]));
        id
    }

    pub(crate) fn name(&self, id: u32) -> &Arc<str> {
        &self.names[id as usize]
    }
}

/// A series: spans of one service with one name and kind.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) service: u32,
    pub(crate) operation: Option<Arc<str>>,
    pub(crate) kind: SpanKind,
    /// The newest minute in which it had calls: what has none left is forgotten.
    pub(crate) last: u32,
    /// All calls that have come to rest since the process began.
    pub(crate) total: Histogram,
}

/// All series by number. A number is used again once nothing of its series is kept any more.
#[derive(Debug, Default)]
pub(crate) struct SeriesTable {
    series: Vec<Option<Series>>,
    free: Vec<u32>,
    by_key: HashTable<u32>,
    own: usize,
    of_service: Vec<u32>,
    hasher: RandomState,
}

impl SeriesTable {
    /// The series of an operation: its own, or its service's other one when there are too many; and whether it was
    /// known before.
    pub(crate) fn intern(&mut self, service: u32, operation: &str, kind: SpanKind) -> (u32, bool) {
        if let Some(known) = self.find(service, Some(operation), kind) {
            return (known, true);
        }
        let of_service = self.of_service.get(service as usize).copied().unwrap_or(0);
        let full = self.own >= SERIES_MAX || of_service >= SERIES_PER_SERVICE_MAX || service == OTHER_NAME;
        if full {
            return (self.other(service, kind), false);
        }
        if self.of_service.len() <= service as usize {
            self.of_service.resize(service as usize + 1, 0);
        }
        self.of_service[service as usize] += 1;
        self.own += 1;
        (self.insert(service, Some(operation.into()), kind), false)
    }

    /// The series for all operations of a service and kind that have none of their own.
    pub(crate) fn other(&mut self, service: u32, kind: SpanKind) -> u32 {
        self.find(service, None, kind).unwrap_or_else(|| self.insert(service, None, kind))
    }

    fn find(&self, service: u32, operation: Option<&str>, kind: SpanKind) -> Option<u32> {
        let hash = self.hasher.hash_one((service, operation, kind));
        let same = |&id: &u32| {
            self.get(id).is_some_and(|known| {
                known.service == service && known.operation.as_deref() == operation && known.kind == kind
            })
        };
        self.by_key.find(hash, same).copied()
    }

    fn insert(&mut self, service: u32, operation: Option<Arc<str>>, kind: SpanKind) -> u32 {
        let hash = self.hasher.hash_one((service, operation.as_deref(), kind));
        let series = Some(Series { service, operation, kind, last: 0, total: Histogram::default() });
        let id = match self.free.pop() {
            Some(id) => {
                self.series[id as usize] = series;
                id
            }
            None => {
                self.series.push(series);
                self.series.len() as u32 - 1
            }
        };
        let (table, hasher) = (&self.series, &self.hasher);
        self.by_key.insert_unique(hash, id, |&id| key_hash(hasher, table[id as usize].as_ref()));
        id
    }

    /// Forgets series without calls since minute `first`.
    pub(crate) fn forget_before(&mut self, first: u32) {
        for id in 0..self.series.len() as u32 {
            let Some(series) = self.series[id as usize].take_if(|series| series.last < first) else {
                continue;
            };
            let hash = key_hash(&self.hasher, Some(&series));
            if let Ok(entry) = self.by_key.find_entry(hash, |&known| known == id) {
                entry.remove();
            }
            if series.operation.is_some() {
                self.own -= 1;
                self.of_service[series.service as usize] -= 1;
            }
            self.free.push(id);
        }
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Series> {
        self.series.get(id as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Series> {
        self.series.get_mut(id as usize)?.as_mut()
    }

    /// All of them with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Series)> {
        (0..).zip(&self.series).filter_map(|(id, series)| Some((id, series.as_ref()?)))
    }
}

fn key_hash(hasher: &RandomState, series: Option<&Series>) -> u64 {
    series.map_or(0, |series| hasher.hash_one((series.service, series.operation.as_deref(), series.kind)))
}
