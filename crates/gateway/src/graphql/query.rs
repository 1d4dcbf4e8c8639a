//! What can be read. Every field names the permission it asks for.

use std::time::Duration;

use async_graphql::connection::Connection;
use async_graphql::{Context, ID, InputObject, Object};
use domain::{Permission, ResourceId};
use store::{IssueFilter, PlanFilter};

use super::operation::Operation;
use super::page::{Page, cost};
use super::permission::Needs;
use super::scalars::{DateTime, IssueState, IssueType, RemediationPurpose, RemediationStatus, Severity};
use super::types::automation::AutomaticRepair;
use super::types::change::Change;
use super::types::compute::{Compute, ComputeFilter};
use super::types::deployment::Deployment;
use super::types::experiment::Experiment;
use super::types::health::HealthScore;
use super::types::infrastructure::Infrastructure;
use super::types::issue::{Family, Issue};
use super::types::metric::{self, Metric, MetricRange, Times};
use super::types::remediation::Remediation;
use super::types::service::ServiceHealth;
use super::types::slo::Slo;
use crate::api::no_objectives;
use crate::happenings;
use crate::problem::{Code, Problem};

/// How far back changes of version are told: as long as records are kept.
const HISTORY: Duration = Duration::from_secs(90 * 86_400);

/// Which issues to list; what is left out finds all.
#[derive(InputObject, Default)]
pub(super) struct IssuesFilter {
    /// Only open ones, or only those that are over.
    state: Option<IssueState>,
    /// Only of this type.
    r#type: Option<IssueType>,
    /// Only of this severity.
    severity: Option<Severity>,
    /// Only on this resource, such as `instance/cart-0`.
    resource: Option<String>,
    /// Only those detected since.
    since: Option<DateTime>,
}

/// Which remediations to list; what is left out finds all, but for `purpose`.
#[derive(InputObject, Default)]
pub(super) struct RemediationsFilter {
    /// Only plans for this; repairs where it is left out.
    purpose: Option<RemediationPurpose>,
    /// Only in this state.
    status: Option<RemediationStatus>,
    /// Only those that touch this resource, such as `instance/cart-0`.
    resource: Option<String>,
    /// Only those made since.
    since: Option<DateTime>,
}

fn resource(text: Option<String>) -> Result<Option<ResourceId>, Problem> {
    let read = |text: String| {
        let why = format!("{text:?} is no resource, such as instance/cart-0");
        text.parse().map_err(|_| Problem::field("filter.resource", why))
    };
    text.map(read).transpose()
}

/// What an id names; nothing where it cannot be an id at all.
fn named<T: std::str::FromStr>(id: &ID) -> Option<T> {
    id.parse().ok()
}

/// The root of what can be read.
pub(super) struct Query;

/// What can be read.
#[Object]
impl Query {
    /// The Infrastructure of this id; null where it is not up.
    #[graphql(guard = "Needs(Permission::StateRead)")]
    async fn infrastructure(&self, context: &Context<'_>, id: ID) -> Result<Option<Infrastructure>, Problem> {
        let up = Operation::of(context)?.infrastructure()?;
        Ok(up.filter(|up| up.name.as_str() == id.as_str()).map(Infrastructure))
    }

    /// Every Infrastructure that is up; one is kept at a time.
    #[graphql(guard = "Needs(Permission::StateRead)")]
    async fn list_infrastructures(&self, context: &Context<'_>) -> Result<Vec<Infrastructure>, Problem> {
        Ok(Operation::of(context)?.infrastructure()?.map(Infrastructure).into_iter().collect())
    }

    /// What the provider discovers, by name.
    #[graphql(guard = "Needs(Permission::StateRead)", complexity = "cost(first, child_complexity)")]
    async fn compute_resources(
        &self,
        context: &Context<'_>,
        filter: Option<ComputeFilter>,
        #[graphql(desc = "At most this many, 1 to 100; 20 where it is left out")] first: Option<i32>,
        #[graphql(desc = "The `endCursor` of the page before")] after: Option<String>,
    ) -> Result<Connection<String, Compute>, Problem> {
        let page = Page::read(first, after)?;
        let all = Compute::all(&Operation::of(context)?.snapshot()?, &filter.unwrap_or_default());
        Ok(page.within(all, Compute::key, |compute| compute))
    }

