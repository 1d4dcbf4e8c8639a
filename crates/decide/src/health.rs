//! The health score (SPEC H7, H12): a snapshot and the open issues in, one document out.
//!
//! ```text
//! resource   100 − 60 / 35 / 15 / 5 for its worst open critical / high / medium / low issue
//! component  the mean over its resources, weighted by 1 + dependents
//! overall    compute 0.30, network 0.20, storage 0.15, database 0.20, security 0.15,
//!            over the components that are known
//! ```
//!
//! Scores are whole numbers, rounded down, so that 100 means that nothing is open.
//!
//! # What belongs where
//!
//! Instances are compute, links network, volumes storage. A service is a database where one of the words of
//! its name (between dashes) is `database` or `db`, such as `orders-db`: its instances and volumes count as
//! database. Security has no engine yet and is unknown.
//!
//! # What is unknown
//!
//! A resource that was not measured counts for nothing, and lowers the coverage: an instance whose phase the
//! provider cannot tell, a volume without a reading, a link without requests. If an issue is open on it all
//! the same, it counts where that lowers a score and never where it would raise one; so an issue more, or a
//! worse one, never makes a score rise. A component of which nothing is known is `None`.
//!
//! A burning error budget (`slo_burn`) takes no points: the score says how the fleet is now, and a budget remembers for
//! minutes to days what is over. What burns it has an issue of its own while it lasts.

use std::collections::BTreeMap;
use std::fmt;

use domain::snapshot::Phase;
use domain::{Issue, IssueKind, ResourceId, ServiceName, Severity, Snapshot};
use serde::{Deserialize, Serialize};

/// A part of the fleet with a score of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// Instances.
    Compute,
    /// Links.
    Network,
    /// Volumes.
    Storage,
    /// Instances and volumes of databases.
    Database,
    /// Certificates, known weaknesses.
    Security,
}

impl Component {
    /// Every component, in the specification's order.
    pub const ALL: [Self; 5] = [Self::Compute, Self::Network, Self::Storage, Self::Database, Self::Security];

    /// Its share in the overall score, in percent.
    pub fn weight(self) -> u64 {
        match self {
            Self::Compute => 30,
            Self::Network => 20,
            Self::Storage => 15,
            Self::Database => 20,
            Self::Security => 15,
        }
    }

    /// The name in the API, the CLI and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Network => "network",
            Self::Storage => "storage",
            Self::Database => "database",
            Self::Security => "security",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How a component is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComponentState {
    /// Nothing is open.
    Healthy,
    /// Something is open; 70 or more.
    Degraded,
    /// Below 70.
    Critical,
    /// Every resource has a critical issue: 40.
    Failed,
    /// Something is open, and all of it looked well the last time.
    Recovering,
}

/// The score of one component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComponentHealth {
    /// 40 to 100; `None` where nothing is known.
    pub score: Option<u8>,
    /// `None` where nothing is known.
    pub state: Option<ComponentState>,
    /// Open issues on its resources.
    pub open_issues: u32,
    /// Resources that were measured.
    pub measured: u32,
    /// Resources that there are.
    pub resources: u32,
}

/// How the fleet is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// 40 to 100; `None` where nothing is known.
    pub overall: Option<u8>,
    /// Instances.
    pub compute: Option<u8>,
    /// Links.
    pub network: Option<u8>,
    /// Volumes.
    pub storage: Option<u8>,
    /// Instances and volumes of databases.
    pub database: Option<u8>,
    /// Certificates, known weaknesses.
    pub security: Option<u8>,
    /// The share of the formula's weight that was measured, 0 to 1: each component's weight times the share
    /// of its resources that were measured, weighted as in the score.
    pub coverage: f64,
    /// The same scores with what they are made of.
    pub components: BTreeMap<Component, ComponentHealth>,
}

/// One resource in a component's mean.
struct Scored {
    component: Component,
    weight: u64,
    /// 40 to 100.
    score: u64,
    standing: Standing,
}

