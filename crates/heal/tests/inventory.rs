//! What is configured is kept, with who changed it and why.

mod support;

use domain::cmdb::{ItemChange, ItemChangeKind, ItemKind, ItemValue};
use domain::{Actor, Attribute, AttributeValue, Bytes, ResourceId, ServiceName};
use heal::RunMode;
use store::{ItemFilter, Presence};
use support::{Lab, automatic, shop};

fn cart() -> ServiceName {
    "cart".parse().unwrap()
}

fn id(text: &str) -> ResourceId {
    text.parse().unwrap()
}

fn last(lab: &Lab, item: &str) -> ItemChange {
    lab.store.item_history(&id(item), None, 1).unwrap().remove(0).change
}

fn changes(lab: &Lab) -> usize {
    let items = lab.store.items(&ItemFilter { limit: 1000, ..ItemFilter::default() }).unwrap();
    let count = |id: &ResourceId| lab.store.item_history(id, None, 1000).unwrap().len();
    items.iter().map(|record| count(&record.item.id)).sum()
}

#[test]
fn a_fleet_is_known_from_the_first_look_and_looks_and_restarts_alone_add_nothing() {
    let mut lab = Lab::shop(automatic());
    lab.turn();
    let known = changes(&lab);
    let all = lab.store.inventory().unwrap();
    assert_eq!(known, all.items.len());
    assert_eq!(
        all.items[&id("service/cart")].declared["command"],
        ItemValue::List(shop().services[&cart()].command.clone())
    );
    for _ in 0..40 {
        lab.turn();
    }
    lab.crash();
    for _ in 0..4 {
        lab.turn();
    }
    assert_eq!(changes(&lab), known);
}

#[test]
fn a_change_names_the_plan_that_made_it_and_one_from_outside_names_nobody() {
    let lab = Lab::shop(automatic());
    lab.turn();
    let replicas = shop().services[&cart()].replicas;
    let plan = lab.healer.scale(&cart(), replicas + 1, RunMode::Run, "ann").unwrap().plan;
    lab.turn();
    let added = format!("instance/cart-{replicas}");
    for item in ["service/cart", added.as_str()] {
        let change = last(&lab, item);
        assert_eq!(
            (change.plan, change.who),
            (Some(plan.id), Some(Actor::Operator("ann".to_owned()))),
            "{item}"
        );
        assert!(change.why.contains("2 when it was asked for"), "{}", change.why);
    }
    lab.healer.roll_back(plan.id, "bob").unwrap();
    lab.turn();
    let change = last(&lab, &added);
    assert_eq!((change.kind, change.plan), (ItemChangeKind::Gone, Some(plan.id)));
    assert!(change.why.contains("taken back (rolled back by bob)"), "{}", change.why);

    for _ in 0..20 {
        lab.turn();
    }
    let limit = AttributeValue::Size(Some(Bytes::mib(999)));
    lab.provider.set_from_outside(&Attribute::MemoryLimit(cart()), limit);
    lab.turn();
    let change = last(&lab, "service/cart");
    assert_eq!(change.attributes["discovered.memory_bytes"].after, Some(ItemValue::Count(999 << 20)));
    assert_eq!((change.who, change.plan, change.why.as_str()), (None, None, "discovered"));
}

#[test]
fn a_whole_infrastructure_that_goes_and_comes_is_in_the_history_of_every_item() {
    let mut policy = automatic();
    policy.infrastructures.approve_take_down = false;
    let lab = Lab::shop(policy);
    lab.turn();
    let plan = lab.healer.delete_infrastructure(&shop().name, RunMode::Run, "ann").unwrap().plan;
    lab.turn();
    let gone = ItemFilter { presence: Some(Presence::Present), ..ItemFilter::default() };
    assert_eq!(lab.store.items(&gone).unwrap(), []);
    assert!(lab.store.relations().unwrap().is_empty());
    for item in ["infrastructure/shop", "service/cart", "instance/cart-0"] {
        assert_eq!(
            (last(&lab, item).plan, last(&lab, item).kind),
            (Some(plan.id), ItemChangeKind::Gone),
            "{item}"
        );
    }
    let plan = lab.healer.create_infrastructure(shop(), RunMode::Run, "ann").unwrap().plan;
    lab.turn();
    for item in ["infrastructure/shop", "service/cart", "instance/cart-0"] {
        let change = last(&lab, item);
        assert_eq!((change.plan, change.kind), (Some(plan.id), ItemChangeKind::Returned), "{item}");
    }
    let services = ItemFilter { kind: Some(ItemKind::Service), ..ItemFilter::default() };
    assert_eq!(lab.store.items(&services).unwrap().len(), shop().services.len());
}
