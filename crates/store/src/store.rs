//! [`Store`] itself: the connection, reads and writes, and what happens on a full disk.

use std::fs::Permissions;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::Clock;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::boot::{self, Boot};
use crate::changes::Listeners;
use crate::directory::{HolderKind, Lock, Reserve};
use crate::error::{Result, StoreError};
use crate::plan_cache::PlanCache;
use crate::readers::Readers;
use crate::room::INCREMENTAL;
use crate::schema;

/// How long a write waits for a program that reads or copies the file from outside.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The database in the data directory.
pub(crate) const DATABASE: &str = "homeostat.db";

/// The log is copied into the database at this many pages of 4 KiB: 1 MiB, a quarter of the reserve. The log
/// must leave room in the reserve for the database to grow, else nothing could be copied on a full disk and
/// the log alone would eat the reserve.
const LOG_PAGES: i64 = 256;

/// How long a removal waits at most for others that wait to write.
const LET_OTHERS: Duration = Duration::from_millis(100);

/// Bytes of the log that is copied back at [`LOG_PAGES`].
const LOG_BYTES: i64 = LOG_PAGES * 4096;

/// State that survives. Cheap to clone; all clones are one store.
///
/// # Errors
///
/// Every method that returns a [`Result`] fails with [`StoreError::Engine`] where the database does. One that reads fails
/// with [`StoreError::Corrupt`] where a row is not what this program writes. One that writes fails with
/// [`StoreError::Full`] where the disk is full, and whatever it fails with, it has then written nothing. Methods that
/// fail for other reasons name those alone.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// `None` in memory, where the one connection is the database. Closed before the other one, which then puts the log
    /// into the database.
    readers: Option<Readers>,
    /// The log beside the database, where there are readers.
    log: PathBuf,
    connection: Mutex<Connection>,
    listeners: Arc<Listeners>,
    plans: PlanCache,
    reads: AtomicU64,
    /// How many writes wait for the connection.
    waiting: Mutex<u32>,
    /// Told when no write waits any more.
    turns: Condvar,
    reserve: Option<Reserve>,
    _lock: Option<Lock>,
}

/// What a write is for; decides what happens on a full disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Without it nothing could be repaired: may use the reserve.
    Repair,
    /// Everything else: waits until the reserve is whole again.
    Record,
}

/// A lock is asked for 1 + this many times, with this pause: a child that a controller had forked, but that
/// had not come to its exec when the controller died, holds the lock until it does.
const TAKEOVER_TRIES: u32 = 10;
const TAKEOVER_PAUSE: Duration = Duration::from_millis(20);

