//! Archived traces that go with a purge: files beside the database, counted exactly wherever it ends.

mod support;

use std::cell::RefCell;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use domain::*;
use store::*;
use support::purging::*;
use tempfile::TempDir;

/// Files that go two at a time, all of which are old; `seen` is told after each step that a crash may follow.
struct Files<'a> {
    dir: PathBuf,
    /// The one that the disk does not let go of.
    stuck: Option<&'static str>,
    seen: &'a dyn Fn(),
}

impl Files<'_> {
    fn names(&self) -> Vec<String> {
        names(&self.dir)
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        dir.read_dir().unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

impl OldTraces for Files<'_> {
    fn count(&self, before: Time) -> usize {
        assert_eq!(before, later().minus(MONTH));
        self.names().len()
    }

    fn remove_some(&self, _: Time, note: &mut dyn FnMut(Vec<String>) -> Result<()>) -> Result<GoneTraces> {
        let mut going = self.names();
        going.truncate(2);
        let mut gone = GoneTraces::default();
        if going.is_empty() {
            return Ok(gone);
        }
        note(going.clone())?;
        (self.seen)();
        for (n, name) in going.iter().enumerate() {
            if self.stuck == Some(name.as_str()) {
                note(going[..n].to_vec())?;
                let source = io::Error::other("it does not let go");
                gone.failed = Some(StoreError::File { what: "remove", path: self.dir.join(name), source });
                return Ok(gone);
            }
            fs::remove_file(self.dir.join(name)).unwrap();
            gone.count += 1;
            gone.bytes += 4096;
            (self.seen)();
        }
        Ok(gone)
    }
}

/// A data directory with an issue that is old, and this many traces.
fn filled(traces: usize) -> (TempDir, Store, PathBuf) {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    closed(&store, 1);
    let archive = dir.path().join("archive");
    fs::create_dir(&archive).unwrap();
    (1..=traces).for_each(|n| fs::write(archive.join(format!("trace-{n}")), "spans").unwrap());
    (dir, store, archive)
}

const BOTH: [RecordKind; 2] = [RecordKind::Issues, RecordKind::Traces];

fn all(_: &Pruned) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn traces_go_where_they_are_named_and_stay_where_they_are_not() {
    let (_dir, store, archive) = filled(5);
    let files = Files { dir: archive, stuck: None, seen: &|| {} };
    assert!(!RecordKind::by_default().contains(&RecordKind::Traces));
    let said = |kinds: &[RecordKind]| {
        let said = store.purgeable(later(), MONTH, kinds, Some(&files), || ControlFlow::Continue(()));
        said.unwrap().counted
    };
    assert_eq!((said(&RecordKind::by_default()).traces, said(&BOTH).traces), (0, 5));
    let purged = store.purge(&order(1, &RecordKind::by_default()), Some(&files), all).unwrap();
    assert_eq!((purged.removed.issues, purged.removed.traces, files.names().len()), (1, 0, 5));
    let purged = store.purge(&order(2, &BOTH), Some(&files), all).unwrap();
    assert!(matches!(purged.end, PurgeEnd::Whole), "{purged:?}");
    assert_eq!((purged.removed.traces, purged.trace_bytes, files.names().len()), (5, 5 * 4096, 0));
    let told = purge_told(MONTH, &BOTH, PurgeMode::Remove, purged.removed);
    assert!(told.ends_with("5 archived traces removed"), "{told}");
}

