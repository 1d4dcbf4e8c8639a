//! Configuration items: the tables `cmdb_items`, `cmdb_relations` and `cmdb_changes`.
//!
//! A change is numbered when it is written. An item carries the number of its newest change, so that lists are in the
//! order of what changed last, and a page goes on where the one before it ended.

use std::collections::BTreeMap;

use domain::cmdb::{Inventory, Item, ItemChange, ItemKind, KnownBy, Relation, Revised};
use domain::{ResourceId, ServiceName, Time};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use crate::changes::Topic;
use crate::error::{Result, StoreError};
use crate::store::{Purpose, Store, from_json, from_name, to_json};
use crate::{LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX};

/// Whether an item is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Present,
    /// It was.
    Gone,
}

/// Which items to list.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemFilter {
    /// How many at most; above [`LIST_LIMIT_MAX`] is taken as that.
    pub limit: usize,
    /// Only those whose newest change has a smaller number: the next page.
    pub before: Option<u64>,
    /// Only of this kind.
    pub kind: Option<ItemKind>,
    /// Only those that belong to this service; of links those to it.
    pub service: Option<ServiceName>,
    /// Only those that changed at or after this time, by wall clock.
    pub changed_since: Option<Time>,
    /// Only those that are there, or only those that are gone.
    pub presence: Option<Presence>,
}

impl Default for ItemFilter {
    fn default() -> Self {
        Self {
            limit: LIST_LIMIT_DEFAULT,
            before: None,
            kind: None,
            service: None,
            changed_since: None,
            presence: None,
        }
    }
}

/// An item with the number of its newest change.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemRecord {
    /// The item.
    pub item: Item,
    /// Where the next page begins behind it.
    pub sequence: u64,
}

/// A change with its number.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeRecord {
    /// The change.
    pub change: ItemChange,
    /// Where the next page begins behind it.
    pub sequence: u64,
}

impl Store {
    /// Writes items in their new versions, with their changes and relations, all or none.
    pub fn record_items(&self, revised: &[Revised]) -> Result<()> {
        if revised.is_empty() {
            return Ok(());
        }
        self.write(Purpose::Record, |tx| revised.iter().try_for_each(|one| record(tx, one)))?;
        for one in revised {
            self.listeners().tell(Topic::Items, &one.item.id);
        }
        Ok(())
    }

    /// Everything known of configuration: what the next look is compared with.
    pub fn inventory(&self) -> Result<Inventory> {
        let relations = self.relations_where("1", &[])?;
        Ok(Inventory { items: self.all_items()?, relations })
    }

    /// Every item, those that are gone among them.
    pub fn all_items(&self) -> Result<BTreeMap<ResourceId, Item>> {
        self.read(|connection| {
            let mut statement = connection.prepare("SELECT id, sequence, document FROM cmdb_items")?;
            let mut rows = statement.query([])?;
            let mut items = BTreeMap::new();
            while let Some(row) = rows.next()? {
                let ItemRecord { item, .. } = item(row)?;
                items.insert(item.id.clone(), item);
            }
            Ok(items)
        })
    }

