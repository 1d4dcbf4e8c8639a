//! What must hold whatever happens, checked from outside: by what is in the store and in the world, with a
//! count of its own beside the one under test.
//!
//! In: the lab after each turn, and what people did. Out: every violation, as a sentence.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use decide::detect::{Thresholds, Verdict as Judged, verdict};
use decide::plan::policy::Rung;
use domain::snapshot::Phase;
use domain::{
    Action, Attribute, InstanceName, Intent, IssueId, Plan, PlanId, PlanStatus, ResourceId, ServiceName,
    Snapshot, Strategy, Time, Undo,
};
use heal::NoticeKind;
use observe::Sighting;
use store::{PlanFilter, PlanPurpose, PlanRecord, Subscription, Topic, Verdict};

use super::Lab;

/// A storm that comes back later than this is another one.
const STORM_OVER: Duration = Duration::from_secs(60);

/// By the guard, and because the issue was over before anybody answered or its slot was taken.
const REFUSED_MAX: u32 = 2;

/// What people switched, as the one who switched it knows.
#[derive(Debug, Default)]
pub struct Switched {
    pub emergency_stop: bool,
    pub automation_off: bool,
    pub paused: BTreeMap<ServiceName, Time>,
}

/// One repair that was begun.
struct Begun {
    plan: Arc<Plan>,
    at: Time,
    /// Its signal was seen well after its steps: it holds no slot any more.
    passed: bool,
    ended: bool,
}

impl Begun {
    /// Whether it holds its slot: it runs, or its signal was not yet seen well after it.
    fn holds(&self) -> bool {
        !self.ended && !self.passed
    }
}

/// Follows one run.
pub struct Checks {
    /// The plans as each write left them, in the order of the writes: within one turn a repair may begin in
    /// the slot that another one gave up just before.
    written: Arc<Mutex<Vec<PlanRecord>>>,
    _subscription: Subscription,
    begun: Vec<Begun>,
    known: BTreeSet<PlanId>,
    asked: BTreeSet<PlanId>,
    /// What could be seen when the latest turn began.
    sighting: Option<Sighting>,
    storm_seen: Option<Time>,
    pub storms: u32,
    pub crashes: u32,
    pub approved: u32,
    pub violations: Vec<String>,
}

impl Checks {
    pub fn new(lab: &Lab) -> Self {
        let written: Arc<Mutex<Vec<PlanRecord>>> = Arc::default();
        let (store, told) = (lab.store.clone(), Arc::clone(&written));
        let subscription = lab.store.subscribe(move |change| {
            if change.topic == Topic::Plans
                && let Ok(id) = change.id.parse::<PlanId>()
            {
                told.lock().unwrap().extend(store.plan(id).expect("nothing fails in memory"));
            }
        });
        Self {
            written,
            _subscription: subscription,
            begun: Vec::new(),
            known: BTreeSet::new(),
            asked: BTreeSet::new(),
            sighting: None,
            storm_seen: None,
            storms: 0,
            crashes: 0,
            approved: 0,
            violations: Vec::new(),
        }
    }

    pub fn repairs(&self) -> usize {
        self.begun.len()
    }

    fn violated(&mut self, lab: &Lab, what: &str) {
        let at = lab.now().since(lab.begun).as_secs_f64();
        self.violations.push(format!("{at:.2} s: {what}"));
    }

    /// Looks at what the next turn will see, where a repair is to be judged by it.
    pub fn before_turn(&mut self, lab: &Lab) {
        let judged = self.begun.iter().any(Begun::holds);
        self.sighting = judged.then(|| lab.observer.look().expect("nothing fails in memory"));
    }

    /// Looks at what the latest turn, or the latest deed of a person, brought about.
    pub fn after_turn(&mut self, lab: &Lab, switched: &Switched) {
        let snapshot = lab.healer.snapshot();
        if let Some(snapshot) = &snapshot {
            self.note_storm(snapshot, lab);
        }
        // The turn verified by what it saw before it began anything.
        if let Some(sighting) = self.sighting.take() {
            for begun in self.begun.iter_mut().filter(|begun| begun.holds()) {
                let Some(done) = steps_done(lab, begun.plan.id) else { continue };
                let signal = begun.plan.verify.as_ref().expect("a repair has a signal");
                let seen = sighting.since(done);
                let judged = verdict(signal.kind, &signal.resource, &seen, &Thresholds::default());
                begun.passed = matches!(judged, Judged::Healthy);
            }
        }
        let written = std::mem::take(&mut *self.written.lock().unwrap());
        for record in written {
            self.follow(lab, &record, switched, snapshot.as_deref());
        }
    }

