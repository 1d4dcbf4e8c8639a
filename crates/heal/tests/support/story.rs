//! What a run of the loop did, told line by line.
//!
//! In: the state after each turn. Out: one line for everything that changed since the turn before, with the
//! virtual time: issues, diagnoses, plans, steps, verdicts, lifts, calls. Nothing is told that only this
//! file knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use domain::{Action, Cause, Intent, Issue, IssueId, Plan, PlanId, PlanStatus, Reason, StepToken};
use store::{EntryState, Found, IssueFilter, JournalEntry, PlanFilter, PlanPurpose, PlanRecord};

use super::Lab;

/// A story as it grows.
#[derive(Default)]
pub struct Story {
    text: String,
    issues: BTreeMap<IssueId, Issue>,
    first: BTreeMap<IssueId, Issue>,
    told: BTreeSet<(IssueId, Reason)>,
    diagnosed: BTreeMap<IssueId, Vec<Cause>>,
    plans: BTreeMap<PlanId, PlanRecord>,
    steps: BTreeMap<StepToken, EntryState>,
    notices: usize,
}

impl Story {
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Every issue that was seen, as it was first.
    pub fn issues(&self) -> impl Iterator<Item = &Issue> {
        self.first.values()
    }

    /// Every remediation that was begun, oldest first.
    pub fn repairs(&self) -> impl Iterator<Item = &PlanRecord> {
        self.plans.values().filter(|record| {
            PlanPurpose::of(&record.plan) == PlanPurpose::Remediation && record.started_at.is_some()
        })
    }

    /// The first diagnosis of an issue.
    pub fn causes(&self, issue: IssueId) -> &[Cause] {
        self.diagnosed.get(&issue).map_or(&[], Vec::as_slice)
    }

    pub fn say(&mut self, lab: &Lab, line: &str) {
        let at = lab.now().since(lab.begun).as_secs_f64();
        writeln!(self.text, "{at:7.2} s  {line}").expect("text grows");
    }

    /// Tells what changed.
    pub fn follow(&mut self, lab: &Lab) {
        self.follow_issues(lab);
        self.follow_plans(lab);
        self.follow_notices(lab);
    }

    fn follow_issues(&mut self, lab: &Lab) {
        let mut issues = lab.store.issues(&IssueFilter::default()).unwrap();
        issues.reverse();
        for issue in issues {
            let before = self.issues.insert(issue.id, issue.clone());
            self.first.entry(issue.id).or_insert_with(|| issue.clone());
            let Issue { kind, reason, resource, severity, description, .. } = &issue;
            let open = issue.closed_at.is_none();
            match before {
                Some(before) if open && before.closed_at.is_some() => {
                    self.say(lab, &format!("issue back: {kind} ({reason}) on {resource}: {description}"));
                }
                // A reason that goes back and forth is told once each way.
                Some(before) if open && before.reason != *reason && self.told.insert((issue.id, *reason)) => {
                    let was = before.reason;
                    self.say(lab, &format!("issue seen as {reason}, not {was}: {kind} on {resource}"));
                }
                Some(before) if !open && before.closed_at.is_none() => {
                    self.say(lab, &format!("issue closed: {kind} on {resource}"));
                }
                None if open => self
                    .say(lab, &format!("issue: {kind} ({reason}) on {resource}, {severity}: {description}")),
                _ => {}
            }
            self.follow_diagnosis(lab, &issue);
        }
    }

    fn follow_diagnosis(&mut self, lab: &Lab, issue: &Issue) {
        if self.diagnosed.contains_key(&issue.id) {
            return;
        }
        let Some(text) = lab.store.document(&store::diagnosis_key(issue.id)).unwrap() else { return };
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let causes: Vec<Cause> = serde_json::from_value(document["causes"].clone()).unwrap();
        if let Some(Cause { resource, class, pattern, evidence, .. }) = causes.first() {
            let evidence = evidence.first().map_or(String::new(), |item| format!(": {}", item.text));
            self.say(lab, &format!("  cause: {class} on {resource} ({pattern}){evidence}"));
        }
        self.diagnosed.insert(issue.id, causes);
    }

