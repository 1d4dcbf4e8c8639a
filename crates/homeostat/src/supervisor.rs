//! What a service manager is told: that we are ready, that we read our configuration again, that we end, that we live.
//!
//! In: `NOTIFY_SOCKET` and `WATCHDOG_USEC` of systemd or whoever speaks as it does. Out: datagrams. Without them this is
//! silent. The watchdog is fed by the loop's own work alone: a process whose loop stands still is to be started again.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// Who started us, where that wants to know.
pub(crate) struct Supervisor {
    watchdog: Option<Watchdog>,
}

struct Watchdog {
    /// How old the loop's last look may be.
    look_age_max: Duration,
    /// Between two signs of life.
    every: Duration,
    fed: Option<Instant>,
}

impl Supervisor {
    /// Reads what it wants from the environment.
    pub(crate) fn find() -> Self {
        let watchdog = sd_notify::watchdog_enabled();
        Self {
            watchdog: watchdog.map(|time| Watchdog { look_age_max: time / 2, every: time / 4, fed: None }),
        }
    }

    /// Everything that was to be brought up answers.
    pub(crate) fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// The configuration is being read again; [`ready`](Self::ready) follows.
    pub(crate) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
    }

    /// We end.
    pub(crate) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// Gives a sign of life where it is due and the loop's last look is this old; `None`: it never looked.
    pub(crate) fn feed(&mut self, look_age: Option<Duration>) {
        let Some(watchdog) = &mut self.watchdog else { return };
        let due = watchdog.fed.is_none_or(|fed| fed.elapsed() >= watchdog.every);
        if due && look_age.is_some_and(|age| age < watchdog.look_age_max) {
            watchdog.fed = Some(Instant::now());
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        log::warn!("the service manager cannot be told: {error}");
    }
}
