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
//! In: text. Out: a [`Checkpoint`], once its signatures fit by [`crate::VerifyingKeys`].

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::NoteError;
use crate::merkle::Hash;

/// What a signature line begins with.
const DASH: &str = "\u{2014} ";
/// More signatures than this are not looked at.
const SIGNATURES_MAX: usize = 16;
/// A longer note is refused.
const NOTE_BYTES_MAX: usize = 128 << 10;

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

    pub(crate) fn parse(text: &str) -> Result<Self, NoteError> {
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
    pub(crate) name: &'a str,
    pub(crate) key: u32,
    pub(crate) bytes: Vec<u8>,
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

pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c == '+')
}

/// Writes a signature line.
pub(crate) fn signature_line(name: &str, key: u32, signature: &[u8]) -> String {
    format!("{DASH}{name} {}\n", STANDARD.encode([&key.to_be_bytes(), signature].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
