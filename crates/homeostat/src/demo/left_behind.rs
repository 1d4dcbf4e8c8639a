//! What demos and drills leave behind that are killed: a fleet under load, for nobody.
//!
//! In: the directories of demos that are this user's. Out: those whose process is gone are taken down and removed.

use std::path::Path;

use provider::{ProcessProvider, ProviderError};
use rustix::process::{Pid, test_kill_process};

use super::{DIRECTORIES, directories, remove};
use crate::temporary::process_of;

/// Takes down what was left behind by demos that are no more. What cannot be taken down is said, and keeps nothing from
/// starting.
pub(super) fn take_down() {
    for dir in directories().unwrap_or_default() {
        if !is_left_behind(&dir) {
            continue;
        }
        // Process ids mean nothing between containers that share a directory; the lock does.
        let Ok(_lock) = store::hold(&dir) else { continue };
        provider::say!("{} is of a demo that was killed; taking it down", dir.display());
        if let Err(error) = end(&dir) {
            provider::say!("it could not be taken down: {error}; `homeostat down --dir {}`", dir.display());
        }
    }
}

/// Whether the process that made it is gone. One of our own number is another one's, from before this machine or container
/// began anew.
fn is_left_behind(dir: &Path) -> bool {
    let Some(pid) = process_of(dir, DIRECTORIES).and_then(Pid::from_raw) else { return false };
    let is_gone = pid == rustix::process::getpid() || test_kill_process(pid) == Err(rustix::io::Errno::SRCH);
    is_gone && (dir.join("homeostat.db").exists() || dir.join("keeper").exists())
}

/// Through its keeper, which is started again where it is gone as well: it alone knows what is still there.
fn end(dir: &Path) -> Result<(), ProviderError> {
    if dir.join("keeper").exists() {
        ProcessProvider::open(dir)?.down()?;
    }
    remove(dir);
    Ok(())
}
