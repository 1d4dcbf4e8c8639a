//! What goes of each table, found a little at a time and removed in short transactions.
//!
//! In: kinds of records, and from when on they are old. Out: rows that may go, and their removal. Looking is a read, which no
//! writer waits for; each removal asks again whether a row may go, because others wrote since. What belongs to what is kept
//! stays, so the order matters: plans, then the issues and experiments they were for.
//!
//! A crash between two removals leaves nothing that a later one would not find: what goes with a row goes in its transaction.

use std::ops::ControlFlow;

use rusqlite::types::Value;
use rusqlite::{Connection, Statement, Transaction};

use crate::documents::DIAGNOSES;
use crate::error::Result;
use crate::plans::PlanPurpose;
use crate::purge::RecordKind;
use crate::retention::{Cutoffs, Pruned};
use crate::schema::EXPERIMENT_OF_PLAN;
use crate::store::Store;

/// Rows that are looked at, and removed, at a time: a plan goes with a dozen rows of other tables, and all of it has to be
/// done before a repair waits for long.
pub(crate) const ROWS_AT_A_TIME: usize = 100;

/// What is taken for gone already where it is asked whether something belongs to what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    /// What is not there.
    Removed,
    /// What may go as well: for saying what would be removed.
    Removable,
}

/// The rows of one table that go for one reason.
#[derive(Debug)]
pub(crate) struct Part {
    table: &'static str,
    /// By which they are looked through; there is an index on it.
    key: &'static str,
    /// Which of the table's they are, but for their age.
    of: String,
    /// Which of those are old.
    old: &'static str,
    /// Which of those may go.
    free: String,
    /// How many rows of another table go with each, and what removes those.
    with: Option<With>,
    before: Value,
    records_us: i64,
    counted: fn(&mut Pruned) -> &mut usize,
}

#[derive(Debug)]
struct With {
    count: String,
    /// But for the row it goes with.
    remove: String,
    counted: fn(&mut Pruned) -> &mut usize,
}

/// A row up to which was looked.
#[derive(Debug, Clone)]
struct Place {
    key: Value,
    row: i64,
}

/// Rows that may go, of some that are old.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) rows: Vec<i64>,
    /// What is removed with them.
    pub(crate) counted: Pruned,
    next: Option<Place>,
}

/// Whether plan `p` may go, were it old.
const PLAN_IS_OVER: &str = "p.status IN ('success', 'failed', 'rolled_back', 'refused')
    AND NOT EXISTS (SELECT 1 FROM timers WHERE timers.plan = p.id)
    AND NOT EXISTS (SELECT 1 FROM journal
        WHERE journal.plan = p.id AND (state = 'open' OR state = 'done' AND fault = 1))";

/// The parts of these kinds, in the order in which they go.
pub(crate) fn parts(kinds: &[RecordKind], before: &Cutoffs, gone: Gone) -> Vec<Part> {
    let purposes: Vec<PlanPurpose> = kinds.iter().flat_map(|kind| kind.purposes()).copied().collect();
    let plan_kept = match gone {
        Gone::Removed => String::new(),
        Gone::Removable => {
            let names: Vec<String> = purposes.iter().map(|purpose| format!("'{}'", purpose.name())).collect();
            let names = names.join(", ");
            format!(
                "AND (p.purpose IN ({names}) AND p.completed_wall_us < :records AND {PLAN_IS_OVER}) IS NOT TRUE"
            )
        }
    };
    let plans = purposes.iter().map(|purpose| plans(*purpose, before));
    let others = RecordKind::ALL.iter().filter(|kind| kinds.contains(kind));
    plans.chain(others.flat_map(|kind| of_kind(*kind, before, gone, &plan_kept))).collect()
}

fn plans(purpose: PlanPurpose, before: &Cutoffs) -> Part {
    Part {
        table: "plans AS p",
        key: "p.completed_wall_us",
        of: format!("p.purpose = '{}'", purpose.name()),
        old: "p.completed_wall_us < :before",
        free: PLAN_IS_OVER.to_owned(),
        with: None,
        before: before.records.wall_us.into(),
        records_us: before.records.wall_us,
        counted: |pruned| &mut pruned.plans,
    }
}

