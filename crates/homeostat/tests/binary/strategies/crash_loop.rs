//! One replica that keeps ending although it is restarted: users get another instance beside it for a time,
//! and the declared count comes back by itself.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::{approve_what_waits, begun, config, issue, service, strategies, verdict};
use crate::fleet::{Fleet, agent, until};
use crate::port::free_port;
use crate::processes;

/// A cart that ends after 0.8 s while there is a file `broken` in its volume.
fn shop(port: u16) -> String {
    format!(
        r#"name: shop
services:
  cart:
    command:
      - /bin/sh
      - -c
      - 'if test -e "$HOMEOSTAT_VOLUME/broken"; then exec timeout 0.8 "$0" demo-service cart; fi; exec "$0" demo-service cart'
      - "{{homeostat}}"
    replicas: 2
    listens: http
    publish: {port}
    dependencies: [database]
    readiness: {{ http: /ready, interval: 50ms }}
    volume: {{ size: 8MiB }}
    restart: {{ max: 1s }}
  database:
    command: ["{{homeostat}}", demo-service, database]
    listens: http
    readiness: {{ http: /ready, interval: 100ms }}
    volume: {{ size: 8MiB }}
"#
    )
}

pub(super) fn one_more() {
    let port = free_port();
    let fleet = Fleet::up(&config("6s"), &shop(port));
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| visit(port, &over));
        // The visits end also where a check here fails.
        let _end = End(&over);
        // By way of cart-0, which lives all the time and sees the volumes of all.
        let broken = volume(&fleet, "cart-0").with_file_name("cart-1").join("broken");
        std::fs::write(&broken, "").unwrap();
        processes::kill(fleet.pid("cart-1"));
        let looping = until("cart-1 is in a crash loop", || {
            let seen = issue(&fleet, "pod_crash", "instance/cart-1")?;
            if seen["reason"] == "crash_loop" { Ok(seen) } else { Err(seen.to_string()) }
        });
        let repair = until("there is an instance more", || {
            approve_what_waits(&fleet)?;
            verdict(&fleet, &looping, "scale_replicas")
        });
        added(&fleet, &looping, &repair);
        // Somebody mends what was broken, while the instance more serves.
        std::fs::remove_file(&broken).unwrap();
    });
    until("the declared count is back", || {
        let (replicas, names) = instances(&fleet)?;
        let back = replicas == 2 && names == ["cart-0", "cart-1"];
        if back { Ok(()) } else { Err(format!("{replicas}: {names:?}")) }
    });
    until("both are ready", || fleet.all_ready());
}

/// Three restarts did not help; the instance more is a mitigation, proven at the callers, and for a time.
fn added(fleet: &Fleet, looping: &Value, repair: &Value) {
    assert_eq!(repair["outcome"]["kind"], "mitigated", "{repair:#}");
    assert_eq!(repair["verification"]["resource"], "link/outside->cart", "{repair:#}");
    assert_eq!(repair["lift_after_seconds"], 12.0, "{repair:#}");
    let tried = begun(fleet, looping).unwrap();
    assert_eq!(strategies(&tried), ["restart_pod", "restart_pod", "restart_pod", "scale_replicas"]);
    assert!(tried[..3].iter().all(|restart| restart["outcome"]["kind"] == "not_healed"), "{tried:#?}");
    let (replicas, names) = instances(fleet).unwrap();
    assert_eq!((replicas, names), (3, ["cart-0", "cart-1", "cart-2"].map(str::to_owned).to_vec()));
}

/// How many are wanted, and which there are.
fn instances(fleet: &Fleet) -> Result<(u64, Vec<String>), String> {
    let seen = service(fleet, "cart")?;
    let names = seen["instances"].as_array().into_iter().flatten();
    let names = names.filter_map(|instance| instance["instance"].as_str().map(str::to_owned)).collect();
    Ok((seen["replicas"].as_u64().unwrap_or_default(), names))
}

/// The data directory of an instance, as it is seen from here.
fn volume(fleet: &Fleet, instance: &str) -> PathBuf {
    let pid = fleet.pid(instance);
    let process = fleet.processes().into_iter().find(|process| process.pid == pid);
    process.and_then(|process| process.volume).expect("it has a volume")
}

/// Users, until it is over. Whether they are served is what the repair is verified by.
fn visit(port: u16, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        // One that is turned away is counted by the proxy.
        let _ = agent().get(format!("http://127.0.0.1:{port}/carts/c1")).call();
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
