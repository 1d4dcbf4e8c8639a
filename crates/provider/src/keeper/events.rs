//! The events of the last while, counted without gaps, and the bell that wakes who waits for the next.

use std::collections::VecDeque;
use std::rc::Rc;

use domain::{Event, EventKind, ResourceId, Time};
use tokio::sync::Notify;

/// Events kept; at ten a second this is more than the 30 s scan can miss.
const KEPT: usize = 1000;

/// The latest events.
pub(super) struct Events {
    ring: VecDeque<Event>,
    last: u64,
    bell: Rc<Notify>,
}

impl Events {
    /// None yet; the next one gets the number after `last`.
    pub(super) fn after_restart(last: u64) -> Self {
        Self { ring: VecDeque::new(), last, bell: Rc::new(Notify::new()) }
    }

    /// Adds one and rings.
    pub(super) fn add(&mut self, at: Time, resource: ResourceId, kind: EventKind) {
        self.last += 1;
        self.ring.push_back(Event { sequence: self.last, at, resource, kind });
        if self.ring.len() > KEPT {
            self.ring.pop_front();
        }
        self.bell.notify_waiters();
    }

    /// Those after `sequence`. A number that was never given out comes from before a loss of the table;
    /// all that is kept is new to who names it.
    pub(super) fn since(&self, sequence: u64) -> Vec<Event> {
        let known = if sequence > self.last { 0 } else { sequence };
        self.ring.iter().filter(|event| event.sequence > known).cloned().collect()
    }

    /// The number of the last one.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Rings at the next event.
    pub(super) fn bell(&self) -> Rc<Notify> {
        Rc::clone(&self.bell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_after_a_restart_and_the_oldest_are_forgotten() {
        let now = Time { boot_us: 0, wall_us: 0 };
        let resource: ResourceId = "instance/cart-0".parse().unwrap();
        let mut events = Events::after_restart(7);
        for _ in 0..KEPT + 5 {
            events.add(now, resource.clone(), EventKind::Exited);
        }
        assert_eq!(events.since(8 + 5 + 100).len(), KEPT - 101);
        assert_eq!(events.since(0).first().map(|event| event.sequence), Some(7 + 5 + 1));
        assert_eq!(events.since(99_999).len(), KEPT, "a number from another life");
    }
}
