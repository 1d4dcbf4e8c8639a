//! Records of the store as happenings: issues, repairs, faults, deployments.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    Bearing, Deployment, ExperimentId, Happening, HappeningKind, HappeningLink, Intent, Issue, LinkName,
    OutcomeKind, PlanStatus, ResourceId, SeenBy, Sign,
};
use store::{ExperimentRecord, PlanRecord};

use crate::{api, phrases, shapes};

fn page(href: String) -> Vec<HappeningLink> {
    vec![HappeningLink { rel: "page".to_owned(), href }]
}

/// The service of a resource, and of a link who calls it.
fn placed(resource: &ResourceId) -> (Option<String>, Option<String>) {
    let caller = match resource {
        ResourceId::Link(link) if link.from.as_str() != LinkName::OUTSIDE => Some(link.from.to_string()),
        _ => None,
    };
    (resource.service().map(ToString::to_string), caller)
}

pub(super) fn of_issue(issue: &Issue) -> Happening {
    let (service, caller) = placed(&issue.resource);
    Happening {
        id: issue.id.to_string(),
        kind: HappeningKind::Issue,
        from_us: issue.detected_at.wall_us,
        to_us: issue.closed_at.map(|at| at.wall_us.max(issue.detected_at.wall_us)),
        service,
        caller,
        label: format!("{} {}", phrases::words(issue.kind.name()), phrases::resource(&issue.resource)),
        title: issue.description.clone(),
        severity: Some(issue.severity),
        bearing: Bearing::of_severity(issue.severity),
        signs: Sign::of_issue(issue.kind).into_iter().collect(),
        of: None,
        links: page(format!("/issues/{}", issue.id)),
    }
}

pub(super) fn of_repair(record: &PlanRecord) -> Happening {
    let plan = &record.plan;
    let of = match &plan.intent {
        Intent::Remediation { issue, .. } => Some(issue.to_string()),
        _ => None,
    };
    let outcome = record.outcome.as_ref().map(|outcome| outcome.kind);
    let verdict = outcome.map_or(phrases::status(record.status), phrases::outcome);
    let action = phrases::words(phrases::action_type(plan));
    let begun = record.started_at.unwrap_or(plan.created_at).wall_us;
    Happening {
        id: plan.id.to_string(),
        kind: HappeningKind::Remediation,
        from_us: begun,
        to_us: record.completed_at.map(|at| at.wall_us.max(begun)),
        service: plan.steps.first().and_then(|step| placed(&step.action.resource()).0),
        caller: None,
        label: match outcome {
            Some(OutcomeKind::Healed) => action,
            _ => format!("{action}, {verdict}"),
        },
        title: format!("{} ({verdict})", plan.summary),
        severity: None,
        bearing: match record.started_at {
            None => Bearing::Unclear,
            Some(_) => outcome.map_or(bearing_of_status(record.status), bearing_of_outcome),
        },
        signs: BTreeSet::new(),
        of,
        links: page(format!("/remediations/{}", plan.id)),
    }
}

fn bearing_of_status(status: PlanStatus) -> Bearing {
    match status {
        PlanStatus::Success => Bearing::Well,
        PlanStatus::InProgress | PlanStatus::Verifying | PlanStatus::Pending => Bearing::Change,
        PlanStatus::AwaitingApproval | PlanStatus::RolledBack => Bearing::Attention,
        PlanStatus::Failed => Bearing::Bad,
        PlanStatus::Refused => Bearing::Unclear,
    }
}

fn bearing_of_outcome(outcome: OutcomeKind) -> Bearing {
    match outcome {
        OutcomeKind::Healed | OutcomeKind::SelfRecovered => Bearing::Well,
        OutcomeKind::Mitigated => Bearing::Attention,
        OutcomeKind::NotHealed => Bearing::Bad,
        OutcomeKind::Refused => Bearing::Unclear,
    }
}

/// A fault that never began is none: nothing was disturbed. Its plan is over when its effect is proven; the fault is
/// in force until its experiment is over.
pub(super) fn of_fault(
    record: &PlanRecord,
    experiments: &BTreeMap<ExperimentId, ExperimentRecord>,
) -> Option<Happening> {
    let Intent::Experiment { experiment } = &record.plan.intent else { return None };
    let begun = record.started_at?.wall_us;
    let known = experiments.get(experiment);
    let taken_out = known.and_then(|known| {
        shapes::document(known).get("completed_at")?.as_str().and_then(api::time).map(|at| at.wall_us)
    });
    let completed = record.completed_at.map(|at| at.wall_us);
    let target = record.plan.steps.first().map(|step| step.action.resource());
    let (service, caller) = target.as_ref().map_or((None, None), placed);
    Some(Happening {
        id: record.plan.id.to_string(),
        kind: HappeningKind::Experiment,
        from_us: begun,
        to_us: match known {
            Some(known) if !known.status.is_final() => None,
            _ => taken_out.or(completed).map(|end| end.max(begun)),
        },
        service,
        caller,
        label: phrases::words(phrases::action_type(&record.plan)),
        title: record.plan.summary.clone(),
        severity: None,
        bearing: Bearing::Disturbance,
        signs: BTreeSet::new(),
        of: None,
        links: page(format!("/experiments/{experiment}")),
    })
}

/// A deployment of which nobody knows the end has no length.
pub(crate) fn of_deployment(deployment: &Deployment) -> Happening {
    let service = deployment.service.as_str();
    let version = deployment.version.as_deref();
    let label = match (deployment.rolls_back, version) {
        (Some(_), Some(version)) => format!("{service} back to {version}"),
        (Some(_), None) => format!("{service} back"),
        (None, Some(version)) => format!("{service} {version}"),
        (None, None) => format!("{service} anew"),
    };
    let after = deployment.previous_version.as_deref().map(|version| format!(", after {version}"));
    let known = match deployment.seen_by {
        SeenBy::Plan => "deployed by a plan",
        SeenBy::Spans => "seen in its spans",
        SeenBy::Posted => "told from outside",
    };
    let runs = match version {
        Some(version) => format!("{service} runs {version}"),
        None => format!("{service} runs something else"),
    };
    let begun = deployment.at.wall_us;
    let under_way = deployment.seen_by == SeenBy::Plan && deployment.finished_at.is_none();
    Happening {
        id: deployment.id.to_string(),
        kind: HappeningKind::Deployment,
        from_us: begun,
        to_us: match deployment.finished_at {
            Some(end) => Some(end.wall_us.max(begun)),
            None if under_way => None,
            None => Some(begun),
        },
        service: Some(service.to_owned()),
        caller: None,
        label,
        title: format!("{runs}{} ({known})", after.unwrap_or_default()),
        severity: None,
        bearing: Bearing::Change,
        signs: BTreeSet::new(),
        of: deployment.rolls_back.map(|id| id.to_string()),
        links: page(match deployment.plan {
            Some(plan) => format!("/remediations/{plan}"),
            None => format!("/services/{service}"),
        }),
    }
}
