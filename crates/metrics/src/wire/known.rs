//! Label sets seen before, so that a series that comes again costs one look-up instead of an allocation for each label.
//!
//! In: the hash of a label set as it stands in a message, and a way to compare. Out: the [`Labels`] made when it came
//! first, the same ones every time, so that whoever holds them can compare addresses. Texts are held once, whoever uses
//! them.
//!
//! What is held is bounded in bytes: there are two generations, and when the younger is full the older is let go of. What
//! is asked for again moves to the younger.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use promql::Labels;

/// Bytes of label sets in one generation: 700,000 sets of ten labels that share their texts. A store holds these labels
/// too, so that they are no second copy.
const LABEL_BYTES: usize = 256 << 20;

/// Bytes of texts in one generation.
const TEXT_BYTES: usize = 64 << 20;

/// The label sets one receiver knows.
#[derive(Debug, Default)]
pub(crate) struct Known {
    hasher: RandomState,
    labels: Generations<Labels>,
    texts: Generations<Arc<str>>,
}

/// What is kept, with its hash and the bytes it is counted with.
#[derive(Debug)]
struct Kept<T> {
    hash: u64,
    value: T,
    weight: u32,
}

/// The younger and the older half of what is known.
#[derive(Debug)]
struct Generations<T> {
    young: HashTable<Kept<T>>,
    old: HashTable<Kept<T>>,
    /// Of the younger.
    weight: usize,
}

impl<T> Default for Generations<T> {
    fn default() -> Self {
        Self { young: HashTable::new(), old: HashTable::new(), weight: 0 }
    }
}

impl<T: Clone> Generations<T> {
    /// Finds what is kept, and keeps it for longer.
    #[inline]
    fn find(&mut self, hash: u64, room: usize, same: impl Fn(&T) -> bool) -> Option<T> {
        let same = |kept: &Kept<T>| kept.hash == hash && same(&kept.value);
        if let Some(kept) = self.young.find(hash, same) {
            return Some(kept.value.clone());
        }
        let (kept, _) = self.old.find_entry(hash, same).ok()?.remove();
        let value = kept.value.clone();
        self.insert(kept, room);
        Some(value)
    }

    fn insert(&mut self, kept: Kept<T>, room: usize) {
        if self.weight > room {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        self.weight += kept.weight as usize + size_of::<Kept<T>>();
        self.young.insert_unique(kept.hash, kept, |kept| kept.hash);
    }
}

impl Known {
    /// The hash of bytes.
    #[inline]
    pub(crate) fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }

    /// The hash of several hashes in their order.
    #[inline]
    pub(crate) fn combine(&self, hashes: impl Iterator<Item = u64>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hashes.for_each(|hash| hasher.write_u64(hash));
        hasher.finish()
    }

    /// The label set with this hash for which `same` holds.
    #[inline]
    pub(crate) fn find(&mut self, hash: u64, same: impl Fn(&Labels) -> bool) -> Option<Labels> {
        self.labels.find(hash, LABEL_BYTES, same)
    }

    /// Makes a label set of pairs and remembers it under this hash.
    pub(crate) fn make<'t>(&mut self, hash: u64, pairs: impl Iterator<Item = (&'t str, &'t str)>) -> Labels {
        let mut weight = 0;
        let mut text = |known: &mut Self, text: &str| {
            let (text, new) = known.text_or_new(text);
            weight += size_of::<Arc<str>>() + if new { text.len() } else { 0 };
            text
        };
        let texts: Vec<(Arc<str>, Arc<str>)> =
            pairs.map(|(name, value)| (text(self, name), text(self, value))).collect();
        let labels = Labels::new(texts);
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        self.labels.insert(Kept { hash, value: labels.clone(), weight }, LABEL_BYTES);
        labels
    }

    /// The text with this hash, where it is known.
    #[inline]
    pub(crate) fn known_text(&mut self, hash: u64, text: &[u8]) -> Option<Arc<str>> {
        self.texts.find(hash, TEXT_BYTES, |known| known.as_bytes() == text)
    }

    /// A text, the same one every time, and whether it was not known.
    fn text_or_new(&mut self, text: &str) -> (Arc<str>, bool) {
        let hash = self.hash(text.as_bytes());
        if let Some(known) = self.known_text(hash, text.as_bytes()) {
            return (known, false);
        }
        let made: Arc<str> = text.into();
        let weight = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.texts.insert(Kept { hash, value: Arc::clone(&made), weight }, TEXT_BYTES);
        (made, true)
    }
}

/// Whether these are the pairs of a label set: sorted, each name once, no value empty.
#[inline]
pub(crate) fn same<'t>(labels: &Labels, pairs: impl ExactSizeIterator<Item = (&'t [u8], &'t [u8])>) -> bool {
    labels.len() == pairs.len()
        && labels
            .iter()
            .zip(pairs)
            .all(|((name, value), pair)| equal(name.as_bytes(), pair.0) && equal(value.as_bytes(), pair.1))
}

/// Whether two texts are the same; two that lie at one place are not looked at.
#[inline]
fn equal(one: &[u8], other: &[u8]) -> bool {
    std::ptr::eq(one, other) || one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_set_that_comes_again_is_the_same_one() {
        let mut known = Known::default();
        let pairs = [("__name__", "up"), ("job", "a")];
        let bytes = || pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        assert_eq!(known.find(7, |labels| same(labels, bytes())), None);
        let made = known.make(7, pairs.into_iter());
        let found = known.find(7, |labels| same(labels, bytes())).expect("made before");
        let address = |labels: &Labels| labels.iter().next().map(|(name, _)| name.as_ptr());
        assert_eq!((&made, address(&made)), (&found, address(&found)));
        assert_eq!(known.find(7, |labels| labels.is_empty()), None, "another set with the same hash");
    }

    #[test]
    fn what_is_not_asked_for_is_forgotten_and_what_is_stays() {
        const ROOM: usize = 1000;
        let mut generations = Generations::<u64>::default();
        let keep = |generations: &mut Generations<u64>, n| {
            generations.insert(Kept { hash: n, value: n, weight: 100 }, ROOM);
        };
        keep(&mut generations, 0);
        keep(&mut generations, 1);
        for n in 2..100 {
            assert_eq!(generations.find(0, ROOM, |&value| value == 0), Some(0), "asked for all the time");
            keep(&mut generations, n);
        }
        assert_eq!(generations.find(1, ROOM, |&value| value == 1), None);
        assert!(generations.young.len() + generations.old.len() <= 2 * (ROOM / 100 + 1));
    }
}
