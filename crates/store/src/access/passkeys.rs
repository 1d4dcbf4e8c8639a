//! Passkeys: the table `passkeys`. Of a key pair there is the public key alone; the other half never leaves its
//! authenticator.

use domain::{PasskeyId, Time, UserId};
use rusqlite::{OptionalExtension, Row, params};

use super::{UserRecord, users};
use crate::changes::Topic;
use crate::error::{Result, StoreError};
use crate::plans::{column, pair};
use crate::store::{Purpose, Store};

/// A key pair that signs a user in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasskeyRecord {
    /// Its id here.
    pub id: PasskeyId,
    /// Whose it is.
    pub user: UserId,
    /// What its authenticator calls it; no two have the same.
    pub credential: Vec<u8>,
    /// The public key, as `COSE_Key` (RFC 9052, section 7).
    pub public_key: Vec<u8>,
    /// How often its authenticator says that it signed; 0 where it does not count.
    pub sign_count: u32,
    /// Whether it may be copied to other devices; never changes.
    pub backup_eligible: bool,
    /// The host it is for.
    pub rp_id: String,
    /// What its user calls it; unique among the user's.
    pub name: String,
    /// When it was registered.
    pub created: Time,
    /// When it last signed in.
    pub used: Option<Time>,
}

/// Whether a passkey could be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasskeySaved {
    /// It is.
    Saved,
    /// The user has another of this name.
    NameTaken,
    /// The credential is registered already.
    CredentialTaken,
    /// The user has as many as one may.
    TooMany,
    /// The user is not there, or was shut out.
    UserGone,
}

impl Store {
    /// Keeps a new passkey where its user has fewer than `most`.
    pub fn add_passkey(&self, passkey: &PasskeyRecord, most: usize) -> Result<PasskeySaved> {
        let user = passkey.user.to_string();
        let saved = self.write(Purpose::Record, |tx| {
            let is_there = |sql: &str, values: &[&dyn rusqlite::ToSql]| tx.query_row(sql, values, |row| row.get(0));
            if is_there("SELECT EXISTS (SELECT 1 FROM passkeys WHERE credential = ?1)", &[&passkey.credential])? {
                return Ok(PasskeySaved::CredentialTaken);
            }
            // Whoever was shut out meanwhile has none when somebody lets them in again.
            if is_there("SELECT NOT EXISTS (SELECT 1 FROM users WHERE id = ?1 AND disabled = 0)", &[&user])? {
                return Ok(PasskeySaved::UserGone);
            }
            let named = "SELECT EXISTS (SELECT 1 FROM passkeys WHERE user = ?1 AND name = ?2)";
            if is_there(named, &[&user, &passkey.name])? {
                return Ok(PasskeySaved::NameTaken);
            }
            if is_there("SELECT count(*) >= ?2 FROM passkeys WHERE user = ?1", &[&user, &(most as i64)])? {
                return Ok(PasskeySaved::TooMany);
            }
            let (boot_us, wall_us) = column(passkey.created);
            tx.prepare_cached(
                "INSERT INTO passkeys (id, user, credential, public_key, sign_count, backup_eligible, rp_id, name,
                     created_boot_us, created_wall_us)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                passkey.id.to_string(),
                user,
                passkey.credential,
                passkey.public_key,
                passkey.sign_count,
                passkey.backup_eligible,
                passkey.rp_id,
                passkey.name,
                boot_us,
                wall_us,
            ])?;
            Ok(PasskeySaved::Saved)
        })?;
        if saved == PasskeySaved::Saved {
            self.listeners().tell(Topic::Access, passkey.id);
        }
        Ok(saved)
    }

    /// The passkeys of a user, oldest first.
    pub fn passkeys_of(&self, user: UserId) -> Result<Vec<PasskeyRecord>> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached(&select("passkeys.user = ?1 ORDER BY passkeys.id"))?;
            let mut rows = statement.query([user.to_string()])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(read(row)?.0);
            }
            Ok(found)
        })
    }

    /// The passkey that its authenticator calls so, with its user as it is now.
    pub fn passkey_of_credential(&self, credential: &[u8]) -> Result<Option<(PasskeyRecord, UserRecord)>> {
        self.read(|connection| {
            connection
                .prepare_cached(&select("passkeys.credential = ?1"))?
                .query_row([credential], |row| Ok(read(row)))
                .optional()?
                .transpose()
        })
    }

    /// The passkey of an id here, with its user as it is now.
    pub fn passkey(&self, id: PasskeyId) -> Result<Option<(PasskeyRecord, UserRecord)>> {
        self.read(|connection| {
            connection
                .prepare_cached(&select("passkeys.id = ?1"))?
                .query_row([id.to_string()], |row| Ok(read(row)))
                .optional()?
                .transpose()
        })
    }

    /// Notes that a passkey signed in, with the count its authenticator gave. Returns false where the count is not above
    /// the last one (unless neither counts), or the passkey is gone. May use the reserve, as signing in does.
    pub fn use_passkey(&self, id: PasskeyId, sign_count: u32, now: Time) -> Result<bool> {
        let (boot_us, wall_us) = column(now);
        self.write(Purpose::Repair, |tx| {
            Ok(tx.execute(
                "UPDATE passkeys SET sign_count = ?2, used_boot_us = ?3, used_wall_us = ?4
                 WHERE id = ?1 AND (sign_count < ?2 OR (sign_count = 0 AND ?2 = 0))",
                params![id.to_string(), sign_count, boot_us, wall_us],
            )? == 1)
        })
    }

    /// Removes a passkey of a user. Returns false where it has none of this id.
    pub fn remove_passkey(&self, user: UserId, id: PasskeyId) -> Result<bool> {
        let removed = self.write(Purpose::Repair, |tx| {
            Ok(tx.execute(
                "DELETE FROM passkeys WHERE id = ?1 AND user = ?2",
                [id.to_string(), user.to_string()],
            )? == 1)
        })?;
        if removed {
            self.listeners().tell(Topic::Access, id);
        }
        Ok(removed)
    }
}

fn select(condition: &str) -> String {
    format!(
        "SELECT {}, passkeys.id, passkeys.credential, passkeys.public_key, passkeys.sign_count,
             passkeys.backup_eligible, passkeys.rp_id, passkeys.name, passkeys.created_boot_us,
             passkeys.created_wall_us, passkeys.used_boot_us, passkeys.used_wall_us
         FROM passkeys JOIN users ON users.id = passkeys.user WHERE {condition}",
        users::columns()
    )
}

fn read(row: &Row<'_>) -> Result<(PasskeyRecord, UserRecord)> {
    let at = users::WIDTH;
    let user = users::read(row, 0)?;
    let id: String = row.get(at)?;
    let corrupt = |why: &str| StoreError::Corrupt { what: format!("passkey {id}"), why: why.to_owned() };
    let passkey = PasskeyRecord {
        id: id.parse().map_err(|_| corrupt("its id is none"))?,
        user: user.id,
        credential: row.get(at + 1)?,
        public_key: row.get(at + 2)?,
        sign_count: row.get(at + 3)?,
        backup_eligible: row.get(at + 4)?,
        rp_id: row.get(at + 5)?,
        name: row.get(at + 6)?,
        created: pair(row, at + 7)?.ok_or_else(|| corrupt("it has no time of creation"))?,
        used: pair(row, at + 9)?,
    };
    Ok((passkey, user))
}
