//! The keys a log signs with: made at its first use, kept under `audit/keys`, rotated when somebody asks.
//!
//! In: a directory. Out: [`SigningKeys`], which sign checkpoints and heads. `audit.key` is readable by its owner alone and
//! holds the name of the log and the seeds of both keys; `audit.pub` is for everybody, and is worth a copy elsewhere.
//!
//! A rotation counts when `audit.pub` has it. The new seeds are in `audit.key.next` before that and take the place of the
//! old ones after it, which are gone then: a start that finds both finishes what a crash left.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aws_lc_rs::rand;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, ML_DSA_65_SIGNING, PqdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{AuditError, Result};
use crate::layout::{Layout, write_file};
use crate::merkle::Hash;
use crate::note::{Checkpoint, signature_line};
use crate::verifying::{Pair, VerifyingKeys, rotation_text};

/// Bytes of the seed of either key.
const SEED_BYTES: usize = 32;

/// Seeds of the Ed25519 and of the ML-DSA-65 key.
type Seeds = [[u8; SEED_BYTES]; 2];

/// Both private keys.
struct PrivatePair {
    ed25519: Ed25519KeyPair,
    ml_dsa: PqdsaKeyPair,
    /// What the key file holds of them.
    seeds: Seeds,
    public: Pair,
}

/// What a log signs with, and what that is known by.
pub(crate) struct SigningKeys {
    private: PrivatePair,
    public: VerifyingKeys,
}

fn random() -> Result<[u8; SEED_BYTES]> {
    let mut bytes = [0; SEED_BYTES];
    rand::fill(&mut bytes).map_err(|_| AuditError::Crypto("draw random bytes"))?;
    Ok(bytes)
}

impl PrivatePair {
    fn generate() -> Result<Self> {
        Self::of([random()?, random()?])
    }

    fn of(seeds: Seeds) -> Result<Self> {
        let refused = AuditError::Crypto("make keys of their seeds");
        let ed25519 = Ed25519KeyPair::from_seed_unchecked(&seeds[0]).map_err(|_| refused.clone())?;
        let ml_dsa = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, &seeds[1]).map_err(|_| refused.clone())?;
        let public = Pair {
            ed25519: ed25519.public_key().as_ref().to_vec(),
            ml_dsa: ml_dsa.public_key().as_ref().to_vec(),
        };
        Ok(Self { ed25519, ml_dsa, seeds, public })
    }

    /// The line of an Ed25519 signature.
    fn sign_ed25519(&self, origin: &str, text: &str) -> Result<String> {
        let signature = self.ed25519.try_sign(text.as_bytes()).map_err(|_| AuditError::Crypto("sign"))?;
        Ok(signature_line(origin, self.public.ed25519_id(origin), signature.as_ref()))
    }

    /// The lines of both signatures.
    fn sign(&self, origin: &str, text: &str) -> Result<String> {
        let mut signature = vec![0; ML_DSA_65_SIGNING.signature_len()];
        self.ml_dsa.sign(text.as_bytes(), &mut signature).map_err(|_| AuditError::Crypto("sign"))?;
        let line = signature_line(origin, self.public.ml_dsa_id(origin), &signature);
        Ok(self.sign_ed25519(origin, text)? + &line)
    }

    fn file(&self, origin: &str) -> String {
        let [ed25519, ml_dsa] = self.seeds.map(|seed| STANDARD.encode(seed));
        format!("{origin}\n{ed25519}\n{ml_dsa}\n")
    }

    /// The name of the log beside them; `None` where the text is none of ours.
    fn parse(text: &str) -> Option<Result<(String, Self)>> {
        let mut lines = text.lines();
        let origin = lines.next()?.to_owned();
        let mut seed = || STANDARD.decode(lines.next()?).ok()?.try_into().ok();
        let seeds = [seed()?, seed()?];
        Some(Self::of(seeds).map(|pair| (origin, pair)))
    }
}

impl SigningKeys {
    /// New ones, for a log with a new name.
    pub(crate) fn generate() -> Result<Self> {
        let name = Hash(random()?).to_string();
        let private = PrivatePair::generate()?;
        let public = VerifyingKeys::of(format!("homeostat.audit/{}", &name[..32]), private.public.clone());
        Ok(Self { private, public })
    }

    /// New ones for the same log, which these hand over to when it has `size` records.
    pub(crate) fn successor(&self, size: u64) -> Result<Self> {
        let private = PrivatePair::generate()?;
        let text = rotation_text(self.public.origin(), size, &private.public);
        let note = self.sign_text(&text)?;
        let public = self.public.rotated(&note).map_err(|_| AuditError::Crypto("sign"))?;
        Ok(Self { private, public })
    }

