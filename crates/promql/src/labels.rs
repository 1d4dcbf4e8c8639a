//! The labels that make a series what it is.

use std::fmt;
use std::sync::Arc;

/// The label that holds the name of the metric.
pub const METRIC_NAME: &str = "__name__";

/// Labels of a series: sorted by name, every name once, no empty value (an empty value is no label, as in Prometheus).
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

impl Labels {
    /// Of these pairs in any order. Of a name that is there more than once the last value counts.
    pub fn new<N: Into<Arc<str>>, V: Into<Arc<str>>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut all: Vec<(Arc<str>, Arc<str>)> =
            pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        // Stable: of equal names the last stays last.
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut unique: Vec<(Arc<str>, Arc<str>)> = Vec::with_capacity(all.len());
        for pair in all {
            match unique.last_mut() {
                Some(last) if last.0 == pair.0 => *last = pair,
                _ => unique.push(pair),
            }
        }
        unique.retain(|(_, value)| !value.is_empty());
        Self(unique.into())
    }

    /// The value of a label; empty where there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name)).map_or("", |at| &self.0[at].1)
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// As PromQL writes it: `name{label="value"}`.
impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get(METRIC_NAME))?;
        let labels = self.iter().filter(|(name, _)| *name != METRIC_NAME);
        f.write_str("{")?;
        for (at, (name, value)) in labels.enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}
