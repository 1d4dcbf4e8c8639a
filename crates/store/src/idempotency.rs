//! Requests that were sent with an idempotency key: the table `idempotency`.
//!
//! In: who asked, the key, a fingerprint of the request. Out: whether it is new, and what was answered where it is not. A
//! key is claimed on the disk before the request has its effect, so that it is known after a crash that it was begun.

use std::time::Duration;

use domain::Time;
use rusqlite::{OptionalExtension, params};

use crate::error::Result;
use crate::store::{Purpose, Store, from_json, to_json};

/// How long a key is remembered, by wall clock.
pub const KEY_KEPT: Duration = Duration::from_secs(24 * 3600);

/// How many keys are remembered; the oldest go first. With [`KEY_BODY_MAX`] this is 80 MiB at most, whoever asks.
pub const KEYS_MAX: usize = 5_000;

/// How many old keys go when one is claimed: more than come, so that none is kept for long.
const FORGOTTEN_AT_A_TIME: usize = 50;

/// The longest body of an answer that is kept.
pub const KEY_BODY_MAX: usize = 16 << 10;

/// An answer as it is given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// Its status.
    pub status: u16,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body; at most [`KEY_BODY_MAX`] bytes.
    pub body: Vec<u8>,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Nothing: it is claimed now, for whoever asked this.
    New,
    /// It was used for another request.
    Mismatch,
    /// The same request was begun, and no answer to it is kept.
    Unanswered,
    /// The same request was answered.
    Answered(KeptAnswer),
}

/// A row: fingerprint, status, headers, body.
type Known = (Vec<u8>, Option<u16>, String, Vec<u8>);

impl Store {
    /// Claims a key of `who` for the request with this fingerprint. What is older than [`KEY_KEPT`] is forgotten.
    pub fn claim_key(&self, who: &str, key: &str, fingerprint: &[u8; 32], now: Time) -> Result<Claim> {
        self.write(Purpose::Repair, |tx| {
            let since = now.minus(KEY_KEPT).wall_us;
            tx.prepare_cached("DELETE FROM idempotency WHERE who = ?1 AND key = ?2 AND began_wall_us < ?3")?
                .execute(params![who, key, since])?;
            // The others a few at a time: after a quiet day there may be thousands, and all are a lot to write at once.
            tx.prepare_cached(
                "DELETE FROM idempotency WHERE rowid IN (SELECT rowid FROM idempotency
                     WHERE began_wall_us < ?1 ORDER BY began_wall_us LIMIT ?2)",
            )?
            .execute(params![since, FORGOTTEN_AT_A_TIME])?;
            let known = tx
                .prepare_cached(
                    "SELECT fingerprint, status, headers, body FROM idempotency WHERE who = ?1 AND key = ?2",
                )?
                .query_row([who, key], |row| {
 let known: Known = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
 Ok(known) })
                .optional()?;
            match known {
                Some((print, ..)) if print != fingerprint => return Ok(Claim::Mismatch),
                Some((_, None, ..)) => return Ok(Claim::Unanswered),
                Some((_, Some(status), headers, body)) => {
                    let headers = from_json(|| format!("the answer to the key {key}"), &headers)?;
                    return Ok(Claim::Answered(KeptAnswer { status, headers, body }));
                }
                None => {}
            }
            tx.prepare_cached(
                "INSERT INTO idempotency (who, key, fingerprint, began_wall_us) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![who, key, fingerprint, now.wall_us])?;
            tx.prepare_cached(
                "DELETE FROM idempotency WHERE rowid IN
                     (SELECT rowid FROM idempotency ORDER BY began_wall_us DESC, rowid DESC LIMIT -1 OFFSET ?1)",
            )?
            .execute([KEYS_MAX])?;
            Ok(Claim::New)
        })
    }

