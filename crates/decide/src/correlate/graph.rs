//! Who calls whom.

use std::collections::{BTreeMap, BTreeSet};

use domain::Snapshot;

/// Who calls whom, by name: services of ours, and what only spans tell of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Graph {
    callees: BTreeMap<String, BTreeSet<String>>,
    callers: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// What is declared, and what was seen of it.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut graph = Self::default();
        for (name, state) in &snapshot.services {
            state.dependencies.iter().for_each(|callee| graph.add(name.as_str(), callee.as_str()));
        }
        for link in snapshot.links.keys().chain(snapshot.traces.links.keys()) {
            if link.from.as_str() != domain::LinkName::OUTSIDE {
                graph.add(link.from.as_str(), link.to.as_str());
            }
        }
        graph
    }

    /// Adds that one calls the other; who calls itself says nothing of others.
    pub fn add(&mut self, caller: &str, callee: &str) {
        if caller != callee {
            self.callees.entry(caller.to_owned()).or_default().insert(callee.to_owned());
            self.callers.entry(callee.to_owned()).or_default().insert(caller.to_owned());
        }
    }

    /// Whom a service calls directly.
    pub fn callees(&self, service: &str) -> impl Iterator<Item = &str> {
        self.callees.get(service).into_iter().flatten().map(String::as_str)
    }

    /// Who calls a service directly.
    pub fn callers(&self, service: &str) -> impl Iterator<Item = &str> {
        self.callers.get(service).into_iter().flatten().map(String::as_str)
    }

    /// Every service that is called by somebody.
    pub(crate) fn called(&self) -> impl Iterator<Item = &str> {
        self.callers.keys().map(String::as_str)
    }

    /// Whether one of the two calls the other.
    pub(crate) fn are_neighbours(&self, a: &str, b: &str) -> bool {
        let calls = |from: &str, to: &str| self.callees.get(from).is_some_and(|callees| callees.contains(to));
        calls(a, b) || calls(b, a)
    }

    /// A service and everybody whose requests reach it, directly or through others.
    pub(crate) fn affected_by(&self, service: &str) -> BTreeSet<String> {
        reach(&self.callers, &BTreeSet::from([service])).into_keys().map(str::to_owned).collect()
    }

    /// Everybody whom the services need, with how many calls away the nearest of them is; themselves 0.
    pub(crate) fn distances<'a>(&'a self, services: &BTreeSet<&'a str>) -> BTreeMap<&'a str, usize> {
        reach(&self.callees, services)
    }

    /// A service, whom it needs and who needs it.
    pub(crate) fn related<'a>(&'a self, service: &'a str) -> BTreeSet<&'a str> {
        let from = BTreeSet::from([service]);
        reach(&self.callees, &from).into_keys().chain(reach(&self.callers, &from).into_keys()).collect()
    }
}

/// Breadth first.
fn reach<'a>(
    edges: &'a BTreeMap<String, BTreeSet<String>>,
    from: &BTreeSet<&'a str>,
) -> BTreeMap<&'a str, usize> {
    let mut reached: BTreeMap<&str, usize> = from.iter().map(|service| (*service, 0)).collect();
    let mut open: Vec<&str> = from.iter().copied().collect();
    let mut distance = 0;
    while !open.is_empty() {
        distance += 1;
        let next: BTreeSet<&str> =
            open.iter().filter_map(|service| edges.get(*service)).flatten().map(String::as_str).collect();
        open = next.into_iter().filter(|service| !reached.contains_key(service)).collect();
        reached.extend(open.iter().map(|service| (*service, distance)));
    }
    reached
}
