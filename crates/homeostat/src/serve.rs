//! `homeostat serve`: a control plane in the foreground, until it is asked to end.
//!
//! In: a configuration, signals, questions on the control socket. Out: a running control plane, and what a service
//! manager is told of it. Services and traffic are the keeper's; they go on when this ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use audit::{Action, Outcome};
use domain::access::LOCAL_TOKEN;
use domain::units::show_duration;
use provider::Look;
use serde_json::{Value, json};

use crate::auditing::{self, Asker};
use crate::cli::{Exit, Failure, Global, ServeArgs};
use crate::control_plane::{ControlPlane, OccupiedPort};
use crate::control_socket::{Ask, ControlSocket};
use crate::reload::{ChangedKey, Reloading};
use crate::supervisor::Supervisor;
use crate::{logging, signals};

/// Between two looks for signals.
const LOOK: Duration = Duration::from_millis(100);

/// Runs until it is asked to end.
pub(crate) fn run(global: &Global, args: &ServeArgs) -> Result<Exit, Failure> {
    signals::catch(signals::Hangup::Reloads).map_err(|error| Failure::failed(&error))?;
    let config = crate::cli::load_lasting_config(global)?;
    logging::configure(config.log.level, config.log.format);
    let port = if args.any_port { OccupiedPort::TakeAnother } else { OccupiedPort::Refuse };
    let file = args.infrastructure.as_deref();
    let infrastructure = file.map(provider::manifest::read).transpose();
    let infrastructure = infrastructure.map_err(|error| Failure::new(Exit::Usage, &error))?;
    if let (Some(file), Some(infrastructure)) = (file, &infrastructure) {
        crate::cli::check_programs(&global.dir, file, infrastructure)?;
    }
    let plane = ControlPlane::start(&global.dir, &config, port, infrastructure.as_ref())
        .map_err(|error| Failure::failed(&error))?;
    let mut supervisor = Supervisor::find();
    // Whatever the working directory becomes, it is the same file.
    let path: Option<PathBuf> = global
        .config
        .as_deref()
        .map(std::path::absolute)
        .transpose()
        .map_err(|error| Failure::failed(&error))?;
    let reloading = Arc::new(plane.reloading(path, config));
    let asked = Arc::clone(&reloading);
    let socket = ControlSocket::start(&global.dir, move |ask, asker| answer(ask, &asker, &asked))
        .map_err(|error| Failure::failed(&error))?;
    log::info!("page {}  data {}", plane.address(), global.dir.display());
    say_authorities();
    crate::config::unfollowed(|name| std::env::var_os(name).is_some())
        .iter()
        .for_each(|said| log::warn!("{said}"));
    let recovered = &plane.recovered;
    if recovered.faults_taken_out > 0 || !recovered.plans.is_empty() {
        log::warn!(
            "an earlier control plane left work: {} faults taken out, {} plans settled, {} still awaited",
            recovered.faults_taken_out,
            recovered.plans.len() - recovered.awaited(),
            recovered.awaited()
        );
    }
    supervisor.ready();
    while !signals::ending() {
        if signals::take_reload() {
            // Who sent the signal reads the log.
            let _ = reload(&reloading, &Asker::signal("SIGHUP"));
        }
        supervisor.feed(plane.look_age());
        std::thread::sleep(LOOK);
    }
    supervisor.stopping();
    drop(socket);
    plane.stop();
    Ok(Exit::Done)
}

/// Who is believed where something goes out over TLS; whoever expects an authority of their own among them looks here.
fn say_authorities() {
    let authorities = outbound::authorities();
    if let Some(why) = authorities.nobody() {
        return log::error!("nobody is believed at https:// without a file of authorities: {why}");
    }
    log::info!("believed at https:// are {authorities}");
    for why in authorities.passed_over() {
        log::warn!("of these authorities one is passed over: {why}");
    }
}

fn answer(ask: Ask, asker: &Asker, reloading: &Reloading) -> Result<Value, String> {
    match ask {
        Ask::Reload {} => reload(reloading, asker).map(|changed| json!({ "changed": changed })),
        Ask::LogLevel { level, for_ms } => {
            logging::set_level(level, for_ms.map(Duration::from_millis));
            log::info!("the log level is {level:?} now, as somebody asked on the control socket");
            const ACTION: Action = Action::new("log_level.set");
            let became = match for_ms {
                Some(ms) => format!("{} for {}", level.name(), show_duration(Duration::from_millis(ms))),
                None => level.name().to_owned(),
            };
            auditing::record(&reloading.trail, asker.did(ACTION, "log", Outcome::Done).detail(became));
            Ok(json!({ "level": level }))
        }
        Ask::LogLines {} => Ok(json!({ "lines": logging::last() })),
        Ask::MayTakeDown {} => {
            let up = reloading.provider.infrastructure().map_err(|error| error.to_string())?;
            let policy = &reloading.healer.settings().policy;
            Ok(json!({ "objection": up.and_then(|up| policy.take_down_objection(&up, LOCAL_TOKEN)) }))
        }
    }
}

fn reload(reloading: &Reloading, asker: &Asker) -> Result<Vec<ChangedKey>, String> {
    let supervisor = Supervisor::find();
    supervisor.reloading();
    let reloaded = reloading.reload_for(asker);
    match &reloaded {
        Ok(changed) if changed.is_empty() => log::info!("the configuration was read again: nothing changed"),
        Ok(changed) => changed.iter().for_each(|key| log::info!("{}", key.said())),
        Err(why) => log::error!("{why}"),
    }
    supervisor.ready();
    reloaded
}
