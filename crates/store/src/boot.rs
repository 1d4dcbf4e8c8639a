//! Times across a reboot.
//!
//! [`Time::boot_us`] counts from the machine's start, so it can only be compared within one boot. The
//! database therefore names the boot its times belong to. Opened in another boot, every time in it is
//! rewritten once, in one transaction: its wall clock stays, its boot clock becomes what this boot's clock
//! would have shown at that wall clock time. The translation is as good as the wall clock was across the
//! reboot; within a boot nothing depends on it.
//!
//! Times from before this boot have a negative boot clock. Columns keep it, so that "within the last hour"
//! is still counted rightly; a [`Time`] cannot, and shows 0: ages then come out too short, never too long.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::Time;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use crate::error::{Result, StoreError};

/// One boot of a machine, with both clocks read at one time in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// The kernel's boot id (`/proc/sys/kernel/random/boot_id`).
    pub id: String,
    /// Both clocks.
    pub now: Time,
}

impl Boot {
    /// This machine's, now. The boot clock is read from `/proc/uptime`, to 10 ms: a reboot takes longer.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`] where `/proc` cannot be read.
    pub fn read() -> Result<Self> {
        let read = |path: &'static str| {
            std::fs::read_to_string(path).map_err(|source| StoreError::File {
                what: "read",
                path: path.into(),
                source,
            })
        };
        let uptime = read("/proc/uptime")?;
        let seconds = uptime.split(' ').next().and_then(|s| s.parse::<f64>().ok()).unwrap_or(0.0);
        #[expect(
            clippy::disallowed_methods,
            reason = "this is where the store reads its clock, once at opening"
        )]
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Ok(Self {
            id: read("/proc/sys/kernel/random/boot_id")?.trim().to_owned(),
            now: Time {
                boot_us: (seconds * 1e6) as u64,
                wall_us: i64::try_from(wall.as_micros()).unwrap_or(i64::MAX),
            },
        })
    }
}

/// Columns that hold JSON with times in it.
const DOCUMENTS: [(&str, &str); 12] = [
    ("self_healing_issues", "document"),
    ("plans", "document"),
    ("plans", "decision"),
    ("plans", "outcome"),
    ("journal", "intent_at"),
    ("journal_endings", "at"),
    ("documents", "value"),
    ("experiments", "document"),
    ("switches", "value"),
    ("deployments", "document"),
    ("cmdb_items", "document"),
    ("cmdb_changes", "document"),
];

/// Pairs of columns `…_boot_us` and `…_wall_us`.
const PAIRS: [(&str, &str); 17] = [
    ("plans", "started"),
    ("plans", "completed"),
    ("timers", "due"),
    ("health_scores", "taken"),
    ("experiments", "created"),
    ("deployments", "began"),
    ("users", "created"),
    ("users", "signed_in"),
    ("tokens", "created"),
    ("tokens", "expires"),
    ("tokens", "revoked"),
    ("tokens", "used"),
    ("passkeys", "created"),
    ("passkeys", "used"),
    ("sessions", "created"),
    ("sessions", "used"),
    ("sessions", "expires"),
];

/// Makes every time in the database one of `boot`.
pub(crate) fn translate(connection: &mut Connection, boot: &Boot) -> Result<()> {
    let tx = connection.transaction()?;
    let known: Option<String> =
        tx.query_row("SELECT value FROM meta WHERE key = 'boot_id'", [], |row| row.get(0)).optional()?;
    if known.as_ref() == Some(&boot.id) {
        return Ok(());
    }
    if known.is_some() {
        let offset = i64::try_from(boot.now.boot_us).unwrap_or(i64::MAX).saturating_sub(boot.now.wall_us);
        for (table, column) in DOCUMENTS {
            translate_documents(&tx, table, column, offset)?;
        }
        for (table, pair) in PAIRS {
            tx.execute(
                &format!(
                    "UPDATE {table} SET {pair}_boot_us = {pair}_wall_us + ?1 WHERE {pair}_wall_us IS NOT NULL"
                ),
                [offset],
            )?;
        }
    }
    tx.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('boot_id', ?1)", [&boot.id])?;
    tx.commit()?;
    Ok(())
}

/// A thousand at a time: a store can hold more documents than should be in memory at once.
fn translate_documents(connection: &Connection, table: &str, column: &str, offset: i64) -> Result<()> {
    let mut rows = connection.prepare(&format!(
        "SELECT rowid, {column} FROM {table} WHERE rowid > ?1 AND {column} LIKE '%\"boot_us\"%'
         ORDER BY rowid LIMIT 1000"
    ))?;
    let mut update = connection.prepare(&format!("UPDATE {table} SET {column} = ?2 WHERE rowid = ?1"))?;
    let mut last = i64::MIN;
    loop {
        let found: Vec<(i64, String)> =
            rows.query_map([last], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        let Some((rowid, _)) = found.last() else { return Ok(()) };
        last = *rowid;
        for (rowid, text) in found {
            // A document that is no JSON is its owner's own text; there is no time of ours in it.
            let Ok(mut value) = serde_json::from_str::<Value>(&text) else { continue };
            translate_value(&mut value, offset);
            update.execute(params![rowid, value.to_string()])?;
        }
    }
}

/// Every object of exactly the two fields of [`Time`] is one.
pub(crate) fn translate_value(value: &mut Value, offset: i64) {
    match value {
        Value::Object(fields) => {
            if fields.len() == 2
                && fields.contains_key("boot_us")
                && let Some(wall_us) = fields.get("wall_us").and_then(Value::as_i64)
            {
                let boot_us = u64::try_from(wall_us.saturating_add(offset)).unwrap_or(0);
                fields.insert("boot_us".to_owned(), boot_us.into());
            } else {
                fields.values_mut().for_each(|value| translate_value(value, offset));
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| translate_value(value, offset)),
        _ => {}
    }
}
