//! Moving changes where rows are, never what is answered; no instant of a crash loses any or leaves any behind.

use super::storage::{Door, Storage};
use super::*;
use crate::cold::moving::{Step, Trouble};
use crate::{ObjectStorage, OpenError, ReadError};

fn with_bucket(dir: &TempDir, objects: ObjectStorage) -> Config {
    Config { compact_after: None, objects: Some(objects), ..Config::new(dir.path()) }
}

/// A store whose units are moved when a test says so.
fn open_moving(dir: &TempDir, storage: &Storage, prefix: &str) -> Telemetry {
    open_with(with_bucket(dir, storage.objects(prefix)))
}

fn move_all(store: &Telemetry) -> Result<u64, Trouble> {
    let moving = store.open.moving.as_ref().expect("a bucket");
    let mut done = 0;
    while moving.tick(Take::All)? {
        done += 1;
    }
    Ok(done)
}

fn moved(store: &Telemetry) -> u64 {
    store.moved().expect("a bucket").units
}

/// Names of the files of units here, without their numbers.
fn endings(dir: &TempDir) -> Vec<String> {
    let names = crate::cold::compact::files_in(&dir.path().join("cold")).expect("cold").into_iter();
    let name = |path: std::path::PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
    names.map(name).map(|name| name.split_once('.').map_or(name.clone(), |(_, e)| e.to_owned())).collect()
}

fn ranged_reads(store: &Telemetry) -> u64 {
    store.object_counters().expect("a bucket").ranged_reads.get()
}

