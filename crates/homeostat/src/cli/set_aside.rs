//! `homeostat audit set-aside`: gives up an audit trail that is gone, damaged or older than the database knows, so that
//! the control plane can start and heal again.
//!
//! In: a data directory that no control plane works on, and why. Out: the old trail as it was, under `set-aside/` of the
//! data directory, where it can be looked at with `--dir`; a new trail with new keys, whose first record says who set the
//! old one aside and why. Nothing is hidden by it: whoever keeps an older checkpoint or the old public keys sees the change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use audit::{Action, Audit, Outcome};
use clap::Args;
use domain::{Clock, Time};
use durable::Access;
use provider::clock::SystemClock;
use store::Store;

use super::config::print;
use super::{Exit, Failure, Global};
use crate::auditing;

/// `audit set-aside`.
#[derive(Debug, Args)]
pub(crate) struct SetAsideArgs {
    /// Why; the first record of the new trail says it.
    #[arg(long)]
    why: String,
}

/// Where old trails are kept, in the data directory.
const KEPT: &str = "set-aside";

/// Runs it.
pub(super) fn run(global: &Global, args: &SetAsideArgs) -> Result<Exit, Failure> {
    let dir = &global.dir;
    if !dir.join("homeostat.db").exists() {
        let message =
            format!("{} holds no data of homeostat; name the data directory with --dir", dir.display());
        return Err(Failure { exit: Exit::Usage, message });
    }
    // Holds the lock of the control plane, so that nobody appends meanwhile.
    let store = Store::open(dir).map_err(|error| Failure::failed(&error))?;
    let kept = keep(dir, SystemClock.now())?;
    let trail = Audit::open(dir, Arc::new(SystemClock)).map_err(|error| Failure::failed(&error))?;
    let told = match &kept {
        Some(place) => format!("{}, kept as {}", args.why, place.display()),
        None => format!("{}; there was no trail", args.why),
    };
    const ACTION: Action = Action::new("audit.set_aside");
    let record = auditing::command_line().did(ACTION, "audit", Outcome::Done).why(told);
    trail.append(record).map_err(|error| Failure::failed(&error))?;
    // Last: until then the database knows the old trail, and a start is refused as before.
    auditing::keep_head(&store, &trail).map_err(|message| Failure { exit: Exit::Failed, message })?;
    print(&format!("{}\n", trail.keys().text()))?;
    if let Some(place) = kept {
        let place = place.display();
        provider::say!(
            "the old trail is in {place}/audit: `homeostat --dir {place} audit verify` looks at it"
        );
    }
    provider::say!(
        "a new trail was begun, with these keys; keep them elsewhere, and old checkpoints with the old keys"
    );
    Ok(Exit::Done)
}

/// Moves the trail away, where there is one; gives the directory that holds it now.
fn keep(dir: &Path, now: Time) -> Result<Option<PathBuf>, Failure> {
    let trail = dir.join("audit");
    if !trail.exists() {
        return Ok(None);
    }
    let place = dir.join(KEPT).join(now.rfc3339().replace(':', "-"));
    let moved =
        durable::make_dir(&place, Access::Owner).and_then(|()| durable::rename(&trail, &place.join("audit")));
    let failed = |error| Failure {
        exit: Exit::Failed,
        message: format!("cannot move {} to {}: {error}", trail.display(), place.display()),
    };
    moved.map_err(failed)?;
    Ok(Some(place))
}
