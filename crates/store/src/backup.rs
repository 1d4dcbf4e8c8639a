//! A copy of the database while it is written to, and whether a copy is whole.
//!
//! In: a data directory, also one whose controller runs, in this process or another. Out: one file, as of the moment the
//! copy began; it holds everything that was acknowledged before.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::access::SealedSecret;
use crate::error::{Result, StoreError};
use crate::room::INCREMENTAL;
use crate::schema;
use crate::store::{BUSY_TIMEOUT, DATABASE};

/// The version of the schema this program writes; older ones are upgraded when they are opened, newer ones refused.
pub(crate) const SCHEMA_VERSION: usize = schema::SCRIPTS.len();

/// The formats this crate writes: name, number.
pub const FORMATS: [(&str, u32); 1] = [("database", SCHEMA_VERSION as u32)];

/// Copies the database of `dir` to the file `to`, which must not be there. Writers are not held up: the copy reads from
/// one snapshot. `false`: there is no database in `dir`.
///
/// # Errors
/// [`StoreError::Broken`] where it is no database; [`StoreError::Full`] where the copy has no room.
pub fn copy(dir: &Path, to: &Path) -> Result<bool> {
    let path = dir.join(DATABASE);
    if !path.exists() {
        return Ok(false);
    }
    let named = |error: rusqlite::Error| StoreError::from(error).at_opening(&path);
    // Not read-only: a database nobody has open is read through its log, which has to be put in order first.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags).map_err(named)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(named)?;
    refuse_newer(&connection, &path)?;
    let target = to.to_str().ok_or_else(|| StoreError::File {
        what: "name in UTF-8",
        path: to.to_owned(),
        source: std::io::ErrorKind::InvalidInput.into(),
    })?;
    // Of the copy: what is copied cannot become so in its place. Where it is so already, it would be written to.
    if connection.pragma_query_value(None, "auto_vacuum", |row| row.get::<_, i64>(0)).map_err(named)?
        != INCREMENTAL
    {
        connection.pragma_update(None, "auto_vacuum", INCREMENTAL).map_err(named)?;
    }
    connection.execute("VACUUM INTO ?1", [target]).map_err(named)?;
    Ok(true)
}

/// Whether a copy can be used: it is whole by the engine's own check, and no newer program wrote it.
///
/// # Errors
/// [`StoreError::Broken`], [`StoreError::NewerSchema`].
pub fn check(path: &Path) -> Result<()> {
    let named = |error: rusqlite::Error| StoreError::from(error).at_opening(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(named)?;
    refuse_newer(&connection, path)?;
    let said: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(named)?;
    match said.as_str() {
        "ok" => Ok(()),
        _ => Err(StoreError::Broken { path: path.to_owned(), why: said }),
    }
}

/// A document of the database of `dir`, read beside whoever has it open; `None` where there is no database, or it has none.
///
/// # Errors
/// [`StoreError::Broken`], [`StoreError::NewerSchema`].
pub fn document(dir: &Path, key: &str) -> Result<Option<String>> {
    let path = dir.join(DATABASE);
    if !path.exists() {
        return Ok(None);
    }
    let named = |error: rusqlite::Error| StoreError::from(error).at_opening(&path);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags).map_err(named)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(named)?;
    refuse_newer(&connection, &path)?;
    let found = connection.query_row("SELECT value FROM documents WHERE key = ?1", [key], |row| row.get(0));
    found.optional().map_err(named)
}

/// TOTP secrets that are in force in a database, each with the name of its user, as they are sealed. None in a database from
/// before there were users.
///
/// # Errors
/// [`StoreError::Broken`], [`StoreError::NewerSchema`].
pub fn second_factors(path: &Path) -> Result<Vec<(String, SealedSecret)>> {
    let named = |error: rusqlite::Error| StoreError::from(error).at_opening(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(named)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(named)?;
    refuse_newer(&connection, path)?;
    if !connection.table_exists(None, "users").map_err(named)? {
        return Ok(Vec::new());
    }
    let asked = "SELECT name, totp_sealed FROM users WHERE totp_sealed IS NOT NULL ORDER BY name";
    let mut statement = connection.prepare(asked).map_err(named)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(named)?;
    rows.collect::<rusqlite::Result<_>>().map_err(named)
}

fn refuse_newer(connection: &Connection, path: &Path) -> Result<()> {
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| StoreError::from(error).at_opening(path))?;
    let supported = SCHEMA_VERSION as i64;
    if found > supported {
        return Err(StoreError::NewerSchema { path: path.to_owned(), found, supported });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    #[test]
    fn a_copy_holds_what_was_written_before_it_while_the_store_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.put_document("a", "\"before\"").unwrap();
        let to = dir.path().join("copied");
        std::fs::create_dir(&to).unwrap();
        assert!(copy(dir.path(), &to.join(DATABASE)).unwrap());
        store.put_document("a", "\"after\"").unwrap();
        check(&to.join(DATABASE)).unwrap();
        assert_eq!(document(dir.path(), "a").unwrap().as_deref(), Some("\"after\""));
        assert_eq!(document(&to, "a").unwrap().as_deref(), Some("\"before\""));
        assert_eq!(
            (document(&to, "b").unwrap(), document(&dir.path().join("nothing"), "a").unwrap()),
            (None, None)
        );
        let copied = Store::open(&to).unwrap();
        assert_eq!(copied.document("a").unwrap().as_deref(), Some("\"before\""));
        assert!(!copy(&dir.path().join("nothing"), &to.join("x")).unwrap());
    }

    #[test]
    fn a_copy_that_is_broken_or_newer_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path()).unwrap());
        let path = dir.path().join(DATABASE);
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", 1000).unwrap();
        drop(connection);
        assert!(matches!(check(&path), Err(StoreError::NewerSchema { found: 1000, .. })));
        assert!(matches!(copy(dir.path(), &dir.path().join("x")), Err(StoreError::NewerSchema { .. })));
        std::fs::write(&path, b"no database at all, but long enough to be read as one").unwrap();
        assert!(matches!(check(&path), Err(StoreError::Broken { .. })));
    }
}
