//! OTLP requests written field by field, for scenes.

/// A protobuf message under construction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
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
    Message::default().bytes(1, key).message(2, Message::default().bytes(1, value))
}

/// A `KeyValue` with an integer.
pub(crate) fn int(key: &str, value: u64) -> Message {
    Message::default().bytes(1, key).message(2, Message::default().varint(3, value))
}

/// A request with spans (or log records) of one service.
pub(crate) fn request(service: &str, items: Vec<Message>) -> Vec<u8> {
    let resource = Message::default()
        .message(1, text("service.name", service))
        .message(1, text("service.version", "1.4.2"))
        .message(1, text("host.name", "node-1"));
    let scope = Message::default().bytes(1, "shop-instrumentation").bytes(2, "0.3.1");
    let scoped =
        items.into_iter().fold(Message::default().message(1, scope), |all, item| all.message(2, item));
    Message::default().message(1, Message::default().message(1, resource).message(2, scoped)).0
}
