//! What is allowed, and how much of it: limits, the trust ladder, named deletions, chaos safety.
//!
//! In: the configuration. Out: one value the planner and the guard read. The defaults are the
//! specification's (H8, H10, C3); a drill states its own. Deliberately absent: switches and pauses, which
//! people flip at run time; see [`Switches`](super::guard::Switches).

use std::collections::BTreeSet;
use std::time::Duration;

use domain::units::duration_ms;
use domain::{Actor, Environment, FileClass, Infrastructure, Percent, ServiceName, Severity, Strategy};
use serde::{Deserialize, Serialize};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Everything the planner and the guard are bound by.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// How much may be repaired, and how often.
    pub limits: Limits,
    /// Who decides, per service and strategy.
    pub ladder: Ladder,
    /// Deletions that need no approval.
    pub deletions: Deletions,
    /// How repairs are verified.
    pub verification: VerificationTimes,
    /// When a measure that takes something out of use is lifted.
    pub lifting: LiftTimes,
    /// Who decides about a whole Infrastructure.
    pub infrastructures: InfrastructureRules,
    /// Who may approve.
    pub approval: ApprovalRules,
    /// What experiments may do.
    pub chaos: ChaosLimits,
}

/// Guardrails of repairs (H8) and storm safety.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Remediations per resource within [`rate_window`](Self::rate_window).
    pub per_resource: u32,
    /// Remediations in all within [`rate_window`](Self::rate_window).
    pub in_all: u32,
    /// The window of the two rates.
    #[serde(with = "duration_ms")]
    pub rate_window: Duration,
    /// Remediations at a time.
    pub at_a_time: u32,
    /// Below this confidence of the diagnosis a person decides.
    pub confidence_min: Percent,
    /// Issues below this severity (P3, the lowest, by default) are left to people.
    pub severity_min: Severity,
    /// Above this share of failed remediations automation stops.
    pub failure_rate_max: Percent,
    /// The failure rate is judged only over at least this many decided remediations.
    pub failure_runs_min: u32,
    /// The window of the failure rate.
    #[serde(with = "duration_ms")]
    pub failure_window: Duration,
    /// Time between two starts of one strategy on one resource. Doubles with every try within
    /// [`rate_window`](Self::rate_window) that did not heal, at most six times.
    #[serde(with = "duration_ms")]
    pub cooldown: Duration,
    /// From this many remediations of one issue type on one resource within
    /// [`repeat_window`](Self::repeat_window) a person is asked for root-cause work.
    pub repeats_max: u32,
    /// See [`repeats_max`](Self::repeats_max).
    #[serde(with = "duration_ms")]
    pub repeat_window: Duration,
    /// From this many failures of a strategy on a service within [`repeat_window`](Self::repeat_window)
    /// the strategy is no longer automatic there (demotion, H10).
    pub demote_after: u32,
    /// How long an earlier try counts when the same issue comes back: the next strategy is taken.
    #[serde(with = "duration_ms")]
    pub recurrence_window: Duration,
    /// Share of a service's instances that may be disturbed or repaired at a time, rounded down, at least
    /// one instance.
    pub service_share_max: Percent,
    /// More than this share of the fleet unwell is a storm.
    pub storm_share: Percent,
    /// A fleet smaller than this never has a storm.
    pub storm_instances_min: u32,
    /// In a storm: time between two restarts.
    #[serde(with = "duration_ms")]
    pub storm_restart_interval: Duration,
    /// Deleting this many instances at once needs approval.
    pub deletions_max: u32,
    /// Deleting this share of all instances at once needs approval.
    pub deletion_share_max: Percent,
    /// How long an approval is good for.
    #[serde(with = "duration_ms")]
    pub approval_valid: Duration,
    /// A snapshot older than this is no ground to act on.
    #[serde(with = "duration_ms")]
    pub snapshot_age_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_resource: 10,
            in_all: 100,
            rate_window: HOUR,
            at_a_time: 5,
            confidence_min: Percent(85.0),
            severity_min: Severity::Medium,
            failure_rate_max: Percent(30.0),
            failure_runs_min: 10,
            failure_window: HOUR,
            // Longer than a restart takes to show its effect, short enough for three tries in 5 min.
            cooldown: Duration::from_secs(10),
            // One more than the longest ordered list of fallbacks (three restarts, then scaling).
            repeats_max: 5,
            repeat_window: DAY,
            demote_after: 3,
            recurrence_window: 30 * MINUTE,
            service_share_max: Percent(50.0),
            storm_share: Percent(50.0),
            storm_instances_min: 4,
            storm_restart_interval: Duration::from_secs(5),
            deletions_max: 10,
            deletion_share_max: Percent(20.0),
            approval_valid: HOUR,
            // One full scan.
            snapshot_age_max: Duration::from_secs(30),
        }
    }
}