    /// Keeps the answer to what was claimed. One that is larger than [`KEY_BODY_MAX`] is not kept: the key stays
    /// unanswered.
    pub fn answer_key(&self, who: &str, key: &str, answer: &KeptAnswer) -> Result<()> {
        if answer.body.len() > KEY_BODY_MAX {
            return Ok(());
        }
        let headers = to_json(&answer.headers)?;
        self.write(Purpose::Repair, |tx| {
            tx.prepare_cached(
                "UPDATE idempotency SET status = ?3, headers = ?4, body = ?5 WHERE who = ?1 AND key = ?2",
            )?
            .execute(params![who, key, answer.status, headers, answer.body])?;
            Ok(())
        })
    }

    /// Forgets a key: the request had no effect, and may be sent again.
    pub fn release_key(&self, who: &str, key: &str) -> Result<()> {
        self.write(Purpose::Repair, |tx| {
            tx.prepare_cached("DELETE FROM idempotency WHERE who = ?1 AND key = ?2")?.execute([who, key])?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_US: i64 = 86_400_000_000;

    fn at(wall_us: i64) -> Time {
        Time { boot_us: 0, wall_us }
    }

    fn answer(body: usize) -> KeptAnswer {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        KeptAnswer { status: 202, headers, body: vec![b'x'; body] }
    }

    #[test]
    fn a_key_is_somebodys_and_of_one_request_for_a_day() {
        let store = Store::in_memory().unwrap();
        let (one, other) = ([1; 32], [2; 32]);
        let claim = |who, print, now| store.claim_key(who, "k", print, at(now)).unwrap();
        assert_eq!(claim("ann", &one, 2 * DAY_US), Claim::New);
        assert_eq!(claim("ann", &one, 2 * DAY_US), Claim::Unanswered);
        assert_eq!(claim("bob", &other, 2 * DAY_US), Claim::New);
        store.answer_key("ann", "k", &answer(3)).unwrap();
        assert_eq!(claim("ann", &one, 3 * DAY_US), Claim::Answered(answer(3)));
        assert_eq!(claim("ann", &other, 3 * DAY_US), Claim::Mismatch);
        assert_eq!(claim("ann", &other, 3 * DAY_US + 1), Claim::New);
        store.release_key("ann", "k").unwrap();
        assert_eq!(claim("ann", &one, 3 * DAY_US + 1), Claim::New);
    }

    #[test]
    fn after_a_quiet_day_old_keys_are_unknown_and_go_a_few_at_a_time() {
        let store = Store::in_memory().unwrap();
        let claim = |key: &str, now| store.claim_key("ann", key, &[0; 32], at(now)).unwrap();
        let kept = || {
            let count = |c: &rusqlite::Connection| {
                Ok(c.query_row("SELECT count(*) FROM idempotency", [], |row| row.get::<_, usize>(0))?)
            };
            store.read(count).unwrap()
        };
        (0..200).for_each(|n| assert_eq!(claim(&n.to_string(), 2 * DAY_US + n), Claim::New));
        let now = 4 * DAY_US;
        assert_eq!(claim("199", now), Claim::New, "it is the newest of the old ones");
        let mut before = kept();
        assert!(before > 100, "{before} are left");
        for n in 0..3 {
            claim(&format!("new {n}"), now);
            assert!(kept() < before, "fewer than came before");
            before = kept();
        }
        assert_eq!(kept(), 4);
    }

    #[test]
    fn keys_and_answers_are_bounded() {
        let store = Store::in_memory().unwrap();
        for n in 0..KEYS_MAX + 2 {
            let now = at(2 * DAY_US + n as i64);
            assert_eq!(store.claim_key("ann", &n.to_string(), &[0; 32], now).unwrap(), Claim::New);
        }
        let now = at(2 * DAY_US + KEYS_MAX as i64 + 2);
        assert_eq!(store.claim_key("ann", "2", &[0; 32], now).unwrap(), Claim::Unanswered);
        assert_eq!(store.claim_key("ann", "1", &[0; 32], now).unwrap(), Claim::New, "the oldest went");
        store.answer_key("ann", "1", &answer(KEY_BODY_MAX + 1)).unwrap();
        assert_eq!(store.claim_key("ann", "1", &[0; 32], now).unwrap(), Claim::Unanswered);
    }
}
