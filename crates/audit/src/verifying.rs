//! The public keys of a log, by which its checkpoints are known, and how one pair took the place of another.
//!
//! ```text
//! homeostat.audit/5d2c…+0f3a…+AT9…     the first pair: Ed25519,
//! homeostat.audit/5d2c…+77b0…+/01M…    ML-DSA-65
//!
//! homeostat.audit/5d2c…                a rotation: which log,
//! keys from 4096                       since which size,
//! homeostat.audit/5d2c…+91c4…+AcQ…     the new pair
//! homeostat.audit/5d2c…+20e7…+/01M…
//!
//! — homeostat.audit/5d2c… …            signed by both keys of the pair before
//! — homeostat.audit/5d2c… …
//! ```
//!
//! In: text, such as `audit.pub`. Out: [`VerifyingKeys`], which take a checkpoint as signed when the pair of its size
//! signed it: a pair that was rotated out signs nothing that is longer than the log was then. Who kept an older copy knows
//! the newer keys by it. The specification of notes assigns no type to ML-DSA-65, so that key has the type `0xff` followed by
//! `ML-DSA-65`, as it recommends for such.

use aws_lc_rs::signature::{ED25519, ML_DSA_65, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::error::NoteError;
use crate::merkle::Hash;
use crate::note::{Checkpoint, Note, SignedCheckpoint, is_name};

/// The type of Ed25519 signatures.
const ED25519_TYPE: &[u8] = b"\x01";
/// The type of ML-DSA-65 signatures.
const ML_DSA_TYPE: &[u8] = b"\xffML-DSA-65";
/// Lines of a rotation in the file, with the empty one before it.
const ROTATION_LINES: usize = 8;

/// Which signatures have to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Ed25519 and ML-DSA-65: checkpoints.
    Both,
    /// Ed25519: the head, which is signed with every commit and soon followed by a checkpoint.
    Ed25519,
}

/// Two public keys that sign together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) ed25519: Vec<u8>,
    pub(crate) ml_dsa: Vec<u8>,
}

impl Pair {
    /// Bytes of an Ed25519 key (RFC 8032).
    const ED25519_BYTES: usize = 32;
    /// Bytes of an ML-DSA-65 key (FIPS 204, table 2).
    const ML_DSA_BYTES: usize = 1952;

    pub(crate) fn ed25519_id(&self, origin: &str) -> u32 {
        key_id(origin, ED25519_TYPE, &self.ed25519)
    }

    pub(crate) fn ml_dsa_id(&self, origin: &str) -> u32 {
        key_id(origin, ML_DSA_TYPE, &self.ml_dsa)
    }

    /// A line `NAME+ID+BASE64` each (c2sp.org/signed-note's verifier keys).
    fn text(&self, origin: &str) -> String {
        let line = |kind: &[u8], id: u32, key: &[u8]| {
            format!("{origin}+{id:08x}+{}\n", STANDARD.encode([kind, key].concat()))
        };
        line(ED25519_TYPE, self.ed25519_id(origin), &self.ed25519)
            + &line(ML_DSA_TYPE, self.ml_dsa_id(origin), &self.ml_dsa)
    }

    /// The name of the log, and its pair. That names and ids are as they are written is for the caller to see.
    fn parse(first: &str, second: &str) -> Option<(String, Self)> {
        let key = |line: &str, kind: &[u8], length: usize| {
            let (name, rest) = line.split_once('+')?;
            let bytes = STANDARD.decode(rest.split_once('+')?.1).ok()?;
            let key = bytes.strip_prefix(kind)?;
            (is_name(name) && key.len() == length).then(|| (name.to_owned(), key.to_vec()))
        };
        let (origin, ed25519) = key(first, ED25519_TYPE, Self::ED25519_BYTES)?;
        let (_, ml_dsa) = key(second, ML_DSA_TYPE, Self::ML_DSA_BYTES)?;
        Some((origin, Self { ed25519, ml_dsa }))
    }

    /// That a note has the signatures of this pair, and that they fit.
    fn signed(&self, origin: &str, note: &Note<'_>, need: Need) -> Result<(), NoteError> {
        signed(note, origin, "Ed25519", self.ed25519_id(origin), |signature| {
            UnparsedPublicKey::new(&ED25519, &self.ed25519).verify(note.text.as_bytes(), signature).is_ok()
        })?;
        if need == Need::Both {
            signed(note, origin, "ML-DSA-65", self.ml_dsa_id(origin), |signature| {
                UnparsedPublicKey::new(&ML_DSA_65, &self.ml_dsa)
                    .verify(note.text.as_bytes(), signature)
                    .is_ok()
            })?;
        }
        Ok(())
    }
}

/// A pair that took the place of the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rotation {
    pair: Pair,
    /// How many records there were then.
    from: u64,
    /// What the pair before signed.
    note: String,
}

/// The public keys of a log, by which its checkpoints are known: the first pair, and every one that came after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKeys {
    origin: String,
    first: Pair,
    rotations: Vec<Rotation>,
}

