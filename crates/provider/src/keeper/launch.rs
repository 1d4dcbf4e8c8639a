//! Makes the command of an instance: program, environment, directory, log, volume.
//!
//! In: the declaration and the slot. Out: a [`Command`] ready to spawn, with what references of its environment name.
//! Output goes to an append-only file, never to a pipe that would die with the keeper. The child leads its own session: a signal to its group
//! reaches whatever it starts, and the kernel does not send SIGHUP to a paused service when the keeper dies,
//! as it would to a stopped group that loses its parent in the same session.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use domain::{InstanceName, ServiceSpec};

use super::Keeper;
use crate::cgroup::Outside;
use crate::layout::{INSTANCE, KEEPER, WORKER, log_path, open_log, volume_path};

/// Where OpenTelemetry's libraries read what they say of the process.
const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// The command of an instance, or of one of its hooks where `hook` is given.
pub(super) fn command(
    keeper: &Keeper,
    instance: &InstanceName,
    spec: &ServiceSpec,
    hook: Option<&[String]>,
) -> io::Result<Command> {
    let port = keeper.table.instances.get(instance).and_then(|record| record.port);
    let volume = spec.volume.as_ref().map(|_| volume_path(&keeper.dir, instance));
    let fill = |text: &String| {
        let volume = volume.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        text.replace("{homeostat}", &keeper.exe.display().to_string())
            .replace("{port}", &port.map(|port| port.to_string()).unwrap_or_default())
            .replace("{volume}", &volume)
            .replace("{state}", &keeper.dir.display().to_string())
            .replace("{instance}", &instance.to_string())
            .replace("{version}", spec.version.as_deref().unwrap_or_default())
    };
    let words: Vec<String> = hook.unwrap_or(&spec.command).iter().map(fill).collect();
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let log = open_log(&log_path(&keeper.dir, instance))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    keeper.groups.enter_before_exec(&mut command, instance, Outside::Runs)?;
    lead_session(&mut command);
    let environment = crate::secret::reveal_all(&spec.environment)?;
    // Whatever a stored environment holds: marked as a worker, a process would be nobody's instance for the next keeper.
    command.envs(&environment).env_remove(WORKER);
    command.env(INSTANCE, instance.to_string()).env(KEEPER, &keeper.dir);
    if let Some(version) = &spec.version {
        command.env(RESOURCE_ATTRIBUTES, resource_attributes(environment.get(RESOURCE_ATTRIBUTES), version));
    }
    if let Some(port) = port {
        command.env("PORT", port.to_string());
    }
    for callee in &spec.dependencies {
        let link = domain::LinkName { from: instance.service.clone(), to: callee.clone() };
        if let Some(port) = keeper.table.ports.get(&link) {
            let name = callee.as_str().to_uppercase().replace('-', "_");
            command.env(format!("{name}_ADDRESS"), format!("127.0.0.1:{port}"));
        }
    }
    match &volume {
        Some(path) => {
            command.env("HOMEOSTAT_VOLUME", path);
            keeper.volumes.enter_before_exec(&mut command, path)?;
        }
        None => {
            command.current_dir(&keeper.dir);
        }
    }
    Ok(command)
}

/// What the service says of itself by its environment, or else ours does, with the version of what it runs.
fn resource_attributes(said: Option<&String>, version: &str) -> String {
    let said = said.cloned().or_else(|| std::env::var(RESOURCE_ATTRIBUTES).ok()).unwrap_or_default();
    let others =
        said.split(',').filter(|pair| !pair.is_empty() && !pair.trim().starts_with("service.version="));
    let version = format!("service.version={version}");
    others.chain([version.as_str()]).collect::<Vec<_>>().join(",")
}

fn lead_session(command: &mut Command) {
    let lead = || rustix::process::setsid().map(drop).map_err(io::Error::from);
    // SAFETY: between fork and exec one system call is made.
    unsafe { command.pre_exec(lead) };
}
