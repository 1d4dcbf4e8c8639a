//! The audit trail: who did what, when, why and with what outcome. Only ever appended to, and evident where anybody
//! changed it.
//!
//! In: [`NewRecord`]s of whatever changed something or was refused ([`Audit::append`]), from any thread. Out: records,
//! newest first ([`Audit::query`]), and what shows that they are those that were written: [`verify`], [`prove_record`],
//! [`prove_growth`], checkpoints.
//!
//! ```text
//! append ─► line of JSON with the hash of the line before ─► fdatasync ─► head (size, root; Ed25519) ─► answered
//!                      │                                                        10,000 records, or 10 min later:
//!                      └─► leaf of the Merkle tree of RFC 6962 ─► checkpoint (size, root; Ed25519 and ML-DSA-65)
//! ```
//!
//! - **Acknowledged means counted by the signed head**, on the disk. What a crash leaves beyond it was promised to nobody
//!   and is cut off by the next start, which records that it did.
//! - **Nothing is repaired.** Whatever is acknowledged and not as it was written ends a start with file, line and record.
//! - **One hash for each record**, of its leaf: SHA-256 over the byte 0 and the line. It is what the next record carries
//!   and what the tree is made of.
//! - **Who has the private keys can sign another log**: root on the machine, say. What helps is a checkpoint that lies
//!   elsewhere (`homeostat audit checkpoint`): no other log gives its root. See [`verify`].
//! - **Records are kept until somebody asks otherwise** ([`Audit::remove_before`]); they take about 350 bytes each, and 24 in
//!   memory. Where the log begins then is signed by both keys.
//! - **Keys hand over to the next ones** ([`Audit::rotate_keys`]): who knows the old public keys knows the new ones by them.
//!
//! Deliberately absent: a say in what is recorded. Whoever changes something appends, before it answers.

pub mod backup;
mod checkpoints;
mod commit;
mod error;
mod export;
mod head;
mod index;
mod keys;
mod layout;
pub mod merkle;
mod note;
mod opening;
mod proof;
#[cfg(any(test, feature = "fuzz"))]
pub mod properties;
mod prove;
mod record;
mod retained;
mod scan;
mod shared;
mod trail;
mod verify;
mod verifying;

pub use error::{AuditError, NoteError, Problem, Result};
pub use export::{Format, export, is_closed};
pub use index::Filter;
pub use merkle::Hash;
pub use note::{Checkpoint, SignedCheckpoint};
pub use proof::{Fact, Proof, ProofError, Proven, Trust};
pub use prove::{newest_checkpoint, prove_growth, prove_record, public_keys};
pub use record::{Action, LineError, NameError, NewRecord, Outcome, Record, Via};
pub use shared::Status;
pub use trail::{Audit, Options, Page, Removed};
pub use verify::{Report, Trusted, verify};
pub use verifying::VerifyingKeys;
