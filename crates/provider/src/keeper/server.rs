//! The keeper's socket: reads requests, does them, answers.
//!
//! Every request counts as a sign of life of the control plane. A connection asks one thing at a time; who
//! waits for events and wants to ask meanwhile opens another.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use domain::{
    Attribute, AttributeValue, FileClass, Incarnation, InstanceName, LinkName, Release, StepToken, StopManner,
};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};

use super::table::{Removed, Row, Stale};
use super::{Keeper, Shared, fleet, links, overlay, probe, rollout, status, supervise};
use crate::files;
use crate::protocol::{Errand, Held, LINE_MAX, Listener, Refusal, Reply, Request, VERSION, Welcome, name};

/// Longest wait for an event; a client that wants to wait longer asks again.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Accepts connections until the keeper ends.
pub(super) async fn serve(shared: Shared, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Rc::clone(&shared);
                tokio::task::spawn_local(async move {
                    if let Err(error) = converse(&shared, stream).await {
                        crate::say!("a client was cut off: {error}");
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: those that are open go on.
                crate::say!("cannot accept a client: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(shared: &Shared, stream: UnixStream) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    let mut greeted = false;
    while let Some(line) = next_line(&mut reading).await? {
        let reply = match serde_json::from_slice::<Request>(&line) {
            Err(error) => Err(Refusal::failed("reading the request", error)),
            Ok(Request::Hello { version }) if version != VERSION => Err(Refusal::failed(
                "talking to the keeper",
                format!(
                    "it speaks protocol {VERSION}, the client {version}; run both from one version of homeostat"
                ),
            )),
            Ok(hello @ Request::Hello { .. }) => {
                greeted = true;
                answer(shared, hello).await
            }
            Ok(_) if !greeted => {
                Err(Refusal::failed("talking to the keeper", "the first request must be hello"))
            }
            Ok(request) => answer(shared, request).await,
        };
        let reply = reply.map_or_else(Reply::Refused, Reply::Ok);
        let mut text = serde_json::to_vec(&reply)?;
        text.push(b'\n');
        writing.write_all(&text).await?;
    }
    Ok(())
}

async fn next_line(reading: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    reading.take(LINE_MAX).read_until(b'\n', &mut line).await?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => Err(io::Error::other("a request was cut off or is too long")),
    }
}

async fn answer(shared: &Shared, request: Request) -> Result<Value, Refusal> {
    {
        let mut keeper = shared.borrow_mut();
        keeper.contact = keeper.clock.now();
    }
    match request {
        Request::Hello { .. } => {
            let capabilities = status::capabilities(&shared.borrow());
            value(Welcome { version: VERSION, pid: std::process::id(), capabilities })
        }
        Request::Up { infrastructure, by } => value(fleet::up(shared, *infrastructure, by).await?),
        Request::CheckUp { infrastructure } => value(fleet::in_the_way(&infrastructure)),
        Request::Down => value(fleet::down(shared, None).await?),
        Request::TakeDown { token, infrastructure } => {
            value(fleet::down(shared, Some((token, &infrastructure))).await?)
        }
        Request::IsUpBy { token } => value(shared.borrow().table.up_by == Some(token)),
        Request::Capabilities => value(status::capabilities(&shared.borrow())),
        Request::Infrastructure => value(&shared.borrow().table.infrastructure),
        Request::Sample => value(status::sample(&mut shared.borrow_mut())),
        Request::Events { after, timeout_ms } => {
            events(shared, after, Duration::from_millis(timeout_ms)).await
        }
        Request::Attribute { attribute } => {
            let held = shared.borrow().table.attribute(&attribute);
            let (value_, generation) = held.ok_or_else(|| Refusal::unknown(name(&attribute)))?;
            value(Held { value: value_, generation })
        }
        Request::CheckRelease { service, release } => {
            value(fleet::check_release(&shared.borrow(), &service, *release)?)
        }
        Request::Set { attribute, value: to, expected, token } => {
            value(set(shared, attribute, to, expected, token).await?)
        }
        Request::Unset { attribute, token } => value(unset(shared, &attribute, token).await?),
        Request::Owns { attribute, token } => value(shared.borrow().table.is_owner(&attribute, token)),
        Request::Restart { token, instance, expected, manner } => {
            value(restart(shared, token, instance, expected, manner).await?)
        }
        Request::CheckFault { fault } => value(overlay::check(&shared.borrow(), &fault)?),
        Request::Inject { token, fault, expected } => {
            value(overlay::inject(shared, token, fault, expected).await?)
        }
        Request::Remove { token } => value(overlay::remove(shared, token).await),
        Request::InForce { token } => value(overlay::in_force(&shared.borrow(), token)),
        Request::RemoveAll => value(overlay::remove_all(shared).await),
        Request::Once { token, errand } => value(once(shared, token, errand).await?),
        Request::Done { token } => value(shared.borrow().table.is_done(token)),
        Request::Link { link } => listener(shared, &link),
        Request::Volume { instance } => {
            let keeper = shared.borrow();
            let has = keeper.spec(&instance.service).is_some_and(|spec| spec.volume.is_some());
            if has && keeper.slots.contains_key(&instance) {
                value(keeper.reach_volume(&instance))
            } else {
                Err(Refusal::unknown(format!("volume/{instance}")))
            }
        }
        Request::Heartbeat => Ok(Value::Null),
        Request::Shutdown => {
            shared.borrow().finished.notify_one();
            Ok(Value::Null)
        }
    }
}

fn value(answer: impl serde::Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(answer).map_err(|error| Refusal::failed("answering", error))
}

/// Waits until the table, as it is now, is on the disk.
pub(super) async fn saved(shared: &Shared) -> Result<(), Refusal> {
    let saved = shared.borrow_mut().save();
    match saved.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(why)) => Err(Refusal::failed("writing the keeper's table", why)),
        Err(_) => Err(Refusal::failed("writing the keeper's table", "its writer ended")),
    }
}

/// As [`saved`]; where the table could not be written, `put_back` makes it what it was, so that nobody is told
/// that something was done which no later keeper would know of.
async fn recorded(shared: &Shared, put_back: impl FnOnce(&mut Keeper)) -> Result<(), Refusal> {
    let recorded = saved(shared).await;
    if recorded.is_err() {
        let mut keeper = shared.borrow_mut();
        put_back(&mut keeper);
        // What was written for somebody else since may hold it.
        keeper.save();
    }
    recorded
}

async fn events(shared: &Shared, after: u64, timeout: Duration) -> Result<Value, Refusal> {
    let deadline = tokio::time::Instant::now() + timeout.min(WAIT_MAX);
    loop {
        let bell = shared.borrow().events.bell();
        // Listening begins before looking, so that no event falls between.
        let rung = bell.notified();
        let found = shared.borrow().events.since(after);
        if !found.is_empty() || tokio::time::timeout_at(deadline, rung).await.is_err() {
            return value(found);
        }
    }
}

async fn set(
    shared: &Shared,
    attribute: Attribute,
    to: AttributeValue,
    expected: u64,
    token: StepToken,
) -> Result<(), Refusal> {
    let before = {
        let mut keeper = shared.borrow_mut();
        if keeper.table.attribute(&attribute).is_none() {
            return Err(Refusal::unknown(name(&attribute)));
        }
        if let (Attribute::VolumeSize(_), Some(why)) =
            (&attribute, keeper.volumes.enforcement().unavailable())
        {
            return Err(Refusal::unsupported("resizing a volume", why));
        }
        if let (Attribute::Release(service), AttributeValue::Release(release)) = (&attribute, &to) {
            fleet::check_release(&keeper, service, Release::clone(release))?;
        }
        let before = keeper.table.row(&attribute).cloned();
        if let Err(Stale { seen }) = keeper.table.set(&attribute, to, expected, token) {
            return Err(Refusal::Conflict { attribute: name(&attribute), seen, expected });
        }
        before
    };
    attribute_recorded(shared, &attribute, token, before).await?;
    let applied = apply(shared, &attribute);
    if applied.is_err() {
        shared.borrow_mut().table.unset(&attribute, token);
        // What it was refused for is the answer, whether this can be written or not.
        drop(saved(shared).await);
    }
    applied
}

/// Recorded first: a keeper that ends between the two leaves a table that the next one brings the world to.
async fn unset(shared: &Shared, attribute: &Attribute, token: StepToken) -> Result<Removed, Refusal> {
    let (before, removed) = {
        let table = &mut shared.borrow_mut().table;
        (table.row(attribute).cloned(), table.unset(attribute, token))
    };
    attribute_recorded(shared, attribute, token, before).await?;
    apply(shared, attribute)?;
    Ok(removed)
}

/// As [`recorded`], for a step's value. Whoever looked at the table meanwhile may have applied it.
async fn attribute_recorded(
    shared: &Shared,
    attribute: &Attribute,
    token: StepToken,
    before: Option<Row>,
) -> Result<(), Refusal> {
    let put_back = |keeper: &mut Keeper| keeper.table.put_back(attribute, token, before.as_ref());
    let recorded = recorded(shared, put_back).await;
    recorded.or_else(|refusal| apply(shared, attribute).and(Err(refusal)))
}

/// Brings the world to the value an attribute has now.
fn apply(shared: &Shared, attribute: &Attribute) -> Result<(), Refusal> {
    match attribute {
        Attribute::Replicas(_) => supervise::reconcile(shared),
        Attribute::Release(service) => {
            // What waits for its back-off begins with the new one; what runs is replaced in turn.
            supervise::cause_changed(shared, service);
            rollout::begin(shared, service);
        }
        Attribute::CpuLimit(service) | Attribute::MemoryLimit(service) => {
            shared.borrow_mut().hold_all();
            supervise::cause_changed(shared, service)
        }
        Attribute::VolumeSize(instance) => {
            let resized = shared.borrow().fit_volume(instance);
            resized.map_err(|error| Refusal::failed(format!("resizing volume/{instance}"), error))?;
            shared.borrow_mut().hold_all();
            supervise::cause_changed(shared, &instance.service);
        }
        Attribute::Ejected(link, _) | Attribute::BreakerHeldOpen(link) => {
            links::configure(&shared.borrow(), link)
        }
    }
    Ok(())
}

async fn restart(
    shared: &Shared,
    token: StepToken,
    instance: InstanceName,
    expected: Option<Incarnation>,
    manner: StopManner,
) -> Result<(), Refusal> {
    let (current, stopping) = {
        let mut keeper = shared.borrow_mut();
        if !keeper.slots.contains_key(&instance) {
            return Err(Refusal::unknown(format!("instance/{instance}")));
        }
        let current = keeper.incarnation(&instance).cloned();
        if keeper.table.is_done(token) || current != expected {
            return Ok(());
        }
        keeper.table.finish(token);
        let record = keeper.table.instances.get_mut(&instance).filter(|_| current.is_some());
        let stopping = record.and_then(|record| record.stopping.replace(manner));
        (current, stopping)
    };
    let not_asked = |keeper: &mut Keeper| {
        keeper.table.forget(token);
        let record = keeper.table.instances.get_mut(&instance);
        if let Some(record) = record.filter(|record| record.incarnation == current) {
            record.stopping = stopping;
        }
    };
    recorded(shared, not_asked).await?;
    match current {
        Some(incarnation) => {
            let shared = Rc::clone(shared);
            let stopping = async move { supervise::stop(&shared, &instance, &incarnation, manner).await };
            tokio::task::spawn_local(stopping);
        }
        None => supervise::start_now(shared, &instance),
    }
    Ok(())
}

async fn once(shared: &Shared, token: StepToken, errand: Errand) -> Result<(), Refusal> {
    if shared.borrow().table.is_done(token) {
        return Ok(());
    }
    match &errand {
        Errand::RemoveFiles { class: FileClass::Logs | FileClass::Data, .. } => {
            return Err(Refusal::unsupported(
                "removing logs or data",
                "only temporary and cached files may be removed",
            ));
        }
        Errand::RemoveFiles { instance, class, older_than } => {
            let (class, age) = (*class, *older_than);
            on_files(shared, instance, class, "removing files", move |dir| files::remove_old(dir, age))
                .await?;
        }
        Errand::RotateLogs { instance } => {
            on_files(shared, instance, FileClass::Logs, "rotating logs", files::rotate_all).await?;
        }
        Errand::ClearCaches { instance } => {
            let hook = {
                let keeper = shared.borrow();
                let known = keeper.slots.contains_key(instance);
                let spec = keeper.spec(&instance.service).filter(|_| known);
                let spec = spec.ok_or_else(|| Refusal::unknown(format!("instance/{instance}")))?;
                let why = "its service declares no `clear_caches`";
                spec.clear_caches
                    .ok_or_else(|| Refusal::unsupported(format!("clearing caches of {instance}"), why))?
            };
            let done = probe::run_hook(shared, instance, &hook).await;
            done.map_err(|why| Refusal::failed(format!("clearing caches of {instance}"), why))?;
        }
        Errand::ResetConnections { link } => {
            let keeper = shared.borrow();
            let proxy = keeper.proxies.get(link).ok_or_else(|| Refusal::unknown(format!("link/{link}")))?;
            proxy.reset_connections();
        }
    }
    shared.borrow_mut().table.finish(token);
    recorded(shared, |keeper| keeper.table.forget(token)).await
}

/// Does something to the files of a class beside the event loop.
async fn on_files(
    shared: &Shared,
    instance: &InstanceName,
    class: FileClass,
    what: &str,
    work: impl FnOnce(&std::path::Path) -> io::Result<usize> + Send + 'static,
) -> Result<(), Refusal> {
    let dir = {
        let keeper = shared.borrow();
        let volume = keeper.spec(&instance.service).and_then(|spec| spec.volume);
        let volume = volume.filter(|_| keeper.slots.contains_key(instance));
        let volume = volume.ok_or_else(|| Refusal::unknown(format!("volume/{instance}")))?;
        files::directory(&keeper.reach_volume(instance), &volume, class)
    };
    let done = tokio::task::spawn_blocking(move || work(&dir)).await;
    let failed =
        |error: &dyn std::fmt::Display| Refusal::failed(format!("{what} of volume/{instance}"), error);
    done.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    if let Some(slot) = shared.borrow_mut().slots.get_mut(instance) {
        slot.meter.walk_again();
    }
    Ok(())
}

fn listener(shared: &Shared, link: &LinkName) -> Result<Value, Refusal> {
    let keeper = shared.borrow();
    let unknown = || Refusal::unknown(format!("link/{link}"));
    let proxy = keeper.proxies.get(link).ok_or_else(unknown)?;
    let spec = keeper.spec(&link.to).ok_or_else(unknown)?;
    value(Listener {
        address: proxy.address(),
        protocol: spec.listens.ok_or_else(unknown)?,
        check_path: spec.readiness.and_then(|probe| probe.http),
        backends: keeper.slots.keys().filter(|name| name.service == link.to).count(),
    })
}