    fn follow_plans(&mut self, lab: &Lab) {
        let mut plans = lab.store.plans(&PlanFilter::default()).unwrap();
        plans.reverse();
        for record in plans {
            let before = self.plans.insert(record.plan.id, record.clone());
            if before.is_none() && PlanPurpose::of(&record.plan) == PlanPurpose::Remediation {
                self.say(lab, &format!("plan: {}", record.plan.summary));
            }
            let newly = |status| {
                record.status == status && before.as_ref().is_none_or(|before| before.status != status)
            };
            if newly(PlanStatus::AwaitingApproval) || newly(PlanStatus::Refused) {
                let why = record.error.clone().unwrap_or_else(|| record.reasons.join("; "));
                self.say(lab, &format!("  {}: {why}", record.status));
            }
            for entry in lab.store.journal(record.plan.id).unwrap() {
                self.follow_step(lab, &record.plan, &entry);
            }
            let decided = before.and_then(|before| before.outcome).is_some();
            if let Some(outcome) = record.outcome.as_ref().filter(|_| !decided) {
                let strategy = record.plan.strategy().map_or("", |strategy| strategy.name());
                let why = outcome.explanation.as_ref().map_or(String::new(), |why| format!(": {why}"));
                let passed = outcome.verified_at.map_or(String::new(), |at| {
                    format!(", first well at {:.2} s", at.since(lab.begun).as_secs_f64())
                });
                self.say(lab, &format!("outcome of {strategy}: {}{passed}{why}", outcome.kind));
            }
        }
    }

    fn follow_step(&mut self, lab: &Lab, plan: &Plan, entry: &JournalEntry) {
        let state = entry.state();
        if self.steps.insert(entry.token, state) == Some(state) {
            return;
        }
        let what = describe(&entry.step.action);
        let fault = entry.is_fault();
        let ending = entry.endings.last().map(|ended| &ended.ending);
        let line = match (state, ending) {
            (EntryState::Done, _) if fault => format!("fault: {what}"),
            (EntryState::Undone, _) if fault && entry.endings.len() == 1 => {
                format!("fault did not hold: {what}")
            }
            (EntryState::Undone, Some(store::Ending::Undone { why, .. })) if fault => {
                if matches!(&entry.step.action, Action::Inject(fault) if fault.kind.is_instant()) {
                    format!("fault: {what}")
                } else {
                    format!("fault over: {what} ({why})")
                }
            }
            (EntryState::Done, _) => format!("  step done: {what}"),
            (EntryState::Undone | EntryState::Superseded, Some(store::Ending::Undone { why, found })) => {
                let lifted = matches!(plan.intent, Intent::Remediation { .. }) && *found == Found::Restored;
                format!("{}: {what} ({why})", if lifted { "taken back" } else { "nothing to take back" })
            }
            (state, _) => format!("  step {state}: {what}"),
        };
        self.say(lab, &line);
    }

    fn follow_notices(&mut self, lab: &Lab) {
        let notices = lab.notices.lock().unwrap().clone();
        for notice in &notices[self.notices..] {
            self.say(lab, &format!("call for a person: {}", notice.title));
        }
        self.notices = notices.len();
    }
}

fn describe(action: &Action) -> String {
    match action {
        Action::Inject(fault) => format!("{} on {}", fault.kind, fault.target),
        Action::RestartInstance { instance, .. } => format!("restart {instance}"),
        Action::EjectBackend { link, instance } => format!("take {instance} out of {link}"),
        Action::OpenBreaker { link } => format!("open the breaker of {link}"),
        Action::ResetConnections { link } => format!("reset the connections of {link}"),
        Action::ResizeVolume { instance, size } => format!("grow the volume of {instance} to {size}"),
        Action::RemoveFiles { instance, .. } => format!("remove files of {instance}"),
        Action::RotateLogs { instance } => format!("rotate the logs of {instance}"),
        Action::ClearCaches { instance } => format!("clear the caches of {instance}"),
        Action::Deploy { service, release } => {
            format!("let {service} run {}", release.version.as_deref().unwrap_or("what was declared"))
        }
        Action::BringUp { infrastructure, .. } => format!("bring {} up", infrastructure.name),
        Action::TakeDown { infrastructure } => format!("take {} down", infrastructure.name),
        Action::SetReplicas { service, replicas } => format!("run {replicas} of {service}"),
        Action::SetCpuLimit { service, limit } => format!("give {service} {limit}"),
        Action::SetMemoryLimit { service, limit } => format!("give {service} {limit}"),
    }
}