/// Sends the same spans and log records to all stores, and compacts them in all but the first.
fn send_part(stores: &[&Telemetry], part: u64, seeds: &[Seed]) {
    let numbered: Vec<(u64, Seed)> =
        seeds.iter().enumerate().map(|(at, seed)| (part * 1000 + at as u64, seed.clone())).collect();
    for (at, store) in stores.iter().enumerate() {
        request(&numbered).iter().for_each(|request| send(store, request));
        let records = (1..4).map(|n| fixture::log_record(part * 300 + n, 9 + n, &format!("body {n}")));
        send_logs(store, &fixture::logs("s1", records));
        if at > 0 {
            store.compact().expect("compacted");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    /// The same spans and records, answered for from segments, and from units of which some or all were moved; after a
    /// restart; and in a directory that had nothing.
    #[test]
    fn answers_stay_the_same_whatever_is_moved(
        parts in prop::collection::vec(prop::collection::vec(seed(), 1..30), 2..4),
    ) {
        let Some(storage) = Storage::start() else { return Ok(()) };
        let (hot_dir, dir) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
        let (hot, cold) = (open(&hot_dir), open_moving(&dir, &storage, "a/b"));
        for (part, seeds) in parts.iter().enumerate() {
            send_part(&[&hot, &cold], part as u64, seeds);
            wait_for_names(&cold, &hot);
            prop_assert_eq!(answers(&cold), answers(&hot), "part {} compacted", part);
            if part + 1 < parts.len() {
                move_all(&cold).expect("moved");
                prop_assert_eq!(answers(&cold), answers(&hot), "part {} moved", part);
            }
        }
        prop_assert_eq!(moved(&cold), parts.len() as u64 - 1);
        move_all(&cold).expect("moved");
        prop_assert_eq!(answers(&cold), answers(&hot), "all moved");
        drop(cold);
        let cold = open_moving(&dir, &storage, "a/b");
        prop_assert_eq!((moved(&cold), answers(&cold)), (parts.len() as u64, answers(&hot)), "after a restart");
        prop_assert!(ranged_reads(&cold) > 0);
        drop(cold);
        let empty = TempDir::new().expect("a directory");
        let cold = open_moving(&empty, &storage, "a/b");
        prop_assert_eq!((moved(&cold), answers(&cold)), (parts.len() as u64, answers(&hot)), "in an empty directory");
        send_part(&[&hot, &cold], 9, &parts[0]);
        wait_for_names(&cold, &hot);
        prop_assert_eq!(answers(&cold), answers(&hot), "and what came after");
    }
}

#[test]
fn what_was_moved_is_here_as_its_index_alone_and_there_as_files_that_others_read() {
    let Some(storage) = Storage::start() else { return };
    let dir = TempDir::new().expect("a directory");
    let store = filled_with(&dir, &storage, "p");
    let unit = Arc::clone(&store.open.tiers.units()[0]);
    let spans = fs::read(&unit.files.spans).expect("a file");
    let before = store.compacted().1;
    assert_eq!(move_all(&store).expect("moved"), 1);
    assert_eq!(endings(&dir), ["index", "moved", "owner"]);
    let stem = unit.files.stem();
    let names = ["index", "logs.parquet", "spans.parquet"].map(|ending| format!("{stem}.{ending}"));
    assert_eq!(storage.names("p"), [&names[..], &["owner".to_owned()]].concat());
    let there = storage.bucket("p").get(&names[2]).expect("an answer").expect("an object").content;
    assert!(there == spans && there.starts_with(b"PAR1") && there.ends_with(b"PAR1"));
    let told = store.moved().expect("a bucket");
    assert_eq!((told.units, told.trouble.as_deref(), &*told.url), (1, None, "s3://spans/p"));
    assert!(told.bytes > spans.len() as u64 && store.compacted().1 < before, "local bytes count alone");
    assert!(!store.open.work.merge().expect("nothing to merge"));
}

/// A store with one unit of 200 spans and 19 log records.
fn filled_with(dir: &TempDir, storage: &Storage, prefix: &str) -> Telemetry {
    let store = open_moving(dir, storage, prefix);
    let spans = (0..200).map(|n| fixture::span(1 + n % 12, n + 1, 1000 + n));
    send(&store, &fixture::traces("s1", spans));
    send_logs(&store, &fixture::logs("s1", (1..20).map(|n| fixture::log_record(n, 9, "body 3"))));
    store.compact().expect("compacted");
    store
}

/// A crash after any step: what is answered is the same, and what is left of it is put right by the next try.
#[test]
fn a_move_that_stops_anywhere_loses_and_leaves_nothing() {
    let Some(storage) = Storage::start() else { return };
    let steps = [
        Step::SpansUploaded,
        Step::LogsUploaded,
        Step::IndexUploaded,
        Step::MarkerWritten,
        Step::RowsRemoved,
    ];
    for (number, stop) in steps.into_iter().enumerate() {
        let dir = TempDir::new().expect("a directory");
        let prefix = format!("crash-{number}");
        let store = filled_with(&dir, &storage, &prefix);
        let before = answers(&store);
        let crash =
            |step| if step == stop { Err(io::Error::other("a crash made for a test")) } else { Ok(()) };
        let moving = store.open.moving.as_ref().expect("a bucket");
        moving.tick_watched(Take::All, &crash).expect_err("stopped");
        assert!(moving.trouble().is_some_and(|why| why.contains("made for a test")), "{stop:?}");
        assert_eq!(store.object_counters().expect("a bucket").failures.get(), 1);
        assert_eq!(answers(&store), before, "{stop:?}, still running");
        drop(store);
        let store = open_moving(&dir, &storage, &prefix);
        assert_eq!(answers(&store), before, "{stop:?}, after a restart");
        move_all(&store).expect("tried again");
        assert_eq!((answers(&store), moved(&store)), (before, 1), "{stop:?}, moved at last");
        assert_eq!(
            (endings(&dir).len(), storage.names(&prefix).len()),
            (3, 4),
            "{stop:?}: what is left is put right"
        );
    }
}

/// The same where the unit was merged, so that it is never moved again, and where it is let go of.
#[test]
fn what_a_crash_left_there_of_a_unit_that_is_no_more_is_removed() {
    let Some(storage) = Storage::start() else { return };
    for stop in [Step::SpansUploaded, Step::IndexUploaded] {
        let prefix = format!("gone-{stop:?}");
        let dir = TempDir::new().expect("a directory");
        let store = open_moving(&dir, &storage, &prefix);
        for part in 0..4 {
            let spans = (0..60).map(|n| fixture::span(1 + n % 12, 1 + part * 60 + n, 1000 + part * 60 + n));
            send(&store, &fixture::traces("s1", spans));
            store.compact().expect("compacted");
        }
        let before = answers(&store);
        let crash =
            |step| if step == stop { Err(io::Error::other("a crash made for a test")) } else { Ok(()) };
        let moving = store.open.moving.as_ref().expect("a bucket");
        moving.tick_watched(Take::All, &crash).expect_err("stopped");
        assert!(store.open.work.merge().expect("merged"));
        drop(store);
        let store = open_moving(&dir, &storage, &prefix);
        assert!(storage.names(&prefix).len() > 1);
        move_all(&store).expect("moved");
        assert_eq!((answers(&store), moved(&store)), (before, 1), "{stop:?}");
        assert_eq!(storage.names(&prefix).len(), 3, "{stop:?}: owner, spans and index of the merged unit");
    }
}

/// Makes a file as old as if it had been written eight days ago.
fn make_old(path: &std::path::Path) {
    #[expect(clippy::disallowed_methods, reason = "files are dated by the wall clock")]
    let old = SystemTime::now() - Duration::from_secs(8 * 24 * 3600);
    fs::File::options().append(true).open(path).and_then(|file| file.set_modified(old)).expect("made old");
}

#[test]
fn retention_removes_what_is_there_too_and_a_crash_amid_it_leaves_nothing() {
    let Some(storage) = Storage::start() else { return };
    for stop in [None, Some(Step::IndexRemovedThere), Some(Step::RowsRemovedThere)] {
        let prefix = format!("old-{stop:?}").replace(['(', ')'], "");
        let dir = TempDir::new().expect("a directory");
        let store = filled_with(&dir, &storage, &prefix);
        move_all(&store).expect("moved");
        send(&store, &fixture::traces("s1", [fixture::span(50, 1, 5)]));
        store.compact().expect("compacted");
        make_old(&store.open.tiers.units()[0].files.index);
        drop(store);
        storage.set(Door::Shut);
        let store = open_moving(&dir, &storage, &prefix);
        store.open.work.retain();
        let found = |store: &Telemetry, trace| {
            store.trace(TraceId(fixture::trace_id(trace))).expect("readable").len()
        };
        assert_eq!((found(&store, 1), found(&store, 50)), (0, 1), "it is gone at once, whoever is away");
        let moving = store.open.moving.as_ref().expect("a bucket");
        moving.tick(Take::Due).expect_err("away");
        assert!(endings(&dir).contains(&"gone".to_owned()));
        storage.set(Door::Open);
        if let Some(stop) = stop {
            let crash = |step| if step == stop { Err(io::Error::other("a crash")) } else { Ok(()) };
            moving.tick_watched(Take::Due, &crash).expect_err("stopped");
        }
        drop(store);
        let store = open_moving(&dir, &storage, &prefix);
        assert_eq!((found(&store, 1), found(&store, 50)), (0, 1));
        while store.open.moving.as_ref().expect("a bucket").tick(Take::Due).expect("removed") {}
        assert_eq!((storage.names(&prefix), endings(&dir).len()), (vec!["owner".to_owned()], 3), "{stop:?}");
    }
}

#[test]
fn retention_by_bytes_lets_go_of_what_is_here_and_moving_begins_before_it() {
    let Some(storage) = Storage::start() else { return };
    let dir = TempDir::new().expect("a directory");
    let store = filled_with(&dir, &storage, "p");
    let unit = store.open.tiers.units()[0].bytes();
    move_all(&store).expect("moved");
    send(&store, &fixture::traces("s1", (0..200).map(|n| fixture::span(30 + n % 12, 300 + n, 9000 + n))));
    store.compact().expect("compacted");
    let (all, here) = (store.compacted().1, store.open.tiers.units()[1].bytes());
    drop(store);
    // Three quarters of what is allowed are in use, and nothing is due by its age.
    let crowded = Config { retention_bytes: all * 5 / 4, ..with_bucket(&dir, storage.objects("p")) };
    let store = open_with(crowded);
    store.open.work.retain();
    assert_eq!((store.open.tiers.units().len(), moved(&store)), (2, 1));
    assert!(store.open.moving.as_ref().expect("a bucket").tick(Take::Due).expect("moved"));
    assert_eq!(moved(&store), 2);
    drop(store);
    let indexes = all - here;
    assert!(indexes < unit, "an index is smaller than its unit");
    let store = open_with(Config { retention_bytes: 3 * indexes, ..with_bucket(&dir, storage.objects("p")) });
    store.open.work.retain();
    assert_eq!(moved(&store), 1, "where indexes take more than half of the room, the oldest goes");
}

/// Storage that is away: whoever needs it hears so, everybody else is served, and all is as before when it is back.
#[test]
fn storage_that_is_away_is_said_and_costs_only_what_is_there() {
    let Some(storage) = Storage::start() else { return };
    for door in [Door::Shut, Door::Failing(500), Door::Failing(503), Door::Silent, Door::Cut(60)] {
        let prefix = format!("away-{door:?}").replace(['(', ')'], "-");
        let dir = TempDir::new().expect("a directory");
        let store = filled_with(&dir, &storage, &prefix);
        move_all(&store).expect("moved");
        storage.set(door);
        let newer = 1_000_000;
        send(&store, &fixture::traces("s2", (0..20).map(|n| fixture::span(70, 500 + n, newer + n))));
        let of = |start| TraceFilter { start, limit: 50, ..TraceFilter::default() };
        let error = store.search(&of(0..=u64::MAX)).expect_err("a part is away");
        assert!(matches!(&error, ReadError::Away { url, .. } if url.ends_with(&prefix)), "{door:?}: {error}");
        assert!(error.to_string().contains("part of the answer is in s3://spans/away-"), "{error}");
        assert!(
            matches!(store.trace(TraceId(fixture::trace_id(1))), Err(ReadError::Away { .. })),
            "{door:?}"
        );
        assert!(matches!(store.logs(&LogFilter::default()), Err(ReadError::Away { .. })), "{door:?}");
        assert!(matches!(store.each_match(&of(0..=u64::MAX), drop), Err(ReadError::Away { .. })), "{door:?}");
        assert_eq!(store.search(&of(newer..=u64::MAX)).expect("all of it is here").len(), 1, "{door:?}");
        assert_eq!(store.trace(TraceId(fixture::trace_id(70))).expect("here").len(), 20, "{door:?}");
        store.compact().expect("compacted");
        move_all(&store).expect_err("away");
        let counters = store.object_counters().expect("a bucket");
        assert_eq!((counters.failures.get(), moved(&store)), (1, 1), "{door:?}");
        assert!(counters.read_failures.get() >= 4, "{door:?}");
        assert!(store.moved().expect("a bucket").trouble.is_some(), "{door:?}");
        drop(store);
        let store = open_moving(&dir, &storage, &prefix);
        assert_eq!(store.search(&of(newer..=u64::MAX)).expect("a start needs nobody").len(), 1, "{door:?}");
        storage.set(Door::Open);
        move_all(&store).expect("moved");
        assert_eq!((moved(&store), store.moved().expect("a bucket").trouble), (2, None), "{door:?}");
        assert_eq!(store.search(&of(0..=u64::MAX)).expect("readable").len(), 13, "{door:?}");
    }
}

#[test]
fn questions_read_what_can_match_and_what_was_read_lately_once() {
    let Some(storage) = Storage::start() else { return };
    let dir = TempDir::new().expect("a directory");
    let store = open_moving(&dir, &storage, "p");
    for chunk in (0..40_000u64).collect::<Vec<_>>().chunks(500) {
        let spans = chunk.iter().map(|&n| {
            let noise: String = (0..8u64)
                .map(|at| format!("{:016x}", (n * 8 + at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
                .collect();
            fixture::span(1 + n / 10, n + 1, 1000 + n).message(9, text("noise", &noise))
        });
        send(&store, &fixture::traces("s1", spans));
    }
    store.compact().expect("compacted");
    move_all(&store).expect("moved");
    let bytes = store.moved().expect("a bucket").bytes;
    let none = TraceFilter { service: Some("nobody".to_owned()), ..TraceFilter::default() };
    let never =
        TraceFilter { tags: vec![("nobody.has".to_owned(), "this".to_owned())], ..TraceFilter::default() };
    for filter in [none, never] {
        assert_eq!(store.search(&filter).expect("answered by the index").len(), 0);
    }
    assert_eq!(
        (store.trace(TraceId(fixture::trace_id(9_999_999))).expect("none").len(), ranged_reads(&store)),
        (0, 0)
    );
    let id = TraceId(fixture::trace_id(2_000));
    assert_eq!(store.trace(id).expect("readable").len(), 10);
    let counters = store.object_counters().expect("a bucket");
    let (reads, read) = (counters.ranged_reads.get(), counters.read_bytes.get());
    assert!(reads > 0 && read < bytes, "{read} of {bytes} bytes in {reads} reads");
    assert_eq!(store.trace(id).expect("readable").len(), 10);
    assert_eq!(counters.ranged_reads.get(), reads, "what was read lately is here");
}

#[test]
fn what_was_replaced_there_is_not_taken_for_what_was_put_there() {
    let Some(storage) = Storage::start() else { return };
    let dir = TempDir::new().expect("a directory");
    let store = filled_with(&dir, &storage, "p");
    move_all(&store).expect("moved");
    let name = storage.names("p").into_iter().find(|name| name.ends_with("spans.parquet")).expect("spans");
    let bucket = storage.bucket("p");
    let bytes = bucket.get(&name).expect("an answer").expect("an object").content;
    bucket.put_bytes(&name, &vec![7; bytes.len()], None).expect("put");
    let error = store.trace(TraceId(fixture::trace_id(1))).expect_err("replaced");
    assert!(error.to_string().contains("is not what was put there"), "{error}");
    bucket.delete(&name).expect("removed");
    let error = store.trace(TraceId(fixture::trace_id(1))).expect_err("removed");
    assert!(matches!(error, ReadError::Away { .. }), "{error}");
}

#[test]
fn an_index_that_was_lost_here_is_fetched_by_the_next_start() {
    let Some(storage) = Storage::start() else { return };
    for damage in [false, true] {
        let prefix = format!("lost-{damage}");
        let dir = TempDir::new().expect("a directory");
        let store = filled_with(&dir, &storage, &prefix);
        send(&store, &fixture::traces("s2", (0..20).map(|n| fixture::span(70, 500 + n, 5000 + n))));
        store.compact().expect("compacted");
        let before = answers(&store);
        move_all(&store).expect("moved");
        let files = store.open.tiers.units()[0].files.clone();
        drop(store);
        if damage {
            fs::write(files.moved(), "homeostat-moved 1\n").expect("written");
        } else {
            fs::remove_file(&files.index).expect("removed");
            fs::remove_file(files.moved()).expect("removed");
        }
        let store = open_moving(&dir, &storage, &prefix);
        assert_eq!(store.damaged().len(), usize::from(damage));
        move_all(&store).expect("looked through");
        assert_eq!((answers(&store), moved(&store)), (before, 2));
        let firsts: Vec<u64> = store.open.tiers.units().iter().map(|unit| unit.segments()[0]).collect();
        assert!(firsts.is_sorted(), "{firsts:?}");
    }
}

#[test]
fn a_prefix_has_one_store_and_a_directory_one_bucket() {
    let Some(storage) = Storage::start() else { return };
    let dirs = [(); 3].map(|()| TempDir::new().expect("a directory"));
    let store = filled_with(&dirs[0], &storage, "p");
    move_all(&store).expect("moved");
    drop(store);
    // One that has spans of its own.
    drop(filled(&dirs[1]));
    let error = Telemetry::open(with_bucket(&dirs[1], storage.objects("p"))).expect_err("another's");
    assert!(error.to_string().contains("s3://spans/p belongs to another store"), "{error}");
    let objects = [None, Some(storage.objects("q"))];
    for objects in objects {
        let error =
            Telemetry::open(Config { objects, ..Config::new(dirs[0].path()) }).expect_err("moved elsewhere");
        assert!(matches!(&error, OpenError::MovedElsewhere { url, .. } if url == "s3://spans/p"), "{error}");
        assert!(error.to_string().contains("were moved to s3://spans/p, and "), "{error}");
    }
    // One that took the prefix over leaves nothing to the first.
    drop(open_moving(&dirs[2], &storage, "p"));
    storage.bucket("p").put_bytes("owner", b"somebody", None).expect("put");
    let store = open_moving(&dirs[0], &storage, "p");
    let error = move_all(&store).expect_err("another's now");
    assert!(matches!(error, Trouble::Foreign { .. }), "{error}");
    assert!(!storage.names("p").is_empty());
}

#[test]
fn a_first_start_says_what_is_wrong_with_the_bucket_and_never_a_secret() {
    let Some(storage) = Storage::start() else { return };
    let dir = TempDir::new().expect("a directory");
    let failure = |objects: ObjectStorage| {
        let error = Telemetry::open(with_bucket(&dir, objects)).expect_err("refused").to_string();
        assert!(!error.contains(storage::SECRET), "{error}");
        error
    };
    let missing = ObjectStorage { url: "s3://nothing-here/p".to_owned(), ..storage.objects("p") };
    assert!(failure(missing).contains("NoSuchBucket"));
    let wrong = storage.objects("p");
    let path = wrong.credentials_file.clone().expect("a file");
    let text = format!("[default]\naws_access_key_id = {}\naws_secret_access_key = wrong\n", storage::ACCESS);
    fs::write(&path, text).expect("written");
    assert!(failure(wrong).contains("refused with status 403"));
    let objects = storage.objects("p");
    storage.set(Door::Shut);
    assert!(failure(objects).contains("did not answer"));
    assert_eq!(endings(&dir), [""; 0], "and nothing is begun");
}

#[test]
fn old_units_are_moved_by_themselves() {
    let Some(storage) = Storage::start() else { return };
    let dir = TempDir::new().expect("a directory");
    let objects = ObjectStorage { after: Duration::ZERO, ..storage.objects("p") };
    let hour = Some(Duration::from_secs(3600));
    let store = open_with(Config { compact_after: hour, ..with_bucket(&dir, objects) });
    send(&store, &fixture::traces("s1", (0..20).map(|n| fixture::span(1, 1 + n, 1000 + n))));
    store.compact().expect("compacted");
    let deadline = Instant::now() + Duration::from_secs(60);
    while moved(&store) == 0 {
        assert!(Instant::now() < deadline, "{:?}", store.moved());
        assert_eq!(store.trace(TraceId(fixture::trace_id(1))).expect("readable").len(), 20);
    }
    assert_eq!(store.trace(TraceId(fixture::trace_id(1))).expect("readable").len(), 20);
    assert_eq!(store.object_counters().expect("a bucket").failures.get(), 0);
    // A request under way does not hold up the end.
    storage.set(Door::Silent);
    send(&store, &fixture::traces("s1", (0..20).map(|n| fixture::span(2, 100 + n, 2000 + n))));
    store.compact().expect("compacted");
    drop(store);
    assert_eq!(endings(&dir).iter().filter(|ending| *ending == "moved").count(), 1);
}

/// Certificates that the environment names are believed, and no others.
#[test]
fn storage_over_https_is_believed_by_its_certificate() {
    let Some(provided) = storage::provided() else { return };
    let dir = TempDir::new().expect("a directory");
    let (certificate, key) = (provided.join("cert.pem"), provided.join("key.pem"));
    let (mut server, port) = storage::serve(&provided, dir.path(), &[&certificate, &key]);
    let objects = ObjectStorage {
        url: "s3://spans/p".to_owned(),
        endpoint: Some(format!("https://127.0.0.1:{port}")),
        region: None,
        credentials_file: None,
        after: Duration::MAX,
    };
    let bucket = |bundle: Option<&std::path::Path>| {
        let bundle = bundle.map(|path| path.display().to_string());
        let variable = |name: &str| match name {
            "AWS_ACCESS_KEY_ID" => Some(storage::ACCESS.to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some(storage::SECRET.to_owned()),
            "AWS_CA_BUNDLE" => bundle.clone(),
            _ => None,
        };
        crate::objects::Bucket::new(&objects, variable)
    };
    let believing = bucket(Some(&certificate)).expect("a bucket");
    let outcome = (|| {
        let put = believing.put_bytes("a", b"0123456789", None)?;
        Ok::<_, crate::objects::BucketError>((believing.read("a", &put, 2, 3)?, believing.list()?))
    })();
    let usual = bucket(None).expect("a bucket").list();
    server.kill().and_then(|()| server.wait()).expect("ended");
    assert_eq!(outcome, Ok((b"234".to_vec(), vec![("a".to_owned(), 10)])));
    let error = usual.expect_err("its certificate is nobody's").to_string();
    assert!(error.contains("certificate"), "{error}");
    assert!(bucket(Some(&key)).expect_err("no certificate").to_string().contains("AWS_CA_BUNDLE"));
}
