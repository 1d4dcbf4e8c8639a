//! The labels that make a series what it is.

use std::fmt;
use std::sync::Arc;

use crate::go::Quoted;

/// The label that holds the name of the metric.
pub const METRIC_NAME: &str = "__name__";

/// Whether a label says what metric it is rather than where it was measured.
pub(crate) fn is_metadata(name: &str) -> bool {
    matches!(name, METRIC_NAME | "__type__" | "__unit__")
}

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

    /// Those whose names are so.
    pub(crate) fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        if self.iter().all(|(name, _)| keep(name)) {
            return self.clone();
        }
        Self(self.0.iter().filter(|(name, _)| keep(name)).cloned().collect())
    }

    /// Without the labels that say what metric it is: its name, and where they are kept as labels its type and unit.
    pub(crate) fn without_metadata(&self) -> Self {
        self.filtered(|name| !is_metadata(name))
    }

    /// With one more, or another value of it; an empty value takes it away.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut pairs: Vec<(Arc<str>, Arc<str>)> =
            self.0.iter().filter(|(known, _)| **known != *name).cloned().collect();
        if !value.is_empty() {
            let at = pairs.partition_point(|(known, _)| **known < *name);
            pairs.insert(at, (name.into(), value.into()));
        }
        Self(pairs.into())
    }

    /// The hash that Prometheus' `limit_ratio` goes by, so that both choose the same series: XXH64 of names and values, each
    /// behind its length.
    pub(crate) fn hash(&self) -> u64 {
        let mut bytes = Vec::with_capacity(256);
        for text in self.iter().flat_map(|(name, value)| [name, value]) {
            match u8::try_from(text.len()) {
                Ok(short) if short < 255 => bytes.push(short),
                _ => bytes.extend([255, text.len() as u8, (text.len() >> 8) as u8, (text.len() >> 16) as u8]),
            }
            bytes.extend_from_slice(text.as_bytes());
        }
        twox_hash::XxHash64::oneshot(0, &bytes)
    }

    /// As Prometheus' messages have them: the name among the others.
    pub(crate) fn shown(&self) -> String {
        let pairs: Vec<String> = self
            .iter()
            .map(|(name, value)| {
                let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                let name = if plain { name.to_string() } else { Quoted(name).to_string() };
                format!("{name}={}", Quoted(value))
            })
            .collect();
        format!("{{{}}}", pairs.join(", "))
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