/// How far automation is trusted (H10). Ordered: each rung allows what those below allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// Issues are shown; nothing is proposed.
    Observe,
    /// The plan and its expected effect are shown; it runs only when a person asks for it.
    Advise,
    /// The plan waits for a person.
    Approve,
    /// The plan runs.
    Auto,
}

impl Rung {
    /// The name in the API, the CLI and the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Advise => "advise",
            Self::Approve => "approve",
            Self::Auto => "auto",
        }
    }
}

/// A rung for a service, a strategy, or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LadderRule {
    /// Which service; `None`: every one.
    #[serde(default)]
    pub service: Option<ServiceName>,
    /// Which strategy; `None`: every one.
    #[serde(default)]
    pub strategy: Option<Strategy>,
    /// The rung.
    pub rung: Rung,
}

/// The trust ladder: the most particular rule wins (service and strategy, service, strategy, default), and
/// among equally particular ones the most careful.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ladder {
    /// Where no rule speaks.
    pub default: Rung,
    /// The rules.
    #[serde(default)]
    pub rules: Vec<LadderRule>,
}

impl Default for Ladder {
    /// As for a fleet that was adopted: plans are shown.
    fn default() -> Self {
        Self { default: Rung::Advise, rules: Vec::new() }
    }
}

impl Ladder {
    /// Everything automatic: the demo and drills.
    pub fn auto() -> Self {
        Self { default: Rung::Auto, rules: Vec::new() }
    }

    /// For a fleet started by `up`: restarts are automatic, the rest waits for approval.
    pub fn started_by_up() -> Self {
        let auto = |strategy| LadderRule { service: None, strategy: Some(strategy), rung: Rung::Auto };
        Self {
            default: Rung::Approve,
            rules: vec![auto(Strategy::RestartPod), auto(Strategy::GracefulRestart)],
        }
    }

    /// The rung of a strategy on a service.
    pub fn rung(&self, service: &ServiceName, strategy: Strategy) -> Rung {
        let speaks = |rule: &&LadderRule| {
            rule.service.as_ref().is_none_or(|of| of == service)
                && rule.strategy.is_none_or(|of| of == strategy)
        };
        let particular =
            |rule: &LadderRule| 2 * u8::from(rule.service.is_some()) + u8::from(rule.strategy.is_some());
        let Some(most) = self.rules.iter().filter(speaks).map(particular).max() else { return self.default };
        let equals = self.rules.iter().filter(speaks).filter(|rule| particular(rule) == most);
        equals.map(|rule| rule.rung).min().unwrap_or(self.default)
    }
}

/// A kind of file that may be removed without approval, once it is old enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedDeletion {
    /// Which kind of files.
    pub class: FileClass,
    /// At least this old.
    #[serde(with = "duration_ms")]
    pub older_than: Duration,
}

/// The deletions that need no approval (H4): by default temporary files under their declared path older
/// than 7 days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Deletions(pub Vec<NamedDeletion>);

impl Default for Deletions {
    fn default() -> Self {
        Self(vec![NamedDeletion { class: FileClass::Temporary, older_than: 7 * DAY }])
    }
}

impl Deletions {
    /// Whether removing files of `class` older than `older_than` is named.
    pub fn name(&self, class: FileClass, older_than: Duration) -> bool {
        self.0.iter().any(|named| named.class == class && older_than >= named.older_than)
    }
}

/// How long a repair's signal may take, and how long it must then hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerificationTimes {
    /// After the last step, until the signal must be back in bounds.
    #[serde(with = "duration_ms")]
    pub deadline: Duration,
    /// How long it must hold. A higher CPU limit is watched five times as long.
    #[serde(with = "duration_ms")]
    pub hold: Duration,
}

