//! Active series by their labels: found by all of them at once, or by some.
//!
//! Numbers of series only rise, so lists stay sorted when they grow.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use foldhash::fast::RandomState;
use hashbrown::hash_map::EntryRef;
use hashbrown::{HashMap, HashTable};
use promql::Labels;

use super::series::Series;
use crate::admission::SourceName;
use crate::counters::Counter;
use crate::lock;
use crate::matching::Postings;

type Values = HashMap<Arc<str>, Vec<u32>, RandomState>;

/// Of this process: who sends labels cannot know which collide.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// The hash by which a series is found.
pub(crate) fn labels_hash(labels: &Labels) -> u64 {
    std::hash::BuildHasher::hash_one(&*HASHER, labels)
}

/// A source, and what it has.
#[derive(Debug)]
pub(crate) struct SourceState {
    pub(crate) name: SourceName,
    /// Active series.
    pub(crate) series: AtomicU64,
    /// Samples taken in.
    pub(crate) accepted: Counter,
    /// Samples left out, for whatever reason.
    pub(crate) refused: Counter,
    /// Samples left out because their series would have been one too many.
    pub(crate) over_limit: Counter,
}

impl SourceState {
    pub(crate) fn new(name: SourceName) -> Self {
        let (series, accepted, refused, over_limit) = Default::default();
        Self { name, series, accepted, refused, over_limit }
    }
}

/// Active series.
#[derive(Debug, Default)]
pub(crate) struct Index {
    by_labels: HashTable<Arc<Series>>,
    /// By number. A place that is empty costs 8 bytes for each series that there ever was in this process.
    by_id: Vec<Option<Arc<Series>>>,
    labels: HashMap<Arc<str>, Values, RandomState>,
}

impl Index {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_labels.len()
    }

    /// The series of these labels.
    pub(crate) fn get(&self, hash: u64, labels: &Labels) -> Option<&Arc<Series>> {
        self.by_labels.find(hash, |series| series.hash == hash && series.labels == *labels)
    }

    /// The series of this number.
    pub(crate) fn by_id(&self, id: u32) -> Option<&Arc<Series>> {
        self.by_id.get(id as usize)?.as_ref()
    }

    /// All, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Series>> {
        self.by_id.iter().flatten()
    }

    /// Adds a series that is not there yet. It keeps the labels it is given, not a copy: a decoder that hands in the same
    /// ones again is spared comparing texts.
    pub(crate) fn add(&mut self, hash: u64, labels: &Labels, source: &Arc<SourceState>) -> Arc<Series> {
        let id = self.by_id.len() as u32;
        for (name, value) in labels.iter() {
            under(under(&mut self.labels, name), value).push(id);
        }
        let series = Arc::new(Series::new(id, labels.clone(), hash, Arc::clone(source)));
        self.by_labels.insert_unique(hash, Arc::clone(&series), |series| series.hash);
        self.by_id.push(Some(Arc::clone(&series)));
        source.series.fetch_add(1, Ordering::Relaxed);
        series
    }

    /// Takes out the series that hold no samples and got none since; answers how many.
    pub(crate) fn retire_idle(&mut self, since_ms: i64) -> usize {
        let mut retired = 0;
        for place in &mut self.by_id {
            let Some(series) = place else { continue };
            let mut state = lock(&series.state);
            if !state.is_idle_since(since_ms) {
                continue;
            }
            state.retired = true;
            drop(state);
            series.source.series.fetch_sub(1, Ordering::Relaxed);
            if let Ok(entry) = self.by_labels.find_entry(series.hash, |other| Arc::ptr_eq(other, series)) {
                entry.remove();
            }
            *place = None;
            retired += 1;
        }
        if retired > 0 {
            let by_id = &self.by_id;
            self.labels.retain(|_, values| {
                values.retain(|_, ids| {
                    ids.retain(|id| by_id[*id as usize].is_some());
                    !ids.is_empty()
                });
                !values.is_empty()
            });
        }
        retired
    }

    /// Names of labels.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.labels.keys()
    }

    /// Values of a label.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &Arc<str>> {
        self.labels.get(name).into_iter().flat_map(|values| values.keys())
    }
}

