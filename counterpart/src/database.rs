//! Harm done to a database behind the back of who owns it.

use std::path::Path;

/// Takes a table away, as a disk that loses pages would; what reads it fails from then on.
///
/// # Panics
///
/// Where there is no such table.
pub fn take_table_away(database: &Path, table: &str) {
    let database = rusqlite::Connection::open(database).unwrap();
    database.execute_batch(&format!("ALTER TABLE {table} RENAME TO {table}_is_away")).unwrap();
}
