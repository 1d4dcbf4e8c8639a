//! What accumulates, watched over time: memory of instances, bytes on their volumes.
//!
//! In: samples, as they come. Out: the same samples with how fast each of these grows ([`decide::trend::growth`]), where it
//! does steadily. A process that is started anew begins anew; so does everything with the control plane.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use decide::trend::growth;
use domain::snapshot::Usage;
use domain::{Growth, Incarnation, InstanceName, Time};
use provider::sample::Sample;

/// How far ahead is looked, and what has to be watched for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foresight {
    /// So long at most is a growth watched, and so carried on.
    pub horizon: Duration,
    /// Nothing is told of less.
    pub watched_min: Duration,
}

/// Values kept in the shortest window: its ends, and enough in between for the order of all pairs to say something.
const VALUES: u32 = 30;

/// Of so many instances at most one look works out how they grow: that takes up to half a millisecond each, and the look
/// may be one that a crash waits for.
const INSTANCES_A_LOOK: usize = 4;

/// What was used, by the time on the boot clock in seconds.
#[derive(Debug, Default)]
struct Watched {
    values: VecDeque<(f64, f64)>,
    grows: Option<Growth>,
}

impl Watched {
    fn note(&mut self, at: f64, value: f64, horizon: Duration) {
        self.values.push_back((at, value));
        let kept = |from: &(f64, f64)| from.0 >= at - horizon.as_secs_f64();
        while self.values.front().is_some_and(|oldest| !kept(oldest)) {
            self.values.pop_front();
        }
    }

    fn work_out(&mut self, watched_min: Duration) {
        self.grows = growth(self.values.make_contiguous(), watched_min);
    }
}

/// What is watched of one instance.
#[derive(Debug, Default)]
struct Instance {
    incarnation: Option<Incarnation>,
    memory: Watched,
    disk: Watched,
}

/// Everything that is watched.
#[derive(Debug)]
pub(crate) struct Accumulation {
    foresight: Foresight,
    noted: Option<Time>,
    instances: BTreeMap<InstanceName, Instance>,
    /// Whose growth is to be worked out.
    waiting: VecDeque<InstanceName>,
}

impl Accumulation {
    pub(crate) fn new(foresight: Foresight) -> Self {
        Self { foresight, noted: None, instances: BTreeMap::new(), waiting: VecDeque::new() }
    }

    /// Notes what a sample says, where it is time to, and writes into it how everything grows.
    pub(crate) fn tell(&mut self, sample: &mut Sample) {
        // A tenth less: looks come a little early or late.
        let every = self.foresight.watched_min.mul_f64(0.9) / VALUES;
        let due = self.noted.is_none_or(|noted| sample.taken.since(noted) >= every);
        if due {
            self.noted = Some(sample.taken);
            let there = |name: &InstanceName| {
                sample.services.get(&name.service).is_some_and(|it| it.instances.contains_key(name))
            };
            self.instances.retain(|name, _| there(name));
        }
        let Foresight { horizon, watched_min } = self.foresight;
        let at = sample.taken.boot_us as f64 / 1e6;
        let states = sample.services.values_mut().flat_map(|service| &mut service.instances);
        for (name, state) in states {
            let instance = self.instances.entry(name.clone()).or_default();
            if instance.incarnation != state.incarnation {
                instance.incarnation.clone_from(&state.incarnation);
                instance.memory = Watched::default();
            }
            if due {
                let Usage { memory, disk_used, .. } = state.usage;
                for (watched, used) in [(&mut instance.memory, memory), (&mut instance.disk, disk_used)] {
                    if let Some(used) = used {
                        watched.note(at, used.0 as f64, horizon);
                    }
                }
            }
        }
        if due && self.waiting.is_empty() {
            self.waiting.extend(self.instances.keys().cloned());
        }
        for name in self.waiting.drain(..self.waiting.len().min(INSTANCES_A_LOOK)) {
            let Some(instance) = self.instances.get_mut(&name) else { continue };
            instance.memory.work_out(watched_min);
            instance.disk.work_out(watched_min);
        }
        let states = sample.services.values_mut().flat_map(|service| &mut service.instances);
        for (name, state) in states {
            let Some(instance) = self.instances.get(name) else { continue };
            state.usage.memory_growth = instance.memory.grows;
            state.usage.disk_growth = instance.disk.grows;
        }
    }
}

