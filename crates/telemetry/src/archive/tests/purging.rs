//! Archived traces that are old go on request, some at a time; which of those that were named are gone is known after a crash.

use std::collections::BTreeSet;
use std::convert::Infallible;

use super::*;

/// Archived before anything will be.
fn all() -> OldTraces {
    OldTraces { before_unix_us: u64::MAX, kept: BTreeSet::new() }
}

/// An archive of so many traces.
fn filled(dir: &TempDir, traces: u64) -> Archive {
    let archive = Archive::open(dir.path(), 64 << 20, |_| {}, &mut Vec::new()).expect("an archive");
    for trace in 1..=traces {
        let keeping = if trace % 2 == 0 { Keeping::Asked } else { Keeping::Evidence };
        keep(&archive, keeping, &some_spans(trace, 1), &|_| Ok(())).expect("archived");
    }
    archive
}

/// Removes until nothing is old; how many went each time.
fn purge(archive: &Archive, old: &OldTraces) -> Vec<usize> {
    let mut rounds = Vec::new();
    loop {
        let removed = archive.remove_old(old, |_| Ok::<_, Infallible>(()), &|_| Ok(())).expect("noted");
        assert!(removed.failed.is_none(), "{:?}", removed.failed);
        match removed.traces {
            0 => return rounds,
            traces => rounds.push(traces),
        }
    }
}

#[test]
fn what_is_old_goes_a_little_at_a_time_and_stays_gone() {
    let dir = TempDir::new().expect("a directory");
    let archive = filled(&dir, 250);
    let when = |trace| archive.get(id(trace)).expect("archived").told.archived_unix_us;
    let old = OldTraces { before_unix_us: when(231), kept: BTreeSet::from([id(7), id(8)]) };
    assert_eq!(archive.old(&old).len(), 228);
    assert_eq!(purge(&archive, &old), [100, 100, 28]);
    let left: Vec<u64> = [7, 8].into_iter().chain(231..=250).collect();
    let is_left = |archive: &Archive| {
        (1..=250).filter(|trace| archive.get(id(*trace)).is_some()).collect::<Vec<u64>>() == left
    };
    assert!(is_left(&archive) && archived_files(dir.path()).expect("listed").len() == left.len());
    let archive = Archive::open(dir.path(), 64 << 20, |_| {}, &mut Vec::new()).expect("an archive");
    assert!(is_left(&archive), "and no start brings any back");
}

#[test]
fn what_was_added_to_lately_is_not_old() {
    let dir = TempDir::new().expect("a directory");
    let archive = filled(&dir, 2);
    let old = OldTraces { before_unix_us: now_unix_nano() / 1000 + 1, ..all() };
    // Of two files of a trace the newer one counts, so that this one is of later than now.
    while archive.get(id(1)).expect("archived").told.archived_unix_us < old.before_unix_us {
        let more = archive.get(id(1)).expect("archived").told.spans + 1;
        keep(&archive, Keeping::Asked, &some_spans(1, more), &|_| Ok(())).expect("added to");
    }
    assert_eq!(purge(&archive, &old), [1]);
    assert!(archive.get(id(1)).is_some() && archive.get(id(2)).is_none());
}

#[test]
fn nothing_goes_that_could_not_be_noted() {
    let dir = TempDir::new().expect("a directory");
    let archive = filled(&dir, 3);
    let refused = archive.remove_old(&all(), |_| Err("the disk is full"), &|_| Ok(()));
    assert_eq!(refused.expect_err("it was refused"), "the disk is full");
    assert_eq!((archive.status().traces, archived_files(dir.path()).expect("listed").len()), (3, 3));
}

#[test]
fn after_a_crash_at_any_step_the_names_tell_how_many_went_and_the_next_purge_takes_the_rest() {
    const TRACES: u64 = 7;
    let store = TempDir::new().expect("a directory");
    let dir = store.path().join(ARCHIVE);
    let archive = Archive::open(&dir, 1 << 20, |_| {}, &mut Vec::new()).expect("an archive");
    for trace in 1..=TRACES {
        keep(&archive, Keeping::Asked, &some_spans(trace, 1), &|_| Ok(())).expect("archived");
    }
    // Of one there is what it once took the place of.
    let older = archive.get(id(3)).expect("archived").path.clone();
    let bytes = fs::read(&older).expect("readable");
    keep(&archive, Keeping::Asked, &some_spans(3, 2), &|_| Ok(())).expect("added to");
    fs::write(&older, bytes).expect("it stayed");
    let mut names = Vec::new();
    let crashes = left_at_each_step(&dir, |watch| {
        let noted = |going| {
            names = going;
            watch(Step::Written)
        };
        let removed = archive.remove_old(&all(), noted, watch).expect("noted");
        assert_eq!((removed.traces, removed.bytes), (7, 7 * 4096));
    });
    assert_eq!((names.len(), crashes.len()), (7, 8));
    for (gone, (_, left)) in crashes.into_iter().enumerate() {
        let whole = TempDir::new().expect("a directory");
        fs::rename(left.keep(), whole.path().join(ARCHIVE)).expect("moved");
        assert_eq!(archived_gone(whole.path(), &names).expect("looked"), gone);
        let purge = ArchivePurge::at_rest(whole.path()).expect("it opens");
        assert_eq!(purge.count(&all()), 7 - gone, "and no older file has come back in its place");
        let rest = purge.remove_some(&all(), |_| Ok::<_, Infallible>(())).expect("noted");
        assert_eq!((rest.traces, purge.count(&all())), (7 - gone, 0));
    }
    assert_eq!(dir.read_dir().expect("listed").count(), 0);
}

