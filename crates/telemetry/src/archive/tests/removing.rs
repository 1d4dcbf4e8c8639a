//! What is removed is gone for good, and holds up nobody who reads.

use super::*;

#[test]
fn a_removed_trace_stays_removed() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    send(&store, 1, 1..4);
    store.archive_trace(id(1), Keeping::Asked).expect("archived");
    assert!(store.remove_archived(id(1)).expect("removed"));
    assert_eq!(found(&store, 1), 3, "retention has it still");
    forget(store, &dir);
    let store = open(&dir);
    assert_eq!((found(&store, 1), store.archive_status().bytes), (0, 0));
}

#[test]
fn a_trace_whose_file_is_gone_is_removed_and_searches_go_on() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    send(&store, 1, 1..4);
    store.archive_trace(id(1), Keeping::Asked).expect("archived");
    fs::remove_file(dir.path().join("archive").join(&files(&dir)[0])).expect("somebody cleans up");
    assert!(store.remove_archived(id(1)).expect("removed"));
    assert_eq!((store.archived_traces(), searched(&store), found(&store, 1)), (Vec::new(), vec![id(1)], 3));
}

#[test]
fn an_older_file_that_stayed_goes_with_the_trace_or_the_trace_stays() {
    let dir = TempDir::new().expect("a directory");
    let archive = Archive::open(dir.path(), 1 << 20, |_| {}, &mut Vec::new()).expect("an archive");
    keep(&archive, Keeping::Asked, &some_spans(1, 3), &|_| Ok(())).expect("archived");
    let older = archive.get(id(1)).expect("archived").path.clone();
    let bytes = fs::read(&older).expect("readable");
    keep(&archive, Keeping::Asked, &some_spans(1, 5), &|_| Ok(())).expect("added to");
    keep(&archive, Keeping::Asked, &some_spans(2, 1), &|_| Ok(())).expect("archived");
    // No file, so that it cannot be removed as one.
    fs::create_dir(&older).expect("in its place");
    let refused = archive.remove(id(1), &|_| Ok(())).expect_err("the disk does not let go of it");
    assert!(matches!(refused, ArchiveError::Disk { .. }), "{refused}");
    assert_eq!(archive.trace(id(1)).expect("readable").len(), 5, "it is there as it was");
    fs::remove_dir(&older).expect("removed");
    fs::write(&older, bytes).expect("it stayed when it was added to");
    assert!(archive.remove(id(1), &|_| Ok(())).expect("removed"));
    assert!(!older.exists());
    let archive = Archive::open(dir.path(), 1 << 20, |_| {}, &mut Vec::new()).expect("an archive");
    assert_eq!(
        (archive.get(id(1)).is_none(), archive.status().traces),
        (true, 1),
        "and no start brings it back"
    );
}

#[test]
fn a_disk_that_does_not_confirm_a_removal_is_told_of_as_what_it_is() {
    let dir = TempDir::new().expect("a directory");
    let archive = Archive::open(dir.path(), 1 << 20, |_| {}, &mut Vec::new()).expect("an archive");
    keep(&archive, Keeping::Asked, &some_spans(1, 3), &|_| Ok(())).expect("archived");
    let told = archive.remove(id(1), &|_| Err(io::Error::other("input/output error")));
    let told = told.expect_err("nobody knows what the disk has");
    assert!(matches!(told, ArchiveError::Unconfirmed { .. }), "{told}");
    assert!(told.to_string().contains("is removed") && told.to_string().contains("power cut"), "{told}");
    assert!(archive.get(id(1)).is_none() && archived_files(dir.path()).expect("listed").is_empty());
    assert!(!archive.remove(id(1), &|_| Ok(())).expect("there is none"), "and it can be looked for again");
}

#[test]
fn a_trace_that_is_removed_while_searches_run_fails_none_of_them() {
    let dir = TempDir::new().expect("a directory");
    let archive = Archive::open(dir.path(), 1 << 20, |_| {}, &mut Vec::new()).expect("an archive");
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| {
            for _ in 0..100 {
                keep(&archive, Keeping::Asked, &some_spans(1, 3), &|_| Ok(())).expect("archived");
                assert!(archive.remove(id(1), &|_| Ok(())).expect("removed"));
            }
        });
        while !changes.is_finished() {
            archive.trace(id(1)).expect("it is there, or it is not");
        }
    });
}
