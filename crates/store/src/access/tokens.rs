//! API tokens: the table `tokens`. Of the secret there is its hash alone.

use domain::access::{LOCAL_TOKEN, TOKEN_NAME};
use domain::{Permissions, Role, Time, TokenId, UserId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Hash, UserRecord, users};
use crate::LIST_LIMIT_MAX;
use crate::changes::Topic;
use crate::error::{Result, StoreError};
use crate::plans::{column, pair};
use crate::store::{Purpose, Store, from_json, to_json};

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Its id.
    pub id: TokenId,
    /// What it is recorded by; unique for good, so that the audit trail stays clear.
    pub name: String,
    /// Whose it is.
    pub owner: TokenOwner,
    /// The name of the token that made it; `None` where none did.
    pub made_by: Option<String>,
    /// The roles it was given; it has them as long as its owner does.
    pub roles: Vec<Role>,
    /// What of these it may; `None` for all of it.
    pub scope: Option<Permissions>,
    /// When it was made.
    pub created: Time,
    /// When it ends; `None` for never.
    pub expires: Option<Time>,
    /// When it was revoked.
    pub revoked: Option<Time>,
    /// When it was last used, to a minute.
    pub used: Option<Time>,
}

/// Whose a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "few are held at a time, and most are users")]
pub enum TokenOwner {
    /// Of whoever holds the token in the data directory.
    LocalToken,
    /// Of a user.
    User(UserRecord),
}

/// A token to be kept.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its id.
    pub id: TokenId,
    /// Its name.
    pub name: String,
    /// Its secret's hash.
    pub secret: Hash,
    /// Its owner; `None` for whoever holds the token in the data directory.
    pub owner: Option<UserId>,
    /// The token that makes it, with which it ends; `None` where none does.
    pub made_by: Option<TokenId>,
    /// Its roles.
    pub roles: Vec<Role>,
    /// What of these it may.
    pub scope: Option<Permissions>,
    /// Now.
    pub created: Time,
    /// When it ends.
    pub expires: Option<Time>,
}

impl Store {
    /// Keeps a token. Returns false where the name is or was another's.
    pub fn add_token(&self, token: &NewToken) -> Result<bool> {
        let added = self.write(Purpose::Record, |tx| {
            let (boot_us, wall_us) = column(token.created);
            let (expires_boot_us, expires_wall_us) = token.expires.map(column).unzip();
            Ok(tx
                .prepare_cached(
                    "INSERT INTO tokens (id, name, secret_hash, owner, roles, scope, created_boot_us,
                         created_wall_us, expires_boot_us, expires_wall_us, made_by)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (name) DO NOTHING",
                )?
                .execute(params![
                    token.id.to_string(),
                    token.name,
                    token.secret,
                    token.owner.map(|owner| owner.to_string()),
                    to_json(&token.roles)?,
                    token.scope.map(written),
                    boot_us,
                    wall_us,
                    expires_boot_us,
                    expires_wall_us,
                    token.made_by.map(|maker| maker.to_string()),
                ])?
                == 1)
        })?;
        if added {
            self.listeners().tell(Topic::Access, token.id);
        }
        Ok(added)
    }

    /// All tokens, newest first, [`LIST_LIMIT_MAX`] at most.
    pub fn tokens(&self) -> Result<Vec<TokenRecord>> {
        self.read(|connection| {
            let mut statement = connection
                .prepare_cached(&select(&format!("true ORDER BY tokens.id DESC LIMIT {LIST_LIMIT_MAX}")))?;
            let mut rows = statement.query([])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(read(row)?);
            }
            Ok(found)
        })
    }

    /// One token.
    pub fn token(&self, id: TokenId) -> Result<Option<TokenRecord>> {
        self.read(|connection| one(connection, "tokens.id = ?1", &id.to_string()))
    }

    /// The token of a name.
    pub fn token_of_name(&self, name: &str) -> Result<Option<TokenRecord>> {
        self.read(|connection| one(connection, "tokens.name = ?1", &name))
    }

    /// The token whose secret has this hash.
    pub fn token_of_secret(&self, secret: &Hash) -> Result<Option<TokenRecord>> {
        self.read(|connection| one(connection, "tokens.secret_hash = ?1", secret))
    }

    /// The person behind the name of an identity: a token's is its owner, and of one that was made with the token of the data
    /// directory, who holds that. Every other name is who it says.
    pub fn person_behind(&self, name: &str) -> Result<String> {
        let owner = match name.strip_prefix(TOKEN_NAME) {
            Some(token) => self.token_of_name(token)?.map(|token| token.owner),
            None => None,
        };
        Ok(match owner {
            Some(TokenOwner::User(user)) => user.name,
            Some(TokenOwner::LocalToken) => LOCAL_TOKEN.to_owned(),
            None => name.to_owned(),
        })
    }

    /// The tokens by which a token was made, the nearest first: its maker, the maker of that, and so on. None where no
    /// token made it.
    pub fn makers_of_token(&self, id: TokenId) -> Result<Vec<TokenRecord>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "WITH RECURSIVE makers (id, distance) AS (
                     SELECT made_by, 1 FROM tokens WHERE id = ?1 AND made_by IS NOT NULL
                     UNION ALL
                     SELECT tokens.made_by, makers.distance + 1 FROM tokens JOIN makers ON makers.id = tokens.id
                     WHERE tokens.made_by IS NOT NULL
                 ) {}",
                select_from(" JOIN makers ON makers.id = tokens.id", "true ORDER BY makers.distance")
            ))?;
            let mut rows = statement.query([id.to_string()])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(read(row)?);
            }
            Ok(found)
        })
    }

    /// Ends a token, and those it made, and those they made. Returns the names of these others, in order; `None` where there
    /// is no such token, or it was revoked before.
    pub fn revoke_token(&self, id: TokenId, now: Time) -> Result<Option<Vec<String>>> {
        let ended = self.write(Purpose::Record, |tx| {
            let name = tx
                .query_row(
                    "SELECT name FROM tokens WHERE id = ?1 AND revoked_wall_us IS NULL",
                    [id.to_string()],
                    |row| row.get::<_, String>(0),
                )
                .optional()?;
            let Some(name) = name else { return Ok(None) };
            let mut ended = revoke(tx, "id = ?1", &id.to_string(), now)?;
            ended.retain(|other| *other != name);
            Ok(Some(ended))
        })?;
        if ended.is_some() {
            self.listeners().tell(Topic::Access, id);
        }
        Ok(ended)
    }

    /// Notes that a token was used.
    pub fn touch_token(&self, id: TokenId, now: Time) -> Result<()> {
        let (boot_us, wall_us) = column(now);
        self.write(Purpose::Record, |tx| {
            tx.prepare_cached("UPDATE tokens SET used_boot_us = ?2, used_wall_us = ?3 WHERE id = ?1")?
                .execute(params![id.to_string(), boot_us, wall_us])?;
            Ok(())
        })
    }
}

