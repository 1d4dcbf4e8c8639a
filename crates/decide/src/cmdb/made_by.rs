//! Which step of a plan makes which change: a restart that happens to run is not why a limit is another one.

use domain::cmdb::{ItemChange, ItemChangeKind};
use domain::{Action, ResourceId};

/// Whether a step, or its end, makes a change like this one.
pub fn made_by(action: &Action, change: &ItemChange) -> bool {
    let sets = |names: &[&str]| names.iter().any(|name| change.attributes.contains_key(*name));
    let of_service = |service| change.item == ResourceId::Service(Clone::clone(service));
    match action {
        Action::BringUp { .. } | Action::TakeDown { .. } => true,
        Action::SetReplicas { service, .. } => {
            let comes_or_goes = change.kind != ItemChangeKind::Changed;
            let slot = change.item.instance().is_some_and(|instance| instance.service == *service);
            slot && comes_or_goes
                || of_service(service)
                    && (sets(&["discovered.replicas"])
                        || !change.gained.is_empty()
                        || !change.lost.is_empty())
        }
        Action::SetCpuLimit { service, .. } => of_service(service) && sets(&["discovered.cpu_cores"]),
        Action::SetMemoryLimit { service, .. } => of_service(service) && sets(&["discovered.memory_bytes"]),
        Action::Deploy { service, .. } => {
            of_service(service)
                && sets(&["discovered.version", "discovered.command", "discovered.environment"])
        }
        Action::ResizeVolume { instance, .. } => {
            change.item == ResourceId::Volume(instance.clone()) && sets(&["discovered.size_bytes"])
        }
        Action::EjectBackend { link, .. } => {
            change.item == ResourceId::Link(link.clone()) && sets(&["discovered.ejected"])
        }
        Action::RestartInstance { instance, .. } => {
            change.item == ResourceId::Instance(instance.clone()) && sets(&["discovered.port"])
        }
        Action::RemoveFiles { .. }
        | Action::RotateLogs { .. }
        | Action::ClearCaches { .. }
        | Action::OpenBreaker { .. }
        | Action::ResetConnections { .. }
        | Action::Inject(_) => false,
    }
}
