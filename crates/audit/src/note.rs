//! Signed notes and checkpoints, as c2sp.org/signed-note and c2sp.org/tlog-checkpoint describe them.
//!
//! ```text
//! homeostat.audit/5d2c…         origin: names the log, made at random with its keys
//! 4096                          size: how many records
//! CsUYapGGPo4d…                 root of their Merkle tree, base64
//!
//! — homeostat.audit/5d2c… Az3g…   Ed25519 over the three lines above
//! — homeostat.audit/5d2c… 9f0c…   ML-DSA-65 over the same
//! ```
//!
//! In: text. Out: a [`Checkpoint`] once its signatures fit, by [`VerifyingKeys`]. The specification assigns no type to
//! ML-DSA-65, so that signature has the type `0xff` followed by `ML-DSA-65`, as it recommends for such.

use aws_lc_rs::signature::{ED25519, ML_DSA_65, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::error::NoteError;
use crate::merkle::Hash;

/// What a signature line begins with.
const DASH: &str = "\u{2014} ";
/// More signatures than this are not looked at.
const SIGNATURES_MAX: usize = 16;
/// A longer note is refused.
const NOTE_BYTES_MAX: usize = 128 << 10;
/// The type of Ed25519 signatures.
const ED25519_TYPE: &[u8] = b"\x01";
/// The type of ML-DSA-65 signatures.
const ML_DSA_TYPE: &[u8] = b"\xffML-DSA-65";

/// What a log says of itself at one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many records it had.
    pub size: u64,
    /// The root of their Merkle tree.
    pub root: Hash,
}

impl Checkpoint {
    /// What is signed.
    pub(crate) fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0))
    }

    fn parse(text: &str) -> Result<Self, NoteError> {
        let form = NoteError::Form;
        let mut lines = text.lines();
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(form("a checkpoint has the lines origin, size and root"));
        };
        let number: u64 = size.parse().map_err(|_| form("its size is no number"))?;
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok());
        let root = Hash(root.ok_or(form("its root is no SHA-256 in base64"))?);
        let checkpoint = Self { origin: origin.to_owned(), size: number, root };
        if checkpoint.text() != text {
            Err(form("it is not written as checkpoints are"))
        } else {
            Ok(checkpoint)
        }
    }
}

/// A checkpoint with the note that shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The whole note, with its signatures and its last end of line.
    pub note: String,
}

/// A note taken apart; nothing of it is to be believed yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Note<'a> {
    /// With its last end of line.
    pub(crate) text: &'a str,
    pub(crate) signatures: Vec<Signature<'a>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Signature<'a> {
    name: &'a str,
    key: u32,
    bytes: Vec<u8>,
}

impl<'a> Note<'a> {
    pub(crate) fn parse(note: &'a str) -> Result<Self, NoteError> {
        let form = NoteError::Form;
        if note.len() > NOTE_BYTES_MAX {
            return Err(form("it is too long"));
        }
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(form("it has control characters"));
        }
        let split = note.rfind("\n\n").ok_or(form("it has no blank line before its signatures"))?;
        let (text, lines) = (&note[..=split], &note[split + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(form("it does not end with an end of line"))?;
        let signatures = lines.split('\n').take(SIGNATURES_MAX + 1).map(Signature::parse);
        let signatures: Vec<Signature<'a>> = signatures.collect::<Result<_, _>>()?;
        if signatures.len() > SIGNATURES_MAX {
            return Err(form("it has more than 16 signatures"));
        }
        Ok(Self { text, signatures })
    }
}

impl<'a> Signature<'a> {
    fn parse(line: &'a str) -> Result<Self, NoteError> {
        let form = NoteError::Form("a signature is a line of a dash, the name of the key and base64");
        let (name, bytes) =
            line.strip_prefix(DASH).and_then(|rest| rest.split_once(' ')).ok_or(form.clone())?;
        let bytes = STANDARD.decode(bytes).map_err(|_| form.clone())?;
        let (key, bytes) = bytes.split_first_chunk().ok_or(form.clone())?;
        if !is_name(name) || bytes.is_empty() {
            return Err(form);
        }
        Ok(Self { name, key: u32::from_be_bytes(*key), bytes: bytes.to_vec() })
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c == '+')
}

/// Writes a signature line.
pub(crate) fn signature_line(name: &str, key: u32, signature: &[u8]) -> String {
    format!("{DASH}{name} {}\n", STANDARD.encode([&key.to_be_bytes(), signature].concat()))
}

/// Which signatures have to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Ed25519 and ML-DSA-65: checkpoints.
    Both,
    /// Ed25519: the head, which is signed with every commit and soon followed by a checkpoint.
    Ed25519,
}

/// The public keys of a log, by which its checkpoints are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKeys {
    pub(crate) origin: String,
    pub(crate) ed25519: Vec<u8>,
    pub(crate) ml_dsa: Vec<u8>,
}

impl VerifyingKeys {
    /// Bytes of an Ed25519 key (RFC 8032).
    const ED25519_BYTES: usize = 32;
    /// Bytes of an ML-DSA-65 key (FIPS 204, table 2).
    const ML_DSA_BYTES: usize = 1952;

