//! What changed between what was known and what is there.

use std::collections::{BTreeMap, BTreeSet};

use domain::cmdb::{
    AttributeChange, Inventory, Item, ItemAttributes, ItemChange, ItemChangeKind, ItemValue, KnownBy,
    Relation, Revised,
};
use domain::{ResourceId, Time};

use super::seen::{KNOWN_BY, SPANS_VERSION, Seen, SeenItem};

/// The items that have a new version, in the order of their ids. Entered into `known`, the same question gives none.
pub fn changes(known: &Inventory, seen: &Seen, now: Time) -> Vec<Revised> {
    let mut gained: BTreeMap<&ResourceId, Vec<&Relation>> = BTreeMap::new();
    let mut lost: BTreeMap<&ResourceId, Vec<&Relation>> = BTreeMap::new();
    let there = |id: &ResourceId| seen.items.contains_key(id) || is_silent(known.items.get(id));
    for relation in seen.relations.keys().filter(|it| !known.relations.contains_key(it)) {
        gained.entry(&relation.from).or_default().push(relation);
    }
    for (relation, by) in known.relations.iter().filter(|(it, _)| !seen.relations.contains_key(it)) {
        let silent = *by == KnownBy::Spans && there(&relation.from) && there(&relation.to);
        if !silent {
            lost.entry(&relation.from).or_default().push(relation);
        }
    }
    let ids: BTreeSet<&ResourceId> = seen.items.keys().chain(known.items.keys()).collect();
    ids.into_iter()
        .filter_map(|id| {
            let relations = |of: &BTreeMap<&ResourceId, Vec<&Relation>>| -> Vec<Relation> {
                of.get(id).into_iter().flatten().map(|relation| Relation::clone(relation)).collect()
            };
            let (gained, lost) = (relations(&gained), relations(&lost));
            let known_by =
                gained.iter().filter_map(|it| Some((it.clone(), *seen.relations.get(it)?))).collect();
            let (item, kind) = revise(
                id,
                known.items.get(id),
                seen.items.get(id),
                now,
                !gained.is_empty() || !lost.is_empty(),
            )?;
            let change = ItemChange {
                item: id.clone(),
                version: item.version,
                at: now,
                kind,
                who: None,
                why: ItemChange::DISCOVERED.to_owned(),
                plan: None,
                attributes: difference(known.items.get(id), &item),
                gained,
                lost,
            };
            Some(Revised { item, change, known_by })
        })
        .collect()
}

/// Whether spans alone told of an item: that they fall silent is no sign that it is gone.
fn is_silent(item: Option<&Item>) -> bool {
    item.is_some_and(|item| item.gone_at.is_none() && item.discovered.contains_key(KNOWN_BY))
}

fn revise(
    id: &ResourceId,
    known: Option<&Item>,
    seen: Option<&SeenItem>,
    now: Time,
    relations_changed: bool,
) -> Option<(Item, ItemChangeKind)> {
    let Some(known) = known else {
        let seen = seen?.clone();
        let (declared, discovered) = (seen.declared, seen.discovered);
        let (first_seen, last_changed) = (now, now);
        let id = id.clone();
        let item = Item { id, declared, discovered, version: 1, first_seen, last_changed, gone_at: None };
        return Some((item, ItemChangeKind::Appeared));
    };
    let mut item = Item { version: known.version + 1, last_changed: now, ..known.clone() };
    match seen {
        None if known.gone_at.is_some() || is_silent(Some(known)) => {
            return relations_changed.then_some((item, ItemChangeKind::Changed));
        }
        None => {
            item.gone_at = Some(now);
            return Some((item, ItemChangeKind::Gone));
        }
        Some(seen) => {
            item.declared = seen.declared.clone();
            item.discovered = seen.discovered.clone();
            // What spans said last counts until they say something else.
            if let (Some(version), None) =
                (known.discovered.get(SPANS_VERSION), item.discovered.get(SPANS_VERSION))
            {
                item.discovered.insert(SPANS_VERSION.to_owned(), version.clone());
            }
        }
    }
    if item.gone_at.take().is_some() {
        return Some((item, ItemChangeKind::Returned));
    }
    let same = item.declared == known.declared && item.discovered == known.discovered;
    (relations_changed || !same).then_some((item, ItemChangeKind::Changed))
}

/// Attributes that differ, by `declared.NAME` and `discovered.NAME`.
fn difference(before: Option<&Item>, after: &Item) -> BTreeMap<String, AttributeChange> {
    let none = ItemAttributes::new();
    let sides = [
        ("declared", before.map_or(&none, |item| &item.declared), &after.declared),
        ("discovered", before.map_or(&none, |item| &item.discovered), &after.discovered),
    ];
    let mut changed = BTreeMap::new();
    for (side, before, after) in sides {
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names {
            let value = |of: &ItemAttributes| -> Option<ItemValue> { of.get(name).cloned() };
            let (before, after) = (value(before), value(after));
            if before != after {
                changed.insert(format!("{side}.{name}"), AttributeChange { before, after });
            }
        }
    }
    changed
}
