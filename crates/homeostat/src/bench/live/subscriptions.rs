//! A GraphQL subscription over `graphql-transport-ws`, on a WebSocket of its own.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::changes::Switched;
use super::stream::{Kind, Told};
use super::{Server, wall_us};

/// Evaluated once for all who listen to the same.
const EXPRESSIONS: [&str; 5] = [
    "homeostat_instance_memory_bytes",
    "sum by (service) (homeostat_instance_cpu_cores)",
    "sum by (service) (homeostat_instance_ready)",
    "rate(homeostat_link_requests_total[30s])",
    "max_over_time(homeostat_slo_burn_rate[1m])",
];

/// What is subscribed to.
#[derive(Debug, Clone)]
pub(super) struct What {
    kind: Kind,
    query: String,
}

impl What {
    /// Each kind in turn.
    pub(super) fn of(number: u32) -> Self {
        let (kind, query) = match number % 3 {
            0 => (
                Kind::Status,
                "subscription { infrastructureStatus(id: \"shop\") { state servicesReady ready seenAt } }".to_owned(),
            ),
            1 => (
                Kind::Anomalies,
                "subscription { anomalyAlerts { change at issue { id type severity description detectedAt } } }"
                    .to_owned(),
            ),
            _ => {
                let expression = EXPRESSIONS[number as usize / 3 % EXPRESSIONS.len()];
                let fields = "at truncated series { name labels { name value } points { at value } }";
                let query = format!(
                    "subscription {{ metricsStream(query: {}, interval: 1) {{ {fields} }} }}",
                    json!(expression)
                );
                (Kind::Series, query)
            }
        };
        Self { kind, query }
    }

    /// When what an event tells of was so, in microseconds since 1970; `None` where the event does not say.
    fn was_at(&self, data: &Value) -> Option<i64> {
        let time = match self.kind {
            Kind::Status => &data["infrastructureStatus"]["seenAt"],
            Kind::Anomalies => {
                let event = &data["anomalyAlerts"];
                // An issue that changes or is closed was detected long before.
                if event["change"] != "OPENED" {
                    return None;
                }
                &event["issue"]["detectedAt"]
            }
            Kind::Series => &data["metricsStream"]["at"],
            Kind::Page => return None,
        };
        time.as_str()?.parse::<jiff::Timestamp>().ok().map(|time| time.as_microsecond())
    }
}

/// Keeps one open until it is to stop.
pub(super) async fn follow(
    server: Server,
    what: What,
    switch: watch::Receiver<Switched>,
    stopping: watch::Receiver<bool>,
) -> Told {
    let mut told = Told::nothing(what.kind);
    let ended = hear(&server, &what, switch, stopping, &mut told).await;
    told.end(ended)
}

async fn hear(
    server: &Server,
    what: &What,
    switch: watch::Receiver<Switched>,
    mut stopping: watch::Receiver<bool>,
    told: &mut Told,
) -> Result<(), String> {
    let mut socket = connect(server).await?;
    say(&mut socket, &json!({ "type": "connection_init", "payload": { "Authorization": format!("Bearer {}", server.token) } }))
        .await?;
    say(&mut socket, &json!({ "id": "1", "type": "subscribe", "payload": { "query": what.query } })).await?;
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            _ = stopping.wait_for(|stop| *stop) => return Ok(()),
        };
        let message = message.ok_or("the server ended it")?.map_err(|error| error.to_string())?;
        told.hears();
        let text = match message {
            Message::Text(text) => text,
            Message::Close(frame) => return Err(format!("closed: {frame:?}")),
            _ => continue,
        };
        let said: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        match said["type"].as_str() {
            Some("connection_ack") => {}
            Some("next") if said["payload"].get("errors").is_none() => {
                // Before the first change it is told how things are.
                if switch.borrow().number == 0 {
                    continue;
                }
                told.events += 1;
                if let Some(was_at) = what.was_at(&said["payload"]["data"]) {
                    let late = u64::try_from(wall_us() - was_at).unwrap_or_default();
                    told.late.push(Duration::from_micros(late));
                }
            }
            _ => return Err(text.to_string()),
        }
    }
}

async fn connect(server: &Server) -> Result<WebSocketStream<TcpStream>, String> {
    let said = |error: &dyn std::error::Error| error.to_string();
    let stream = TcpStream::connect(server.address).await.map_err(|error| said(&error))?;
    stream.set_nodelay(true).map_err(|error| said(&error))?;
    let address = format!("ws://localhost:{}/graphql/ws", server.address.port());
    let mut request = address.into_client_request().map_err(|error| said(&error))?;
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("graphql-transport-ws"));
    let (socket, _) = client_async(request, stream).await.map_err(|error| said(&error))?;
    Ok(socket)
}

async fn say(socket: &mut WebSocketStream<TcpStream>, message: &Value) -> Result<(), String> {
    socket.send(Message::text(message.to_string())).await.map_err(|error| error.to_string())
}
