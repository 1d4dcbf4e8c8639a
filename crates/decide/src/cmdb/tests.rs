//! What makes a change, what makes none, and that the cheap question never hides one.

use std::time::Duration;

use domain::cmdb::{Inventory, ItemChangeKind, ItemValue, KnownBy, Relation, RelationKind, Revised};
use domain::snapshot::Phase;
use domain::{Bytes, Infrastructure, ResourceId, ServiceSpec, Time};
use proptest::prelude::*;

use super::*;
use crate::fixture::Fleet;

fn service(name: &str) -> ServiceName {
    name.parse().unwrap()
}

fn id(text: &str) -> ResourceId {
    text.parse().unwrap()
}

fn declared(snapshot: &Snapshot) -> Infrastructure {
    let spec: ServiceSpec = serde_json::from_value(serde_json::json!({ "command": ["run"] })).unwrap();
    let services = snapshot.services.keys().map(|name| (name.clone(), spec.clone())).collect();
    let (environment, cpu_limits) = Default::default();
    Infrastructure { name: service("shop"), environment, cpu_limits, services }
}

struct World {
    snapshot: Snapshot,
    paused: Paused,
    known: Inventory,
}

impl World {
    /// The shop, with everything of it known.
    fn known() -> Self {
        let mut snapshot = Fleet::healthy().snapshot;
        snapshot.infrastructure = Some(service("shop"));
        let mut world = Self { snapshot, paused: Paused::new(), known: Inventory::default() };
        world.look();
        world
    }

    fn ask(&self) -> Vec<Revised> {
        let seen = seen(&self.snapshot, Some(&declared(&self.snapshot)), &self.paused);
        changes(&self.known, &seen, self.snapshot.taken)
    }

    fn look(&mut self) -> Vec<Revised> {
        self.snapshot.taken = self.snapshot.taken.plus(Duration::from_secs(1));
        let revised = self.ask();
        revised.iter().for_each(|one| one.enter(&mut self.known));
        assert_eq!(self.ask(), [], "what was entered changes no more");
        revised
    }

    /// The item, what became of it and the attributes that changed.
    fn changed(&mut self) -> Vec<(String, ItemChangeKind, Vec<String>)> {
        let of = |one: Revised| {
            let attributes = one.change.attributes.into_keys().collect();
            (one.item.id.to_string(), one.change.kind, attributes)
        };
        self.look().into_iter().map(of).collect()
    }

    fn cart(&mut self) -> &mut domain::ServiceState {
        self.snapshot.services.get_mut(&service("cart")).unwrap()
    }
}

fn one(item: &str, attributes: &[&str]) -> Vec<(String, ItemChangeKind, Vec<String>)> {
    let attributes = attributes.iter().map(ToString::to_string).collect();
    vec![(item.to_owned(), ItemChangeKind::Changed, attributes)]
}

#[test]
fn a_fleet_seen_for_the_first_time_is_known_with_what_belongs_together() {
    let world = World::known();
    let item = |text: &str| &world.known.items[&id(text)];
    assert_eq!(item("service/cart").declared["replicas"], ItemValue::Count(1));
    assert_eq!(item("service/cart").discovered["replicas"], ItemValue::Count(2), "drift shows");
    assert_eq!(item("volume/cart-0").declared["size_bytes"], ItemValue::Count(16 << 20));
    let relation = |kind, from: &str, to: &str| Relation { kind, from: id(from), to: id(to) };
    for wanted in [
        relation(RelationKind::Runs, "service/cart", "instance/cart-1"),
        relation(RelationKind::DependsOn, "service/front", "service/cart"),
        relation(RelationKind::Mounts, "instance/cart-0", "volume/cart-0"),
        relation(RelationKind::PartOf, "service/cart", "infrastructure/shop"),
        relation(RelationKind::PartOf, "link/front->cart", "infrastructure/shop"),
    ] {
        assert!(world.known.relations.contains_key(&wanted), "{wanted:?}");
    }
    assert!(world.known.items.values().all(|item| item.version == 1 && item.gone_at.is_none()));
}

