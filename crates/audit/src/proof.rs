//! Proofs that are checked without the log: a record is in it, or one checkpoint goes on where another ended.
//!
//! In: what [`crate::prove_record`] and [`crate::prove_growth`] found. Out: JSON that holds all that is needed, and what is
//! proven by it. The keys stand in it as well; whoever checks one had better have them from elsewhere.

use serde::{Deserialize, Serialize};

use crate::error::NoteError;
use crate::merkle::{self, Hash};
use crate::note::Checkpoint;
use crate::record::{LineError, Record};
use crate::verifying::VerifyingKeys;

/// A proof, as it is written and read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "proves", rename_all = "snake_case", deny_unknown_fields)]
pub enum Proof {
    /// A record is in the log of a checkpoint.
    Inclusion {
        /// The line of the record, without its end.
        record: String,
        /// The hashes from the record to the root (RFC 6962, 2.1.1).
        path: Vec<Hash>,
        /// The signed checkpoint.
        checkpoint: String,
        /// The public keys, as `audit.pub` has them.
        keys: String,
    },
    /// The log of one checkpoint is the beginning of the log of another.
    Consistency {
        /// The older signed checkpoint.
        old: String,
        /// The newer one.
        new: String,
        /// The hashes that show it (RFC 6962, 2.1.2).
        path: Vec<Hash>,
        /// The public keys, as `audit.pub` has them.
        keys: String,
    },
}

/// What a proof shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// What is so.
    pub fact: Fact,
    /// The keys it was checked with.
    pub keys: VerifyingKeys,
    /// Where those are from.
    pub trust: Trust,
}

/// What is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// This record is in the log of this checkpoint.
    Recorded(Box<Record>, Checkpoint),
    /// The log of the first is the beginning of that of the second.
    Grown(Checkpoint, Checkpoint),
}

/// Where the keys of a proof are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// From elsewhere.
    Given,
    /// From the proof itself: whoever made it may have made them, too.
    Itself,
}

/// Why a proof shows nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It is not the JSON of a proof.
    #[error("it is no proof: {0}")]
    Json(String),
    /// Its record is none.
    #[error("its record cannot be read")]
    Record(#[source] LineError),
    /// Its keys are none.
    #[error("its keys cannot be read")]
    Keys(#[source] NoteError),
    /// A checkpoint of it is not to be trusted.
    #[error("its checkpoint is not to be trusted")]
    Checkpoint(#[source] NoteError),
    /// The path does not lead to the root.
    #[error("its path does not lead to the root that was signed: the record or the path was changed")]
    Path,
}

impl Proof {
    pub(crate) fn inclusion(
        record: String,
        path: Vec<Hash>,
        checkpoint: String,
        keys: &VerifyingKeys,
    ) -> Self {
        Self::Inclusion { record, path, checkpoint, keys: keys.text() }
    }

    pub(crate) fn consistency(old: String, new: String, path: Vec<Hash>, keys: &VerifyingKeys) -> Self {
        Self::Consistency { old, new, path, keys: keys.text() }
    }

    /// As it is kept: JSON of several lines.
    pub fn to_json(&self) -> String {
        // No map of it has keys that are no text.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Reads what [`Proof::to_json`] writes.
    ///
    /// # Errors
    ///
    /// Where it is something else.
    pub fn from_json(text: &str) -> Result<Self, ProofError> {
        serde_json::from_str(text).map_err(|error| ProofError::Json(error.to_string()))
    }

    /// Checks it, by keys from elsewhere where there are such.
    ///
    /// # Errors
    ///
    /// Where it does not show what it should.
    pub fn check(&self, given: Option<&VerifyingKeys>) -> Result<Proven, ProofError> {
        let (Self::Inclusion { keys: own, .. } | Self::Consistency { keys: own, .. }) = self;
        let (keys, trust) = match given {
            Some(keys) => (keys.clone(), Trust::Given),
            None => (VerifyingKeys::parse(own).map_err(ProofError::Keys)?, Trust::Itself),
        };
        let checkpoint = |note: &str| {
            keys.checkpoint(note).map(|signed| signed.checkpoint).map_err(ProofError::Checkpoint)
        };
        let (holds, fact) = match self {
            Self::Inclusion { record: line, path, checkpoint: note, .. } => {
                let signed = checkpoint(note)?;
                let record = Record::parse(line.as_bytes()).map_err(ProofError::Record)?;
                let leaf = Hash::of_leaf(line.as_bytes());
                let holds = merkle::included(leaf, record.sequence, signed.size, path, signed.root);
                (holds, Fact::Recorded(Box::new(record), signed))
            }
            Self::Consistency { old, new, path, .. } => {
                let (old, new) = (checkpoint(old)?, checkpoint(new)?);
                let holds = merkle::consistent((old.size, old.root), (new.size, new.root), path);
                (holds, Fact::Grown(old, new))
            }
        };
        if holds { Ok(Proven { fact, keys, trust }) } else { Err(ProofError::Path) }
    }
}
