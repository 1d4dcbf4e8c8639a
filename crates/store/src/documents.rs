//! Documents by key: lessons, success rates, confidences. What is in them is their owner's business; times
//! in them are translated across a reboot where the document is JSON and the time is a serialised
//! [`domain::Time`].

use rusqlite::{OptionalExtension, params};

use crate::changes::Topic;
use crate::error::Result;
use crate::store::{Purpose, Store};

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
