//! OTLP requests for tests, written field by field.

mod message;

pub(crate) use message::{Message, int, text};

/// The trace id used for `trace`.
pub(crate) fn trace_id(trace: u64) -> [u8; 16] {
    (u128::from(trace) << 64 | 0x0123_4567_89ab_cdef).to_be_bytes()
}

/// A server span that starts `start` nanoseconds after 1970 and takes 5 ms; fields may be added.
pub(crate) fn span(trace: u64, span: u64, start: u64) -> Message {
    Message::new()
        .bytes(1, trace_id(trace))
        .bytes(2, span.to_be_bytes())
        .bytes(5, format!("GET /{}", span % 3))
        .varint(6, 2)
        .fixed64(7, start)
        .fixed64(8, start + 5_000_000)
        .message(9, text("http.request.method", "GET"))
        .message(9, int("http.response.status_code", 200 + (span % 2) as i64 * 300))
        .message(9, text("request.id", &format!("{:016x}", span.wrapping_mul(0x9e37_79b9_7f4a_7c15))))
}

/// A request with spans of one service.
pub(crate) fn traces(service: &str, spans: impl IntoIterator<Item = Message>) -> Vec<u8> {
    envelope(service, 2, spans)
}

/// A request with log records of one service.
pub(crate) fn logs(service: &str, records: impl IntoIterator<Item = Message>) -> Vec<u8> {
    envelope(service, 2, records)
}

fn envelope(service: &str, field: u64, items: impl IntoIterator<Item = Message>) -> Vec<u8> {
    let resource =
        Message::new().message(1, text("service.name", service)).message(1, text("host.name", "h1"));
    let scope = Message::new().bytes(1, "fixture").bytes(2, "1.0");
    let scoped =
        items.into_iter().fold(Message::new().message(1, scope), |all, item| all.message(field, item));
    Message::new().message(1, Message::new().message(1, resource).message(2, scoped)).0
}

/// A log record.
pub(crate) fn log_record(time: u64, severity: u64, body: &str) -> Message {
    Message::new()
        .fixed64(1, time)
        .varint(2, severity)
        .bytes(3, "INFO")
        .message(5, Message::new().bytes(1, body))
        .message(6, text("thread", "main"))
}