/// How much is known of a resource.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Measured,
    /// Not measured, but an issue is open.
    Suspected,
    Unmeasured,
}

/// The health of a fleet with these issues open.
pub fn health(snapshot: &Snapshot, open: &[Issue]) -> Health {
    let counts = |issue: &&Issue| issue.closed_at.is_none() && issue.kind != IssueKind::SloBurn;
    let open: Vec<&Issue> = open.iter().filter(counts).collect();
    let scored = score_resources(snapshot, &open);
    let components: BTreeMap<Component, ComponentHealth> = Component::ALL
        .into_iter()
        .map(|component| (component, component_health(component, &scored, &open)))
        .collect();
    let score = |component: Component| components[&component].score;
    let overall = mean(components.iter().filter_map(|(component, health)| {
        let standing = if health.measured > 0 { Standing::Measured } else { Standing::Suspected };
        Some((u64::from(health.score?), component.weight(), standing))
    }));
    Health {
        overall,
        compute: score(Component::Compute),
        network: score(Component::Network),
        storage: score(Component::Storage),
        database: score(Component::Database),
        security: score(Component::Security),
        coverage: Component::ALL.into_iter().map(|component| coverage(component, &scored)).sum(),
        components,
    }
}

fn component_health(component: Component, scored: &[Scored], open: &[&Issue]) -> ComponentHealth {
    let within = || scored.iter().filter(|resource| resource.component == component);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let issues: Vec<&&Issue> =
        open.iter().filter(|issue| component_of(&issue.resource) == component).collect();
    let score = mean(within().map(|resource| (resource.score, resource.weight, resource.standing)));
    let recovering = !issues.is_empty() && issues.iter().all(|issue| issue.is_recovering());
    let state = score.map(|score| match score {
        _ if recovering => ComponentState::Recovering,
        _ if issues.is_empty() => ComponentState::Healthy,
        ..=40 => ComponentState::Failed,
        41..70 => ComponentState::Critical,
        _ => ComponentState::Degraded,
    });
    ComponentHealth {
        score,
        state,
        open_issues: count(issues.len()),
        measured: count(within().filter(|resource| resource.standing == Standing::Measured).count()),
        resources: count(within().count()),
    }
}

/// Every resource of the snapshot, and every other one that has an open issue.
fn score_resources(snapshot: &Snapshot, open: &[&Issue]) -> Vec<Scored> {
    let mut known: BTreeMap<ResourceId, Standing> = snapshot
        .resources()
        .map(|resource| {
            let standing =
                if measured(&resource, snapshot) { Standing::Measured } else { Standing::Unmeasured };
            (resource, standing)
        })
        .collect();
    for issue in open {
        let standing = known.entry(issue.resource.clone()).or_insert(Standing::Unmeasured);
        if *standing == Standing::Unmeasured {
            *standing = Standing::Suspected;
        }
    }
    let score = |(resource, standing): (ResourceId, Standing)| {
        let worst = open.iter().filter(|issue| issue.resource == resource).map(|issue| issue.severity).max();
        Scored {
            component: component_of(&resource),
            weight: 1 + snapshot.reached_by(&resource) as u64,
            score: 100 - worst.map_or(0, points_lost),
            standing,
        }
    };
    known.into_iter().map(score).collect()
}

fn points_lost(severity: Severity) -> u64 {
    match severity {
        Severity::Critical => 60,
        Severity::High => 35,
        Severity::Medium => 15,
        Severity::Low => 5,
    }
}

/// The component a resource counts in.
pub(crate) fn component_of(resource: &ResourceId) -> Component {
    match resource {
        ResourceId::Link(_) => Component::Network,
        ResourceId::Node(_) | ResourceId::Infrastructure(_) => Component::Compute,
        ResourceId::Service(service) if is_database(service) => Component::Database,
        ResourceId::Instance(name) | ResourceId::Volume(name) if is_database(&name.service) => {
            Component::Database
        }
        ResourceId::Volume(_) => Component::Storage,
        ResourceId::Service(_) | ResourceId::Instance(_) => Component::Compute,
    }
}

