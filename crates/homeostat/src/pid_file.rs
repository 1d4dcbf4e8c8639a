//! Ending the control plane of a data directory. The store's lock names the process that holds it; a
//! signal goes to exactly that process, through a handle that cannot come to mean another one.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How long a control plane may take to end.
const LIMIT: Duration = Duration::from_secs(10);

/// Asks the control plane of `dir` to end, and waits until it has. Nothing where none runs.
pub(crate) fn end_control_plane(dir: &Path) -> io::Result<()> {
    let Ok(Some(pid)) = store::holder(dir) else { return Ok(()) };
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
    pidfd_send_signal(&handle, Signal::TERM).map_err(|error| {
        let why = format!("cannot end the control plane (process {pid}): {error}; do it as who started it");
        io::Error::new(error.kind(), why)
    })?;
    let began = Instant::now();
    while store::holder(dir).ok().flatten().is_some() {
        if began.elapsed() > LIMIT {
            let why = format!("the control plane (process {pid}) does not end; stop it yourself");
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
