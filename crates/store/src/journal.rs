//! The journal: what we are about to change, durable before we change it, and what came of it.
//!
//! ```text
//!             ┌── Done ──┬── Undone
//!  intent ────┤          └── Abandoned
//!  (open)     ├── Undone
//!             ├── Failed ─── Undone
//!             └── Abandoned
//! ```
//!
//! An entry without an ending is *open*: the step may or may not have happened. A fault that is done stays
//! *in force* until it is undone. Endings are appended, never changed; `Undone` twice is one. Where the undo found that
//! somebody else had changed the value since, the entry is *superseded*: theirs stays, and nothing was taken back.

use std::fmt;

use domain::{Action, Captured, PlanId, Step, StepToken, Time};
use rusqlite::{Connection, OptionalExtension, ToSql, params};
use serde::{Deserialize, Serialize};

use crate::changes::Topic;
use crate::error::{Result, StoreError};
use crate::store::{Purpose, Store, from_json, from_name, to_json};

/// What an undo found. The counterpart of the provider's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// The effect was there and is gone; what was captured is back.
    Restored,
    /// The effect was not there.
    NothingThere,
    /// Someone changed the value since; theirs stays.
    Superseded,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Its effect was proven.
    Done,
    /// It was taken back.
    Undone {
        /// What was there.
        found: Found,
        /// Why it was taken back.
        why: String,
    },
    /// It did not work, and there is nothing to take back.
    Failed {
        /// Why.
        why: String,
    },
    /// It cannot be taken back any more (irreversible, or its resource is gone).
    Abandoned {
        /// Why.
        why: String,
    },
}

/// Where a journal entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryState {
    /// It has no ending.
    Open,
    /// See [`Ending::Done`].
    Done,
    /// See [`Ending::Undone`].
    Undone,
    /// It was to be taken back, and somebody else had changed the value since: [`Found::Superseded`].
    Superseded,
    /// See [`Ending::Failed`].
    Failed,
    /// See [`Ending::Abandoned`].
    Abandoned,
}

/// An ending with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What.
    pub ending: Ending,
    /// When.
    pub at: Time,
}

/// One step's entry.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalEntry {
    /// Which step.
    pub token: StepToken,
    /// The step itself.
    pub step: Step,
    /// What was there before.
    pub captured: Captured,
    /// When the intent was written.
    pub intent_at: Time,
    /// What came of it, oldest first.
    pub endings: Vec<Ended>,
}

impl Ending {
    /// The state it leads to.
    pub fn state(&self) -> EntryState {
        match self {
            Self::Done => EntryState::Done,
            Self::Undone { found: Found::Superseded, .. } => EntryState::Superseded,
            Self::Undone { .. } => EntryState::Undone,
            Self::Failed { .. } => EntryState::Failed,
            Self::Abandoned { .. } => EntryState::Abandoned,
        }
    }
}

impl JournalEntry {
    /// Where it is.
    pub fn state(&self) -> EntryState {
        self.endings.last().map_or(EntryState::Open, |ended| ended.ending.state())
    }

    /// Whether it disturbs.
    pub fn is_fault(&self) -> bool {
        matches!(self.step.action, Action::Inject(_))
    }
}

impl EntryState {
    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::Undone => "undone",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }

    /// Whether an ending may follow.
    fn may_become(self, next: Self) -> bool {
        match self {
            Self::Open => next != Self::Open,
            Self::Done => next.is_over() || next == Self::Abandoned,
            Self::Failed => next.is_over(),
            Self::Undone | Self::Superseded | Self::Abandoned => false,
        }
    }

    /// Whether an undo had its say.
    fn is_over(self) -> bool {
        matches!(self, Self::Undone | Self::Superseded)
    }
}

impl fmt::Display for EntryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Store {
    /// Writes down what is about to be done. When this returns, it is on the disk.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`] where the step has an intent already, or its plan is not there.
    pub fn append_intent(&self, token: StepToken, step: &Step, captured: &Captured, now: Time) -> Result<()> {
        self.write(Purpose::Repair, |tx| insert_intent(tx, token, step, captured, now))?;
        self.listeners().tell(Topic::Journal, token);
        Ok(())
    }

    /// Writes down what came of it. Undone after undone changes nothing; any other step back is refused.
    ///
    /// # Errors
    ///
    /// [`StoreError::EndingRefused`] for a step back, [`StoreError::Corrupt`] where there is no intent.
    pub fn append_ending(&self, token: StepToken, ending: &Ending, now: Time) -> Result<()> {
        self.append_endings(&[(token, ending.clone())], now)
    }

