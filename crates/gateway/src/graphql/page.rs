//! Pages of lists, as Relay's connections have them: `first` is bounded, `after` is an opaque cursor.
//!
//! In: what a field was asked for, and rows. Out: a connection of at most so many.

use std::str::FromStr;

use async_graphql::OutputType;
use async_graphql::connection::{Connection, Edge};

use crate::problem::Problem;

/// Rows of a list at most.
pub(super) const FIRST_MAX: usize = 100;

/// Rows of a list where nothing is said.
const FIRST: usize = 20;

/// Which part of a list is asked for.
pub(super) struct Page {
    first: usize,
    after: Option<String>,
}

impl Page {
    pub(super) fn read(first: Option<i32>, after: Option<String>) -> Result<Self, Problem> {
        let first = match first {
            None => FIRST,
            Some(first) => usize::try_from(first)
                .ok()
                .filter(|first| (1..=FIRST_MAX).contains(first))
                .ok_or_else(|| {
                    let why = format!("`first` is {first}; give a whole number from 1 to {FIRST_MAX}");
                    Problem::field("first", why)
                })?,
        };
        Ok(Self { first, after })
    }

    /// How many rows to read: one more than are shown, to know whether more follow.
    pub(super) fn rows(&self) -> usize {
        self.first + 1
    }

    /// The id behind which the page begins.
    pub(super) fn after<T: FromStr>(&self) -> Result<Option<T>, Problem> {
        let read = |after: &String| {
            let why = format!("`after` is {after:?}; give the `endCursor` of the page before");
            after.parse().map_err(|_| Problem::field("after", why))
        };
        self.after.as_ref().map(read).transpose()
    }

    /// The page out of rows that were read from its beginning on.
    pub(super) fn of<T, N: OutputType>(
        self,
        rows: impl IntoIterator<Item = T>,
        node: impl Fn(T) -> (String, N),
    ) -> Connection<String, N> {
        let mut rows = rows.into_iter();
        let shown: Vec<T> = rows.by_ref().take(self.first).collect();
        let mut page = Connection::new(self.after.is_some(), rows.next().is_some());
        page.edges.extend(shown.into_iter().map(node).map(|(cursor, node)| Edge::new(cursor, node)));
        page
    }

    /// The page out of all rows, in the order of their keys.
    pub(super) fn within<T, N: OutputType>(
        self,
        rows: impl IntoIterator<Item = T>,
        key: impl Fn(&T) -> String,
        node: impl Fn(T) -> N,
    ) -> Connection<String, N> {
        let after = self.after.clone();
        let behind = rows.into_iter().filter(|row| after.as_ref().is_none_or(|after| key(row) > *after));
        self.of(behind.collect::<Vec<_>>(), |row| (key(&row), node(row)))
    }
}

/// What a list costs: what each row costs, as often as rows are asked for.
pub(super) fn cost(first: Option<i32>, row: usize) -> usize {
    let first = first.map_or(FIRST, |first| usize::try_from(first).unwrap_or(0));
    1 + first.min(FIRST_MAX).saturating_mul(row)
}
