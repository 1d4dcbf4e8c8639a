//! A real OpenID provider: npm's `oidc-provider`, installed once under `target/` and started by each test.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::LazyLock;

use domain::Role;
use gateway::access::{OidcConfig, Secret};

const PACKAGE: &str = "oidc-provider@9.13.3";

/// Where the provider is installed; `None` where it cannot be.
static INSTALLED: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oidc-provider");
    std::fs::create_dir_all(&dir).unwrap();
    if !dir.join("node_modules/oidc-provider/package.json").exists() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
            .arg(&dir)
            .arg(PACKAGE);
        let installed = npm.stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !installed.is_ok_and(|status| status.success()) {
            return None;
        }
    }
    std::fs::write(dir.join("provider.mjs"), include_str!("../oidc/provider.mjs")).unwrap();
    Some(dir)
});

pub(crate) struct Provider {
    child: Child,
    /// Held, for it still writes there.
    _said: Lines<BufReader<ChildStdout>>,
    pub(crate) issuer: String,
}

impl Provider {
    /// Starts it for who is sent back to this address; `None`, with a line that says so, where there is no node or npm.
    pub(crate) fn start(back: &str) -> Option<Self> {
        let Some(dir) = &*INSTALLED else {
            println!("skipped: no npm, or {PACKAGE} cannot be had");
            return None;
        };
        let mut node = Command::new("node");
        let node = node.arg(dir.join("provider.mjs")).arg(back).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut child) = node.spawn() else {
            println!("skipped: no node");
            return None;
        };
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let issuer =
            lines.find_map(|line| line.ok().filter(|line| line.starts_with("http"))).expect("an issuer");
        Some(Self { child, _said: lines, issuer })
    }

    pub(crate) fn config(&self, client: &str) -> OidcConfig {
        OidcConfig {
            issuer: self.issuer.clone(),
            client_id: client.to_owned(),
            client_secret: Some(Secret::new("client-secret-of-the-tests")),
            roles: BTreeMap::from([("sre".to_owned(), Role::Operator), ("owners".to_owned(), Role::Admin)]),
            scopes: vec!["groups".to_owned()],
            groups_claim: "groups".to_owned(),
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
