//! What an attribute can hold, and what a span can be.
//!
//! In: what the service hands over. Out: values that a buffer copies. Deliberately absent: arrays and maps;
//! no query of ours looks into them.

/// The value of an attribute, borrowed from the caller: a buffer copies the text at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Text, copied into the trace's buffer. Longer than [`TEXT_BYTES_MAX`](crate::TEXT_BYTES_MAX) it is cut.
    Text(&'a str),
    /// Text that lives as long as the program; only its address is kept.
    Static(&'static str),
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    I64(i64),
    /// A number.
    F64(f64),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::I64(value)
    }
}

impl From<i32> for Value<'_> {
    fn from(value: i32) -> Self {
        Self::I64(i64::from(value))
    }
}

impl From<u32> for Value<'_> {
    fn from(value: u32) -> Self {
        Self::I64(i64::from(value))
    }
}

impl From<u16> for Value<'_> {
    fn from(value: u16) -> Self {
        Self::I64(i64::from(value))
    }
}

impl From<f64> for Value<'_> {
    fn from(value: f64) -> Self {
        Self::F64(value)
    }
}

/// What a span is to the call it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Work inside the service.
    #[default]
    Internal,
    /// Answers a request from elsewhere.
    Server,
    /// Waits for an answer from elsewhere.
    Client,
    /// Hands a message on and does not wait.
    Producer,
    /// Takes a message.
    Consumer,
}

/// How the work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status<'a> {
    /// Nobody said. Where somebody did, this changes nothing, as OpenTelemetry's specification asks.
    Unset,
    /// Somebody said it went well.
    Ok,
    /// It failed, with what to tell a person. The local trace is kept, whatever the sampling rate.
    Error(&'a str),
}