#[test]
fn what_is_measured_makes_no_change() {
    let mut world = World::known();
    for state in world.cart().instances.values_mut() {
        state.usage.cpu = Some(Cores(0.49));
        state.usage.memory = Some(Bytes::mib(63));
        state.phase = Phase::BackingOff;
        state.incarnation = None;
        state.unsettled_exits = 7;
    }
    world.snapshot.links.values_mut().for_each(|link| link.recent.errors = 1000);
    assert_eq!(world.changed(), []);
}

#[test]
fn replicas_limits_releases_ports_pauses_and_ejections_each_make_one_change() {
    let mut world = World::known();
    world.cart().limits.memory = Some(Bytes::mib(128));
    assert_eq!(world.changed(), one("service/cart", &["discovered.memory_bytes"]));
    world.cart().release.version = Some("2".to_owned());
    assert_eq!(world.changed(), one("service/cart", &["discovered.version"]));
    world.cart().instances.values_mut().next().unwrap().port = Some(4711);
    assert_eq!(world.changed(), one("instance/cart-0", &["discovered.port"]));
    world.paused.insert(service("cart"), None);
    assert_eq!(world.changed(), one("service/cart", &["discovered.paused"]));
    world.paused.clear();
    assert_eq!(world.changed(), one("service/cart", &["discovered.paused"]));
    let link = world.snapshot.links.get_mut(&"front->cart".parse().unwrap()).unwrap();
    link.backends.values_mut().next().unwrap().ejected_by_plan = true;
    assert_eq!(world.changed(), one("link/front->cart", &["discovered.ejected"]));
    world.cart().replicas = 1;
    let gone = world.cart().instances.pop_last().unwrap();
    let changed = world.look();
    let kinds: Vec<_> = changed.iter().map(|one| (one.item.id.to_string(), one.change.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("service/cart".to_owned(), ItemChangeKind::Changed),
            ("instance/cart-1".to_owned(), ItemChangeKind::Gone),
            ("volume/cart-1".to_owned(), ItemChangeKind::Gone),
        ]
    );
    assert_eq!(changed[0].change.lost.len(), 1, "it runs as one instance fewer");
    world.cart().instances.insert(gone.0, gone.1);
    let kinds: Vec<_> = world.look().iter().map(|one| one.change.kind).collect();
    assert_eq!(kinds, [ItemChangeKind::Changed, ItemChangeKind::Returned, ItemChangeKind::Returned]);
    assert_eq!(world.known.items[&id("instance/cart-1")].version, 3);
}

#[test]
fn a_changed_variable_shows_and_its_value_does_not() {
    let mut world = World::known();
    world.cart().release.environment.insert("TOKEN".to_owned(), "hunter2".to_owned());
    assert_eq!(world.changed(), one("service/cart", &["discovered.environment"]));
    world.cart().release.environment.insert("TOKEN".to_owned(), "hunter3".to_owned());
    assert_eq!(world.changed(), one("service/cart", &["discovered.environment"]));
    let text = format!("{:?}", world.known);
    assert!(text.contains("TOKEN") && !text.contains("hunter"));
}

#[test]
fn what_spans_alone_tell_of_stays_known_when_they_fall_silent_and_what_is_ours_goes() {
    let mut world = World::known();
    let called: domain::LinkName = "cart->mail".parse().unwrap();
    world.snapshot.traces.links.insert(called.clone(), Default::default());
    let ids: Vec<_> = world.look().iter().map(|one| one.item.id.to_string()).collect();
    assert_eq!(ids, ["service/cart", "service/mail", "link/cart->mail"]);
    let depends =
        Relation { kind: RelationKind::DependsOn, from: id("service/cart"), to: id("service/mail") };
    assert_eq!(world.known.relations[&depends], KnownBy::Spans);
    world.snapshot.traces.links.clear();
    assert_eq!(world.changed(), [], "absence is unknown");
    world.snapshot.services.clear();
    world.snapshot.links.clear();
    world.snapshot.infrastructure = None;
    world.look();
    let there = world.known.items.values().filter(|item| item.gone_at.is_none());
    let there: Vec<_> = there.map(|item| item.id.to_string()).collect();
    assert_eq!(there, ["service/mail", "link/cart->mail"]);
    assert!(world.known.relations.keys().all(|relation| relation.from != id("service/front")));
}