    fn note_storm(&mut self, snapshot: &Snapshot, lab: &Lab) {
        if !is_storm(snapshot, lab) {
            return;
        }
        let now = snapshot.taken;
        if self.storm_seen.replace(now).is_none_or(|before| now.since(before) > STORM_OVER) {
            self.storms += 1;
        }
    }

    fn follow(&mut self, lab: &Lab, record: &PlanRecord, switched: &Switched, seen: Option<&Snapshot>) {
        let plan = &record.plan;
        if PlanPurpose::of(plan) != PlanPurpose::Remediation {
            return;
        }
        if record.status == PlanStatus::AwaitingApproval {
            self.asked.insert(plan.id);
        }
        if record.status.is_final() {
            self.begun
                .iter_mut()
                .filter(|begun| begun.plan.id == plan.id)
                .for_each(|begun| begun.ended = true);
        }
        let Some(at) = record.started_at else { return };
        if !self.known.insert(plan.id) {
            return;
        }
        self.permitted(lab, record, at, switched);
        self.within_rates(lab, plan, at);
        if let Some(seen) = seen {
            self.within_share(lab, plan, seen);
            self.calm_in_a_storm(lab, plan, at, seen);
        }
        let ended = record.status.is_final();
        self.begun.push(Begun { plan: Arc::clone(plan), at, passed: false, ended });
        let holding = self.begun.iter().filter(|begun| begun.holds()).count();
        let limit = lab.policy.limits.at_a_time as usize;
        if holding > limit {
            self.violated(lab, &format!("{holding} repairs at a time, limit {limit}: {}", plan.summary));
        }
    }

    fn permitted(&mut self, lab: &Lab, record: &PlanRecord, at: Time, switched: &Switched) {
        let plan = &record.plan;
        let summary = &plan.summary;
        if switched.emergency_stop {
            self.violated(lab, &format!("begun under the emergency stop: {summary}"));
        }
        let infrastructure = provider::Look::infrastructure(&lab.provider).unwrap();
        for service in services(plan) {
            let spec = infrastructure.as_ref().and_then(|up| up.services.get(service));
            if spec.is_some_and(|spec| spec.hands_off) {
                self.violated(lab, &format!("{service} is hands-off: {summary}"));
            }
            if switched.paused.get(service).is_some_and(|until| !at.reached(*until)) {
                self.violated(lab, &format!("{service} is paused: {summary}"));
            }
        }
        let approved = record.decision.as_ref().is_some_and(|decision| {
            decision.verdict == Verdict::Approved && at.since(decision.at) < lab.policy.limits.approval_valid
        });
        self.approved += u32::from(approved);
        let Intent::Remediation { strategy, cause, severity, .. } = &plan.intent else { return };
        let needs = [
            (self.asked.contains(&plan.id), "it awaited approval"),
            (switched.automation_off, "automation is off"),
            (cause.confidence < lab.policy.limits.confidence_min, "the diagnosis is not sure"),
            (*severity < lab.policy.limits.severity_min, "the lowest severity is left to people"),
            (below_auto(plan, *strategy, lab), "its rung is below auto"),
            (unnamed_deletion(plan, lab), "it cannot be taken back"),
        ];
        for (_, why) in needs.iter().filter(|(needed, _)| *needed && !approved) {
            self.violated(lab, &format!("begun without an approval though {why}: {summary}"));
        }
    }

    fn within_rates(&mut self, lab: &Lab, plan: &Plan, at: Time) {
        let limits = &lab.policy.limits;
        let lately: Vec<&Begun> =
            self.begun.iter().filter(|begun| at.since(begun.at) < limits.rate_window).collect();
        let mut found = Vec::new();
        if lately.len() >= limits.in_all as usize {
            found.push(format!("repair {} within the hour, limit {}", lately.len() + 1, limits.in_all));
        }
        for target in targets(plan) {
            let same: Vec<_> = lately.iter().filter(|begun| targets(&begun.plan).contains(&target)).collect();
            if same.len() >= limits.per_resource as usize {
                let limit = limits.per_resource;
                found.push(format!("repair {} of {target} within the hour, limit {limit}", same.len() + 1));
            }
            let strategy = plan.strategy();
            let last =
                same.iter().filter(|begun| begun.plan.strategy() == strategy).map(|begun| begun.at).max();
            if last.is_some_and(|last| at.since(last) < limits.cooldown) {
                found.push(format!("{} on {target} again within the cooldown", strategy.unwrap()));
            }
        }
        for what in found {
            self.violated(lab, &what);
        }
    }