    /// The name of the log, which is the name of both keys.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    pub(crate) fn ed25519_id(&self) -> u32 {
        key_id(&self.origin, ED25519_TYPE, &self.ed25519)
    }

    pub(crate) fn ml_dsa_id(&self) -> u32 {
        key_id(&self.origin, ML_DSA_TYPE, &self.ml_dsa)
    }

    /// Both keys in a form to be compared by people: SHA-256 over their text, hexadecimal.
    pub fn fingerprint(&self) -> String {
        Hash(Sha256::digest(self.text()).into()).to_string()
    }

    /// Both keys as a file: a line `NAME+ID+BASE64` each (c2sp.org/signed-note's verifier keys).
    pub fn text(&self) -> String {
        let line = |kind: &[u8], id: u32, key: &[u8]| {
            format!("{}+{id:08x}+{}\n", self.origin, STANDARD.encode([kind, key].concat()))
        };
        line(ED25519_TYPE, self.ed25519_id(), &self.ed25519)
            + &line(ML_DSA_TYPE, self.ml_dsa_id(), &self.ml_dsa)
    }

    /// Reads what [`VerifyingKeys::text`] writes.
    ///
    /// # Errors
    ///
    /// Where it is something else.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let form = NoteError::Form("keys are two lines NAME+ID+BASE64, Ed25519 and ML-DSA-65");
        let key = |line: Option<&str>, kind: &[u8], length: usize| {
            let (name, rest) = line?.split_once('+')?;
            let bytes = STANDARD.decode(rest.split_once('+')?.1).ok()?;
            let key = bytes.strip_prefix(kind)?;
            (is_name(name) && key.len() == length).then(|| (name.to_owned(), key.to_vec()))
        };
        let mut lines = text.lines();
        let ed25519 = key(lines.next(), ED25519_TYPE, Self::ED25519_BYTES);
        let ml_dsa = key(lines.next(), ML_DSA_TYPE, Self::ML_DSA_BYTES);
        let (Some((origin, ed25519)), Some((_, ml_dsa))) = (ed25519, ml_dsa) else { return Err(form) };
        let keys = Self { origin, ed25519, ml_dsa };
        // Names and ids have to be as they are written.
        if keys.text() != text { Err(form) } else { Ok(keys) }
    }

    /// Reads a checkpoint and checks both its signatures. Signatures of others (witnesses) are let be.
    ///
    /// # Errors
    ///
    /// Where it is no checkpoint of this log, signed by both keys.
    pub fn checkpoint(&self, note: &str) -> Result<SignedCheckpoint, NoteError> {
        let checkpoint = self.checked(note, Need::Both)?;
        Ok(SignedCheckpoint { checkpoint, note: note.to_owned() })
    }

    pub(crate) fn checked(&self, note: &str, need: Need) -> Result<Checkpoint, NoteError> {
        let note = Note::parse(note)?;
        let checkpoint = Checkpoint::parse(note.text)?;
        if checkpoint.origin != self.origin {
            return Err(NoteError::Origin { found: checkpoint.origin, expected: self.origin.clone() });
        }
        self.signed(&note, "Ed25519", self.ed25519_id(), |signature| {
            UnparsedPublicKey::new(&ED25519, &self.ed25519).verify(note.text.as_bytes(), signature).is_ok()
        })?;
        if need == Need::Both {
            self.signed(&note, "ML-DSA-65", self.ml_dsa_id(), |signature| {
                UnparsedPublicKey::new(&ML_DSA_65, &self.ml_dsa)
                    .verify(note.text.as_bytes(), signature)
                    .is_ok()
            })?;
        }
        Ok(checkpoint)
    }

    /// That there is a signature by a key, and that each of them fits.
    fn signed(
        &self,
        note: &Note<'_>,
        algorithm: &'static str,
        key: u32,
        fits: impl Fn(&[u8]) -> bool,
    ) -> Result<(), NoteError> {
        let mut signatures =
            note.signatures.iter().filter(|one| one.key == key && one.name == self.origin).peekable();
        if signatures.peek().is_none() {
            return Err(NoteError::Unsigned { algorithm, id: key, origin: self.origin.clone() });
        }
        if signatures.all(|one| fits(&one.bytes)) { Ok(()) } else { Err(NoteError::Forged(algorithm)) }
    }
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
    fn the_example_of_the_specification_is_read() {
        let note = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
                    — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
        let parsed = Note::parse(note).unwrap();
        assert_eq!(parsed.signatures[0].key, 0x033d_e0ae);
        assert_eq!(parsed.signatures[0].bytes.len(), 64);
        let checkpoint = Checkpoint::parse(parsed.text).unwrap();
        assert_eq!(
            (checkpoint.origin.as_str(), checkpoint.size),
            ("example.com/behind-the-sofa", 20_852_163)
        );
    }

    #[test]
    fn an_id_of_a_key_is_that_of_gos_checksum_database() {
        // The key that Go ships for sum.golang.org.
        let key = STANDARD.decode("Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8").unwrap();
        assert_eq!(key_id("sum.golang.org", ED25519_TYPE, &key[1..]), 0x033d_e0ae);
    }

    #[test]
    fn a_checkpoint_is_known_by_both_signatures_and_no_byte_of_it_may_change() {
        let keys = SigningKeys::generate().unwrap();
        let checkpoint = Checkpoint { origin: keys.public().origin.clone(), size: 3, root: Hash::ZERO };
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
}
