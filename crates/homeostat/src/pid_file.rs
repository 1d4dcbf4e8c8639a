//! Ending the control plane of a data directory. The store's lock names the process that holds it, and
//! whether that is a control plane; a signal goes to exactly that process, through a handle that cannot come to mean another one.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use store::HolderKind;

/// How long a control plane may take to end.
const LIMIT: Duration = Duration::from_secs(10);

/// Asks the control plane of `dir` to end, and waits until it has. Nothing where none runs, also where
/// a command holds the directory.
pub(crate) fn end_control_plane(dir: &Path) -> io::Result<()> {
    let Ok(Some(holder)) = store::holder(dir) else { return Ok(()) };
    // A command, such as a purge, ends by itself: cut off it would have done half of what was asked.
    if holder.kind != HolderKind::ControlPlane {
        return Ok(());
    }
    let Some(pid) = i32::try_from(holder.pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
    pidfd_send_signal(&handle, Signal::TERM).map_err(|error| {
        let why = format!("cannot end the control plane (process {pid}): {error}; do it as who started it");
        io::Error::new(error.kind(), why)
    })?;
    let began = Instant::now();
    while store::holder(dir).ok().flatten() == Some(holder) {
        if began.elapsed() > LIMIT {
            let why = format!("the control plane (process {pid}) does not end; stop it yourself");
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_holds_the_directory_is_asked_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        // This process, which would not outlive being asked to end.
        let _held = store::hold(dir.path()).unwrap();
        end_control_plane(dir.path()).unwrap();
        assert_eq!(store::holder(dir.path()).unwrap().map(|one| one.pid), Some(std::process::id()));
    }
}
