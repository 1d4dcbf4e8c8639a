//! The versions services say they are: `service.version` of their resources, as spans come in.
//!
//! In: the resources of each batch. Out: for each service the one version that all its spans of late carry; nothing
//! while two are seen side by side, as in a rollout, so that one change is one change.
//!
//! Times are those at which spans *came*, in seconds: what is told is when to look, not a measurement.
//!
//! Bounds: services, versions of one service, length of a version. What goes over is not looked at.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::otlp;

/// Services whose versions are kept.
const SERVICES_MAX: usize = 1_000;

/// Versions kept of one service: the newest.
const VERSIONS_MAX: usize = 8;

/// A longer name is no version of which another one could be told apart.
const LENGTH_MAX: usize = 128;

/// A version is told when no other one was seen for so long, in seconds: what a process that ended had yet to send has
/// come by then.
const ALONE_S: u32 = 5;

/// A version that was not seen for so long, in seconds, was away; with the next span it is there anew.
const AWAY_S: u32 = 60;

#[derive(Debug, Clone, PartialEq)]
struct Seen {
    version: String,
    since: u32,
    last: u32,
}

/// What is known of all services.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    by_service: HashMap<String, Vec<Seen>, RandomState>,
}

impl Versions {
    /// Notes what a resource says, `now` in seconds since 1970.
    pub(crate) fn see(&mut self, service: &str, resource: &[u8], now: u32) {
        let Some(version) = otlp::service_version(resource) else { return };
        if version.len() > LENGTH_MAX {
            return;
        }
        if !self.by_service.contains_key(service) {
            if self.by_service.len() >= SERVICES_MAX {
                return;
            }
            self.by_service.insert(service.to_owned(), Vec::new());
        }
        let Some(known) = self.by_service.get_mut(service) else { return };
        match known.iter_mut().find(|seen| seen.version == version) {
            Some(seen) => {
                if now.saturating_sub(seen.last) > AWAY_S {
                    seen.since = now;
                }
                seen.last = seen.last.max(now);
            }
            None => {
                if known.len() == VERSIONS_MAX {
                    let oldest = (0..known.len()).min_by_key(|&at| known[at].last).unwrap_or(0);
                    known.swap_remove(oldest);
                }
                known.push(Seen { version, since: now, last: now });
            }
        }
    }

    /// Service, version and since when it is seen, where all spans of late carry that one.
    pub(crate) fn told(&self, now: u32) -> Vec<(String, String, u32)> {
        let of_late = |seen: &&Seen| now.saturating_sub(seen.last) <= AWAY_S;
        let alone = |known: &[Seen]| {
            let newest = known.iter().filter(of_late).max_by_key(|seen| seen.last)?;
            let others = known.iter().filter(|seen| seen.version != newest.version);
            let quiet =
                others.map(|other| newest.last.saturating_sub(other.last)).all(|since| since >= ALONE_S);
            quiet.then(|| newest.clone())
        };
        let told = self.by_service.iter().filter_map(|(service, known)| {
            let seen = alone(known)?;
            Some((service.clone(), seen.version, seen.since))
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Message, text};

    fn resource(version: &str) -> Vec<u8> {
        Message::new().message(1, text("service.version", version)).0
    }

    fn told(versions: &Versions, now: u32) -> Vec<(String, u32)> {
        versions.told(now).into_iter().map(|(_, version, since)| (version, since)).collect()
    }

    #[test]
    fn a_rollout_is_one_change_and_is_told_when_the_old_version_is_gone() {
        let mut versions = Versions::default();
        for second in 0..100 {
            versions.see("cart", &resource("1"), second);
        }
        assert_eq!(told(&versions, 100), [("1".to_owned(), 0)]);
        for second in 100..110 {
            versions.see("cart", &resource(if second % 2 == 0 { "2" } else { "1" }), second);
        }
        assert_eq!(told(&versions, 110), [], "both are seen");
        for second in 110..120 {
            versions.see("cart", &resource("2"), second);
        }
        assert_eq!(told(&versions, 120), [("2".to_owned(), 100)]);
        // And back, long after.
        for second in 300..310 {
            versions.see("cart", &resource("1"), second);
        }
        assert_eq!(told(&versions, 310), [("1".to_owned(), 300)]);
        assert_eq!(told(&versions, 400), [], "nothing came of late");
    }

    #[test]
    fn what_a_sender_decides_is_bounded() {
        let mut versions = Versions::default();
        for n in 0..2 * SERVICES_MAX {
            versions.see(&format!("s{n}"), &resource("1"), 1);
        }
        for n in 0..100 {
            versions.see("s0", &resource(&n.to_string()), 2);
        }
        versions.see("s0", &resource(&"x".repeat(LENGTH_MAX + 1)), 3);
        versions.see("s0", b"\xff\xff", 3);
        assert_eq!(versions.by_service.len(), SERVICES_MAX);
        assert_eq!(versions.by_service["s0"].len(), VERSIONS_MAX);
    }
}
