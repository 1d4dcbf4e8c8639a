//! The keeper's table: everything it reconciles, in one JSON file that is replaced as a whole.
//!
//! In: changes by the keeper, attributes by compare-and-set. Out: the standing state after a restart. A
//! row's *layers* are the values plans put on top of the declared one, each under the name of its step:
//! undoing a step removes its layer and nothing else, so the order of undoing never brings back a value
//! that was undone before.
//!
//! The file is written by a thread of its own, because an fsync on a busy disk takes longer than a request
//! through a proxy may wait. [`Writer::save`] says when a state is on the disk.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use domain::snapshot::ExitRecord;
use domain::{
    Attribute, AttributeValue, Bytes, Cores, Fault, Incarnation, Infrastructure, InstanceName, LinkName,
    Release, ServiceName, StepToken, StopManner, Time,
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// The format of the file; a newer one is refused.
pub(crate) const VERSION: u32 = 1;

/// Most layers of one attribute; the lowest then becomes standing. Repairs that worked are never undone,
/// so layers would grow for ever.
const LAYERS_MAX: usize = 16;

/// Most finished one-shot steps that are remembered, so that doing one twice changes nothing more.
const DONE_MAX: usize = 1000;

/// Most ends remembered per slot.
pub(super) const EXITS_MAX: usize = 20;

/// Everything the keeper reconciles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Table {
    pub(super) version: u32,
    /// What was brought up, with its standing restart policies; `None` when nothing is up.
    pub(super) infrastructure: Option<Infrastructure>,
    pub(super) up_at: Option<Time>,
    /// The step that brought it up, where one did.
    #[serde(default)]
    pub(super) up_by: Option<StepToken>,
    /// The boot of the machine its times are on.
    #[serde(default)]
    pub(super) boot_id: Option<String>,
    pub(super) rows: Vec<Row>,
    pub(super) instances: BTreeMap<InstanceName, Record>,
    /// The loopback ports at which the link proxies listen.
    pub(super) ports: BTreeMap<LinkName, u16>,
    pub(super) overlays: Vec<Overlay>,
    /// The process that keeps the volumes' namespace.
    pub(super) holder: Option<Incarnation>,
    /// One-shot steps that were done, oldest first.
    pub(super) done: VecDeque<StepToken>,
    /// The sequence number of the last event.
    pub(super) sequence: u64,
}

/// An attribute that differs from what was declared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) attribute: Attribute,
    /// Grows with every change.
    pub(super) generation: u64,
    /// The value under all layers; `None`: the declared one.
    pub(super) standing: Option<AttributeValue>,
    pub(super) layers: Vec<(StepToken, AttributeValue)>,
}

/// What is known of a slot beyond the life of one keeper.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) incarnation: Option<Incarnation>,
    pub(super) port: Option<u16>,
    pub(super) started_at: Option<Time>,
    /// Restarts since the instance last settled; decides the back-off.
    pub(super) restarts: u32,
    pub(super) unsettled_exits: u32,
    /// Whether a process in the slot was ready in this boot of the machine.
    #[serde(default)]
    pub(super) was_ready: bool,
    /// How its process is being stopped, since before it was asked to drain. One that drains takes no requests
    /// and does not end by itself, so that a keeper that finds it has to go on.
    #[serde(default)]
    pub(super) stopping: Option<StopManner>,
    pub(super) exits: Vec<ExitRecord>,
    /// What its process was started with, where that was not as declared.
    #[serde(default)]
    pub(super) release: Option<Release>,
}

/// A fault that is in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Overlay {
    pub(super) token: StepToken,
    pub(super) fault: Fault,
    pub(super) since: Time,
    pub(super) until: Time,
    /// The process it was meant for, where it is on one.
    pub(super) incarnation: Option<Incarnation>,
    /// The stress worker, where it has one.
    pub(super) worker: Option<Incarnation>,
    /// When this keeper last tried to start its worker again.
    #[serde(skip)]
    pub(super) renewed: Option<Time>,
}

/// Why a compare-and-set did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stale {
    pub(super) seen: u64,
}

/// What taking a step's layer away did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Removed {
    /// It was the value in force; the one below is now.
    Top,
    /// Another step's value is in force and stays.
    Below,
    /// It was not there.
    Nothing,
}

