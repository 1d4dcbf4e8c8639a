//! `server/purge`: removes our own records before retention does.
//!
//! In: how old they must be, and which. Out: how many there were, and the room they gave back to the disk. What is open,
//! runs or is owed is never removed: that is the store's word. One request works for a limited time, and is recorded with what
//! it removed by then; counting what would go ends as early.

use std::ops::ControlFlow;
use std::time::Duration;

use audit::Outcome;
use axum::http::StatusCode;
use domain::units::parse_duration;
use domain::{Permission, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use store::{OldTraces, Pruned, PurgeEnd, PurgeMode, PurgeOrder, Purgeable, RecordKind, StoreError};

use super::{Answer, Asked, json};
use crate::auditing::{Detail, OfPurge};
use crate::deed::Deed;
use crate::endpoint::{DURATION, Endpoint, choices};
use crate::problem::{Code, Problem, chain};
use crate::purging::PurgeableTraces;
use crate::security::REQUEST_TIME;
use crate::serve::{App, lock};

/// How long one request works: what was removed by then is told before it would be broken off.
const TIME: Duration = Duration::from_millis(REQUEST_TIME.as_millis() as u64 * 3 / 4);

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post(Permission::ServerManage, "/api/v3/server/purge", "records.purge", purge)
            .says("Removes own records that are over and old, before retention does")
            .takes::<Purge>()
            .refuses([Code::NoTelemetry])
            .answers::<PurgedShape>("What was removed, or would be"),
    ]
}

/// What is to be removed. What is open, runs, or has something that is owed stays, and the audit trail with it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("examples" = [{"older_than": "90d", "kinds": ["issues", "remediations"], "dry_run": true}]))]
struct Purge {
    /// How long they must be over, such as `90d`; at least `30d`.
    #[schemars(extend("pattern" = DURATION))]
    older_than: String,
    /// Which; all but `traces` where they are left out. `traces` are archived ones, by whomever, as old as when they were last
    /// added to.
    #[serde(default = "by_default")]
    #[schemars(schema_with = "kinds")]
    kinds: Vec<String>,
    /// Says what would be removed; removes nothing.
    #[serde(default)]
    dry_run: bool,
}

fn by_default() -> Vec<String> {
    RecordKind::by_default().into_iter().map(|kind| kind.name().to_owned()).collect()
}

fn kinds(_: &mut SchemaGenerator) -> Schema {
    let names = choices(RecordKind::ALL.map(RecordKind::name));
    schemars::json_schema!({"type": "array", "items": names, "minItems": 1})
}

/// What was removed, or would be.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PurgedShape {
    /// Whether nothing was removed because nothing was to be.
    dry_run: bool,
    issues: usize,
    /// Of repairs, experiments and operations, with their journals.
    plans: usize,
    experiments: usize,
    deployments: usize,
    events: usize,
    /// Configuration items that were gone.
    configuration_items: usize,
    /// Versions of configuration items.
    configuration_changes: usize,
    health_scores: usize,
    /// Archived traces that no open issue cites.
    archived_traces: usize,
    /// Bytes that the disk has more now.
    given_back_bytes: u64,
    /// Whether nothing is left to do. One request works for 7.5 s at most: where this is false and `failure` is null, ask again
    /// for the rest. Of a dry run, whether all was counted: where this is false, it is at least so much.
    complete: bool,
    /// Why it ended half-way. What is counted here is gone; ask again once what is said here is mended.
    failure: Option<String>,
    /// Why not all room was given back; it is used again for new records.
    trouble: Option<String>,
}

impl PurgedShape {
    fn new(mode: PurgeMode, pruned: Pruned) -> Self {
        let Pruned { issues, plans, experiments, deployments, events, items, changes, health_scores, .. } =
            pruned;
        let Pruned { traces, .. } = pruned;
        Self {
            dry_run: mode == PurgeMode::DryRun,
            issues,
            plans,
            experiments,
            deployments,
            events,
            configuration_items: items,
            configuration_changes: changes,
            health_scores,
            archived_traces: traces,
            given_back_bytes: 0,
            complete: true,
            failure: None,
            trouble: None,
        }
    }
}

