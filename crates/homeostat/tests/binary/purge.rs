//! Own records that are removed on request: said first, over the server that runs and without one, and audited.

use std::time::Duration;

use domain::{Clock, IdSource, Issue, IssueKind, Reason, Severity, Time};
use provider::clock::SystemClock;
use serde_json::json;
use store::Store;

use crate::Test;
use crate::fleet::{Fleet, until};
use crate::wrong_input::{nothing_runs, refused};

pub(crate) const TESTS: &[Test] = &[
    ("old_records_go_when_they_are_asked_to_and_not_before", purged),
    ("a_damaged_archived_trace_is_left_by_a_dry_run_and_told_by_whoever_sets_it_aside", damaged),
];

const DAY: Duration = Duration::from_secs(86_400);

/// An issue that was over this long ago, where nothing runs.
fn closed(fleet: &Fleet, seed: u64, ago: Duration) {
    let now = SystemClock.now();
    let micros = i64::try_from(ago.as_micros()).unwrap();
    let at = Time { boot_us: now.boot_us, wall_us: now.wall_us - micros };
    let issue = Issue {
        id: IdSource::seeded(seed).next(at),
        kind: IssueKind::HighMemory,
        reason: Reason::Unspecified,
        resource: "instance/cart-0".parse().unwrap(),
        severity: Severity::High,
        description: "93 % of its memory limit, above 90 %".to_owned(),
        detected_at: at,
        last_seen: at,
        closed_at: Some(at),
        metrics: Default::default(),
        recurrences: 0,
    };
    Store::take_over(&fleet.dir, &SystemClock).unwrap().save_issue(&issue).unwrap();
}

fn purged() {
    let mut fleet = Fleet::new("[otlp]\nenabled = false\n[metrics]\nenabled = false\n");
    refused(&fleet.run(&["purge", "--older-than", "60d"]), 2, &["holds no data"]);
    refused(&fleet.run(&["purge", "--older-than", "2h"]), 2, &["at least 30d"]);
    let issues = |words: &[&str]| {
        let asked: Vec<&str> = ["purge", "--json", "--kind", "issues"].iter().chain(words).copied().collect();
        let said = fleet.run(&asked).json();
        (said["dry_run"].clone(), said["issues"].clone())
    };
    for (seed, days) in [(1, 2), (2, 40), (3, 80)] {
        closed(&fleet, seed, DAY * days);
    }
    // Where no server runs.
    assert_eq!(issues(&["--older-than", "60d"]), (json!(true), json!(1)));
    assert_eq!(issues(&["--older-than", "60d", "--yes"]), (json!(false), json!(1)));
    assert_eq!(issues(&["--older-than", "60d", "--yes"]), (json!(false), json!(0)));
    nothing_runs(&fleet);

    // Over the one that does.
    fleet.serve();
    let issues = |words: &[&str]| {
        let asked: Vec<&str> = ["purge", "--json", "--kind", "issues"].iter().chain(words).copied().collect();
        fleet.run(&asked).json()["issues"].clone()
    };
    let said = fleet.run(&["purge", "--older-than", "30d"]).done();
    assert!(said.out.contains("1  closed issues") && said.err.contains("--yes"), "{said:#?}");
    assert_eq!(issues(&["--older-than", "30d", "--yes"]), json!(1));
    let kept = fleet.get("/api/v3/self-healing/issues").unwrap();
    assert_eq!(kept.as_array().map(Vec::len), Some(1), "{kept}");
    let records = || fleet.run(&["audit", "export"]).done().out;
    until("it is in the audit trail, by whom and what", || {
        let all = records();
        let of: Vec<&str> = all.lines().filter(|line| line.contains("\"records.purge\"")).collect();
        let whole =
            of.iter().any(|line| line.contains("command_line") && line.contains(": 1 issues removed"))
                && of.iter().any(|line| line.contains("\"token\"") && line.contains(": 1 issues removed"));
        if whole { Ok(()) } else { Err(all) }
    });
}

fn damaged() {
    let fleet = Fleet::new("[otlp]\nenabled = false\n[metrics]\nenabled = false\n");
    closed(&fleet, 1, DAY);
    let purge = |words: &[&str]| {
        let asked = ["purge", "--older-than", "30d", "--kind", "traces"];
        fleet.run(&asked.iter().chain(words).copied().collect::<Vec<_>>()).done().err
    };
    let archive = fleet.dir.join("telemetry/archive");
    purge(&[]);
    std::fs::create_dir_all(archive.parent().unwrap()).unwrap();
    purge(&[]);
    assert!(!archive.exists(), "a dry run made a directory");
    std::fs::create_dir(&archive).unwrap();
    // As a truncated file of three spans is, and what a crash left unfinished.
    let trace = format!("{:032x}.1000000.asked.3.trace", 7);
    let unfinished = format!("{:032x}.1000000.asked.3.part", 8);
    for name in [&trace, &unfinished] {
        std::fs::write(archive.join(name), "").unwrap();
    }
    let names = || {
        let entries = archive.read_dir().unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let told = |name: &str| {
        format!(
            "0 of its 3 spans can be read; what is left of it is kept as {}",
            archive.join(name).display()
        )
    };
    // As often as it is asked.
    for _ in 0..2 {
        let said = purge(&[]);
        assert!(said.lines().any(|line| line.ends_with(&told(&trace))), "{said}");
        assert_eq!(names(), [trace.clone(), unfinished.clone()]);
    }
    let aside = format!("{trace}.damaged");
    let said = purge(&["--yes"]);
    assert!(said.lines().any(|line| line.ends_with(&told(&aside))), "{said}");
    assert_eq!(names(), [aside]);
}
