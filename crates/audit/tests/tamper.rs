//! Whatever is done to the files of a trail without its private keys is found, and a trail that was left alone is not
//! accused.

mod support;

use std::fs;
use std::path::Path;

use audit::{Audit, AuditError, Options, Trusted, verify};
use proptest::prelude::{ProptestConfig, any, proptest};
use proptest::sample::Index;
use support::{clock, closed, copy, directory, options, segments};

const COUNT: u64 = 25;

fn problems(dir: &Path) -> Vec<String> {
    let report = verify(dir, &Trusted::default()).unwrap();
    report.problems.iter().map(ToString::to_string).collect()
}

/// The lines of the whole log, and the length of each segment in lines.
fn lines(dir: &Path) -> (Vec<String>, Vec<usize>) {
    let texts: Vec<String> = segments(dir).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let lines = texts.iter().flat_map(|text| text.lines().map(str::to_owned)).collect();
    (lines, texts.iter().map(|text| text.lines().count()).collect())
}

/// Writes lines back into the same segments; what is more or less is so in the last one.
fn write(dir: &Path, lines: &[String], lengths: &[usize]) {
    let mut rest = lines.iter();
    let paths = segments(dir);
    for (at, (path, length)) in paths.iter().zip(lengths).enumerate() {
        let take = if at + 1 == paths.len() { usize::MAX } else { *length };
        let text: String = rest.by_ref().take(take).map(|line| format!("{line}\n")).collect();
        fs::write(path, text).unwrap();
    }
}

/// Both a verification and a start find it, and a start changes nothing.
fn found(dir: &Path) {
    assert_ne!(problems(dir), [""; 0]);
    let before: Vec<_> = segments(dir).iter().map(|path| fs::read(path).unwrap()).collect();
    let error = Audit::open_with(dir, clock(), options()).unwrap_err();
    assert!(matches!(error, AuditError::Inconsistent(_)), "{error}");
    assert_eq!(segments(dir).iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>(), before);
}

#[test]
fn what_was_left_alone_holds_closed_and_while_it_is_written_to() {
    let dir = directory();
    closed(dir.path(), COUNT, 10);
    let report = verify(dir.path(), &Trusted::default()).unwrap();
    assert!(report.holds(), "{:?}", report.problems);
    assert_eq!((report.records, report.covered, report.checkpoints), (COUNT, COUNT, 2));
    assert!(report.segments > 2);
    let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
    assert_eq!(audit.append(support::record(COUNT)).unwrap(), COUNT);
    let report = verify(dir.path(), &Trusted::default()).unwrap();
    assert!(report.holds(), "{:?}", report.problems);
    assert_eq!((report.records, report.covered), (COUNT + 1, COUNT));
}

#[test]
fn a_record_removed_doubled_swapped_or_added_is_found_wherever_it_is() {
    let whole = directory();
    closed(whole.path(), COUNT, 10);
    let (all, lengths) = lines(whole.path());
    for at in 0..COUNT as usize {
        let mut removed = all.clone();
        removed.remove(at);
        let mut doubled = all.clone();
        doubled.insert(at, all[at].clone());
        let mut swapped = all.clone();
        swapped.swap(at, (at + 1) % all.len());
        let cut = all[..at].to_vec();
        for changed in [removed, doubled, swapped, cut] {
            let dir = directory();
            copy(whole.path(), dir.path());
            write(dir.path(), &changed, &lengths);
            if changed.len() > all.len() && at + 1 == all.len() {
                // Behind what is acknowledged, where a start cuts it off and says so.
                assert_ne!(problems(dir.path()), [""; 0]);
            } else {
                found(dir.path());
            }
        }
    }
}

#[test]
fn a_record_made_up_whose_chain_fits_is_found() {
    let whole = directory();
    closed(whole.path(), COUNT, 10);
    let longer = directory();
    copy(whole.path(), longer.path());
    {
        let audit = Audit::open_with(longer.path(), clock(), options()).unwrap();
        audit.append(support::record(7)).unwrap();
    }
    let (with, _) = lines(longer.path());
    let (all, lengths) = lines(whole.path());
    assert_eq!(with.len(), all.len() + 1);
    // At the end: no checkpoint and no head counts it. A start cuts it off, and says so.
    write(whole.path(), &with, &lengths);
    let told = problems(whole.path());
    assert!(told.len() == 1 && told[0].contains("not counted by the head"), "{told:?}");
    drop(Audit::open_with(whole.path(), clock(), options()).unwrap());
    assert_eq!(problems(whole.path()), [""; 0]);
    let (after, _) = lines(whole.path());
    assert!(after[COUNT as usize].contains("audit.tail_cut"), "{}", after[COUNT as usize]);
}

#[test]
fn a_segment_that_is_gone_is_found() {
    let whole = directory();
    closed(whole.path(), COUNT, 10);
    for at in 0..segments(whole.path()).len() {
        let dir = directory();
        copy(whole.path(), dir.path());
        fs::remove_file(&segments(dir.path())[at]).unwrap();
        found(dir.path());
    }
}

#[test]
fn the_place_of_a_change_is_named() {
    let dir = directory();
    closed(dir.path(), COUNT, 10);
    let first = &segments(dir.path())[0];
    let text = fs::read_to_string(first).unwrap();
    fs::write(first, text.replacen("because of 2", "because of 9", 1)).unwrap();
    let told = problems(dir.path());
    assert_eq!(
        told,
        [
            "audit/log/00000000000000000000.jsonl line 4, record 3: record 2 is not what it was when this one was \
          written, or this one was changed"
        ]
    );
}

