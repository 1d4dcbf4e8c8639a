//! Operations of GraphQL, over HTTP and over a WebSocket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::server::{Reply, Server, TOKEN};

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(60);

impl Server {
    /// An operation as a program sends it that holds the token.
    pub(crate) fn graphql(&self, query: &str) -> Value {
        self.graphql_with(query, json!({}))
    }

    pub(crate) fn graphql_with(&self, query: &str, variables: Value) -> Value {
        let reply = self.post("/graphql", json!({"query": query, "variables": variables}));
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(reply.header("content-type"), Some("application/json"));
        reply.json()
    }

    /// The data of an operation that has no errors.
    pub(crate) fn graphql_data(&self, query: &str) -> Value {
        let mut answer = self.graphql(query);
        assert_eq!(answer.get("errors"), None, "{answer}");
        answer["data"].take()
    }

    /// An operation by whoever holds these headers.
    pub(crate) fn graphql_as(&self, headers: &[(&str, &str)], query: &str) -> Reply {
        let host = self.host();
        let mut all = vec![("host", host.as_str()), ("content-type", "application/json")];
        all.extend_from_slice(headers);
        self.raw("POST", "/graphql", &all, &json!({"query": query}).to_string())
    }
}

/// The code of the first error of an answer.
pub(crate) fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_else(|| panic!("no code in {answer}"))
}

/// Runs what waits for sockets.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("it took too long") })
}

/// A WebSocket of a client.
pub(crate) struct Socket(pub(crate) WebSocketStream<MaybeTlsStream<TcpStream>>);

/// What the server did last.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    Said(Value),
    Closed(u16),
    Gone,
}

impl Socket {
    /// Opens one with these headers.
    pub(crate) async fn try_open(server: &Server, headers: &[(&'static str, &str)]) -> Result<Self, Error> {
        let mut request =
            format!("ws://localhost:{}/graphql/ws", server.address().port()).into_client_request().unwrap();
        let protocol = HeaderValue::from_static("graphql-transport-ws");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        Ok(Self(connect_async(request).await?.0))
    }

    pub(crate) async fn open(server: &Server) -> Self {
        Self::try_open(server, &[]).await.unwrap()
    }

    /// Opens one, and says who asks.
    pub(crate) async fn begin(server: &Server) -> Self {
        let mut socket = Self::open(server).await;
        let payload = json!({"Authorization": format!("Bearer {TOKEN}")});
        socket.say(json!({"type": "connection_init", "payload": payload})).await;
        assert_eq!(socket.hear().await, Heard::Said(json!({"type": "connection_ack"})));
        socket
    }

    pub(crate) async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    pub(crate) async fn subscribe(&mut self, id: &str, query: &str) {
        self.say(json!({"id": id, "type": "subscribe", "payload": {"query": query}})).await;
    }

    /// The next message, pings aside.
    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Heard::Said(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => {
                    return frame.map_or(Heard::Gone, |frame| Heard::Closed(frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Heard::Gone,
            }
        }
    }

    /// The data of the next event of a subscription.
    pub(crate) async fn event(&mut self, id: &str) -> Value {
        match self.hear().await {
            Heard::Said(mut said) if said["type"] == "next" && said["id"] == id => {
                assert_eq!(said["payload"].get("errors"), None, "{said}");
                said["payload"]["data"].take()
            }
            other => panic!("no event of {id}: {other:?}"),
        }
    }
}
