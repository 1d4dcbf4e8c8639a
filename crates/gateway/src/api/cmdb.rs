//! `/api/v3/cmdb/…`: configuration items, their history and how they belong together; `/api/v3/infrastructures/…`: whole
//! Infrastructures, brought up, taken down and scaled by plans, which pass the guard as repairs do.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use domain::cmdb::ItemKind;
use domain::{Infrastructure, Permission, ResourceId, ServiceName, ServiceSpec};
use schemars::JsonSchema;
use serde::Deserialize;
use store::{ChangeRecord, ItemFilter, ItemRecord, Presence};

use super::{Answer, Asked, LIMIT_MAX, PAGE, PLANS, json, mode, names, planned};
use crate::deed::Deed;
use crate::endpoint::{Endpoint, ITEM, Kind, Parameter, SEQUENCE, SERVICE};
use crate::problem::{Code, Listed, Problem};
use crate::shapes::{InfrastructureShape, ItemChangeShape, ItemShape, RelationShape, RemediationShape};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut all = items_endpoints();
    all.extend(infrastructure_endpoints());
    all
}

fn items_endpoints() -> Vec<Endpoint> {
    let id = || Parameter::text("id", "The id of an item, percent-encoded, such as `service%2Fcart`");
    let page = || Parameter::form("before", SEQUENCE, "17", "Only what comes behind; the Link header has it");
    vec![
        Endpoint::get(Permission::StateRead, "/api/v3/cmdb/items", "cmdb.items", items)
            .says("Configuration items, what changed last first")
            .query([
                Parameter::choice("kind", ItemKind::ALL.map(ItemKind::name), "Only of this kind"),
                Parameter::form(
                    "service",
                    SERVICE,
                    "cart",
                    "Only those of this service; of links those to it",
                ),
                Parameter::time("since", "Only those that changed since"),
                Parameter::new(
                    "present",
                    Kind::Boolean,
                    "Only those that are there, or only those that are gone",
                ),
                Parameter::limit(LIMIT_MAX, PAGE),
                page(),
            ])
            .answers::<Vec<ItemShape>>("Items"),
        Endpoint::get(Permission::StateRead, "/api/v3/cmdb/items/{id}", "cmdb.item", item)
            .says("One configuration item")
            .placeholder(id())
            .answers::<ItemShape>("The item"),
        Endpoint::get(Permission::StateRead, "/api/v3/cmdb/items/{id}/history", "cmdb.history", history)
            .says("Every change of an item, newest first")
            .placeholder(id())
            .query([Parameter::limit(LIMIT_MAX, PAGE), page()])
            .answers::<Vec<ItemChangeShape>>("Changes"),
        Endpoint::get(Permission::StateRead, "/api/v3/cmdb/relations", "cmdb.relations", relations)
            .says("How items belong together, or those from and to one item")
            .query([Parameter::form("item", ITEM, "service/cart", "Only those from and to this item")])
            .answers::<Vec<RelationShape>>("Relations"),
    ]
}

/// How the provider may refuse to say what is up.
const PROVIDED: [Code; 3] = [Code::Conflict, Code::Unsupported, Code::Unavailable];

/// What is up, as it was declared.
pub(crate) const INFRASTRUCTURE: &str = "/api/v3/infrastructures/{name}";

/// How many instances of each service are to run.
pub(crate) const SIZE: &str = "/api/v3/infrastructures/{name}/scale";

