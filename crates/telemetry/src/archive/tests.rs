//! The archive, and what its tests share.

use std::cell::RefCell;
use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::Config;
use crate::fixture::{self, Message, text};
use crate::model::{Resource, Scope, Value};
use crate::trace::fixture as spans;

mod bounds;
mod crashes;
mod keeping;
mod purging;
mod removing;

fn open(dir: &TempDir) -> Telemetry {
    open_with(dir, |_| {})
}

fn open_with(dir: &TempDir, change: impl FnOnce(&mut Config)) -> Telemetry {
    let mut config = Config::new(dir.path());
    change(&mut config);
    Telemetry::open(config).expect("a store opens")
}

fn send(store: &Telemetry, trace: u64, spans: std::ops::Range<u64>) {
    let spans = spans.map(|span| fixture::span(trace, span, 1_000 * trace + span));
    let admission = store.intake().traces(&fixture::traces("cart", spans)).expect("taken in");
    admission.durable.wait().expect("on disk");
}

fn id(trace: u64) -> TraceId {
    TraceId(fixture::trace_id(trace))
}

fn found(store: &Telemetry, trace: u64) -> usize {
    store.trace(id(trace)).expect("readable").len()
}

fn searched(store: &Telemetry) -> Vec<TraceId> {
    let filter = TraceFilter { service: Some("cart".to_owned()), ..TraceFilter::default() };
    store.search(&filter).expect("readable").into_iter().map(|(id, _)| id).collect()
}

/// Lets go of all that is no archive, as retention does in the end.
fn forget(store: Telemetry, dir: &TempDir) {
    store.close();
    drop(store);
    for tier in ["hot", "cold"] {
        fs::remove_dir_all(dir.path().join(tier)).expect("there is a tier");
    }
}

fn files(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path().join("archive")).expect("an archive");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

fn some_spans(trace: u64, count: u64) -> Vec<Span> {
    let resource = Arc::new(Resource { service: "unknown_service".to_owned(), attributes: Vec::new() });
    let of = |n| Span { trace_id: id(trace), resource: Arc::clone(&resource), ..spans::span(n, 0, n, n + 5) };
    (1..=count).map(of).collect()
}

fn keep(archive: &Archive, keeping: Keeping, spans: &[Span], watch: Watch<'_>) -> Result<(), ArchiveError> {
    archive.keep(spans[0].trace_id, keeping, || Ok(spans.to_vec()), watch).map(drop)
}

/// What stands in an archive at each step of `act`: what a crash there would leave.
fn left_at_each_step(dir: &Path, act: impl FnOnce(Watch<'_>)) -> Vec<(Step, TempDir)> {
    let taken = RefCell::new(Vec::new());
    act(&|step| {
        let copy = TempDir::new()?;
        for entry in dir.read_dir()? {
            let entry = entry?;
            fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
        }
        taken.borrow_mut().push((step, copy));
        Ok(())
    });
    taken.into_inner()
}
