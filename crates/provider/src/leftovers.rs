//! Looks for what faults leave behind, without asking anybody who should know: processes, files, links.
//!
//! In: the data directory and the machine's process table. Out: one sentence for each thing found. It reads
//! what is there, not the keeper's table, because a fault that was forgotten is not in the table.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use domain::snapshot::BreakerState;

use crate::layout::{INSTANCE, KEEPER, WORKER};
use crate::{Look, ProcessProvider, ProviderError, cgroup, files, process};

impl ProcessProvider {
    /// Everything a fault may have left: stress workers, stopped processes, filler files, control groups of
    /// instances that are gone, links that do not let traffic through.
    ///
    /// # Errors
    ///
    /// The provider's, where it does not answer.
    pub fn leftovers(&self) -> Result<Vec<String>, ProviderError> {
        let dir = self.keeper.keeper_dir();
        let mut found = processes(&dir);
        let sample = self.sample()?;
        let instances: BTreeSet<String> =
            sample.services.values().flat_map(|it| it.instances.keys()).map(ToString::to_string).collect();
        for group in cgroup::groups_of(&dir).difference(&instances) {
            found.push(format!("the control group of {group}, which is gone, is still there"));
        }
        for (name, service) in &sample.services {
            for instance in service.instances.keys().filter(|_| service.volume.is_some()) {
                found.extend(fillers(&self.volume_path(instance)?, &instance.to_string()));
            }
            let extra = service.instances.len().saturating_sub(service.replicas as usize);
            if extra > 0 {
                found.push(format!("{name} has {extra} instances more than it should"));
            }
        }
        for (name, link) in &sample.links {
            if link.breaker.is_some_and(|breaker| breaker != BreakerState::Closed) {
                found.push(format!("the breaker of {name} is not closed"));
            }
            let ejected = link.backends.iter().filter(|(_, backend)| backend.ejected);
            found.extend(ejected.map(|(instance, _)| format!("{instance} is taken out of {name}")));
        }
        Ok(found)
    }
}

/// Workers that still run and processes that are stopped, among those of this data directory.
fn processes(keeper_dir: &Path) -> Vec<String> {
    let ours = keeper_dir.to_string_lossy();
    let mut found = Vec::new();
    for pid in process::all() {
        if process::environment_of(pid, KEEPER).as_deref() != Some(ours.as_ref()) {
            continue;
        }
        let instance = process::environment_of(pid, INSTANCE).unwrap_or_else(|| "no instance".to_owned());
        if process::environment_of(pid, WORKER).is_some() {
            found.push(format!("stress worker {pid} of {instance} still runs"));
        } else if process::stat(pid).is_some_and(|stat| stat.state == 'T') {
            found.push(format!("process {pid} of {instance} is stopped"));
        }
    }
    found
}

/// Filler files in a volume.
fn fillers(volume: &Path, instance: &str) -> Vec<String> {
    files::files(volume, Duration::ZERO)
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(files::FILLER)))
        .map(|path| format!("{instance}: filler file {}", path.display()))
        .collect()
}