#[test]
fn a_disk_that_does_not_let_go_of_one_says_how_many_are_gone() {
    let dir = TempDir::new().expect("a directory");
    let archive = filled(&dir, 3);
    let second = archive.get(id(2)).expect("archived").path.clone();
    fs::remove_file(&second).expect("removed");
    // No file, so that it cannot be removed as one.
    fs::create_dir(&second).expect("in its place");
    let name_of = |trace: u64| {
        let path = archive.get(id(trace)).expect("archived").path.clone();
        path.file_name().expect("a name").to_str().expect("text").to_owned()
    };
    let names = [1, 2, 3].map(name_of);
    let mut told = Vec::new();
    let noted = |going: Vec<String>| {
        assert!(archive.alone.try_lock().is_err(), "somebody else could remove one before it is noted");
        told.push(going);
        Ok::<_, Infallible>(())
    };
    let removed = archive.remove_old(&all(), noted, &|_| Ok(())).expect("noted");
    assert_eq!(told, [names.to_vec(), names[..1].to_vec()], "and which of them went");
    assert_eq!(removed.traces, 1);
    assert!(matches!(removed.failed, Some(RemovalFailure::Stayed(_))), "{removed:?}");
    assert!(archive.get(id(1)).is_none() && archive.get(id(2)).is_some() && archive.get(id(3)).is_some());
}

#[test]
fn a_disk_that_does_not_confirm_the_last_of_them_is_told_of_as_what_it_is() {
    let dir = TempDir::new().expect("a directory");
    let archive = filled(&dir, 2);
    let unconfirmed = |_| match archived_files(dir.path())?.len() {
        0 => Err(io::Error::other("input/output error")),
        _ => Ok(()),
    };
    let mut told = 0;
    let noted = |going: Vec<String>| {
        told += going.len();
        Ok::<_, Infallible>(())
    };
    let removed = archive.remove_old(&all(), noted, &unconfirmed).expect("noted");
    assert_eq!((removed.traces, told, archive.status().traces), (2, 2, 0));
    assert!(matches!(removed.failed, Some(RemovalFailure::Unconfirmed(_))), "{removed:?}");
}

/// What stands in a directory, by name.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = dir.read_dir().expect("listed").map(|entry| entry.expect("an entry").path());
    paths.map(|path| (path.clone(), fs::read(&path).expect("readable"))).collect()
}

#[test]
fn who_only_counts_what_is_old_leaves_the_directory_byte_for_byte() {
    let store = TempDir::new().expect("a directory");
    let look = || ArchivePurge::look(store.path()).expect("it is read");
    assert_eq!((look().count(&all()), store.path().read_dir().expect("listed").count()), (0, 0));
    let dir = store.path().join(ARCHIVE);
    let archive = Archive::open(&dir, 1 << 20, |_| {}, &mut Vec::new()).expect("an archive");
    for trace in 1..=3 {
        keep(&archive, Keeping::Asked, &some_spans(trace, 2), &|_| Ok(())).expect("archived");
    }
    // One was cut off, one was added to by a process that ended before the older file went, one was never written to its end.
    let path = |trace: u64| archive.get(id(trace)).expect("archived").path.clone();
    let (cut, older) = (path(1), path(2));
    fs::write(&cut, &fs::read(&cut).expect("readable")[..20]).expect("cut off");
    let bytes = fs::read(&older).expect("readable");
    keep(&archive, Keeping::Asked, &some_spans(2, 3), &|_| Ok(())).expect("added to");
    fs::write(&older, bytes).expect("it stayed");
    fs::write(older.with_extension("part"), "half").expect("written");
    let before = contents(&dir);
    assert_eq!(before.len(), 5);
    for _ in 0..2 {
        let purge = look();
        assert_eq!(purge.count(&all()), 2, "each trace once");
        let damaged: Vec<&Path> = purge.damaged().iter().map(|one| one.path.as_path()).collect();
        assert_eq!(damaged, [&cut]);
        assert_eq!(contents(&dir), before);
    }
    // Whoever may remove sets it aside, and is the only one to say so.
    let aside = cut.with_added_extension("damaged");
    let purge = ArchivePurge::at_rest(store.path()).expect("it opens");
    let damaged: Vec<&Path> = purge.damaged().iter().map(|one| one.path.as_path()).collect();
    assert_eq!((damaged, purge.count(&all())), (vec![aside.as_path()], 2));
    assert_eq!(contents(&dir).len(), 3);
    assert!(ArchivePurge::at_rest(store.path()).expect("it opens").damaged().is_empty());
}
