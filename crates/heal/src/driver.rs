//! What makes the loop turn: events of the provider at once, a look every second, a full scan every 30 s.
//!
//! The look and the scan are the same turn. A look is what notices rates (latency, errors, CPU), for which
//! no provider has events; while a repair runs or is being verified the loop looks four times a second, and
//! what ends at a known time is looked at then (`waiting.rs`). The scan also prunes what is past its retention,
//! a little after each turn.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use act::in_full;

use crate::healer::Healer;

/// How long one wait for events takes; bounds how long stopping takes.
const EVENT_WAIT: Duration = Duration::from_millis(500);

/// Runs a healer on threads of its own, until dropped or stopped.
pub struct Driver {
    stop: Arc<AtomicBool>,
    healer: Arc<Healer>,
    threads: Vec<JoinHandle<()>>,
}

impl Driver {
    /// Starts turning.
    ///
    /// # Errors
    ///
    /// Where the machine gives no thread.
    pub fn start(healer: Arc<Healer>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = |name: &str, run: fn(&Healer, &AtomicBool)| {
            let (healer, stop) = (Arc::clone(&healer), Arc::clone(&stop));
            std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&healer, &stop))
        };
        let threads = vec![thread("loop", turns)?, thread("events", events)?];
        Ok(Self { stop, healer, threads })
    }

    /// Stops turning. Repairs that run go on to their end and are found by the next control plane.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.healer.wake();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so on stderr already.
            let _ = thread.join();
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Turns when woken, and at least every second.
///
/// A turn that panics ends neither the loop nor the process. To exit would be safe, for the next start takes
/// faults out and settles plans, but nothing restarts a control plane that `up` or `demo` began: the fleet would
/// be left without repairs, page and emergency stop for what may concern one issue. What the turn was about is
/// left out for a while instead, is said on stderr and by `/health`, and the next turn reads everything anew.
fn turns(healer: &Healer, stop: &AtomicBool) {
    let mut scanned = healer.now();
    while !stop.load(Ordering::Acquire) {
        let began = healer.now();
        let trouble = match catch_unwind(AssertUnwindSafe(|| healer.turn())) {
            Ok(Ok(_)) => {
                log::debug!("a turn took {} ms", healer.now().since(began).as_millis());
                None
            }
            Ok(Err(error)) => Some(format!("the loop cannot turn: {}", in_full(&error))),
            Err(panic) => {
                let why = said(panic.as_ref());
                Some(format!("a turn panicked at {}: {why}", healer.note_panic(why)))
            }
        };
        let word = trouble.clone().unwrap_or_else(|| "the loop turns again".to_owned());
        if healer.note_whole(trouble) {
            log::warn!("{word}");
        }
        let now = healer.now();
        if now.since(scanned) >= healer.settings().scan_interval {
            match healer.parts.store.prune(now, healer.settings().retention) {
                // The rest goes after the next turn: a repair comes first.
                Ok(round) if round.more => {}
                Ok(_) => scanned = now,
                Err(error) => {
                    scanned = now;
                    log::error!("cannot remove old records: {}", in_full(&error));
                }
            }
        }
        healer.sleep(healer.next_look());
    }
}

/// What a panic said.
pub(crate) fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it said nothing")
}

/// Wakes the loop for every event. An event says where to look, never what to believe, so its content is
/// not used.
fn events(healer: &Healer, stop: &AtomicBool) {
    let mut after = 0;
    while !stop.load(Ordering::Acquire) {
        // As in `turns`: without events the loop would only be slow, and nobody would know why.
        let seen = catch_unwind(AssertUnwindSafe(|| healer.parts.observer.events(after, EVENT_WAIT)));
        match seen {
            Ok(Ok(seen)) if seen.is_empty() => healer.note_events(None),
            Ok(Ok(seen)) => {
                healer.note_events(None);
                after = seen.iter().map(|event| event.sequence).max().unwrap_or(after);
                healer.wake();
            }
            Ok(Err(_)) => {
                // The keeper is being restarted; its events are counted anew then. The loop's own look
                // says what is wrong.
                after = 0;
                healer.parts.clock.wait(EVENT_WAIT);
            }
            Err(panic) => {
                after = 0;
                let why = format!("panicked: {}", said(panic.as_ref()));
                healer.note_events(Some(why));
                healer.parts.clock.wait(EVENT_WAIT);
            }
        }
    }
}
