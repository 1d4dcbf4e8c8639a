//! How often somebody may try to sign in: a delay that grows with what was wrong, and never a lock.
//!
//! In: a name, an address and a time. Out: leave to try, or how long to wait. Three things are counted:
//!
//! - an account from an address: 3 free, then 1, 2, 4 … s, up to 5 minutes;
//! - an address, whatever account it tries: 20 free, up to 15 minutes; loopback is spared, for everybody here shares it;
//! - an account from all addresses it did not sign in from before: 20 free, up to 1 minute, so that many machines together
//!   guess little, and its owner, whose address is known, is not held up by them.
//!
//! An attempt is counted before it is judged, so that many at once are no way around, and taken back where nothing was wrong.
//! What comes during a delay is refused unjudged and prolongs nothing. Names that nobody has are counted alike. All of it is
//! forgotten an hour after the last failure, and with the process.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use domain::Time;
use store::Hash;

use super::secret::hash;

/// Failures are forgotten after this.
const MEMORY: Duration = Duration::from_secs(3600);

/// More accounts and addresses than this are not counted at a time: the oldest are forgotten. About 1 MiB.
const ENTRIES_MAX: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// An account from an address.
    Pair([u8; 32], IpAddr),
    /// An address.
    Address(IpAddr),
    /// An account from addresses that are not known.
    Account([u8; 32]),
}

