//! Starting a process that outlives this one.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Gives the child a session of its own, so that a closed terminal or Ctrl-C here does not reach it.
pub(crate) fn in_session_of_its_own(command: &mut Command) {
    // SAFETY: between fork and exec only setsid is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        });
    }
}
