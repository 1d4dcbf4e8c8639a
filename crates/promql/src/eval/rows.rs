//! Series with a value or none at every time of a grid.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::grid::Grid;
use super::sample;
use crate::error::Fault;
use crate::{Labels, Series, Value};

/// A series of an instant vector.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) labels: Labels,
    /// It is no longer the metric it was: its name goes at the end, if it did not at once.
    pub(super) drop_name: bool,
    /// As many as the grid has times.
    pub(super) points: Vec<Option<Value>>,
}

impl Row {
    pub(super) fn is_empty(&self) -> bool {
        self.points.iter().all(Option::is_none)
    }

    /// None where it has no value at all.
    pub(super) fn into_series(self, grid: Grid) -> Option<Series> {
        let points = grid.times().zip(self.points);
        let samples: Vec<_> = points.filter_map(|(at, point)| Some(sample(at, point?))).collect();
        (!samples.is_empty()).then_some(Series { labels: self.labels, samples })
    }
}

/// Rows with the same labels become one.
///
/// # Errors
/// Where two have a value at the same time.
pub(super) fn merged(rows: Vec<Row>, at: usize) -> Result<Vec<Row>, Fault> {
    let mut known: HashMap<Labels, usize> = HashMap::with_capacity(rows.len());
    let mut out: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        if row.is_empty() {
            continue;
        }
        match known.entry(row.labels.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(out.len());
                out.push(row);
            }
            Entry::Occupied(entry) => {
                for (into, point) in out[*entry.get()].points.iter_mut().zip(row.points) {
                    match (&into, point) {
                        (_, None) => {}
                        (None, point) => *into = point,
                        (Some(_), Some(_)) => {
                            return Err(Fault::execution(
                                at,
                                "vector cannot contain metrics with the same labelset",
                            ));
                        }
                    }
                }
            }
        }
    }
    Ok(out)
}

/// Only a number is.
pub(super) fn float(point: &Option<Value>) -> Option<f64> {
    match point {
        Some(Value::Float(value)) => Some(*value),
        _ => None,
    }
}
