//! Configuration items on the wire, their history, and how they belong together.

use std::collections::BTreeMap;

use domain::Time;
use domain::cmdb::{AttributeChange, Item, ItemAttributes, ItemChange, ItemValue, KnownBy, Relation};
use schemars::JsonSchema;
use serde::Serialize;

use crate::phrases;

/// A configuration item in its newest version.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ItemShape {
    id: String,
    kind: &'static str,
    version: u64,
    /// What was declared of it.
    declared: BTreeMap<String, ValueShape>,
    /// What was found.
    discovered: BTreeMap<String, ValueShape>,
    first_seen: String,
    last_changed: String,
    /// Since when it is not there any more.
    gone_at: Option<String>,
}

impl From<&Item> for ItemShape {
    fn from(item: &Item) -> Self {
        Self {
            id: item.id.to_string(),
            kind: item.kind().name(),
            version: item.version,
            declared: attributes(&item.declared),
            discovered: attributes(&item.discovered),
            first_seen: item.first_seen.rfc3339(),
            last_changed: item.last_changed.rfc3339(),
            gone_at: item.gone_at.map(Time::rfc3339),
        }
    }
}

/// One change of an item.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ItemChangeShape {
    item: String,
    /// The version that began with it.
    version: u64,
    at: String,
    kind: String,
    /// Null where no plan of ours made it.
    who: Option<String>,
    why: String,
    remediation_id: Option<String>,
    /// By `declared.NAME` or `discovered.NAME`.
    attributes: BTreeMap<String, AttributeShape>,
    gained: Vec<RelationShape>,
    lost: Vec<RelationShape>,
}

/// An attribute before and after; null: it was not there.
#[derive(Serialize, JsonSchema)]
struct AttributeShape {
    before: Option<ValueShape>,
    after: Option<ValueShape>,
}

impl From<&ItemChange> for ItemChangeShape {
    fn from(change: &ItemChange) -> Self {
        let relations = |all: &[Relation]| all.iter().map(|one| RelationShape::new(one, None)).collect();
        let shape = |(name, change): (&String, &AttributeChange)| {
            let AttributeChange { before, after } = change;
            let (before, after) =
                (before.as_ref().map(ValueShape::from), after.as_ref().map(ValueShape::from));
            (name.clone(), AttributeShape { before, after })
        };
        Self {
            item: change.item.to_string(),
            version: change.version,
            at: change.at.rfc3339(),
            kind: serde_json::to_value(change.kind)
                .ok()
                .and_then(|name| name.as_str().map(str::to_owned))
                .unwrap_or_default(),
            who: change.who.as_ref().map(|who| phrases::actor(who).to_owned()),
            why: change.why.clone(),
            remediation_id: change.plan.map(|plan| plan.to_string()),
            attributes: change.attributes.iter().map(shape).collect(),
            gained: relations(&change.gained),
            lost: relations(&change.lost),
        }
    }
}

/// How two items belong together.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RelationShape {
    kind: &'static str,
    from: String,
    to: String,
    /// `declaration`, `provider` or `spans`; null in a change.
    known_by: Option<&'static str>,
}

impl RelationShape {
    pub(crate) fn new(relation: &Relation, by: Option<KnownBy>) -> Self {
        Self {
            kind: relation.kind.name(),
            from: relation.from.to_string(),
            to: relation.to.to_string(),
            known_by: by.map(KnownBy::name),
        }
    }
}

/// The value of a configured attribute.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "ItemValue")]
enum ValueShape {
    /// Yes or no.
    Flag(bool),
    /// A count, or bytes; the attribute's name says which.
    Count(u64),
    /// Such as cores.
    Number(f64),
    Text(String),
    List(Vec<String>),
    Fields(BTreeMap<String, String>),
}

impl From<&ItemValue> for ValueShape {
    fn from(value: &ItemValue) -> Self {
        match value {
            ItemValue::Flag(flag) => Self::Flag(*flag),
            ItemValue::Count(count) => Self::Count(*count),
            ItemValue::Number(number) => Self::Number(*number),
            ItemValue::Text(text) => Self::Text(text.clone()),
            ItemValue::List(list) => Self::List(list.clone()),
            ItemValue::Fields(fields) => Self::Fields(fields.clone()),
        }
    }
}

fn attributes(all: &ItemAttributes) -> BTreeMap<String, ValueShape> {
    all.iter().map(|(name, one)| (name.clone(), one.into())).collect()
}
