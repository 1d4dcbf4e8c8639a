//! Sessions of browsers: the table `sessions`. Of the cookie's value there is its hash alone.

use domain::{PasskeyId, SessionId, Time, UserId};
use rusqlite::{OptionalExtension, Row, params};

use super::{Hash, UserRecord, users};
use crate::LIST_LIMIT_MAX;
use crate::changes::Topic;
use crate::error::{Result, StoreError};
use crate::plans::{column, pair};
use crate::store::{Purpose, Store};

/// A browser that is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its id.
    pub id: SessionId,
    /// Who signed in.
    pub holder: SessionHolder,
    /// By what.
    pub signed_in_by: SignedInBy,
    /// What the browser calls itself.
    pub user_agent: String,
    /// When it signed in.
    pub created: Time,
    /// When it last asked, to a minute.
    pub used: Time,
    /// When it ends at the latest.
    pub expires: Time,
}

/// Who signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "few are held at a time, and most are users")]
pub enum SessionHolder {
    /// Whoever holds the token in the data directory that has this hash.
    LocalToken(Hash),
    /// A user.
    User(UserRecord),
}

/// By what somebody signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedInBy {
    /// The token in the data directory.
    LocalToken,
    /// A password alone.
    Password,
    /// A password and a code of one time step.
    PasswordAndTotp,
    /// A password and a recovery code.
    PasswordAndRecoveryCode,
    /// An OpenID provider.
    Oidc,
    /// A passkey, which its authenticator gave to who unlocked it.
    Passkey,
}

impl SignedInBy {
    const ALL: [Self; 6] = [
        Self::LocalToken,
        Self::Password,
        Self::PasswordAndTotp,
        Self::PasswordAndRecoveryCode,
        Self::Oidc,
        Self::Passkey,
    ];

    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::LocalToken => "local_token",
            Self::Password => "password",
            Self::PasswordAndTotp => "password_and_totp",
            Self::PasswordAndRecoveryCode => "password_and_recovery_code",
            Self::Oidc => "oidc",
            Self::Passkey => "passkey",
        }
    }
}

impl Store {
    /// Keeps a session under the hash of its cookie's value, notes the sign-in with its user, and forgets sessions that
    /// ended. Returns false where the user was disabled, or got another password, since it was read. May use the reserve:
    /// who cannot sign in cannot approve what repairs a full disk.
    pub fn add_session(&self, session: &SessionRecord, value: &Hash) -> Result<bool> {
        self.keep_session(session, value, None)
    }

    /// As [`add_session`](Self::add_session), for who signed in by this passkey; false also where it is gone meanwhile.
    pub fn add_session_by_passkey(
        &self,
        session: &SessionRecord,
        value: &Hash,
        passkey: PasskeyId,
    ) -> Result<bool> {
        self.keep_session(session, value, Some(passkey))
    }

