//! What others' clients make of it: `suites/graphql`, with the packages `graphql` and `graphql-ws` from npm.

use std::path::{Path, PathBuf};
use std::process::Command;

use domain::Clock;

use crate::support::series;
use crate::support::server::{TOKEN, start_with_metrics};

/// The suite with its packages, in a directory of the build; nothing where they are not to be had.
fn provide() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (suite, place) =
        (root.join("suites/graphql"), Path::new(env!("CARGO_TARGET_TMPDIR")).join("graphql"));
    std::fs::create_dir_all(&place).unwrap();
    for file in ["package.json", "package-lock.json", "client.mjs"] {
        std::fs::copy(suite.join(file), place.join(file)).unwrap();
    }
    let installed = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&place)
        .output();
    match installed {
        Ok(output) if output.status.success() => Some(place),
        Ok(output) => {
            println!("npm ci: {}", String::from_utf8_lossy(&output.stderr));
            println!("skipped: no node");
            None
        }
        Err(error) => {
            println!("npm: {error}");
            println!("skipped: no node");
            None
        }
    }
}

#[test]
fn a_foreign_client_reads_the_schema_and_follows_subscriptions() {
    let Some(place) = provide() else { return };
    let now = crate::support::MachineClock::start().now().wall_us / 1000;
    let server = start_with_metrics(series::shop(now), Default::default());
    let output = Command::new("node")
        .arg("client.mjs")
        .arg(format!("http://localhost:{}", server.address().port()))
        .env("TOKEN", TOKEN)
        .current_dir(place)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.trim_end().ends_with("all held"), "{out}\n{err}");
}
