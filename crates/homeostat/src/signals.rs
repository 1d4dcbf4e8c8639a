//! Signals: SIGINT and SIGTERM end the process in order, SIGUSR1 is the emergency stop; SIGHUP has the configuration
//! read again.
//!
//! In: signals. Out: flags that the threads concerned look at. A handler may do almost nothing, so these
//! only set a flag.

use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

struct Flags {
    end: Arc<AtomicBool>,
    emergency_stop: Arc<AtomicBool>,
}

static FLAGS: OnceLock<Flags> = OnceLock::new();

static RELOAD: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Begins to catch them. A second SIGINT or SIGTERM ends the process at once.
///
/// # Errors
///
/// Where the system refuses.
pub(crate) fn catch() -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
    let flags = FLAGS.get_or_init(|| Flags {
        end: Arc::new(AtomicBool::new(false)),
        emergency_stop: Arc::new(AtomicBool::new(false)),
    });
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flags.end))?;
        signal_hook::flag::register(signal, Arc::clone(&flags.end))?;
    }
    signal_hook::flag::register(SIGUSR1, Arc::clone(&flags.emergency_stop))?;
    Ok(())
}

/// Whether somebody asked the process to end.
pub(crate) fn ending() -> bool {
    FLAGS.get().is_some_and(|flags| flags.end.load(Ordering::Acquire))
}

/// Whether somebody asked for the emergency stop since the last call.
pub(crate) fn take_emergency_stop() -> bool {
    FLAGS.get().is_some_and(|flags| flags.emergency_stop.swap(false, Ordering::AcqRel))
}

/// Begins to catch SIGHUP, which else ends the process when its terminal goes.
///
/// # Errors
///
/// Where the system refuses.
pub(crate) fn catch_reload() -> io::Result<()> {
    let asked = RELOAD.get_or_init(Arc::default);
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(asked)).map(drop)
}

/// Whether somebody asked for the configuration to be read again since the last call.
pub(crate) fn take_reload() -> bool {
    RELOAD.get().is_some_and(|asked| asked.swap(false, Ordering::AcqRel))
}
