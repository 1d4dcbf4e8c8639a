//! The keeper: the data plane, a process of its own that outlives the control plane.
//!
//! In: one small table and requests over a socket. Out: running services, link proxies, measurements,
//! events. It reconciles and makes no decisions; healing begins where its standing restart policy ends.
//!
//! ```text
//!  control plane ──socket──▶ server ──▶ table ──▶ supervise ──▶ processes
//!                                         │  ╲──▶ links ─────▶ proxy
//!                                         ╰─────▶ overlay ───▶ stress, SIGSTOP, filler files
//! ```
//!
//! One thread runs it all; the table and the slots are behind one `RefCell` that is never borrowed across
//! an await. Only the table's file and walks over directories have threads of their own.

pub mod proxy;

mod adopt;
mod events;
mod fleet;
mod launch;
mod links;
mod overlay;
mod probe;
mod rollout;
mod server;
mod status;
mod supervise;
mod table;
mod usage;

pub(crate) use table::VERSION as TABLE_FORMAT;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use domain::{
    Attribute, AttributeValue, Bytes, Clock, CpuLimits, EventKind, Incarnation, InstanceName, LinkName,
    ResourceId, ServiceName, ServiceSpec, Time,
};
use tokio::net::UnixListener;
use tokio::sync::{Notify, oneshot};

use crate::cgroup::{Groups, Held, Limits};
use crate::clock::SystemClock;
use crate::sample::UnboundLink;
use crate::volume::Volumes;
use crate::{layout, process};
use events::Events;
use proxy::LinkProxy;
use supervise::Slot;
use table::{Table, Writer};

pub use crate::volume::hold;
pub(crate) use table::Removed;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use table::property as table_property;

/// How often memory, expiry and the lease are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How many ticks make a second.
const TICKS_PER_SECOND: u32 = 4;
/// The file of the table in the keeper's directory.
const TABLE: &str = "table.json";
/// Captured output of one instance beyond this is rotated.
const LOG_MAX: Bytes = Bytes::mib(16);
/// Ports for instances come from here: below the range the kernel takes for outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Why the keeper did not start or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// Its directory could not be made or locked.
    #[error("cannot use the directory {path}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another keeper has the directory.
    #[error("another keeper runs in {path}; only one can")]
    AlreadyRunning {
        /// Which directory.
        path: PathBuf,
    },
    /// Its table could not be read.
    #[error("cannot read the table {path}")]
    Table {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The machine did not give what every keeper needs.
    #[error("cannot start: {what}")]
    Start {
        /// What it did not give.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Everything the keeper knows.
struct Keeper {
    /// `DIR/keeper`, absolute; also the mark in the environment of every child.
    dir: PathBuf,
    /// This binary.
    exe: PathBuf,
    clock: Arc<dyn Clock>,
    table: Table,
    writer: Writer,
    slots: BTreeMap<InstanceName, Slot>,
    proxies: BTreeMap<LinkName, LinkProxy>,
    /// Links whose port could not be had when it was tried last.
    unbound: BTreeMap<LinkName, UnboundLink>,
    events: Events,
    volumes: Volumes,
    groups: Groups,
    /// Services whose instances are being changed on purpose, and since when.
    rollouts: BTreeMap<ServiceName, Time>,
    /// Of these, those that are given something else to run.
    deploying: BTreeSet<ServiceName>,
    /// The last sign of life of a control plane.
    contact: Time,
    /// Children whose end somebody waits for, besides the processes in slots.
    awaited: BTreeSet<u32>,
    /// Processes of instances that are neither children of the keeper nor descendants of a slot's process.
    adopted_strays: BTreeSet<u32>,
    finished: Rc<Notify>,
}

type Shared = Rc<RefCell<Keeper>>;

/// Runs the keeper of the data directory `dir` until it is told to end. Services outlive it.
pub fn run(dir: &Path) -> Result<(), KeeperError> {
    let wrong = |path: &Path| {
        let path = path.to_owned();
        move |source| KeeperError::Directory { path, source }
    };
    let dir = dir.join("keeper");
    for part in ["logs", "volumes"] {
        durable::make_dir(&dir.join(part), durable::Access::Owner).map_err(wrong(&dir))?;
    }
    let dir = dir.canonicalize().map_err(wrong(&dir))?;
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).map_err(wrong(&dir))?;
    let _lock = lock(&dir)?;
    let start = |what| move |source| KeeperError::Start { what, source };
    // Without a session of its own the keeper would get the Ctrl-C meant for the control plane. A keeper
    // started by hand leads its group already and stays where it is.
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|errno| start("being the parent of orphans")(errno.into()))?;
    let volumes = Volumes::probe();
    let keeper = keeper(&dir, volumes)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .map_err(start("the runtime"))?;
    let shared = Rc::new(RefCell::new(keeper));
    runtime.block_on(tokio::task::LocalSet::new().run_until(live(shared, dir)))
}