impl Row {
    /// The value in force; `None`: the declared one.
    fn changed(&self) -> Option<&AttributeValue> {
        self.layers.last().map(|(_, value)| value).or(self.standing.as_ref())
    }
}

impl Default for Table {
    fn default() -> Self {
        Self {
            version: VERSION,
            infrastructure: None,
            up_at: None,
            up_by: None,
            boot_id: None,
            rows: Vec::new(),
            instances: BTreeMap::new(),
            ports: BTreeMap::new(),
            overlays: Vec::new(),
            holder: None,
            done: VecDeque::new(),
            sequence: 0,
        }
    }
}

impl Table {
    /// Reads the file; a file that is not there is an empty table.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        Self::parse(&text)
    }

    fn parse(text: &[u8]) -> io::Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_slice(text)?;
        if version > VERSION {
            return Err(io::Error::other(format!(
                "its format is {version}, this homeostat knows {VERSION}; use the newer homeostat"
            )));
        }
        Ok(serde_json::from_slice(text)?)
    }

    /// The value in force and its generation; `None` where what it belongs to does not exist.
    pub(super) fn attribute(&self, attribute: &Attribute) -> Option<(AttributeValue, u64)> {
        let declared = self.declared(attribute)?;
        let Some(row) = self.row(attribute) else { return Some((declared, 0)) };
        Some((row.changed().cloned().unwrap_or(declared), row.generation))
    }

    /// What a service is to run, where that is not as declared.
    pub(super) fn release(&self, service: &ServiceName) -> Option<&Release> {
        let row = self.row(&Attribute::Release(service.clone()))?;
        let Some(AttributeValue::Release(release)) = row.changed() else { return None };
        let declared = self.infrastructure.as_ref()?.services.get(service)?;
        (**release != declared.release()).then_some(&**release)
    }

    /// The CPU limit of a service that is in force.
    pub(super) fn cpu_limit(&self, service: &ServiceName) -> Option<Cores> {
        match self.attribute(&Attribute::CpuLimit(service.clone())) {
            Some((AttributeValue::Cpu(limit), _)) => limit,
            _ => None,
        }
    }

    /// The size an attribute has, of those that are sizes.
    pub(super) fn size(&self, attribute: &Attribute) -> Option<Bytes> {
        match self.attribute(attribute) {
            Some((AttributeValue::Size(size), _)) => size,
            _ => None,
        }
    }

    /// The memory limit of a service that is in force.
    pub(super) fn memory_limit(&self, service: &ServiceName) -> Option<Bytes> {
        self.size(&Attribute::MemoryLimit(service.clone()))
    }

    fn declared(&self, attribute: &Attribute) -> Option<AttributeValue> {
        let infrastructure = self.infrastructure.as_ref()?;
        let service = |name| infrastructure.services.get(name);
        Some(match attribute {
            Attribute::Replicas(name) => AttributeValue::Count(service(name)?.replicas),
            Attribute::CpuLimit(name) => AttributeValue::Cpu(service(name)?.limits.cpu),
            Attribute::MemoryLimit(name) => AttributeValue::Size(service(name)?.limits.memory),
            Attribute::Release(name) => AttributeValue::Release(Box::new(service(name)?.release())),
            Attribute::VolumeSize(instance) => {
                self.instances.get(instance)?;
                AttributeValue::Size(Some(service(&instance.service)?.volume.as_ref()?.size))
            }
            Attribute::Ejected(link, instance) => {
                let known = self.ports.contains_key(link)
                    && link.to == instance.service
                    && self.instances.contains_key(instance);
                known.then_some(AttributeValue::Flag(false))?
            }
            Attribute::BreakerHeldOpen(link) => {
                self.ports.contains_key(link).then_some(AttributeValue::Flag(false))?
            }
        })
    }

    /// Puts a step's value on top if nobody changed the attribute since `expected`. Again with the same
    /// step: changes nothing.
    pub(super) fn set(
        &mut self,
        attribute: &Attribute,
        value: AttributeValue,
        expected: u64,
        token: StepToken,
    ) -> Result<(), Stale> {
        if !self.rows.iter().any(|row| row.attribute == *attribute) {
            let attribute = attribute.clone();
            self.rows.push(Row { attribute, generation: 0, standing: None, layers: Vec::new() });
        }
        let Some(row) = self.rows.iter_mut().find(|row| row.attribute == *attribute) else { return Ok(()) };
        if row.layers.iter().any(|(owner, _)| *owner == token) {
            return Ok(());
        }
        if row.generation != expected {
            return Err(Stale { seen: row.generation });
        }
        row.layers.push((token, value));
        row.generation += 1;
        if row.layers.len() > LAYERS_MAX {
            row.standing = Some(row.layers.remove(0).1);
        }
        Ok(())
    }

    /// Takes a step's value away.
    pub(super) fn unset(&mut self, attribute: &Attribute, token: StepToken) -> Removed {
        let Some(row) = self.rows.iter_mut().find(|row| row.attribute == *attribute) else {
            return Removed::Nothing;
        };
        let Some(at) = row.layers.iter().position(|(owner, _)| *owner == token) else {
            return Removed::Nothing;
        };
        row.layers.remove(at);
        row.generation += 1;
        if at == row.layers.len() { Removed::Top } else { Removed::Below }
    }

    /// The row of an attribute, where it was ever changed.
    pub(super) fn row(&self, attribute: &Attribute) -> Option<&Row> {
        self.rows.iter().find(|row| row.attribute == *attribute)
    }

    /// Makes of a step's value what it is in `before`; what others changed since stays. The generation grows
    /// all the same: somebody may have seen the one between.
    pub(super) fn put_back(&mut self, attribute: &Attribute, token: StepToken, before: Option<&Row>) {
        let Some(row) = self.rows.iter_mut().find(|row| row.attribute == *attribute) else { return };
        row.layers.retain(|(owner, _)| *owner != token);
        let mut layers = before.into_iter().flat_map(|row| row.layers.iter().enumerate());
        if let Some((at, layer)) = layers.find(|(_, (owner, _))| *owner == token) {
            row.layers.insert(at.min(row.layers.len()), layer.clone());
        }
        row.generation += 1;
    }

    /// Whether a step's value is the one in force.
    pub(super) fn is_owner(&self, attribute: &Attribute, token: StepToken) -> bool {
        self.row(attribute).and_then(|row| row.layers.last()).is_some_and(|(owner, _)| *owner == token)
    }

    /// Whether a one-shot step was done.
    pub(super) fn is_done(&self, token: StepToken) -> bool {
        self.done.contains(&token)
    }

    /// Remembers that a one-shot step was done.
    pub(super) fn finish(&mut self, token: StepToken) {
        if !self.is_done(token) {
            self.done.push_back(token);
        }
        while self.done.len() > DONE_MAX {
            self.done.pop_front();
        }
    }

    /// A one-shot step was not done after all.
    pub(super) fn forget(&mut self, token: StepToken) {
        self.done.retain(|done| *done != token);
    }
}