/// Revokes the tokens that a condition names, with all that they made. Returns the names of those that were not yet, in
/// order.
pub(super) fn revoke(
    connection: &Connection,
    condition: &str,
    value: &dyn rusqlite::ToSql,
    now: Time,
) -> Result<Vec<String>> {
    let (boot_us, wall_us) = column(now);
    // Also below one that was revoked before: what was made in the same moment is found, too.
    let mut statement = connection.prepare_cached(&format!(
        "WITH RECURSIVE ended (id) AS (
             SELECT id FROM tokens WHERE {condition}
             UNION
             SELECT tokens.id FROM tokens JOIN ended ON tokens.made_by = ended.id
         )
         UPDATE tokens SET revoked_boot_us = ?2, revoked_wall_us = ?3
         WHERE id IN (SELECT id FROM ended) AND revoked_wall_us IS NULL RETURNING name"
    ))?;
    let mut names = statement
        .query_map(params![value, boot_us, wall_us], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<String>>>()?;
    names.sort_unstable();
    Ok(names)
}

fn select(condition: &str) -> String {
    select_from("", condition)
}

fn select_from(join: &str, condition: &str) -> String {
    format!(
        "SELECT {}, tokens.id, tokens.name, tokens.roles, tokens.scope, tokens.created_boot_us,
             tokens.created_wall_us, tokens.expires_boot_us, tokens.expires_wall_us, tokens.revoked_boot_us,
             tokens.revoked_wall_us, tokens.used_boot_us, tokens.used_wall_us, tokens.owner,
             (SELECT maker.name FROM tokens AS maker WHERE maker.id = tokens.made_by)
         FROM tokens{join} LEFT JOIN users ON users.id = tokens.owner WHERE {condition}",
        users::columns()
    )
}

fn one(connection: &Connection, condition: &str, value: &dyn rusqlite::ToSql) -> Result<Option<TokenRecord>> {
    connection
        .prepare_cached(&select(condition))?
        .query_row([value], |row| Ok(read(row)))
        .optional()?
        .transpose()
}

fn read(row: &Row<'_>) -> Result<TokenRecord> {
    let at = users::WIDTH;
    let id: String = row.get(at)?;
    let what = || format!("token {id}");
    let corrupt = |why: String| StoreError::Corrupt { what: what(), why };
    let roles: String = row.get(at + 2)?;
    let scope: Option<String> = row.get(at + 3)?;
    let owner: Option<String> = row.get(at + 12)?;
    Ok(TokenRecord {
        id: id.parse().map_err(|error: domain::id::IdError| corrupt(error.to_string()))?,
        name: row.get(at + 1)?,
        owner: match owner {
            None => TokenOwner::LocalToken,
            Some(_) => TokenOwner::User(users::read(row, 0)?),
        },
        made_by: row.get(at + 13)?,
        roles: from_json(what, &roles)?,
        scope: scope.map(|text| scope_of(&text).map_err(corrupt)).transpose()?,
        created: pair(row, at + 4)?.ok_or_else(|| corrupt("it has no time of creation".to_owned()))?,
        expires: pair(row, at + 6)?,
        revoked: pair(row, at + 8)?,
        used: pair(row, at + 10)?,
    })
}

/// A scope as the column keeps it: names with a space between.
fn written(scope: Permissions) -> String {
    scope.iter().map(|permission| permission.name()).collect::<Vec<_>>().join(" ")
}

fn scope_of(text: &str) -> Result<Permissions, String> {
    text.split_whitespace()
        .map(|name| name.parse().map_err(|error: domain::access::UnknownName| error.to_string()))
        .collect()
}