    /// Series, as the PromQL engine answers: at one time, or over a range. Where a page is not the first, give the same
    /// time as before.
    #[graphql(guard = "Needs(Permission::TelemetryRead)", complexity = "100 + cost(first, child_complexity)")]
    async fn metrics(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "An expression of PromQL")] query: String,
        #[graphql(desc = "At this time; now where neither this nor `range` is given")] at: Option<DateTime>,
        range: Option<MetricRange>,
        #[graphql(desc = "At most this many, 1 to 100; 20 where it is left out")] first: Option<i32>,
        #[graphql(desc = "The `endCursor` of the page before")] after: Option<String>,
    ) -> Result<Connection<String, Metric>, Problem> {
        let operation = Operation::of(context)?;
        let page = Page::read(first, after)?;
        let behind: usize = page.after()?.unwrap_or(0);
        let expression = metric::parse(&query)?;
        let times = Times::read(at, range, operation.app().clock.now())?;
        let is_given_up = || operation.is_given_up();
        let found = metric::evaluate(operation.app().metrics.as_ref(), &expression, &times, &is_given_up)?;
        // The cursor of a series is how many stand before the next one: an expression may have an order of its own.
        let rows = found.into_iter().enumerate().skip(behind);
        Ok(page.of(rows, |(index, metric)| ((index + 1).to_string(), metric)))
    }

    /// Whether repairs run by themselves.
    #[graphql(guard = "Needs(Permission::StateRead)")]
    async fn automation(&self, context: &Context<'_>) -> Result<AutomaticRepair, Problem> {
        Ok(AutomaticRepair::of(&Operation::of(context)?.app().store.switches()?))
    }

    /// Services with their version, their replicas and the history of their versions, by name.
    #[graphql(guard = "Needs(Permission::StateRead)", complexity = "cost(first, child_complexity)")]
    async fn deployments(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Only of this service")] service: Option<String>,
        #[graphql(desc = "At most this many, 1 to 100; 20 where it is left out")] first: Option<i32>,
        #[graphql(desc = "The `endCursor` of the page before")] after: Option<String>,
    ) -> Result<Connection<String, Deployment>, Problem> {
        let operation = Operation::of(context)?;
        let page = Page::read(first, after)?;
        let since = operation.app().clock.now().minus(HISTORY);
        let changes = operation.app().store.deployments(since)?;
        let snapshot = operation.snapshot().ok();
        let all = Deployment::all(snapshot.as_deref(), &changes, service.as_deref());
        Ok(page.within(all, |deployment| deployment.service.clone(), |deployment| deployment))
    }

    /// Every change of a configuration item, with who made it and why, newest first. Empty where there was no such item.
    #[graphql(guard = "Needs(Permission::StateRead)", complexity = "cost(first, child_complexity)")]
    async fn changes(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The item, such as `service/cart`")] item: ID,
        #[graphql(desc = "At most this many, 1 to 100; 20 where it is left out")] first: Option<i32>,
        #[graphql(desc = "The `endCursor` of the page before")] after: Option<String>,
    ) -> Result<Connection<String, Change>, Problem> {
        let page = Page::read(first, after)?;
        let before = page.after()?;
        let rows = match named::<ResourceId>(&item) {
            Some(item) => Operation::of(context)?.app().store.item_history(&item, before, page.rows())?,
            None => Vec::new(),
        };
        Ok(page.of(rows, |record| (record.sequence.to_string(), Change::from(record))))
    }

    /// What is wrong, or was, newest first.
    #[graphql(guard = "Needs(Permission::StateRead)", complexity = "cost(first, child_complexity)")]
    async fn issues(
        &self,
        context: &Context<'_>,
        filter: Option<IssuesFilter>,
        #[graphql(desc = "At most this many, 1 to 100; 20 where it is left out")] first: Option<i32>,
        #[graphql(desc = "The `endCursor` of the page before")] after: Option<String>,
    ) -> Result<Connection<String, Issue>, Problem> {
        let store = &Operation::of(context)?.app().store;
        let page = Page::read(first, after)?;
        let filter = filter.unwrap_or_default();
        let filter = IssueFilter {
            limit: page.rows(),
            before: page.after()?,
            state: filter.state.map(Into::into),
            kind: filter.r#type.map(Into::into),
            severity: filter.severity.map(Into::into),
            resource: resource(filter.resource)?,
            since: filter.since.map(|since| since.0),
        };
        let (_, rows) = Family::of(store, store.issues(&filter)?);
        Ok(page.of(rows, |issue| (issue.issue.id.to_string(), issue)))
    }

    /// One issue; null where there is none of this id.
    #[graphql(guard = "Needs(Permission::StateRead)")]
    async fn issue(&self, context: &Context<'_>, id: ID) -> Result<Option<Issue>, Problem> {
        let store = &Operation::of(context)?.app().store;
        let Some(id) = named(&id) else { return Ok(None) };
        Ok(Family::of(store, store.issue(id)?.into_iter().collect()).1.pop())
    }

    /// Repairs, newest first; other plans where `purpose` of the filter says so.
    #[graphql(guard = "Needs(Permission::StateRead)", complexity = "cost(first, child_complexity)")]
    async fn remediations(
        &self,
        context: &Context<'_>,
        filter: Option<RemediationsFilter>,
        #[graphql(desc = "At most this many, 1 to 100; 20 where it is left out")] first: Option<i32>,
        #[graphql(desc = "The `endCursor` of the page before")] after: Option<String>,
    ) -> Result<Connection<String, Remediation>, Problem> {
        let store = &Operation::of(context)?.app().store;
        let page = Page::read(first, after)?;
        let filter = filter.unwrap_or_default();
        let filter = PlanFilter {
            limit: page.rows(),
            before: page.after()?,
            status: filter.status.map(Into::into),
            resource: resource(filter.resource)?,
            since: filter.since.map(|since| since.0),
            only: filter.purpose.unwrap_or_default().only(),
        };
        let rows = Remediation::all(store, store.plans(&filter)?);
        Ok(page.of(rows, |row| (row.record.plan.id.to_string(), row)))
    }

    /// One remediation, or another plan by its id; null where there is none of this id.
    #[graphql(guard = "Needs(Permission::StateRead)")]
    async fn remediation(&self, context: &Context<'_>, id: ID) -> Result<Option<Remediation>, Problem> {
        let store = &Operation::of(context)?.app().store;
        let Some(id) = named(&id) else { return Ok(None) };
        Ok(Remediation::all(store, store.plan(id)?.into_iter().collect()).pop())
    }

    /// Experiments, newest first.
    #[graphql(guard = "Needs(Permission::StateRead)", complexity = "cost(first, child_complexity)")]
    async fn experiments(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "At most this many, 1 to 100; 20 where it is left out")] first: Option<i32>,
        #[graphql(desc = "The `endCursor` of the page before")] after: Option<String>,
    ) -> Result<Connection<String, Experiment>, Problem> {
        let page = Page::read(first, after)?;
        let rows = Operation::of(context)?.app().store.experiments(page.rows(), page.after()?)?;
        Ok(page.of(rows, |record| (record.id.to_string(), Experiment::from(record))))
    }

    /// One experiment; null where there is none of this id.
    #[graphql(guard = "Needs(Permission::StateRead)")]
    async fn experiment(&self, context: &Context<'_>, id: ID) -> Result<Option<Experiment>, Problem> {
        let Some(id) = named(&id) else { return Ok(None) };
        Ok(Operation::of(context)?.app().store.experiment(id)?.map(Experiment::from))
    }

    /// How well everything is.
    #[graphql(guard = "Needs(Permission::StateRead)")]
    async fn health_score(&self, context: &Context<'_>) -> Result<HealthScore, Problem> {
        let record = Operation::of(context)?.app().control.health();
        record.as_ref().map(HealthScore::from).ok_or_else(|| {
            Problem::new(Code::NotKnownYet, "no health was computed yet; ask again in a few seconds")
        })
    }

    /// How a service is, as its callers see it; null where nothing is known of it.
    #[graphql(guard = "Needs(Permission::StateRead)", complexity = "10 + child_complexity")]
    async fn service_health(
        &self,
        context: &Context<'_>,
        service: String,
    ) -> Result<Option<ServiceHealth>, Problem> {
        let operation = Operation::of(context)?;
        let issues = operation.open_issues()?;
        Ok(happenings::service::of(operation.app(), &service, &issues)?.map(ServiceHealth::from))
    }

    /// Service level objectives, by id.
    #[graphql(guard = "Needs(Permission::StateRead)")]
    async fn slos(&self, context: &Context<'_>) -> Result<Vec<Slo>, Problem> {
        let objectives = Operation::of(context)?.app().objectives.as_ref().ok_or_else(no_objectives)?;
        Ok(objectives.details().iter().map(Slo::from).collect())
    }

    /// One service level objective; null where there is none of this id.
    #[graphql(guard = "Needs(Permission::StateRead)")]
    async fn slo(&self, context: &Context<'_>, id: ID) -> Result<Option<Slo>, Problem> {
        let objectives = Operation::of(context)?.app().objectives.as_ref().ok_or_else(no_objectives)?;
        Ok(objectives.detail(&id).as_ref().map(Slo::from))
    }
}
