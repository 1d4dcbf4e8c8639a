//! What happens, as it happens. Every field names the permission it asks for; what feeds them is in [`super::feed`].

use std::sync::Arc;

use async_graphql::{Context, ID, Subscription as Root};
use domain::Permission;
use futures_util::{Stream, stream};
use tokio::sync::broadcast::error::RecvError;

use super::operation::Operation;
use super::permission::Needs;
use super::scalars::Severity;
use super::types::anomaly::AnomalyEvent;
use super::types::infrastructure::InfrastructureStatus;
use super::types::metric::MetricsUpdate;
use crate::problem::{Code, Problem};

/// The root of what happens.
pub(super) struct Subscription;

/// What happens, as it happens.
#[Root]
impl Subscription {
    /// How an Infrastructure is: at once, and whenever that changes.
    #[graphql(guard = "Needs(Permission::StateRead)")]
    async fn infrastructure_status(
        &self,
        context: &Context<'_>,
        id: ID,
    ) -> Result<impl Stream<Item = Arc<InfrastructureStatus>> + use<>, Problem> {
        let app = Operation::of(context)?.app();
        let receiver = app.graphql.feeds.state.status(app);
        Ok(stream::unfold(
            (receiver, None),
            move |(mut receiver, last): (_, Option<Arc<InfrastructureStatus>>)| {
                let id = id.clone();
                async move {
                    loop {
                        receiver.changed().await.ok()?;
                        let up = receiver.borrow_and_update().clone()?;
                        let own = up.filter(|up| up.id == id);
                        let now = own.unwrap_or_else(|| Arc::new(InfrastructureStatus::absent(&id)));
                        if last.as_ref().is_none_or(|last| !last.says_as(&now)) {
                            return Some((Arc::clone(&now), (receiver, Some(now))));
                        }
                    }
                }
            },
        ))
    }

    /// What detection finds from now on: issues that are opened, changed or closed.
    #[graphql(guard = "Needs(Permission::StateRead)")]
    async fn anomaly_alerts(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Only of this severity and above")] severity: Option<Severity>,
        #[graphql(desc = "Only of this service")] service: Option<String>,
    ) -> Result<impl Stream<Item = Result<AnomalyEvent, Problem>> + use<>, Problem> {
        let app = Operation::of(context)?.app();
        let receiver = app.graphql.feeds.state.anomalies(app);
        let least = severity.map(domain::Severity::from);
        let wanted = move |event: &AnomalyEvent| {
            let issue = &event.issue.issue;
            let on = issue.resource.service().map(domain::ServiceName::as_str);
            least.is_none_or(|least| issue.severity >= least)
                && (service.is_none() || on == service.as_deref())
        };
        Ok(stream::unfold(Some((receiver, wanted)), |listening| async move {
            let (mut receiver, wanted) = listening?;
            loop {
                match receiver.recv().await {
                    Ok(event) if wanted(&event) => {
                        return Some((Ok((*event).clone()), Some((receiver, wanted))));
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(lost)) => {
                        let why =
                            format!("{lost} events were lost: they were read too slowly; subscribe again");
                        return Some((Err(Problem::new(Code::TooManyRequests, why)), None));
                    }
                    Err(RecvError::Closed) => return None,
                }
            }
        }))
    }

    /// Series, as the PromQL engine answers, every `interval` seconds. Listeners to the same expression and interval share
    /// its evaluation.
    #[graphql(guard = "Needs(Permission::TelemetryRead)")]
    async fn metrics_stream(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "An expression of PromQL")] query: String,
        #[graphql(default = 5, desc = "Seconds from one evaluation to the next, 1 to 3600")] interval: u32,
    ) -> Result<impl Stream<Item = Result<Arc<MetricsUpdate>, Problem>> + use<>, Problem> {
        let app = Operation::of(context)?.app();
        let receiver = app.graphql.feeds.series.follow(app, &query, interval)?;
        Ok(stream::unfold(receiver, |mut receiver| async move {
            receiver.changed().await.ok()?;
            let told = receiver.borrow_and_update().clone()?;
            Some((told, receiver))
        }))
    }
}
