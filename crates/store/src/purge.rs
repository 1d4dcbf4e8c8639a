//! Removal of our own records on request, sooner than retention would, and the room it gives back to the disk.
//!
//! In: kinds of records, and how old they must be. Out: what was removed, or would be. It is the same removal as that of
//! [`retention`](crate::Retention), with the same exceptions: what is open, runs or is owed stays.
//!
//! A dry run is the removal itself, taken back at its end, so that the two cannot say different things.

use std::str::FromStr;
use std::time::Duration;

use domain::Time;
use domain::units::show_duration;
use rusqlite::Connection;

use crate::changes::Topic;
use crate::error::{Result, StoreError};
use crate::plans::PlanPurpose;
use crate::retention::{Cutoffs, Pruned, remove};
use crate::store::{Purpose, Store};

/// Pages that are moved at a time while room is given back: 1 MiB, so that a repair waits for no more than that.
const PAGES_AT_A_TIME: u32 = 256;

/// The value of SQLite's `auto_vacuum` by which room is given back when it is asked for.
pub(crate) const INCREMENTAL: i64 = 2;

/// What can be removed by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKind {
    /// Closed issues with their diagnoses, where no plan of them is kept.
    Issues,
    /// Repairs that are over and what took measures back, with journals and outcomes.
    Remediations,
    /// Experiments that are over, with their plans.
    Experiments,
    /// What people had done that is over.
    Operations,
    /// Deployments but the last of each service.
    Deployments,
    /// Posted events that are over.
    Events,
    /// Configuration items that are gone, and older versions of those that are there.
    Configuration,
    /// Health scores.
    Health,
}

impl RecordKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Issues,
        Self::Remediations,
        Self::Experiments,
        Self::Operations,
        Self::Deployments,
        Self::Events,
        Self::Configuration,
        Self::Health,
    ];

    /// The name in the API and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Issues => "issues",
            Self::Remediations => "remediations",
            Self::Experiments => "experiments",
            Self::Operations => "operations",
            Self::Deployments => "deployments",
            Self::Events => "events",
            Self::Configuration => "configuration",
            Self::Health => "health",
        }
    }

    /// Plans that go with it.
    pub(crate) fn purposes(self) -> &'static [PlanPurpose] {
        match self {
            Self::Remediations => &[PlanPurpose::Remediation, PlanPurpose::Lift],
            Self::Experiments => &[PlanPurpose::Experiment],
            Self::Operations => &[PlanPurpose::Operation],
            _ => &[],
        }
    }
}

impl FromStr for RecordKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| format!("{text:?} is not one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Whether something is done or only said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeMode {
    /// What would be removed is counted; everything stays.
    DryRun,
    /// It is removed.
    Remove,
}

/// What became of the room of removed records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes of the database with its log before.
    pub before: u64,
    /// Bytes after.
    pub after: u64,
}

impl Room {
    /// Bytes that the disk has more now.
    pub fn given_back(self) -> u64 {
        self.before.saturating_sub(self.after)
    }
}

impl Store {
    /// The least age of what [`purge`](Self::purge) removes: 30 days, the longest window a policy may have. The limits of
    /// repairs and the signs of what keeps coming back are counted over what is stored, so that removing it would lift
    /// them.
    pub const PURGE_AGE_MIN: Duration = Duration::from_secs(30 * 86_400);

    /// Removes what is over and older than `age`, of these kinds; what belongs to something that is kept stays.
    ///
    /// # Errors
    /// [`StoreError::TooYoung`] for an age below [`PURGE_AGE_MIN`](Self::PURGE_AGE_MIN); the store's own. Nothing was removed then.
    pub fn purge(&self, now: Time, age: Duration, kinds: &[RecordKind], mode: PurgeMode) -> Result<Pruned> {
        if age < Self::PURGE_AGE_MIN {
            return Err(StoreError::TooYoung { age });
        }
        let before = Cutoffs { records: now.minus(age), health: now.minus(age) };
        let pruned = match mode {
            PurgeMode::Remove => self.write(Purpose::Repair, |tx| remove(tx, &before, kinds))?,
            PurgeMode::DryRun => self.try_out(|tx| remove(tx, &before, kinds))?,
        };
        if mode == PurgeMode::Remove && pruned != Pruned::default() {
            self.listeners().tell(Topic::Retention, "");
        }
        Ok(pruned)
    }

    /// Gives the room of what was removed back to the disk, a little at a time, so that a repair can write between. A
    /// database of an earlier version is written anew once, for which nothing else is written.
    ///
    /// # Errors
    /// [`StoreError::Full`] where moving takes more room than there is: what was given back until then stays given back, and
    /// the rest is used again for new records.
    pub fn give_back(&self) -> Result<Room> {
        let before = self.alone(bytes)?;
        if self.alone(|connection| number(connection, "auto_vacuum"))? == INCREMENTAL {
            let free = || self.alone(|connection| number(connection, "freelist_count"));
            let mut left = free()?;
            while left > 0 {
                self.alone(move_pages)?;
                // Whoever writes between may take some, and free some.
                match free()? {
                    fewer if fewer < left => left = fewer,
                    _ => break,
                }
            }
        } else {
            self.alone(|connection| {
                connection.pragma_update(None, "auto_vacuum", INCREMENTAL)?;
                Ok(connection.execute_batch("VACUUM")?)
            })?;
        }
        self.cut_log()?;
        Ok(Room { before, after: self.alone(bytes)? })
    }
}

fn number(connection: &Connection, pragma: &str) -> Result<i64> {
    Ok(connection.pragma_query_value(None, pragma, |row| row.get(0))?)
}

fn move_pages(connection: &Connection) -> Result<()> {
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({PAGES_AT_A_TIME})"))?;
    let mut rows = statement.query([])?;
    // One step moves one page.
    while rows.next()?.is_some() {}
    Ok(())
}

/// What the database and its log take.
fn bytes(connection: &Connection) -> Result<u64> {
    let path = connection.path().unwrap_or_default();
    let one = |path: &str| std::fs::metadata(path).map_or(0, |file| file.len());
    Ok(one(path) + one(&format!("{path}-wal")))
}

/// What was removed or would be, for the audit trail: one sentence.
pub fn purge_told(age: Duration, kinds: &[RecordKind], mode: PurgeMode, pruned: Pruned) -> String {
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    let done = match mode {
        PurgeMode::DryRun => "would go",
        PurgeMode::Remove => "removed",
    };
    let counted = [
        (pruned.issues, "issues"),
        (pruned.plans, "plans"),
        (pruned.experiments, "experiments"),
        (pruned.deployments, "deployments"),
        (pruned.events, "events"),
        (pruned.items, "configuration items"),
        (pruned.changes, "versions of configuration items"),
        (pruned.health_scores, "health scores"),
    ];
    let counted = counted.iter().filter(|(count, _)| *count > 0);
    let counted: Vec<String> = counted.map(|(count, what)| format!("{count} {what}")).collect();
    let counted = if counted.is_empty() { "nothing".to_owned() } else { counted.join(", ") };
    format!("{} older than {}: {counted} {done}", kinds.join(", "), show_duration(age))
}