#[test]
fn after_a_crash_at_any_step_the_note_and_the_files_say_what_is_gone_and_the_next_purge_takes_the_rest() {
    const TRACES: usize = 5;
    let (dir, store, archive) = filled(TRACES);
    let crashes = RefCell::new(Vec::new());
    let seen = || {
        let copy = TempDir::new().unwrap();
        for name in ["homeostat.db", "homeostat.db-wal"] {
            fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
        }
        let to = copy.path().join("archive");
        fs::create_dir(&to).unwrap();
        for name in names(&archive) {
            fs::copy(archive.join(&name), to.join(&name)).unwrap();
        }
        crashes.borrow_mut().push(copy);
    };
    let files = Files { dir: archive.clone(), stuck: None, seen: &seen };
    let purged = store
        .purge(&order(1, &BOTH), Some(&files), |removed| {
            seen();
            all(removed)
        })
        .unwrap();
    assert_eq!((purged.removed.issues, purged.removed.traces), (1, TRACES));
    let crashes = crashes.into_inner();
    assert!(crashes.len() > 3 * TRACES / 2, "{} steps", crashes.len());
    for copy in crashes {
        let archive = copy.path().join("archive");
        let left = names(&archive);
        let store = Store::open(copy.path()).unwrap();
        let mut note = store.unrecorded_purges().unwrap().notes.remove(0);
        let gone = note.going.iter().filter(|name| !left.contains(*name)).count();
        // As often as a start is tried.
        for gone in [gone, 0] {
            store.settle_purge(&mut note, gone).unwrap();
            assert_eq!(store.unrecorded_purges().unwrap().notes, [note.clone()]);
        }
        assert_eq!((note.removed.issues, note.removed.traces, note.going.len()), (1, TRACES - left.len(), 0));
        let files = Files { dir: archive, stuck: None, seen: &|| {} };
        let rest = store.purge(&order(2, &BOTH), Some(&files), all).unwrap();
        assert_eq!(note.removed.traces + rest.removed.traces, TRACES, "each was counted once");
    }
}

#[test]
fn a_disk_that_does_not_let_go_of_one_ends_it_and_what_went_before_is_told() {
    let (_dir, store, archive) = filled(5);
    let mut files = Files { dir: archive, stuck: Some("trace-4"), seen: &|| {} };
    let purged = store.purge(&order(1, &BOTH), Some(&files), all).unwrap();
    assert!(matches!(purged.end, PurgeEnd::Failed(_)), "{purged:?}");
    assert_eq!((purged.removed.traces, files.names().len()), (3, 2));
    store.purge_is_recorded(order(1, &BOTH).id).unwrap();
    let refused = store.purge(&order(2, &[RecordKind::Traces]), Some(&files), all);
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(store.unrecorded_purges().unwrap().notes, [], "what removed nothing leaves no note");
    files.stuck = None;
    assert_eq!(store.purge(&order(3, &BOTH), Some(&files), all).unwrap().removed.traces, 2);
}

#[test]
fn what_the_disk_did_not_let_go_of_and_somebody_else_removes_is_not_of_the_purge() {
    // Named together with it, one went before it, and one did not.
    for (stuck, went) in [("trace-2", 1), ("trace-1", 0)] {
        let (_dir, store, archive) = filled(3);
        let files = Files { dir: archive.clone(), stuck: Some(stuck), seen: &|| {} };
        let purged = store.purge(&order(1, &BOTH), Some(&files), all).unwrap();
        assert!(matches!(purged.end, PurgeEnd::Failed(_)), "{purged:?}");
        assert_eq!((purged.removed.issues, purged.removed.traces), (1, went));
        // By hand, while the process lives on; it ends before the audit trail has the purge.
        names(&archive).iter().for_each(|name| fs::remove_file(archive.join(name)).unwrap());
        let mut note = store.unrecorded_purges().unwrap().notes.remove(0);
        let gone = note.going.iter().filter(|name| !archive.join(name).exists()).count();
        store.settle_purge(&mut note, gone).unwrap();
        assert_eq!((note.removed.issues, note.removed.traces), (1, went), "{stuck}");
    }
}

#[test]
fn it_ends_between_two_removals_when_it_is_told_to() {
    let (_dir, store, archive) = filled(5);
    let files = Files { dir: archive, stuck: None, seen: &|| {} };
    let purged = store
        .purge(&order(1, &BOTH), Some(&files), |removed| match removed.traces {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        })
        .unwrap();
    assert!(matches!(purged.end, PurgeEnd::Stopped), "{purged:?}");
    assert_eq!((purged.removed.traces, files.names().len()), (2, 3));
    let note = store.unrecorded_purges().unwrap().notes.remove(0);
    assert_eq!((note.removed.traces, note.going.len(), note.whole), (2, 0, false));
}
