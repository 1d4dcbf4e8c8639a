//! `homeostat purge`: removes own records before retention does.
//!
//! In: how old they must be, and which. Out: what is removed, or without `--yes` what would be. It asks the control plane
//! that runs; where none does, it holds the data directory itself, so that none can start meanwhile, and writes the record
//! of it to the audit trail.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use audit::{Audit, Outcome};
use clap::Args;
use domain::units::{parse_duration, show_duration};
use domain::{Bytes, Clock, IdSource};
use gateway::PurgeableTraces;
use provider::clock::SystemClock;
use serde_json::{Value, json};
use store::{
    OldTraces, Pruned, PurgeEnd, PurgeMode, PurgeOrder, RecordKind, Store, StoreError, purge_ended,
    purge_told,
};
use telemetry::ArchivePurge;

use super::config::print;
use super::{Exit, Failure, Global, Output};
use crate::client::Client;
use crate::purges::TELEMETRY;
use crate::receiving::say_damaged;
use crate::{auditing, purges};

/// `purge`.
#[derive(Debug, Args)]
pub(crate) struct PurgeArgs {
    /// How long a record must be over, such as 90d; at least 30d, since limits of repairs are counted over up to so long.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true)]
    older_than: Duration,
    /// Only these: issues, remediations, experiments, operations, deployments, events, configuration, health, traces; several
    /// with commas between them. Archived traces go only where traces are named here, by when they were last added to.
    #[arg(long = "kind", value_name = "KIND", value_delimiter = ',')]
    kinds: Vec<RecordKind>,
    /// Remove them; without this it is only said what would be removed.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: Output,
}

/// What each figure of the answer counts.
const FIGURES: [(&str, &str); 9] = [
    ("issues", "closed issues with their diagnoses"),
    ("plans", "plans that are over, with their journals"),
    ("experiments", "experiments that are over"),
    ("deployments", "deployments but the last of each service"),
    ("events", "posted events that are over"),
    ("configuration_items", "configuration items that are gone"),
    ("configuration_changes", "older versions of configuration items"),
    ("health_scores", "health scores"),
    ("archived_traces", "archived traces that no open issue cites"),
];

/// Why the server is asked no further.
const NO_WAY_ON: &str = "looking through old records that must stay takes longer than the server works on one request; \
    stop the server and purge again";

pub(super) fn run(global: &Global, args: &PurgeArgs) -> Result<Exit, Failure> {
    if args.older_than < Store::PURGE_AGE_MIN {
        return Err(Failure::new(Exit::Usage, &StoreError::TooYoung { age: args.older_than }));
    }
    let kinds = if args.kinds.is_empty() { RecordKind::by_default() } else { args.kinds.clone() };
    let answer = match global.client() {
        Ok(client) => over(&client, args, &kinds)?,
        Err(failure) if failure.exit == Exit::NotRunning && global.server.is_none() => {
            alone(global, args, &kinds)?
        }
        Err(failure) => return Err(failure),
    };
    match args.output.json {
        true => print(&format!("{answer:#}\n"))?,
        false => told(args, &answer)?,
    }
    match answer["failure"].as_str() {
        None => Ok(Exit::Done),
        Some(why) => Err(Failure { exit: Exit::Failed, message: half_way(why) }),
    }
}

fn half_way(why: &str) -> String {
    format!("it ended half-way, what is counted is gone: {why}")
}

/// By the server that runs, which works for a limited time on each request and says whether it has come to the end.
fn over(client: &Client, args: &PurgeArgs, kinds: &[RecordKind]) -> Result<Value, Failure> {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    let older_than = format!("{}s", args.older_than.as_secs_f64());
    let body = json!({ "older_than": older_than, "kinds": names, "dry_run": !args.yes });
    let figures = || FIGURES.iter().map(|(field, _)| *field).chain(["given_back_bytes"]);
    let mut sum: Option<Value> = None;
    loop {
        let answered: Result<Value, Failure> = client.post("/api/v3/server/purge", &body).map_err(Into::into);
        // Each round begins at the oldest record again.
        let idle = answered.as_ref().is_ok_and(|answer| figures().all(|field| count(answer, field) == 0));
        let mut answer = match (answered, sum.take()) {
            (answered, None) => answered?,
            (Ok(mut answer), Some(before)) => {
                for field in figures() {
                    answer[field] = json!(count(&answer, field) + count(&before, field));
                }
                answer
            }
            // What was removed by then is told before why it goes no further.
            (Err(failure), Some(mut before)) => {
                before["failure"] = json!(failure.message);
                return Ok(before);
            }
        };
        // What would go is counted as far as one request gets.
        if !args.yes
            || answer["complete"] != false
            || !answer["failure"].is_null()
            || !answer["trouble"].is_null()
        {
            return Ok(answer);
        }
        if idle {
            answer["failure"] = json!(NO_WAY_ON);
            return Ok(answer);
        }
        sum = Some(answer);
    }
}

fn count(answer: &Value, field: &str) -> u64 {
    answer[field].as_u64().unwrap_or(0)
}

