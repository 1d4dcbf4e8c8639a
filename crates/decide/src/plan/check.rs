//! The plan checker: is this plan well made, whoever wrote it?
//!
//! In: a plan. Out: graded notes, one variant a rule. It knows nothing of the world or of policy; whether a
//! well-made plan may run now is the guard's question, which refuses plans with a fatal note.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use domain::units::show_duration;
use domain::{Action, Fault, FaultKind, FileClass, Intent, PathScope, Plan, ResourceId, Undo};

/// More steps are no straight line any more; the largest strategy plans one step per link into a service.
pub const STEPS_MAX: usize = 32;
/// No step of ours takes longer; a longer one would hold its slots for nothing.
pub const STEP_TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// The longest a signal may take or hold.
pub const SIGNAL_TIME_MAX: Duration = Duration::from_secs(86_400);
/// The longest a timed measure stays in force.
pub const LIFT_AFTER_MAX: Duration = Duration::from_secs(7 * 86_400);

/// How bad a note is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Odd, but it may run.
    Minor,
    /// It must not run.
    Fatal,
}

/// One thing that is wrong with a plan. Steps are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// It does nothing.
    NoSteps,
    /// It does too much.
    TooManySteps(usize),
    /// It does not say what it touches; nothing would then mean everything.
    EmptyBlastRadius,
    /// A step touches what the blast radius does not name.
    Uncovered {
        /// Which step.
        step: usize,
        /// What it touches.
        resource: ResourceId,
    },
    /// Two steps do the same, or set one value twice.
    Duplicate {
        /// The earlier.
        first: usize,
        /// The later.
        second: usize,
    },
    /// A fault, or the setting of a value, that says there is nothing to take back.
    UndoMissing(usize),
    /// A removal that promises to be taken back.
    UndoImpossible(usize),
    /// A fault with a field out of range.
    FaultOutOfRange {
        /// Which step.
        step: usize,
        /// Which field.
        field: &'static str,
        /// What is wrong.
        message: String,
    },
    /// A fault in a plan that is no experiment.
    FaultInRepair(usize),
    /// A step that is no fault in an experiment.
    RepairInExperiment(usize),
    /// A removal of logs or of a service's own data.
    RemovesKept(usize),
    /// An Infrastructure that cannot be brought up as it is declared.
    NotToBeBroughtUp {
        /// Which step.
        step: usize,
        /// Which field of it.
        field: String,
        /// What is wrong.
        message: String,
    },
    /// A whole Infrastructure brought up or taken down in a plan that nobody asked for.
    NotOnRequest(usize),
    /// A value nobody can mean: no instances, or a limit of nothing.
    ValueOutOfRange(usize),
    /// A remediation without a signal that verifies it.
    NoSignal,
    /// The signal is about a service that neither the steps nor the blast radius name.
    SignalElsewhere(ResourceId),
    /// A time that is zero or has no sensible end.
    TimeUnbounded {
        /// Which: `steps[1].timeout`.
        field: String,
        /// How long.
        value: Duration,
    },
    /// A breaker held open, or a backend kept out, for ever.
    NeverLifted(usize),
    /// No sentence for people.
    NoSummary,
}

impl Note {
    /// How bad it is.
    pub(crate) fn grade(&self) -> Grade {
        match self {
            // A symptom is verified where it was seen, which may be several calls away from the cause.
            Self::SignalElsewhere(_) | Self::NoSummary => Grade::Minor,
            _ => Grade::Fatal,
        }
    }
}

/// Every note on a plan, in the order of the rules.
pub fn check(plan: &Plan) -> Vec<Note> {
    let mut notes = Vec::new();
    if plan.steps.is_empty() {
        notes.push(Note::NoSteps);
    }
    if plan.steps.len() > STEPS_MAX {
        notes.push(Note::TooManySteps(plan.steps.len()));
    }
    if plan.blast_radius.is_empty() {
        notes.push(Note::EmptyBlastRadius);
    }
    if plan.summary.trim().is_empty() {
        notes.push(Note::NoSummary);
    }
    for index in 0..plan.steps.len() {
        check_coverage(plan, index, &mut notes);
        check_undo(plan, index, &mut notes);
        check_action(plan, index, &mut notes);
    }
    check_duplicates(plan, &mut notes);
    check_signal(plan, &mut notes);
    check_times(plan, &mut notes);
    notes
}

