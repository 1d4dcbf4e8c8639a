//! What a crash leaves, at any byte: what was acknowledged is there, what was not is gone, and the trail goes on.

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;

use audit::{Audit, AuditError, Filter, Trusted, verify};
use support::{clock, closed, copy, directory, fill, options, record, segments};

const COUNT: u64 = 7;

/// A trail as a crash leaves it: records, no checkpoint at the end, and the head of `COUNT` records.
fn crashed(dir: &Path) {
    let live = directory();
    let audit = Audit::open_with(live.path(), clock(), options()).unwrap();
    fill(&audit, 0..COUNT);
    copy(live.path(), dir);
}

fn append_to(path: &Path, bytes: &[u8]) {
    fs::OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[test]
fn a_write_cut_short_at_any_byte_is_cut_off_and_the_next_record_has_its_place() {
    let base = directory();
    crashed(base.path());
    let longer = directory();
    copy(base.path(), longer.path());
    {
        let audit = Audit::open_with(longer.path(), clock(), options()).unwrap();
        audit.append(record(COUNT)).unwrap();
    }
    let last = segments(base.path()).pop().unwrap();
    let name = last.file_name().unwrap();
    let (before, after) =
        (fs::read(&last).unwrap(), fs::read(longer.path().join("audit/log").join(name)).unwrap());
    let tail = &after[before.len()..];
    assert!(tail.len() > 100);
    for length in 1..=tail.len() {
        let dir = directory();
        copy(base.path(), dir.path());
        append_to(&dir.path().join("audit/log").join(name), &tail[..length]);
        assert!(!verify(dir.path(), &Trusted::default()).unwrap().holds(), "{length}");
        let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
        let note = audit.record(COUNT).unwrap();
        assert_eq!(note.action.as_str(), "audit.tail_cut");
        assert!(note.detail.unwrap().starts_with(&format!("{length} bytes of audit/log/")));
        assert_eq!(audit.append(record(1)).unwrap(), COUNT + 1);
        assert_eq!(audit.query(&Filter::default()).unwrap().records.len() as u64, COUNT + 2);
        drop(audit);
        assert!(verify(dir.path(), &Trusted::default()).unwrap().holds());
    }
}

#[test]
fn a_log_that_is_shorter_than_its_head_says_is_refused_at_every_length() {
    let base = directory();
    crashed(base.path());
    let last = segments(base.path()).pop().unwrap();
    let name = last.file_name().unwrap();
    let len = fs::metadata(&last).unwrap().len();
    // At every byte of the last record, and here and there before it.
    for length in (0..len).filter(|length| len - length < 400 || length % 41 == 0) {
        let dir = directory();
        copy(base.path(), dir.path());
        let path = dir.path().join("audit/log").join(name);
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
        let error = Audit::open_with(dir.path(), clock(), options()).unwrap_err();
        assert!(matches!(error, AuditError::Inconsistent(_)), "{length}: {error}");
        assert_eq!(fs::metadata(&path).unwrap().len(), length, "nothing is repaired");
    }
}

#[test]
fn a_head_spoiled_in_one_place_is_the_other_one() {
    let base = directory();
    crashed(base.path());
    // The first record went to the first place, the next to the second, and so on.
    let spoiled = ((COUNT as usize + 1) % 2) * 4096;
    for at in [0, 100, 200] {
        let dir = directory();
        copy(base.path(), dir.path());
        let path = dir.path().join("audit/head");
        let mut bytes = fs::read(&path).unwrap();
        bytes[spoiled + at..spoiled + 512].fill(0);
        fs::write(&path, bytes).unwrap();
        let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
        // The last record was written, and counted by the place that a crash spoiled: it was not acknowledged.
        let note = audit.record(COUNT - 1).unwrap();
        assert_eq!(note.action.as_str(), "audit.tail_cut");
        assert!(note.detail.unwrap().contains("audit/head was not finished"));
        drop(audit);
        assert!(verify(dir.path(), &Trusted::default()).unwrap().holds());
    }
}

#[test]
fn a_checkpoint_cut_short_is_cut_off() {
    let base = directory();
    closed(base.path(), COUNT, 3);
    let bytes = fs::read(base.path().join("audit/checkpoints")).unwrap();
    let second = bytes.len() / 2 - 50;
    for length in (0..bytes.len()).step_by(97).filter(|length| *length > second + 200) {
        let dir = directory();
        copy(base.path(), dir.path());
        fs::write(dir.path().join("audit/checkpoints"), &bytes[..length]).unwrap();
        let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
        assert_eq!(audit.record(COUNT).unwrap().action.as_str(), "audit.tail_cut");
        drop(audit);
        let report = verify(dir.path(), &Trusted::default()).unwrap();
        assert!(report.holds() && report.covered == COUNT + 1, "{report:?}");
    }
}

#[test]
fn a_first_start_that_was_cut_short_begins_again() {
    let dir = directory();
    closed(dir.path(), 0, 0);
    let head = dir.path().join("audit/head");
    let bytes = fs::read(&head).unwrap();
    for length in [0, 1, 600, 4096, 8191] {
        fs::write(&head, &bytes[..length]).unwrap();
        fs::remove_file(dir.path().join("audit/keys/audit.pub")).unwrap();
        drop(Audit::open_with(dir.path(), clock(), options()).unwrap());
        assert!(verify(dir.path(), &Trusted::default()).unwrap().holds());
    }
}

#[test]
fn a_lost_or_open_private_key_is_no_reason_for_a_new_one() {
    use std::os::unix::fs::PermissionsExt;

    let dir = directory();
    closed(dir.path(), 2, 1);
    let key = dir.path().join("audit/keys/audit.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(Audit::open(dir.path(), clock()), Err(AuditError::Key { .. })));
    fs::remove_file(&key).unwrap();
    assert!(matches!(Audit::open(dir.path(), clock()), Err(AuditError::Key { .. })));
    assert!(verify(dir.path(), &Trusted::default()).unwrap().holds());
}

#[test]
fn one_process_appends() {
    let dir = directory();
    let audit = Audit::open(dir.path(), clock()).unwrap();
    assert!(matches!(Audit::open(dir.path(), clock()), Err(AuditError::Locked { .. })));
    drop(audit);
    drop(Audit::open(dir.path(), clock()).unwrap());
}
