//! Events that were posted from outside: the table `posted_events`.
//!
//! Only what has no home of its own is kept here; what we detect, plan and inject is read where it lies.

use domain::{Happening, HappeningKind, Time};
use rusqlite::{OptionalExtension, params};

use crate::LIST_LIMIT_MAX;
use crate::changes::Topic;
use crate::error::Result;
use crate::store::{Purpose, Store, from_json, to_json};

/// How many posted events are kept; the oldest go first. At about 1 KiB each this is 10 MiB, whoever posts.
pub const EVENTS_MAX: usize = 10_000;

/// What became of a posted event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    /// It is new.
    Added,
    /// It took the place of the one that was posted under the same key.
    Replaced,
}

impl Store {
    /// Keeps an event. Where one of its kind was posted under the same `key`, it takes its place and its id, so that
    /// the end of what was told to begin can be told. Returns the event as it is kept.
    pub fn post_event(&self, event: &Happening, key: Option<&str>) -> Result<(Happening, Posted)> {
        let kept = self.write(Purpose::Record, |tx| {
            let same: Option<String> = match key {
                None => None,
                Some(key) => tx
                    .prepare_cached("SELECT id FROM posted_events WHERE kind = ?1 AND key = ?2")?
                    .query_row(params![event.kind.name(), key], |row| row.get(0))
                    .optional()?,
            };
            let posted = if same.is_some() { Posted::Replaced } else { Posted::Added };
            let event = Happening { id: same.unwrap_or_else(|| event.id.clone()), ..event.clone() };
            tx.prepare_cached(
                "INSERT INTO posted_events (id, kind, key, from_wall_us, to_wall_us, document)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (id) DO UPDATE SET from_wall_us = ?4, to_wall_us = ?5, document = ?6",
            )?
            .execute(params![
                event.id,
                event.kind.name(),
                key,
                event.from_us,
                event.to_us,
                to_json(&event)?
            ])?;
            tx.prepare_cached(
                "DELETE FROM posted_events WHERE id IN
                     (SELECT id FROM posted_events ORDER BY from_wall_us DESC, id DESC LIMIT -1 OFFSET ?1)",
            )?
            .execute([EVENTS_MAX])?;
            Ok((event, posted))
        })?;
        self.listeners().tell(Topic::Events, &kept.0.id);
        Ok(kept)
    }

    /// The posted events of a kind (of all, where none is named) that lasted into a range of the wall clock, newest
    /// first, at most [`LIST_LIMIT_MAX`].
    pub fn posted_events(&self, kind: Option<HappeningKind>, from: Time, to: Time) -> Result<Vec<Happening>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT id, document FROM posted_events
                 WHERE from_wall_us <= ?2 AND (to_wall_us IS NULL OR to_wall_us >= ?1) AND (?3 IS NULL OR kind = ?3)
                 ORDER BY from_wall_us DESC, id DESC LIMIT {LIST_LIMIT_MAX}"
            ))?;
            let mut rows = statement.query(params![from.wall_us, to.wall_us, kind.map(HappeningKind::name)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let (id, document): (String, String) = (row.get(0)?, row.get(1)?);
                found.push(from_json(|| format!("event {id}"), &document)?);
            }
            Ok(found)
        })
    }
}
