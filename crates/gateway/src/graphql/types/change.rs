//! The history of configuration items: who changed what, why and when.

use async_graphql::{Context, Enum, ID, Json, Object, SimpleObject};
use domain::PlanId;
use domain::cmdb::{AttributeChange, ItemChange, ItemValue, Relation};
use store::ChangeRecord;

use super::remediation::Remediation;
use crate::graphql::operation::Operation;
use crate::graphql::scalars::DateTime;
use crate::phrases;
use crate::problem::Problem;

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::cmdb::ItemChangeKind")]
pub(in crate::graphql) enum ChangeKind {
    /// Seen for the first time.
    Appeared,
    /// An attribute or a relation of it changed.
    Changed,
    /// It is not there any more.
    Gone,
    /// It is there again.
    Returned,
}

/// One change of one configuration item.
pub(in crate::graphql) struct Change(ItemChange);

impl From<ChangeRecord> for Change {
    fn from(record: ChangeRecord) -> Self {
        Self(record.change)
    }
}

/// One change of one configuration item.
#[Object]
impl Change {
    /// The item, such as `service/cart`.
    async fn item(&self) -> ID {
        ID(self.0.item.to_string())
    }

    /// The version of the item that began with it.
    async fn version(&self) -> u64 {
        self.0.version
    }

    /// When it was seen.
    async fn at(&self) -> DateTime {
        DateTime(self.0.at)
    }

    /// What became of the item.
    async fn kind(&self) -> ChangeKind {
        self.0.kind.into()
    }

    /// Who made it; null where no plan of ours did.
    async fn who(&self) -> Option<&str> {
        self.0.who.as_ref().map(phrases::actor)
    }

    /// Why, in the words of the plan; `discovered` where no plan of ours made it.
    async fn why(&self) -> &str {
        &self.0.why
    }

    /// The id of the plan that made it, or whose end made it.
    async fn remediation_id(&self) -> Option<ID> {
        self.0.plan.map(|plan: PlanId| ID(plan.to_string()))
    }

    /// That plan; null where none made it, or where it is so old that it is not kept.
    #[graphql(complexity = "5 + child_complexity")]
    async fn remediation(&self, context: &Context<'_>) -> Result<Option<Remediation>, Problem> {
        let store = &Operation::of(context)?.app().store;
        let Some(plan) = self.0.plan else { return Ok(None) };
        Ok(Remediation::all(store, store.plan(plan)?.into_iter().collect()).pop())
    }

    /// What was configured otherwise before, by name.
    async fn attributes(&self) -> Vec<ChangedAttribute> {
        self.0.attributes.iter().map(ChangedAttribute::from).collect()
    }

    /// Relations from it that began.
    async fn gained(&self) -> Vec<RelationOfItems> {
        self.0.gained.iter().map(Into::into).collect()
    }

    /// Relations from it that ended.
    async fn lost(&self) -> Vec<RelationOfItems> {
        self.0.lost.iter().map(Into::into).collect()
    }
}

/// An attribute of an item before and after.
#[derive(SimpleObject)]
struct ChangedAttribute {
    /// `declared.NAME` or `discovered.NAME`.
    name: String,
    /// Null: it had none.
    before: Option<Json<ItemValue>>,
    /// Null: it has none any more.
    after: Option<Json<ItemValue>>,
}

impl From<(&String, &AttributeChange)> for ChangedAttribute {
    fn from((name, change): (&String, &AttributeChange)) -> Self {
        let AttributeChange { before, after } = change.clone();
        Self { name: name.clone(), before: before.map(Json), after: after.map(Json) }
    }
}

/// How two items belong together.
#[derive(SimpleObject)]
#[graphql(name = "Relation")]
struct RelationOfItems {
    /// `runs`, `depends_on`, `mounts` or `part_of`.
    kind: &'static str,
    /// From this item.
    from: ID,
    /// To this one.
    to: ID,
}

impl From<&Relation> for RelationOfItems {
    fn from(relation: &Relation) -> Self {
        Self {
            kind: relation.kind.name(),
            from: ID(relation.from.to_string()),
            to: ID(relation.to.to_string()),
        }
    }
}
