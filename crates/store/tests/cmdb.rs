//! Configuration items: what is written is found again, page by page, and what is over is forgotten in time.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use domain::cmdb::{
    AttributeChange, Item, ItemChange, ItemChangeKind, ItemKind, ItemValue, KnownBy, Relation, RelationKind,
    Revised,
};
use domain::{ResourceId, Time};
use store::{ItemFilter, Presence, Retention, Store};
use support::at;

fn id(text: &str) -> ResourceId {
    text.parse().unwrap()
}

fn relation(from: &str, to: &str) -> Relation {
    Relation { kind: RelationKind::Runs, from: id(from), to: id(to) }
}

fn revised(item: &str, version: u64, at: Time, kind: ItemChangeKind) -> Revised {
    let item = Item {
        id: id(item),
        declared: [("replicas".to_owned(), ItemValue::Count(2))].into(),
        discovered: [("cpu_cores".to_owned(), ItemValue::Number(1.0))].into(),
        version,
        first_seen: support::at(0),
        last_changed: at,
        gone_at: (kind == ItemChangeKind::Gone).then_some(at),
    };
    let change = ItemChange {
        item: item.id.clone(),
        version,
        at,
        kind,
        who: None,
        why: ItemChange::DISCOVERED.to_owned(),
        plan: None,
        attributes: [(
            "declared.replicas".to_owned(),
            AttributeChange { before: None, after: Some(ItemValue::Count(2)) },
        )]
        .into(),
        gained: Vec::new(),
        lost: Vec::new(),
    };
    Revised { item, change, known_by: BTreeMap::new() }
}

/// cart appears at 0 s and runs as cart-0; cart-0 is gone at 20 s, cart has another version at 30 s.
fn kept() -> Store {
    let store = Store::in_memory().unwrap();
    let mut cart = revised("service/cart", 1, at(0), ItemChangeKind::Appeared);
    cart.known_by = [(relation("service/cart", "instance/cart-0"), KnownBy::Provider)].into();
    let slot = revised("instance/cart-0", 1, at(0), ItemChangeKind::Appeared);
    store.record_items(&[cart, slot]).unwrap();
    let mut cart = revised("service/cart", 2, at(20), ItemChangeKind::Changed);
    cart.change.lost = vec![relation("service/cart", "instance/cart-0")];
    store.record_items(&[cart, revised("instance/cart-0", 2, at(20), ItemChangeKind::Gone)]).unwrap();
    store.record_items(&[revised("service/cart", 3, at(30), ItemChangeKind::Changed)]).unwrap();
    store
}

fn ids(store: &Store, filter: ItemFilter) -> Vec<String> {
    store.items(&filter).unwrap().iter().map(|record| record.item.id.to_string()).collect()
}

#[test]
fn items_are_listed_by_what_changed_last_and_by_every_filter() {
    let store = kept();
    let any = ItemFilter::default;
    assert_eq!(ids(&store, any()), ["service/cart", "instance/cart-0"]);
    assert_eq!(ids(&store, ItemFilter { kind: Some(ItemKind::Instance), ..any() }), ["instance/cart-0"]);
    assert_eq!(ids(&store, ItemFilter { changed_since: Some(at(30)), ..any() }), ["service/cart"]);
    assert_eq!(ids(&store, ItemFilter { presence: Some(Presence::Gone), ..any() }), ["instance/cart-0"]);
    assert_eq!(ids(&store, ItemFilter { presence: Some(Presence::Present), ..any() }), ["service/cart"]);
    assert_eq!(ids(&store, ItemFilter { service: Some("front".parse().unwrap()), ..any() }), [""; 0]);
    let first = store.items(&ItemFilter { limit: 1, ..any() }).unwrap().remove(0);
    assert_eq!(ids(&store, ItemFilter { before: Some(first.sequence), ..any() }), ["instance/cart-0"]);
    assert_eq!(store.item(&id("service/cart")).unwrap().unwrap().item, first.item);
    assert_eq!(store.item(&id("service/front")).unwrap(), None);
}

#[test]
fn the_history_pages_from_the_newest_and_relations_follow_the_changes() {
    let store = kept();
    let cart = id("service/cart");
    let page = store.item_history(&cart, None, 2).unwrap();
    let versions = |page: &[store::ChangeRecord]| page.iter().map(|it| it.change.version).collect::<Vec<_>>();
    assert_eq!(versions(&page), [3, 2]);
    assert_eq!(versions(&store.item_history(&cart, Some(page[1].sequence), 2).unwrap()), [1]);
    assert!(store.relations().unwrap().is_empty());
    let mut again = revised("service/cart", 4, at(40), ItemChangeKind::Changed);
    let runs = relation("service/cart", "instance/cart-0");
    again.known_by = [(runs.clone(), KnownBy::Spans)].into();
    store.record_items(&[again]).unwrap();
    let there: BTreeMap<_, _> = [(runs, KnownBy::Spans)].into();
    assert_eq!(store.relations_of(&id("instance/cart-0")).unwrap(), there);
    assert_eq!(store.inventory().unwrap().relations, there);
    assert_eq!(store.inventory().unwrap().items.len(), 2);
}

#[test]
fn retention_forgets_what_is_gone_and_keeps_the_newest_version_of_what_exists() {
    let store = kept();
    let keep = Retention { records: Duration::from_secs(60), ..Retention::default() };
    assert_eq!(store.prune(at(59), keep).unwrap().removed, store::Pruned::default());
    let pruned = store.prune(at(1000), keep).unwrap().removed;
    assert_eq!((pruned.items, pruned.changes), (1, 4));
    let history = store.item_history(&id("service/cart"), None, 10).unwrap();
    assert_eq!(history.iter().map(|it| it.change.version).collect::<Vec<_>>(), [3]);
    assert!(store.item_history(&id("instance/cart-0"), None, 10).unwrap().is_empty());
}