fn of_kind(kind: RecordKind, before: &Cutoffs, gone: Gone, plan_kept: &str) -> Vec<Part> {
    let records_us = before.records.wall_us;
    let part = |table, key, old, counted| Part {
        table,
        key,
        of: "1".to_owned(),
        old,
        free: "1".to_owned(),
        with: None,
        before: records_us.into(),
        records_us,
        counted,
    };
    match kind {
        RecordKind::Issues => vec![Part {
            before: before.records.rfc3339().into(),
            free: format!("NOT EXISTS (SELECT 1 FROM plans AS p WHERE p.issue_id = i.id {plan_kept})"),
            with: Some(With {
                count: format!("EXISTS (SELECT 1 FROM documents WHERE key = '{DIAGNOSES}' || i.id)"),
                remove: format!("DELETE FROM documents WHERE key = '{DIAGNOSES}' ||"),
                counted: |pruned| &mut pruned.diagnoses,
            }),
            ..part("self_healing_issues AS i", "i.closed_at", "i.closed_at < :before", |pruned| {
                &mut pruned.issues
            })
        }],
        RecordKind::Experiments => vec![Part {
            free: format!(
                "e.status IN ('completed', 'aborted', 'failed', 'refused')
                 AND NOT EXISTS (SELECT 1 FROM plans AS p
                     WHERE p.purpose = 'experiment' AND {EXPERIMENT_OF_PLAN} = e.id {plan_kept})"
            ),
            ..part("experiments AS e", "e.created_wall_us", "e.created_wall_us < :before", |pruned| {
                &mut pruned.experiments
            })
        }],
        RecordKind::Deployments => vec![Part {
            free: "EXISTS (SELECT 1 FROM deployments AS later WHERE later.service = d.service
                 AND (later.began_wall_us, later.id) > (d.began_wall_us, d.id))"
                .to_owned(),
            ..part("deployments AS d", "d.began_wall_us", "d.began_wall_us < :before", |pruned| {
                &mut pruned.deployments
            })
        }],
        // No more than [`crate::EVENTS_MAX`], so they need no index.
        RecordKind::Events => {
            vec![part("posted_events AS e", "e.rowid", "e.to_wall_us < :before", |pruned| &mut pruned.events)]
        }
        RecordKind::Configuration => configuration(part, gone),
        RecordKind::Health => vec![Part {
            before: before.health.wall_us.into(),
            ..part("health_scores AS h", "h.taken_wall_us", "h.taken_wall_us < :before", |pruned| {
                &mut pruned.health_scores
            })
        }],
        // Plans alone, and what lies beside the database.
        RecordKind::Remediations | RecordKind::Operations | RecordKind::Traces => Vec::new(),
    }
}

