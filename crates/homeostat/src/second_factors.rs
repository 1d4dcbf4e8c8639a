//! Second factors that cannot be checked, because the key of the data directory is not what they were sealed with.
//!
//! In: a data directory. Out: whose they are, and what to do. What is sealed stays as it is: with its key it opens again.

use std::path::Path;

use gateway::access::{KeyFileError, SealingKey};
use store::StoreError;

/// Users whose TOTP secret, which is in force, does not open with the key that lies in `dir`, or with none where none does.
///
/// # Errors
/// Where the database or the key file cannot be read. A file that holds no key opens nothing.
pub(crate) fn unreadable(dir: &Path) -> Result<Vec<String>, UnreadError> {
    let key = match SealingKey::read(&dir.join(SealingKey::FILE)) {
        Err(KeyFileError::NoKey { .. }) => None,
        read => read?,
    };
    let mut sealed = store::backup::second_factors(&dir.join("homeostat.db"))?;
    sealed.retain(|(user, secret)| !key.as_ref().is_some_and(|key| key.opens(secret, user)));
    Ok(sealed.into_iter().map(|(user, _)| user).collect())
}

/// Why it is not known whose second factors can be checked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnreadError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
}

/// What people are told; `None` where there is nothing to tell.
pub(crate) fn told(users: &[String], dir: &Path) -> Option<String> {
    if users.is_empty() {
        return None;
    }
    Some(format!(
        "the codes of authenticators cannot be checked for {}: {} is not the key that their secrets were sealed with. Each signs \
         in by a recovery code and enrols TOTP anew, or `homeostat users remove-totp NAME` takes it from them; the key of the \
         server that they enrolled at, put there before a start, brings all of them back",
        users.join(", "),
        dir.join(SealingKey::FILE).display()
    ))
}
