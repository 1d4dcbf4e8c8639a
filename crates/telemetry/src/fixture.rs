//! OTLP requests for tests, written field by field.

/// A protobuf message under construction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(crate) fn varint(mut self, field: u64, value: u64) -> Self {
        self.number(field << 3);
        self.number(value);
        self
    }

    pub(crate) fn fixed64(mut self, field: u64, value: u64) -> Self {
        self.number(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn fixed32(mut self, field: u64, value: u32) -> Self {
        self.number(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn bytes(mut self, field: u64, value: impl AsRef<[u8]>) -> Self {
        self.number(field << 3 | 2);
        self.number(value.as_ref().len() as u64);
        self.0.extend_from_slice(value.as_ref());
        self
    }

    pub(crate) fn message(self, field: u64, value: Message) -> Self {
        self.bytes(field, value.0)
    }
}

/// A `KeyValue` with text.
pub(crate) fn text(key: &str, value: &str) -> Message {
    Message::new().bytes(1, key).message(2, Message::new().bytes(1, value))
}

/// A `KeyValue` with an integer.
pub(crate) fn int(key: &str, value: i64) -> Message {
    Message::new().bytes(1, key).message(2, Message::new().varint(3, value as u64))
}

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