/// Only what must not run.
pub fn fatal(plan: &Plan) -> Vec<Note> {
    let mut notes = check(plan);
    notes.retain(|note| note.grade() == Grade::Fatal);
    notes
}

/// The distinct resources a plan's steps change or take out of use.
pub(super) fn targets(plan: &Plan) -> Vec<ResourceId> {
    let mut targets: Vec<_> = plan.steps.iter().flat_map(|step| touched(&step.action)).collect();
    targets.sort();
    targets.dedup();
    targets
}

/// Everything an action touches or takes out of use: the least a blast radius must name.
pub fn touched(action: &Action) -> Vec<ResourceId> {
    let mut touched = vec![action.resource()];
    match action {
        Action::EjectBackend { instance, .. } => touched.push(ResourceId::Instance(instance.clone())),
        Action::Inject(Fault {
            kind:
                FaultKind::NetworkLatency { scope, .. }
                | FaultKind::NetworkPartition { scope }
                | FaultKind::ApiThrottling { scope, .. },
            target,
            ..
        }) => match (scope, target) {
            (PathScope::Backend(instance), _) => touched.push(ResourceId::Instance(instance.clone())),
            (_, ResourceId::Link(link)) => touched.push(ResourceId::Service(link.to.clone())),
            _ => {}
        },
        _ => {}
    }
    touched
}

fn check_coverage(plan: &Plan, index: usize, notes: &mut Vec<Note>) {
    if plan.blast_radius.is_empty() {
        return;
    }
    for resource in touched(&plan.steps[index].action) {
        if !plan.blast_radius.contains(&resource) {
            notes.push(Note::Uncovered { step: index, resource });
        }
    }
}

fn check_undo(plan: &Plan, index: usize, notes: &mut Vec<Note>) {
    let step = &plan.steps[index];
    let restores = matches!(step.undo, Undo::Exact | Undo::Compensating(_));
    let lasting_fault = matches!(&step.action, Action::Inject(fault) if !fault.kind.is_instant());
    let whole = step.action.infrastructure().is_some();
    if (lasting_fault || whole || step.action.sets().is_some()) && !restores {
        notes.push(Note::UndoMissing(index));
    }
    if matches!(step.action, Action::RemoveFiles { .. }) && step.undo != Undo::Irreversible {
        notes.push(Note::UndoImpossible(index));
    }
}

fn check_action(plan: &Plan, index: usize, notes: &mut Vec<Note>) {
    let experiment = matches!(plan.intent, Intent::Experiment { .. });
    match &plan.steps[index].action {
        Action::Inject(fault) => {
            if !experiment {
                notes.push(Note::FaultInRepair(index));
            }
            notes.extend(fault.check().into_iter().map(|(field, message)| Note::FaultOutOfRange {
                step: index,
                field,
                message,
            }));
            return;
        }
        Action::RemoveFiles { class: FileClass::Logs | FileClass::Data, .. } => {
            notes.push(Note::RemovesKept(index));
        }
        Action::SetReplicas { replicas, .. } if !(1..=100).contains(replicas) => {
            notes.push(Note::ValueOutOfRange(index));
        }
        Action::SetCpuLimit { limit, .. } if !(limit.0.is_finite() && limit.0 > 0.0) => {
            notes.push(Note::ValueOutOfRange(index));
        }
        Action::SetMemoryLimit { limit: size, .. } | Action::ResizeVolume { size, .. } if size.0 == 0 => {
            notes.push(Note::ValueOutOfRange(index));
        }
        Action::Deploy { release, .. } if release.command.first().is_none_or(String::is_empty) => {
            notes.push(Note::ValueOutOfRange(index));
        }
        Action::BringUp { infrastructure, .. } | Action::TakeDown { infrastructure } => {
            if !matches!(plan.intent, Intent::Operation { .. }) {
                notes.push(Note::NotOnRequest(index));
            }
            notes.extend(infrastructure.check().into_iter().map(|violation| Note::NotToBeBroughtUp {
                step: index,
                field: violation.field,
                message: violation.message,
            }));
        }
        Action::OpenBreaker { .. } | Action::EjectBackend { .. }
            if plan.lift_after.is_none() && matches!(plan.intent, Intent::Remediation { .. }) =>
        {
            notes.push(Note::NeverLifted(index));
        }
        _ => {}
    }
    if experiment {
        notes.push(Note::RepairInExperiment(index));
    }
}

