//! How long adaptive sampling takes to be back at its limit when the load changes tenfold.
//!
//! In: threads that begin and end local roots at a given rate. Out: seconds, read from what was really kept, window by
//! window, not from what the control loop says of itself.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Nowhere;
use crate::{Adaptive, BuildError, Metrics, Reason, Sampler, Tracer};

/// Spans a second that may be exported.
const LIMIT: f64 = 5_000.0;

/// Roots a second of all threads together, before and after the step.
const LOW: u64 = 10_000;
const HIGH: u64 = 100_000;

const THREADS: u64 = 2;

/// How often a thread makes its share of roots.
const TICK: Duration = Duration::from_millis(5);

/// In a window at the limit 2,500 spans are kept: its share is known to 2 %.
const WINDOW: Duration = Duration::from_millis(500);

/// Windows before the first step, and after each.
const WINDOWS: usize = 20;

/// Off the limit by more than this share is not settled.
const TOLERANCE: f64 = 0.1;

/// What [`measure`] found. None where it did not settle within ten seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settling {
    /// Seconds from a tenfold rise of the load until what is kept stays within 10 % of the limit.
    pub up_seconds: Option<f64>,
    /// The same from the fall back.
    pub down_seconds: Option<f64>,
    /// Spans recorded in a second under the high load: less than [`Settling::HIGH`] says the machine was too busy.
    pub high_load: f64,
}

impl Settling {
    /// Roots a second, of one span each, before the rise.
    pub const LOW: u64 = LOW;
    /// Roots a second after it.
    pub const HIGH: u64 = HIGH;
    /// Spans a second that the sampler may keep.
    pub const LIMIT: f64 = LIMIT;
}

/// Measures for half a minute, with two threads that make roots and one that looks.
///
/// # Errors
///
/// Where no tracer can be built.
pub fn measure() -> Result<Settling, BuildError> {
    let budget = Adaptive { overhead: 1.0, spans_per_second: Some(LIMIT), ..Adaptive::default() };
    let tracer = Tracer::builder("bench").sampler(Sampler::Adaptive(budget)).transport(Nowhere).build()?;
    let (load, stop) = (AtomicU64::new(LOW), AtomicBool::new(false));
    let settling = thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| make_roots(&tracer, &load, &stop));
        }
        look(&tracer);
        load.store(HIGH, Ordering::Relaxed);
        let high = look(&tracer);
        load.store(LOW, Ordering::Relaxed);
        let low = look(&tracer);
        stop.store(true, Ordering::Relaxed);
        let recorded: f64 = high.iter().map(|window| window.recorded).sum();
        Settling {
            up_seconds: settled_after(&high),
            down_seconds: settled_after(&low),
            high_load: recorded / high.len() as f64,
        }
    });
    // Everything that was exported went nowhere: nothing is lost by a deadline.
    let _ = tracer.shutdown(Duration::from_secs(1));
    Ok(settling)
}

fn make_roots(tracer: &Tracer, load: &AtomicU64, stop: &AtomicBool) {
    let mut next = Instant::now();
    // What a tick owes beyond whole roots is carried over.
    let mut owed = 0.0;
    while !stop.load(Ordering::Relaxed) {
        owed += load.load(Ordering::Relaxed) as f64 * TICK.as_secs_f64() / THREADS as f64;
        while owed >= 1.0 {
            owed -= 1.0;
            drop(tracer.root("GET /cart").enter());
        }
        next += TICK;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Spans a second in a window.
struct Window {
    recorded: f64,
    kept: f64,
}

fn look(tracer: &Tracer) -> Vec<Window> {
    let counts = |metrics: Metrics| (metrics.created, metrics.dropped_for(Reason::Unsampled));
    let (mut began, mut before) = (Instant::now(), counts(tracer.metrics()));
    (0..WINDOWS)
        .map(|_| {
            thread::sleep(WINDOW.saturating_sub(began.elapsed()));
            let (now, found) = (Instant::now(), counts(tracer.metrics()));
            let seconds = (now - began).as_secs_f64();
            let (created, unsampled) = (found.0 - before.0, found.1 - before.1);
            (began, before) = (now, found);
            Window {
                recorded: created as f64 / seconds,
                kept: created.saturating_sub(unsampled) as f64 / seconds,
            }
        })
        .collect()
}

/// Until the end of the last window that was off the limit.
fn settled_after(windows: &[Window]) -> Option<f64> {
    let off = |window: &Window| (window.kept - LIMIT).abs() > TOLERANCE * LIMIT;
    let settled = windows.iter().rposition(off).map_or(0, |last| last + 1);
    (settled < windows.len()).then(|| settled as f64 * WINDOW.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_settled_from_the_window_on_that_is_followed_by_no_other() {
        let after = |kept: &[f64]| {
            let windows: Vec<Window> = kept.iter().map(|&kept| Window { recorded: 0.0, kept }).collect();
            settled_after(&windows)
        };
        assert_eq!(after(&[5_000.0, 5_400.0]), Some(0.0));
        assert_eq!(after(&[50_000.0, 5_100.0, 4_000.0, 4_900.0]), Some(1.5));
        assert_eq!(after(&[5_000.0, 6_000.0]), None);
    }
}