/// Writes tables to the file, latest last, in a thread of its own.
pub(super) struct Writer {
    queue: mpsc::Sender<Order>,
}

/// A state to write, and who waits for it.
struct Order {
    bytes: Vec<u8>,
    waiter: oneshot::Sender<Result<(), String>>,
}

impl Writer {
    /// A writer to `path`.
    pub(super) fn new(path: PathBuf) -> io::Result<Self> {
        let (queue, orders) = mpsc::channel::<Order>();
        std::thread::Builder::new().name("table".to_owned()).spawn(move || {
            while let Ok(first) = orders.recv() {
                // Only the newest of what waits has to be written; it contains the others.
                let mut waiting = vec![first.waiter];
                let mut newest = first.bytes;
                while let Ok(Order { bytes, waiter }) = orders.try_recv() {
                    newest = bytes;
                    waiting.push(waiter);
                }
                let written = durable::replace(&path, &newest, durable::Access::Owner);
                let written = written.map_err(|error| error.to_string());
                for waiter in waiting {
                    // Most changes are not waited for.
                    let _ = waiter.send(written.clone());
                }
            }
        })?;
        Ok(Self { queue })
    }

    /// Hands a state over; the receiver hears when it is on the disk.
    pub(super) fn save(&self, table: &Table) -> oneshot::Receiver<Result<(), String>> {
        let (done, heard) = oneshot::channel();
        match serde_json::to_vec(table) {
            // A writer that ended drops the sender, which the receiver hears as an error.
            Ok(bytes) => drop(self.queue.send(Order { bytes, waiter: done })),
            Err(error) => drop(done.send(Err(error.to_string()))),
        }
        heard
    }
}

