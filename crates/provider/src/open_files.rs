//! How many files and connections this process may have open at once.
//!
//! In: the limit this process was started with. Out: a soft limit as high as the hard one. What this process starts gets back
//! what it was given itself: programs that wait with `select` break by descriptors above 1,023, which a soft limit of 1,024
//! keeps from them (<https://0pointer.net/blog/file-descriptor-limits.html>).

use std::io;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What this process was started with.
static GIVEN: OnceLock<Rlimit> = OnceLock::new();

/// Lets this process open as many as its hard limit allows.
///
/// # Errors
///
/// Where the system refuses; the limit stays as it was.
pub fn raise() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let given = GIVEN.get_or_init(|| limit);
    setrlimit(Resource::Nofile, Rlimit { current: given.maximum, ..*given })?;
    Ok(())
}

/// Gives a child the limit this process was started with. For the time between fork and exec: it makes one system call.
pub(crate) fn give_back() -> io::Result<()> {
    match GIVEN.get() {
        Some(given) => Ok(setrlimit(Resource::Nofile, *given)?),
        None => Ok(()),
    }
}