/// One thing that happens to a fleet, configuration or not.
#[derive(Debug, Clone)]
enum Event {
    Replicas(u32),
    Memory(u64),
    Version(u8),
    Variable(u8),
    Port(u16),
    Paused(bool),
    HandsOff(bool),
    Volume(u64),
    Called(u8),
    Silent,
    Gone,
    Cpu(f64),
    Phase(bool),
    Errors(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1_u32..4).prop_map(Event::Replicas),
        (1_u64..4).prop_map(Event::Memory),
        (0_u8..3).prop_map(Event::Version),
        (0_u8..3).prop_map(Event::Variable),
        (1_u16..4).prop_map(Event::Port),
        any::<bool>().prop_map(Event::Paused),
        any::<bool>().prop_map(Event::HandsOff),
        (16_u64..18).prop_map(Event::Volume),
        (0_u8..3).prop_map(Event::Called),
        Just(Event::Silent),
        Just(Event::Gone),
        (0.0..1.0_f64).prop_map(Event::Cpu),
        any::<bool>().prop_map(Event::Phase),
        (0_u64..9).prop_map(Event::Errors),
    ]
}

fn happen(world: &mut World, event: &Event) {
    if let Event::Called(n) = event {
        let link = format!("cart->mail-{}", (b'a' + n) as char).parse().unwrap();
        world.snapshot.traces.links.insert(link, Default::default());
        return;
    }
    match event {
        Event::Silent => return world.snapshot.traces.links.clear(),
        Event::Gone => {
            world.snapshot.services.remove(&service("payments"));
            return;
        }
        Event::Paused(true) => {
            world.paused.insert(service("cart"), Some(Time { boot_us: 1, wall_us: 1 }));
        }
        Event::Paused(false) => {
            world.paused.remove(&service("cart"));
        }
        Event::Errors(errors) => {
            world.snapshot.links.values_mut().for_each(|link| link.recent.errors = *errors)
        }
        _ => {}
    }
    let cart = world.cart();
    let first = cart.instances.values_mut().next().unwrap();
    match event {
        Event::Port(port) => first.port = Some(*port),
        Event::Volume(mib) => first.usage.disk_size = Some(Bytes::mib(*mib)),
        Event::Cpu(cores) => first.usage.cpu = Some(Cores(*cores)),
        Event::Phase(ready) => first.phase = if *ready { Phase::Ready } else { Phase::Starting },
        Event::Replicas(replicas) => cart.replicas = *replicas,
        Event::Memory(mib) => cart.limits.memory = Some(Bytes::mib(*mib)),
        Event::Version(version) => cart.release.version = Some(version.to_string()),
        Event::Variable(value) => drop(cart.release.environment.insert("A".to_owned(), value.to_string())),
        Event::HandsOff(on) => cart.hands_off = *on,
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever happens: entered, it changes no more; versions grow by one; and what the fingerprint calls the same
    /// is the same.
    #[test]
    fn no_change_is_hidden_by_the_fingerprint(events in prop::collection::vec(event(), 1..20)) {
        let mut world = World::known();
        for event in events {
            let before = fingerprint(&world.snapshot, &world.paused);
            let known = world.known.clone();
            happen(&mut world, &event);
            let same = before == fingerprint(&world.snapshot, &world.paused);
            let revised = world.look();
            prop_assert!(!same || revised.is_empty(), "{event:?} hid {revised:?}");
            for one in revised {
                let version = known.items.get(&one.item.id).map_or(0, |item| item.version);
                prop_assert_eq!(one.item.version, version + 1);
                let change = &one.change;
                let says_something = !change.attributes.is_empty() || !change.gained.is_empty()
                    || !change.lost.is_empty() || change.kind != ItemChangeKind::Changed;
                prop_assert!(says_something, "{:?}", change);
            }
        }
    }
}