/// Whatever a crash or a person left in the file: it is read and written back the same, or refused; and no
/// request finds an attribute in it without a value.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn property(input: &[u8]) {
    let Ok(mut table) = Table::parse(input) else { return };
    assert!(table.version <= VERSION);
    let written = serde_json::to_vec(&table).unwrap();
    let again = Table::parse(&written).unwrap_or_else(|error| panic!("{table:?}: {error}"));
    crate::properties::assert_alike(&table, &again);
    for row in table.rows.clone() {
        for (token, _) in &row.layers {
            table.unset(&row.attribute, *token);
        }
        let _ = table.attribute(&row.attribute);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{IdSource, ServiceName};
    use proptest::prelude::*;

    fn table() -> (Table, Attribute) {
        let text = "name: shop\nservices: {cart: {command: [cart], replicas: 2}}";
        let infrastructure = crate::manifest::parse("f", text).unwrap();
        let table = Table { infrastructure: Some(infrastructure), ..Table::default() };
        (table, Attribute::Replicas(ServiceName::new("cart").unwrap()))
    }

    fn token(index: u32) -> StepToken {
        StepToken { plan: IdSource::seeded(1).next(Time { boot_us: 0, wall_us: 0 }), index }
    }

    fn count(table: &Table, attribute: &Attribute) -> (u32, u64) {
        match table.attribute(attribute).unwrap() {
            (AttributeValue::Count(count), generation) => (count, generation),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn setting_on_an_old_generation_is_refused_and_setting_twice_changes_nothing() {
        let (mut table, replicas) = table();
        assert_eq!(table.set(&replicas, AttributeValue::Count(3), 0, token(0)), Ok(()));
        assert_eq!(table.set(&replicas, AttributeValue::Count(3), 0, token(0)), Ok(()));
        assert_eq!(table.set(&replicas, AttributeValue::Count(9), 0, token(1)), Err(Stale { seen: 1 }));
        assert_eq!(count(&table, &replicas), (3, 1));
    }

    #[test]
    fn undoing_the_earlier_of_two_steps_first_keeps_the_later_and_ends_at_the_declared_value() {
        let (mut table, replicas) = table();
        table.set(&replicas, AttributeValue::Count(3), 0, token(0)).unwrap();
        table.set(&replicas, AttributeValue::Count(4), 1, token(1)).unwrap();
        assert_eq!(table.unset(&replicas, token(0)), Removed::Below);
        assert_eq!(count(&table, &replicas).0, 4);
        assert_eq!(table.unset(&replicas, token(1)), Removed::Top);
        assert_eq!(count(&table, &replicas).0, 2);
        assert_eq!(table.unset(&replicas, token(1)), Removed::Nothing);
    }

    proptest! {
        #[test]
        fn whatever_is_set_and_undone_in_any_order_ends_at_the_declared_value(
            order in Just((0..10u32).collect::<Vec<_>>()).prop_shuffle()
        ) {
            let (mut table, replicas) = table();
            for index in 0..10 {
                let generation = count(&table, &replicas).1;
                table.set(&replicas, AttributeValue::Count(10 + index), generation, token(index)).unwrap();
            }
            for index in order {
                table.unset(&replicas, token(index));
            }
            prop_assert_eq!(count(&table, &replicas).0, 2);
        }
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table.json");
        fs::write(&path, format!("{{\"version\": {}}}", VERSION + 1)).unwrap();
        assert!(Table::read(&path).unwrap_err().to_string().contains("use the newer homeostat"));
    }

    #[test]
    fn a_table_reads_back_as_it_was_written() {
        let (mut table, replicas) = table();
        table.set(&replicas, AttributeValue::Count(3), 0, token(0)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table.json");
        durable::replace(&path, &serde_json::to_vec(&table).unwrap(), durable::Access::Owner).unwrap();
        assert_eq!(Table::read(&path).unwrap(), table);
    }
}
