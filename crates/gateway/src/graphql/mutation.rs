//! What can be changed: the same as REST, by the same calls. Every field names the permission it asks for.

use async_graphql::{Context, ID, Object};
use audit::Action;
use domain::{Permission, PlanId, ServiceName};

use super::operation::Operation;
use super::permission::Needs;
use super::types::remediation::Remediation;
use crate::api::{mode, refused_plan};
use crate::control::{Automation, Control, ControlError, Planned, RunMode};
use crate::deed::Deed;
use crate::overwritten::Overwritten;
use crate::problem::{Listed, Problem};

/// The root of what can be changed.
pub(super) struct Mutation;

fn service(name: String, field: &str) -> Result<ServiceName, Problem> {
    ServiceName::new(name).map_err(|error| Problem::field(field, error.to_string()))
}

fn id<T: std::str::FromStr>(id: &ID, what: &str, listed: Listed) -> Result<T, Problem> {
    id.parse().map_err(|_| {
        Problem::not_among(listed, format!("there is no {what} {:?}; ids are UUIDs", id.as_str()))
    })
}

/// What a mutation overwrites, and the `etag` of it that somebody read.
struct AsSeen(Option<(Overwritten, Option<String>)>);

impl AsSeen {
    /// What overwrites nothing.
    const NOTHING: Self = Self(None);

    fn of(what: Overwritten, if_match: Option<String>) -> Self {
        Self(Some((what, if_match)))
    }

    /// Does it, unless it was changed since; nobody else writes it meanwhile.
    fn then<T>(self, operation: &Operation, act: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
        let app = operation.app();
        let held = self.0.map(|(what, seen)| what.hold_as_seen(app, seen.as_deref())).transpose();
        held.and_then(|_turn| act())
    }
}

/// Asks the loops for a plan, in the name of whoever asked; what came of it is recorded.
fn plan(
    context: &Context<'_>,
    action: &'static str,
    mut deed: Deed,
    as_seen: AsSeen,
    mode: RunMode,
    ask: impl FnOnce(&dyn Control, RunMode, &str) -> Result<Planned, ControlError>,
) -> Result<Remediation, Problem> {
    let operation = Operation::of(context)?;
    let asked = || {
        let planned = ask(operation.app().control.as_ref(), mode, &operation.identity().name)?;
        deed = deed.clone().planned(mode, &planned);
        refused_plan(mode, &planned).map_or(Ok(planned), Err)
    };
    let planned = as_seen.then(operation, asked);
    operation.record(named(action)?, &deed, planned.as_ref().map(|planned| Some(planned.plan.id)));
    Ok(Remediation::planned(&operation.app().store, planned?))
}

/// The name of an action in the audit trail.
fn named(action: &'static str) -> Result<Action, Problem> {
    Action::try_from(action.to_owned()).map_err(|error| Problem::internal(error.to_string()))
}