fn is_database(service: &ServiceName) -> bool {
    service.as_str().split('-').any(|word| matches!(word, "database" | "db"))
}

fn measured(resource: &ResourceId, snapshot: &Snapshot) -> bool {
    match resource {
        ResourceId::Instance(name) => {
            snapshot.instance(name).is_some_and(|state| state.phase != Phase::Unknown)
        }
        ResourceId::Volume(name) => {
            snapshot.instance(name).is_some_and(|state| state.usage.disk_used.is_some())
        }
        ResourceId::Link(name) => {
            snapshot.links.get(name).is_some_and(|link| link.recent.requests + link.recent.rejected > 0)
        }
        ResourceId::Service(_) | ResourceId::Node(_) | ResourceId::Infrastructure(_) => false,
    }
}

/// The weighted mean of (score, weight, standing), rounded down. What is only suspected counts where it
/// lowers the mean: worst first, for as long as it does.
fn mean(values: impl Iterator<Item = (u64, u64, Standing)>) -> Option<u8> {
    let (mut sum, mut weights) = (0, 0);
    let mut suspected = Vec::new();
    for (score, weight, standing) in values {
        match standing {
            Standing::Measured => {
                sum += score * weight;
                weights += weight;
            }
            Standing::Suspected => suspected.push((score, weight)),
            Standing::Unmeasured => {}
        }
    }
    suspected.sort_unstable();
    for (score, weight) in suspected {
        if score * weights < sum || weights == 0 {
            sum += score * weight;
            weights += weight;
        }
    }
    (weights > 0).then(|| u8::try_from(sum / weights).unwrap_or(u8::MAX))
}

