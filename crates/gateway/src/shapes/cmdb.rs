//! Configuration items and Infrastructures on the wire.
//!
//! What an Infrastructure sets as environment is told by name alone: values there are often secrets, and who may read the
//! state need not know them.

use std::collections::BTreeMap;

use domain::cmdb::{AttributeChange, Item, ItemAttributes, ItemChange, ItemValue, KnownBy, Relation};
use domain::{Infrastructure, Time};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::phrases;
use crate::problem::Problem;

/// A configuration item in its newest version.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ItemShape {
    id: String,
    kind: &'static str,
    version: u64,
    /// What was declared of it.
    declared: BTreeMap<String, Value>,
    /// What was found.
    discovered: BTreeMap<String, Value>,
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
    before: Option<Value>,
    after: Option<Value>,
}

impl From<&ItemChange> for ItemChangeShape {
    fn from(change: &ItemChange) -> Self {
        let relations = |all: &[Relation]| all.iter().map(|one| RelationShape::new(one, None)).collect();
        let shape = |(name, change): (&String, &AttributeChange)| {
            let AttributeChange { before, after } = change;
            let (before, after) = (before.as_ref().map(value), after.as_ref().map(value));
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

/// What is up, as it was declared.
#[derive(Serialize, JsonSchema)]
pub(crate) struct InfrastructureShape {
    name: String,
    environment: Value,
    cpu_limits: Value,
    /// As in a definition, environments by name alone.
    services: BTreeMap<String, Value>,
}

impl InfrastructureShape {
    pub(crate) fn new(infrastructure: &Infrastructure) -> Result<Self, Problem> {
        let unwritable =
            |error: serde_json::Error| Problem::internal(format!("an Infrastructure is no JSON: {error}"));
        let mut services = BTreeMap::new();
        for (name, spec) in &infrastructure.services {
            let mut shown = serde_json::to_value(spec).map_err(unwritable)?;
            if let Some(fields) = shown.as_object_mut() {
                let names: Vec<&String> = spec.environment.keys().collect();
                fields.insert("environment".to_owned(), serde_json::to_value(names).map_err(unwritable)?);
            }
            services.insert(name.to_string(), shown);
        }
        Ok(Self {
            name: infrastructure.name.to_string(),
            environment: serde_json::to_value(infrastructure.environment).map_err(unwritable)?,
            cpu_limits: serde_json::to_value(infrastructure.cpu_limits).map_err(unwritable)?,
            services,
        })
    }
}

fn attributes(all: &ItemAttributes) -> BTreeMap<String, Value> {
    all.iter().map(|(name, one)| (name.clone(), value(one))).collect()
}

fn value(value: &ItemValue) -> Value {
    match value {
        ItemValue::Flag(flag) => Value::from(*flag),
        ItemValue::Count(count) => Value::from(*count),
        ItemValue::Number(number) => Value::from(*number),
        ItemValue::Text(text) => Value::from(text.as_str()),
        ItemValue::List(list) => Value::from(list.clone()),
        ItemValue::Fields(fields) => {
            fields.iter().map(|(name, text)| (name.clone(), text.as_str())).collect()
        }
    }
}
