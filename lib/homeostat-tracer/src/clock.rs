//! Stamps: the processor's time-stamp counter where it can be trusted, else the monotonic clock.
//!
//! In: nothing. Out: [`ticks`], and a [`Calibration`] that turns ticks into nanoseconds since 1970. A stamp
//! costs one instruction; all arithmetic is left to the export threads.
//!
//! Why not `fastant`, which does nearly this: it trusts the counter only where the kernel's clock source is
//! `tsc`, so a KVM guest with `kvm-clock` falls back to a system call's price, and it calibrates once, at
//! program start. Here the counter is trusted when the processor calls it invariant and the kernel has not
//! found it unstable, and the rate is measured anew every second against the monotonic clock, so that drift
//! does not add up and a stepped wall clock is followed.

use std::sync::OnceLock;
#[cfg(target_arch = "x86_64")]
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant, SystemTime};

#[cfg(target_arch = "x86_64")]
const UNKNOWN: u8 = 0;
#[cfg(target_arch = "x86_64")]
const COUNTER: u8 = 1;
#[cfg(target_arch = "x86_64")]
const MONOTONIC: u8 = 2;

#[cfg(target_arch = "x86_64")]
static SOURCE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// How long the first calibration watches both clocks: 2 ms against a reading error below 0.1 µs is 50 parts
/// in a million, until the control thread measures over seconds.
const FIRST_CALIBRATION: Duration = Duration::from_millis(2);

/// Now, in ticks since an unknown origin. Never goes back on one machine.
#[inline]
pub(crate) fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        if SOURCE.load(Ordering::Relaxed) == COUNTER {
            return counter();
        }
        first_ticks()
    }
    #[cfg(not(target_arch = "x86_64"))]
    monotonic()
}

/// [`ticks`] where that is one instruction.
#[inline]
pub(crate) fn swift_ticks() -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    {
        (SOURCE.load(Ordering::Relaxed) == COUNTER).then(counter)
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn counter() -> u64 {
    // SAFETY: RDTSC reads a register that user space may read (the kernel would have to set CR4.TSD to forbid
    // it, which `prctl(PR_SET_TSC)` does for a process that asks for it).
    #[expect(unsafe_code, reason = "the one instruction without a safe wrapper")]
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
}

#[cfg(target_arch = "x86_64")]
#[cold]
fn first_ticks() -> u64 {
    if SOURCE.load(Ordering::Relaxed) == UNKNOWN {
        let source = if counter_is_trusted() { COUNTER } else { MONOTONIC };
        SOURCE.store(source, Ordering::Relaxed);
    }
    if SOURCE.load(Ordering::Relaxed) == COUNTER { counter() } else { monotonic() }
}

/// The processor says the counter runs at one rate in every power state, and the kernel has not switched to
/// a slow clock source, which it does when it finds the counters of two processors apart.
#[cfg(target_arch = "x86_64")]
fn counter_is_trusted() -> bool {
    const POWER_LEAF: u32 = 0x8000_0007;
    const INVARIANT_TSC: u32 = 1 << 8;
    let highest = core::arch::x86_64::__cpuid(0x8000_0000).eax;
    let invariant = highest >= POWER_LEAF && core::arch::x86_64::__cpuid(POWER_LEAF).edx & INVARIANT_TSC != 0;
    let source = std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    let distrusted = source.is_ok_and(|name| matches!(name.trim(), "hpet" | "acpi_pm" | "jiffies"));
    invariant && !distrusted
}

fn monotonic() -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(ORIGIN.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The wall clock; the one place that reads it.
#[expect(
    clippy::disallowed_methods,
    reason = "a span's time is the wall clock's, and no other clock is ours"
)]
fn wall() -> SystemTime {
    SystemTime::now()
}

/// What turns ticks into time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calibration {
    /// Where the rate is measured from.
    origin: (u64, Instant),
    /// The same instant in ticks and in nanoseconds since 1970.
    anchor: (u64, u64),
    nanos_per_tick: f64,
}

impl Calibration {
    /// Watches both clocks for [`FIRST_CALIBRATION`].
    pub(crate) fn measure() -> Self {
        let origin = (ticks(), Instant::now());
        while origin.1.elapsed() < FIRST_CALIBRATION {
            std::hint::spin_loop();
        }
        let mut calibration = Self { origin, anchor: (0, 0), nanos_per_tick: 1.0 };
        calibration.renew();
        calibration
    }

    /// Measures the rate over all the time since the first calibration, and looks at the wall clock again.
    pub(crate) fn renew(&mut self) {
        let (now, elapsed) = (ticks(), self.origin.1.elapsed());
        let passed = now.saturating_sub(self.origin.0);
        if passed > 0 {
            self.nanos_per_tick = elapsed.as_nanos() as f64 / passed as f64;
        }
        let unix = wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.anchor = (ticks(), u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Nanoseconds since 1970 at `ticks`, which may lie before the anchor.
    pub(crate) fn unix_nanos(&self, ticks: u64) -> u64 {
        let (at, unix) = self.anchor;
        if ticks >= at {
            unix.saturating_add(self.nanos(ticks - at))
        } else {
            unix.saturating_sub(self.nanos(at - ticks))
        }
    }

    /// The length of `ticks` in nanoseconds.
    pub(crate) fn nanos(&self, ticks: u64) -> u64 {
        (ticks as f64 * self.nanos_per_tick) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How far ticks and the monotonic clock are apart over 20 ms.
    fn apart() -> Duration {
        let mut calibration = Calibration::measure();
        let (from, started) = (ticks(), Instant::now());
        while started.elapsed() < Duration::from_millis(20) {}
        let (to, real) = (ticks(), started.elapsed());
        calibration.renew();
        Duration::from_nanos(calibration.nanos(to - from)).abs_diff(real)
    }

    #[test]
    fn ticks_measure_what_the_monotonic_clock_measures() {
        // A thread may lose its processor between two looks at two clocks: what counts is the best of several.
        let apart: Vec<_> = (0..10).map(|_| apart()).collect();
        assert!(apart.iter().min() < Some(&Duration::from_millis(2)), "{apart:?}");
    }

    #[test]
    fn a_stamp_before_the_anchor_is_before_it_in_time() {
        let before = ticks();
        let calibration = Calibration::measure();
        let (early, late) = (calibration.unix_nanos(before), calibration.unix_nanos(ticks()));
        assert!(early < late && late - early < 10_000_000_000, "{early} {late}");
    }
}