impl Store {
    /// Opens the data directory `dir`, making it (readable by its owner only) where it is missing.
    ///
    /// Takes the controller lock, upgrades an older schema, translates times where the machine was rebooted
    /// since, and makes the reserve where there is room for it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] where another controller works on it, [`StoreError::NewerSchema`],
    /// [`StoreError::Broken`] where its database is none, [`StoreError::File`] where a file in it cannot be used.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_in_boot(dir, &Boot::read()?)
    }

    fn open_as_control_plane(dir: &Path) -> Result<Self> {
        Self::open_as(dir, &Boot::read()?, HolderKind::ControlPlane)
    }

    /// As [`Store::open`], for a control plane, which others may ask to end; gives what the last controller left behind a moment to let go of the lock.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub fn take_over(dir: &Path, clock: &dyn Clock) -> Result<Self> {
        for _ in 0..TAKEOVER_TRIES {
            match Self::open_as_control_plane(dir) {
                Err(StoreError::Locked { .. }) => clock.wait(TAKEOVER_PAUSE),
                opened => return opened,
            }
        }
        Self::open_as_control_plane(dir)
    }

    /// As [`Store::open`], in a given boot: for simulation, and for tests of a reboot.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub fn open_in_boot(dir: &Path, boot: &Boot) -> Result<Self> {
        Self::open_as(dir, boot, HolderKind::Command)
    }

    fn open_as(dir: &Path, boot: &Boot, kind: HolderKind) -> Result<Self> {
        make_private(dir)?;
        let lock = Lock::take(dir, kind)?;
        let path = dir.join(DATABASE);
        make_owners(&path)?;
        let connection = open_database(&path, boot).map_err(|error| error.at_opening(&path))?;
        let readers = (Readers::open(&path)?, dir.join(format!("{DATABASE}-wal")));
        let reserve = Reserve::new(dir);
        reserve.keep();
        Ok(Self::over(connection, Some(readers), Some(reserve), Some(lock)))
    }

    /// A store that is forgotten with its last clone: for simulation and tests.
    pub fn in_memory() -> Result<Self> {
        let mut connection = Connection::open_in_memory()?;
        prepare(&connection)?;
        schema::upgrade(&mut connection, Path::new(":memory:"), &schema::SCRIPTS)?;
        Ok(Self::over(connection, None, None, None))
    }

    fn over(
        connection: Connection,
        readers: Option<(Readers, PathBuf)>,
        reserve: Option<Reserve>,
        lock: Option<Lock>,
    ) -> Self {
        let connection = Mutex::new(connection);
        let (listeners, plans) = (Arc::default(), PlanCache::default());
        let (readers, log) = readers.unzip();
        Self {
            inner: Arc::new(Inner {
                readers,
                log: log.unwrap_or_default(),
                connection,
                listeners,
                plans,
                reads: AtomicU64::new(0),
                waiting: Mutex::new(0),
                turns: Condvar::new(),
                reserve,
                _lock: lock,
            }),
        }
    }

    /// Limits the database to `size` bytes, `None` for no limit. A write beyond it fails with
    /// [`StoreError::Full`]; what is there already stays, and its room is used again after
    /// [`Store::prune`].
    pub fn limit_size(&self, size: Option<u64>) -> Result<()> {
        let connection = self.connection();
        let page: u64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        // SQLite takes a limit below the present size as the present size, and has 2^32 - 2 pages at most.
        let pages = size.map_or(u64::from(u32::MAX) - 1, |size| (size / page).max(1));
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        Ok(())
    }

    pub(crate) fn listeners(&self) -> &Arc<Listeners> {
        &self.inner.listeners
    }

    pub(crate) fn plan_cache(&self) -> &PlanCache {
        &self.inner.plans
    }

    /// A panic of another thread leaves no half transaction: it was rolled back when its guard was dropped.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.inner.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many times it was read since it was opened: what a list costs is told by it.
    pub fn reads(&self) -> u64 {
        self.inner.reads.load(Ordering::Relaxed)
    }

    /// Runs `read` over what is committed now. It sees one state, and waits for no write.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.inner.reads.fetch_add(1, Ordering::Relaxed);
        match &self.inner.readers {
            Some(readers) => readers.read(read),
            None => read(&self.connection()),
        }
    }

    /// Runs `work` on the connection that writes, outside a transaction.
    pub(crate) fn alone<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        work(&self.connection())
    }

    /// Copies the log back and cuts it to nothing, while nobody reads.
    pub(crate) fn cut_log(&self) -> Result<()> {
        let connection = self.connection();
        let mut cut = Ok(());
        let mut work = || cut = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        match &self.inner.readers {
            Some(readers) => readers.hold_off(work),
            None => work(),
        }
        Ok(cut?)
    }

    /// Lets the writes that wait go first, for a moment at most: a lock is often taken again by who just let go of it.
    pub(crate) fn let_others_write(&self) {
        let waiting = self.waiting();
        let waited = self.inner.turns.wait_timeout_while(waiting, LET_OTHERS, |waiting| *waiting > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// How many writes wait for their turn.
    fn waiting(&self) -> MutexGuard<'_, u32> {
        self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, for a write; [`let_others_write`](Self::let_others_write) knows that it waited.
    fn turn(&self) -> MutexGuard<'_, Connection> {
        *self.waiting() += 1;
        let connection = self.connection();
        let mut waiting = self.waiting();
        *waiting -= 1;
        if *waiting == 0 {
            self.inner.turns.notify_all();
        }
        connection
    }

    /// Runs `write` in one transaction and commits it. On a full disk a repair's write frees the reserve
    /// and is tried once more.
    pub(crate) fn write<T>(&self, purpose: Purpose, write: impl Fn(&Transaction) -> Result<T>) -> Result<T> {
        let mut connection = self.turn();
        if let (Purpose::Record, Some(reserve)) = (purpose, &self.inner.reserve)
            && !reserve.keep()
        {
            return Err(StoreError::Full);
        }
        let written = match transact(&mut connection, &write) {
            Err(StoreError::Full)
                if purpose == Purpose::Repair && self.inner.reserve.as_ref().is_some_and(Reserve::free) =>
            {
                transact(&mut connection, &write)
            }
            result => result,
        };
        self.keep_log_short(&connection);
        written
    }

    /// The engine copies the log back by itself, but only as far as no read needs what was before; where somebody
    /// always reads, the log would grow. Then reads wait for once.
    fn keep_log_short(&self, connection: &Connection) {
        let Some(readers) = &self.inner.readers else { return };
        let length = self.inner.log.metadata().map_or(0, |log| log.len());
        if length > 2 * LOG_BYTES.unsigned_abs() {
            // What cannot be copied now, on a full disk or while the database is backed up, is tried after the next write.
            readers.hold_off(|| drop(connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))));
        }
    }
}

