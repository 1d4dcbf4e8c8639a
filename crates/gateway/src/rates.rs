//! How often one may ask: a bucket of leave for each who asks, which fills again evenly.
//!
//! In: who asks, and when. Out: leave, or how long to wait. A bucket holds as much as comes in two seconds ([`BURST`]) and is one
//! instant, that at which it is full again (the generic cell rate algorithm), so that one who asks little costs nothing: a bucket
//! that is full is not kept. There are at most [`BUCKETS`] at a time; whoever comes when they are all in use shares one more.
//!
//! Asked on the event thread alone, where nobody waits for the lock. What comes by the receivers of telemetry does not pass here,
//! nor do `/health` and the emergency stop.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use domain::{Identity, Proof, Time};

use crate::access::source_of;
use crate::problem::{Code, Problem};
use crate::serve::lock;

const SECOND: u64 = 1_000_000_000;

/// What may be asked at once after a pause is as much as comes in this time. Nanoseconds.
const BURST: u64 = 2 * SECOND;

/// Askers that are counted one by one at a time: under 512 KiB.
const BUCKETS: usize = 8_192;

/// Buckets that are full again are looked for no more often than this. Nanoseconds.
const SWEEP_EVERY: u64 = SECOND / 10;

/// How many requests a second are answered, and how many were refused; clones share both.
#[derive(Debug, Clone)]
pub struct RequestRates(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Of each identity, and of everybody on this machine who proves none.
    known: AtomicU32,
    /// Of each address beyond this machine from which somebody asks who proves no identity.
    unknown: AtomicU32,
    refused: [AtomicU64; 2],
    keys: RandomState,
    buckets: Mutex<Buckets>,
}

impl Default for RequestRates {
    fn default() -> Self {
        Self::new(Self::KNOWN, Self::UNKNOWN)
    }
}

impl RequestRates {
    /// Requests a second of an identity where nothing else is said.
    pub const KNOWN: u32 = 2_000;

    /// Requests a second of an address beyond this machine, without an identity, where nothing else is said.
    pub const UNKNOWN: u32 = 200;

    /// The most requests a second that can be said.
    pub const MAX: u32 = 1_000_000;

    /// So many requests a second of each identity and of this machine, and of each address beyond it without an identity;
    /// 0: as many as they like.
    pub fn new(known: u32, unknown: u32) -> Self {
        Self(Arc::new(Inner {
            known: AtomicU32::new(known),
            unknown: AtomicU32::new(unknown),
            refused: Default::default(),
            keys: RandomState::new(),
            buckets: Mutex::default(),
        }))
    }

    /// Others from now on.
    pub fn set(&self, known: u32, unknown: u32) {
        self.0.known.store(known, Ordering::Relaxed);
        self.0.unknown.store(unknown, Ordering::Relaxed);
    }

    /// Refused so far: of identities, and of addresses.
    pub(crate) fn refused(&self) -> [u64; 2] {
        [0, 1].map(|of| self.0.refused[of].load(Ordering::Relaxed))
    }

    /// Takes leave for one request of an identity; of the address where it is not proven.
    pub(crate) fn take(&self, identity: &Identity, peer: IpAddr, now: Time) -> Result<(), Problem> {
        match identity.proof {
            Proof::None => self.take_from(peer, now),
            Proof::Token | Proof::Session => {
                let rate = self.0.known.load(Ordering::Relaxed);
                self.leave(0, self.0.keys.hash_one((0_u8, &identity.name)), rate, now)
            }
        }
    }

    /// The same for somebody of whom nothing is known but the address.
    pub(crate) fn take_from(&self, peer: IpAddr, now: Time) -> Result<(), Problem> {
        let is_here = peer.to_canonical().is_loopback();
        let rate = if is_here { &self.0.known } else { &self.0.unknown };
        self.leave(1, self.0.keys.hash_one((1_u8, source_of(peer))), rate.load(Ordering::Relaxed), now)
    }

    fn leave(&self, of: usize, key: u64, rate: u32, now: Time) -> Result<(), Problem> {
        if rate == 0 {
            return Ok(());
        }
        let now = now.boot_us.saturating_mul(1000);
        let Err(wait) = lock(&self.0.buckets).take(key, SECOND / u64::from(rate), now) else { return Ok(()) };
        self.0.refused[of].fetch_add(1, Ordering::Relaxed);
        let whose = ["of one identity", "of one address"][of];
        let what = format!("more than {rate} requests a second {whose}; ask less often");
        Err(Problem {
            retry_after_seconds: Some(wait.div_ceil(SECOND)),
            ..Problem::new(Code::RateLimited, what)
        })
    }
}

