//! Alerts that wait to be sent to one Alertmanager.

use std::collections::{BTreeMap, HashMap};

use promql::Labels;

use super::Notification;

/// Alerts that may wait.
pub(super) const WAITING_MAX: usize = 10_000;

/// Alerts of one request.
pub(super) const BATCH_MAX: usize = 64;

/// In the order they came, of each alert only the newest.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<u64, Notification>,
    /// Where an alert waits.
    places: HashMap<Labels, u64>,
    next: u64,
}

impl Queue {
    /// Puts one in; where too many wait the oldest goes. Answers how many were dropped.
    pub(super) fn put(&mut self, notification: Notification) -> u64 {
        if let Some(place) = self.places.remove(&notification.labels) {
            self.waiting.remove(&place);
        }
        let mut dropped = 0;
        while self.waiting.len() >= WAITING_MAX {
            let Some((_, oldest)) = self.waiting.pop_first() else { break };
            self.places.remove(&oldest.labels);
            dropped += 1;
        }
        self.places.insert(notification.labels.clone(), self.next);
        self.waiting.insert(self.next, notification);
        self.next += 1;
        dropped
    }

    /// The oldest, and by which place they are taken out when they were sent.
    pub(super) fn batch(&self) -> Vec<(u64, Notification)> {
        self.waiting.iter().take(BATCH_MAX).map(|(place, waiting)| (*place, waiting.clone())).collect()
    }

    /// Takes out what was sent, or given up. What came meanwhile stays.
    pub(super) fn done(&mut self, places: &[u64]) {
        for place in places {
            if let Some(done) = self.waiting.remove(place) {
                self.places.remove(&done.labels);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(name: &str, ends_at_ms: i64) -> Notification {
        Notification {
            labels: Labels::new([("alertname", name)]),
            annotations: BTreeMap::new(),
            starts_at_ms: 0,
            ends_at_ms,
            generator_url: "".into(),
        }
    }

    fn names(queue: &Queue) -> Vec<(String, i64)> {
        let batch = queue.batch();
        batch
            .iter()
            .map(|(_, waiting)| (waiting.labels.get("alertname").to_owned(), waiting.ends_at_ms))
            .collect()
    }

    #[test]
    fn of_an_alert_only_the_newest_waits() {
        let mut queue = Queue::default();
        for (name, ends) in [("a", 1), ("b", 1), ("a", 2)] {
            assert_eq!(queue.put(alert(name, ends)), 0);
        }
        assert_eq!(names(&queue), [("b".to_owned(), 1), ("a".to_owned(), 2)]);
    }

    #[test]
    fn what_came_while_it_was_sent_stays() {
        let mut queue = Queue::default();
        queue.put(alert("a", 1));
        let places: Vec<u64> = queue.batch().iter().map(|(place, _)| *place).collect();
        queue.put(alert("a", 2));
        queue.done(&places);
        assert_eq!(names(&queue), [("a".to_owned(), 2)]);
    }

    #[test]
    fn the_oldest_goes_where_too_many_wait() {
        let mut queue = Queue::default();
        let dropped: u64 = (0..WAITING_MAX + 3).map(|at| queue.put(alert(&at.to_string(), 1))).sum();
        assert_eq!((dropped, queue.len()), (3, WAITING_MAX));
        assert_eq!(names(&queue)[0].0, "3");
        assert_eq!(queue.places.len(), WAITING_MAX);
    }
}