fn open_database(path: &Path, boot: &Boot) -> Result<Connection> {
    let mut connection = Connection::open(path)?;
    prepare(&connection)?;
    copy_back(&connection);
    schema::upgrade(&mut connection, path, &schema::SCRIPTS)?;
    boot::translate(&mut connection, boot)?;
    Ok(connection)
}

fn transact<T>(connection: &mut Connection, write: impl Fn(&Transaction) -> Result<T>) -> Result<T> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = write(&tx)?;
    tx.commit()?;
    Ok(value)
}

fn prepare(connection: &Connection) -> Result<()> {
    tune(connection)?;
    // Counts for a database that is being made; see `room` for one that was made before.
    // Said again, it would be written again.
    if connection.pragma_query_value(None, "auto_vacuum", |row| row.get::<_, i64>(0))? != INCREMENTAL {
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", LOG_PAGES, |_| Ok(()))?;
    // A log that had to grow is cut to this when it is begun anew.
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES, |_| Ok(()))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(())
}

/// What a connection needs that reads, whether it writes as well or not.
pub(crate) fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Else the engine plans a cached statement anew whenever a value it is bound to might suit another
    // partial index: in the loop every time, for three times the cost of running it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(())
}

fn make_private(dir: &Path) -> Result<()> {
    durable::take_dir(dir).map_err(|source| StoreError::File {
        what: "use the data directory",
        path: dir.to_owned(),
        source,
    })
}

/// Makes the file of the database where there is none: it holds passwords' hashes, and the engine would make it, and its log
/// after it, for everybody to read. One that is there is closed to others: earlier versions had it made so.
fn make_owners(path: &Path) -> Result<()> {
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => close_to_others(path),
        Err(source) => Err(StoreError::File { what: "make the database", path: path.to_owned(), source }),
        Ok(_) => Ok(()),
    }
}

/// Leaves the files of a database, which the engine calls as it does, to their owner.
fn close_to_others(path: &Path) -> Result<()> {
    for of_it in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(of_it);
        let closed = std::fs::metadata(&file).and_then(|found| match found.permissions().mode() & 0o077 {
            0 => Ok(()),
            _ => std::fs::set_permissions(&file, Permissions::from_mode(0o600)),
        });
        match closed {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::File { what: "close to others", path: file.into(), source });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Copies the log back that an earlier process left, before anything is written behind it. Where that process was refused by
/// the disk, the system shows a log that the disk does not have, and what follows it there would be lost with a power cut.
/// What is copied is written anew.
fn copy_back(connection: &Connection) {
    // On a full disk, or beside who backs it up, it is copied with later writes.
    let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
}

/// A value as the JSON a column keeps.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt {
        what: "a value to be stored".to_owned(),
        why: error.to_string(),
    })
}

/// A value from the JSON of a column of `what`.
pub(crate) fn from_json<T: DeserializeOwned>(what: impl Fn() -> String, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt { what: what(), why: error.to_string() })
}

/// An enum from the name a column keeps.
pub(crate) fn from_name<T: DeserializeOwned>(what: impl Fn() -> String, name: &str) -> Result<T> {
    serde_json::from_value(serde_json::Value::String(name.to_owned()))
        .map_err(|error| StoreError::Corrupt { what: what(), why: error.to_string() })
}
