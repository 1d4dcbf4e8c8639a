//! Keys that hand over to the next ones: who knows the old ones knows the new ones by them, and a crash leaves one of both.

mod support;

use std::fs;
use std::path::Path;

use audit::{Audit, AuditError, Options, Trusted, prove_growth, prove_record, public_keys, verify};
use support::{START_US, clock, copy, directory, fill, options};

fn holds(dir: &Path, trusted: &Trusted) -> audit::Report {
    let report = verify(dir, trusted).unwrap();
    assert!(report.holds(), "{:?}", report.problems);
    report
}

#[test]
fn verification_follows_the_chain_of_keys_from_any_copy_that_was_kept() {
    let dir = directory();
    let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
    let mut kept = vec![audit.keys()];
    let mut notes = Vec::new();
    for round in 0..4 {
        fill(&audit, round * 10..round * 10 + 10);
        notes.push(("kept".into(), audit.checkpoint().unwrap().note));
        let before = fs::read(dir.path().join("audit/keys/audit.key")).unwrap();
        kept.push(audit.rotate_keys().unwrap());
        assert_ne!(fs::read(dir.path().join("audit/keys/audit.key")).unwrap(), before, "the old one is gone");
        assert!(!dir.path().join("audit/keys/audit.key.next").exists());
        holds(dir.path(), &Trusted::default());
    }
    assert_eq!(audit.keys().rotations(), 4);
    fill(&audit, 40..45);
    let anchor = audit.head().map(|head| head.note);
    drop(audit);
    for keys in &kept {
        let trusted =
            Trusted { keys: Some(keys.clone()), checkpoints: notes.clone(), anchor: anchor.clone() };
        let report = holds(dir.path(), &trusted);
        assert_eq!((report.rotations, report.compared, report.records), (4, 4, 45));
    }
    let with = Options { anchor, ..options() };
    let audit = Audit::open_with(dir.path(), clock(), with).unwrap();
    fill(&audit, 45..46);
    drop(audit);
    holds(dir.path(), &Trusted::default());
    // Proofs carry the chain with them.
    for sequence in [0, 15, 44] {
        assert!(prove_record(dir.path(), sequence, None).unwrap().check(None).is_ok());
    }
    assert!(prove_growth(dir.path(), &notes[1]).unwrap().check(None).is_ok());
}

#[test]
fn keys_that_nobody_handed_over_to_are_found() {
    let (dir, forged) = (directory(), directory());
    let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
    fill(&audit, 0..10);
    let kept = audit.keys();
    drop(audit);
    copy(dir.path(), forged.path());
    // Who has the old keys can rotate to keys of their own; who kept the next ones sees that.
    let rotated = |dir: &Path| Audit::open_with(dir, clock(), options()).unwrap().rotate_keys().unwrap();
    let (real, other) = (rotated(dir.path()), rotated(forged.path()));
    let trust = |keys: &audit::VerifyingKeys| Trusted { keys: Some(keys.clone()), ..Trusted::default() };
    holds(forged.path(), &trust(&kept));
    holds(forged.path(), &trust(&other));
    assert!(!verify(forged.path(), &trust(&real)).unwrap().holds());

    // A rotation cannot be taken back, nor changed, nor the private key be another.
    for change in [kept.text(), real.text().replacen("keys from 10", "keys from 11", 1)] {
        let at = directory();
        copy(dir.path(), at.path());
        fs::write(at.path().join("audit/keys/audit.pub"), change).unwrap();
        assert!(matches!(Audit::open_with(at.path(), clock(), options()), Err(AuditError::Key { .. })));
    }
}

/// A file that a crash left: from which trail, its name, and its name there.
type Copied<'a> = (&'a Path, &'a str, &'a str);

#[test]
fn a_rotation_that_a_crash_cut_short_is_finished_or_forgotten() {
    let (dir, before) = (directory(), directory());
    let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
    fill(&audit, 0..10);
    audit.checkpoint().unwrap();
    copy(dir.path(), before.path());
    audit.rotate_keys().unwrap();
    let (old, new) = (before.path().join("audit"), dir.path().join("audit"));
    let at = |files: &[Copied<'_>]| {
        let crashed = directory();
        copy(before.path(), crashed.path());
        for (from, name, to) in files {
            fs::copy(from.join(name), crashed.path().join("audit").join(to)).unwrap();
        }
        crashed
    };
    let next = (new.as_path(), "keys/audit.key", "keys/audit.key.next");
    let public = (new.as_path(), "keys/audit.pub", "keys/audit.pub");
    let private = (new.as_path(), "keys/audit.key", "keys/audit.key");
    let steps: [(&[Copied<'_>], usize); 3] = [(&[next], 0), (&[next, public], 1), (&[public, private], 1)];
    for (files, rotations) in steps {
        let crashed = at(files);
        assert_eq!(fs::read(old.join("head")).unwrap(), fs::read(crashed.path().join("audit/head")).unwrap());
        assert_eq!(holds(crashed.path(), &Trusted::default()).rotations, rotations);
        let audit = Audit::open_with(crashed.path(), clock(), options()).unwrap();
        assert_eq!(audit.keys().rotations(), rotations);
        fill(&audit, 10..12);
        audit.rotate_keys().unwrap();
        drop(audit);
        assert!(!crashed.path().join("audit/keys/audit.key.next").exists());
        assert_eq!(holds(crashed.path(), &Trusted::default()).records, 12);
    }
}

#[test]
fn a_log_that_begins_later_is_signed_by_the_new_keys_as_well() {
    let dir = directory();
    let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
    fill(&audit, 0..60);
    let kept = audit.keys();
    for round in 0..2 {
        audit.remove_before(START_US + 10_000_000).unwrap().unwrap();
        for _ in 0..9 {
            audit.rotate_keys().unwrap();
        }
        fill(&audit, 60 + round * 40..100 + round * 40);
        holds(dir.path(), &Trusted { keys: Some(kept.clone()), ..Trusted::default() });
    }
    drop(audit);
    assert_eq!(public_keys(dir.path()).unwrap().rotations(), 18);
    let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
    assert!(audit.status().first > 60);
}