/// What a pair signs to hand over to the next one.
pub(crate) fn rotation_text(origin: &str, from: u64, next: &Pair) -> String {
    format!("{origin}\nkeys from {from}\n{}", next.text(origin))
}

impl VerifyingKeys {
    /// Those of a log whose keys were never rotated.
    pub(crate) fn of(origin: String, first: Pair) -> Self {
        Self { origin, first, rotations: Vec::new() }
    }

    /// The name of the log, which is the name of all its keys.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How often the keys were rotated.
    pub fn rotations(&self) -> usize {
        self.rotations.len()
    }

    /// The pair that signs now.
    pub(crate) fn newest(&self) -> &Pair {
        self.rotations.last().map_or(&self.first, |rotation| &rotation.pair)
    }

    /// All keys in a form to be compared by people: SHA-256 over their text, hexadecimal. A rotation changes it.
    pub fn fingerprint(&self) -> String {
        Hash(Sha256::digest(self.text()).into()).to_string()
    }

    /// All keys as a file: the first pair, then every rotation.
    pub fn text(&self) -> String {
        let mut text = self.first.text(&self.origin);
        for rotation in &self.rotations {
            text.push('\n');
            text.push_str(&rotation.note);
        }
        text
    }

    /// Reads what [`VerifyingKeys::text`] writes.
    ///
    /// # Errors
    ///
    /// Where it is something else, or a rotation is not signed by the keys before it.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let form = || {
            NoteError::Form("keys are two lines NAME+ID+BASE64, Ed25519 and ML-DSA-65, and their rotations")
        };
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let (Some(first), Some(second)) = (lines.first(), lines.get(1)) else { return Err(form()) };
        let (origin, pair) = Pair::parse(first.trim_end(), second.trim_end()).ok_or_else(form)?;
        let mut keys = Self::of(origin, pair);
        for rotation in lines[2..].chunks(ROTATION_LINES) {
            keys = keys.rotated(&rotation[1..].concat())?;
        }
        // Names and ids have to be as they are written.
        if keys.text() != text { Err(form()) } else { Ok(keys) }
    }

    /// With the pair that the newest one hands over to by this note.
    pub(crate) fn rotated(&self, note: &str) -> Result<Self, NoteError> {
        let form = || NoteError::Form("a rotation has the lines of its log, its size and two keys");
        let parsed = Note::parse(note)?;
        let lines: Vec<&str> = parsed.text.lines().collect();
        let [_, from, first, second] = lines[..] else { return Err(form()) };
        let from = from.strip_prefix("keys from ").and_then(|from| from.parse().ok()).ok_or_else(form)?;
        let (_, pair) = Pair::parse(first, second).ok_or_else(form)?;
        if rotation_text(&self.origin, from, &pair) != parsed.text || from < self.since(self.rotations.len())
        {
            return Err(form());
        }
        self.newest().signed(&self.origin, &parsed, Need::Both)?;
        let mut keys = self.clone();
        keys.rotations.push(Rotation { pair, from, note: note.to_owned() });
        Ok(keys)
    }

    /// Whether these are those keys, or what they were rotated to since.
    pub(crate) fn continues(&self, older: &Self) -> bool {
        self.origin == older.origin
            && self.first == older.first
            && self.rotations.starts_with(&older.rotations)
    }

    /// From which size on a generation of keys signs.
    fn since(&self, generation: usize) -> u64 {
        generation.checked_sub(1).and_then(|at| self.rotations.get(at)).map_or(0, |rotation| rotation.from)
    }

    /// Reads a checkpoint and checks both its signatures. Signatures of others (witnesses) are let be.
    ///
    /// # Errors
    ///
    /// Where it is no checkpoint of this log, signed by both keys of its time.
    pub fn checkpoint(&self, note: &str) -> Result<SignedCheckpoint, NoteError> {
        let checkpoint = self.checked(note, Need::Both)?;
        Ok(SignedCheckpoint { checkpoint, note: note.to_owned() })
    }

    pub(crate) fn checked(&self, note: &str, need: Need) -> Result<Checkpoint, NoteError> {
        let note = Note::parse(note)?;
        let checkpoint = Checkpoint::parse(note.text)?;
        self.is_of_this(&checkpoint.origin)?;
        let mut refused = None;
        for generation in (0..=self.rotations.len()).rev() {
            let ended = self.rotations.get(generation).is_some_and(|next| checkpoint.size > next.from);
            if ended || checkpoint.size < self.since(generation) {
                continue;
            }
            let pair = generation.checked_sub(1).map_or(&self.first, |at| &self.rotations[at].pair);
            match pair.signed(&self.origin, &note, need) {
                Ok(()) => return Ok(checkpoint),
                // Where two pairs meet, either may have signed.
                Err(error @ NoteError::Unsigned { .. }) => refused = refused.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or(NoteError::Form("no keys are of its size")))
    }

    /// The text of a note that has to be signed by both keys that sign now.
    pub(crate) fn signed_now<'a>(&self, note: &'a str) -> Result<&'a str, NoteError> {
        let note = Note::parse(note)?;
        self.is_of_this(note.text.lines().next().unwrap_or_default())?;
        self.newest().signed(&self.origin, &note, Need::Both)?;
        Ok(note.text)
    }

    fn is_of_this(&self, origin: &str) -> Result<(), NoteError> {
        if origin == self.origin {
            return Ok(());
        }
        Err(NoteError::Origin { found: origin.to_owned(), expected: self.origin.clone() })
    }
}

