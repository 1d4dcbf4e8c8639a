//! Removal of our own records on request, sooner than retention would.
//!
//! In: kinds of records, and how old they must be. Out: what was removed, or would be. The same goes as by
//! [`retention`](crate::Retention), with the same exceptions: what is open, runs or is owed stays. Archived traces, which
//! retention leaves alone, lie beside the database ([`beside`]).
//!
//! It is done in short transactions, so that others write between, and a disk that is nearly full has room for each. Each
//! writes down, together with what it removes, how much that is by now ([`PurgeNote`]): whatever ends a purge half-way, the
//! audit trail can be told what it removed.

mod beside;
mod told;

use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;
use std::time::Duration;

use domain::Time;
use domain::units::duration_ms;
use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::changes::Topic;
use crate::error::{Result, StoreError};
use crate::plans::PlanPurpose;
use crate::retention::{Cutoffs, Pruned};
use crate::store::{Purpose, Store, from_json, to_json};
use crate::sweep::{Gone, Part, parts};
pub use beside::{GoneTraces, OldTraces};
pub use told::{purge_ended, purge_told};

/// What the keys of the documents begin with that hold a [`PurgeNote`].
const NOTES: &str = "purge/";

/// What can be removed by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
    /// Archived traces that no open issue cites.
    Traces,
}

impl RecordKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Issues,
        Self::Remediations,
        Self::Experiments,
        Self::Operations,
        Self::Deployments,
        Self::Events,
        Self::Configuration,
        Self::Health,
        Self::Traces,
    ];

    /// The kinds that are meant where none is named: those that retention removes in the end. Somebody may have archived a
    /// trace for good.
    pub fn by_default() -> Vec<Self> {
        Self::ALL.into_iter().filter(|kind| *kind != Self::Traces).collect()
    }

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
            Self::Traces => "traces",
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

/// Names one purge in the audit trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PurgeId(Uuid);

impl From<Uuid> for PurgeId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl PurgeId {
    /// As it stands at the beginning of the detail of its record.
    pub fn named(self) -> String {
        format!("purge {self}")
    }
}

impl fmt::Display for PurgeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeOrder {
    /// Its name.
    pub id: PurgeId,
    /// When it was asked for; ages are counted back from it.
    pub now: Time,
    /// How long a record must be over.
    pub age: Duration,
    /// Which.
    pub kinds: Vec<RecordKind>,
    /// Who asked, as the audit trail names them.
    pub who: String,
}

/// A purge that removed something, as the database knows it until the audit trail has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeNote {
    /// Its name.
    pub id: PurgeId,
    /// Who asked, as the audit trail names them.
    pub who: String,
    /// When it was asked for, in microseconds since 1970-01-01 UTC.
    pub asked_us: i64,
    /// How long a record had to be over.
    #[serde(rename = "age_ms", with = "duration_ms")]
    pub age: Duration,
    /// Which.
    pub kinds: Vec<RecordKind>,
    /// What is gone.
    pub removed: Pruned,
    /// Archived traces that are being removed: some of them may be gone, and are not counted yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub going: Vec<String>,
    /// Whether nothing was left that was to go.
    pub whole: bool,
}

impl PurgeNote {
    fn put(&self, tx: &Transaction) -> Result<()> {
        tx.prepare_cached("INSERT OR REPLACE INTO documents (key, value) VALUES (?1, ?2)")?
            .execute(params![format!("{NOTES}{}", self.id), to_json(self)?])?;
        Ok(())
    }
}

/// What a purge would remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purgeable {
    /// What was counted.
    pub counted: Pruned,
    /// Whether that is all: otherwise it is at least so much.
    pub is_all: bool,
}

/// Purges of which nobody said yet that the audit trail has them.
#[derive(Debug, Default)]
pub struct UnrecordedPurges {
    /// Theirs, by name.
    pub notes: Vec<PurgeNote>,
    /// Why the others cannot be read.
    pub unreadable: Vec<StoreError>,
}

/// How a purge ended.
#[derive(Debug)]
pub enum PurgeEnd {
    /// Nothing is left that was to go.
    Whole,
    /// It was told to stop; what is left goes by the next one.
    Stopped,
    /// Something failed half-way; what was removed before is gone.
    Failed(StoreError),
}

/// What became of a purge.
#[derive(Debug)]
pub struct Purged {
    /// What is gone, also where it ended half-way.
    pub removed: Pruned,
    /// Bytes that the disk has more for archived traces that are gone.
    pub trace_bytes: u64,
    /// How it ended.
    pub end: PurgeEnd,
}

impl Store {
    /// The least age of what [`purge`](Self::purge) removes: 30 days, the longest window a policy may have. The limits of
    /// repairs and the signs of what keeps coming back are counted over what is stored, so that removing it would lift
    /// them.
    pub const PURGE_AGE_MIN: Duration = Duration::from_secs(30 * 86_400);

    /// What [`purge`](Self::purge) would remove now. It only reads. Each time it has looked at some old rows, `go_on` is
    /// asked.
    ///
    /// # Errors
    /// [`StoreError::TooYoung`] for an age below [`PURGE_AGE_MIN`](Self::PURGE_AGE_MIN).
    pub fn purgeable(
        &self,
        now: Time,
        age: Duration,
        kinds: &[RecordKind],
        traces: Option<&dyn OldTraces>,
        mut go_on: impl FnMut() -> ControlFlow<()>,
    ) -> Result<Purgeable> {
        let mut counted = Pruned::default();
        let parts = old(now, age, kinds, Gone::Removable)?;
        // At once, as no file of theirs is read.
        if let Some(traces) = traces_of(kinds, traces) {
            counted.traces = traces.count(now.minus(age));
        }
        let swept = self.sweep(&parts, |_, found| {
            counted += found.counted;
            Ok(go_on())
        })?;
        Ok(Purgeable { counted, is_all: swept.is_continue() })
    }

