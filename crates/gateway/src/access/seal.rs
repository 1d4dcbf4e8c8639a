//! Seals what has to be read again: TOTP secrets.
//!
//! In: 32 bytes that lie in a file beside the database, readable by its owner alone. Out: AES-256-GCM with a random nonce
//! ahead, bound to the user, so that a row copied to another user opens for nobody. A backup of the database alone, or a
//! support bundle, gives no secret away; who reads the whole data directory has both.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use durable::Access;
use store::SealedSecret;

use super::error::AccessError;
use super::secret::random;

/// 96 bits, as GCM has them.
const NONCE: usize = 12;

/// The key under which secrets are sealed.
pub struct SealingKey(RandomizedNonceKey);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It could not be read or made.
    #[error("cannot read or make the key file {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// It is somebody's, and no key.
    #[error(
        "{} holds no key of 32 bytes: restore it, or remove it and have TOTP enrolled anew by those who had it", path.display()
    )]
    NoKey {
        /// Which.
        path: PathBuf,
    },
    /// The machine gave no random bytes.
    #[error("the machine gives no random numbers; no key was made")]
    Randomness,
}

impl SealingKey {
    /// The name of its file in a data directory.
    pub const FILE: &str = "access.key";

    /// How long that file is.
    pub const BYTES: usize = 32;

    /// A key of these bytes, which must be random.
    ///
    /// # Panics
    ///
    /// Never: a key of AES-256 has any 32 bytes.
    pub fn new(bytes: &[u8; Self::BYTES]) -> Self {
        Self(RandomizedNonceKey::new(&AES_256_GCM, bytes).expect("32 bytes are a key of AES-256"))
    }

    /// The key in a file, made where there is none, readable by its owner alone. One that is there and is no key is
    /// refused, never replaced: secrets are sealed with what it was.
    pub fn of_file(path: &Path) -> Result<Self, KeyFileError> {
        let failed = |source| KeyFileError::File { path: path.to_owned(), source };
        if let Some(key) = Self::read(path)? {
            return Ok(key);
        }
        let bytes = random::<{ Self::BYTES }>().map_err(|_| KeyFileError::Randomness)?;
        // On the disk before anything is sealed with it.
        durable::replace(path, &bytes, Access::Owner).map_err(failed)?;
        Ok(Self::new(&bytes))
    }

    /// The key in a file; `None` where there is no file.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, or is no key.
    pub fn read(path: &Path) -> Result<Option<Self>, KeyFileError> {
        match fs::read(path) {
            Ok(bytes) => {
                let bytes = bytes.try_into().map_err(|_| KeyFileError::NoKey { path: path.to_owned() })?;
                Ok(Some(Self::new(&bytes)))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(KeyFileError::File { path: path.to_owned(), source }),
        }
    }

    /// Whether it is what the TOTP secret of a user was sealed with.
    pub fn opens(&self, sealed: &SealedSecret, user: &str) -> bool {
        self.open(sealed, user).is_ok()
    }

    pub(super) fn seal(&self, secret: &[u8], user: &str) -> Result<SealedSecret, AccessError> {
        let mut sealed = secret.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(user.as_bytes()), &mut sealed)
            .map_err(|_| AccessError::Randomness)?;
        Ok(SealedSecret([nonce.as_ref().as_slice(), &sealed].concat()))
    }

    pub(super) fn open(&self, sealed: &SealedSecret, user: &str) -> Result<Vec<u8>, AccessError> {
        let unreadable = || AccessError::Unsealable { user: user.to_owned() };
        let (nonce, text) = sealed.0.split_at_checked(NONCE).ok_or_else(unreadable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| unreadable())?;
        let mut text = text.to_vec();
        let opened =
            self.0.open_in_place(nonce, Aad::from(user.as_bytes()), &mut text).map_err(|_| unreadable())?;
        Ok(opened.to_vec())
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SealingKey(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_one_that_is_none_is_not_replaced() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.key");
        let sealed = SealingKey::of_file(&path).unwrap().seal(b"secret", "ada").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(SealingKey::of_file(&path).unwrap().open(&sealed, "ada").unwrap(), b"secret");
        fs::write(&path, "short").unwrap();
        assert!(matches!(SealingKey::of_file(&path), Err(KeyFileError::NoKey { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"short");
        let absent = dir.path().join("absent");
        assert!(SealingKey::read(&absent).unwrap().is_none() && !absent.exists(), "reading makes none");
    }

    #[test]
    fn what_is_sealed_opens_for_its_user_under_its_key_alone() {
        let key = SealingKey::new(&[7; 32]);
        let sealed = key.seal(b"secret", "ada").unwrap();
        assert_eq!(key.open(&sealed, "ada").unwrap(), b"secret");
        assert_ne!(key.seal(b"secret", "ada").unwrap(), sealed, "another nonce each time");
        assert!(key.open(&sealed, "eve").is_err());
        assert!(SealingKey::new(&[8; 32]).open(&sealed, "ada").is_err());
        assert!(key.open(&SealedSecret(vec![1, 2]), "ada").is_err());
        let mut torn = sealed.clone();
        torn.0[NONCE] ^= 1;
        assert!(key.open(&torn, "ada").is_err());
    }
}
