//! Users: the tables `users` and `recovery_codes`.

use domain::{Role, Time, UserId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Hash, PasswordHash, SealedSecret, tokens};
use crate::LIST_LIMIT_MAX;
use crate::changes::Topic;
use crate::error::{Result, StoreError};
use crate::plans::{column, pair};
use crate::store::{Purpose, Store, from_json, to_json};

/// Somebody who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// Its id.
    pub id: UserId,
    /// What it signs in with; unique, and never changed.
    pub name: String,
    /// What people call it.
    pub display_name: String,
    /// What it may do.
    pub roles: Vec<Role>,
    /// `None`: it cannot sign in by password.
    pub password_hash: Option<PasswordHash>,
    /// The TOTP secret, once it was confirmed.
    pub totp: Option<SealedSecret>,
    /// A TOTP secret that was shown and not confirmed yet.
    pub totp_pending: Option<SealedSecret>,
    /// The last time step whose code was used up.
    pub totp_step: Option<i64>,
    /// Who it is at an OpenID provider.
    pub oidc: Option<OidcSubject>,
    /// Whether it is shut out, with all its sessions and tokens.
    pub disabled: bool,
    /// When it was made.
    pub created: Time,
    /// When it last signed in.
    pub signed_in: Option<Time>,
}

/// A person as an OpenID provider names it: the pair is unique and for good, a name is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcSubject {
    /// The provider.
    pub issuer: String,
    /// Its claim `sub`.
    pub subject: String,
}

/// Whether a user could be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserSaved {
    /// It is.
    Saved,
    /// Another has the name.
    NameTaken,
}

/// What is to change about a user; `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserChange {
    /// What people call it.
    pub display_name: Option<String>,
    /// What it may do, from the next request on.
    pub roles: Option<Vec<Role>>,
    /// Whether it is shut out, which ends sessions.
    pub disabled: Option<bool>,
    /// Another password, which ends sessions.
    pub password_hash: Option<PasswordHash>,
    /// What becomes of its other ways in.
    pub factors: Factors,
    /// Which sessions end, where something is changed that ends any.
    pub sessions: EndedSessions,
}

/// What becomes of a user's second factor and passkeys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Factors {
    /// They stay as they are.
    #[default]
    Kept,
    /// TOTP, its recovery codes and every passkey go, which ends sessions.
    Forgotten,
}

/// Which sessions of a user end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EndedSessions {
    /// All.
    #[default]
    All,
    /// None.
    None,
}

/// Whether a user could be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserChanged {
    /// It is so now.
    Changed(Box<UserRecord>),
    /// There is none of this name.
    Unknown,
    /// It is not as it was read.
    Meanwhile,
}

const COLUMNS: &str = "users.id, users.name, users.display_name, users.roles, users.password_hash,
    users.totp_sealed, users.totp_pending, users.totp_step, users.oidc_issuer, users.oidc_subject, users.disabled,
    users.created_boot_us, users.created_wall_us, users.signed_in_boot_us, users.signed_in_wall_us";

/// How many columns [`UserRecord`] is read from.
pub(super) const WIDTH: usize = 15;

/// The columns of a user, for statements that join it.
pub(super) fn columns() -> &'static str {
    COLUMNS
}