fn lock(dir: &Path) -> Result<File, KeeperError> {
    let path = dir.join("lock");
    let file = File::create(&path).map_err(|source| KeeperError::Directory { path: path.clone(), source })?;
    // A lock of this process alone: unlike flock, a child between fork and exec does not hold it on.
    match rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => {
            Err(KeeperError::AlreadyRunning { path: dir.to_owned() })
        }
        Err(errno) => Err(KeeperError::Directory { path, source: errno.into() }),
    }
}

fn keeper(dir: &Path, volumes: Volumes) -> Result<Keeper, KeeperError> {
    let path = dir.join(TABLE);
    let table = Table::read(&path).map_err(|source| KeeperError::Table { path: path.clone(), source })?;
    let start = |what| move |source| KeeperError::Start { what, source };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Ok(Keeper {
        dir: dir.to_owned(),
        exe: std::env::current_exe().map_err(start("the path of this binary"))?,
        contact: clock.now(),
        clock,
        events: Events::after_restart(table.sequence),
        table,
        writer: Writer::new(path).map_err(start("the thread that writes the table"))?,
        slots: BTreeMap::new(),
        proxies: BTreeMap::new(),
        unbound: BTreeMap::new(),
        volumes,
        groups: Groups::probe(dir),
        rollouts: BTreeMap::new(),
        deploying: BTreeSet::new(),
        awaited: BTreeSet::new(),
        adopted_strays: BTreeSet::new(),
        finished: Rc::new(Notify::new()),
    })
}

async fn live(shared: Shared, dir: PathBuf) -> Result<(), KeeperError> {
    let socket = |source| KeeperError::Start { what: "the socket keeper.sock", source };
    adopt::adopt(&shared).await;
    rollout::resume(&shared);
    let listener = listen(&dir).map_err(socket)?;
    let finished = Rc::clone(&shared.borrow().finished);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|source| KeeperError::Start { what: "a handler for SIGTERM", source })?;
    tokio::task::spawn_local(server::serve(Rc::clone(&shared), listener));
    let ticking = tokio::task::spawn_local(tick(Rc::clone(&shared)));
    tokio::select! {
        () = finished.notified() => {}
        _ = terminate.recv() => {}
    }
    ticking.abort();
    // No fault without a keeper that ends it.
    overlay::remove_all(&shared).await;
    if server::saved(&shared).await.is_err() {
        crate::say!("the table could not be written");
    }
    shared.borrow_mut().groups.release();
    // Time for the answer to the request that ended the keeper to be sent.
    tokio::time::sleep(Duration::from_millis(10)).await;
    Ok(())
}

