//! Configuration items: what there is, how it is configured, how that came to be.
//!
//! In: nothing. Out: the nouns of the inventory. What is *declared* (a file, a plan's Infrastructure) and what was
//! *discovered* (the provider, spans) stand beside each other, so that a difference shows as drift.
//!
//! Deliberately absent: measured use. What a service uses changes all the time and is no configuration.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::PlanId;
use crate::plan::Actor;
use crate::resource::ResourceId;
use crate::time::Time;

/// What kind of thing an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    /// A declared set of services.
    Infrastructure,
    /// A service, ours or one that spans tell of.
    Service,
    /// One instance of a service.
    Instance,
    /// The data directory of an instance.
    Volume,
    /// The path between two services.
    Link,
    /// A machine.
    Node,
}

impl ItemKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Infrastructure, Self::Service, Self::Instance, Self::Volume, Self::Link, Self::Node];

    /// The kind of a resource.
    pub fn of(resource: &ResourceId) -> Self {
        match resource {
            ResourceId::Infrastructure(_) => Self::Infrastructure,
            ResourceId::Service(_) => Self::Service,
            ResourceId::Instance(_) => Self::Instance,
            ResourceId::Volume(_) => Self::Volume,
            ResourceId::Link(_) => Self::Link,
            ResourceId::Node(_) => Self::Node,
        }
    }

    /// The name in the API and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Infrastructure => "infrastructure",
            Self::Service => "service",
            Self::Instance => "instance",
            Self::Volume => "volume",
            Self::Link => "link",
            Self::Node => "node",
        }
    }

    /// The kind with a name; `None` where there is none.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for ItemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The value of a configured attribute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ItemValue {
    /// Yes or no.
    Flag(bool),
    /// A count, or bytes; the attribute's name says which.
    Count(u64),
    /// A finite number, such as cores.
    Number(f64),
    /// Text.
    Text(String),
    /// Texts in order.
    List(Vec<String>),
    /// Texts by name.
    Fields(BTreeMap<String, String>),
}

/// Attributes by name.
pub type ItemAttributes = BTreeMap<String, ItemValue>;

/// One configuration item, in its newest version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Which resource.
    pub id: ResourceId,
    /// What was declared of it; empty where nothing was.
    pub declared: ItemAttributes,
    /// What was found.
    pub discovered: ItemAttributes,
    /// Counted from 1; grows with every change.
    pub version: u64,
    /// When it was first seen.
    pub first_seen: Time,
    /// When this version began.
    pub last_changed: Time,
    /// Since when it is not there any more; `None`: it is.
    pub gone_at: Option<Time>,
}

impl Item {
    /// Its kind.
    pub fn kind(&self) -> ItemKind {
        ItemKind::of(&self.id)
    }
}

/// How two items belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelationKind {
    /// A service runs as an instance.
    Runs,
    /// A service calls another.
    DependsOn,
    /// An instance has a volume.
    Mounts,
    /// A service or a link belongs to an Infrastructure.
    PartOf,
}

impl RelationKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Runs, Self::DependsOn, Self::Mounts, Self::PartOf];

    /// The name in the API and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::DependsOn => "depends_on",
            Self::Mounts => "mounts",
            Self::PartOf => "part_of",
        }
    }
}

/// How something came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownBy {
    /// It was declared.
    Declaration,
    /// The provider shows it.
    Provider,
    /// Spans tell of it; that none do is no sign that it is gone.
    Spans,
}

impl KnownBy {
    /// The name in the API and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Declaration => "declaration",
            Self::Provider => "provider",
            Self::Spans => "spans",
        }
    }
}

/// One relation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Relation {
    /// Which.
    pub kind: RelationKind,
    /// From this item.
    pub from: ResourceId,
    /// To this one.
    pub to: ResourceId,
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemChangeKind {
    /// Seen for the first time.
    Appeared,
    /// An attribute or a relation of it changed.
    Changed,
    /// It is not there any more.
    Gone,
    /// It is there again.
    Returned,
}

/// An attribute before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttributeChange {
    /// `None`: it had none.
    pub before: Option<ItemValue>,
    /// `None`: it has none any more.
    pub after: Option<ItemValue>,
}

/// One change of one item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemChange {
    /// Which item.
    pub item: ResourceId,
    /// The version that began with it.
    pub version: u64,
    /// When it was seen.
    pub at: Time,
    /// What became of the item.
    pub kind: ItemChangeKind,
    /// Who made it; `None` where no plan of ours did.
    pub who: Option<Actor>,
    /// Why, in the words of the plan; `discovered` where no plan of ours made it.
    pub why: String,
    /// The plan that made it, or whose end made it.
    pub plan: Option<PlanId>,
    /// By `declared.NAME` or `discovered.NAME`.
    pub attributes: BTreeMap<String, AttributeChange>,
    /// Relations from it that began.
    pub gained: Vec<Relation>,
    /// Relations from it that ended.
    pub lost: Vec<Relation>,
}

impl ItemChange {
    /// Why a change happened that no plan of ours made.
    pub const DISCOVERED: &str = "discovered";
}

/// An item in a new version, with the change that made it.
#[derive(Debug, Clone, PartialEq)]
pub struct Revised {
    /// As it is now.
    pub item: Item,
    /// What changed.
    pub change: ItemChange,
    /// How the relations are known that it gained.
    pub known_by: BTreeMap<Relation, KnownBy>,
}

impl Revised {
    /// Makes it known.
    pub fn enter(&self, inventory: &mut Inventory) {
        inventory.items.insert(self.item.id.clone(), self.item.clone());
        for lost in &self.change.lost {
            inventory.relations.remove(lost);
        }
        inventory.relations.extend(self.known_by.clone());
    }
}

/// Everything known of configuration: the newest version of every item, and the relations there are.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Inventory {
    /// The items, those that are gone among them.
    pub items: BTreeMap<ResourceId, Item>,
    /// The relations there are, and how each is known.
    pub relations: BTreeMap<Relation, KnownBy>,
}
