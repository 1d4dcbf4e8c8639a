//! Signals: SIGINT and SIGTERM end the process in order, SIGUSR1 is the emergency stop; SIGHUP ends it too, or has the
//! configuration read again.
//!
//! In: signals. Out: flags that the threads concerned look at. What has to be judged (whether a signal is the same wish
//! again) is judged by a thread of its own: a handler may do almost nothing.

use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

/// Signals within this time are one wish to end: timeout(1) signals a process and then its group, a supervisor may do
/// likewise. One that comes later is somebody's who does not want to wait.
const ONE_WISH: Duration = Duration::from_secs(1);

/// Exit status after a signal that does not wait: 128 and the number of SIGINT, as shells have it.
const INTERRUPTED: i32 = 130;

/// What SIGHUP means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hangup {
    /// The terminal went: it ends, in order, what would be left behind otherwise. Ignored where it was ignored before
    /// (nohup(1)).
    Ends,
    /// The configuration is to be read again.
    Reloads,
}

struct Flags {
    end: AtomicBool,
    emergency_stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

static FLAGS: OnceLock<Flags> = OnceLock::new();

fn flags() -> &'static Flags {
    FLAGS.get_or_init(|| Flags {
        end: AtomicBool::new(false),
        emergency_stop: Arc::default(),
        reload: Arc::default(),
    })
}

/// Begins to catch them; called once. A signal to end that comes a second or more after the first ends the process at once.
///
/// # Errors
///
/// Where the system refuses.
pub(crate) fn catch(hangup: Hangup) -> io::Result<()> {
    let mut ends = vec![SIGINT, SIGTERM];
    match hangup {
        Hangup::Ends if !is_ignored(SIGHUP) => ends.push(SIGHUP),
        Hangup::Ends => {}
        Hangup::Reloads => {
            signal_hook::flag::register(SIGHUP, Arc::clone(&flags().reload))?;
        }
    }
    signal_hook::flag::register(SIGUSR1, Arc::clone(&flags().emergency_stop))?;
    let mut signals = Signals::new(ends)?;
    let watch = move || {
        let mut first = None;
        for _ in signals.forever() {
            let first = *first.get_or_insert_with(Instant::now);
            flags().end.store(true, Ordering::Release);
            if first.elapsed() > ONE_WISH {
                signal_hook::low_level::exit(INTERRUPTED);
            }
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(watch).map(drop)
}

/// Whether this process was started with a signal ignored, by what `/proc` says (`SigIgn`, a mask in hexadecimal).
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Whether somebody asked the process to end.
pub(crate) fn ending() -> bool {
    flags().end.load(Ordering::Acquire)
}

/// Whether somebody asked for the emergency stop since the last call.
pub(crate) fn take_emergency_stop() -> bool {
    flags().emergency_stop.swap(false, Ordering::AcqRel)
}

/// Whether somebody asked for the configuration to be read again since the last call.
pub(crate) fn take_reload() -> bool {
    flags().reload.swap(false, Ordering::AcqRel)
}
