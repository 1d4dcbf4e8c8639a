//! Prometheus' own tool accepts the rules that ship and those that are exported, and so do we; and it evaluates rules to what
//! we evaluate them to ([`same`]). Debian's package
//! `prometheus` brings it.

mod same;

use std::path::{Path, PathBuf};
use std::process::Command;

use alerting::{Settings, engine, load};
use slo::prometheus::{Provenance, RuleFile};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// What promtool says against a file; `None` where it is not installed.
fn promtool(file: &Path) -> Option<Result<(), String>> {
    let output = Command::new("promtool").args(["check", "rules"]).arg(file).output().ok()?;
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Some(if output.status.success() { Ok(()) } else { Err(said) })
}

fn accepted(files: &[PathBuf]) {
    assert!(!files.is_empty());
    for file in files {
        load(std::slice::from_ref(file), &engine(Settings::default().interval))
            .unwrap_or_else(|error| panic!("{error}"));
        match promtool(file) {
            Some(said) => said.unwrap_or_else(|said| panic!("{}: {said}", file.display())),
            None => println!("skipped: no promtool"),
        }
    }
}

#[test]
fn the_rules_that_ship_are_accepted() {
    let folder = Path::new(ROOT).join("deploy/prometheus");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let rules = entries.filter(|path| path.to_string_lossy().ends_with(".rules.yaml"));
    accepted(&rules.collect::<Vec<_>>());
}

#[test]
fn the_rules_that_objectives_are_exported_as_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for name in ["sloth.yaml", "pyrra.yaml", "openslo.yaml"] {
        let text = std::fs::read(Path::new(ROOT).join("crates/slo/src/file/tests").join(name)).unwrap();
        let provenance =
            Provenance { mode: "test".to_owned(), version: "test".to_owned(), labels: Default::default() };
        let objectives = slo::read(name, &text).unwrap();
        let exported = RuleFile::of(&objectives, &provenance).unwrap();
        let file = dir.path().join(name);
        std::fs::write(&file, exported.to_yaml()).unwrap();
        files.push(file);
    }
    accepted(&files);
}