#[test]
fn checkpoints_head_and_keys_cannot_be_changed_or_taken_away_unseen() {
    let whole = directory();
    closed(whole.path(), COUNT, 10);
    for file in ["audit/head", "audit/checkpoints"] {
        let bytes = fs::read(whole.path().join(file)).unwrap();
        for at in (0..bytes.len()).step_by(31) {
            let dir = directory();
            copy(whole.path(), dir.path());
            let mut other = bytes.clone();
            other[at] ^= 2;
            fs::write(dir.path().join(file), other).unwrap();
            assert_ne!(problems(dir.path()), [""; 0], "{file} {at}");
        }
    }
    fs::remove_file(whole.path().join("audit/head")).unwrap();
    found(whole.path());
}

#[test]
fn a_log_signed_anew_is_found_by_what_was_kept_elsewhere() {
    let (real, forged) = (directory(), directory());
    closed(real.path(), COUNT, 10);
    let keys = audit::public_keys(real.path()).unwrap();
    let kept = audit::newest_checkpoint(real.path()).unwrap().unwrap();
    closed(forged.path(), COUNT, 10);
    assert_eq!(problems(forged.path()), [""; 0]);
    let trusted = Trusted { keys: Some(keys), ..Trusted::default() };
    assert!(!verify(forged.path(), &trusted).unwrap().holds());
    let trusted = Trusted { checkpoints: vec![("kept".into(), kept.note.clone())], ..Trusted::default() };
    assert!(matches!(verify(forged.path(), &trusted), Err(AuditError::Checkpoint { .. })));

    // The same keys, an older state of everything: only what lies elsewhere knows better.
    let old = directory();
    copy(real.path(), old.path());
    let audit = Audit::open_with(real.path(), clock(), options()).unwrap();
    audit.append(support::record(1)).unwrap();
    let kept = audit.checkpoint().unwrap();
    drop(audit);
    let trusted = Trusted { checkpoints: vec![("kept".into(), kept.note)], ..Trusted::default() };
    assert!(verify(real.path(), &trusted).unwrap().holds());
    assert_eq!(problems(old.path()), [""; 0]);
    let told = verify(old.path(), &trusted).unwrap().problems;
    assert!(told[0].to_string().contains("the checkpoint kept counts 26: the rest was removed"), "{told:?}");
}

#[test]
fn an_older_state_put_back_or_a_trail_that_is_gone_is_found_by_the_head_kept_apart() {
    let (dir, old) = (directory(), directory());
    closed(dir.path(), COUNT, 10);
    copy(dir.path(), old.path());
    let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
    assert_eq!(audit.head().unwrap().checkpoint.size, COUNT);
    audit.append(support::record(1)).unwrap();
    let anchor = audit.head().unwrap().note;
    drop(audit);
    let trusted = Trusted { anchor: Some(anchor.clone()), ..Trusted::default() };
    let report = verify(dir.path(), &trusted).unwrap();
    assert_eq!((report.holds(), report.anchored), (true, Some(COUNT + 1)), "{:?}", report.problems);
    let with = Options { anchor: Some(anchor), ..options() };
    drop(Audit::open_with(dir.path(), clock(), with.clone()).unwrap());

    // Head, checkpoints and log fit each other; by themselves they are a trail that was left alone.
    assert_eq!(problems(old.path()), [""; 0]);
    let told = verify(old.path(), &trusted).unwrap().problems;
    assert!(
        told[0].to_string().contains("it counts 25 records, the head kept in the database 26"),
        "{told:?}"
    );
    let error = Audit::open_with(old.path(), clock(), with.clone()).unwrap_err();
    assert!(matches!(error, AuditError::Inconsistent(_)), "{error}");

    let empty = directory();
    let error = Audit::open_with(empty.path(), clock(), with.clone()).unwrap_err();
    assert!(error.to_string().contains("it is gone"), "{error}");
    // A trail of other keys in its place.
    let other = directory();
    closed(other.path(), COUNT + 5, 10);
    assert!(matches!(Audit::open_with(other.path(), clock(), with), Err(AuditError::Anchor(_))));
}

#[test]
fn a_trail_of_a_newer_program_is_refused_and_not_touched() {
    let dir = directory();
    closed(dir.path(), COUNT, 10);
    fs::write(dir.path().join("audit/format"), "2\n").unwrap();
    let refused = [
        Audit::open_with(dir.path(), clock(), options()).err(),
        verify(dir.path(), &Trusted::default()).err(),
        audit::prove_record(dir.path(), 1, None).err(),
        audit::backup::copy(dir.path(), directory().path()).err(),
    ];
    for error in refused {
        let error = error.unwrap();
        assert!(matches!(error, AuditError::Newer { found: 2, known: 1, .. }), "{error}");
        assert!(error.to_string().contains("use the newer homeostat"), "{error}");
    }
    // One from before the number was written is the first.
    fs::remove_file(dir.path().join("audit/format")).unwrap();
    assert_eq!(problems(dir.path()), [""; 0]);
    drop(Audit::open_with(dir.path(), clock(), options()).unwrap());
    assert_eq!(fs::read_to_string(dir.path().join("audit/format")).unwrap(), "1\n");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_byte_changed_put_in_or_taken_out_is_found(at in any::<Index>(), which in any::<Index>(), flip in 1..=255_u8, how in 0..3) {
        let dir = directory();
        closed(dir.path(), 12, 5);
        let paths = segments(dir.path());
        let path = which.get(&paths);
        let mut bytes = fs::read(path).unwrap();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] ^= flip,
            1 => bytes.insert(at, flip),
            _ => drop(bytes.remove(at)),
        }
        fs::write(path, bytes).unwrap();
        found(dir.path());
    }
}
