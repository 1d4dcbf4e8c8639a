//! What is configured, as one look and the declaration show it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use domain::cmdb::{ItemAttributes, ItemValue, KnownBy, Relation, RelationKind};
use domain::infrastructure::{Hook, Limits, Probe, Protocol};
use domain::units::show_duration;
use domain::{
    Environment, Infrastructure, InstanceName, LinkName, ResourceId, ServiceName, ServiceSpec, ServiceState,
    Snapshot,
};

use super::Paused;

/// Most items that spans alone tell of: anybody may send spans.
const SPANS_MAX: usize = 1000;

/// One item as it is now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SeenItem {
    /// What is declared of it.
    pub declared: ItemAttributes,
    /// What was found.
    pub discovered: ItemAttributes,
}

/// Everything that is there now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Seen {
    /// By resource.
    pub items: BTreeMap<ResourceId, SeenItem>,
    /// How each relation is known.
    pub relations: BTreeMap<Relation, KnownBy>,
}

/// The attribute of what spans alone tell of.
pub(super) const KNOWN_BY: &str = "known_by";
/// The version that spans carry.
pub(super) const SPANS_VERSION: &str = "version_of_spans";

/// What a look and the declaration of what is up show.
pub fn seen(snapshot: &Snapshot, declared: Option<&Infrastructure>, paused: &Paused) -> Seen {
    let mut seen = Seen::default();
    // What was taken down or brought up between the two is another look's.
    let declared = declared.filter(|it| snapshot.infrastructure.as_ref() == Some(&it.name));
    if let Some(infrastructure) = declared {
        seen.declare(infrastructure);
    }
    for (name, service) in &snapshot.services {
        seen.service(name, service, paused);
    }
    for (name, link) in &snapshot.links {
        let ejected = link.backends.iter().filter(|(_, backend)| backend.ejected_by_plan);
        let ejected: Vec<String> = ejected.map(|(name, _)| name.to_string()).collect();
        let item = seen.items.entry(ResourceId::Link(name.clone())).or_default();
        if !ejected.is_empty() {
            item.discovered.insert("ejected".to_owned(), ItemValue::List(ejected));
        }
    }
    for (resource, _) in seen.items.clone() {
        if let (ResourceId::Service(_) | ResourceId::Link(_), Some(name)) =
            (&resource, &snapshot.infrastructure)
        {
            let whole = ResourceId::Infrastructure(name.clone());
            seen.relate(RelationKind::PartOf, resource, whole, KnownBy::Provider);
        }
    }
    seen.spans(snapshot);
    seen
}

impl Seen {
    fn declare(&mut self, infrastructure: &Infrastructure) {
        let id = ResourceId::Infrastructure(infrastructure.name.clone());
        let item = self.items.entry(id).or_default();
        let services = infrastructure.services.keys().map(ToString::to_string).collect();
        set(&mut item.declared, "environment", text(environment(infrastructure.environment)));
        set(&mut item.declared, "services", Some(ItemValue::List(services)));
        for (name, spec) in &infrastructure.services {
            self.items.entry(ResourceId::Service(name.clone())).or_default().declared = of_spec(spec);
            for to in &spec.dependencies {
                self.depends(name, to, KnownBy::Declaration);
            }
        }
        for link in infrastructure.links() {
            let protocol = infrastructure.services.get(&link.to).and_then(|to| to.listens);
            let item = self.items.entry(ResourceId::Link(link)).or_default();
            set(&mut item.declared, "protocol", protocol.map(protocol_name).and_then(text));
        }
    }

    fn service(&mut self, name: &ServiceName, state: &ServiceState, paused: &Paused) {
        let id = ResourceId::Service(name.clone());
        let found = &mut self.items.entry(id.clone()).or_default().discovered;
        set(found, "replicas", Some(ItemValue::Count(u64::from(state.replicas))));
        limits(found, &state.limits);
        release(found, state.release.version.as_deref(), &state.release.command, &state.release.environment);
        if let Some(until) = paused.get(name) {
            set(found, "paused", text(until.map_or("until resumed".to_owned(), |until| until.rfc3339())));
        }
        for to in &state.dependencies {
            self.depends(name, to, KnownBy::Provider);
        }
        for (slot, instance) in &state.instances {
            let there = ResourceId::Instance(slot.clone());
            let found = &mut self.items.entry(there.clone()).or_default().discovered;
            set(found, "port", instance.port.map(|port| ItemValue::Count(u64::from(port))));
            self.relate(RelationKind::Runs, id.clone(), there.clone(), KnownBy::Provider);
            if let Some(volume) = &state.volume {
                self.volume(slot, volume.size.0, instance.usage.disk_size.map(|size| size.0));
            }
        }
    }

    fn volume(&mut self, slot: &InstanceName, declared: u64, found: Option<u64>) {
        let id = ResourceId::Volume(slot.clone());
        let item = self.items.entry(id.clone()).or_default();
        set(&mut item.declared, "size_bytes", Some(ItemValue::Count(declared)));
        set(&mut item.discovered, "size_bytes", found.map(ItemValue::Count));
        self.relate(RelationKind::Mounts, ResourceId::Instance(slot.clone()), id, KnownBy::Provider);
    }