    /// The items that match, those that changed last first.
    pub fn items(&self, filter: &ItemFilter) -> Result<Vec<ItemRecord>> {
        let mut conditions = vec!["1".to_owned()];
        let mut values: Vec<Box<dyn ToSql>> = Vec::new();
        let mut add = |condition: &str, value: Box<dyn ToSql>| {
            values.push(value);
            conditions.push(format!("{condition} ?{}", values.len()));
        };
        if let Some(before) = filter.before {
            add("sequence <", Box::new(i64::try_from(before).unwrap_or(i64::MAX)));
        }
        if let Some(kind) = filter.kind {
            add("kind =", Box::new(kind.name()));
        }
        if let Some(service) = &filter.service {
            add("service =", Box::new(service.as_str().to_owned()));
        }
        if let Some(since) = filter.changed_since {
            add("changed_wall_us >=", Box::new(since.wall_us));
        }
        match filter.presence {
            Some(Presence::Present) => conditions.push("gone_wall_us IS NULL".to_owned()),
            Some(Presence::Gone) => conditions.push("gone_wall_us IS NOT NULL".to_owned()),
            None => {}
        }
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT id, sequence, document FROM cmdb_items WHERE {} ORDER BY sequence DESC LIMIT {}",
                conditions.join(" AND "),
                filter.limit.min(LIST_LIMIT_MAX)
            ))?;
            let mut rows = statement.query(rusqlite::params_from_iter(&values))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(item(row)?);
            }
            Ok(found)
        })
    }

    /// One item.
    pub fn item(&self, id: &ResourceId) -> Result<Option<ItemRecord>> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT id, sequence, document FROM cmdb_items WHERE id = ?1")?
                .query_row([id.to_string()], |row| Ok(item(row)))
                .optional()?
                .transpose()
        })
    }

    /// The changes of an item, newest first, at most `limit` with a smaller number than `before`.
    pub fn item_history(
        &self,
        id: &ResourceId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        let before = before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT sequence, document FROM cmdb_changes WHERE item = ?1 AND sequence < ?2
                 ORDER BY sequence DESC LIMIT ?3",
            )?;
            let mut rows =
                statement.query(params![id.to_string(), before, limit.min(LIST_LIMIT_MAX) as i64])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let (sequence, document): (u64, String) = (row.get(0)?, row.get(1)?);
                let change = from_json(|| format!("change {sequence} of {id}"), &document)?;
                found.push(ChangeRecord { change, sequence });
            }
            Ok(found)
        })
    }

    /// The relations from and to an item.
    pub fn relations_of(&self, id: &ResourceId) -> Result<BTreeMap<Relation, KnownBy>> {
        self.relations_where("from_item = ?1 OR to_item = ?1", &[&id.to_string()])
    }

    /// Every relation there is: with the items the whole graph.
    pub fn relations(&self) -> Result<BTreeMap<Relation, KnownBy>> {
        self.relations_where("1", &[])
    }

    fn relations_where(&self, condition: &str, values: &[&dyn ToSql]) -> Result<BTreeMap<Relation, KnownBy>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT kind, from_item, to_item, known_by FROM cmdb_relations WHERE {condition}"
            ))?;
            let mut rows = statement.query(values)?;
            let mut found = BTreeMap::new();
            while let Some(row) = rows.next()? {
                let (relation, by) = relation(row)?;
                found.insert(relation, by);
            }
            Ok(found)
        })
    }
}

fn record(connection: &Connection, Revised { item, change, known_by }: &Revised) -> Result<()> {
    let id = item.id.to_string();
    connection
        .prepare_cached(
            "INSERT INTO cmdb_changes (item, at_wall_us, plan, document) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            id,
            change.at.wall_us,
            change.plan.map(|plan| plan.to_string()),
            to_json(change)?
        ])?;
    connection
        .prepare_cached(
            "INSERT INTO cmdb_items (id, kind, service, sequence, changed_wall_us, gone_wall_us, document)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (id) DO UPDATE SET sequence = ?4, changed_wall_us = ?5, gone_wall_us = ?6, document = ?7",
        )?
        .execute(params![
            id,
            item.kind().name(),
            item.id.service().map(ServiceName::as_str),
            connection.last_insert_rowid(),
            item.last_changed.wall_us,
            item.gone_at.map(|at| at.wall_us),
            to_json(item)?,
        ])?;
    for lost in &change.lost {
        connection
            .prepare_cached("DELETE FROM cmdb_relations WHERE from_item = ?1 AND kind = ?2 AND to_item = ?3")?
            .execute(params![lost.from.to_string(), lost.kind.name(), lost.to.to_string()])?;
    }
    for (gained, by) in known_by {
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO cmdb_relations (from_item, kind, to_item, known_by)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                gained.from.to_string(),
                gained.kind.name(),
                gained.to.to_string(),
                by.name()
            ])?;
    }
    Ok(())
}

fn item(row: &Row<'_>) -> Result<ItemRecord> {
    let (id, sequence, document): (String, u64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    Ok(ItemRecord { item: from_json(|| format!("configuration item {id}"), &document)?, sequence })
}

fn relation(row: &Row<'_>) -> Result<(Relation, KnownBy)> {
    let (kind, from, to, by): (String, String, String, String) =
        (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    let what = || format!("relation {from} {kind} {to}");
    let end = |text: &str| -> Result<ResourceId> {
        text.parse().map_err(|error: domain::resource::NameError| StoreError::Corrupt {
            what: what(),
            why: error.to_string(),
        })
    };
    let relation = Relation { kind: from_name(what, &kind)?, from: end(&from)?, to: end(&to)? };
    Ok((relation, from_name(what, &by)?))
}