/// That there is a signature by a key, and that each of them fits.
fn signed(
    note: &Note<'_>,
    origin: &str,
    algorithm: &'static str,
    key: u32,
    fits: impl Fn(&[u8]) -> bool,
) -> Result<(), NoteError> {
    let mut signatures = note.signatures.iter().filter(|one| one.key == key && one.name == origin).peekable();
    if signatures.peek().is_none() {
        return Err(NoteError::Unsigned { algorithm, id: key, origin: origin.to_owned() });
    }
    if signatures.all(|one| fits(&one.bytes)) { Ok(()) } else { Err(NoteError::Forged(algorithm)) }
}

/// The short id of a key: the first four bytes of SHA-256 over name, end of line, type and key.
fn key_id(name: &str, kind: &[u8], key: &[u8]) -> u32 {
    let digest =
        Sha256::new().chain_update(name).chain_update("\n").chain_update(kind).chain_update(key).finalize();
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SigningKeys;

    #[test]
    fn an_id_of_a_key_is_that_of_gos_checksum_database() {
        // The key that Go ships for sum.golang.org.
        let key = STANDARD.decode("Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8").unwrap();
        assert_eq!(key_id("sum.golang.org", ED25519_TYPE, &key[1..]), 0x033d_e0ae);
    }

    #[test]
    fn a_checkpoint_is_known_by_both_signatures_and_no_byte_of_it_may_change() {
        let keys = SigningKeys::generate().unwrap();
        let checkpoint = Checkpoint { origin: keys.public().origin().to_owned(), size: 3, root: Hash::ZERO };
        let note = keys.sign(&checkpoint).unwrap();
        assert_eq!(keys.public().checkpoint(&note).unwrap().checkpoint, checkpoint);
        for at in (0..note.len()).step_by(7).chain(0..300) {
            let mut other = note.clone().into_bytes();
            other[at] ^= 1;
            let Ok(other) = String::from_utf8(other) else { continue };
            assert!(keys.public().checkpoint(&other).is_err(), "{at}");
        }
        let quick = keys.sign_head(&checkpoint).unwrap();
        assert_eq!(keys.public().checked(&quick, Need::Ed25519), Ok(checkpoint));
        assert!(matches!(
            keys.public().checkpoint(&quick),
            Err(NoteError::Unsigned { algorithm: "ML-DSA-65", .. })
        ));
        let others = SigningKeys::generate().unwrap();
        assert!(matches!(others.public().checkpoint(&note), Err(NoteError::Origin { .. })));
    }

    #[test]
    fn public_keys_read_back_and_nothing_else_does() {
        let keys = SigningKeys::generate().unwrap();
        let text = keys.public().text();
        assert_eq!(VerifyingKeys::parse(&text).as_ref(), Ok(keys.public()));
        assert!(VerifyingKeys::parse(&text.replacen('+', "+0", 1)).is_err());
        assert!(VerifyingKeys::parse("").is_err());
    }

    #[test]
    fn a_pair_is_known_by_the_one_before_and_signs_nothing_of_another_time() {
        let old = SigningKeys::generate().unwrap();
        let new = old.successor(3).unwrap();
        let keys = new.public();
        assert_eq!(VerifyingKeys::parse(&keys.text()).as_ref(), Ok(keys));
        assert!(keys.continues(old.public()) && !old.public().continues(keys) && keys.rotations() == 1);
        let at = |size| Checkpoint { origin: keys.origin().to_owned(), size, root: Hash::ZERO };
        for (signer, size, fits) in [
            (&old, 2, true),
            (&old, 3, true),
            (&old, 4, false),
            (&new, 2, false),
            (&new, 3, true),
            (&new, 4, true),
        ] {
            let note = signer.sign(&at(size)).unwrap();
            assert_eq!(keys.checkpoint(&note).is_ok(), fits, "{size}");
        }
        // Nobody else hands over, and nothing of what was handed over may change.
        let stranger = SigningKeys::generate().unwrap().successor(3).unwrap();
        let rotation = |keys: &VerifyingKeys| keys.text().split_once("\n\n").unwrap().1.to_owned();
        assert!(old.public().rotated(&rotation(stranger.public())).is_err());
        let text = keys.text();
        for at in (0..text.len()).step_by(61) {
            let mut other = text.clone().into_bytes();
            other[at] ^= 1;
            let Ok(other) = String::from_utf8(other) else { continue };
            assert!(VerifyingKeys::parse(&other).is_err(), "{at}");
        }
        assert!(VerifyingKeys::parse(&text[..text.len() - 3000]).is_err());
    }
}