    fn keep_session(
        &self,
        session: &SessionRecord,
        value: &Hash,
        passkey: Option<PasskeyId>,
    ) -> Result<bool> {
        let (user, password, local) = match &session.holder {
            SessionHolder::LocalToken(token) => (None, None, Some(*token)),
            SessionHolder::User(user) => (Some(user.id.to_string()), user.password_hash.as_ref(), None),
        };
        let added = self.write(Purpose::Repair, |tx| {
            let (created, used, expires) =
                (column(session.created), column(session.used), column(session.expires));
            tx.execute("DELETE FROM sessions WHERE expires_boot_us <= ?1", [created.0])?;
            let added =
                tx.prepare_cached(
                    "INSERT INTO sessions (id, value_hash, user, local_token, signed_in_by, user_agent,
                         created_boot_us, created_wall_us, used_boot_us, used_wall_us, expires_boot_us,
                         expires_wall_us)
                     SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12
                     WHERE ?3 IS NULL OR EXISTS (
                         SELECT 1 FROM users WHERE id = ?3 AND disabled = 0 AND password_hash IS ?13
                             AND (?14 IS NULL OR EXISTS (
                                 SELECT 1 FROM passkeys WHERE passkeys.id = ?14 AND passkeys.user = ?3)))",
                )?
                .execute(params![
                    session.id.to_string(),
                    value,
                    user,
                    local,
                    session.signed_in_by.name(),
                    session.user_agent,
                    created.0,
                    created.1,
                    used.0,
                    used.1,
                    expires.0,
                    expires.1,
                    password,
                    passkey.map(|id| id.to_string()),
                ])? == 1;
            if added {
                tx.execute(
                    "UPDATE users SET signed_in_boot_us = ?2, signed_in_wall_us = ?3 WHERE id = ?1",
                    params![user, created.0, created.1],
                )?;
            }
            Ok(added)
        })?;
        if added {
            self.listeners().tell(Topic::Access, session.id);
        }
        Ok(added)
    }

    /// The session whose cookie's value has this hash, ended or not.
    pub fn session_of_value(&self, value: &Hash) -> Result<Option<SessionRecord>> {
        self.read(|connection| {
            connection
                .prepare_cached(&select("sessions.value_hash = ?1"))?
                .query_row([value], |row| Ok(read(row)))
                .optional()?
                .transpose()
        })
    }

    /// The sessions of a user, or of all where `None`, newest first, [`LIST_LIMIT_MAX`] at most; ended ones too.
    pub fn sessions(&self, user: Option<UserId>) -> Result<Vec<SessionRecord>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&select(&format!(
                "?1 IS NULL OR sessions.user = ?1 ORDER BY sessions.id DESC LIMIT {LIST_LIMIT_MAX}"
            )))?;
            let mut rows = statement.query([user.map(|user| user.to_string())])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(read(row)?);
            }
            Ok(found)
        })
    }

    /// Notes that a session was used.
    pub fn touch_session(&self, id: SessionId, now: Time) -> Result<()> {
        let (boot_us, wall_us) = column(now);
        self.write(Purpose::Record, |tx| {
            tx.prepare_cached("UPDATE sessions SET used_boot_us = ?2, used_wall_us = ?3 WHERE id = ?1")?
                .execute(params![id.to_string(), boot_us, wall_us])?;
            Ok(())
        })
    }

    /// Ends a session. Returns false where there is none. May use the reserve: what was given up must not live on.
    pub fn end_session(&self, id: SessionId) -> Result<bool> {
        let ended = self.write(Purpose::Repair, |tx| {
            Ok(tx.execute("DELETE FROM sessions WHERE id = ?1", [id.to_string()])? == 1)
        })?;
        if ended {
            self.listeners().tell(Topic::Access, id);
        }
        Ok(ended)
    }

    /// Ends all sessions of a user. Returns how many there were.
    pub fn end_sessions_of(&self, user: UserId) -> Result<usize> {
        let ended = self.write(Purpose::Repair, |tx| {
            Ok(tx.execute("DELETE FROM sessions WHERE user = ?1", [user.to_string()])?)
        })?;
        self.listeners().tell(Topic::Access, user);
        Ok(ended)
    }

    /// Ends all sessions of whoever holds the token in the data directory. Returns how many there were.
    pub fn end_sessions_of_local_token(&self) -> Result<usize> {
        let ended =
            self.write(Purpose::Repair, |tx| Ok(tx.execute("DELETE FROM sessions WHERE user IS NULL", [])?))?;
        self.listeners().tell(Topic::Access, "");
        Ok(ended)
    }
}

fn select(condition: &str) -> String {
    format!(
        "SELECT {}, sessions.id, sessions.local_token, sessions.signed_in_by, sessions.user_agent,
             sessions.created_boot_us, sessions.created_wall_us, sessions.used_boot_us, sessions.used_wall_us,
             sessions.expires_boot_us, sessions.expires_wall_us
         FROM sessions LEFT JOIN users ON users.id = sessions.user WHERE {condition}",
        users::columns()
    )
}

fn read(row: &Row<'_>) -> Result<SessionRecord> {
    let at = users::WIDTH;
    let id: String = row.get(at)?;
    let corrupt = |why: &str| StoreError::Corrupt { what: format!("session {id}"), why: why.to_owned() };
    let time = |index| -> Result<Time> { pair(row, index)?.ok_or_else(|| corrupt("a time is missing")) };
    let by: String = row.get(at + 2)?;
    Ok(SessionRecord {
        id: id.parse().map_err(|_| corrupt("its id is none"))?,
        holder: match row.get(at + 1)? {
            Some(token) => SessionHolder::LocalToken(token),
            None => SessionHolder::User(users::read(row, 0)?),
        },
        signed_in_by: SignedInBy::ALL
            .into_iter()
            .find(|one| one.name() == by)
            .ok_or_else(|| corrupt("nobody signs in that way"))?,
        user_agent: row.get(at + 3)?,
        created: time(at + 4)?,
        used: time(at + 6)?,
        expires: time(at + 8)?,
    })
}
