//! The room of what was removed, given back to the disk.
//!
//! In: a database with pages that nothing uses. Out: a smaller file. It is done a little at a time, so that others can write
//! between.

use std::ops::ControlFlow;

use rusqlite::Connection;

use crate::error::{Result, StoreError};
use crate::store::Store;

/// Pages that are moved at a time while room is given back: 1 MiB, so that a repair waits for no more than that.
const PAGES_AT_A_TIME: u32 = 256;

/// The value of SQLite's `auto_vacuum` by which room is given back when it is asked for: of every database that was made
/// since there are releases, and of every copy.
pub(crate) const INCREMENTAL: i64 = 2;

/// What became of the room of removed records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes of the database with its log before.
    pub before: u64,
    /// Bytes after.
    pub after: u64,
    /// Whether it was told to stop before all of it was given back.
    pub stopped: bool,
}

impl Room {
    /// Bytes that the disk has more now.
    pub fn given_back(self) -> u64 {
        self.before.saturating_sub(self.after)
    }
}

impl Store {
    /// Gives the room of what was removed back to the disk, a little at a time, so that a repair can write between;
    /// each time `go_on` is asked.
    ///
    /// # Errors
    /// [`StoreError::Full`] where moving takes more room than there is: what was given back until then stays given back, and
    /// the rest is used again for new records. [`StoreError::RoomKept`] where the database was made before this was thought
    /// of: it would have to be written anew as a whole, and nobody could repair meanwhile.
    pub fn give_back(&self, mut go_on: impl FnMut() -> ControlFlow<()>) -> Result<Room> {
        let before = self.alone(bytes)?;
        let mut stopped = false;
        if self.alone(|connection| number(connection, "auto_vacuum"))? != INCREMENTAL {
            return Err(StoreError::RoomKept);
        }
        while self.alone(move_pages)?.is_continue() {
            self.let_others_write();
            if go_on().is_break() {
                stopped = true;
                break;
            }
        }
        self.cut_log()?;
        Ok(Room { before, after: self.alone(bytes)?, stopped })
    }
}

fn number(connection: &Connection, pragma: &str) -> Result<i64> {
    Ok(connection.pragma_query_value(None, pragma, |row| row.get(0))?)
}

/// Breaks where none is left, or none moves. Whoever writes between two times may take some, and free some.
fn move_pages(connection: &Connection) -> Result<ControlFlow<()>> {
    let free = || number(connection, "freelist_count");
    let before = free()?;
    if before == 0 {
        return Ok(ControlFlow::Break(()));
    }
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({PAGES_AT_A_TIME})"))?;
    let mut rows = statement.query([])?;
    // One step moves one page.
    while rows.next()?.is_some() {}
    let after = free()?;
    Ok(if after > 0 && after < before { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
}

/// What the database and its log take.
fn bytes(connection: &Connection) -> Result<u64> {
    let path = connection.path().unwrap_or_default();
    let one = |path: &str| std::fs::metadata(path).map_or(0, |file| file.len());
    Ok(one(path) + one(&format!("{path}-wal")))
}