fn purge(asked: &Asked<'_>) -> Answer {
    let body: Purge = asked.body()?;
    let age =
        parse_duration(&body.older_than).map_err(|error| Problem::field("older_than", error.to_string()))?;
    let kinds: Result<Vec<RecordKind>, String> = body.kinds.iter().map(|kind| kind.parse()).collect();
    let kinds = kinds.map_err(|why| Problem::field("kinds", why))?;
    asked.deed.tell(Deed::of("records"));
    if kinds.is_empty() {
        return Err(Problem::field("kinds", "is empty; leave it out for every kind but traces"));
    }
    let refused = |error| match error {
        error @ StoreError::TooYoung { .. } => Problem::field("older_than", error.to_string()),
        error => error.into(),
    };
    let now = asked.app.clock.now();
    let traces = match kinds.contains(&RecordKind::Traces) {
        true => Some(PurgeableTraces::new(asked.telemetry()?.archive_purge(), &asked.app.store)?),
        false => None,
    };
    let traces = traces.as_ref().map(|traces| traces as &dyn OldTraces);
    if !body.dry_run {
        let id = lock(&asked.app.ids).next(now);
        let who = asked.identity.name.to_string();
        return remove(asked, &PurgeOrder { id, now, age, kinds, who }, traces, refused);
    }
    let go_on = || go_on(asked.app, now);
    let Purgeable { counted, is_all } =
        asked.app.store.purgeable(now, age, &kinds, traces, go_on).map_err(refused)?;
    let mut why = store::purge_told(age, &kinds, PurgeMode::DryRun, counted);
    if !is_all {
        why.push_str(", at least");
    }
    asked.deed.tell(Deed::of("records").because(why));
    let shape = PurgedShape { complete: is_all, ..PurgedShape::new(PurgeMode::DryRun, counted) };
    json(StatusCode::OK, &shape)
}

/// Breaks when a request that began then has worked long enough, or the server stops.
fn go_on(App { clock, stopping, .. }: &App, began: Time) -> ControlFlow<()> {
    match *stopping.borrow() || clock.now().since(began) >= TIME {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

fn remove(
    asked: &Asked<'_>,
    order: &PurgeOrder,
    traces: Option<&dyn OldTraces>,
    refused: impl Fn(StoreError) -> Problem,
) -> Answer {
    let store = &asked.app.store;
    let go_on = || go_on(asked.app, order.now);
    let purged = store.purge(order, traces, |_| go_on()).map_err(refused)?;
    let mut shape = PurgedShape::new(PurgeMode::Remove, purged.removed);
    shape.given_back_bytes = purged.trace_bytes;
    shape.complete = matches!(purged.end, PurgeEnd::Whole);
    // What was removed before it failed has room for what failed.
    if !matches!(purged.end, PurgeEnd::Stopped) {
        match store.give_back(go_on) {
            Ok(room) => {
                shape.given_back_bytes += room.given_back();
                shape.complete &= !room.stopped;
            }
            Err(error) => shape.trouble = Some(chain(&error)),
        }
    }
    let outcome = match &purged.end {
        PurgeEnd::Failed(error) => {
            shape.failure = Some(chain(error));
            Outcome::Failed
        }
        PurgeEnd::Whole | PurgeEnd::Stopped => Outcome::Done,
    };
    let why = store::purge_told(order.age, &order.kinds, PurgeMode::Remove, purged.removed);
    asked.deed.tell(Deed::of("records").because(why));
    let mut response = json(StatusCode::OK, &shape)?;
    response.extensions_mut().insert(OfPurge(order.id));
    response.extensions_mut().insert(Detail { text: store::purge_ended(order.id, &purged.end), outcome });
    Ok(response)
}
