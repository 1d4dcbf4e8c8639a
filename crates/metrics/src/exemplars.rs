//! The newest exemplars of all series, in a ring. They are pointers to look at, not measurements: what is older than the
//! ring holds is gone, and after a restart only those are known that the log still has.

use std::collections::{BTreeMap, VecDeque};

use promql::Labels;

use crate::batch::Exemplar;

/// A ring.
#[derive(Debug)]
pub(crate) struct Exemplars {
    ring: VecDeque<(Labels, Exemplar)>,
    most: usize,
}

impl Exemplars {
    pub(crate) fn new(most: usize) -> Self {
        Self { ring: VecDeque::new(), most }
    }

    /// Adds some; the oldest go where there are too many. One that is there already is not added.
    pub(crate) fn extend(&mut self, exemplars: impl IntoIterator<Item = (Labels, Exemplar)>) {
        for exemplar in exemplars {
            // Senders repeat the last exemplar of a series until there is another.
            const LOOKED_BACK: usize = 64;
            if self.most == 0 || self.ring.iter().rev().take(LOOKED_BACK).any(|known| *known == exemplar) {
                continue;
            }
            if self.ring.len() >= self.most {
                self.ring.pop_front();
            }
            self.ring.push_back(exemplar);
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }

    /// Those of a time, both ends included, of the series that `wanted` says, by series and time.
    pub(crate) fn between(
        &self,
        from_ms: i64,
        to_ms: i64,
        wanted: impl Fn(&Labels) -> bool,
    ) -> Vec<(Labels, Vec<Exemplar>)> {
        let mut found: BTreeMap<&Labels, Vec<Exemplar>> = BTreeMap::new();
        for (series, exemplar) in &self.ring {
            if (from_ms..=to_ms).contains(&exemplar.at_ms) && wanted(series) {
                found.entry(series).or_default().push(exemplar.clone());
            }
        }
        let sorted = found.into_iter().map(|(series, mut exemplars)| {
            exemplars.sort_by_key(|exemplar| exemplar.at_ms);
            (series.clone(), exemplars)
        });
        sorted.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exemplar(at_ms: i64) -> (Labels, Exemplar) {
        let labels = Labels::new([("trace_id", "1")]);
        (Labels::new([("__name__", "a")]), Exemplar { labels, value: 1.0, at_ms })
    }

    #[test]
    fn the_oldest_goes_and_a_repeated_one_is_one() {
        let mut exemplars = Exemplars::new(2);
        exemplars.extend([exemplar(1), exemplar(2), exemplar(2), exemplar(3)]);
        let found = exemplars.between(0, 10, |_| true);
        let times: Vec<i64> = found[0].1.iter().map(|exemplar| exemplar.at_ms).collect();
        assert_eq!((found.len(), times), (1, vec![2, 3]));
        assert!(exemplars.between(0, 10, |_| false).is_empty());
    }
}
