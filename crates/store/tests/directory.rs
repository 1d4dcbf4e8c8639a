//! The data directory: one controller, no newer schema, nothing lost by `kill -9`, a reboot, or a full disk.

mod support;

use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use domain::*;
use store::boot::Boot;
use store::*;
use support::purging::*;
use support::*;

/// Names the directory in the environment of a child that is this test again.
const CHILD_DIR: &str = "STORE_TEST_CHILD_DIR";

/// This test again, in another process.
fn child(program: &[&str], test: &str, dir: &Path) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut words = program.iter().map(std::ffi::OsStr::new).chain([this.as_os_str()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(["--exact", test, "--nocapture", "--test-threads=1"]).env(CHILD_DIR, dir);
    command
}

#[test]
fn a_second_controller_is_refused_and_told_who_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open(dir.path()).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(&error, StoreError::Locked { holder, .. } if *holder == std::process::id().to_string()));
    assert!(error.to_string().contains("is in use by another command with process id"), "{error}");
    let clone = first.clone();
    drop(first);
    assert!(Store::open(dir.path()).is_err(), "a clone holds it too");
    drop(clone);
    Store::open(dir.path()).unwrap();
}

/// A clock that nobody waits by.
struct Still;

impl Clock for Still {
    fn now(&self) -> Time {
        at(1)
    }

    fn wait(&self, _: Duration) {}
}

#[test]
fn a_control_plane_and_a_command_that_hold_a_directory_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let held = || store::holder(dir.path()).unwrap().map(|holder| (holder.pid, holder.kind));
    assert_eq!(held(), None);
    let this = std::process::id();
    let command = Store::open(dir.path()).unwrap();
    assert_eq!(held(), Some((this, HolderKind::Command)));
    drop(command);
    let command = store::hold(dir.path()).unwrap();
    assert_eq!(held(), Some((this, HolderKind::Command)));
    drop(command);
    let _control_plane = Store::take_over(dir.path(), &Still).unwrap();
    assert_eq!(held(), Some((this, HolderKind::ControlPlane)));
    let error = store::hold(dir.path()).unwrap_err().to_string();
    assert!(error.contains("is in use by the controller with process id"), "{error}");
}

#[test]
fn the_database_and_its_log_are_their_owners_alone_also_in_a_directory_that_everybody_may_read() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.save_issue(&issue(1)).unwrap();
    for name in ["homeostat.db", "homeostat.db-wal", "homeostat.db-shm"] {
        let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn the_log_of_a_killed_process_is_copied_back_before_anything_is_written_behind_it() {
    let (dir, left) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::open(dir.path()).unwrap();
    store.save_issue(&issue(1)).unwrap();
    for name in ["homeostat.db", "homeostat.db-wal"] {
        std::fs::copy(dir.path().join(name), left.path().join(name)).unwrap();
    }
    let log = left.path().join("homeostat.db-wal");
    assert!(log.metadata().unwrap().len() > 0);
    let after = Store::open(left.path()).unwrap();
    assert_eq!(log.metadata().unwrap().len(), 0, "what follows does not rest on it");
    assert!(after.issue(issue(1).id).unwrap().is_some());
}

#[test]
fn a_newer_schema_is_refused_with_both_versions_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let path = dir.path().join("homeostat.db");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 4711).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::NewerSchema { found: 4711, supported: 13, .. }), "{error}");
    assert!(error.to_string().contains("4711"), "{error}");
}