fn infrastructure_endpoints() -> Vec<Endpoint> {
    let (all, one, size) = ("/api/v3/infrastructures", INFRASTRUCTURE, SIZE);
    let name = || Parameter::text("name", "The name of an Infrastructure");
    vec![
        Endpoint::get(Permission::StateRead, all, "infrastructures.list", infrastructures)
            .says("What is up, as it was declared; environments by name alone")
            .refuses(PROVIDED)
            .answers::<Vec<InfrastructureShape>>("Infrastructures"),
        Endpoint::get(Permission::StateRead, one, "infrastructures.get", infrastructure)
            .says("One Infrastructure")
            .placeholder(name())
            .refuses(PROVIDED)
            .answers::<InfrastructureShape>("The Infrastructure"),
        Endpoint::post(Permission::InfrastructureWrite, all, "infrastructures.create", create)
            .says("Brings an Infrastructure up, all or nothing")
            .takes::<Definition>()
            .refuses(PLANS)
            .answers::<RemediationShape>("The plan, of a dry run")
            .answers_with::<RemediationShape>(StatusCode::ACCEPTED, "The plan, on its way"),
        Endpoint::delete(Permission::InfrastructureWrite, one, "infrastructures.delete", delete)
            .says("Takes an Infrastructure down with its volumes; waits for an approval unless policy says otherwise")
            .placeholder(name())
            .overwrites(one, infrastructure)
            .query([Parameter::new("dry_run", Kind::Boolean, "Shows the plan; changes nothing")])
            .refuses(PLANS)
            .answers::<RemediationShape>("The plan, of a dry run")
            .answers_with::<RemediationShape>(StatusCode::ACCEPTED, "The plan, on its way or waiting"),
        Endpoint::get(Permission::StateRead, size, "infrastructures.size", sizes)
            .says("How many instances of each service are to run now")
            .placeholder(name())
            .refuses(PROVIDED)
            .answers::<BTreeMap<String, u32>>("Instances by service"),
        Endpoint::post(Permission::InfrastructureWrite, size, "infrastructures.scale", scale)
            .says("Runs so many instances of a service, until somebody asks for another number")
            .placeholder(name())
            .overwrites(size, sizes)
            .takes::<Replicas>()
            .refuses(PLANS)
            .answers::<RemediationShape>("The plan, of a dry run")
            .answers_with::<RemediationShape>(StatusCode::ACCEPTED, "The plan, on its way or waiting"),
    ]
}

/// What is to be brought up.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Definition {
    /// Our YAML, or a Compose file.
    definition: String,
    /// Shows the plan; changes nothing.
    #[serde(default)]
    dry_run: bool,
}

/// How many instances are to run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Replicas {
    /// The name of a service.
    #[schemars(extend("pattern" = SERVICE))]
    service: String,
    /// How many instances.
    #[schemars(range(min = 1, max = 100))]
    replicas: u32,
    /// Shows the plan; changes nothing.
    #[serde(default)]
    dry_run: bool,
}

fn items(asked: &Asked<'_>) -> Answer {
    let (limit, query) = (asked.limit()?, &asked.query);
    let filter = ItemFilter {
        limit: limit + 1,
        before: before(asked)?,
        kind: query.read("kind", ItemKind::named, || names(ItemKind::ALL, ItemKind::name))?,
        service: query.read(
            "service",
            |text| ServiceName::new(text).ok(),
            || "the name of a service".to_owned(),
        )?,
        changed_since: asked.since()?,
        presence: flag(asked, "present")?.map(|is| if is { Presence::Present } else { Presence::Gone }),
    };
    let rows = asked.app.store.items(&filter)?;
    asked.list(rows, limit, |row: &ItemRecord| row.sequence.to_string(), |row| ItemShape::from(&row.item))
}

fn item(asked: &Asked<'_>) -> Answer {
    let id = resource(asked)?;
    let found = asked.app.store.item(&id)?.ok_or_else(|| unknown_item(&id))?;
    json(StatusCode::OK, &ItemShape::from(&found.item))
}

fn history(asked: &Asked<'_>) -> Answer {
    let (id, limit) = (resource(asked)?, asked.limit()?);
    asked.app.store.item(&id)?.ok_or_else(|| unknown_item(&id))?;
    let rows = asked.app.store.item_history(&id, before(asked)?, limit + 1)?;
    let shape = |row: &ChangeRecord| ItemChangeShape::from(&row.change);
    asked.list(rows, limit, |row: &ChangeRecord| row.sequence.to_string(), shape)
}

