//! `homeostat purge`: removes own records before retention does.
//!
//! In: how old they must be, and which. Out: what is removed, or without `--yes` what would be. It asks the control plane
//! that runs; where none does, it holds the data directory itself, so that none can start meanwhile, and writes the record
//! of it to the audit trail.

use std::sync::Arc;
use std::time::Duration;

use audit::{Action, Audit, NewRecord, Outcome, Via};
use clap::Args;
use domain::units::{parse_duration, show_duration};
use domain::{Bytes, Clock};
use provider::clock::SystemClock;
use serde_json::{Value, json};
use store::{PurgeMode, RecordKind, Store, StoreError, purge_told};

use super::config::print;
use super::{Exit, Failure, Global, Output};
use crate::auditing;

/// `purge`.
#[derive(Debug, Args)]
pub(crate) struct PurgeArgs {
    /// How long a record must be over, such as 90d; at least 30d, since limits of repairs are counted over up to so long.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true)]
    older_than: Duration,
    /// Only these: issues, remediations, experiments, operations, deployments, events, configuration, health; several with
    /// commas between them.
    #[arg(long = "kind", value_name = "KIND", value_delimiter = ',')]
    kinds: Vec<RecordKind>,
    /// Remove them; without this it is only said what would be removed.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: Output,
}

/// What each figure of the answer counts.
const FIGURES: [(&str, &str); 8] = [
    ("issues", "closed issues with their diagnoses"),
    ("plans", "plans that are over, with their journals"),
    ("experiments", "experiments that are over"),
    ("deployments", "deployments but the last of each service"),
    ("events", "posted events that are over"),
    ("configuration_items", "configuration items that are gone"),
    ("configuration_changes", "older versions of configuration items"),
    ("health_scores", "health scores"),
];

pub(super) fn run(global: &Global, args: &PurgeArgs) -> Result<Exit, Failure> {
    if args.older_than < Store::PURGE_AGE_MIN {
        return Err(Failure::new(Exit::Usage, &StoreError::TooYoung { age: args.older_than }));
    }
    let kinds = if args.kinds.is_empty() { RecordKind::ALL.to_vec() } else { args.kinds.clone() };
    let answer = match global.client() {
        Ok(client) => {
            let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
            let older_than = format!("{}s", args.older_than.as_secs_f64());
            let body = json!({ "older_than": older_than, "kinds": names, "dry_run": !args.yes });
            client.post("/api/v3/server/purge", &body)?
        }
        Err(failure) if failure.exit == Exit::NotRunning && global.server.is_none() => {
            alone(global, args, &kinds)?
        }
        Err(failure) => return Err(failure),
    };
    match args.output.json {
        true => print(&format!("{answer:#}\n"))?,
        false => told(args, &answer)?,
    }
    Ok(Exit::Done)
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
    let mode = if args.yes { PurgeMode::Remove } else { PurgeMode::DryRun };
    // Opened first: where the trail takes nothing, nothing is removed.
    let options = auditing::options(&store, 0).map_err(|error| failed(&error))?;
    let trail = Audit::open_with(dir, Arc::new(SystemClock), options).map_err(|error| failed(&error))?;
    let now = SystemClock.now();
    let pruned = store.purge(now, args.older_than, kinds, mode).map_err(|error| failed(&error))?;
    const ACTION: Action = Action::new("records.purge");
    let who = format!("uid {}", rustix::process::getuid().as_raw());
    let target = dir.display().to_string();
    let record = NewRecord::new(who, Via::CommandLine, ACTION, target, Outcome::Done).why(purge_told(
        args.older_than,
        kinds,
        mode,
        pruned,
    ));
    trail.append(record).map_err(|error| failed(&error))?;
    let (given_back, trouble) = match mode {
        PurgeMode::DryRun => (0, None),
        PurgeMode::Remove => match store.give_back() {
            Ok(room) => (room.given_back(), None),
            Err(error) => (0, Some(error.to_string())),
        },
    };
    Ok(json!({
        "dry_run": mode == PurgeMode::DryRun,
        "issues": pruned.issues,
        "plans": pruned.plans,
        "experiments": pruned.experiments,
        "deployments": pruned.deployments,
        "events": pruned.events,
        "configuration_items": pruned.items,
        "configuration_changes": pruned.changes,
        "health_scores": pruned.health_scores,
        "given_back_bytes": given_back,
        "trouble": trouble,
    }))
}

fn told(args: &PurgeArgs, answer: &Value) -> Result<(), Failure> {
    let dry_run = answer["dry_run"] == true;
    let figures =
        FIGURES.iter().filter_map(|(field, what)| Some((answer[field].as_u64().filter(|n| *n > 0)?, what)));
    let lines: String = figures.map(|(count, what)| format!("{count:>9}  {what}\n")).collect();
    print(&lines)?;
    let age = show_duration(args.older_than);
    match (lines.is_empty(), dry_run) {
        (true, _) => provider::say!("nothing that may be removed is older than {age}"),
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
