//! Documents by key: lessons, success rates, confidences. What is in them is their owner's business; times
//! in them are translated across a reboot where the document is JSON and the time is a serialised
//! [`domain::Time`].
//!
//! A document about one issue goes with it; see [`diagnosis_key`]. All others are few and stay.

use domain::IssueId;
use rusqlite::{OptionalExtension, params};

use crate::changes::Topic;
use crate::error::Result;
use crate::store::{Purpose, Store};

/// What the keys of [`diagnosis_key`] begin with.
pub(crate) const DIAGNOSES: &str = "diagnosis/";

/// The document that holds the first diagnosis of an issue. Retention removes it with the issue.
pub fn diagnosis_key(issue: IssueId) -> String {
    format!("{DIAGNOSES}{issue}")
}

impl Store {
    /// The document under `key`.
    pub fn document(&self, key: &str) -> Result<Option<String>> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached("SELECT value FROM documents WHERE key = ?1")?
                .query_row([key], |row| row.get(0))
                .optional()?)
        })
    }

    /// Writes the document under `key`, replacing what was there.
    pub fn put_document(&self, key: &str, value: &str) -> Result<()> {
        self.write(Purpose::Record, |tx| {
            tx.prepare_cached("INSERT OR REPLACE INTO documents (key, value) VALUES (?1, ?2)")?
                .execute(params![key, value])?;
            Ok(())
        })?;
        self.listeners().tell(Topic::Documents, key);
        Ok(())
    }
}
