//! A fleet to begin with.

use std::collections::BTreeMap;

use domain::infrastructure::{Environment, Limits, Protocol, VolumeSpec};
use domain::{Bytes, Cores, Infrastructure, ServiceName, ServiceSpec};

/// `front` → `cart` → `database`: front and cart have two instances, the database one; all have limits and
/// volumes.
pub fn small_fleet() -> Infrastructure {
    let name = |text: &str| ServiceName::new(text).expect("the names below are valid");
    let service = |replicas, dependencies: &[&str]| ServiceSpec {
        command: vec!["simulated".to_owned()],
        replicas,
        environment: BTreeMap::new(),
        listens: Some(Protocol::Http),
        publish: None,
        readiness: None,
        liveness: None,
        version: None,
        limits: Limits { cpu: Some(Cores(0.5)), memory: Some(Bytes::mib(128)) },
        volume: Some(VolumeSpec {
            size: Bytes::mib(32),
            temporary: "tmp".to_owned(),
            logs: "logs".to_owned(),
            cache: "cache".to_owned(),
        }),
        dependencies: dependencies.iter().map(|text| name(text)).collect(),
        drain: None,
        clear_caches: None,
        metrics: None,
        stop_timeout: std::time::Duration::from_secs(5),
        restart: Default::default(),
        hands_off: false,
        protected: false,
        thresholds: Default::default(),
    };
    Infrastructure {
        name: name("shop"),
        environment: Environment::Dev,
        cpu_limits: Default::default(),
        services: BTreeMap::from([
            (name("front"), service(2, &["cart"])),
            (name("cart"), service(2, &["database"])),
            (name("database"), service(1, &[])),
        ]),
    }
}
