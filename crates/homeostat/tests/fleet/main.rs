//! The demo fleet for real: every service its own process, wired to each other directly, without the keeper.
//!
//! What must hold whoever supervises them: a checkout goes all the way, an open breaker costs a part of the
//! page and nothing else, what was acknowledged survives the end of a process, a full volume is an error
//! and not the end, and the request log holds what was sent.

mod breaker;
mod checkout;
mod http;
mod lasting;
mod load;
#[path = "../../../provider/tests/shared/port.rs"]
mod port;
mod shop;
mod start;
mod switch;

use std::process::Child;
use std::time::{Duration, Instant};

/// Far above what anything here takes, also on a machine that compiles at the same time.
const PATIENCE: Duration = Duration::from_secs(60);

#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "not within {} s: {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// SIGTERM; the exit status.
fn terminate(child: &mut Child) -> Option<i32> {
    let pid = i32::try_from(child.id()).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    child.wait().unwrap().code()
}
