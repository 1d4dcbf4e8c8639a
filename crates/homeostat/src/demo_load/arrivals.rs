//! When visitors come and what they come for.
//!
//! In: a rate and a seed. Out: gaps between arrivals, exponentially distributed (a Poisson process), and
//! kinds of requests in the mix of the demo. The same seed gives the same sequence.

use std::time::Duration;

use super::request_log::Kind;

/// Of 100 requests, this many look around, this many put something into a cart; the rest check out.
const BROWSE: u8 = 70;
const ADD_TO_CART: u8 = 20;

/// The sequence of arrivals.
#[derive(Debug)]
pub(super) struct Arrivals {
    rate: f64,
    rng: fastrand::Rng,
}

impl Arrivals {
    /// `rate` requests a second on average.
    pub(super) fn new(rate: f64, seed: u64) -> Self {
        Self { rate, rng: fastrand::Rng::with_seed(seed) }
    }

    /// Time from one arrival to the next.
    pub(super) fn gap(&mut self) -> Duration {
        // 1 − u is in (0, 1], whose logarithm is finite.
        Duration::from_secs_f64(-(1.0 - self.rng.f64()).ln() / self.rate)
    }

    /// What the next visitor comes for.
    pub(super) fn kind(&mut self) -> Kind {
        match self.rng.u8(..100) {
            roll if roll < BROWSE => Kind::Browse,
            roll if roll < BROWSE + ADD_TO_CART => Kind::AddToCart,
            _ => Kind::Checkout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_and_the_mix_are_as_asked_for() {
        let mut arrivals = Arrivals::new(40.0, 7);
        let total: Duration = (0..40_000).map(|_| arrivals.gap()).sum();
        assert!((990.0..1010.0).contains(&total.as_secs_f64()), "40,000 arrivals took {total:?}");
        let browse = (0..10_000).filter(|_| arrivals.kind() == Kind::Browse).count();
        assert!((6_800..7_200).contains(&browse), "{browse} of 10,000");
    }

    #[test]
    fn the_same_seed_gives_the_same_sequence() {
        let sequence = |seed| {
            let mut arrivals = Arrivals::new(40.0, seed);
            (0..50).map(|_| (arrivals.gap(), arrivals.kind())).collect::<Vec<_>>()
        };
        assert_eq!(sequence(3), sequence(3));
        assert_ne!(sequence(3), sequence(4));
    }
}