fn listen(dir: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(dir.join("keeper.sock")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let at = File::open(dir)?;
    UnixListener::bind(layout::socket_path(&at))
}

/// Whether a keeper could read its table in `DIR/keeper`: asked before one is started, because it has nobody
/// to tell.
pub(crate) fn check_table(keeper_dir: &Path) -> Result<(), String> {
    let path = keeper_dir.join(TABLE);
    Table::read(&path).map(drop).map_err(|error| {
        format!(
            "cannot read {}: {error}; restore it, or end the services it names and move it away",
            path.display()
        )
    })
}

/// Whether the table in `DIR/keeper` says that something is up; not where it cannot be read, which [`check_table`] tells.
pub(crate) fn is_up(keeper_dir: &Path) -> bool {
    Table::read(&keeper_dir.join(TABLE)).is_ok_and(|table| table.infrastructure.is_some())
}

async fn tick(shared: Shared) {
    let mut every = tokio::time::interval(TICK);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for count in 0u32.. {
        every.tick().await;
        overlay::expire(&shared).await;
        let whole_second = count.is_multiple_of(TICKS_PER_SECOND);
        if whole_second {
            shared.borrow_mut().hold_all();
            usage::measure(&shared);
        }
        // Right after measuring: nobody sees an instance over its limit that is about to be ended for it.
        usage::watch_memory(&shared);
        if whole_second {
            status::settle(&mut shared.borrow_mut());
            supervise::reap_orphans(&shared.borrow());
            rotate_logs(&shared);
            links::bind_again(&shared).await;
        }
    }
}

fn rotate_logs(shared: &Shared) {
    let keeper = shared.borrow();
    let of_instances = keeper.slots.keys().map(|instance| layout::log_path(&keeper.dir, instance));
    for log in of_instances.chain([layout::own_log_path(&keeper.dir)]) {
        if log.metadata().is_ok_and(|meta| meta.len() > LOG_MAX.0) {
            tokio::task::spawn_blocking(move || {
                if let Err(error) = crate::files::rotate(&log) {
                    crate::say!("cannot rotate {}: {error}", log.display());
                }
            });
        }
    }
}

impl Keeper {
    /// What is declared of a service, with what it is to run now.
    fn spec(&self, service: &ServiceName) -> Option<ServiceSpec> {
        let declared = self.table.infrastructure.as_ref()?.services.get(service)?.clone();
        Some(match self.table.release(service) {
            Some(release) => declared.with_release(release.clone()),
            None => declared,
        })
    }

    /// Whether the process in a slot was started with something else than what is in force.
    fn is_outdated(&self, instance: &InstanceName) -> bool {
        let record = self.table.instances.get(instance).filter(|record| record.incarnation.is_some());
        record.is_some_and(|record| record.release.as_ref() != self.table.release(&instance.service))
    }

    fn incarnation(&self, instance: &InstanceName) -> Option<&Incarnation> {
        self.table.instances.get(instance)?.incarnation.as_ref()
    }

    fn cpu_limits(&self) -> CpuLimits {
        self.table.infrastructure.as_ref().map(|infrastructure| infrastructure.cpu_limits).unwrap_or_default()
    }

    fn replicas(&self, service: &ServiceName) -> u32 {
        match self.table.attribute(&Attribute::Replicas(service.clone())) {
            Some((AttributeValue::Count(count), _)) => count,
            _ => 0,
        }
    }

    fn wanted_instances(&self) -> Vec<InstanceName> {
        let Some(infrastructure) = &self.table.infrastructure else { return Vec::new() };
        let slots =
            |name: &ServiceName| (0..self.replicas(name)).map(|slot| name.instance(slot)).collect::<Vec<_>>();
        infrastructure.services.keys().flat_map(slots).collect()
    }

    /// Hands the table to its writer; who must know waits for the receiver.
    fn save(&mut self) -> oneshot::Receiver<Result<(), String>> {
        self.table.sequence = self.events.last();
        self.table.boot_id = Some(process::boot_id().to_owned());
        self.table.holder = self.volumes.holder().map(|holder| holder.incarnation.clone());
        self.writer.save(&self.table)
    }

    fn report(&mut self, resource: ResourceId, kind: EventKind) {
        self.events.add(self.clock.now(), resource, kind);
    }

    /// A line of the keeper in the log of an instance.
    fn note(&self, instance: &InstanceName, text: &str) {
        let path = layout::log_path(&self.dir, instance);
        let written =
            layout::open_log(&path).and_then(|mut log| writeln!(log, "homeostat: {instance} {text}"));
        if let Err(error) = written {
            crate::say!("{instance} {text} (its log cannot be written: {error})");
        }
    }

    /// Makes the volume of an instance with the directories of its classes, where it declares one.
    fn make_volume(&mut self, instance: &InstanceName) -> io::Result<()> {
        let Some(volume) = self.spec(&instance.service).and_then(|spec| spec.volume) else { return Ok(()) };
        let size = self.table.size(&Attribute::VolumeSize(instance.clone())).unwrap_or(volume.size);
        let path = layout::volume_path(&self.dir, instance);
        self.volumes.make(&self.exe, &self.dir, &path, size)?;
        let inside = self.volumes.reach(&path);
        for part in [&volume.temporary, &volume.logs, &volume.cache] {
            fs::create_dir_all(inside.join(part))?;
        }
        Ok(())
    }

    /// Gives the volume of an instance the size in the table.
    fn fit_volume(&self, instance: &InstanceName) -> io::Result<()> {
        let Some(size) = self.table.size(&Attribute::VolumeSize(instance.clone())) else { return Ok(()) };
        self.volumes.resize(&layout::volume_path(&self.dir, instance), size)
    }

    fn reach_volume(&self, instance: &InstanceName) -> PathBuf {
        self.volumes.reach(&layout::volume_path(&self.dir, instance))
    }

    /// Gives an instance that listens a port that is free now, keeping the one it had where possible.
    fn choose_port(&mut self, instance: &InstanceName, spec: &ServiceSpec) {
        if spec.listens.is_none() {
            return;
        }
        let had = self.table.instances.get(instance).and_then(|record| record.port);
        let taken: BTreeSet<u16> = self
            .table
            .instances
            .values()
            .filter_map(|r| r.port)
            .chain(self.table.ports.values().copied())
            .collect();
        let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
        let drawn = || {
            std::iter::repeat_with(|| fastrand::u16(PORTS)).filter(|port| !taken.contains(port)).take(1000)
        };
        // With a thousand draws taken the port it had is as good as any.
        let port = had.filter(free).or_else(|| drawn().find(free)).or(had);
        self.table.instances.entry(instance.clone()).or_default().port = port;
    }

    /// Brings the groups of an instance to the limits that are in force.
    fn hold(&mut self, instance: &InstanceName) {
        let cpu = self.table.cpu_limit(&instance.service).filter(|_| self.cpu_limits() == CpuLimits::Held);
        let memory = self.table.memory_limit(&instance.service);
        let volume = self
            .table
            .size(&Attribute::VolumeSize(instance.clone()))
            .filter(|_| self.volumes.holder().is_some());
        let held = self.groups.hold(instance, Limits { cpu, memory, volume });
        if held == Held::New {
            let members = self.incarnation(instance).map(|it| process::tree(it.pid)).unwrap_or_default();
            self.groups.admit(instance, &members);
        }
    }

    /// Every second: what could not be held is tried again, what could not be removed too.
    fn hold_all(&mut self) {
        let names: Vec<InstanceName> = self.slots.keys().cloned().collect();
        names.iter().for_each(|name| self.hold(name));
        self.groups.sweep();
    }

    fn remove_slot(&mut self, instance: &InstanceName) {
        if let Some(slot) = self.slots.remove(instance) {
            slot.tasks.iter().for_each(tokio::task::AbortHandle::abort);
        }
        self.table.instances.remove(instance);
        let target = ResourceId::Instance(instance.clone());
        self.table.overlays.retain(|overlay| overlay.fault.target != target);
        self.groups.remove(instance);
    }
}
