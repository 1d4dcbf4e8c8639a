//! What objectives count, kept beside the places up to which it was counted: tables `slo_objectives`, `slo_blocks`,
//! `slo_positions`, `slo_remediations`.
//!
//! All of one [`ObjectiveSave`] is one transaction, so that no count is kept without the place it was counted up to, nor
//! the other way round: after a crash what is counted again is exactly what was not kept. What the states and positions
//! say is their owner's business.

use std::collections::BTreeMap;

use domain::{OutcomeKind, PlanId, Time};
use rusqlite::params;

use crate::error::Result;
use crate::store::{Purpose, Store, from_json, from_name};

/// What is kept of one objective.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectiveRecord {
    /// What is kept beside the blocks, as JSON.
    pub state: String,
    /// The blocks of counts, by their numbers.
    pub blocks: BTreeMap<i64, Vec<u8>>,
}

/// What changed since the last save.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectiveSave {
    /// By objective: its state, the blocks that changed, and the number of the oldest block that is still kept.
    pub objectives: Vec<(String, ObjectiveRecord, Option<i64>)>,
    /// By source: the place up to which it was counted.
    pub positions: BTreeMap<String, String>,
    /// Remediations whose outcome was counted.
    pub remediations: Vec<PlanId>,
}

/// A remediation that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedRemediation {
    /// Its plan.
    pub plan: PlanId,
    /// What came of it.
    pub outcome: OutcomeKind,
    /// When that was decided.
    pub decided_at: Time,
}

impl Store {
    /// Writes what changed, all of it or nothing.
    pub fn save_objectives(&self, save: &ObjectiveSave) -> Result<()> {
        self.write(Purpose::Record, |tx| {
            let mut state = tx.prepare_cached(
                "INSERT INTO slo_objectives (id, state) VALUES (?1, ?2)
                 ON CONFLICT (id) DO UPDATE SET state = excluded.state",
            )?;
            let mut block = tx.prepare_cached(
                "INSERT OR REPLACE INTO slo_blocks (objective, block, counts) VALUES (?1, ?2, ?3)",
            )?;
            let mut older =
                tx.prepare_cached("DELETE FROM slo_blocks WHERE objective = ?1 AND block < ?2")?;
            for (id, record, oldest) in &save.objectives {
                state.execute(params![id, record.state])?;
                for (number, counts) in &record.blocks {
                    block.execute(params![id, number, counts])?;
                }
                if let Some(oldest) = oldest {
                    older.execute(params![id, oldest])?;
                }
            }
            let mut position =
                tx.prepare_cached("INSERT OR REPLACE INTO slo_positions (source, position) VALUES (?1, ?2)")?;
            for (source, place) in &save.positions {
                position.execute(params![source, place])?;
            }
            let mut counted =
                tx.prepare_cached("INSERT OR IGNORE INTO slo_remediations (plan) VALUES (?1)")?;
            for plan in &save.remediations {
                counted.execute([plan.to_string()])?;
            }
            Ok(())
        })
    }

    /// Everything that is kept of objectives, by id.
    pub fn objectives(&self) -> Result<BTreeMap<String, ObjectiveRecord>> {
        self.read(|connection| {
            let mut found = BTreeMap::new();
            let mut states = connection.prepare_cached("SELECT id, state FROM slo_objectives")?;
            let mut rows = states.query([])?;
            while let Some(row) = rows.next()? {
                let record = ObjectiveRecord { state: row.get(1)?, blocks: BTreeMap::new() };
                found.insert(row.get::<_, String>(0)?, record);
            }
            let mut blocks = connection.prepare_cached("SELECT objective, block, counts FROM slo_blocks")?;
            let mut rows = blocks.query([])?;
            while let Some(row) = rows.next()? {
                if let Some(record) = found.get_mut(&row.get::<_, String>(0)?) {
                    record.blocks.insert(row.get(1)?, row.get(2)?);
                }
            }
            Ok(found)
        })
    }

    /// The places up to which sources were counted.
    pub fn objective_positions(&self) -> Result<BTreeMap<String, String>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT source, position FROM slo_positions")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<std::result::Result<_, _>>()?)
        })
    }

    /// Remediations whose outcome is known and was not counted yet, at most a thousand, the oldest first.
    pub fn remediations_to_count(&self) -> Result<Vec<EndedRemediation>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, outcome_kind, json_extract(outcome, '$.decided_at') FROM plans
                 WHERE purpose = 'remediation' AND outcome_kind IS NOT NULL
                     AND id NOT IN (SELECT plan FROM slo_remediations)
                 ORDER BY id LIMIT 1000",
            )?;
            let mut rows = statement.query([])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let (id, kind, at): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let what = || format!("the outcome of plan {id}");
                found.push(EndedRemediation {
                    plan: from_name(what, &id)?,
                    outcome: from_name(what, &kind)?,
                    decided_at: from_json(what, &at)?,
                });
            }
            Ok(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_replaces_what_was_and_old_blocks_go() {
        let store = Store::in_memory().unwrap();
        let record = |state: &str, blocks: &[(i64, &[u8])]| ObjectiveRecord {
            state: state.to_owned(),
            blocks: blocks.iter().map(|(number, counts)| (*number, counts.to_vec())).collect(),
        };
        let save = |state: &str, blocks: &[(i64, &[u8])], oldest, place: &str| ObjectiveSave {
            objectives: vec![("a".to_owned(), record(state, blocks), oldest)],
            positions: [("links".to_owned(), place.to_owned())].into(),
            remediations: Vec::new(),
        };
        store.save_objectives(&save("{}", &[(1, b"x"), (2, b"y")], Some(1), "7")).unwrap();
        store.save_objectives(&save("{\"n\":1}", &[(2, b"yy"), (3, b"z")], Some(2), "8")).unwrap();
        let kept = store.objectives().unwrap();
        assert_eq!(kept["a"], record("{\"n\":1}", &[(2, b"yy"), (3, b"z")]));
        assert_eq!(store.objective_positions().unwrap()["links"], "8");
    }
}
