//! Configuration items of the shop, with a past: what was brought up two hours ago, and what was changed since.

use decide::cmdb::{Paused, changes, seen};
use domain::cmdb::Inventory;
use domain::{Actor, Bytes, Snapshot, Time};

use super::{name, seconds, snapshot};
use crate::support::Fleet;

/// Declares the shop, and records its items as two looks of the loop would.
pub(super) fn items(fleet: &Fleet, now: Time) {
    let text = include_str!("../../../../../drills/shop.yaml");
    let declared = provider::manifest::parse("drills/shop.yaml", text).unwrap();
    let look = |at: Time| Snapshot { infrastructure: Some(declared.name.clone()), ..snapshot(at) };
    let mut known = Inventory::default();
    let mut record = |look: &Snapshot, who: Option<&str>| {
        let mut revised = changes(&known, &seen(look, Some(&declared), &Paused::new()), look.taken);
        for one in &mut revised {
            one.change.who = who.map(|who| Actor::Operator(who.to_owned()));
            one.enter(&mut known);
        }
        fleet.store.record_items(&revised).unwrap();
    };
    record(&look(now.minus(seconds(7200))), Some("ada"));
    let mut later = look(now.minus(seconds(1500)));
    let cart = later.services.get_mut(&name("cart")).unwrap();
    cart.limits.memory = Some(Bytes::mib(192));
    cart.release.version = Some("2.0.0".to_owned());
    let payments = later.services.get_mut(&name("payments")).unwrap();
    payments.replicas = 1;
    payments.instances.remove(&name("payments").instance(1));
    record(&later, None);
    *fleet.infrastructure.lock().unwrap() = Some(declared);
}
