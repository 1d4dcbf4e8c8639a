//! OTLP requests written field by field, for scenes.

#[path = "../../../telemetry/src/fixture/message.rs"]
mod message;

pub(crate) use message::{Message, int, text};

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
