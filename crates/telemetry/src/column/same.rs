//! Comparing short byte strings.

/// Whether two byte strings are equal.
///
/// Keys and values are mostly shorter than 40 bytes, and those of one length mostly differ at their end (ids, paths): the
/// last eight bytes are looked at first, the rest in words, without the call that `==` on slices makes.
#[inline]
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(last_a), Some(last_b)) => {
            u64::from_ne_bytes(*last_a) == u64::from_ne_bytes(*last_b)
                && a.as_chunks::<8>()
                    .0
                    .iter()
                    .zip(b.as_chunks::<8>().0)
                    .all(|(a, b)| u64::from_ne_bytes(*a) == u64::from_ne_bytes(*b))
        }
        _ => a.iter().zip(b).all(|(a, b)| a == b),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn same_is_equality(
            a in prop::collection::vec(any::<u8>(), 0..40),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            prop_assert!(same(&a, &a.clone()));
            let mut b = a.clone();
            b.push(0);
            prop_assert!(!same(&a, &b));
            let changed = at.index(b.len());
            let mut c = b.clone();
            c[changed] ^= 1 << bit;
            prop_assert!(!same(&b, &c));
        }
    }
}
