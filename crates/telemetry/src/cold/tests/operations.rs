//! Names with ids in them: the index stays small, and everything is found.

use std::path::PathBuf;

use super::*;
use crate::SpanKind;

/// A store with one unit: `names` spans each with a name of its own, and as many with one in common. Number `n` of the
/// former takes `n` + 10 ns.
fn with_names(dir: &TempDir, names: u64) -> Telemetry {
    let store = open(dir);
    let span = |number: u64, name: String| {
        let span =
            Message::new().bytes(1, fixture::trace_id(1 + number)).bytes(2, (1 + number).to_be_bytes());
        span.bytes(5, name).varint(6, 2).fixed64(7, 1000 + number).fixed64(8, 1010 + 2 * number)
    };
    let own = (0..names).map(|n| span(n, format!("GET /order/{n}")));
    send(&store, &fixture::traces("s1", own));
    send(&store, &fixture::traces("s1", (names..2 * names).map(|n| span(n, "GET /".to_owned()))));
    store.compact().expect("compacted");
    store
}

fn indexed(store: &Telemetry) -> usize {
    store.open.tiers.units()[0].index.spans.iter().map(|group| group.operations.len()).sum()
}

fn index_of(store: &Telemetry) -> std::path::PathBuf {
    store.open.tiers.units()[0].files.index.clone()
}

/// The index as an earlier version says that it wrote it.
fn as_format(index: &std::path::Path, format: u16) {
    let mut bytes = fs::read(index).expect("an index");
    bytes[4..6].copy_from_slice(&format.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..28]).to_le_bytes();
    bytes[28..32].copy_from_slice(&crc);
    fs::write(index, bytes).expect("written");
}

fn found(store: &Telemetry, operation: &str, kind: SpanKind, least: u64) -> usize {
    let filter = TraceFilter {
        service: Some("s1".to_owned()),
        operation: Some(operation.to_owned()),
        kind: Some(kind),
        duration: least..=u64::MAX,
        status: StatusFilter::NotError,
        limit: 10_000,
        ..TraceFilter::default()
    };
    store.search(&filter).expect("readable").len()
}

#[test]
fn ever_new_names_are_not_all_kept_in_memory_and_all_are_found() {
    let dir = TempDir::new().expect("a directory");
    let store = with_names(&dir, 1500);
    let check = |store: &Telemetry| {
        assert!(indexed(store) <= 201, "{} operations", indexed(store));
        for n in (0..1500).step_by(43) {
            assert_eq!(found(store, &format!("GET /order/{n}"), SpanKind::Server, n + 10), 1, "{n}");
        }
        assert_eq!(found(store, "GET /", SpanKind::Server, 0), 1500);
        assert_eq!(found(store, "GET /order/1499", SpanKind::Server, 1510), 0, "none took so long");
        assert_eq!(found(store, "GET /order/1499", SpanKind::Client, 0), 0);
    };
    check(&store);
    drop(store);
    let store = open(&dir);
    check(&store);
    let known = store.operations("s1");
    let common = Operation { name: "GET /".to_owned(), kind: SpanKind::Server };
    assert!(known.contains(&common) && known.iter().all(|operation| !operation.name.is_empty()), "{known:?}");
}

#[test]
fn an_index_of_the_version_before_is_read_and_one_it_cannot_have_written_is_set_aside() {
    let dir = TempDir::new().expect("a directory");
    let store = with_names(&dir, 150);
    let index = index_of(&store);
    drop(store);
    as_format(&index, 2);
    assert_eq!(found(&open(&dir), "GET /order/7", SpanKind::Server, 17), 1);
    let dir = TempDir::new().expect("a directory");
    let store = with_names(&dir, 250);
    let index = index_of(&store);
    drop(store);
    as_format(&index, 2);
    let store = open(&dir);
    let damaged: Vec<&PathBuf> = store.damaged().iter().map(|files| &files.index).collect();
    assert_eq!((damaged, found(&store, "GET /order/7", SpanKind::Server, 17)), (vec![&index], 0));
}
