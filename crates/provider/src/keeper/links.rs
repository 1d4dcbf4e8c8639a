//! Tells the link proxies what is behind them.
//!
//! In: declared dependencies, readiness, attributes, faults. Out: one [`LinkConfig`] a link. The proxies
//! themselves are in [`super::proxy`].

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use domain::snapshot::Phase;
use domain::{Attribute, AttributeValue, EventKind, FaultKind, LinkName, ResourceId, ServiceName};

use super::proxy::{Backend, LinkConfig, LinkFault, LinkProxy};
use super::supervise::Fate;
use super::{Keeper, Shared};
use crate::process;
use crate::sample::UnboundLink;

/// Every link there should be, with the fixed port of those from outside.
pub(super) fn declared(keeper: &Keeper) -> Vec<(LinkName, Option<u16>)> {
    let Some(infrastructure) = &keeper.table.infrastructure else { return Vec::new() };
    let published = infrastructure.services.iter().filter_map(|(name, spec)| {
        spec.publish.map(|port| (LinkName::from_outside(name.clone()), Some(port)))
    });
    infrastructure.links().map(|link| (link, None)).chain(published).collect()
}

/// Binds the proxies that do not run yet. Returns those that cannot be bound, with the port and why.
pub(super) async fn bind_missing(shared: &Shared) -> Vec<(LinkName, u16, io::Error)> {
    let mut unbound = Vec::new();
    let missing: Vec<_> = {
        let keeper = shared.borrow();
        let links = declared(&keeper).into_iter().filter(|(name, _)| !keeper.proxies.contains_key(name));
        links
            .filter_map(|(name, fixed)| {
                let port = fixed.or_else(|| keeper.table.ports.get(&name).copied()).unwrap_or(0);
                Some((config(&keeper, &name)?, name, port, Arc::clone(&keeper.clock)))
            })
            .collect()
    };
    for (config, name, port, clock) in missing {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match LinkProxy::bind(name.clone(), listen, config, clock).await {
            Ok(proxy) => {
                let mut keeper = shared.borrow_mut();
                keeper.table.ports.insert(name.clone(), proxy.address().port());
                keeper.proxies.insert(name, proxy);
            }
            // Somebody else of this keeper may have bound it meanwhile.
            Err(_) if shared.borrow().proxies.contains_key(&name) => {}
            Err(error) => unbound.push((name, port, error)),
        }
    }
    unbound
}

/// Binds what could not be bound, and says what changed of that.
pub(super) async fn bind_again(shared: &Shared) {
    let mut unbound = BTreeMap::new();
    for (link, port, error) in bind_missing(shared).await {
        let error = error.to_string();
        let before = shared.borrow().unbound.get(&link).cloned();
        let is_told = |it: &UnboundLink| {
            let holds_on = it.holder.as_ref().is_none_or(|holder| process::identify(holder.pid).is_some());
            it.port == port && it.error == error && holds_on
        };
        let now = match before.filter(is_told) {
            Some(before) => before,
            None => {
                // It reads the descriptors of every process.
                let holder = tokio::task::spawn_blocking(move || process::listener_on(port)).await;
                UnboundLink { link: link.clone(), port, error, holder: holder.ok().flatten() }
            }
        };
        unbound.insert(link, now);
    }
    let mut keeper = shared.borrow_mut();
    let before = std::mem::replace(&mut keeper.unbound, unbound.clone());
    for (link, it) in unbound.iter().filter(|(link, it)| before.get(link) != Some(it)) {
        crate::say!("{}: {}", it.what(), it.why());
        keeper.report(ResourceId::Link(link.clone()), EventKind::LinkTrouble);
    }
    for (link, it) in before.iter().filter(|(link, _)| !unbound.contains_key(link)) {
        if keeper.proxies.contains_key(link) {
            crate::say!("{}: is listened on again", it.what());
            keeper.report(ResourceId::Link(link.clone()), EventKind::LinkTrouble);
        }
    }
}

/// Tells every link into a service what is behind it now.
pub(super) fn configure_into(shared: &Shared, service: &ServiceName) {
    let keeper = shared.borrow();
    for (name, proxy) in keeper.proxies.iter().filter(|(name, _)| name.to == *service) {
        if let Some(config) = config(&keeper, name) {
            proxy.configure(config);
        }
    }
}

/// Tells one link.
pub(super) fn configure(keeper: &Keeper, name: &LinkName) {
    if let (Some(proxy), Some(config)) = (keeper.proxies.get(name), config(keeper, name)) {
        proxy.configure(config);
    }
}

fn config(keeper: &Keeper, name: &LinkName) -> Option<LinkConfig> {
    let spec = keeper.spec(&name.to)?;
    let flag =
        |attribute| matches!(keeper.table.attribute(&attribute), Some((AttributeValue::Flag(true), _)));
    let slots = keeper.slots.iter().filter(|(instance, _)| instance.service == name.to);
    let backends = slots
        .filter_map(|(instance, slot)| {
            let port = keeper.table.instances.get(instance)?.port?;
            Some(Backend {
                instance: instance.clone(),
                address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
                ready: slot.phase == Phase::Ready && slot.fate == Fate::Kept,
                ejected: flag(Attribute::Ejected(name.clone(), instance.clone())),
            })
        })
        .collect();
    let on_this = |target: &ResourceId| matches!(target, ResourceId::Link(link) if link == name);
    let faults = keeper.table.overlays.iter().filter(|overlay| on_this(&overlay.fault.target));
    Some(LinkConfig {
        protocol: spec.listens?,
        backends,
        held_open: flag(Attribute::BreakerHeldOpen(name.clone())),
        faults: faults
            .map(|overlay| LinkFault {
                token: overlay.token,
                kind: overlay.fault.kind.clone(),
                since: overlay.since,
            })
            .collect(),
        check_path: spec.readiness.and_then(|probe| probe.http),
    })
}

/// Whether a fault is one that the proxies do.
pub(super) fn is_network(kind: &FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::NetworkLatency { .. }
            | FaultKind::NetworkPartition { .. }
            | FaultKind::ApiThrottling { .. }
    )
}