#[cfg(test)]
mod tests {
    use decide::fixture::Fleet;
    use domain::{Bytes, InstanceState};

    use super::*;

    const FORESIGHT: Foresight =
        Foresight { horizon: Duration::from_secs(120), watched_min: Duration::from_secs(30) };

    fn cart(sample: &mut Sample) -> &mut InstanceState {
        let cart = sample.services.values_mut().flat_map(|service| &mut service.instances);
        cart.into_iter().find(|(name, _)| name.to_string() == "cart-0").expect("a cart runs").1
    }

    /// What is told of a cart's memory and volume at a second, where it uses so many bytes of both.
    fn told(
        watched: &mut Accumulation,
        second: u64,
        used: u64,
        pid: u32,
    ) -> (Option<Growth>, Option<Growth>) {
        let snapshot = Fleet::healthy().snapshot;
        let mut sample = Sample {
            taken: Time { boot_us: second * 1_000_000, wall_us: 0 },
            fleet_age: snapshot.fleet_age,
            infrastructure: None,
            environment: snapshot.environment,
            services: snapshot.services,
            links: BTreeMap::new(),
            unbound: Vec::new(),
        };
        let state = cart(&mut sample);
        state.incarnation.as_mut().expect("it runs").pid = pid;
        state.usage.memory = Some(Bytes(used));
        state.usage.disk_used = Some(Bytes(used));
        watched.tell(&mut sample);
        let usage = cart(&mut sample).usage;
        (usage.memory_growth, usage.disk_growth)
    }

    #[test]
    fn what_fills_up_is_told_once_it_was_watched_for_long_enough() {
        let mut watched = Accumulation::new(FORESIGHT);
        let mut early = (0..30).map(|second| told(&mut watched, second, 1_000_000 + second * 5000, 7));
        assert!(early.all(|told| told == (None, None)));
        // Not every instance is worked out at every look.
        let later = (30..40).map(|second| told(&mut watched, second, 1_000_000 + second * 5000, 7));
        let (memory, disk) = later.last().unwrap();
        let memory = memory.unwrap();
        assert!((4900.0..5100.0).contains(&memory.per_second), "{memory:?}");
        assert_eq!(Some(memory), disk);
    }

    #[test]
    fn a_process_that_was_started_anew_begins_anew_and_its_volume_goes_on() {
        let mut watched = Accumulation::new(FORESIGHT);
        for second in 0..60 {
            told(&mut watched, second, 1_000_000 + second * 5000, 7);
        }
        let (memory, disk) = told(&mut watched, 60, 1_300_000, 8);
        assert_eq!(memory, None);
        assert!(disk.is_some());
    }

    #[test]
    fn no_more_is_kept_than_the_horizon_and_nothing_of_what_is_gone() {
        let mut watched = Accumulation::new(FORESIGHT);
        for second in 0..1000 {
            told(&mut watched, second, 1_000_000, 7);
        }
        assert!(watched.instances.values().all(|instance| instance.memory.values.len() <= 121));
        let mut nothing = Sample {
            taken: Time { boot_us: 2_000_000_000, wall_us: 0 },
            fleet_age: Duration::from_secs(60),
            infrastructure: None,
            environment: domain::Environment::Dev,
            services: BTreeMap::new(),
            links: BTreeMap::new(),
            unbound: Vec::new(),
        };
        watched.tell(&mut nothing);
        assert!(watched.instances.is_empty());
    }
}