impl Store {
    /// Keeps a new user.
    pub fn add_user(&self, user: &UserRecord) -> Result<UserSaved> {
        let saved = self.write(Purpose::Record, |tx| {
            let (boot_us, wall_us) = column(user.created);
            let added = tx
                .prepare_cached(
                    "INSERT INTO users (id, name, display_name, roles, password_hash, oidc_issuer, oidc_subject,
                         disabled, created_boot_us, created_wall_us)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (name) DO NOTHING",
                )?
                .execute(params![
                    user.id.to_string(),
                    user.name,
                    user.display_name,
                    to_json(&user.roles)?,
                    user.password_hash,
                    user.oidc.as_ref().map(|oidc| &oidc.issuer),
                    user.oidc.as_ref().map(|oidc| &oidc.subject),
                    user.disabled,
                    boot_us,
                    wall_us,
                ])?;
            Ok(if added == 1 { UserSaved::Saved } else { UserSaved::NameTaken })
        })?;
        if saved == UserSaved::Saved {
            self.listeners().tell(Topic::Access, &user.name);
        }
        Ok(saved)
    }

    /// All users by name, [`LIST_LIMIT_MAX`] at most.
    pub fn users(&self) -> Result<Vec<UserRecord>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM users ORDER BY name LIMIT {LIST_LIMIT_MAX}"
            ))?;
            let mut rows = statement.query([])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(read(row, 0)?);
            }
            Ok(found)
        })
    }

    /// The user of a name.
    pub fn user(&self, name: &str) -> Result<Option<UserRecord>> {
        self.read(|connection| one(connection, "name = ?1", &[&name]))
    }

    /// The user that an OpenID provider calls so.
    pub fn user_of_oidc(&self, who: &OidcSubject) -> Result<Option<UserRecord>> {
        self.read(|connection| {
            one(connection, "oidc_issuer = ?1 AND oidc_subject = ?2", &[&who.issuer, &who.subject])
        })
    }

    /// Changes a user in all fields or in none, and only where what people manage of it is still as in `read`.
    pub fn update_user(&self, read: &UserRecord, change: &UserChange) -> Result<UserChanged> {
        let UserChange { display_name, roles, disabled, password_hash, factors, sessions } = change;
        let is_proof = disabled.is_some() || password_hash.is_some() || *factors == Factors::Forgotten;
        let roles = roles.as_ref().map(to_json).transpose()?;
        let changed = self.write(Purpose::Record, |tx| {
            let Some(now) = one(tx, "name = ?1", &[&read.name])? else { return Ok(UserChanged::Unknown) };
            if managed(&now) != managed(read) {
                return Ok(UserChanged::Meanwhile);
            }
            if is_proof && *sessions == EndedSessions::All {
                end_sessions(tx, &read.name)?;
            }
            if *factors == Factors::Forgotten {
                forget_totp(tx, &read.name)?;
                forget_passkeys(tx, &read.name)?;
            }
            tx.execute(
                "UPDATE users SET display_name = coalesce(?2, display_name), roles = coalesce(?3, roles),
                     disabled = coalesce(?4, disabled), password_hash = coalesce(?5, password_hash)
                 WHERE name = ?1",
                params![read.name, display_name, roles, disabled, password_hash],
            )?;
            Ok(one(tx, "name = ?1", &[&read.name])?
                .map_or(UserChanged::Unknown, |user| UserChanged::Changed(Box::new(user))))
        })?;
        if let UserChanged::Changed(user) = &changed {
            self.listeners().tell(Topic::Access, &user.name);
        }
        Ok(changed)
    }

    /// Shuts a user out for good: its sessions end, its tokens are revoked with those they made, its password, second factor
    /// and passkeys go. The record stays, because what it did is told by its name. Returns the names of the tokens that ended,
    /// in order; `None` where there is nobody of this name.
    pub fn retire_user(&self, name: &str, now: Time) -> Result<Option<Vec<String>>> {
        let ended = self.write(Purpose::Record, |tx| {
            end_sessions(tx, name)?;
            forget_totp(tx, name)?;
            forget_passkeys(tx, name)?;
            let ended = tokens::revoke(tx, "owner = (SELECT id FROM users WHERE name = ?1)", &name, now)?;
            let retired = "UPDATE users SET disabled = 1, password_hash = NULL WHERE name = ?1";
            Ok((tx.execute(retired, [name])? == 1).then_some(ended))
        })?;
        if ended.is_some() {
            self.listeners().tell(Topic::Access, name);
        }
        Ok(ended)
    }

    /// Gives a user other roles. Returns whether there is one of this name.
    pub fn set_user_roles(&self, name: &str, roles: &[Role]) -> Result<bool> {
        let roles = to_json(&roles)?;
        self.change_user(name, |tx| {
            Ok(tx.execute("UPDATE users SET roles = ?2 WHERE name = ?1", params![name, roles])? == 1)
        })
    }

    /// Shuts a user out, which ends its sessions, or lets it in again. Returns whether there is one of this name.
    pub fn set_user_disabled(&self, name: &str, disabled: bool) -> Result<bool> {
        self.change_user(name, |tx| {
            end_sessions(tx, name)?;
            Ok(tx.execute("UPDATE users SET disabled = ?2 WHERE name = ?1", params![name, disabled])? == 1)
        })
    }

    /// Keeps a TOTP secret that was shown, until it is confirmed. Returns whether there is a user of this name.
    pub fn set_totp_pending(&self, name: &str, secret: &SealedSecret) -> Result<bool> {
        self.change_user(name, |tx| {
            Ok(tx.execute("UPDATE users SET totp_pending = ?2 WHERE name = ?1", params![name, secret])? == 1)
        })
    }

    /// Puts the shown secret in force, with the step of the code that confirmed it and new recovery codes. Returns
    /// whether it was still the one shown last.
    pub fn confirm_totp(
        &self,
        name: &str,
        secret: &SealedSecret,
        step: i64,
        recovery: &[Hash],
    ) -> Result<bool> {
        self.change_user(name, |tx| {
            let confirmed = tx.execute(
                "UPDATE users SET totp_sealed = totp_pending, totp_pending = NULL, totp_step = ?3
                 WHERE name = ?1 AND totp_pending = ?2",
                params![name, secret, step],
            )? == 1;
            if confirmed {
                forget_recovery(tx, name)?;
                let mut insert = tx.prepare_cached(
                    "INSERT INTO recovery_codes (user, code_hash) SELECT id, ?2 FROM users WHERE name = ?1",
                )?;
                for hash in recovery {
                    insert.execute(params![name, hash])?;
                }
            }
            Ok(confirmed)
        })
    }

    /// Takes TOTP and its recovery codes from a user. Returns whether there is one of this name.
    pub fn remove_totp(&self, name: &str) -> Result<bool> {
        self.change_user(name, |tx| forget_totp(tx, name))
    }

    /// Uses up the code of a time step. Returns false where it, or a later one, was used already.
    pub fn use_totp_step(&self, user: UserId, step: i64) -> Result<bool> {
        self.write(Purpose::Repair, |tx| {
            Ok(tx.execute(
                "UPDATE users SET totp_step = ?2 WHERE id = ?1 AND (totp_step IS NULL OR totp_step < ?2)",
                params![user.to_string(), step],
            )? == 1)
        })
    }

    /// Uses up a recovery code. Returns false where it is none, or none any more.
    pub fn use_recovery_code(&self, user: UserId, code: &Hash) -> Result<bool> {
        self.write(Purpose::Repair, |tx| {
            Ok(tx.execute(
                "DELETE FROM recovery_codes WHERE user = ?1 AND code_hash = ?2",
                params![user.to_string(), code],
            )? == 1)
        })
    }

    /// How many recovery codes a user has left.
    pub fn recovery_codes_left(&self, user: UserId) -> Result<usize> {
        self.read(|connection| {
            Ok(connection.query_row(
                "SELECT count(*) FROM recovery_codes WHERE user = ?1",
                [user.to_string()],
                |row| row.get(0),
            )?)
        })
    }

    fn change_user(
        &self,
        name: &str,
        change: impl Fn(&rusqlite::Transaction<'_>) -> Result<bool>,
    ) -> Result<bool> {
        let changed = self.write(Purpose::Record, change)?;
        if changed {
            self.listeners().tell(Topic::Access, name);
        }
        Ok(changed)
    }
}