impl Key {
    /// Failures before there is a delay, and the longest delay in seconds.
    fn bounds(&self) -> (u32, u64) {
        match self {
            Self::Pair(..) => (3, 300),
            Self::Address(_) => (20, 900),
            Self::Account(_) => (20, 60),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Count {
    failures: u32,
    last: Time,
    until: Time,
}

/// What was tried lately.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    counts: HashMap<Key, Count>,
    known: HashSet<([u8; 32], IpAddr)>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Somebody signed in.
    SignedIn,
    /// It was not judged, or nothing was wrong and something is missing.
    Open,
}

impl Attempts {
    /// Counts an attempt, or says how many seconds to wait.
    pub(super) fn begin(&mut self, name: &str, address: IpAddr, now: Time) -> Result<(), u64> {
        let keys = self.keys(name, address);
        let wait = keys
            .iter()
            .filter_map(|key| self.counts.get(key))
            .filter(|count| !now.reached(count.until))
            .map(|count| count.until.since(now))
            .max();
        if let Some(wait) = wait {
            return Err(wait.as_secs() + 1);
        }
        self.make_room(now);
        for key in keys {
            let (free, most) = key.bounds();
            let count = self.counts.entry(key).or_insert(Count { failures: 0, last: now, until: now });
            if now.since(count.last) > MEMORY {
                count.failures = 0;
            }
            count.failures = count.failures.saturating_add(1);
            count.last = now;
            count.until = now.plus(delay(count.failures, free, most));
        }
        Ok(())
    }

    /// Takes back what [`Attempts::begin`] counted, where the attempt was not wrong.
    pub(super) fn end(&mut self, name: &str, address: IpAddr, ended: Ended, now: Time) {
        for key in self.keys(name, address) {
            if let Some(count) = self.counts.get_mut(&key) {
                count.failures -= count.failures.min(1);
                count.until = now;
            }
        }
        if ended == Ended::SignedIn {
            let (account, source) = (hash(name).0, source_of(address));
            self.counts.remove(&Key::Pair(account, source));
            if self.known.len() >= ENTRIES_MAX {
                self.known.clear();
            }
            self.known.insert((account, source));
        }
    }

    fn keys(&self, name: &str, address: IpAddr) -> Vec<Key> {
        let (Hash(account), source) = (hash(name), source_of(address));
        let mut keys = vec![Key::Pair(account, source)];
        if !source.is_loopback() {
            keys.push(Key::Address(source));
        }
        if !self.known.contains(&(account, source)) {
            keys.push(Key::Account(account));
        }
        keys
    }

    fn make_room(&mut self, now: Time) {
        if self.counts.len() < ENTRIES_MAX {
            return;
        }
        self.counts.retain(|_, count| now.since(count.last) <= MEMORY);
        if self.counts.len() < ENTRIES_MAX {
            return;
        }
        // Half of them at once, so that a flood of names costs a look at all of them seldom.
        let mut times: Vec<Time> = self.counts.values().map(|count| count.last).collect();
        times.sort_unstable();
        let middle = times[times.len() / 2];
        self.counts.retain(|_, count| count.last > middle);
    }
}

fn delay(failures: u32, free: u32, most: u64) -> Duration {
    match failures.checked_sub(free + 1) {
        None => Duration::ZERO,
        Some(doublings) => Duration::from_secs(1u64.checked_shl(doublings).unwrap_or(most).min(most)),
    }
}

/// An address as it is counted: a whole /64 of IPv6, which one machine has to itself.
pub(crate) fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time { boot_us: 1_000_000_000, wall_us: 1_000_000_000 };

    fn at(seconds: u64) -> Time {
        START.plus(Duration::from_secs(seconds))
    }

    fn from(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_delay_doubles_after_three_and_is_bounded() {
        let mut attempts = Attempts::default();
        let here = from("127.0.0.1");
        for _ in 0..3 {
            assert_eq!(attempts.begin("ada", here, at(0)), Ok(()));
        }
        let (mut now, mut waits) = (START, Vec::new());
        for _ in 0..11 {
            assert_eq!(attempts.begin("ada", here, now), Ok(()));
            let wait = attempts.begin("ada", here, now).unwrap_err() - 1;
            waits.push(wait);
            now = now.plus(Duration::from_secs(wait));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn what_comes_during_a_delay_prolongs_nothing_and_success_clears_it() {
        let mut attempts = Attempts::default();
        let here = from("127.0.0.1");
        for _ in 0..4 {
            attempts.begin("ada", here, at(0)).unwrap();
        }
        for _ in 0..1000 {
            assert_eq!(attempts.begin("ada", here, at(0)), Err(2));
        }
        assert_eq!(attempts.begin("ada", here, at(1)), Ok(()));
        attempts.end("ada", here, Ended::SignedIn, at(1));
        for _ in 0..3 {
            assert_eq!(attempts.begin("ada", here, at(1)), Ok(()), "three are free again");
        }
    }

    #[test]
    fn others_do_not_hold_up_who_signed_in_from_an_address_before() {
        let mut attempts = Attempts::default();
        let home = from("192.0.2.1");
        attempts.begin("ada", home, at(0)).unwrap();
        attempts.end("ada", home, Ended::SignedIn, at(0));
        let mut refused = 0;
        for machine in 0..200u32 {
            let address = IpAddr::from([198, 51, 100, machine as u8]);
            refused += u32::from(attempts.begin("ada", address, at(1)).is_err());
        }
        assert!(refused >= 179, "{refused} of 200 machines were refused");
        assert_eq!(attempts.begin("ada", home, at(1)), Ok(()));
    }

    #[test]
    fn one_address_that_tries_many_names_is_slowed_down_and_a_64_is_one_address() {
        let mut attempts = Attempts::default();
        let tried = (0..100u32)
            .filter(|n| attempts.begin(&format!("u{n}"), from(&format!("2001:db8::{n:x}")), at(0)).is_ok())
            .count();
        assert_eq!(tried, 21);
        assert_eq!(attempts.begin("ada", from("2001:db8:1::1"), at(0)), Ok(()));
    }

    #[test]
    fn a_flood_of_names_takes_bounded_room() {
        let mut attempts = Attempts::default();
        for n in 0..30_000u64 {
            let _ = attempts.begin(&format!("u{n}"), from("127.0.0.1"), START.plus(Duration::from_micros(n)));
        }
        assert!(attempts.counts.len() <= ENTRIES_MAX + 2);
    }
}