/// What a component adds to the coverage.
fn coverage(component: Component, scored: &[Scored]) -> f64 {
    let within = || scored.iter().filter(|resource| resource.component == component);
    let all: u64 = within().map(|resource| resource.weight).sum();
    let measured = within().filter(|resource| resource.standing == Standing::Measured);
    let known: u64 = measured.map(|resource| resource.weight).sum();
    if all == 0 { 0.0 } else { component.weight() as f64 / 100.0 * known as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use domain::{IdSource, IssueKind, Reason};
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::Fleet;

    const SEVERITIES: [Severity; 4] = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

    fn issue(fleet: &Fleet, kind: IssueKind, resource: &str, severity: Severity) -> Issue {
        let now = fleet.snapshot.taken;
        Issue {
            id: IdSource::seeded(1).next(now),
            kind,
            reason: Reason::Unspecified,
            resource: resource.parse().unwrap(),
            severity,
            description: "as the test says".into(),
            detected_at: now,
            last_seen: now,
            closed_at: None,
            metrics: BTreeMap::new(),
            recurrences: 0,
        }
    }

    #[test]
    fn a_fleet_without_issues_is_at_100_and_what_has_no_engine_is_unknown() {
        let health = health(&Fleet::healthy().snapshot, &[]);
        assert_eq!(health.overall, Some(100));
        assert_eq!((health.database, health.security), (Some(100), None));
        assert!((health.coverage - 0.85).abs() < 1e-9, "{}", health.coverage);
        assert_eq!(health.components[&Component::Compute].state, Some(ComponentState::Healthy));
        assert_eq!(health.components[&Component::Security].state, None);
    }

    #[test]
    fn nothing_known_is_none_and_not_zero() {
        let mut fleet = Fleet::healthy();
        fleet.snapshot.services.clear();
        fleet.snapshot.links.clear();
        let health = health(&fleet.snapshot, &[]);
        assert_eq!((health.overall, health.compute, health.coverage), (None, None, 0.0));
    }

    #[test]
    fn the_formula_is_that_of_the_specification() {
        let fleet = Fleet::healthy();
        let open = [issue(&fleet, IssueKind::PodCrash, "instance/database-0", Severity::Critical)];
        let health = health(&fleet.snapshot, &open);
        // database: instance 40 and volume 100, both weigh 1 + 5 dependents.
        assert_eq!(health.database, Some(70));
        // (30 + 20 + 15) × 100 + 20 × 70 over 85, rounded down: 92.94.
        assert_eq!(health.overall, Some(92));
        assert_eq!(health.components[&Component::Database].state, Some(ComponentState::Degraded));
    }

    #[test]
    fn the_worst_of_two_issues_on_a_resource_counts() {
        let fleet = Fleet::healthy();
        let worse = issue(&fleet, IssueKind::PodCrash, "instance/cart-0", Severity::High);
        let both = [issue(&fleet, IssueKind::HighCpu, "instance/cart-0", Severity::Low), worse.clone()];
        assert_eq!(health(&fleet.snapshot, &both).compute, health(&fleet.snapshot, &[worse]).compute);
    }

    #[test]
    fn a_component_recovers_while_all_its_open_issues_look_well() {
        let fleet = Fleet::healthy();
        let mut well = issue(&fleet, IssueKind::PodCrash, "instance/cart-0", Severity::High);
        well.metrics.insert(Issue::WELL_LOOKS.into(), 1.0);
        let state = |open: &[Issue]| health(&fleet.snapshot, open).components[&Component::Compute].state;
        assert_eq!(state(&[well.clone()]), Some(ComponentState::Recovering));
        let other = issue(&fleet, IssueKind::HighCpu, "instance/cart-1", Severity::Low);
        assert_eq!(state(&[well, other]), Some(ComponentState::Degraded));
    }

    #[test]
    fn databases_are_told_by_a_word_of_their_name() {
        for (resource, component) in [
            ("instance/orders-db-0", Component::Database),
            ("volume/database-0", Component::Database),
            ("instance/feedback-0", Component::Compute),
            ("link/cart->database", Component::Network),
            ("volume/cart-0", Component::Storage),
        ] {
            assert_eq!(component_of(&resource.parse().unwrap()), component, "{resource}");
        }
    }

    proptest! {
        #[test]
        fn an_issue_more_or_a_worse_one_never_raises_a_score(
            targets in prop::collection::vec((0usize..40, 0usize..4), 0..12),
            more in (0usize..40, 0usize..3),
            unknown in prop::collection::vec(0usize..40, 0..20),
        ) {
            let mut fleet = Fleet::healthy();
            let mut names: Vec<ResourceId> = fleet.snapshot.resources().collect();
            names.extend(["instance/gone-0".parse().unwrap(), "node/local".parse().unwrap()]);
            for index in unknown {
                match &names[index % names.len()] {
                    ResourceId::Link(link) => fleet.link_mut(&link.to_string()).recent = Default::default(),
                    ResourceId::Instance(name) if name.service.as_str() != "gone" => {
                        fleet.instance_mut(&name.to_string()).phase = Phase::Unknown;
                    }
                    ResourceId::Volume(name) => fleet.instance_mut(&name.to_string()).usage = Default::default(),
                    _ => {}
                }
            }
            let make = |(target, severity): (usize, usize)| {
                let resource = names[target % names.len()].to_string();
                issue(&fleet, IssueKind::PodCrash, &resource, SEVERITIES[severity])
            };
            let mut open: Vec<Issue> = targets.into_iter().map(make).collect();
            let before = health(&fleet.snapshot, &open);
            for severity in [more.1, more.1 + 1] {
                open.push(make((more.0, severity)));
                let after = health(&fleet.snapshot, &open);
                let pairs = [
                    (before.overall, after.overall), (before.compute, after.compute),
                    (before.network, after.network), (before.storage, after.storage),
                    (before.database, after.database), (before.security, after.security),
                ];
                for (before, after) in pairs {
                    prop_assert!(before.is_none_or(|before| after.is_some_and(|after| after <= before)));
                    prop_assert!(after.is_none_or(|after| (40..=100).contains(&after)));
                }
                prop_assert!((0.0..=0.85 + 1e-9).contains(&after.coverage));
            }
        }
    }
}
