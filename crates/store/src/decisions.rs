//! What people decide about plans that wait, and why.

use domain::{PlanId, PlanStatus, Time};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::changes::Topic;
use crate::error::Result;
use crate::plans::{PlanPurpose, move_plan};
use crate::store::{Purpose, Store, to_json};

/// What a person decided about a plan that waited for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Who.
    pub who: String,
    /// When.
    pub at: Time,
    /// What.
    pub verdict: Verdict,
    /// Why, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may run.
    Approved,
    /// It may not.
    Rejected,
}

impl Store {
    /// Lets a plan that waits for approval run. `false`: it does not wait.
    pub fn approve(&self, id: PlanId, who: &str, now: Time) -> Result<bool> {
        self.decide(id, &Decision { who: who.to_owned(), at: now, verdict: Verdict::Approved, why: None })
    }

    /// Refuses a plan that waits for approval, or an operation that waits for its turn. `false`: it does not wait.
    pub fn reject(&self, id: PlanId, who: &str, now: Time) -> Result<bool> {
        self.decide(id, &Decision { who: who.to_owned(), at: now, verdict: Verdict::Rejected, why: None })
    }

    fn decide(&self, id: PlanId, decision: &Decision) -> Result<bool> {
        let rejected = decision.verdict == Verdict::Rejected;
        let (to, error) = match decision.verdict {
            Verdict::Approved => (PlanStatus::Pending, None),
            Verdict::Rejected => (PlanStatus::Refused, Some(format!("rejected by {}", decision.who))),
        };
        let document = to_json(decision)?;
        let decided = self.write(Purpose::Repair, |tx| {
            let moved = |from| move_plan(tx, id, from, to, decision.at, error.as_deref());
            let moved = moved(PlanStatus::AwaitingApproval)?
                || (rejected && is_operation(tx, id)? && moved(PlanStatus::Pending)?);
            if !moved {
                return Ok(false);
            }
            tx.prepare_cached("UPDATE plans SET decision = ?2 WHERE id = ?1")?
                .execute(params![id.to_string(), document])?;
            Ok(true)
        })?;
        if decided {
            self.listeners().tell(Topic::Plans, id);
        }
        Ok(decided)
    }

    /// Keeps why a person decided as they did; what is said last counts. `false`: nobody decided.
    pub fn explain_decision(&self, id: PlanId, why: &str) -> Result<bool> {
        let explained = self.write(Purpose::Record, |tx| {
            Ok(tx
                .prepare_cached(
                    "UPDATE plans SET decision = json_set(decision, '$.why', ?2)
                     WHERE id = ?1 AND decision IS NOT NULL",
                )?
                .execute(params![id.to_string(), why])?
                > 0)
        })?;
        if explained {
            self.listeners().tell(Topic::Plans, id);
        }
        Ok(explained)
    }
}

fn is_operation(connection: &Connection, id: PlanId) -> Result<bool> {
    let purpose = connection
        .prepare_cached("SELECT purpose FROM plans WHERE id = ?1")?
        .query_row([id.to_string()], |row| row.get::<_, String>(0))
        .optional()?;
    Ok(purpose.as_deref() == Some(PlanPurpose::Operation.name()))
}
