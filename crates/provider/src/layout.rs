//! Where a keeper has its things, and how what it started is known: said by both sides of its socket.
//!
//! In: `DIR/keeper` and names of instances. Out: paths below it, and the variables of the environment by which a process
//! is found again by whoever comes later.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use domain::InstanceName;

/// The instance a process belongs to.
pub(crate) const INSTANCE: &str = "HOMEOSTAT_INSTANCE";
/// The directory of the keeper that started a process.
pub(crate) const KEEPER: &str = "HOMEOSTAT_KEEPER";
/// Set for the keeper's own workers: the step they work for, or `volumes`.
pub(crate) const WORKER: &str = "HOMEOSTAT_WORKER";

/// The log file of an instance below the keeper's directory.
pub(crate) fn log_path(keeper_dir: &Path, instance: &InstanceName) -> PathBuf {
    keeper_dir.join("logs").join(format!("{instance}.log"))
}

/// What the keeper itself says, below its directory.
pub(crate) fn own_log_path(keeper_dir: &Path) -> PathBuf {
    keeper_dir.join("keeper.log")
}

/// The mount point of an instance's volume below the keeper's directory.
pub(crate) fn volume_path(keeper_dir: &Path, instance: &InstanceName) -> PathBuf {
    keeper_dir.join("volumes").join(instance.to_string())
}

/// The socket in an open directory; the path goes through a descriptor because a socket's may have only 107 bytes.
pub(crate) fn socket_path(keeper_dir: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/keeper.sock", keeper_dir.as_raw_fd()))
}

/// Opens a file for appending; whoever empties it meanwhile does not leave a hole.
pub(crate) fn open_log(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
