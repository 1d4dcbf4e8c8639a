//! The whole loop, one row of the fault matrix at a time: the fault is injected the way an experiment does
//! it, the loop turns four times a virtual second, and everything it did is told as a story under
//! `golden/`. `UPDATE_GOLDEN=1 cargo test -p heal` writes the stories anew; read what changed before you
//! keep it.

mod support;

use std::path::Path;
use std::time::Duration;

use domain::{CauseClass, Fault, IssueKind, OutcomeKind, Reason, ResourceId, Strategy};
use serde::Deserialize;
use support::story::Story;
use support::{Lab, automatic};

/// After this long nothing of a fault of two minutes is left: its time, a minute of holding, and the
/// longest time a measure waits to be lifted when the path is well.
const PATIENCE: Duration = Duration::from_secs(400);

#[derive(Debug, Deserialize)]
struct Matrix {
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Row {
    name: String,
    fault: Fault,
    expect: Expect,
}

#[derive(Debug, Deserialize)]
struct Expect {
    issue: IssueKind,
    reason: Reason,
    cause: ExpectedCause,
    strategy: Option<Strategy>,
    outcome: OutcomeKind,
}

#[derive(Debug, Deserialize)]
struct ExpectedCause {
    resource: ResourceId,
    class: CauseClass,
}

fn matrix() -> Matrix {
    serde_saphyr::from_str(include_str!("../../../drills/matrix.yaml")).expect("the matrix can be read")
}

/// Injects the row's fault and lets the loop turn until nothing is left to do.
fn tell(row: &Row) -> (Lab, Story) {
    let mut lab = Lab::shop(automatic());
    let mut story = Story::default();
    lab.turn();
    lab.inject(&row.fault).unwrap_or_else(|why| panic!("{} is not injected: {why}", row.name));
    while lab.now().since(lab.begun) < PATIENCE {
        story.follow(&lab);
        lab.turn();
        if lab.is_quiet() {
            break;
        }
    }
    story.follow(&lab);
    (lab, story)
}

fn plays(name: &str) {
    let row = matrix().rows.into_iter().find(|row| row.name == name).expect("the matrix has this row");
    let (lab, story) = tell(&row);
    keep(name, story.text());
    check(&row, &lab, &story);
}

/// Compares a story with the one that is kept.
fn keep(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "{name} goes otherwise than in {}:\n{text}", path.display());
}

/// Whether what was expected of the row came about.
fn check(row: &Row, lab: &Lab, story: &Story) {
    let (name, expect, told) = (&row.name, &row.expect, story.text());
    let cause_first = |issue: &domain::Issue| {
        story
            .causes(issue.id)
            .first()
            .is_some_and(|cause| cause.resource == expect.cause.resource && cause.class == expect.cause.class)
    };
    let found = story.issues().find(|issue| issue.kind == expect.issue && cause_first(issue));
    let issue = found.unwrap_or_else(|| panic!("{name}: the issue or its cause was not found\n{told}"));
    assert_eq!(issue.reason, expect.reason, "{name}\n{told}");
    let seen: Vec<_> = story.repairs().map(|record| record.plan.strategy().unwrap()).collect();
    let wanted: Vec<_> = expect.strategy.into_iter().collect();
    assert_eq!(seen, wanted, "{name}: repairs\n{told}");
    for record in story.repairs() {
        let outcome = record.outcome.as_ref().unwrap_or_else(|| panic!("{name}: no verdict\n{told}"));
        assert_eq!(outcome.kind, expect.outcome, "{name}\n{told}");
    }
    assert!(lab.is_quiet(), "{name}: not quiet after {PATIENCE:?}: {:?}\n{told}", lab.left_behind());
    assert_eq!(lab.left_behind(), Vec::<String>::new(), "{name}\n{told}");
}

macro_rules! rows {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            plays($name);
        })*

        #[test]
        fn every_row_of_the_matrix_is_played() {
            let rows: Vec<String> = matrix().rows.into_iter().map(|row| row.name).collect();
            assert_eq!(rows, [$($name),*]);
        }
    };
}

rows! {
    kill_cart: "kill-cart",
    kill_database: "kill-database",
    kill_front: "kill-front",
    delete_payments: "delete-payments",
    pause_cart: "pause-cart",
    pause_database: "pause-database",
    pause_payments: "pause-payments",
    cpu_catalogue: "cpu-catalogue",
    memory_orders: "memory-orders",
    oom_payments: "oom-payments",
    disk_temporary_orders: "disk-temporary-orders",
    disk_logs_front: "disk-logs-front",
    disk_cache_catalogue: "disk-cache-catalogue",
    disk_data_database: "disk-data-database",
    latency_one_backend_cart: "latency-one-backend-cart",
    latency_connections_catalogue: "latency-connections-catalogue",
    latency_all_catalogue: "latency-all-catalogue",
    partition_all_payments: "partition-all-payments",
    partition_one_backend_cart: "partition-one-backend-cart",
    throttle_one_backend_catalogue: "throttle-one-backend-catalogue",
    throttle_all_catalogue: "throttle-all-catalogue",
}
