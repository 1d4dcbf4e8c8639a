//! The attributes that came last in a column, as the bytes they came in.
//!
//! Most attributes of most spans are the same as some moments ago: a method, a route, a host. Comparing thirty bytes
//! once is cheaper than reading a key and a value and looking both up.

use super::same::same;

/// How many are remembered: routes and hosts alternate, but few at a time. More than those few, so that two of them
/// seldom want one place.
const SLOTS: usize = 1 << SLOT_BITS;

const SLOT_BITS: u32 = 4;

/// Longer attributes are read: they repeat less, and comparing them is no gain.
const BYTES_MAX: usize = 96;

/// After so many batches a column that was given up is tried again.
const BATCHES_TO_RETRY: u32 = 64;

/// Attributes with the code of their value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recent {
    slots: [(Vec<u8>, u64); SLOTS],
    found: usize,
    /// Batches to go without looking, since looking did not pay.
    given_up: u32,
}

impl Recent {
    /// The code of the attribute in `message`, if it is remembered.
    #[inline]
    pub(crate) fn find(&mut self, message: &[u8]) -> Option<u64> {
        if self.given_up > 0 {
            return None;
        }
        let (known, code) = &self.slots[slot(message)?];
        if same(known, message) {
            self.found += 1;
            Some(*code)
        } else {
            None
        }
    }

    /// Remembers an attribute in the place of another.
    #[inline]
    pub(crate) fn add(&mut self, message: &[u8], code: u64) {
        if self.given_up == 0
            && let Some(slot) = slot(message)
        {
            let (known, known_code) = &mut self.slots[slot];
            known.clear();
            known.extend_from_slice(message);
            *known_code = code;
        }
    }

    /// Forgets everything: codes are those of one batch. A column of `values` in which looking mostly failed, or whose
    /// values have no codes, is left alone for a while.
    pub(crate) fn clear(&mut self, values: usize, repeats: bool) {
        if !repeats || (self.given_up == 0 && self.found * 2 < values) {
            self.given_up = BATCHES_TO_RETRY;
        } else {
            self.given_up = self.given_up.saturating_sub(1);
        }
        self.found = 0;
        self.slots.iter_mut().for_each(|(known, _)| known.clear());
    }
}

/// Where an attribute is remembered: by its last bytes, which hold its value. None where it is too short to be one, or
/// too long to be worth it.
#[inline]
fn slot(message: &[u8]) -> Option<usize> {
    let last = u64::from_le_bytes(*message.last_chunk::<8>()?);
    let mixed = last.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (message.len() <= BYTES_MAX).then_some((mixed >> (64 - SLOT_BITS)) as usize)
}
