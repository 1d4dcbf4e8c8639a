//! Counters that do not fall when retention removes what they were counted from.
//!
//! In: counts, as the store has them now. Out: the same with what was removed since: Prometheus takes a fall as a restart
//! from 0, so that `increase` would count everything that is left anew and alerts of rates would fire. What was removed is
//! kept in the store; a restart between a removal and the next answer is the one fall that is not seen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use store::Store;

/// Where it is kept.
const DOCUMENT: &str = "metrics/removed";

/// What is added to counts.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Carried {
    /// What was removed, by series.
    removed: BTreeMap<String, f64>,
    /// What was counted when it was last asked.
    #[serde(skip)]
    last: BTreeMap<String, f64>,
    /// The same, of what was not asked for yet this time.
    #[serde(skip)]
    unasked: BTreeMap<String, f64>,
    #[serde(skip)]
    changed: bool,
}

impl Carried {
    /// What the store knows was removed; nothing where that cannot be read: counters then fall once.
    pub(crate) fn load(store: &Store) -> Self {
        let document = store.document(DOCUMENT).ok().flatten();
        document.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    /// Begins an answer.
    pub(super) fn begin(&mut self) {
        // What an answer before did not come to is still what was counted last.
        self.unasked.append(&mut self.last);
    }

    /// What is said of a series of which `counted` are there.
    pub(super) fn carry(&mut self, series: &str, counted: f64) -> f64 {
        let before = self.unasked.remove(series).unwrap_or(0.0);
        self.note(series, before - counted);
        self.last.insert(series.to_owned(), counted);
        counted + self.removed.get(series).copied().unwrap_or(0.0)
    }

    /// Ends an answer: series that were not asked for have nothing left. Keeps what changed.
    pub(super) fn end(&mut self, store: &Store) -> store::Result<()> {
        for (series, before) in std::mem::take(&mut self.unasked) {
            self.note(&series, before);
        }
        if std::mem::take(&mut self.changed)
            && let Ok(text) = serde_json::to_string(self)
        {
            store.put_document(DOCUMENT, &text)?;
        }
        Ok(())
    }

    fn note(&mut self, series: &str, removed: f64) {
        if removed > 0.0 {
            *self.removed.entry(series.to_owned()).or_default() += removed;
            self.changed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use provider::clock::SystemClock;

    use super::*;

    #[test]
    fn a_count_goes_on_where_records_were_removed_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::take_over(dir.path(), &SystemClock).unwrap();
        let mut carried = Carried::load(&store);
        let ask = |carried: &mut Carried, counts: &[(&str, f64)]| -> Vec<f64> {
            carried.begin();
            let said = counts.iter().map(|(series, counted)| carried.carry(series, *counted)).collect();
            carried.end(&store).unwrap();
            said
        };
        assert_eq!(ask(&mut carried, &[("a", 5.0), ("b", 2.0)]), [5.0, 2.0]);
        assert_eq!(ask(&mut carried, &[("a", 3.0), ("b", 2.0)]), [5.0, 2.0], "two were removed");
        assert_eq!(ask(&mut carried, &[("a", 4.0)]), [6.0], "one came, and b is gone");
        assert_eq!(ask(&mut carried, &[("a", 4.0), ("b", 1.0)]), [6.0, 3.0], "b is back");
        let mut carried = Carried::load(&store);
        assert_eq!(ask(&mut carried, &[("a", 4.0), ("b", 1.0)]), [6.0, 3.0]);
    }
}
