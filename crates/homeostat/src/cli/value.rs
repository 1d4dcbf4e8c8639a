//! Values of arguments: what is wrong with one is said before anybody is asked.
//!
//! In: a word that was typed. Out: the value, or what is to be typed instead.

use std::time::Duration;

use domain::Release;
use domain::units::parse_duration;

/// A name that only the server knows: anything but nothing, which a variable of the shell that is not set comes to.
pub(super) fn name(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty; give a name or an id".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// A text to search for: anything but nothing, which is in everything.
pub(super) fn sought(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty; give a text to search for".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// A duration that is one.
pub(super) fn time_above_zero(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(Duration::ZERO) => Err("it must be above 0, such as 10m".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

/// What a release may be called.
pub(super) fn version(text: &str) -> Result<String, String> {
    Release::version_fault(text).map_or_else(|| Ok(text.to_owned()), Err)
}

/// An environment variable with its value, which may be empty.
pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be NAME=VALUE".to_owned()),
    }
}