/// By who asks, when each is full again; nanoseconds of the boot clock.
#[derive(Debug, Default)]
struct Buckets {
    full_at: HashMap<u64, u64>,
    /// Of everybody for whom there is no place.
    rest_full_at: u64,
    swept: u64,
}

impl Buckets {
    /// Takes what one request is worth, `one`, or says how long to wait for it.
    fn take(&mut self, key: u64, one: u64, now: u64) -> Result<(), u64> {
        if self.full_at.len() >= BUCKETS
            && now >= self.swept + SWEEP_EVERY
            && !self.full_at.contains_key(&key)
        {
            self.swept = now;
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        let full_at = match self.full_at.len() < BUCKETS {
            true => self.full_at.entry(key).or_default(),
            false => self.full_at.get_mut(&key).unwrap_or(&mut self.rest_full_at),
        };
        let after = (*full_at).max(now) + one;
        match (after - now).checked_sub(BURST) {
            None | Some(0) => {
                *full_at = after;
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::Role;

    use super::*;

    /// So many nanoseconds after some start.
    fn at(after: u64) -> Time {
        Time { boot_us: 5_000_000 + after / 1000, wall_us: 0 }
    }

    fn named(name: &str) -> Identity {
        Identity::proven(name, Proof::Token, vec![Role::Viewer], None)
    }

    /// How many are let through one after another at an instant.
    fn let_through(rates: &RequestRates, who: &Identity, from: &str, at: Time) -> usize {
        let from = from.parse().unwrap();
        (0..100_000).take_while(|_| rates.take(who, from, at).is_ok()).count()
    }

    #[test]
    fn two_seconds_worth_at_once_then_as_much_as_comes() {
        let (rates, ada) = (RequestRates::new(100, 10), named("ada"));
        assert_eq!(let_through(&rates, &ada, "192.0.2.1", at(0)), 200);
        let refused = rates.take(&ada, "192.0.2.1".parse().unwrap(), at(0)).unwrap_err();
        assert_eq!((refused.code, refused.retry_after_seconds), (Code::RateLimited, Some(1)));
        assert_eq!(let_through(&rates, &ada, "192.0.2.1", at(SECOND / 2)), 50);
        assert_eq!(let_through(&rates, &ada, "192.0.2.1", at(100 * SECOND)), 200);
        assert_eq!(rates.refused(), [4, 0]);
    }

    #[test]
    fn nobody_takes_the_leave_of_another() {
        let rates = RequestRates::new(100, 10);
        let nobody = Identity::anonymous(domain::AnonymousReads::Refused);
        assert_eq!(let_through(&rates, &named("ada"), "192.0.2.1", at(0)), 200);
        assert_eq!(let_through(&rates, &named("ada"), "192.0.2.2", at(0)), 0, "she is one from everywhere");
        assert_eq!(let_through(&rates, &named("token ada"), "192.0.2.1", at(0)), 200);
        assert_eq!(let_through(&rates, &nobody, "192.0.2.1", at(0)), 20);
        assert_eq!(let_through(&rates, &nobody, "192.0.2.2", at(0)), 20);
        assert_eq!(let_through(&rates, &nobody, "127.0.0.1", at(0)), 200, "this machine");
    }

    #[test]
    fn another_rate_holds_at_once_and_0_is_none() {
        let (rates, ada) = (RequestRates::new(10, 10), named("ada"));
        assert_eq!(let_through(&rates, &ada, "192.0.2.1", at(0)), 20);
        rates.set(0, 10);
        assert_eq!(let_through(&rates, &ada, "192.0.2.1", at(0)), 100_000);
        rates.set(1, 10);
        assert_eq!(let_through(&rates, &ada, "192.0.2.1", at(0)), 0);
        assert_eq!(let_through(&rates, &ada, "192.0.2.1", at(10 * SECOND)), 2);
    }

    #[test]
    fn however_many_ask_no_more_buckets_are_kept() {
        let mut buckets = Buckets::default();
        let one = SECOND / 10;
        // As many as there are, all of them in use.
        let all = BUCKETS as u64;
        for key in 0..2 * all {
            let _ = buckets.take(key, one, SECOND);
        }
        assert_eq!(buckets.full_at.len(), BUCKETS);
        assert!(buckets.take(all, one, SECOND).is_err(), "who came later shares one");
        assert_eq!(buckets.take(0, one, SECOND), Ok(()), "who was there before has their own");
        assert_eq!(buckets.take(all, one, 2 * SECOND), Ok(()), "and room is made again");
        assert_eq!(buckets.full_at.len(), 1);
    }
}
