//! Brings a whole Infrastructure up and down.
//!
//! In: an Infrastructure without violations. Out: bound links, volumes, running processes, all or nothing:
//! what can be known to be impossible is found before the first process is started.

use std::rc::Rc;
use std::time::Duration;

use domain::{Infrastructure, Release, ServiceName, ServiceSpec, StepToken};

use super::table::Table;
use super::{Keeper, Shared, links, overlay, server, supervise};
use crate::protocol::Refusal;
use crate::{runnable, secret};

/// How long proxies let running requests finish when everything goes down.
const PROXY_GRACE: Duration = Duration::from_millis(500);

/// Brings it up. The same again changes nothing, nor does a step that did it, whatever became of it since.
pub(super) async fn up(shared: &Shared, it: Infrastructure, by: Option<StepToken>) -> Result<(), Refusal> {
    let what = format!("bringing {} up", it.name);
    let refusal = |why: String| Refusal::failed(&what, why);
    {
        let mut keeper = shared.borrow_mut();
        let (now, table) = (keeper.clock.now(), &mut keeper.table);
        if by.map_or(table.infrastructure.as_ref() == Some(&it), |token| table.is_done(token)) {
            return Ok(());
        }
        if let Some(current) = &table.infrastructure {
            return Err(refusal(format!("{} is up already; take it down first", current.name)));
        }
        runnable::check(&it).map_err(refusal)?;
        if by.is_none() {
            // A step was checked before, and what a step restores is restored as far as it can be.
            it.services.iter().try_for_each(secrets_are_there).map_err(refusal)?;
        }
        (table.infrastructure, table.up_at, table.up_by) = (Some(it), Some(now), by);
        by.into_iter().for_each(|token| table.finish(token));
    }
    let mut prepared = prepare(shared).await;
    if prepared.is_ok() {
        supervise::reconcile(shared);
        if server::saved(shared).await.is_ok() {
            return Ok(());
        }
        stop(shared).await?;
        prepared = Err("the keeper's table could not be written".to_owned());
    }
    by.into_iter().for_each(|token| shared.borrow_mut().table.forget(token));
    drop(forget(shared).await);
    prepared.map_err(refusal)
}

/// Why it could not be brought up, were nothing up.
pub(super) fn in_the_way(it: &Infrastructure) -> Option<String> {
    runnable::check(it).and_then(|()| it.services.iter().try_for_each(secrets_are_there)).err()
}

/// Follows what the environment of a service refers to, as its start will, in the process that will start it.
fn secrets_are_there((name, spec): (&ServiceName, &ServiceSpec)) -> Result<(), String> {
    spec.environment.iter().try_for_each(|(variable, text)| match secret::reveal(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("services.{name}.environment.{variable}: {}", error.said())),
    })
}

/// Whether a service could run something.
pub(super) fn check_release(keeper: &Keeper, service: &ServiceName, release: Release) -> Result<(), Refusal> {
    let mut infrastructure = keeper.table.infrastructure.clone();
    let spec = infrastructure.as_mut().and_then(|it| it.services.get_mut(service));
    let spec = spec.ok_or_else(|| Refusal::unknown(format!("service/{service}")))?;
    *spec = spec.clone().with_release(release);
    let secrets = secrets_are_there((service, spec));
    infrastructure
        .map_or(Ok(()), |infrastructure| runnable::check(&infrastructure))
        .and(secrets)
        .map_err(|why| Refusal::failed(format!("deploying service/{service}"), why))
}

async fn prepare(shared: &Shared) -> Result<(), String> {
    if let Some((link, port, error)) = links::bind_missing(shared).await.first() {
        return Err(match port {
            0 => format!("link {link} cannot listen: {error}"),
            port => format!("port {port} of services.{}.publish cannot be had: {error}", link.to),
        });
    }
    let mut keeper = shared.borrow_mut();
    keeper.wanted_instances().into_iter().try_for_each(|instance| {
        keeper.make_volume(&instance).map_err(|error| format!("volume of {instance}: {error}"))
    })
}

/// Takes everything down and forgets it; by a step only what it names, and once.
pub(super) async fn down(shared: &Shared, by: Option<(StepToken, &Infrastructure)>) -> Result<(), Refusal> {
    if let Some((token, it)) = by {
        let table = &shared.borrow().table;
        match table.infrastructure.as_ref() {
            _ if table.is_done(token) => return Ok(()),
            up if up == Some(it) => {}
            _ => return Err(Refusal::unknown(format!("infrastructure/{} as planned", it.name))),
        }
    }
    stop(shared).await?;
    by.into_iter().for_each(|(token, _)| shared.borrow_mut().table.finish(token));
    forget(shared).await
}

async fn stop(shared: &Shared) -> Result<(), Refusal> {
    overlay::remove_all(shared).await;
    let names: Vec<_> = shared.borrow().slots.keys().cloned().collect();
    let stops: Vec<_> = names
        .into_iter()
        .map(|name| tokio::task::spawn_local(supervise::retire(Rc::clone(shared), name)))
        .collect();
    for stop in stops {
        stop.await.map_err(|error| Refusal::failed("stopping", error))?;
    }
    // The watchers take the ends of the processes; a process that SIGKILL does not end hangs in the kernel.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while !shared.borrow().slots.is_empty() {
        if tokio::time::Instant::now() > deadline {
            let left: Vec<_> = shared.borrow().slots.keys().map(ToString::to_string).collect();
            return Err(Refusal::failed("stopping", format!("{} did not end", left.join(", "))));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    while !shared.borrow_mut().groups.sweep() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// Where the table cannot be written, the next keeper would start everything again: that is said.
async fn forget(shared: &Shared) -> Result<(), Refusal> {
    let proxies = std::mem::take(&mut shared.borrow_mut().proxies);
    let closing: Vec<_> =
        proxies.into_values().map(|proxy| tokio::task::spawn_local(proxy.shutdown(PROXY_GRACE))).collect();
    for closed in closing {
        if let Err(error) = closed.await {
            crate::say!("a link did not close well: {error}");
        }
    }
    let saved = {
        let mut keeper = shared.borrow_mut();
        keeper.groups.release();
        keeper.volumes.release();
        keeper.rollouts.clear();
        let sequence = keeper.events.last();
        keeper.table = Table { sequence, done: std::mem::take(&mut keeper.table.done), ..Table::default() };
        if let Err(error) = std::fs::remove_dir_all(keeper.dir.join("volumes"))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            crate::say!("cannot remove the volumes' directories: {error}");
        }
        keeper.save()
    };
    match saved.await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Refusal::failed(
            "taking down",
            "everything was stopped, but the keeper's table could not be written and the next keeper would start it again; make room on the disk and take it down once more",
        )),
    }
}
