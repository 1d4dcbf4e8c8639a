//! Records that were removed because their time had come: what is left verifies from there on, and nobody else can remove any.

mod support;

use std::fs;
use std::path::Path;

use audit::{Audit, AuditError, Filter, Format, Hash, Trusted, export, prove_growth, prove_record, verify};
use support::{START_US, clock, closed, copy, directory, fill, options, record, segments};

const COUNT: u64 = 60;

/// A time after every record so far.
const LATER: i64 = START_US + 10_000_000;

fn problems(dir: &Path) -> Vec<String> {
    let report = verify(dir, &Trusted::default()).unwrap();
    report.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn whole_segments_go_what_is_left_verifies_from_there_and_the_removal_is_a_record() {
    let dir = directory();
    let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
    fill(&audit, 0..COUNT);
    let old = audit.checkpoint().unwrap();
    let files = segments(dir.path()).len();
    assert!(files > 4);
    assert_eq!(audit.remove_before(START_US - 1).unwrap(), None, "nothing is so old");
    let removed = audit.remove_before(LATER).unwrap().unwrap();
    assert!(removed.first == 0 && removed.until > COUNT / 2 && removed.until < COUNT, "{removed:?}");
    assert_eq!(audit.remove_before(LATER).unwrap(), None, "the one written to stays");

    // Seen from outside while it is written to, from inside, and after a start.
    let check = |audit: &Audit| {
        let report = verify(dir.path(), &Trusted::default()).unwrap();
        assert!(report.holds(), "{:?}", report.problems);
        assert_eq!((report.first, report.records), (removed.until, COUNT + 1));
        assert_eq!(audit.status().first, removed.until);
        let gone = audit.record(removed.until - 1);
        assert!(matches!(gone, Err(AuditError::Removed { first, .. }) if first == removed.until), "{gone:?}");
        let page = audit.query(&Filter { limit: 1000, ..Filter::default() }).unwrap();
        assert_eq!((page.records.len() as u64, page.next), (COUNT + 1 - removed.until, None));
        let told = audit.record(COUNT).unwrap();
        assert_eq!(told.action.as_str(), "audit.removed");
        assert!(told.detail.unwrap().contains(&removed.root.to_string()));
        assert_eq!(
            audit.query(&Filter { who: Some("bob".to_owned()), ..Filter::default() }).unwrap().next,
            None
        );
    };
    check(&audit);
    assert!(segments(dir.path()).len() < files);
    drop(audit);
    let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
    check(&audit);
    fill(&audit, 0..5);
    drop(audit);
    assert_eq!(problems(dir.path()), [""; 0]);
    let mut out = Vec::new();
    let exported = export(dir.path(), None, Format::Jsonl, &mut out).unwrap();
    assert_eq!(exported, COUNT + 6 - removed.until);

    // A checkpoint of what is gone cannot be compared, and that is said.
    let trusted = Trusted { checkpoints: vec![("kept".into(), old.note.clone())], ..Trusted::default() };
    assert!(verify(dir.path(), &trusted).unwrap().holds(), "it is of more than was removed");
}

#[test]
fn what_is_left_is_proven_and_what_is_gone_is_refused_by_name() {
    let dir = directory();
    let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
    fill(&audit, 0..5);
    let early = audit.checkpoint().unwrap();
    fill(&audit, 5..COUNT);
    let late = audit.checkpoint().unwrap();
    let removed = audit.remove_before(LATER).unwrap().unwrap();
    audit.checkpoint().unwrap();
    drop(audit);
    for sequence in removed.until..=COUNT {
        assert!(prove_record(dir.path(), sequence, None).unwrap().check(None).is_ok(), "{sequence}");
    }
    let gone = prove_record(dir.path(), removed.until - 1, None);
    assert!(matches!(gone, Err(AuditError::Removed { .. })), "{gone:?}");
    let kept = |note: &str| ("kept".into(), note.to_owned());
    assert!(prove_growth(dir.path(), &kept(&late.note)).unwrap().check(None).is_ok());
    let gone = prove_growth(dir.path(), &kept(&early.note));
    assert!(matches!(gone, Err(AuditError::Removed { .. })), "{gone:?}");
    let trusted = Trusted { checkpoints: vec![kept(&early.note)], ..Trusted::default() };
    let told = verify(dir.path(), &trusted).unwrap();
    assert!(told.problems[0].to_string().contains("cannot be compared"), "{:?}", told.problems);
    assert_eq!(told.compared, 0);
}

#[test]
fn nobody_without_the_keys_removes_records_from_the_beginning() {
    let dir = directory();
    closed(dir.path(), COUNT, 10);
    let whole = directory();
    copy(dir.path(), whole.path());
    let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
    let removed = audit.remove_before(LATER).unwrap().unwrap();
    drop(audit);
    let note = fs::read_to_string(dir.path().join("audit/retained")).unwrap();
    let refused = |at: &Path| {
        assert_ne!(problems(at), [""; 0]);
        assert!(matches!(Audit::open_with(at, clock(), options()), Err(AuditError::Inconsistent(_))));
    };
    let changed = |change: &dyn Fn(&Path)| {
        let at = directory();
        copy(dir.path(), at.path());
        change(at.path());
        refused(at.path());
    };
    // The file gone, or any byte of it another.
    changed(&|at| fs::remove_file(at.join("audit/retained")).unwrap());
    for byte in (0..note.len()).step_by(53) {
        let mut bytes = note.clone().into_bytes();
        bytes[byte] ^= 1;
        changed(&|at| fs::write(at.join("audit/retained"), &bytes).unwrap());
    }
    // More taken from the beginning than was signed.
    changed(&|at| fs::remove_file(&segments(at)[0]).unwrap());
    // A checkpoint in its place, that happens to be at the end of a segment.
    let at = directory();
    copy(whole.path(), at.path());
    let first: u64 = segments(at.path())[1].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
    let checkpoint = audit.checkpoint().unwrap();
    drop(audit);
    assert!(checkpoint.checkpoint.size > first && removed.until > 0);
    fs::remove_file(&segments(at.path())[0]).unwrap();
    fs::write(at.path().join("audit/retained"), &checkpoint.note).unwrap();
    refused(at.path());
}

#[test]
fn a_removal_that_a_crash_cut_short_is_finished_by_the_next_start() {
    let (dir, before) = (directory(), directory());
    let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
    fill(&audit, 0..COUNT);
    audit.checkpoint().unwrap();
    copy(dir.path(), before.path());
    audit.remove_before(LATER).unwrap().unwrap();
    drop(audit);
    // The note is on the disk; files and checkpoints are as they were before.
    for segment in segments(before.path()) {
        let name = segment.file_name().unwrap();
        let target = dir.path().join("audit/log").join(name);
        if !target.exists() {
            fs::copy(&segment, target).unwrap();
        }
    }
    assert!(problems(dir.path())[0].contains("a start removes it"));
    let count = segments(dir.path()).len();
    drop(Audit::open_with(dir.path(), clock(), options()).unwrap());
    assert!(segments(dir.path()).len() < count);
    assert_eq!(problems(dir.path()), [""; 0]);
}

#[test]
fn a_removal_whose_last_steps_failed_is_finished_by_the_next_one() {
    let dir = directory();
    let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
    fill(&audit, 0..COUNT);
    let files = segments(dir.path()).len();
    // In the way of the file that takes the place of the checkpoints.
    let in_the_way = dir.path().join("audit/checkpoints.new");
    fs::create_dir(&in_the_way).unwrap();
    assert!(audit.remove_before(LATER).is_err());
    assert!(audit.status().first > 0, "the log begins later by a signed note");
    assert!(segments(dir.path()).len() >= files, "and nothing is gone yet");
    assert!(audit.remove_before(LATER).is_err(), "it is tried again, and fails again");
    fs::remove_dir(&in_the_way).unwrap();
    audit.remove_before(LATER).unwrap();
    assert!(segments(dir.path()).len() < files);
    assert_eq!(problems(dir.path()), [""; 0]);
    let told =
        audit.query(&Filter { action: Some("audit.removed".to_owned()), ..Filter::default() }).unwrap();
    let told: Vec<String> = told.records.into_iter().filter_map(|record| record.detail).collect();
    assert!(told.iter().any(|detail| detail.contains("is gone as well")), "{told:?}");
    // What is signed from now on is on the disk.
    let checkpoint = audit.checkpoint().unwrap().checkpoint.size;
    drop(audit);
    let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
    assert!(audit.newest_checkpoint().unwrap().checkpoint.size >= checkpoint);
}

#[test]
fn the_age_of_a_segment_follows_what_it_is_set_to_meanwhile() {
    let dir = directory();
    let day = std::time::Duration::from_secs(86_400);
    let whole = audit::Options { segment_bytes: 1 << 20, segment_age: day, ..options() };
    let time = clock();
    let audit = Audit::open_with(dir.path(), time.clone(), whole).unwrap();
    fill(&audit, 0..3);
    time.wait(std::time::Duration::from_secs(6));
    audit.append(record(3)).unwrap();
    assert_eq!(segments(dir.path()).len(), 1);
    audit.set_segment_age(std::time::Duration::from_secs(5));
    audit.append(record(4)).unwrap();
    assert_eq!(segments(dir.path()).len(), 2);
}

#[test]
fn what_was_changed_before_it_is_removed_is_found_and_nothing_is_removed() {
    let dir = directory();
    let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
    fill(&audit, 0..COUNT);
    let path = &segments(dir.path())[0];
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, text.replacen("because of 2", "because of 9", 1)).unwrap();
    assert!(matches!(audit.remove_before(LATER), Err(AuditError::Inconsistent(_))));
    assert!(path.exists() && !dir.path().join("audit/retained").exists());
}

#[test]
fn a_segment_is_closed_when_it_is_old_so_that_it_can_go() {
    let dir = directory();
    let aged = audit::Options {
        segment_bytes: 1 << 20,
        segment_age: std::time::Duration::from_secs(5),
        ..options()
    };
    let time = clock();
    let audit = Audit::open_with(dir.path(), time.clone(), aged).unwrap();
    fill(&audit, 0..3);
    time.wait(std::time::Duration::from_secs(6));
    audit.append(record(3)).unwrap();
    assert_eq!(segments(dir.path()).len(), 2);
    let removed = audit.remove_before(START_US + 3_000_000).unwrap().unwrap();
    assert_eq!((removed.until, audit.status().first), (3, 3));
    assert_ne!(removed.root, Hash::ZERO);
}
