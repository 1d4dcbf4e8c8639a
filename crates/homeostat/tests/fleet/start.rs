//! What a service says that cannot start, and the file the fleet is brought up from.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

#[test]
fn an_occupied_port_and_a_missing_setting_are_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let directory = tempfile::tempdir().unwrap();
    let run = |port: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_homeostat"))
            .args(["demo-service", "payments"])
            .env("HOMEOSTAT_INSTANCE", "payments-0")
            .env("HOMEOSTAT_VOLUME", directory.path())
            .env("PORT", port)
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run(&port).contains(&format!("cannot listen on 127.0.0.1:{port}")));
    assert!(run("").contains("environment variable PORT is not set"));
    assert!(run("many").contains("PORT is \"many\""));
}

#[test]
fn the_fleet_file_can_be_brought_up() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../drills/shop.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let shop: domain::Infrastructure = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(shop.check(), []);
    let replicas: Vec<(&str, u32)> =
        shop.services.iter().map(|(name, spec)| (name.as_str(), spec.replicas)).collect();
    let expected = [
        ("cart", 2),
        ("catalogue", 2),
        ("database", 1),
        ("front", 2),
        ("load", 1),
        ("orders", 2),
        ("payments", 2),
    ];
    assert_eq!(replicas, expected);
}