    /// What spans tell of: services and links beside ours, and versions.
    fn spans(&mut self, snapshot: &Snapshot) {
        let traces = &snapshot.traces;
        let services = traces.services.keys().cloned().map(ResourceId::Service);
        let ends = |link: &LinkName| [link.from.clone(), link.to.clone()].map(ResourceId::Service);
        let links = traces
            .links
            .keys()
            .flat_map(|link| ends(link).into_iter().chain(std::iter::once(ResourceId::Link(link.clone()))));
        for id in services.chain(links).take(SPANS_MAX) {
            self.items.entry(id).or_insert_with(|| SeenItem {
                declared: ItemAttributes::new(),
                discovered: [(KNOWN_BY.to_owned(), ItemValue::Text("spans".to_owned()))].into(),
            });
        }
        for (name, seen) in &traces.versions {
            if let Some(item) = self.items.get_mut(&ResourceId::Service(name.clone())) {
                set(&mut item.discovered, SPANS_VERSION, text(seen.version.clone()));
            }
        }
        for link in traces.links.keys() {
            let [from, to] = ends(link);
            if self.items.contains_key(&from) && self.items.contains_key(&to) {
                self.depends(&link.from, &link.to, KnownBy::Spans);
            }
        }
    }

    fn depends(&mut self, from: &ServiceName, to: &ServiceName, by: KnownBy) {
        let (from, to) = (ResourceId::Service(from.clone()), ResourceId::Service(to.clone()));
        self.relate(RelationKind::DependsOn, from, to, by);
    }

    fn relate(&mut self, kind: RelationKind, from: ResourceId, to: ResourceId, by: KnownBy) {
        self.relations.entry(Relation { kind, from, to }).or_insert(by);
    }
}

fn of_spec(spec: &ServiceSpec) -> ItemAttributes {
    let mut of = ItemAttributes::new();
    set(&mut of, "replicas", Some(ItemValue::Count(u64::from(spec.replicas))));
    limits(&mut of, &spec.limits);
    release(&mut of, spec.version.as_deref(), &spec.command, &spec.environment);
    set(&mut of, "listens", spec.listens.map(protocol_name).and_then(text));
    set(&mut of, "publish", spec.publish.map(|port| ItemValue::Count(u64::from(port))));
    set(&mut of, "volume_bytes", spec.volume.as_ref().map(|volume| ItemValue::Count(volume.size.0)));
    set(&mut of, "metrics", spec.metrics.clone().and_then(text));
    set(&mut of, "stop_timeout", text(show_duration(spec.stop_timeout)));
    set(&mut of, "hands_off", spec.hands_off.then_some(ItemValue::Flag(true)));
    set(&mut of, "protected", spec.protected.then_some(ItemValue::Flag(true)));
    for (name, probe) in [("readiness", &spec.readiness), ("liveness", &spec.liveness)] {
        set(&mut of, name, probe.as_ref().map(of_probe).and_then(text));
    }
    for (name, hook) in [("drain", &spec.drain), ("clear_caches", &spec.clear_caches)] {
        set(&mut of, name, hook.as_ref().map(of_hook).and_then(text));
    }
    of
}

fn of_probe(probe: &Probe) -> String {
    let how = probe.http.as_ref().map_or("connect".to_owned(), |path| format!("GET {path}"));
    let (every, within) = (show_duration(probe.interval), show_duration(probe.timeout));
    format!("{how} every {every} within {within}, {} in a row", probe.failures)
}

fn of_hook(hook: &Hook) -> String {
    match (&hook.http, &hook.command) {
        (Some(path), _) => format!("POST {path}"),
        (None, Some(command)) => command.join(" "),
        (None, None) => String::new(),
    }
}

fn limits(of: &mut ItemAttributes, limits: &Limits) {
    let cores = limits.cpu.filter(|cores| cores.0.is_finite());
    set(of, "cpu_cores", cores.map(|cores| ItemValue::Number(cores.0)));
    set(of, "memory_bytes", limits.memory.map(|limit| ItemValue::Count(limit.0)));
}

fn release(
    of: &mut ItemAttributes,
    version: Option<&str>,
    command: &[String],
    environment: &BTreeMap<String, String>,
) {
    set(of, "version", version.map(str::to_owned).and_then(text));
    set(of, "command", (!command.is_empty()).then(|| ItemValue::List(command.to_vec())));
    let masked = environment.iter().map(|(name, value)| (name.clone(), masked(value)));
    set(of, "environment", (!environment.is_empty()).then(|| ItemValue::Fields(masked.collect())));
}

/// That a value is set, and which it is as far as sixteen bits tell.
fn masked(value: &str) -> String {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    format!("set ({:04x})", hasher.finish() & 0xffff)
}

fn environment(environment: Environment) -> String {
    match environment {
        Environment::Production => "production",
        Environment::Staging => "staging",
        Environment::Dev => "dev",
    }
    .to_owned()
}

fn protocol_name(protocol: Protocol) -> String {
    match protocol {
        Protocol::Http => "http",
        Protocol::Tcp => "tcp",
    }
    .to_owned()
}

fn text(text: String) -> Option<ItemValue> {
    Some(ItemValue::Text(text))
}

fn set(attributes: &mut ItemAttributes, name: &str, value: Option<ItemValue>) {
    if let Some(value) = value {
        attributes.insert(name.to_owned(), value);
    }
}