/// Decides about a plan, in the name of whoever asked, and gives the plan as it is then.
fn decide(
    context: &Context<'_>,
    (action, decision): (&'static str, &str),
    remediation: &ID,
    if_match: Option<String>,
    ask: impl FnOnce(&dyn Control, PlanId, &str) -> Result<(), ControlError>,
) -> Result<Remediation, Problem> {
    let operation = Operation::of(context)?;
    let plan = id(remediation, "remediation", Listed::Remediations)?;
    let asked = || Ok(ask(operation.app().control.as_ref(), plan, &operation.identity().name)?);
    let done = AsSeen::of(Overwritten::Remediation(plan), if_match).then(operation, asked);
    let deed = Deed::remediation(plan).and(decision);
    operation.record(named(action)?, &deed, done.as_ref().map(|()| Some(plan)));
    done?;
    let store = &operation.app().store;
    let found = Remediation::all(store, store.plan(plan)?.into_iter().collect()).pop();
    found.ok_or_else(|| Problem::not_among(Listed::Remediations, format!("there is no remediation {plan}")))
}

/// What can be changed. `ifMatch` takes the `etag` of what is overwritten, and does it only while nobody changed that; without it
/// what is there does not matter. `dryRun` shows the plan with its expected effect, and changes nothing.
#[Object]
impl Mutation {
    /// Brings an Infrastructure up, all or nothing.
    #[graphql(guard = "Needs(Permission::InfrastructureWrite)")]
    async fn create_infrastructure(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Its definition: our YAML, or a Compose file")] definition: String,
        #[graphql(default)] dry_run: bool,
    ) -> Result<Remediation, Problem> {
        plan(
            context,
            "infrastructures.create",
            Deed::bring_up(),
            AsSeen::NOTHING,
            mode(dry_run),
            |control, mode, who| control.create_infrastructure(&definition, mode, who),
        )
    }

    /// Takes an Infrastructure down with its volumes.
    #[graphql(guard = "Needs(Permission::InfrastructureWrite)")]
    async fn delete_infrastructure(
        &self,
        context: &Context<'_>,
        id: ID,
        #[graphql(default)] dry_run: bool,
        #[graphql(desc = "Only while it has this `etag`")] if_match: Option<String>,
    ) -> Result<Remediation, Problem> {
        let name = service(id.0, "id")?;
        let as_seen = AsSeen::of(Overwritten::Infrastructure(name.clone()), if_match);
        plan(
            context,
            "infrastructures.delete",
            Deed::take_down(&name),
            as_seen,
            mode(dry_run),
            |control, mode, who| control.delete_infrastructure(&name, mode, who),
        )
    }

    /// Runs so many instances of a service.
    #[graphql(guard = "Needs(Permission::InfrastructureWrite)")]
    async fn scale_deployment(
        &self,
        context: &Context<'_>,
        #[graphql(name = "service", desc = "The name of a service")] name: String,
        replicas: u32,
        #[graphql(default)] dry_run: bool,
        #[graphql(desc = "Only while the deployment has this `etag`")] if_match: Option<String>,
    ) -> Result<Remediation, Problem> {
        let name = service(name, "service")?;
        let as_seen = AsSeen::of(Overwritten::Size(name.clone()), if_match);
        plan(
            context,
            "infrastructures.scale",
            Deed::scale(&name, replicas),
            as_seen,
            mode(dry_run),
            |control, mode, who| control.scale(&name, replicas, mode, who),
        )
    }

    /// Repairs an issue now, as far as guard and ladder allow.
    #[graphql(guard = "Needs(Permission::ServicesOperate)")]
    async fn remediate(
        &self,
        context: &Context<'_>,
        issue_id: ID,
        #[graphql(default)] dry_run: bool,
    ) -> Result<Remediation, Problem> {
        let issue = id(&issue_id, "issue", Listed::Issues)?;
        plan(
            context,
            "issues.remediate",
            Deed::repair(issue),
            AsSeen::NOTHING,
            mode(dry_run),
            |control, mode, who| control.remediate(issue, mode, who),
        )
    }

    /// Lets a plan run that waits for a person.
    #[graphql(guard = "Needs(Permission::PlansApprove)")]
    async fn approve(
        &self,
        context: &Context<'_>,
        remediation_id: ID,
        #[graphql(desc = "Only while it has this `etag`")] if_match: Option<String>,
    ) -> Result<Remediation, Problem> {
        decide(
            context,
            ("remediations.approve", "approved"),
            &remediation_id,
            if_match,
            |control, plan, who| control.approve(plan, who),
        )
    }

    /// Ends a plan that waits for a person, or what somebody asked for and waits for its turn.
    #[graphql(guard = "Needs(Permission::PlansApprove)")]
    async fn reject(
        &self,
        context: &Context<'_>,
        remediation_id: ID,
        #[graphql(desc = "Only while it has this `etag`")] if_match: Option<String>,
    ) -> Result<Remediation, Problem> {
        decide(
            context,
            ("remediations.reject", "rejected"),
            &remediation_id,
            if_match,
            |control, plan, who| control.reject(plan, who),
        )
    }

    /// Takes a finished plan back.
    #[graphql(guard = "Needs(Permission::PlansApprove)")]
    async fn roll_back(
        &self,
        context: &Context<'_>,
        remediation_id: ID,
        #[graphql(desc = "Only while it has this `etag`")] if_match: Option<String>,
    ) -> Result<Remediation, Problem> {
        decide(
            context,
            ("remediations.roll_back", "taken back"),
            &remediation_id,
            if_match,
            |control, plan, who| control.roll_back(plan, who),
        )
    }

    /// Switches automatic repair on or off, and says how it is now.
    #[graphql(guard = "Needs(Permission::ServicesOperate)")]
    async fn set_automation(
        &self,
        context: &Context<'_>,
        enabled: bool,
        #[graphql(desc = "Only while it has this `etag`")] if_match: Option<String>,
    ) -> Result<bool, Problem> {
        let operation = Operation::of(context)?;
        let automation = if enabled { Automation::On } else { Automation::Off };
        let asked = || Ok(operation.app().control.set_automation(automation, &operation.identity().name)?);
        let done = AsSeen::of(Overwritten::Automation, if_match).then(operation, asked);
        operation.record(
            named("automation.set")?,
            &Deed::automation(automation),
            done.as_ref().map(|()| None),
        );
        done?;
        Ok(enabled)
    }
}
