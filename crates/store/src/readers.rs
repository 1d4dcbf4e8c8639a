//! Connections that only read, so that who looks at a page does not wait for the disk that a write is waiting for.
//!
//! In: the file of a database whose log is written ahead (WAL). Out: a connection for the time of one read, which sees
//! one state of the database: what was committed before it began, and nothing of what is committed meanwhile.

use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::error::{Result, StoreError};
use crate::store::tune;

/// Reads at a time: more than there are cores on a small machine, so that a long list holds nobody else up. Each has a
/// cache of pages of up to 2 MiB.
const READERS: usize = 4;

/// How long a write waits for reads to end, so that the log can be copied back whole. Reads take milliseconds.
const HELD_OFF: Duration = Duration::from_millis(100);

/// The connections.
#[derive(Debug)]
pub(crate) struct Readers {
    pool: Mutex<Pool>,
    changed: Condvar,
}

#[derive(Debug)]
struct Pool {
    /// Those that nobody uses now; the one that was used last, and whose caches are warm, is taken first.
    idle: Vec<Connection>,
    /// Whether reads wait for the log to be copied back.
    held_off: bool,
}

impl Readers {
    /// Over a database that is open for writing, which puts its log in order first.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let idle = (0..READERS).map(|_| open(path)).collect::<Result<Vec<_>>>()?;
        Ok(Self { pool: Mutex::new(Pool { idle, held_off: false }), changed: Condvar::new() })
    }

    /// Runs `read` over one state of the database, as soon as a connection is free.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let taken = Taken { readers: self, connection: Some(self.take()) };
        // Ends with the value, whatever `read` does: it has nothing to commit.
        let snapshot = taken.connection().unchecked_transaction()?;
        read(&snapshot)
    }

    /// Runs `work` while nobody reads; not at all where somebody reads for too long, which may be the one who asks.
    pub(crate) fn hold_off(&self, work: impl FnOnce()) {
        let mut pool = self.lock();
        pool.held_off = true;
        let in_use = |pool: &mut Pool| pool.idle.len() < READERS;
        let (mut pool, waited) =
            self.changed.wait_timeout_while(pool, HELD_OFF, in_use).unwrap_or_else(PoisonError::into_inner);
        if !waited.timed_out() {
            work();
        }
        pool.held_off = false;
        self.changed.notify_all();
    }

    fn take(&self) -> Connection {
        let mut pool = self.lock();
        loop {
            if !pool.held_off
                && let Some(connection) = pool.idle.pop()
            {
                return connection;
            }
            pool = self.changed.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.readers.lock().idle.extend(self.connection.take());
        self.readers.changed.notify_all();
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::Store;
    use crate::store::{DATABASE, Purpose};

    fn documents(connection: &Connection) -> Result<u32> {
        Ok(connection.query_row("SELECT count(*) FROM documents", [], |row| row.get(0))?)
    }

    #[test]
    fn a_read_waits_for_no_write_and_sees_one_state() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let insert = "INSERT INTO documents (key, value) VALUES ('a', '1')";
        let within = store.write(Purpose::Record, |tx| {
            tx.execute(insert, [])?;
            store.read(documents)
        });
        assert_eq!(within.unwrap(), 0, "what is not committed is not seen, nor waited for");
        let (before, after) = store
            .read(|connection| {
                let before = documents(connection)?;
                store.put_document("b", "2")?;
                Ok((before, documents(connection)?))
            })
            .unwrap();
        assert_eq!((before, after), (1, 1), "what is committed meanwhile is not seen");
        assert_eq!(store.read(documents).unwrap(), 2);
    }

    #[test]
    fn more_reads_than_connections_wait_for_each_other_and_a_panic_keeps_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        std::thread::scope(|scope| {
            let reads = (0..READERS * 3).map(|number| {
                let store = &store;
                scope.spawn(move || {
                    let panics = number % 3 == 0;
                    store.read(
                        |connection| if panics { panic!("of a handler") } else { documents(connection) },
                    )
                })
            });
            let reads: Vec<_> = reads.collect();
            assert_eq!(reads.into_iter().filter_map(|read| read.join().ok()).count(), READERS * 2);
        });
        assert_eq!(store.read(documents).unwrap(), 0);
    }

    #[test]
    fn a_reader_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.put_document("a", "1").unwrap();
        assert!(store.read(|connection| Ok(connection.execute("DELETE FROM documents", [])?)).is_err());
        assert_eq!(store.read(documents).unwrap(), 1);
    }

    #[test]
    fn the_log_stays_short_while_somebody_always_reads() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let over = AtomicBool::new(false);
        let log = dir.path().join(format!("{DATABASE}-wal"));
        std::thread::scope(|scope| {
            for _ in 0..READERS {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        store.read(documents).unwrap();
                    }
                });
            }
            let text = format!("\"{}\"", "x".repeat(40_000));
            for number in 0..1_000 {
                store.put_document(&format!("{}", number % 10), &text).unwrap();
            }
            over.store(true, Ordering::Relaxed);
        });
        // 40 MB were written; without copying the log back meanwhile it would have them all.
        let bytes = log.metadata().unwrap().len();

        assert!(bytes < 4_000_000, "the log has {bytes} bytes");
    }
}
