//! Who may sign in: users, tokens and sessions.
//!
//! In: records whose secrets were hashed or sealed by the caller. Out: the same. Nothing here hashes, compares a password
//! or judges; what must not be done twice (a code of one time step, a recovery code, a count of a passkey) is a compare-and-set.
//!
//! A session and its user are read in one statement, and so are a token and its owner: whoever was disabled a moment ago
//! is seen to be.

mod passkeys;
mod sessions;
mod tokens;
mod users;

use std::fmt;

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

pub use passkeys::{PasskeyRecord, PasskeySaved};
pub use sessions::{SessionHolder, SessionRecord, SignedInBy};
pub use tokens::{NewToken, TokenOwner, TokenRecord};
pub use users::{EndedSessions, Factors, OidcSubject, UserChange, UserChanged, UserRecord, UserSaved};

/// SHA-256 of a secret that is random enough to need no more: a token, a cookie's value, a recovery code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash(pub [u8; 32]);

/// A password's hash with its salt and parameters, as the PHC string format writes it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

/// A secret that has to be read again, encrypted under a key that is not in the database.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret(pub Vec<u8>);

macro_rules! hidden {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(concat!(stringify!($name), "(hidden)"))
            }
        }
    };
}

hidden!(Hash);
hidden!(PasswordHash);
hidden!(SealedSecret);

impl ToSql for Hash {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(&self.0)))
    }
}

impl FromSql for Hash {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 32]>::column_result(value).map(Self)
    }
}

impl ToSql for PasswordHash {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for PasswordHash {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        String::column_result(value).map(Self)
    }
}

impl ToSql for SealedSecret {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for SealedSecret {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Vec::column_result(value).map(Self)
    }
}
