//! Which edges the service map has.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::histogram::Histogram;
use super::names::{EDGES_MAX, OTHER_NAME};

/// What kind of edge of the service map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Link {
    /// The caller waits for the callee: client and server spans met.
    Call = 0,
    /// A message is handled later: producer and consumer spans met.
    Message = 1,
    /// The callee sends no spans: it is named as the caller's attributes name it, and its own view is empty. Where
    /// there is another edge to the same name, what got no answer is told as part of that one.
    Uninstrumented = 2,
}

impl Link {
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Call,
            1 => Self::Message,
            2 => Self::Uninstrumented,
            _ => return None,
        })
    }
}

/// One edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Edge {
    /// Number of a service.
    pub(crate) caller: u32,
    /// Number of a service; of a peer where it is [`Link::Uninstrumented`].
    pub(crate) callee: u32,
    pub(crate) link: Link,
}

/// Whose spans measured it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// With the way there and back.
    Caller = 0,
    Callee = 1,
}

/// All edges by number.
#[derive(Debug, Default)]
pub(crate) struct Edges {
    edges: Vec<Edge>,
    /// What has come to rest since the process began, by the numbers of [`cell`].
    totals: Vec<Histogram>,
    by_edge: HashMap<Edge, u32, RandomState>,
}

impl Edges {
    /// The number of an edge; that between all others where there are too many.
    pub(crate) fn intern(&mut self, edge: Edge) -> u32 {
        if let Some(&known) = self.by_edge.get(&edge) {
            return known;
        }
        let other = Edge { caller: OTHER_NAME, callee: OTHER_NAME, link: edge.link };
        if self.edges.len() >= EDGES_MAX && edge != other {
            return self.intern(other);
        }
        let id = self.edges.len() as u32;
        self.edges.push(edge);
        self.totals.extend([Histogram::default(), Histogram::default()]);
        self.by_edge.insert(edge, id);
        id
    }

    /// Adds calls that have come to rest.
    pub(crate) fn add_total(&mut self, cell: u32, histogram: &Histogram) {
        if let Some(total) = self.totals.get_mut(cell as usize) {
            total.merge(histogram);
        }
    }

    pub(crate) fn total(&self, cell: u32) -> Histogram {
        self.totals.get(cell as usize).cloned().unwrap_or_default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Edge)> {
        (0..).zip(&self.edges)
    }
}

/// The number under which the calls of an edge are kept, as one side saw them.
pub(crate) fn cell(edge: u32, view: View) -> u32 {
    2 * edge + view as u32
}
