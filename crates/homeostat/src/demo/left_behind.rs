//! What demos and drills leave behind that are killed: a fleet under load, for nobody.
//!
//! In: the directories of demos beside our own. Out: those whose process is gone are taken down and removed.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use provider::{ProcessProvider, ProviderError};
use rustix::process::{Pid, geteuid, test_kill_process};

use super::{directories, remove};

/// Takes down what was left behind by demos that are no more. What cannot be taken down is said, and keeps nothing from
/// starting.
pub(super) fn take_down() {
    for dir in directories().unwrap_or_default() {
        if is_ours(&dir) && is_left_behind(&dir) {
            provider::say!("{} is of a demo that was killed; taking it down", dir.display());
            if let Err(error) = end(&dir) {
                provider::say!(
                    "it could not be taken down: {error}; `homeostat down --dir {}`",
                    dir.display()
                );
            }
        }
    }
}

/// Whether a directory is this user's own: in `/tmp`, anybody can make one of such a name.
fn is_ours(dir: &Path) -> bool {
    std::fs::symlink_metadata(dir).is_ok_and(|about| about.is_dir() && about.uid() == geteuid().as_raw())
}

/// Whether neither the process that its name tells of nor any other control plane is there.
fn is_left_behind(dir: &Path) -> bool {
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let pid = name.rsplit('-').next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
    let is_gone = pid.is_some_and(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH));
    is_gone && matches!(store::holder(dir), Ok(None))
}

/// Through its keeper, which is started again where it is gone as well: it alone knows what is still there.
fn end(dir: &Path) -> Result<(), ProviderError> {
    if dir.join("keeper").exists() {
        ProcessProvider::open(dir)?.down()?;
    }
    remove(dir);
    Ok(())
}
