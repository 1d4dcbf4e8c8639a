//! `homeostat down`: takes down what is up, by a plan, and ends control plane and keeper of a data directory.
//!
//! In: a data directory. Out: nothing of it runs any more; its state stays, with the plan and who asked for it. The control
//! plane is ended first: what it had under way is settled before anything is taken down, and nobody repairs what is.

use std::sync::Arc;

use domain::Infrastructure;
use domain::access::LOCAL_TOKEN;
use provider::{Look, ProcessProvider};
use serde_json::Value;

use super::{Exit, Failure, Global, load_config};
use crate::client::ClientError;
use crate::config::Config;
use crate::control_plane::declared::{TakenDown, take_down};
use crate::control_socket::{Ask, ask};

/// Runs it.
pub(super) fn run(global: &Global) -> Result<Exit, Failure> {
    let config = load_config(global)?;
    if !global.dir.join("keeper").exists() {
        return Err(ClientError::NotRunning { dir: global.dir.clone() }.into());
    }
    end(global, &config)?;
    provider::say!("down; state stays in {}", global.dir.display());
    Ok(Exit::Done)
}

/// Takes everything down, unless it is somebody else's to approve that.
pub(super) fn end(global: &Global, config: &Config) -> Result<(), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::failed(error);
    let provider = Arc::new(ProcessProvider::open(&global.dir).map_err(|error| failed(&error))?);
    if let Some(up) = provider.infrastructure().map_err(|error| failed(&error))?
        && let Some(why) = objection(global, config, &up)
    {
        let name = &up.name;
        let message = format!(
            "{why}: `homeostat infra delete {name}` asks for it; once it is approved, `homeostat down` ends the rest"
        );
        return Err(Failure { exit: Exit::Refused, message });
    }
    crate::pid_file::end_control_plane(&global.dir).map_err(|error| failed(&error))?;
    match take_down(&global.dir, config, &provider) {
        Ok(TakenDown::Nothing | TakenDown::Done) => {}
        Ok(TakenDown::Waits(why)) => return Err(Failure { exit: Exit::Refused, message: why }),
        Ok(TakenDown::Not(why)) => provider::say!("it is taken down all the same, by no plan: {why}"),
        // Whoever ends a fleet at a damaged or full disk wants it ended.
        Err(error) => {
            provider::say!("it is taken down by no plan and in no audit trail: {}", failed(&error).message);
        }
    }
    // The rest of it, and the keeper.
    provider.down().map_err(|error| failed(&error))
}

/// Why who asks may not take this down by their word alone: by the policy of the control plane that runs, and by the one
/// that is configured here.
fn objection(global: &Global, config: &Config, up: &Infrastructure) -> Option<String> {
    let here = config.policy.take_down_objection(up, LOCAL_TOKEN);
    here.or_else(|| {
        // One that does not run, hangs or is too old to be asked says nothing.
        let said: Value = ask(&global.dir, Ask::MayTakeDown {}).ok()?;
        said["objection"].as_str().map(str::to_owned)
    })
}