impl Default for VerificationTimes {
    fn default() -> Self {
        Self { deadline: MINUTE, hold: MINUTE }
    }
}

/// When a measure is taken back: an opened breaker or an ejected instance after its path has been well for a
/// while, added instances after a fixed time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LiftTimes {
    /// Ten health checks in a row by default, so that a path that fails every other check stays closed.
    #[serde(with = "duration_ms")]
    pub well_for: Duration,
    /// The same where requests were turned away because of their rate: health checks come at a low rate and
    /// say little of it.
    #[serde(with = "duration_ms")]
    pub well_for_throttled: Duration,
    /// A measure of the same kind at the same place within this time was lifted too early: the time then
    /// doubles, up to ten minutes. Zero: it never doubles.
    #[serde(with = "duration_ms")]
    pub too_early: Duration,
    /// How long the instances that scaling added stay (H3: 30 min). What still needs them then is scaled
    /// again.
    #[serde(with = "duration_ms")]
    pub scale_back: Duration,
}

impl Default for LiftTimes {
    fn default() -> Self {
        Self {
            well_for: Duration::from_secs(5),
            well_for_throttled: MINUTE,
            too_early: 30 * MINUTE,
            scale_back: 30 * MINUTE,
        }
    }
}

/// When bringing a whole Infrastructure up, or taking one down, waits for an approval although a person asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InfrastructureRules {
    /// Taking one down ends every service of it and removes their volumes: all of a kind.
    pub approve_take_down: bool,
    /// One whose environment is production, either way.
    pub approve_production: bool,
}

impl Default for InfrastructureRules {
    fn default() -> Self {
        Self { approve_take_down: true, approve_production: true }
    }
}

/// Who may approve what somebody else has to have asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApprovalRules {
    /// Whether who asked for a plan may not approve it. A token counts as the user who owns it; one that was made with
    /// the token of the data directory, as whoever holds that. The loop is nobody.
    pub two_people: bool,
}

impl ApprovalRules {
    /// Why somebody may not approve what was asked for; `None` where they may. Both are people: a token's owner stands
    /// for it.
    pub fn objection(self, requested_by: &Actor, who: &str) -> Option<String> {
        let asked = matches!(requested_by, Actor::Operator(name) if name == who);
        (self.two_people && asked).then(|| {
            format!("{who} asked for this plan, and somebody else approves it (policy.approval.two_people)")
        })
    }
}

/// What experiments may do (C3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChaosLimits {
    /// Faults that are active at a time.
    pub faults_at_a_time: u32,
    /// Share of all instances that may be disturbed at a time, rounded down, at least one instance.
    pub blast_radius_max: Percent,
    /// Below this share of services with at least half of their instances ready nothing is injected.
    pub min_healthy_services: Percent,
    /// Services that are never a target.
    pub protected_services: BTreeSet<ServiceName>,
}

impl Default for ChaosLimits {
    fn default() -> Self {
        Self {
            faults_at_a_time: 3,
            blast_radius_max: Percent(25.0),
            min_healthy_services: Percent(80.0),
            protected_services: BTreeSet::new(),
        }
    }
}

impl Policy {
    /// Why `who` cannot take an Infrastructure down by their word alone; `None` where they can.
    pub fn take_down_objection(&self, infrastructure: &Infrastructure, who: &str) -> Option<String> {
        let rules = &self.infrastructures;
        let production = infrastructure.environment == Environment::Production && rules.approve_production;
        let asked = Actor::Operator(who.to_owned());
        (rules.approve_take_down || production).then(|| self.approval.objection(&asked, who)).flatten()
    }

    /// Adds the services an Infrastructure declares as protected.
    pub fn protect(&mut self, infrastructure: &Infrastructure) {
        let declared = infrastructure.services.iter().filter(|(_, spec)| spec.protected);
        self.chaos.protected_services.extend(declared.map(|(name, _)| name.clone()));
    }