fn check_duplicates(plan: &Plan, notes: &mut Vec<Note>) {
    let mut attributes = BTreeMap::new();
    for (second, step) in plan.steps.iter().enumerate() {
        let same = plan.steps[..second].iter().position(|earlier| earlier.action == step.action);
        let set = step.action.sets().and_then(|(attribute, _)| attributes.insert(attribute, second));
        if let Some(first) = same.or(set) {
            notes.push(Note::Duplicate { first, second });
        }
    }
}

fn check_signal(plan: &Plan, notes: &mut Vec<Note>) {
    let remediation = matches!(plan.intent, Intent::Remediation { .. });
    let Some(signal) = &plan.verify else {
        if remediation {
            notes.push(Note::NoSignal);
        }
        return;
    };
    let named = targets(plan).iter().chain(&plan.blast_radius).any(|resource| {
        services_of(resource).iter().any(|service| services_of(&signal.resource).contains(service))
    });
    if !named {
        notes.push(Note::SignalElsewhere(signal.resource.clone()));
    }
}

/// The services a resource belongs to: both ends of a link, none for a node.
pub(super) fn services_of(resource: &ResourceId) -> Vec<&domain::ServiceName> {
    match resource {
        ResourceId::Link(link) => vec![&link.from, &link.to],
        other => other.service().into_iter().collect(),
    }
}

fn check_times(plan: &Plan, notes: &mut Vec<Note>) {
    let mut bounded = |field: String, value: Duration, most: Duration| {
        if value.is_zero() || value > most {
            notes.push(Note::TimeUnbounded { field, value });
        }
    };
    for (index, step) in plan.steps.iter().enumerate() {
        bounded(format!("steps[{index}].timeout"), step.timeout, STEP_TIMEOUT_MAX);
    }
    if let Some(signal) = &plan.verify {
        bounded("verify.deadline".to_owned(), signal.deadline, SIGNAL_TIME_MAX);
        bounded("verify.hold".to_owned(), signal.hold, SIGNAL_TIME_MAX);
    }
    if let Some(after) = plan.lift_after {
        bounded("lift_after".to_owned(), after, LIFT_AFTER_MAX);
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSteps => f.write_str("the plan has no steps"),
            Self::TooManySteps(seen) => {
                write!(f, "the plan has {seen} steps, at most {STEPS_MAX} are allowed")
            }
            Self::EmptyBlastRadius => f.write_str(
                "the blast radius is empty; an empty one never means everything, name what is touched",
            ),
            Self::Uncovered { step, resource } => {
                write!(f, "steps[{step}] touches {resource}, which the blast radius does not name")
            }
            Self::Duplicate { first, second } => {
                write!(f, "steps[{second}] repeats or overrides steps[{first}]")
            }
            Self::UndoMissing(step) => write!(f, "steps[{step}] changes a value or disturbs without an undo"),
            Self::UndoImpossible(step) => {
                write!(f, "steps[{step}] removes files, which cannot be taken back")
            }
            Self::FaultOutOfRange { step, field, message } => write!(f, "steps[{step}].{field} {message}"),
            Self::FaultInRepair(step) => write!(f, "steps[{step}] is a fault, but the plan is no experiment"),
            Self::RepairInExperiment(step) => write!(f, "steps[{step}] of an experiment is no fault"),
            Self::RemovesKept(step) => {
                write!(
                    f,
                    "steps[{step}] removes logs or data; only temporary and cached files may be removed"
                )
            }
            Self::NotToBeBroughtUp { step, field, message } => {
                write!(f, "steps[{step}].infrastructure.{field} {message}")
            }
            Self::NotOnRequest(step) => write!(
                f,
                "steps[{step}] brings a whole Infrastructure up or takes it down, which is done on request alone"
            ),
            Self::ValueOutOfRange(step) => write!(f, "steps[{step}] sets a value nobody can mean"),
            Self::NoSignal => f.write_str("a remediation needs a signal that verifies it"),
            Self::SignalElsewhere(resource) => {
                write!(f, "the signal is about {resource}, which neither steps nor blast radius touch")
            }
            Self::TimeUnbounded { field, value } => {
                write!(f, "{field} is {}, which is no sensible bound", show_duration(*value))
            }
            Self::NeverLifted(step) => {
                write!(f, "steps[{step}] takes something out of use and is never lifted")
            }
            Self::NoSummary => f.write_str("the plan says in no sentence what it does"),
        }
    }
}

#[cfg(test)]
mod tests;
