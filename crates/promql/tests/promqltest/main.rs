//! Prometheus' scripts of expressions and their values, run against ours. See README.md.

mod check;
mod memory;
mod script;
mod sequence;

use std::fmt::Write as _;

use promql::{Engine, Experimental, MetricNames, Options, StartTimes, UnquotedNames};

use memory::Memory;
use script::{Command, Script};

/// Cases that do not pass: file, line of the `eval`, and why.
const ALLOWED: [(&str, usize, &str); 0] = [];

/// Cases that do not pass where names are removed at once, as Prometheus does unless it is told otherwise: what they show is
/// that names are still there.
const ALLOWED_AT_ONCE: [(&str, usize, &str); 8] = [
    ("name_label_dropping.test", 59, "the name is copied to another label after `rate`"),
    ("name_label_dropping.test", 64, "the name is changed after `rate`"),
    ("name_label_dropping.test", 69, "the name is copied to another label after `rate`"),
    ("name_label_dropping.test", 74, "the name is changed after `rate`"),
    ("name_label_dropping.test", 89, "series that differ in their names only are added after `rate`"),
    ("name_label_dropping.test", 115, "the name is restored after `rate`"),
    ("name_label_dropping.test", 119, "series are grouped by the name after `rate`"),
    ("name_label_dropping.test", 123, "series are grouped by the name after `rate`"),
];

/// As Prometheus' runner sets its engine up, but for the names.
fn engine(metric_names: MetricNames) -> Engine {
    Engine::new(Options {
        experimental: Experimental::Known,
        unquoted_names: UnquotedNames::Utf8,
        metric_names,
        start_times: StartTimes::Used,
        ..Options::default()
    })
}

#[test]
fn prometheus_scripts_pass() {
    run_all(MetricNames::RemovedLast, &ALLOWED);
}

#[test]
fn prometheus_scripts_pass_where_names_are_removed_at_once() {
    run_all(MetricNames::RemovedAtOnce, &ALLOWED_AT_ONCE);
}

type Allowed = [(&'static str, usize, &'static str)];

fn run_all(names: MetricNames, may_fail: &Allowed) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/promqltest");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the scripts")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "test"))
        .collect();
    files.sort();
    assert!(files.len() >= 22, "scripts are missing: {}", files.len());
    let mut report = String::new();
    let (mut passed, mut failed, mut allowed) = (0, 0, 0);
    for path in files {
        let file = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a script");
        let (file_passed, file_failed) = run(&file, &text, names, may_fail, &mut report, &mut allowed);
        println!("{file}: {file_passed} passed, {file_failed} failed");
        passed += file_passed;
        failed += file_failed;
    }
    println!("{passed} passed, {allowed} failed as allowed, {failed} failed otherwise");
    assert!(report.is_empty(), "{report}");
}

/// How many cases of a script passed, and how many failed that may not.
fn run(
    file: &str,
    text: &str,
    names: MetricNames,
    may_fail: &Allowed,
    report: &mut String,
    allowed: &mut usize,
) -> (usize, usize) {
    let engine = engine(names);
    let mut memory = Memory::default();
    let (mut passed, mut failed) = (0, 0);
    let script = Script::parse(text).unwrap_or_else(|error| panic!("{file}: {error}"));
    for command in script.commands {
        match command {
            Command::Clear => memory = Memory::default(),
            Command::Load(load) => memory.load(load),
            Command::Eval(eval) => {
                let known = may_fail.iter().find(|(known, line, _)| *known == file && *line == eval.line);
                match (check::check(&engine, names, &eval, &memory), known) {
                    (Ok(()), None) => passed += 1,
                    (Err(_), Some(_)) => *allowed += 1,
                    (Ok(()), Some(_)) => {
                        failed += 1;
                        let _ = writeln!(report, "{file}:{}: passes, but is allowed to fail", eval.line);
                    }
                    (Err(why), None) => {
                        failed += 1;
                        let _ = writeln!(report, "{file}:{}: {}\n    {why}", eval.line, eval.expression);
                    }
                }
            }
        }
    }
    (passed, failed)
}