/// Versions first, so that an item that is gone goes with its last one alone, however many it had.
fn configuration(
    part: impl Fn(&'static str, &'static str, &'static str, fn(&mut Pruned) -> &mut usize) -> Part,
    gone: Gone,
) -> Vec<Part> {
    let (item_kept, versions_left) = match gone {
        Gone::Removed => ("", ""),
        Gone::Removable => ("AND (i.gone_wall_us < :records) IS NOT TRUE", "AND c.at_wall_us >= :records"),
    };
    let versions = Part {
        free: format!("NOT EXISTS (SELECT 1 FROM cmdb_items AS i WHERE i.sequence = c.sequence {item_kept})"),
        ..part("cmdb_changes AS c", "c.at_wall_us", "c.at_wall_us < :before", |pruned| &mut pruned.changes)
    };
    let items = Part {
        with: Some(With {
            count: format!("(SELECT count(*) FROM cmdb_changes AS c WHERE c.item = i.id {versions_left})"),
            remove: "DELETE FROM cmdb_changes WHERE item =".to_owned(),
            counted: |pruned| &mut pruned.changes,
        }),
        ..part("cmdb_items AS i", "i.gone_wall_us", "i.gone_wall_us < :before", |pruned| &mut pruned.items)
    };
    vec![versions, items]
}

impl Part {
    fn first(&self) -> Place {
        let key = match self.before {
            Value::Text(_) => String::new().into(),
            _ => i64::MIN.into(),
        };
        Place { key, row: i64::MIN }
    }

    /// The table's name in the conditions.
    fn alias(&self) -> &str {
        self.table.rsplit(' ').next().unwrap_or(self.table)
    }

    /// Looks at what is old behind `from`: first at what is as old as that, so that many that are equally old are not
    /// passed over again and again.
    fn look(&self, connection: &Connection, from: &Place) -> Result<Found> {
        let mut found = Found { rows: Vec::new(), counted: Pruned::default(), next: None };
        let (key, alias) = (self.key, self.alias());
        let same = format!("{key} = :key AND {alias}.rowid > :row ORDER BY {alias}.rowid");
        let looked = self.look_where(connection, from, &same, ROWS_AT_A_TIME, &mut found)?;
        let later = format!("{} AND {key} > :key ORDER BY {key}, {alias}.rowid", self.old);
        let looked =
            looked + self.look_where(connection, from, &later, ROWS_AT_A_TIME - looked, &mut found)?;
        found.next = found.next.filter(|_| looked == ROWS_AT_A_TIME);
        Ok(found)
    }

    /// Adds at most `limit` to what was found. Returns how many there were.
    fn look_where(
        &self,
        connection: &Connection,
        from: &Place,
        which: &str,
        limit: usize,
        found: &mut Found,
    ) -> Result<usize> {
        let Self { table, key, of, free, .. } = self;
        let (alias, with) = (self.alias(), self.with.as_ref().map_or("0", |with| with.count.as_str()));
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {alias}.rowid, {key}, {free}, {with} FROM {table} WHERE {of} AND {which} LIMIT :limit"
        ))?;
        self.bind(&mut statement)?;
        bind(&mut statement, ":key", &from.key)?;
        bind(&mut statement, ":row", &from.row.into())?;
        bind(&mut statement, ":limit", &i64::try_from(limit).unwrap_or(i64::MAX).into())?;
        let mut rows = statement.raw_query();
        let mut looked = 0;
        while let Some(row) = rows.next()? {
            looked += 1;
            let place = Place { key: row.get(1)?, row: row.get(0)? };
            if row.get(2)? {
                found.rows.push(place.row);
                *(self.counted)(&mut found.counted) += 1;
                if let Some(with) = &self.with {
                    *(with.counted)(&mut found.counted) += row.get::<_, usize>(3)?;
                }
            }
            found.next = Some(place);
        }
        Ok(looked)
    }

    /// Removes those of `rows` that still may go.
    pub(crate) fn remove(&self, tx: &Transaction, rows: &[i64]) -> Result<Pruned> {
        let Self { table, of, old, free, .. } = self;
        let alias = self.alias();
        let here = format!("{alias}.rowid = :row AND {of} AND {old} AND {free}");
        let with = self.with.as_ref().map(|with| {
            let text = format!("{} (SELECT {alias}.id FROM {table} WHERE {here})", with.remove);
            Ok::<_, rusqlite::Error>((tx.prepare_cached(&text)?, with.counted))
        });
        let mut with = with.transpose()?;
        let mut delete = tx.prepare_cached(&format!("DELETE FROM {table} WHERE {here}"))?;
        let mut pruned = Pruned::default();
        for row in rows {
            let row = (*row).into();
            if let Some((statement, counted)) = &mut with {
                self.bind(statement)?;
                bind(statement, ":row", &row)?;
                *counted(&mut pruned) += statement.raw_execute()?;
            }
            self.bind(&mut delete)?;
            bind(&mut delete, ":row", &row)?;
            *(self.counted)(&mut pruned) += delete.raw_execute()?;
        }
        Ok(pruned)
    }

    fn bind(&self, statement: &mut Statement<'_>) -> Result<()> {
        bind(statement, ":before", &self.before)?;
        bind(statement, ":records", &self.records_us.into())
    }
}

/// Binds what a statement may have a place for.
fn bind(statement: &mut Statement<'_>, name: &str, value: &Value) -> Result<()> {
    match statement.parameter_index(name)? {
        Some(index) => Ok(statement.raw_bind_parameter(index, value)?),
        None => Ok(()),
    }
}

impl Store {
    /// Looks through `parts`, and hands over what may go, a little at a time, until it is told to stop; also where nothing
    /// of what was looked at may go, since what is old and stays may be a lot.
    pub(crate) fn sweep(
        &self,
        parts: &[Part],
        mut take: impl FnMut(&Part, &Found) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        for part in parts {
            let mut place = Some(part.first());
            while let Some(from) = place {
                let found = self.read(|connection| part.look(connection, &from))?;
                if take(part, &found)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                place = found.next;
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
