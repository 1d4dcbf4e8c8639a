//! The control plane that is measured: the real one, in a process of its own, with the demo fleet up and looked after.
//!
//! In: a data directory, filled already. Out: a process that answers, until it is stopped with its fleet.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::fill;
use crate::cli::{Exit, Failure};
use crate::client::Client;

/// How long it may take to begin, with everything it has to read.
const START_TIME: Duration = Duration::from_secs(60);

/// A control plane in a process of its own.
pub(super) struct ControlPlane {
    child: Child,
    dir: PathBuf,
    is_down: bool,
}

impl ControlPlane {
    /// Starts one on a directory, and waits until it answers.
    pub(super) fn start(dir: &Path) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::failed(&error);
        let program = std::env::current_exe().map_err(failed)?;
        let shop = dir.join("shop.yaml");
        std::fs::write(&shop, fill::fleet()).map_err(failed)?;
        let child = Command::new(program)
            .arg("--dir")
            .arg(dir)
            .args(["serve", "--any-port", "--infrastructure"])
            .arg(&shop)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let mut server = Self { child, dir: dir.to_owned(), is_down: false };
        let deadline = Instant::now() + START_TIME;
        while Client::find(dir)
            .and_then(|client| client.get::<Value>("/api/v3/self-healing/health-score"))
            .is_err()
        {
            let ended = server.child.try_wait().map_err(failed)?.is_some();
            if ended || Instant::now() > deadline {
                let message = format!("the server in {} does not answer", dir.display());
                return Err(Failure { exit: Exit::Failed, message });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Which process it is.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Takes fleet and server down.
    pub(super) fn stop(mut self) -> Result<(), Failure> {
        down(&self.dir).map_err(|error| Failure::failed(&error))?;
        self.child.wait().map_err(|error| Failure::failed(&error))?;
        self.is_down = true;
        Ok(())
    }
}

/// Ends what runs in a directory: the keeper and its services outlive whoever started them.
fn down(dir: &Path) -> std::io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    let status = command.arg("--dir").arg(dir).arg("down").stderr(Stdio::null()).status()?;
    match status.success() {
        true => Ok(()),
        false => {
            Err(std::io::Error::other(format!("what runs in {} cannot be ended: {status}", dir.display())))
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if self.is_down {
            return;
        }
        if let Err(error) = down(&self.dir) {
            provider::say!("{error}");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
