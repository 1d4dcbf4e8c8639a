//! Volumes with a real limit. Where the machine allows no namespace, what is tested is the refusal.

use domain::Enforcement;
use provider::Look;
use serde_json::json;

use crate::fleet::{Fleet, Test, named, token, until};

pub(crate) const CART: &str =
    "  cart:\n    command: [\"{homeostat}\", service, serve]\n    listens: http\n    volume: {size: 8MiB}\n";

pub(crate) const TESTS: &[Test] = &[
    ("a_full_volume_says_so_and_grows_while_in_use", enospc_and_growth),
    ("data_survives_the_process_and_the_keeper", data_survives),
    ("a_size_that_was_written_down_and_not_given_is_given_by_the_next_keeper", size_follows_the_table),
    ("logs_are_rotated_and_old_files_removed", errands),
];

pub(crate) fn held(fleet: &Fleet) -> bool {
    let kernel = matches!(fleet.provider.capabilities().volumes, Enforcement::Kernel(_));
    if !kernel {
        println!("no volumes here: {:?}", fleet.provider.capabilities().volumes);
        println!("skipped: no volume namespace");
    }
    kernel
}

fn enospc_and_growth() {
    let fleet = Fleet::up(CART);
    fleet.ready("cart-0");
    let set = |size: u64, expected: u64, token| {
        fleet.ask(json!({"set": {"attribute": {"volume_size": "cart-0"}, "value": {"size": size},
            "expected": expected, "token": token}}))
    };
    if !held(&fleet) {
        assert!(set(16 << 20, 0, token()).unwrap_err()["unsupported"].is_object());
        return;
    }
    assert_eq!(fleet.get("cart-0", "/directory"), fleet.get("cart-0", "/variable/HOMEOSTAT_VOLUME"));
    assert_eq!(fleet.get("cart-0", &format!("/write/{}", 9 << 20)), "StorageFull");
    let pid = fleet.pid("cart-0");
    let growth = token();
    set(16 << 20, 0, growth).unwrap();
    assert_eq!(fleet.get("cart-0", &format!("/write/{}", 9 << 20)), "written");
    assert_eq!(fleet.pid("cart-0"), pid, "grown under the running process");
    until("use is measured", || {
        let usage = fleet.instance("cart-0").usage;
        (usage.disk_used?.0 >= 9 << 20 && usage.disk_size?.0 == 16 << 20).then_some(())
    });
    // What is in use cannot be given back.
    assert!(set(4 << 20, 1, token()).unwrap_err()["failed"].is_object());
    fleet.get("cart-0", "/write/1");
    let unset = json!({"unset": {"attribute": {"volume_size": "cart-0"}, "token": growth}});
    assert_eq!(fleet.ask(unset).unwrap(), "top");
    assert_eq!(fleet.get("cart-0", &format!("/write/{}", 9 << 20)), "StorageFull");
}

fn data_survives() {
    let fleet = Fleet::up(CART);
    fleet.ready("cart-0");
    assert_eq!(fleet.get("cart-0", "/write/1000"), "written");
    let size = || std::fs::metadata(fleet.provider.volume_path(&named("cart-0")).unwrap().join("written"));
    fleet.kill_keeper();
    fleet.ready("cart-0");
    assert_eq!(size().unwrap().len(), 1000);
    let pid = fleet.pid("cart-0");
    crate::fleet::kill(pid, "KILL");
    until("another process runs", || fleet.instance("cart-0").incarnation.filter(|it| it.pid != pid));
    fleet.ready("cart-0");
    assert_eq!(size().unwrap().len(), 1000);
    if held(&fleet) {
        assert_eq!(fleet.get("cart-0", &format!("/write/{}", 9 << 20)), "StorageFull", "in the same volume");
    }
}

fn size_follows_the_table() {
    let fleet = Fleet::up(CART);
    let pid = fleet.ready("cart-0");
    if !held(&fleet) {
        return;
    }
    fleet
        .ask(json!({"set": {"attribute": {"volume_size": "cart-0"}, "value": {"size": 16 << 20},
            "expected": 0, "token": token()}}))
        .unwrap();
    assert_eq!(fleet.get("cart-0", &format!("/write/{}", 9 << 20)), "written");
    fleet.get("cart-0", "/write/1");
    fleet.kill_keeper();
    // As if it had died between writing down that the step is taken back and doing it.
    let path = fleet.dir.path().join("keeper/table.json");
    let mut table: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    table["rows"][0]["layers"] = json!([]);
    std::fs::write(&path, table.to_string()).unwrap();
    assert_eq!(fleet.ready("cart-0"), pid);
    assert_eq!(fleet.get("cart-0", &format!("/write/{}", 9 << 20)), "StorageFull");
}

fn errands() {
    let fleet = Fleet::up(CART);
    fleet.ready("cart-0");
    let volume = fleet.provider.volume_path(&named("cart-0")).unwrap();
    std::fs::write(volume.join("logs/a.log"), "line\n".repeat(100_000)).unwrap();
    let old = std::fs::File::create(volume.join("tmp/old")).unwrap();
    #[expect(clippy::disallowed_methods, reason = "file times are of the wall clock")]
    let now = std::time::SystemTime::now();
    old.set_modified(now - std::time::Duration::from_secs(8 * 86_400)).unwrap();
    std::fs::write(volume.join("tmp/new"), "x").unwrap();
    let once = |errand| fleet.ask(json!({"once": {"token": token(), "errand": errand}}));
    once(json!({"rotate_logs": {"instance": "cart-0"}})).unwrap();
    once(json!({"remove_files": {"instance": "cart-0", "class": "temporary", "older_than": "7d"}})).unwrap();
    assert_eq!(std::fs::metadata(volume.join("logs/a.log")).unwrap().len(), 0);
    assert!(volume.join("logs/a.log.1.gz").exists());
    assert!(volume.join("tmp/new").exists() && !volume.join("tmp/old").exists());
    let data = once(json!({"remove_files": {"instance": "cart-0", "class": "data", "older_than": 0}}));
    assert!(data.unwrap_err()["unsupported"].is_object());
}
