//! A full disk: what cannot be written is refused, nothing of it stays, and the trail goes on where there is room again.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use audit::{Audit, AuditError, Trusted, verify};
use support::{clock, directory, fill, options, record};

const SMALL_DISK: &str = "HOMEOSTAT_TEST_SMALL_DISK";

/// Runs this test once more, where a disk of 1 MiB is mounted for it alone.
#[test]
fn a_full_disk_refuses_records_and_keeps_nothing_of_them() {
    if let Some(disk) = std::env::var_os(SMALL_DISK) {
        return on_small_disk(Path::new(&disk));
    }
    let dir = directory();
    let script = r#"mount -t tmpfs -o size=1m tmpfs "$1" || exit 77
        HOMEOSTAT_TEST_SMALL_DISK="$1" "$2" --exact --nocapture "$3""#;
    let name = std::thread::current().name().expect("tests have names").to_owned();
    let output = Command::new("unshare")
        .args(["-Urm", "sh", "-c", script, "sh"])
        .args([dir.path(), &std::env::current_exe().unwrap(), Path::new(&name)])
        .output()
        .expect("unshare is there");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(77) || text.starts_with("unshare:") {
        println!("skipped: no user namespace");
        return;
    }
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn on_small_disk(disk: &Path) {
    let audit = Audit::open_with(disk, clock(), options()).unwrap();
    fill(&audit, 0..10);
    fs::write(disk.join("ballast"), vec![1; 2 << 20]).unwrap_err();
    let mut size = 10;
    // A page may have been left half full.
    let error = loop {
        match audit.append(record(size)) {
            Ok(sequence) => assert_eq!(sequence, size),
            Err(error) => break error,
        }
        size += 1;
        assert!(size < 1000);
    };
    assert!(matches!(error, AuditError::Append(_)), "{error}");
    assert!(matches!(audit.append(record(size)), Err(AuditError::Append(_))));
    assert!(matches!(audit.checkpoint(), Err(AuditError::File { .. })));
    let report = verify(disk, &Trusted::default()).unwrap();
    assert!(report.holds() && report.records == size, "{report:?}");
    fs::remove_file(disk.join("ballast")).unwrap();
    assert_eq!(audit.append(record(size)).unwrap(), size);
    assert_eq!(audit.checkpoint().unwrap().checkpoint.size, size + 1);
    drop(audit);
    let report = verify(disk, &Trusted::default()).unwrap();
    assert!(report.holds() && report.covered == size + 1, "{report:?}");
}
