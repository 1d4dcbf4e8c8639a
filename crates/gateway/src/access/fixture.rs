//! Access over a store in memory and a clock that is moved by hand.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::{Clock, Time};
use store::Store;

use super::{Access, AccessConfig, SealingKey};

/// A clock that stands still until it is moved.
pub(crate) struct HandClock(Mutex<Time>);

impl Clock for HandClock {
    fn now(&self) -> Time {
        *crate::serve::lock(&self.0)
    }

    fn wait(&self, duration: Duration) {
        let mut now = crate::serve::lock(&self.0);
        *now = now.plus(duration);
    }
}

/// The beginning.
pub(crate) const START: Time = Time { boot_us: 3_600_000_000, wall_us: 1_767_225_600_000_000 };

/// With this token of the data directory, and the clock it goes by.
///
/// # Panics
///
/// Where no database can be had in memory.
pub(crate) fn access(local_token: &str) -> (Access, Arc<HandClock>) {
    let store = Store::in_memory().expect("a database in memory");
    over(store, local_token)
}

/// As [`access`], over a store.
pub(crate) fn over(store: Store, local_token: &str) -> (Access, Arc<HandClock>) {
    let clock = Arc::new(HandClock(Mutex::new(START)));
    let config = AccessConfig { key: Some(key()), ..AccessConfig::default() };
    (Access::new(store, clock.clone(), local_token, config), clock)
}

/// What it seals with.
pub(crate) fn key() -> SealingKey {
    SealingKey::new(&[7; 32])
}