    /// Removes what is over and older than it is ordered, of these kinds; what belongs to something that is kept stays.
    /// After each of its short transactions, and wherever none of some old rows may go, `go_on` is asked, with what is gone
    /// by then; others write meanwhile. Without `traces` no archived ones go.
    ///
    /// Its note stays in the database until [`purge_is_recorded`](Self::purge_is_recorded).
    ///
    /// # Errors
    /// [`StoreError::TooYoung`] for an age below [`PURGE_AGE_MIN`](Self::PURGE_AGE_MIN): nothing was removed then.
    pub fn purge(
        &self,
        order: &PurgeOrder,
        traces: Option<&dyn OldTraces>,
        mut go_on: impl FnMut(&Pruned) -> ControlFlow<()>,
    ) -> Result<Purged> {
        let PurgeOrder { id, now, age, kinds, who } = order;
        let mut note = PurgeNote {
            id: *id,
            who: who.clone(),
            asked_us: now.wall_us,
            age: *age,
            kinds: kinds.clone(),
            removed: Pruned::default(),
            going: Vec::new(),
            whole: false,
        };
        let parts = old(*now, *age, kinds, Gone::Removed)?;
        let mut trace_bytes = 0;
        let mut swept = self.sweep(&parts, |part, found| match found.rows.as_slice() {
            [] => Ok(go_on(&note.removed)),
            rows => self.remove_noted(part, rows, &mut note, &mut go_on),
        });
        if let (Ok(ControlFlow::Continue(())), Some(traces)) = (&swept, traces_of(kinds, traces)) {
            swept = self.remove_traces(traces, now.minus(*age), &mut note, &mut trace_bytes, &mut go_on);
        }
        if note.removed == Pruned::default() {
            if !note.going.is_empty() {
                // Of those that were named none went. Where this cannot be written, the next start finds that out.
                let _ = self.purge_is_recorded(*id);
            }
            return swept.map(|flow| Purged { removed: note.removed, trace_bytes, end: end_of(flow) });
        }
        self.listeners().tell(Topic::Retention, "");
        let end = match swept {
            Ok(flow) => end_of(flow),
            Err(error) => PurgeEnd::Failed(error),
        };
        if matches!(end, PurgeEnd::Whole) {
            note.whole = true;
            // Where it cannot be written, what the note counts is right all the same.
            let _ = self.write(Purpose::Repair, |tx| note.put(tx));
        }
        Ok(Purged { removed: note.removed, trace_bytes, end })
    }

    /// Removes rows with what they add to the note; fewer at a time where the disk has no room for the log of so many.
    fn remove_noted(
        &self,
        part: &Part,
        mut rows: &[i64],
        note: &mut PurgeNote,
        go_on: &mut impl FnMut(&Pruned) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let mut at_a_time = rows.len();
        while !rows.is_empty() {
            let (some, rest) = rows.split_at(at_a_time.min(rows.len()));
            let written = self.write(Purpose::Repair, |tx| {
                let mut noted = note.clone();
                noted.removed += part.remove(tx, some)?;
                // What others removed since it was found is not of this purge.
                if noted != *note {
                    noted.put(tx)?;
                }
                Ok(noted)
            });
            match written {
                Ok(noted) => *note = noted,
                Err(StoreError::Full) if at_a_time > 1 => {
                    at_a_time /= 2;
                    continue;
                }
                Err(error) => return Err(error),
            }
            rows = rest;
            self.let_others_write();
            if go_on(&note.removed).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The purges of which nobody said yet that the audit trail has them: those of a process that ended before it did.
    pub fn unrecorded_purges(&self) -> Result<UnrecordedPurges> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT key, value FROM documents WHERE key >= ?1 AND key < ?2 ORDER BY key",
            )?;
            let mut rows = statement.query([NOTES, "purge0"])?;
            let mut found = UnrecordedPurges::default();
            while let Some(row) = rows.next()? {
                let (key, text): (String, String) = (row.get(0)?, row.get(1)?);
                match from_json(|| format!("document {key}"), &text) {
                    Ok(note) => found.notes.push(note),
                    Err(error) => found.unreadable.push(error),
                }
            }
            Ok(found)
        })
    }

    /// The audit trail has this purge: its note goes.
    pub fn purge_is_recorded(&self, id: PurgeId) -> Result<()> {
        self.write(Purpose::Repair, |tx| {
            tx.prepare_cached("DELETE FROM documents WHERE key = ?1")?.execute([format!("{NOTES}{id}")])?;
            Ok(())
        })
    }
}

fn traces_of<'a>(kinds: &[RecordKind], traces: Option<&'a dyn OldTraces>) -> Option<&'a dyn OldTraces> {
    traces.filter(|_| kinds.contains(&RecordKind::Traces))
}

fn end_of(flow: ControlFlow<()>) -> PurgeEnd {
    match flow {
        ControlFlow::Continue(()) => PurgeEnd::Whole,
        ControlFlow::Break(()) => PurgeEnd::Stopped,
    }
}

/// What goes, unless it is too young.
fn old(now: Time, age: Duration, kinds: &[RecordKind], gone: Gone) -> Result<Vec<Part>> {
    if age < Store::PURGE_AGE_MIN {
        return Err(StoreError::TooYoung { age });
    }
    let before = Cutoffs { records: now.minus(age), health: now.minus(age) };
    Ok(parts(kinds, &before, gone))
}