fn one(
    connection: &Connection,
    condition: &str,
    values: &[&dyn rusqlite::ToSql],
) -> Result<Option<UserRecord>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE {condition}"))?
        .query_row(values, |row| Ok(read(row, 0)))
        .optional()?
        .transpose()
}

/// A user from the columns that begin at `at`.
pub(super) fn read(row: &Row<'_>, at: usize) -> Result<UserRecord> {
    let name: String = row.get(at + 1)?;
    let what = || format!("user {name}");
    let corrupt = |why: String| StoreError::Corrupt { what: what(), why };
    let id: String = row.get(at)?;
    let roles: String = row.get(at + 3)?;
    let (issuer, subject): (Option<String>, Option<String>) = (row.get(at + 8)?, row.get(at + 9)?);
    Ok(UserRecord {
        id: id.parse().map_err(|error: domain::id::IdError| corrupt(error.to_string()))?,
        display_name: row.get(at + 2)?,
        roles: from_json(what, &roles)?,
        password_hash: row.get(at + 4)?,
        totp: row.get(at + 5)?,
        totp_pending: row.get(at + 6)?,
        totp_step: row.get(at + 7)?,
        oidc: issuer.zip(subject).map(|(issuer, subject)| OidcSubject { issuer, subject }),
        disabled: row.get(at + 10)?,
        created: pair(row, at + 11)?.ok_or_else(|| corrupt("it has no time of creation".to_owned()))?,
        signed_in: pair(row, at + 13)?,
        name,
    })
}

/// What people manage of a user; when it signed in, and by which code, is not theirs.
fn managed(user: &UserRecord) -> impl PartialEq + use<'_> {
    (user.id, &user.display_name, &user.roles, user.disabled, &user.password_hash, user.totp.is_some())
}

fn end_sessions(connection: &Connection, name: &str) -> Result<()> {
    connection.execute("DELETE FROM sessions WHERE user = (SELECT id FROM users WHERE name = ?1)", [name])?;
    Ok(())
}

/// Takes TOTP and its recovery codes from a user. Returns whether there is one of this name.
fn forget_totp(connection: &Connection, name: &str) -> Result<bool> {
    forget_recovery(connection, name)?;
    Ok(connection.execute(
        "UPDATE users SET totp_sealed = NULL, totp_pending = NULL, totp_step = NULL WHERE name = ?1",
        [name],
    )? == 1)
}

fn forget_recovery(connection: &Connection, name: &str) -> Result<()> {
    connection
        .execute("DELETE FROM recovery_codes WHERE user = (SELECT id FROM users WHERE name = ?1)", [name])?;
    Ok(())
}

fn forget_passkeys(connection: &Connection, name: &str) -> Result<()> {
    connection.execute("DELETE FROM passkeys WHERE user = (SELECT id FROM users WHERE name = ?1)", [name])?;
    Ok(())
}
