//! Connections that only read, so that who looks at a page does not wait for the disk that a write is waiting for.
//!
//! In: the file of a database whose log is written ahead (WAL). Out: a connection for the time of one read, which sees
//! one state of the database: what was committed before it began, and nothing of what is committed meanwhile.

use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};

use crate::error::{Result, StoreError};
use crate::store::tune;

/// Reads at a time: more than there are cores on a small machine, so that a long list holds nobody else up. Each has a
/// cache of pages of up to 2 MiB.
const READERS: usize = 4;

/// Connections that nobody uses now; the one that was used last, and whose caches are warm, is taken first.
#[derive(Debug)]
pub(crate) struct Readers {
    idle: Mutex<Vec<Connection>>,
    returned: Condvar,
}

impl Readers {
    /// Over a database that is open for writing, which puts its log in order first.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let idle = (0..READERS).map(|_| open(path)).collect::<Result<Vec<_>>>()?;
        Ok(Self { idle: Mutex::new(idle), returned: Condvar::new() })
    }

    /// Runs `read` over one state of the database, as soon as a connection is free.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let taken = Taken { readers: self, connection: Some(self.take()) };
        // Ends with the value, whatever `read` does: it has nothing to commit.
        let snapshot = taken.connection().unchecked_transaction()?;
        read(&snapshot)
    }

    fn take(&self) -> Connection {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(connection) = idle.pop() {
                return connection;
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A connection that goes back also where the read panics.
struct Taken<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Taken<'_> {
    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("it goes back when this is dropped")
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut idle = self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.extend(self.connection.take());
        self.readers.returned.notify_one();
    }
}

fn open(path: &Path) -> Result<Connection> {
    let named = |error: rusqlite::Error| StoreError::from(error).at_opening(path);
    // Not read-only for the engine, which writes to the index of the log also where it reads.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(named)?;
    tune(&connection).map_err(named)?;
    connection.pragma_update(None, "query_only", true).map_err(named)?;
    Ok(connection)
}
