//! The commands against a trail: what they answer, and how they end.

use std::sync::Arc;
use std::time::Duration;

use audit::{Action, Audit, NewRecord, Outcome, Via};
use clap::Parser;
use domain::{Clock, Time};

use super::*;

struct Still;

impl Clock for Still {
    fn now(&self) -> Time {
        Time { boot_us: 0, wall_us: 1_700_000_000_000_000 }
    }

    fn wait(&self, _: Duration) {}
}

const APPROVE: Action = Action::new("remediation.approve");

fn trail() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path(), Arc::new(Still)).unwrap();
    for target in ["cart", "shop"] {
        audit.append(NewRecord::new("alice", Via::Session, APPROVE, target, Outcome::Done)).unwrap();
    }
    drop(audit);
    dir
}

fn typed(dir: &Path, words: &[&str]) -> Result<Exit, Failure> {
    let words = [&["homeostat", "--dir", dir.to_str().unwrap(), "audit"], words].concat();
    super::super::run(super::super::Cli::try_parse_from(words).unwrap())
}

#[test]
fn a_trail_that_was_left_alone_holds_and_one_that_was_changed_does_not() {
    let dir = trail();
    assert_eq!(typed(dir.path(), &["verify"]).unwrap(), Exit::Done);
    assert_eq!(typed(dir.path(), &["checkpoint"]).unwrap(), Exit::Done);
    let kept = dir.path().join("kept");
    fs::write(&kept, audit::newest_checkpoint(dir.path()).unwrap().unwrap().note).unwrap();
    assert_eq!(
        typed(dir.path(), &["verify", "--checkpoint", kept.to_str().unwrap(), "--json"]).unwrap(),
        Exit::Done
    );
    let log = dir.path().join("audit/log/00000000000000000000.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replace("shop", "shed")).unwrap();
    assert_eq!(typed(dir.path(), &["verify"]).unwrap(), Exit::Failed);
    assert_eq!(typed(dir.path(), &["prove", "0"]).unwrap_err().exit, Exit::Failed);
}

#[test]
fn a_proof_is_checked_where_there_is_no_trail() {
    let (dir, elsewhere) = (trail(), tempfile::tempdir().unwrap());
    let path = elsewhere.path().join("proof.json");
    let proof = audit::prove_record(dir.path(), 1, None).unwrap().to_json();
    fs::write(&path, &proof).unwrap();
    let words = ["verify", "--proof", path.to_str().unwrap()];
    assert_eq!(typed(elsewhere.path(), &words).unwrap(), Exit::Done);
    fs::write(&path, proof.replace("shop", "shed")).unwrap();
    assert_eq!(typed(elsewhere.path(), &words).unwrap_err().exit, Exit::Failed);
    fs::write(&path, "{}").unwrap();
    assert_eq!(typed(elsewhere.path(), &words).unwrap_err().exit, Exit::Usage);
}

#[test]
fn an_export_to_a_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let dir = trail();
    let path = dir.path().join("out.csv");
    let words =
        ["export", "--format", "csv", "--output", path.to_str().unwrap(), "--since", "2023-11-14T22:13:20Z"];
    assert_eq!(typed(dir.path(), &words).unwrap(), Exit::Done);
    let table = fs::read_to_string(&path).unwrap();
    assert_eq!(table.lines().count(), 3);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_is_not_there_is_wrong_input() {
    let (dir, empty) = (trail(), tempfile::tempdir().unwrap());
    for words in [&["verify"][..], &["checkpoint"], &["export"], &["prove", "0"], &["keys"]] {
        assert_eq!(typed(empty.path(), words).unwrap_err().exit, Exit::Usage, "{words:?}");
    }
    assert_eq!(typed(dir.path(), &["prove", "2"]).unwrap_err().exit, Exit::Usage);
    assert!(since("24h").is_ok() && since("yesterday").is_err());
}