    /// The public keys.
    pub(crate) fn public(&self) -> &VerifyingKeys {
        &self.public
    }

    /// A note signed with both keys.
    pub(crate) fn sign(&self, checkpoint: &Checkpoint) -> Result<String> {
        self.sign_text(&checkpoint.text())
    }

    /// A text that is no checkpoint, as a note signed with both keys.
    pub(crate) fn sign_text(&self, text: &str) -> Result<String> {
        Ok(format!("{text}\n{}", self.private.sign(self.public.origin(), text)?))
    }

    /// A note signed with these keys as well.
    pub(crate) fn countersign(&self, text: &str, note: &str) -> Result<String> {
        Ok(format!("{note}{}", self.private.sign(self.public.origin(), text)?))
    }

    /// A note signed with Ed25519 alone.
    pub(crate) fn sign_head(&self, checkpoint: &Checkpoint) -> Result<String> {
        let text = checkpoint.text();
        Ok(format!("{text}\n{}", self.private.sign_ed25519(self.public.origin(), &text)?))
    }

    /// Those of a directory; made where there are none.
    pub(crate) fn load_or_make(layout: &Layout) -> Result<Self> {
        let path = layout.private_key();
        let Some((origin, private)) = read_private(&path)? else { return Self::make(layout) };
        let key = |why: &str| AuditError::Key { path: path.clone(), why: why.to_owned() };
        let public = match load_public(layout) {
            Ok(public) => public,
            // It says nothing that the private key does not: a first start may have ended before it was written.
            Err(AuditError::Absent { .. }) => {
                let public = VerifyingKeys::of(origin.clone(), private.public.clone());
                write_file(&layout.public_keys(), public.text().as_bytes(), 0o644)?;
                layout.sync(&layout.keys())?;
                public
            }
            Err(error) => return Err(error),
        };
        let fits = |private: &PrivatePair| *public.newest() == private.public;
        if origin != public.origin() {
            return Err(key("audit.pub beside it is of another log; put back a backup of both"));
        }
        let next = read_private(&layout.next_private_key())?;
        match next {
            // The rotation counts, and a crash left the rest of it.
            Some((_, next)) if fits(&next) => {
                fs::rename(layout.next_private_key(), &path).map_err(AuditError::file("write", &path))?;
                layout.sync(&layout.keys())?;
                Ok(Self { private: next, public })
            }
            // A rotation that came to nothing.
            Some(_) if fits(&private) => {
                let next = layout.next_private_key();
                fs::remove_file(&next).map_err(AuditError::file("remove", &next))?;
                Ok(Self { private, public })
            }
            None if fits(&private) => Ok(Self { private, public }),
            _ => Err(key("audit.pub beside it is of another key; put back a backup of both")),
        }
    }

    fn make(layout: &Layout) -> Result<Self> {
        let keys = Self::generate()?;
        let text = keys.private.file(keys.public.origin());
        write_file(&layout.private_key(), text.as_bytes(), 0o600)?;
        write_file(&layout.public_keys(), keys.public.text().as_bytes(), 0o644)?;
        layout.sync(&layout.keys())?;
        Ok(keys)
    }

    /// Writes the private keys beside those that sign still.
    pub(crate) fn write_next(&self, layout: &Layout) -> Result<()> {
        let text = self.private.file(self.public.origin());
        write_file(&layout.next_private_key(), text.as_bytes(), 0o600)?;
        layout.sync(&layout.keys())
    }

    /// Has them take the place of those that signed: from `audit.pub` on it counts.
    pub(crate) fn take_over(&self, layout: &Layout) -> Result<()> {
        write_file(&layout.public_keys(), self.public.text().as_bytes(), 0o644)?;
        layout.sync(&layout.keys())?;
        let path = layout.private_key();
        fs::rename(layout.next_private_key(), &path).map_err(AuditError::file("write", &path))?;
        layout.sync(&layout.keys())
    }
}

/// The private keys of a file with the name of their log; `None` where there is no such file.
fn read_private(path: &Path) -> Result<Option<(String, PrivatePair)>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(AuditError::file("read", path)(error)),
    };
    let key = |why: &str| AuditError::Key { path: path.to_owned(), why: why.to_owned() };
    let mode = fs::metadata(path).map_err(AuditError::file("read", path))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(key("others than its owner may use it; `chmod 600` it, and think about who read it"));
    }
    let parsed =
        PrivatePair::parse(&text).ok_or_else(|| key("it is not as it was written; put back a backup"))?;
    parsed.map(Some)
}

/// The public keys of a directory.
pub(crate) fn load_public(layout: &Layout) -> Result<VerifyingKeys> {
    layout.check_format()?;
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
