//! What holds for whatever lies on the disk or is handed in for verification.
//!
//! In: any bytes. Out: a panic where a property does not hold. The fuzz targets of `fuzz/` and the tests here run the
//! same functions; nothing that ships contains them.

use crate::merkle::Hash;
use crate::note::Note;
use crate::proof::Proof;
use crate::record::Record;
use crate::verifying::VerifyingKeys;

/// A line is refused, or is exactly what the record it says is written as; nothing of it is lost.
pub fn audit_record(input: &[u8]) {
    let Ok(record) = Record::parse(input) else { return };
    assert_eq!(record.line().as_bytes(), input);
    let mut again = Vec::new();
    assert_eq!(record.write(&mut again), Hash::of_leaf(input));
    assert_eq!(Record::parse(&again[..again.len() - 1]), Ok(record));
}

/// A note, keys and a proof are read or refused; what is read reads back, and nobody's signature is taken for ours.
pub fn audit_note(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(note) = Note::parse(text) {
        assert!(text.starts_with(note.text) && note.text.ends_with('\n'));
        assert!(!note.signatures.is_empty());
    }
    if let Ok(keys) = VerifyingKeys::parse(text) {
        assert_eq!(keys.text(), text);
    }
    if let Ok(proof) = Proof::from_json(text) {
        assert_eq!(Proof::from_json(&proof.to_json()), Ok(proof.clone()));
        // It may be a whole proof, such as a seed is; it is the same each time.
        assert_eq!(proof.check(None), proof.check(None));
    }
}

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use super::seeds::hold;

    #[test]
    fn a_line_is_a_record_or_refused() {
        hold("audit_record", 3000, super::audit_record);
    }

    #[test]
    fn notes_keys_and_proofs_are_read_or_refused() {
        hold("audit_note", 1500, super::audit_note);
    }
}
