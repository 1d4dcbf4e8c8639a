//! Secrets and randomness.
//!
//! In: what a person or a program sent, or the machine's randomness. Out: a [`Secret`], which no `Debug` shows, and its
//! hash, which is what is kept.

use std::fmt;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use store::Hash;

use super::error::AccessError;

/// Text that must not be seen: a password, a token, a cookie's value. Shown only by [`Secret::expose`].
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept of it. For secrets of at least 80 random bits: a password needs [`super::password`].
    pub(crate) fn hash(&self) -> Hash {
        hash(&self.0)
    }

    /// 256 random bits as 43 visible characters.
    pub(super) fn random() -> Result<Self, AccessError> {
        Ok(Self(URL_SAFE_NO_PAD.encode(random::<32>()?)))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(hidden)")
    }
}

/// SHA-256 of a text.
pub(crate) fn hash(text: &str) -> Hash {
    Hash(Sha256::digest(text.as_bytes()).into())
}

/// Whether two hashes are equal, in a time that says nothing of them.
pub(crate) fn equal(one: &Hash, other: &Hash) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(&one.0, &other.0).is_ok()
}

/// Random bytes of the machine.
pub(super) fn random<const N: usize>() -> Result<[u8; N], AccessError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| AccessError::Randomness)?;
    Ok(bytes)
}
