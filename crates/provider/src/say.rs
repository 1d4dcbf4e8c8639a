//! Lines for people, on stderr.
//!
//! In: a line. Out: the line, or nothing where it cannot be written: the reader went away, the disk of the log is
//! full. That never ends what the process does; `eprintln!` would panic, in the keeper on the very disk it just
//! found full.

use std::fmt::Arguments;
use std::io::{self, Write};

/// Writes a line to stderr, in one piece where the system allows. Usually called as [`say!`](crate::say!).
pub fn line(text: Arguments<'_>) {
    // Whoever should have read it is gone; there is nobody else to tell.
    let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}

/// Says a line to people, as `eprintln!` does, and goes on where nobody can hear it.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::say::line(::std::format_args!($($text)*)) };
}
