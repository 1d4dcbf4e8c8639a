//! Ports for what tests start, here and in other crates.
//!
//! Out: a port. Deliberately absent: a listener that keeps it. Who is started binds it itself, and again after it died.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};

/// A port of loopback nobody listens on, below those the kernel gives to outgoing connections and to who asks for any: none
/// of the many connections of a test takes it before, or between two lives of, what is to listen there.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // Tests that run at the same time begin at different places.
    let first = u64::from(std::process::id()) * 131;
    std::iter::repeat_with(|| 10_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 22_000)
        .map(|port| u16::try_from(port).expect("below 32,000"))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("the search does not end before one is found")
}
