//! What holds for every column that a crash, another version or a person left in the database.
//!
//! In: any bytes. Out: a panic where a property does not hold. The fuzz targets of `fuzz/` and the tests here
//! run the same functions; nothing that ships contains them.

use domain::{Captured, Deployment, IdSource, Issue, Outcome, Plan, PlanId, Step, StepToken, Time};
use rusqlite::params;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::boot::translate_value;
use crate::error::StoreError;
use crate::store::{Purpose, Store, from_json, to_json};
use crate::{Decision, Ending};

thread_local! {
    static STORE: Store = Store::in_memory().expect("a database in memory");
}

/// A journal entry with these columns (state, index, step, captured, times and ending, a line each) is read,
/// or the refusal names the entry; what was read is written back the same.
pub fn journal(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (state, index, step, captured) = (next(), next(), next(), next());
    let (intent_at, ending, at) = (next(), next(), next());
    let plan: PlanId = IdSource::seeded(1).next(Time { boot_us: 0, wall_us: 0 });
    let index: u32 = index.parse().unwrap_or(0);
    let token = StepToken { plan, index };
    STORE.with(|store| {
        let id = plan.to_string();
        let written = store.write(Purpose::Repair, |tx| {
            tx.execute("DELETE FROM plans", [])?;
            tx.execute(
                "INSERT INTO plans (id, purpose, action_type, description, status, reasons, created_at, document)
                 VALUES (?1, 'remediation', '', '', 'pending', '', '', '')",
                [&id],
            )?;
            tx.execute(
                "INSERT INTO journal (plan, step_index, step, captured, intent_at, fault, state)
                 VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)",
                params![id, index, step, captured, intent_at, state],
            )?;
            tx.execute(
                "INSERT INTO journal_endings (plan, step_index, ending, at) VALUES (?1, ?2, ?3, ?4)",
                params![id, index, ending, at],
            )?;
            Ok(())
        });
        written.expect("the columns are text");
        match store.journal(plan) {
            Ok(entries) => {
                assert_eq!(entries.len(), 1);
                same(&entries[0].step, step);
                same(&entries[0].captured, captured);
                same(&entries[0].intent_at, intent_at);
            }
            Err(StoreError::Corrupt { what, .. }) => assert!(what.contains(&token.to_string()), "{what}"),
            Err(error) => panic!("{error}"),
        }
        // A state nobody knows is refused, and never becomes an ending.
        match store.append_ending(token, &Ending::Done, Time { boot_us: 1, wall_us: 1 }) {
            Ok(()) => assert_eq!(state, "open"),
            Err(StoreError::Corrupt { what, .. }) => assert!(what.contains(&token.to_string()), "{what}"),
            Err(StoreError::EndingRefused { .. }) => assert_ne!(state, "open"),
            Err(error) => panic!("{error}"),
        }
    });
}

/// A stored value is read and written back the same, or refused; times move with the boot and nothing else
/// does.
pub fn stored(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    reads_back::<Plan>(text);
    reads_back::<Issue>(text);
    reads_back::<Outcome>(text);
    reads_back::<Deployment>(text);
    reads_back::<Decision>(text);
    reads_back::<Step>(text);
    reads_back::<Captured>(text);
    reads_back::<Ending>(text);
    let Ok(value) = serde_json::from_str::<Value>(text) else { return };
    let moved = |value: &Value, offset| {
        let mut value = value.clone();
        translate_value(&mut value, offset);
        value
    };
    let once = moved(&value, 5);
    assert_eq!(moved(&once, 5), once, "translating twice is translating once");
    assert!(alike(&value, &once), "{value} became {once}");
}

fn reads_back<T: Serialize + DeserializeOwned>(text: &str) {
    if let Ok(value) = from_json::<T>(String::new, text) {
        let written = to_json(&value).unwrap();
        let again: T = from_json(String::new, &written).unwrap_or_else(|error| panic!("{written}: {error}"));
        same(&again, &written);
    }
}

/// Asserts that `value` is what `text` says, where `text` was written by this program.
fn same<T: Serialize + DeserializeOwned>(value: &T, text: &str) {
    let read: T = from_json(String::new, text).unwrap();
    let (one, other) = (serde_json::to_value(value).unwrap(), serde_json::to_value(&read).unwrap());
    assert!(equal(&one, &other), "{one} became {other}");
}

/// Equal but for the last digit of a fraction, which the JSON reader may lose.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            a == b || (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => one == other,
    }
}

/// Equal but for `boot_us`.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| key == "boot_us" || alike(a, b)))
        }
        _ => one == other,
    }
}

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use super::seeds::hold;

    #[test]
    fn a_journal_entry_is_read_or_refused_by_name() {
        hold("journal", 300, super::journal);
    }

    #[test]
    fn what_is_stored_reads_back_or_is_refused() {
        hold("stored", 1000, super::stored);
    }
}
