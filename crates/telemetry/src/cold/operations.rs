//! Which operations have spans in a row group: what a search asks before it looks into any page.
//!
//! In: a tally for each service, name and kind. Out: the same, few enough to be kept in memory for as long as the unit
//! is there. A name with an id in it must not grow us with every span: the rarest names of a service are counted
//! together, as spans of any name.

use std::collections::BTreeMap;

/// Names of one service that are counted each for itself: as many as have series of their own.
const OF_SERVICE_MAX: usize = 200;

/// The same of all services together, but for one of each service. What is kept in memory for 131,072 rows stays below
/// 300 KiB with names of common length.
const ALL_MAX: usize = 2000;

/// A longer name has an id in it, or is none.
const NAME_BYTES_MAX: usize = 256;

/// What is known about the spans of one operation in a row group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub(super) count: u64,
    pub(super) errors: u64,
    pub(super) duration_max: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        // What comes from a file may say anything.
        self.count = self.count.saturating_add(other.count);
        self.errors = self.errors.saturating_add(other.errors);
        self.duration_max = self.duration_max.max(other.duration_max);
    }
}

/// A service's operation in a row group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OperationTally {
    pub(super) service: String,
    /// None: any name that has no tally of its own.
    pub(super) name: Option<String>,
    pub(super) kind: u8,
    pub(super) tally: Tally,
}

impl OperationTally {
    /// Whether it may have spans with this name.
    pub(super) fn may_be_called(&self, name: &str) -> bool {
        self.name.as_deref().is_none_or(|known| known == name)
    }

    fn nameless(&self) -> bool {
        self.name.as_ref().is_none_or(|name| name.len() > NAME_BYTES_MAX)
    }
}

/// At most so many, those with most spans of each service; the others of a service and kind together.
pub(super) fn bounded(mut all: Vec<OperationTally>) -> Vec<OperationTally> {
    all.sort_by(|a, b| {
        let by_service = a.service.cmp(&b.service).then(a.nameless().cmp(&b.nameless()));
        let by_count = by_service.then(b.tally.count.cmp(&a.tally.count));
        by_count.then_with(|| (&a.name, a.kind).cmp(&(&b.name, b.kind)))
    });
    // Each service gets its first, then each its second, for as long as there is room: a service with ever new names
    // takes none from the others.
    let mut of_rank = [0; OF_SERVICE_MAX];
    for of_service in all.chunk_by(|a, b| a.service == b.service) {
        let named = of_service.iter().filter(|operation| !operation.nameless()).count();
        of_rank.iter_mut().take(named).for_each(|operations| *operations += 1);
    }
    let fits = of_rank.iter().scan(0, |sum, operations| {
        *sum += operations;
        Some(*sum <= ALL_MAX)
    });
    let ranks = fits.take_while(|&fits| fits).count().max(1);
    let mut kept = Vec::new();
    for of_service in all.chunk_by(|a, b| a.service == b.service) {
        let mut others: BTreeMap<u8, Tally> = BTreeMap::new();
        for (rank, operation) in of_service.iter().enumerate() {
            if rank < ranks && !operation.nameless() {
                kept.push(operation.clone());
            } else {
                others.entry(operation.kind).or_default().add(operation.tally);
            }
        }
        let service = &of_service[0].service;
        kept.extend(others.into_iter().map(|(kind, tally)| OperationTally {
            service: service.clone(),
            name: None,
            kind,
            tally,
        }));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(service: &str, name: &str, count: u64) -> OperationTally {
        let tally = Tally { count, errors: count / 2, duration_max: count * 10 };
        OperationTally { service: service.to_owned(), name: Some(name.to_owned()), kind: 2, tally }
    }

    #[test]
    fn few_operations_are_all_counted_each_for_itself() {
        let all: Vec<_> = (1..=200).map(|n| operation("cart", &format!("GET /{n}"), n)).collect();
        let mut found = bounded(all.clone());
        found.sort_by_key(|operation| operation.tally.count);
        assert_eq!(found, all);
    }

    #[test]
    fn the_rarest_names_of_a_service_are_counted_together() {
        let mut all: Vec<_> = (0..1000).map(|n| operation("cart", &format!("GET /order/{n}"), 2)).collect();
        all.push(operation("cart", "GET /", 100));
        all.push(operation("cart", &"x".repeat(257), 50));
        all.push(operation("front", "GET /", 1));
        let found = bounded(all);
        assert_eq!(found.len(), OF_SERVICE_MAX + 1 + 1);
        assert!(
            found.contains(&operation("cart", "GET /", 100))
                && found.contains(&operation("front", "GET /", 1))
        );
        let others = found.iter().find(|operation| operation.name.is_none()).expect("the others");
        let count = 2 * (1000 - (OF_SERVICE_MAX as u64 - 1)) + 50;
        assert_eq!(others.tally, Tally { count, errors: count / 2, duration_max: 500 });
        assert!(others.may_be_called("GET /order/7"));
        assert_eq!(bounded(found.clone()), found, "what is read again stays as it was");
    }

    #[test]
    fn a_service_with_ever_new_names_takes_none_from_the_others() {
        let of = |service: u64| {
            let names = if service == 0 { 50_000 } else { 30 };
            (0..names).map(move |n| operation(&format!("s{service}"), &format!("op {n}"), 1 + n % 7))
        };
        let found = bounded((0..40).flat_map(of).collect());
        let of = |service: &str| found.iter().filter(|operation| operation.service == service).count();
        assert!(found.len() <= ALL_MAX + 1, "{}", found.len());
        assert_eq!((of("s1"), of("s39")), (30, 30));
    }

    #[test]
    fn every_service_keeps_an_operation() {
        let found = bounded(
            (0..5000)
                .flat_map(|s| (0..3).map(move |n| operation(&format!("s{s}"), &format!("op {n}"), 1)))
                .collect(),
        );
        assert_eq!(found.iter().filter(|operation| operation.name.is_some()).count(), 5000);
    }
}
