//! The keys a log signs with: made at its first use, kept under `audit/keys`.
//!
//! In: a directory. Out: [`SigningKeys`], which sign checkpoints and heads. `audit.key` is readable by its owner alone and
//! holds the name of the log and the seeds of both keys; `audit.pub` is for everybody, and is worth a copy elsewhere.
//! Deliberately absent: rotation. A log has one pair of keys for life.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use aws_lc_rs::rand;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, ML_DSA_65_SIGNING, PqdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{AuditError, Result};
use crate::layout::Layout;
use crate::merkle::Hash;
use crate::note::{Checkpoint, VerifyingKeys, signature_line};

/// Bytes of the seed of either key.
const SEED_BYTES: usize = 32;

/// Both private keys.
pub(crate) struct SigningKeys {
    ed25519: Ed25519KeyPair,
    ml_dsa: PqdsaKeyPair,
    /// What the key file holds of them.
    seeds: [[u8; SEED_BYTES]; 2],
    public: VerifyingKeys,
}

impl SigningKeys {
    /// New ones, for a log with a new name.
    pub(crate) fn generate() -> Result<Self> {
        let random = || -> Result<[u8; SEED_BYTES]> {
            let mut bytes = [0; SEED_BYTES];
            rand::fill(&mut bytes).map_err(|_| AuditError::Crypto("draw random bytes"))?;
            Ok(bytes)
        };
        let name = Hash(random()?).to_string();
        Self::from_seeds(format!("homeostat.audit/{}", &name[..32]), [random()?, random()?])
    }

    fn from_seeds(origin: String, seeds: [[u8; SEED_BYTES]; 2]) -> Result<Self> {
        let refused = AuditError::Crypto("make keys of their seeds");
        let ed25519 = Ed25519KeyPair::from_seed_unchecked(&seeds[0]).map_err(|_| refused.clone())?;
        let ml_dsa = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, &seeds[1]).map_err(|_| refused.clone())?;

        let public = VerifyingKeys {
            origin,
            ed25519: ed25519.public_key().as_ref().to_vec(),
            ml_dsa: ml_dsa.public_key().as_ref().to_vec(),
        };
        Ok(Self { ed25519, ml_dsa, seeds, public })
    }

    /// The public keys.
    pub(crate) fn public(&self) -> &VerifyingKeys {
        &self.public
    }

    /// A note signed with both keys.
    pub(crate) fn sign(&self, checkpoint: &Checkpoint) -> Result<String> {
        let mut note = self.sign_head(checkpoint)?;
        let mut signature = vec![0; ML_DSA_65_SIGNING.signature_len()];
        let text = checkpoint.text();
        self.ml_dsa.sign(text.as_bytes(), &mut signature).map_err(|_| AuditError::Crypto("sign"))?;
        note.push_str(&signature_line(&self.public.origin, self.public.ml_dsa_id(), &signature));
        Ok(note)
    }

    /// A note signed with Ed25519 alone.
    pub(crate) fn sign_head(&self, checkpoint: &Checkpoint) -> Result<String> {
        let text = checkpoint.text();
        let signature = self.ed25519.try_sign(text.as_bytes()).map_err(|_| AuditError::Crypto("sign"))?;
        let line = signature_line(&self.public.origin, self.public.ed25519_id(), signature.as_ref());
        Ok(format!("{text}\n{line}"))
    }

    /// Those of a directory; made where there are none.
    pub(crate) fn load_or_make(layout: &Layout) -> Result<Self> {
        let path = layout.private_key();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Self::make(layout),
            Err(error) => return Err(AuditError::file("read", &path)(error)),
        };
        let key = |why: &str| AuditError::Key { path: path.clone(), why: why.to_owned() };
        let mode = fs::metadata(&path).map_err(AuditError::file("read", &path))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(key("others than its owner may use it; `chmod 600` it, and think about who read it"));
        }
        let keys =
            Self::parse(&text).ok_or_else(|| key("it is not as it was written; put back a backup"))??;
        match load_public(layout) {
            Ok(public) if public == keys.public => Ok(keys),
            Ok(_) => Err(key("audit.pub beside it is of another key; put back a backup of both")),
            // It says nothing that the private key does not: a first start may have ended before it was written.
            Err(AuditError::Absent { .. }) => {
                write_file(&layout.public_keys(), keys.public.text().as_bytes(), 0o644)?;
                layout.sync(&layout.keys())?;
                Ok(keys)
            }
            Err(error) => Err(error),
        }
    }

    fn make(layout: &Layout) -> Result<Self> {
        let keys = Self::generate()?;
        write_file(&layout.private_key(), keys.text().as_bytes(), 0o600)?;
        write_file(&layout.public_keys(), keys.public.text().as_bytes(), 0o644)?;
        layout.sync(&layout.keys())?;
        Ok(keys)
    }

    fn text(&self) -> String {
        let [ed25519, ml_dsa] = self.seeds.map(|seed| STANDARD.encode(seed));
        format!("{}\n{ed25519}\n{ml_dsa}\n", self.public.origin)
    }

    /// `None` where the text is none of ours.
    fn parse(text: &str) -> Option<Result<Self>> {
        let mut lines = text.lines();
        let origin = lines.next()?.to_owned();
        let mut seed = || STANDARD.decode(lines.next()?).ok()?.try_into().ok();
        let seeds = [seed()?, seed()?];
        Some(Self::from_seeds(origin, seeds))
    }
}

/// The public keys of a directory.
pub(crate) fn load_public(layout: &Layout) -> Result<VerifyingKeys> {
    let path = layout.public_keys();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(AuditError::Absent { dir: layout.data_dir().to_owned() });
        }
        Err(error) => return Err(AuditError::file("read", &path)(error)),
    };
    VerifyingKeys::parse(&text).map_err(|error| AuditError::Key { path, why: error.to_string() })
}

/// Writes a file that is there whole or not at all.
fn write_file(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let new = path.with_extension("new");
    // What an earlier start left behind may have another mode.
    let _ = fs::remove_file(&new);
    let failed = || AuditError::file("write", path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new).map_err(failed())?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed())?;
    fs::rename(&new, path).map_err(failed())
}