    /// Everything out of range, as field and sentence; empty when it can be used.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let limits = &self.limits;
        for (field, value) in [
            ("limits.confidence_min", limits.confidence_min),
            ("limits.failure_rate_max", limits.failure_rate_max),
            ("limits.service_share_max", limits.service_share_max),
            ("limits.storm_share", limits.storm_share),
            ("limits.deletion_share_max", limits.deletion_share_max),
            ("chaos.blast_radius_max", self.chaos.blast_radius_max),
            ("chaos.min_healthy_services", self.chaos.min_healthy_services),
        ] {
            if !(0.0..=100.0).contains(&value.0) {
                wrong.push((field, format!("is {}, must be 0 to 100 percent", value.0)));
            }
        }
        for (field, value) in [
            ("limits.per_resource", limits.per_resource),
            ("limits.in_all", limits.in_all),
            ("limits.at_a_time", limits.at_a_time),
            ("limits.failure_runs_min", limits.failure_runs_min),
            ("limits.repeats_max", limits.repeats_max),
            ("limits.demote_after", limits.demote_after),
            ("limits.deletions_max", limits.deletions_max),
        ] {
            if value == 0 {
                wrong.push((field, "is 0, must be at least 1; to stop repairs use the switch".to_owned()));
            }
        }
        for (field, value, most) in [
            ("limits.rate_window", limits.rate_window, 7 * DAY),
            ("limits.failure_window", limits.failure_window, 7 * DAY),
            ("limits.repeat_window", limits.repeat_window, 30 * DAY),
            ("limits.recurrence_window", limits.recurrence_window, 7 * DAY),
            ("limits.snapshot_age_max", limits.snapshot_age_max, HOUR),
            ("limits.approval_valid", limits.approval_valid, 7 * DAY),
            ("verification.deadline", self.verification.deadline, HOUR),
            // A fifth of the checker's 24 h, because a CPU limit is watched five times as long.
            ("verification.hold", self.verification.hold, 4 * HOUR),
            ("lifting.scale_back", self.lifting.scale_back, super::check::LIFT_AFTER_MAX),
        ] {
            if value.is_zero() || value > most {
                let most = domain::units::show_duration(most);
                wrong.push((field, format!("is {value:?}, must be above 0 and at most {most}")));
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> ServiceName {
        ServiceName::new(name).unwrap()
    }

    #[test]
    fn the_most_particular_rule_wins_and_among_equals_the_most_careful() {
        let rule = |of: Option<&str>, strategy, rung| LadderRule { service: of.map(service), strategy, rung };
        let ladder = Ladder {
            default: Rung::Advise,
            rules: vec![
                rule(None, Some(Strategy::RestartPod), Rung::Auto),
                rule(Some("cart"), None, Rung::Observe),
                rule(Some("orders"), Some(Strategy::RestartPod), Rung::Auto),
                rule(Some("orders"), Some(Strategy::RestartPod), Rung::Approve),
            ],
        };
        assert_eq!(ladder.rung(&service("front"), Strategy::RestartPod), Rung::Auto);
        assert_eq!(ladder.rung(&service("front"), Strategy::RotateLogs), Rung::Advise);
        assert_eq!(ladder.rung(&service("cart"), Strategy::RestartPod), Rung::Observe);
        assert_eq!(ladder.rung(&service("orders"), Strategy::RestartPod), Rung::Approve);
    }

    #[test]
    fn the_defaults_are_valid_read_back_and_name_only_old_temporary_files() {
        let policy = Policy::default();
        assert_eq!(policy.check(), []);
        let text = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&text).unwrap(), policy);
        assert_eq!(serde_json::from_str::<Policy>("{}").unwrap(), policy);
        assert!(policy.deletions.name(FileClass::Temporary, 7 * DAY));
        assert!(!policy.deletions.name(FileClass::Temporary, 6 * DAY));
        assert!(!policy.deletions.name(FileClass::Cache, 30 * DAY));
    }

    #[test]
    fn a_limit_that_makes_no_sense_is_named() {
        let mut policy = Policy::default();
        policy.limits.confidence_min = Percent(f64::NAN);
        policy.limits.at_a_time = 0;
        policy.verification.hold = Duration::ZERO;
        policy.lifting.scale_back = 8 * DAY;
        let fields: Vec<_> = policy.check().into_iter().map(|(field, _)| field).collect();
        assert_eq!(
            fields,
            ["limits.confidence_min", "limits.at_a_time", "verification.hold", "lifting.scale_back"]
        );
    }
}
