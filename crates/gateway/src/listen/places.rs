//! How many connections are open from each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use crate::access::source_of;
use crate::serve::lock;

/// Counts open connections by address.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    max: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One place, free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    of: IpAddr,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Places {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, open: Arc::default() }
    }

    /// `None` where the address has all it may have.
    pub(crate) fn take(&self, peer: IpAddr) -> Option<Place> {
        let of = source_of(peer);
        let mut open = lock(&self.open);
        let count = open.entry(of).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Place { of, open: Arc::clone(&self.open) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if let Some(count) = open.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_places_and_gives_them_back() {
        let places = Places::new(1);
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        let one = places.take(a).expect("the first");
        assert!(places.take(a).is_none() && places.take(b).is_some());
        drop(one);
        assert!(places.take(a).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_a_mapped_address_is_what_it_maps() {
        let same = |a: &str, b: &str| source_of(a.parse().unwrap()) == source_of(b.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
    }
}