    fn within_share(&mut self, lab: &Lab, plan: &Plan, seen: &Snapshot) {
        let running = self.begun.iter().filter(|begun| begun.holds());
        let mut radius: Vec<ResourceId> = running.flat_map(|begun| begun.plan.blast_radius.clone()).collect();
        for entry in lab.store.steps_in_force().unwrap() {
            radius.extend(
                lab.store
                    .plan(entry.token.plan)
                    .unwrap()
                    .into_iter()
                    .flat_map(|r| r.plan.blast_radius.clone()),
            );
        }
        let wanted: BTreeSet<&InstanceName> =
            plan.blast_radius.iter().filter_map(ResourceId::instance).collect();
        let all: BTreeSet<&InstanceName> =
            wanted.iter().copied().chain(radius.iter().filter_map(ResourceId::instance)).collect();
        let share = lab.policy.limits.service_share_max.ratio();
        let mut found = Vec::new();
        for service in wanted.iter().map(|instance| &instance.service).collect::<BTreeSet<_>>() {
            let replicas = seen.services.get(service).map_or(0, |state| state.replicas);
            let limit = ((f64::from(replicas) * share) as usize).max(1);
            let count = all.iter().filter(|instance| instance.service == *service).count();
            if count > limit {
                found.push(format!(
                    "{count} instances of {service} at a time, limit {limit}: {}",
                    plan.summary
                ));
            }
        }
        for what in found {
            self.violated(lab, &what);
        }
    }

    fn calm_in_a_storm(&mut self, lab: &Lab, plan: &Plan, at: Time, seen: &Snapshot) {
        if !is_storm(seen, lab) {
            return;
        }
        let restart = plan.steps.len() == 1 && matches!(plan.steps[0].action, Action::RestartInstance { .. });
        if !restart {
            self.violated(lab, &format!("in a storm: {}", plan.summary));
        }
        let last = self.begun.iter().map(|begun| begun.at).max();
        if last.is_some_and(|last| at.since(last) < lab.policy.limits.storm_restart_interval) {
            self.violated(lab, &format!("too early in a storm: {}", plan.summary));
        }
    }

    /// What may not run is written down once for an issue and a strategy, not in every turn. A control plane
    /// that began later does not know of it; what nobody answered in time is asked again. An approved plan that
    /// is refused is the person's: the emergency stop came before it began, as often as somebody approved. But a
    /// no is final, whoever lived when it was said.
    fn refused_once(&mut self, lab: &Lab) {
        let filter = PlanFilter {
            limit: store::LIST_LIMIT_MAX,
            status: Some(PlanStatus::Refused),
            only: Some(PlanPurpose::Remediation),
            ..PlanFilter::default()
        };
        let mut by_itself: BTreeMap<(IssueId, Strategy), Vec<String>> = BTreeMap::new();
        let mut rejected: BTreeMap<(IssueId, Strategy), u32> = BTreeMap::new();
        for record in lab.store.plans(&filter).unwrap() {
            let Intent::Remediation { issue, strategy, .. } = record.plan.intent else { continue };
            match record.decision.map(|decision| decision.verdict) {
                Some(Verdict::Rejected) => *rejected.entry((issue, strategy)).or_default() += 1,
                Some(Verdict::Approved) => {}
                None if record.error.as_deref() == Some("nobody approved it in time") => {}
                None => {
                    let why = record.error.unwrap_or_else(|| record.reasons.join("; "));
                    by_itself.entry((issue, strategy)).or_default().push(why);
                }
            }
        }
        let most = (REFUSED_MAX + self.crashes) as usize;
        for ((issue, strategy), why) in by_itself.into_iter().filter(|(_, why)| why.len() > most) {
            let times = why.len();
            self.violated(lab, &format!("{strategy} was refused {times} times for issue {issue}: {why:?}"));
        }
        for ((issue, strategy), times) in rejected.into_iter().filter(|(_, times)| *times > 1) {
            self.violated(
                lab,
                &format!("{strategy} was asked again for issue {issue} after a no: {times} times"),
            );
        }
    }