/// On a data directory that no control plane works on.
fn alone(global: &Global, args: &PurgeArgs, kinds: &[RecordKind]) -> Result<Value, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::failed(error);
    let dir = &global.dir;
    if !dir.join("homeostat.db").exists() {
        let message =
            format!("{} holds no data of homeostat; name the data directory with --dir", dir.display());
        return Err(Failure { exit: Exit::Usage, message });
    }
    let store = Store::open(dir).map_err(|error| failed(&error))?;
    // Opened first: where the trail takes nothing, nothing is removed.
    let options = auditing::options(&store, 0).map_err(|error| failed(&error))?;
    let trail = Audit::open_with(dir, Arc::new(SystemClock), options).map_err(|error| failed(&error))?;
    purges::record_unrecorded(dir, &store, &trail).map_err(|error| failed(&error))?;
    let who = auditing::command_line();
    let record = |outcome, mode, counted| {
        who.did(purges::ACTION, dir.display().to_string(), outcome).why(purge_told(
            args.older_than,
            kinds,
            mode,
            counted,
        ))
    };
    let now = SystemClock.now();
    let mode = if args.yes { PurgeMode::Remove } else { PurgeMode::DryRun };
    let traces = match kinds.contains(&RecordKind::Traces) {
        true => archived(dir, &store, mode)?,
        false => None,
    };
    let traces = traces.as_ref().map(|traces| traces as &dyn OldTraces);
    if !args.yes {
        // To the end: who waits for it can end it.
        let go_on = || ControlFlow::Continue(());
        let said = store.purgeable(now, args.older_than, kinds, traces, go_on);
        let counted = said.map_err(|error| failed(&error))?.counted;
        trail.append(record(Outcome::Done, PurgeMode::DryRun, counted)).map_err(|error| failed(&error))?;
        return Ok(figures(PurgeMode::DryRun, counted));
    }
    let id = IdSource::seeded(now.boot_us.rotate_left(32) ^ now.wall_us.unsigned_abs()).next(now);
    let order =
        PurgeOrder { id, now, age: args.older_than, kinds: kinds.to_vec(), who: who.name().to_owned() };
    let purged =
        store.purge(&order, traces, |_| ControlFlow::Continue(())).map_err(|error| failed(&error))?;
    let outcome = if let PurgeEnd::Failed(_) = purged.end { Outcome::Failed } else { Outcome::Done };
    let told = record(outcome, PurgeMode::Remove, purged.removed).detail(purge_ended(id, &purged.end));
    trail.append(told).map_err(|error| failed(&error))?;
    let mut answer = figures(PurgeMode::Remove, purged.removed);
    if let PurgeEnd::Failed(error) = &purged.end {
        answer["failure"] = json!(failed(error).message);
        answer["complete"] = json!(false);
    }
    answer["given_back_bytes"] = json!(purged.trace_bytes);
    match store.give_back(|| ControlFlow::Continue(())) {
        Ok(room) => answer["given_back_bytes"] = json!(purged.trace_bytes + room.given_back()),
        Err(error) => answer["trouble"] = json!(error.to_string()),
    }
    // Where this cannot be written, the next start finds the record and does it.
    if let Err(error) = store.purge_is_recorded(id) {
        log::debug!("the note of purge {id} stays: {error}");
    }
    Ok(answer)
}

/// The archived traces of a data directory, where there are any.
fn archived(dir: &Path, store: &Store, mode: PurgeMode) -> Result<Option<PurgeableTraces>, Failure> {
    let spans = dir.join(TELEMETRY);
    if !spans.exists() {
        return Ok(None);
    }
    let opened = match mode {
        PurgeMode::DryRun => ArchivePurge::look(&spans),
        PurgeMode::Remove => ArchivePurge::at_rest(&spans),
    };
    let archive = opened.map_err(|error| Failure::failed(&error))?;
    say_damaged(archive.damaged());
    PurgeableTraces::new(archive, store).map(Some).map_err(|error| Failure::failed(&error))
}

/// As the API answers.
fn figures(mode: PurgeMode, counted: Pruned) -> Value {
    json!({
        "dry_run": mode == PurgeMode::DryRun,
        "issues": counted.issues,
        "plans": counted.plans,
        "experiments": counted.experiments,
        "deployments": counted.deployments,
        "events": counted.events,
        "configuration_items": counted.items,
        "configuration_changes": counted.changes,
        "health_scores": counted.health_scores,
        "archived_traces": counted.traces,
        "given_back_bytes": 0,
        "complete": true,
        "failure": null,
        "trouble": null,
    })
}

fn told(args: &PurgeArgs, answer: &Value) -> Result<(), Failure> {
    let dry_run = answer["dry_run"] == true;
    let figures =
        FIGURES.iter().filter_map(|(field, what)| Some((answer[field].as_u64().filter(|n| *n > 0)?, what)));
    let lines: String = figures.map(|(count, what)| format!("{count:>9}  {what}\n")).collect();
    print(&lines)?;
    let age = show_duration(args.older_than);
    match (lines.is_empty(), dry_run) {
        (true, true) if answer["complete"] == false => provider::say!(
            "nothing that may be removed was found among what is older than {age} in the time that the server works on one \
             request"
        ),
        (true, _) => provider::say!("nothing that may be removed is older than {age}"),
        (false, true) if answer["complete"] == false => provider::say!(
            "at least so much would be removed, counted as far as one request to the server gets; add --yes to remove all of \
             it. What is open, runs or is owed stays"
        ),
        (false, true) => {
            provider::say!("would be removed; add --yes to remove it. What is open, runs or is owed stays")
        }
        (false, false) => {
            let bytes = Bytes(answer["given_back_bytes"].as_u64().unwrap_or(0));
            provider::say!("removed; the disk has {bytes} more");
        }
    }
    if let Some(trouble) = answer["trouble"].as_str() {
        provider::say!("not all room could be given back ({trouble}); new records take it");
    }
    Ok(())
}