/// What stands under a text.
fn under<'a, T: Default>(map: &'a mut HashMap<Arc<str>, T, RandomState>, text: &str) -> &'a mut T {
    match map.entry_ref(text) {
        EntryRef::Occupied(entry) => entry.into_mut(),
        EntryRef::Vacant(entry) => entry.insert_with_key(text.into(), T::default()),
    }
}

impl Postings for Index {
    type Error = Infallible;

    fn all(&self) -> Result<Vec<u32>, Infallible> {
        Ok(self.iter().map(|series| series.id).collect())
    }

    fn with(&self, name: &str, value: &str) -> Result<Vec<u32>, Infallible> {
        Ok(self.labels.get(name).and_then(|values| values.get(value)).cloned().unwrap_or_default())
    }

    fn matching(&self, name: &str, holds: &dyn Fn(&str) -> bool) -> Result<Vec<u32>, Infallible> {
        let values = self.labels.get(name).into_iter().flatten();
        Ok(values.filter(|(value, _)| holds(value)).flat_map(|(_, ids)| ids.iter().copied()).collect())
    }

    fn test(&self, series: u32, name: &str, holds: &dyn Fn(&str) -> bool) -> Result<bool, Infallible> {
        Ok(self.by_id(series).is_some_and(|series| holds(series.labels.get(name))))
    }
}

#[cfg(test)]
mod tests {
    use promql::{MatchOp, Matcher, Sample, Value};

    use super::*;
    use crate::fixture::Nowhere;
    use crate::matching::{Condition, find};

    fn index(series: &[&[(&str, &str)]]) -> Index {
        let source = Arc::new(SourceState::new(SourceName::new("test")));
        let mut index = Index::default();
        for pairs in series {
            let labels = Labels::new(pairs.iter().copied());
            index.add(labels_hash(&labels), &labels, &source);
        }
        index
    }

    fn found(index: &Index, matchers: &[(&str, MatchOp, &str)]) -> Vec<u32> {
        let matchers: Vec<Matcher> = matchers
            .iter()
            .map(|(name, op, value)| Matcher { name: (*name).into(), op: *op, value: (*value).into() })
            .collect();
        let conditions = Condition::all_of(&matchers).expect("understood");
        find(index, &conditions).unwrap_or_else(|never| match never {})
    }

    #[test]
    fn series_are_found_by_what_their_labels_are_and_are_not() {
        use MatchOp::{Equal, Matches, MatchesNot, NotEqual};
        let index = index(&[
            &[("__name__", "up"), ("job", "a")],
            &[("__name__", "up"), ("job", "b"), ("zone", "1")],
            &[("__name__", "down"), ("job", "a")],
        ]);
        assert_eq!(found(&index, &[]), [0, 1, 2]);
        assert_eq!(found(&index, &[("__name__", Equal, "up")]), [0, 1]);
        assert_eq!(found(&index, &[("__name__", Matches, "up|down"), ("job", Equal, "a")]), [0, 2]);
        assert_eq!(found(&index, &[("zone", Equal, "")]), [0, 2]);
        assert_eq!(found(&index, &[("zone", NotEqual, "")]), [1]);
        assert_eq!(found(&index, &[("job", MatchesNot, "b|c"), ("zone", Matches, ".*")]), [0, 2]);
        assert_eq!(found(&index, &[("job", Equal, "c")]), Vec::<u32>::new());
    }

    #[test]
    fn a_series_that_is_idle_is_no_longer_found_and_no_longer_counted() {
        let mut index = index(&[&[("a", "1"), ("b", "x")], &[("a", "2"), ("b", "x")]]);
        let kept = Arc::clone(index.by_id(1).expect("there"));
        let sample = Sample { at_ms: 1000, value: Value::Float(1.0) };
        lock(&kept.state).take(&kept.labels, sample, 0, &Nowhere);
        assert_eq!(index.retire_idle(500), 1);
        assert_eq!(found(&index, &[("b", MatchOp::Equal, "x")]), [1]);
        assert_eq!(kept.source.series.load(Ordering::Relaxed), 1);
        assert_eq!(index.values("a").map(|value| &**value).collect::<Vec<_>>(), ["2"]);
        assert_eq!(index.len(), 1);
    }
}