    /// Writes several endings in one transaction.
    ///
    /// # Errors
    ///
    /// As [`append_ending`](Self::append_ending), for any of them.
    pub fn append_endings(&self, endings: &[(StepToken, Ending)], now: Time) -> Result<()> {
        self.write(Purpose::Repair, |tx| {
            endings.iter().try_for_each(|(token, ending)| insert_ending(tx, *token, ending, now))
        })?;
        for (token, _) in endings {
            self.listeners().tell(Topic::Journal, token);
        }
        Ok(())
    }

    /// The entries of a plan, by step.
    pub fn journal(&self, plan: PlanId) -> Result<Vec<JournalEntry>> {
        self.entries_where("plan = ?1", &[&plan.to_string()])
    }

    /// When the latest step of a plan got its first ending; `None` where it has none, or the plan no entry.
    pub fn steps_ended_at(&self, plan: PlanId) -> Result<Option<Time>> {
        let text: Option<String> = self.read(|connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT at FROM journal_endings WHERE plan = ?1 AND step_index =
                         (SELECT max(step_index) FROM journal WHERE plan = ?1) ORDER BY sequence LIMIT 1",
                )?
                .query_row([plan.to_string()], |row| row.get(0))
                .optional()?)
        })?;
        text.map(|text| from_json(|| format!("the journal of plan {plan}"), &text)).transpose()
    }

    /// The entries that are open, by plan and step: what has to be settled before anything else.
    pub fn entries_without_ending(&self) -> Result<Vec<JournalEntry>> {
        self.entries_where("state = 'open'", &[])
    }

    /// The faults that are done and not undone, by plan and step.
    pub fn steps_in_force(&self) -> Result<Vec<JournalEntry>> {
        self.entries_where("state = 'done' AND fault = 1", &[])
    }

    fn entries_where(&self, condition: &str, values: &[&dyn ToSql]) -> Result<Vec<JournalEntry>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT plan, step_index, step, captured, intent_at FROM journal WHERE {condition}
                 ORDER BY plan, step_index"
            ))?;
            let mut rows = statement.query(values)?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let (plan, index): (String, u32) = (row.get(0)?, row.get(1)?);
                let what = || format!("journal entry {plan}.{index}");
                let token = StepToken { plan: from_name(what, &plan)?, index };
                found.push(JournalEntry {
                    token,
                    step: from_json(what, &row.get::<_, String>(2)?)?,
                    captured: from_json(what, &row.get::<_, String>(3)?)?,
                    intent_at: from_json(what, &row.get::<_, String>(4)?)?,
                    endings: endings_of(connection, token)?,
                });
            }
            Ok(found)
        })
    }
}

pub(crate) fn insert_intent(
    connection: &Connection,
    token: StepToken,
    step: &Step,
    captured: &Captured,
    now: Time,
) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO journal (plan, step_index, step, captured, intent_at, fault, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'open')",
        )?
        .execute(params![
            token.plan.to_string(),
            token.index,
            to_json(step)?,
            to_json(captured)?,
            to_json(&now)?,
            matches!(step.action, Action::Inject(_)),
        ])?;
    Ok(())
}

fn insert_ending(connection: &Connection, token: StepToken, ending: &Ending, now: Time) -> Result<()> {
    let plan = token.plan.to_string();
    let name: Option<String> = connection
        .prepare_cached("SELECT state FROM journal WHERE plan = ?1 AND step_index = ?2")?
        .query_row(params![plan, token.index], |row| row.get(0))
        .optional()?;
    let what = || format!("journal entry {token}");
    let name = name.ok_or_else(|| StoreError::Corrupt { what: what(), why: "it is missing".to_owned() })?;
    let (state, next): (EntryState, _) = (from_name(what, &name)?, ending.state());
    if state.is_over() && next.is_over() {
        return Ok(());
    }
    if !state.may_become(next) {
        return Err(StoreError::EndingRefused { token, state, ending: next });
    }
    connection
        .prepare_cached("UPDATE journal SET state = ?3 WHERE plan = ?1 AND step_index = ?2")?
        .execute(params![plan, token.index, next.name()])?;
    connection
        .prepare_cached("INSERT INTO journal_endings (plan, step_index, ending, at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![plan, token.index, to_json(ending)?, to_json(&now)?])?;
    Ok(())
}

fn endings_of(connection: &Connection, token: StepToken) -> Result<Vec<Ended>> {
    let mut statement = connection.prepare_cached(
        "SELECT ending, at FROM journal_endings WHERE plan = ?1 AND step_index = ?2 ORDER BY sequence",
    )?;
    let mut rows = statement.query(params![token.plan.to_string(), token.index])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let what = || format!("an ending of journal entry {token}");
        found.push(Ended {
            ending: from_json(what, &row.get::<_, String>(0)?)?,
            at: from_json(what, &row.get::<_, String>(1)?)?,
        });
    }
    Ok(found)
}