    /// The run is over, everything ended, time passed.
    pub fn at_the_end(&mut self, lab: &Lab) {
        for left in lab.left_behind() {
            self.violated(lab, &left);
        }
        // An issue of a link that a measure keeps out of use stays open until the measure is lifted.
        let owners = lab.provider.owners();
        let kept_out = |resource: &ResourceId| {
            let ResourceId::Link(link) = resource else { return false };
            owners.keys().any(|attribute| match attribute {
                Attribute::BreakerHeldOpen(of) | Attribute::Ejected(of, _) => of == link,
                _ => false,
            })
        };
        for issue in lab.store.open_issues().unwrap().into_iter().filter(|issue| !kept_out(&issue.resource)) {
            let (kind, resource) = (issue.kind, issue.resource);
            self.violated(lab, &format!("{kind} on {resource} is still open: {}", issue.description));
        }
        self.refused_once(lab);
        let repeated: Vec<String> = self
            .begun
            .iter()
            .flat_map(|begun| begun.plan.tokens())
            .filter(|token| lab.provider.changes(*token) > 1)
            .map(|token| format!("step {token} was done more than once"))
            .collect();
        for begun in &self.begun {
            let record = lab.store.plan(begun.plan.id).unwrap().unwrap();
            if record.outcome.is_none() {
                self.violations
                    .push(format!("no verdict on a {} plan: {}", record.status, begun.plan.summary));
            }
        }
        for what in repeated {
            self.violated(lab, &what);
        }
        let notices = lab.notices.lock().unwrap();
        let calls = notices.iter().filter(|notice| notice.kind == NoticeKind::Storm).count() as u32;
        drop(notices);
        // A control plane that began in the middle of a storm calls once more: it cannot know of the call.
        if calls < self.storms || calls > self.storms + self.crashes {
            self.violated(lab, &format!("{calls} calls for {} storms", self.storms));
        }
    }
}

/// More than half of four or more instances that have been ready are not known to be well.
fn is_storm(snapshot: &Snapshot, lab: &Lab) -> bool {
    let counted: Vec<_> = snapshot
        .services
        .values()
        .filter(|service| !service.hands_off)
        .flat_map(|service| service.instances.values())
        .filter(|state| state.phase != Phase::Stopping && !state.never_ready)
        .collect();
    let well = counted
        .iter()
        .filter(|state| {
            let hangs = state.liveness.is_some_and(|probe| probe.failures_in_a_row >= probe.failures_limit);
            state.phase == Phase::Ready && !state.crash_loop && !hangs
        })
        .count();
    let unwell = (counted.len() - well) as f64;
    counted.len() >= lab.policy.limits.storm_instances_min as usize
        && unwell > counted.len() as f64 * lab.policy.limits.storm_share.ratio()
}

/// What a plan's steps change or take out of use.
fn targets(plan: &Plan) -> BTreeSet<ResourceId> {
    let mut targets = BTreeSet::new();
    for step in &plan.steps {
        targets.insert(step.action.resource());
        if let Action::EjectBackend { instance, .. } = &step.action {
            targets.insert(ResourceId::Instance(instance.clone()));
        }
    }
    targets
}

/// Every service a plan touches; of a link both ends.
fn services(plan: &Plan) -> BTreeSet<&ServiceName> {
    fn of(resource: &ResourceId) -> Vec<&ServiceName> {
        match resource {
            ResourceId::Link(link) => vec![&link.from, &link.to],
            resource => resource.service().into_iter().collect(),
        }
    }
    plan.blast_radius.iter().flat_map(of).collect()
}

fn below_auto(plan: &Plan, strategy: Strategy, lab: &Lab) -> bool {
    let targets = targets(plan);
    let mut services = targets.iter().filter_map(ResourceId::service);
    services.any(|service| lab.policy.ladder.rung(service, strategy) < Rung::Auto)
}

fn unnamed_deletion(plan: &Plan, lab: &Lab) -> bool {
    plan.steps.iter().filter(|step| step.undo == Undo::Irreversible).any(|step| match &step.action {
        Action::RemoveFiles { class, older_than, .. } => !lab.policy.deletions.name(*class, *older_than),
        _ => true,
    })
}

/// When the last step of a plan was proven.
fn steps_done(lab: &Lab, plan: PlanId) -> Option<Time> {
    let journal = lab.store.journal(plan).unwrap();
    Some(journal.last()?.endings.first()?.at)
}