#[test]
fn the_tables_of_the_specification_are_there_with_their_columns() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let issue = issue(1);
    store.save_issue(&issue).unwrap();
    let plan = repair(2, &issue, "cart-0");
    store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
    store.start_plan(plan.id, &SlotLimits::NONE, at(3)).unwrap();
    store.complete_steps(plan.id, PlanStatus::Verifying, &[], at(4)).unwrap();
    let reader = rusqlite::Connection::open(dir.path().join("homeostat.db")).unwrap();
    for sql in [
        "SELECT id, type, severity, resource, description, detected_at, metrics, remediated, created_at
         FROM self_healing_issues",
        "SELECT id, overall_score, compute_score, network_score, storage_score, database_score,
             security_score, issues_detected, auto_remediated, timestamp, created_at FROM health_scores",
        "SELECT id, issue_id, action_type, description, status, started_at, completed_at, success,
             error_message, rollback_performed, created_at FROM self_healing_remediations",
    ] {
        reader.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let row: (String, String, String, Option<bool>) = reader
        .query_row(
            "SELECT action_type, status, started_at, success FROM self_healing_remediations",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .unwrap();
    assert_eq!((row.0.as_str(), row.1.as_str()), ("graceful_restart", "in_progress"));
    assert_eq!((row.2, row.3), (at(3).rfc3339(), None));
}

/// The child saves issues and journals plans, and says so after each; it is killed at a random instant.
#[test]
fn what_was_acknowledged_survives_kill_9() {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        let store = Store::open(Path::new(&dir)).unwrap();
        // Another id in every life of the child.
        for seed in 1_000 * u64::from(std::process::id()).. {
            let plan = experiment(seed, "cart-0");
            store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
            println!("plan {}", plan.id);
            store.append_intent(first_step(&plan), &plan.steps[0], &Captured::Nothing, at(1)).unwrap();
            println!("intent {}", plan.id);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(11);
    let mut acknowledged = Vec::new();
    for round in 0..10 {
        let test = "what_was_acknowledged_survives_kill_9";
        let mut running = child(&[], test, dir.path()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
        let enough = random.usize(1..60);
        let said = lines.by_ref().map(Result::unwrap).filter(|line| line.contains('-'));
        acknowledged.extend(said.take(enough));
        running.kill().unwrap();
        // What it still said before it died counts as well; a torn last line does not.
        acknowledged.extend(lines.map_while(Result::ok).filter(|line| line.len() >= 41));
        running.wait().unwrap();

        let store = Store::open(dir.path()).unwrap();
        for line in &acknowledged {
            let Some((what, id)) = line.trim_start_matches('.').split_once(' ') else {
                continue;
            };
            let Ok(id) = id.parse::<PlanId>() else { continue };
            match what {
                "plan" => assert!(store.plan(id).unwrap().is_some(), "round {round}: {line} was lost"),
                "intent" => assert_eq!(store.journal(id).unwrap().len(), 1, "round {round}: {line} was lost"),
                _ => {}
            }
        }
    }
    let plans = acknowledged.iter().filter(|line| line.starts_with("plan ")).count();
    assert!(plans >= 50, "only {plans} plans were acknowledged, the test shows nothing");
}

#[test]
fn times_are_translated_once_when_the_machine_was_rebooted() {
    let dir = tempfile::tempdir().unwrap();
    let first = Boot { id: "first".to_owned(), now: NOW };
    // Ten minutes later by the wall clock, one minute after the next boot.
    let wall_us = NOW.wall_us + 600_000_000;
    let second = Boot { id: "second".to_owned(), now: Time { boot_us: 60_000_000, wall_us } };
    let issue = issue(1);
    let plan = repair(2, &issue, "cart-0");
    {
        let store = Store::open_in_boot(dir.path(), &first).unwrap();
        store.save_issue(&issue).unwrap();
        store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
        store.start_plan(plan.id, &SlotLimits::NONE, at(3)).unwrap();
        for (kind, due) in [(TimerKind::LiftPlan, at(599)), (TimerKind::ApprovalExpiry, at(630))] {
            store.add_timer(&Timer { kind, plan: plan.id, due }).unwrap();
        }
        let lesson = format!(r#"{{"seen":[{{"boot_us":5,"wall_us":{wall_us}}}]}}"#);
        store.put_document("lesson", &lesson).unwrap();
        store.put_document("prose", "no JSON, though it names \"boot_us\"").unwrap();
        store.latch_emergency_stop(at(590)).unwrap();
    }
    for _ in 0..2 {
        let store = Store::open_in_boot(dir.path(), &second).unwrap();
        let due: Vec<TimerKind> = store.due_timers(second.now).unwrap().iter().map(|t| t.kind).collect();
        assert_eq!(due, [TimerKind::LiftPlan]);
        assert_eq!(store.due_timers(second.now.plus(Duration::from_secs(30))).unwrap().len(), 2);
        let found = store.issue(issue.id).unwrap().unwrap();
        assert_eq!(found.detected_at, Time { boot_us: 0, ..issue.detected_at }, "before this boot");
        let document = store.document("lesson").unwrap().unwrap();
        assert!(document.contains(r#""boot_us":60000000"#), "{document}");
        assert_eq!(store.document("prose").unwrap().unwrap(), "no JSON, though it names \"boot_us\"");
        let stop = store.switches().unwrap().emergency_stop.unwrap();
        assert_eq!((stop.boot_us, stop.wall_us), (50_000_000, at(590).wall_us));
        // Started 597 s ago, though this boot is only a minute old: still within the hour.
        let again = repair(4, &issue, "cart-0");
        store.add_plan(&again, PlanStatus::Pending, &[]).unwrap();
        let one = SlotLimits { in_all: 1, ..SlotLimits::NONE };
        let now = |seconds| second.now.plus(Duration::from_secs(seconds));
        assert!(matches!(store.start_plan(again.id, &one, now(3000)).unwrap(), Started::Taken(_)));
    }
}

#[test]
fn this_machine_names_its_boot() {
    let (one, other) = (Boot::read().unwrap(), Boot::read().unwrap());
    assert_eq!((one.id.len(), &one.id), (36, &other.id));
    assert!(one.now.boot_us > 0 && one.now.wall_us > NOW.wall_us - 86_400_000_000);
}

/// Does `work` on a small file system in its own namespace, in a process of its own that runs `test` again.
fn on_a_small_disk(test: &str, mib: u32, work: fn(&Path)) {
    const DONE: &str = "done on a small disk";
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        work(Path::new(&dir));
        println!("{DONE}");
        return;
    }
    let mount =
        format!(r#"mount -t tmpfs -o mode=0700,size={mib}m tmpfs "$STORE_TEST_CHILD_DIR" && exec "$0" "$@""#);
    let probe = Command::new("unshare").args(["-Urm", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        eprintln!("not shown: this machine gives no user namespace to mount a small disk in");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = child(&["unshare", "-Urm", "sh", "-c", &mount], test, dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(DONE), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Fills the disk of `dir` to the last block. Returns the file that does.
fn fill_the_disk(dir: &Path) -> std::path::PathBuf {
    let filler = dir.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    filler
}

#[test]
fn on_a_full_disk_the_repair_path_writes_into_the_reserve() {
    on_a_small_disk("on_a_full_disk_the_repair_path_writes_into_the_reserve", 16, fill_the_disk_and_repair);
}

#[test]
fn on_a_full_disk_more_is_removed_than_the_reserve_has_room_to_write_down() {
    on_a_small_disk(
        "on_a_full_disk_more_is_removed_than_the_reserve_has_room_to_write_down",
        48,
        fill_the_disk_and_purge,
    );
}

fn fill_the_disk_and_purge(dir: &Path) {
    let store = Store::open(dir).unwrap();
    let old = closed(&store, 1);
    for seed in 2..2500 {
        let mut plan = repair(seed, &old, "cart-0");
        plan.expected_effect = "x".repeat(8000);
        store.add_plan(&plan, PlanStatus::Failed, &[]).unwrap();
    }
    fill_the_disk(dir);
    let said = purgeable(&store, &RecordKind::ALL);
    assert_eq!(said.plans, 2498);
    assert_eq!(purge(&store, &RecordKind::ALL), said);
    assert!(store.give_back(|| ControlFlow::Continue(())).unwrap().given_back() > 4 << 20);
    store.put_document("key", "value").unwrap();
}

fn fill_the_disk_and_repair(dir: &Path) {
    let store = Store::open(dir).unwrap();
    let reserve = dir.join("reserve");
    assert_eq!(reserve.metadata().unwrap().len(), Reserve::SIZE);
    let filler = fill_the_disk(dir);

    // Records outside the repair path fail, and do not touch the reserve.
    let long = "x".repeat(200_000);
    let full = (0..100).map(|i| store.put_document(&format!("d{i}"), &long)).find_map(Result::err);
    assert!(matches!(full, Some(StoreError::Full)), "{full:?}");
    assert!(reserve.exists());

    // A repair goes through from its issue to its end.
    let issue = issue(1);
    store.save_issue(&issue).unwrap();
    for seed in 0..300 {
        let plan = repair(100 + seed, &issue, "cart-0");
        store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
        let token = first_step(&plan);
        let limits = SlotLimits::NONE;
        let started = store.start_plan_with_intent(token, &plan.steps[0], &Captured::Nothing, &limits, at(5));
        assert_eq!(started.unwrap(), Started::Yes);
        store.append_ending(token, &Ending::Done, at(6)).unwrap();
        store.complete_steps(plan.id, PlanStatus::Success, &[], at(6)).unwrap();
    }
    assert!(!reserve.exists(), "the reserve was used");
    assert!(matches!(store.put_document("key", "value"), Err(StoreError::Full)));

    // The disk has room again: so has the reserve.
    std::fs::remove_file(&filler).unwrap();
    store.put_document("key", "value").unwrap();
    assert_eq!(reserve.metadata().unwrap().len(), Reserve::SIZE);
}

#[test]
fn beyond_its_size_limit_nothing_is_written_and_nothing_is_lost() {
    let store = Store::in_memory().unwrap();
    store.put_document("kept", "kept").unwrap();
    store.limit_size(Some(1)).unwrap();
    let long = "x".repeat(100_000);
    assert!(matches!(store.put_document("key", &long), Err(StoreError::Full)));
    assert_eq!(store.document("key").unwrap(), None);
    assert_eq!(store.document("kept").unwrap().as_deref(), Some("kept"));
    store.limit_size(None).unwrap();
    store.put_document("key", &long).unwrap();
}

#[test]
fn a_timer_of_a_kind_that_is_no_more_is_no_reason_not_to_start() {
    let dir = tempfile::tempdir().unwrap();
    let issue = issue(1);
    let plan = repair(2, &issue, "cart-0");
    let store = Store::open(dir.path()).unwrap();
    store.save_issue(&issue).unwrap();
    store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
    store.add_timer(&Timer { kind: TimerKind::LiftPlan, plan: plan.id, due: at(5) }).unwrap();
    drop(store);
    let database = rusqlite::Connection::open(dir.path().join("homeostat.db")).unwrap();
    let add = "INSERT INTO timers SELECT 'verify_deadline', plan, due_boot_us, due_wall_us FROM timers";
    assert_eq!(database.execute(add, []).unwrap(), 1);
    drop(database);
    let store = Store::open(dir.path()).unwrap();
    let kinds: Vec<TimerKind> = store.timers().unwrap().iter().map(|timer| timer.kind).collect();
    assert_eq!(kinds, [TimerKind::LiftPlan]);
}
