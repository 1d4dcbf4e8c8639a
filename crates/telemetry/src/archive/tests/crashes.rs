//! A crash, a full disk or a damaged file leaves whole traces.

use super::*;
use crate::OpenError;

#[test]
fn a_crash_at_any_step_leaves_the_trace_as_before_or_as_asked_for() {
    let dir = TempDir::new().expect("a directory");
    let archive = Archive::open(dir.path(), 16 << 10, |_| {}, &mut Vec::new()).expect("an archive");
    keep(&archive, Keeping::Evidence, &some_spans(7, 1), &|_| Ok(())).expect("archived");
    keep(&archive, Keeping::Evidence, &some_spans(8, 1), &|_| Ok(())).expect("archived");
    keep(&archive, Keeping::Asked, &some_spans(1, 3), &|_| Ok(())).expect("archived");
    // It grows by so much that the two others have to go.
    let grown = some_spans(1, 400);
    assert!(Encoded::new(&grown).counted() > 8 << 10, "{}", Encoded::new(&grown).counted());
    let crashes = left_at_each_step(dir.path(), |watch| {
        keep(&archive, Keeping::Evidence, &grown, watch).expect("archived");
    });
    let steps: Vec<Step> = crashes.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps[..3], [Step::HalfWritten, Step::Written, Step::Named]);
    assert!(steps[3..].len() >= 2 && steps[3..].iter().all(|&step| step == Step::LetGo), "{steps:?}");
    for (step, left) in crashes {
        let archive = Archive::open(left.path(), 16 << 10, |_| {}, &mut Vec::new()).expect("it opens");
        let expected = if step < Step::Named { 3 } else { 400 };
        assert_eq!(archive.trace(id(1)).expect("readable").len(), expected, "{step:?}");
        assert_eq!(archive.get(id(1)).map(|kept| kept.told.keeping), Some(Keeping::Asked), "{step:?}");
        assert!(archive.status().bytes <= 16 << 10, "{step:?}: {:?}", archive.status());
        let names = archived_files(left.path()).expect("listed");
        assert_eq!(names.len() as u64, archive.status().traces, "{step:?}: {names:?}");
        assert_eq!(
            left.path().read_dir().expect("listed").count(),
            names.len(),
            "{step:?}: nothing is left over"
        );
    }
}

#[test]
fn a_disk_that_refuses_leaves_what_was_there_and_nothing_else() {
    for refusing in [Step::HalfWritten, Step::Written, Step::Named] {
        let dir = TempDir::new().expect("a directory");
        let archive = Archive::open(dir.path(), 1 << 20, |_| {}, &mut Vec::new()).expect("an archive");
        keep(&archive, Keeping::Asked, &some_spans(1, 3), &|_| Ok(())).expect("archived");
        let refuse = |step| if step == refusing { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) };
        let refused = keep(&archive, Keeping::Asked, &some_spans(1, 5), &refuse).expect_err("refused");
        assert!(matches!(refused, ArchiveError::Disk { .. }), "{refused}");
        assert_eq!(archive.trace(id(1)).expect("readable").len(), 3, "{refusing:?}");
        assert_eq!(dir.path().read_dir().expect("listed").count(), 1, "{refusing:?}");
        let archive = Archive::open(dir.path(), 1 << 20, |_| {}, &mut Vec::new()).expect("an archive");
        assert_eq!(archive.trace(id(1)).expect("readable").len(), 3, "{refusing:?}");
        keep(&archive, Keeping::Asked, &some_spans(1, 5), &|_| Ok(())).expect("with room again");
    }
}

#[test]
fn a_damaged_file_is_set_aside_and_told_and_hides_no_other() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    (1..=3).for_each(|trace| send(&store, trace, 1..4));
    for trace in 1..=3 {
        store.archive_trace(id(trace), Keeping::Asked).expect("archived");
    }
    forget(store, &dir);
    let path = |trace: u64| {
        let name = files(&dir).into_iter().find(|name| name.starts_with(&id(trace).to_string()));
        dir.path().join("archive").join(name.expect("its file"))
    };
    let mut bytes = fs::read(path(1)).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    fs::write(path(1), bytes).expect("written");
    fs::write(path(2), b"").expect("written");
    let store = open(&dir);
    assert_eq!([1, 2, 3].map(|trace| found(&store, trace)), [0, 0, 3]);
    assert_eq!(store.damaged_traces().len(), 2);
    assert!(
        store.damaged_traces().iter().all(|damaged| damaged.path.exists()),
        "{:?}",
        store.damaged_traces()
    );
}

#[test]
fn what_was_set_aside_before_an_opening_failed_is_told_with_its_error_as_the_next_one_finds_it_no_more() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    for trace in 1..=2 {
        send(&store, trace, 1..4);
        store.archive_trace(id(trace), Keeping::Asked).expect("archived");
    }
    forget(store, &dir);
    let paths: Vec<PathBuf> = archived_files(&dir.path().join(ARCHIVE)).expect("listed");
    paths.iter().for_each(|path| fs::write(path, b"").expect("written"));
    // The second cannot have the name under which it would be left alone.
    let in_the_way = paths[1].with_added_extension("damaged");
    fs::create_dir(&in_the_way).expect("in the way");
    let errors = [
        Telemetry::open(Config::new(dir.path())).expect_err("it cannot be set aside"),
        ArchivePurge::at_rest(dir.path()).expect_err("nor by whoever purges"),
    ];
    let first = paths[0].with_added_extension("damaged");
    assert!(first.exists() && paths[1].exists());
    let OpenError::SetAside { set_aside, .. } = &errors[0] else { panic!("{}", errors[0]) };
    assert_eq!(set_aside.traces.iter().map(|one| &one.path).collect::<Vec<_>>(), [&first]);
    assert!(errors[0].to_string().contains(&first.display().to_string()), "{}", errors[0]);
    assert!(matches!(errors[1], OpenError::Io { .. }), "nothing more was set aside: {}", errors[1]);
    fs::remove_dir(in_the_way).expect("out of the way");
    assert_eq!(open(&dir).damaged_traces().len(), 1, "and the second is told of when it is");
}