fn relations(asked: &Asked<'_>) -> Answer {
    let of = asked.query.read(
        "item",
        |text| text.parse::<ResourceId>().ok(),
        || "the id of an item, such as service/cart".to_owned(),
    )?;
    let relations = match of {
        Some(id) => asked.app.store.relations_of(&id)?,
        None => asked.app.store.relations()?,
    };
    let shapes: Vec<_> = relations.iter().map(|(one, by)| RelationShape::new(one, Some(*by))).collect();
    json(StatusCode::OK, &shapes)
}

fn infrastructures(asked: &Asked<'_>) -> Answer {
    let up = asked.app.control.infrastructure()?;
    let shapes = up.iter().map(InfrastructureShape::new).collect::<Result<Vec<_>, _>>()?;
    json(StatusCode::OK, &shapes)
}

fn infrastructure(asked: &Asked<'_>) -> Answer {
    json(StatusCode::OK, &InfrastructureShape::new(&named(asked)?)?)
}

/// A definition is no secret, but what it sets may be one: only JSON is taken, and nothing of it is logged.
fn create(asked: &Asked<'_>) -> Answer {
    let Definition { definition, dry_run } = asked.body()?;
    let mode = mode(dry_run);
    asked.deed.tell(Deed::bring_up());
    planned(asked, mode, &asked.app.control.create_infrastructure(&definition, mode, asked.who)?)
}

fn delete(asked: &Asked<'_>) -> Answer {
    let name = named(asked)?.name;
    let mode = mode(flag(asked, "dry_run")?.unwrap_or(false));
    asked.deed.tell(Deed::take_down(&name));
    planned(asked, mode, &asked.app.control.delete_infrastructure(&name, mode, asked.who)?)
}

/// As they were declared, or set by a plan since.
fn sizes(asked: &Asked<'_>) -> Answer {
    let (up, seen) = (named(asked)?, asked.app.control.snapshot());
    let size = |(name, spec): (&ServiceName, &ServiceSpec)| {
        let state = seen.as_ref().and_then(|seen| seen.services.get(name));
        (name.to_string(), state.map_or(spec.replicas, |state| state.replicas))
    };
    json(StatusCode::OK, &up.services.iter().map(size).collect::<BTreeMap<_, _>>())
}

fn scale(asked: &Asked<'_>) -> Answer {
    let Replicas { service, replicas, dry_run } = asked.body()?;
    named(asked)?;
    let service = ServiceName::new(service).map_err(|error| Problem::field("service", error.to_string()))?;
    let mode = mode(dry_run);
    asked.deed.tell(Deed::scale(&service, replicas));
    planned(asked, mode, &asked.app.control.scale(&service, replicas, mode, asked.who)?)
}

/// The Infrastructure of the path.
fn named(asked: &Asked<'_>) -> Result<Infrastructure, Problem> {
    let up = asked.app.control.infrastructure()?;
    up.filter(|up| up.name.as_str() == asked.name).ok_or_else(|| {
        Problem::not_among(Listed::Infrastructures, format!("there is no Infrastructure {:?}", asked.name))
    })
}

fn resource(asked: &Asked<'_>) -> Result<ResourceId, Problem> {
    asked.name.parse().map_err(|_| {
        let detail = format!("{:?} is no item; ids are such as service/cart or link/front->cart", asked.name);
        Problem::not_among(Listed::Items, detail)
    })
}

fn unknown_item(id: &ResourceId) -> Problem {
    Problem::not_among(Listed::Items, format!("there is no item {id}"))
}

fn before(asked: &Asked<'_>) -> Result<Option<u64>, Problem> {
    asked.query.read("before", |text| text.parse().ok(), || "what the Link header has".to_owned())
}

fn flag(asked: &Asked<'_>, name: &str) -> Result<Option<bool>, Problem> {
    asked.query.read(name, |text| text.parse().ok(), || "true or false".to_owned())
}
