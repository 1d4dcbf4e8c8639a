//! A disk that takes nothing: the keeper's table cannot be written. What was refused for it was not done, and is
//! done when it is asked for again.

use domain::snapshot::Phase;
use domain::{FaultKind, StopManner};
use provider::ProcessProvider;
use serde_json::{Value, json};

use crate::fleet::{Fleet, Test, declared, fault, state, token, until};

const CART: &str = "  cart:\n    command: [\"{homeostat}\", service, serve]\n    listens: http\n    replicas: 2\n    volume: {size: 8MiB}\n";

pub(crate) const TESTS: &[Test] = &[
    ("a_change_that_could_not_be_written_down_was_not_made_and_can_be_made_later", changes),
    ("what_was_to_be_done_once_and_could_not_be_written_down_is_done_when_asked_again", done_once),
    ("a_keeper_that_cannot_write_its_log_either_goes_on", log_is_full),
    ("a_fleet_that_would_come_back_after_it_was_taken_down_is_said_to", taken_down),
];

/// While it is there, the keeper cannot write its table.
struct FullDisk(std::path::PathBuf);

impl FullDisk {
    fn of(fleet: &Fleet) -> Self {
        // In the place of the file that is written before it takes the table's name.
        let path = fleet.dir.path().join("keeper/table.json.new");
        until("no table is being written", || std::fs::create_dir(&path).ok());
        Self(path)
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.0).unwrap();
    }
}

/// Asks and is refused because the table cannot be written.
fn refused(fleet: &Fleet, request: &Value) {
    let why = fleet.ask(request.clone()).unwrap_err().to_string();
    assert!(why.contains("table") || why.contains("written down"), "{request}: {why}");
}

fn changes() {
    let fleet = Fleet::up(CART);
    fleet.ready("cart-1");
    let (attribute, first, second) = (json!({"replicas": "cart"}), token(), token());
    let set = |count: u32, expected: &Value, token| json!({"set": {"attribute": attribute, "value": {"count": count}, "expected": expected, "token": token}});
    let held = || fleet.ask(json!({"attribute": {"attribute": attribute}})).unwrap();
    fleet.ask(set(3, &json!(0), first)).unwrap();
    let pid = fleet.ready("cart-2");

    let full = FullDisk::of(&fleet);
    refused(&fleet, &set(4, &json!(1), second));
    assert_eq!(held()["value"], json!({"count": 3}));
    let unset = json!({"unset": {"attribute": attribute, "token": first}});
    refused(&fleet, &unset);
    assert_eq!(held()["value"], json!({"count": 3}), "taking it back is refused as a whole");
    let owns = json!({"owns": {"attribute": attribute, "token": first}});
    assert_eq!(fleet.ask(owns).unwrap(), true);
    assert!(fleet.find("cart-3").is_none());
    assert_eq!(fleet.pid("cart-2"), pid);
    drop(full);

    fleet.ask(set(4, &held()["generation"], second)).unwrap();
    fleet.ready("cart-3");
    assert_eq!(fleet.ask(unset).unwrap(), "below");
    let unset = json!({"unset": {"attribute": attribute, "token": second}});
    assert_eq!(fleet.ask(unset).unwrap(), "top");
    until("two are left", || fleet.find("cart-2").is_none().then_some(()));
}

fn done_once() {
    let fleet = Fleet::up(CART);
    let pid = fleet.ready("cart-0");
    let paused = fleet.ready("cart-1");
    let incarnation = |name: &str| fleet.instance(name).incarnation;
    let tokens = [(); 4].map(|()| token());
    let manner = StopManner::Kill;
    let expected = incarnation("cart-0");
    let restart = json!({"token": tokens[0], "instance": "cart-0", "expected": expected, "manner": manner});
    let pause = fault("instance/cart-1", FaultKind::Pause, 60);
    let expected = incarnation("cart-1");
    let requests = [
        json!({ "restart": restart }),
        json!({"inject": {"token": tokens[1], "fault": pause, "expected": expected}}),
        json!({"once": {"token": tokens[2], "errand": {"rotate_logs": {"instance": "cart-1"}}}}),
    ];

    let full = FullDisk::of(&fleet);
    for (request, token) in requests.iter().zip(tokens) {
        refused(&fleet, request);
        assert_eq!(fleet.ask(json!({"done": {"token": token}})).unwrap(), false, "{request}");
    }
    assert_eq!(fleet.ask(json!({"in_force": {"token": tokens[1]}})).unwrap(), false);
    assert_ne!(state(paused), Some('T'));
    drop(full);

    // A keeper that finds an instance on its way out ends it.
    fleet
        .ask(json!({"once": {"token": tokens[3], "errand": {"rotate_logs": {"instance": "cart-1"}}}}))
        .unwrap();
    fleet.kill_keeper();
    assert_eq!(fleet.ready("cart-0"), pid);
    assert_ne!(fleet.instance("cart-0").phase, Phase::Stopping);
    for (request, token) in requests.iter().zip(tokens) {
        fleet.ask(request.clone()).unwrap();
        assert_eq!(fleet.ask(json!({"done": {"token": token}})).unwrap(), true, "{request}");
    }
    until("another process runs", || fleet.instance("cart-0").incarnation.filter(|it| it.pid != pid));
    until("the other one is stopped", || (state(paused) == Some('T')).then_some(()));
}

fn log_is_full() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("keeper")).unwrap();
    std::os::unix::fs::symlink("/dev/full", dir.path().join("keeper/keeper.log")).unwrap();
    let provider = ProcessProvider::open(dir.path()).unwrap();
    let fleet = Fleet { dir, provider };
    fleet.provider.up(&declared(CART)).unwrap();
    // Two ends one after the other: at each the keeper would say that it could not be written down.
    let pids = [fleet.ready("cart-0"), fleet.ready("cart-1")];
    for (name, seconds) in [("instance/cart-0", 1), ("instance/cart-1", 2)] {
        fleet.inject(token(), &fault(name, FaultKind::Pause, seconds)).unwrap();
    }
    let _full = FullDisk::of(&fleet);
    for pid in pids {
        until("it is stopped no more", || {
            fleet.provider.heartbeat().unwrap();
            (state(pid) != Some('T')).then_some(())
        });
    }
}

fn taken_down() {
    let fleet = Fleet::up(CART);
    fleet.ready("cart-0");
    let full = FullDisk::of(&fleet);
    let why = fleet.provider.down().unwrap_err().to_string();
    assert!(why.contains("the next keeper would start it again"), "{why}");
    drop(full);
    fleet.provider.down().unwrap();
    assert!(!fleet.dir.path().join("keeper/volumes").exists());
}
