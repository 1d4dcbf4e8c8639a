//! `/graphql/ws`: operations over a WebSocket, by the protocol `graphql-transport-ws`.
//!
//! In: messages of a client that proved who it is by the page's cookie, with our Origin, or by a token in
//! `connection_init`. Out: answers and events. One task serves a socket. A client that does not take what it is sent, or
//! does not answer pings, is let go; so is who may not, or not as much, any more ([`crate::standing`]), and after [`LIFETIME`]
//! everybody.

mod protocol;
mod running;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::parser::types::OperationType;
use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use domain::{Identity, Permission, Proof};
use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::{Instant, MissedTickBehavior, timeout, timeout_at};

use super::operation::{Leaving, Operation};
use super::refusal::{coded, is_refused, refused};
use crate::access::{Secret, Shown};
use crate::auditing;
use crate::guard::{self, NOWHERE};
use crate::listen::Peer;
use crate::live::stopped;
use crate::problem::{Code, Problem};
use crate::security::BODY_LIMIT;
use crate::serve::App;
use crate::standing::Standing;
use protocol::{Close, FromClient, PROTOCOL, ToClient};
use running::Running;

/// Sockets at a time.
pub(super) const SOCKETS: usize = 1_024;

/// Operations of one socket at a time.
const OPERATIONS_MAX: usize = 32;

/// How long a client may take to say who it is.
const INIT_TIME: Duration = Duration::from_secs(5);

/// How long a message may wait for a client to take it.
const SEND_TIME: Duration = Duration::from_secs(5);

/// How long a client may take to answer that its socket is closed.
const END_TIME: Duration = Duration::from_millis(400);

/// How often a client is asked whether it is there. One that says nothing for two of these times is let go.
const PING_EVERY: Duration = Duration::from_secs(20);

/// How long a socket may last.
const LIFETIME: Duration = Duration::from_secs(3600);

/// Buffers of one socket: there may be many, and messages are small.
const BUFFER: usize = 4 * 1024;

/// `GET /graphql/ws`
pub(super) async fn open(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Identity>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        let why = format!("this address takes WebSockets with the protocol {PROTOCOL}");
        return Problem::new(Code::BadRequest, why).into_response();
    };
    if let Err(problem) = app.door.check_origin(&headers) {
        return problem.into_response();
    }
    // A web page of another server could open one with our cookie; browsers always say whose page it is.
    if identity.proof == Proof::Session && headers.get(header::ORIGIN).is_none() {
        let why = "a WebSocket by the page's cookie must say its Origin; programs send a token";
        return Problem::new(Code::WrongOrigin, why).into_response();
    }
    let Ok(permit) = Arc::clone(&app.graphql.sockets).try_acquire_owned() else {
        let why = format!("{SOCKETS} WebSockets are open already; close one");
        return Problem { retry_after_seconds: Some(5), ..Problem::new(Code::TooManyRequests, why) }
            .into_response();
    };
    let request = auditing::request_id(&headers);
    let shown = Shown::by(&identity, &headers, app.door.cookie());
    let peer = peer.map_or(NOWHERE, |Extension(peer)| peer.0);
    upgrade
        .protocols([PROTOCOL])
        .max_message_size(BODY_LIMIT)
        .max_frame_size(BODY_LIMIT)
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .on_upgrade(async move |socket| {
            let _permit = permit;
            let running = Running::default();
            let mut session = Session { app, identity, request, peer, shown, socket, running };
            if let Err(close) = session.serve().await {
                session.end(close).await;
            }
        })
}

/// One socket.
struct Session {
    app: Arc<App>,
    identity: Identity,
    /// The id of the request that opened it.
    request: String,
    peer: IpAddr,
    /// By what that was proven.
    shown: Shown,
    socket: WebSocket,
    running: Running,
}

impl Session {
    /// Serves until the client goes away, which is no error.
    async fn serve(&mut self) -> Result<(), Close> {
        if self.socket.protocol().is_none_or(|protocol| protocol != PROTOCOL) {
            return Err(Close::Subprotocol);
        }
        let Some(()) = self.let_in().await? else { return Ok(()) };
        let standing = Standing::new(Arc::clone(&self.app), self.shown.clone(), self.identity.clone());
        let lost = standing.lost();
        tokio::pin!(lost);
        let end = Instant::now() + LIFETIME;
        let mut stopping = self.app.stopping.clone();
        let mut pings = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unanswered = 0;
        loop {
            tokio::select! {
                () = stopped(&mut stopping) => return Err(Close::GoingAway),
                problem = &mut lost => return Err(Close::forbidden(&problem)),
                () = tokio::time::sleep_until(end) => return Err(Close::GoingAway),
                message = self.socket.recv() => {
                    let Some(Ok(message)) = message else { return Ok(()) };
                    unanswered = 0;
                    match message {
                        Message::Text(text) => self.take(FromClient::read(&text)?).await?,
                        Message::Binary(_) => return Err(Close::Invalid("messages are text".to_owned())),
                        // What answers a close is sent with the next look, which ends the socket.
                        Message::Close(_) | Message::Ping(_) | Message::Pong(_) => {}
                    }
                }
                (id, answer) = self.running.next() => {
                    match answer.map(coded) {
                        // Nothing of it was executed: that ends it.
                        Some(answer) if is_refused(&answer) => {
                            self.running.end(&id);
                            self.say(&ToClient::Error { id: &id, payload: &answer.errors }).await?;
                        }
                        Some(answer) => self.say(&ToClient::Next { id: &id, payload: &answer }).await?,
                        None => self.say(&ToClient::Complete { id: &id }).await?,
                    }
                }
                _ = pings.tick() => {
                    if unanswered == 2 {
                        return Err(Close::TooSlow);
                    }
                    unanswered += 1;
                    self.send(Message::Ping(Default::default())).await?;
                }
            }
        }
    }

    /// Waits for the client to say who it is; nothing where it went away.
    async fn let_in(&mut self) -> Result<Option<()>, Close> {
        let deadline = Instant::now() + INIT_TIME;
        loop {
            let received = timeout_at(deadline, self.socket.recv()).await;
            let Some(Ok(message)) = received.map_err(|_| Close::InitTimeout)? else { return Ok(None) };
            let Message::Text(text) = message else { continue };
            match FromClient::read(&text)? {
                FromClient::Init { token } => {
                    if let Some(token) = token {
                        let found = guard::identity_of_token(&self.app, &token);
                        self.identity = found.map_err(|problem| Close::forbidden(&problem))?;
                        self.shown = Shown::Bearer(Secret::new(token));
                    }
                    if !self.identity.may(Permission::StateRead) {
                        return Err(Close::Forbidden("state:read is needed".to_owned()));
                    }
                    self.say(&ToClient::Ack).await?;
                    return Ok(Some(()));
                }
                FromClient::Ping => self.say(&ToClient::Pong).await?,
                FromClient::Pong => {}
                FromClient::Subscribe { .. } | FromClient::Complete { .. } => {
                    return Err(Close::Unauthorized);
                }
            }
        }
    }

    async fn take(&mut self, message: FromClient) -> Result<(), Close> {
        match message {
            FromClient::Init { .. } => Err(Close::InitTwice),
            FromClient::Ping => self.say(&ToClient::Pong).await,
            FromClient::Pong => Ok(()),
            FromClient::Complete { id } => {
                self.running.end(&id);
                Ok(())
            }
            FromClient::Subscribe { id, payload } => {
                if self.running.has(&id) {
                    return Err(Close::SubscriberExists(id));
                }
                if self.running.len() >= OPERATIONS_MAX {
                    let why = format!("{OPERATIONS_MAX} operations run on this socket already; end one");
                    let errors = refused(Problem::new(Code::TooManyRequests, why)).errors;
                    return self.say(&ToClient::Error { id: &id, payload: &errors }).await;
                }
                if let Err(problem) = self.app.rates.take(&self.identity, self.peer, self.app.clock.now()) {
                    let errors = refused(problem).errors;
                    return self.say(&ToClient::Error { id: &id, payload: &errors }).await;
                }
                self.begin(id, payload).await
            }
        }
    }

    async fn begin(&mut self, id: String, sent: super::http::Sent) -> Result<(), Close> {
        let asked = match sent.read() {
            Ok(asked) => asked,
            Err(response) => {
                return self.say(&ToClient::Error { id: &id, payload: &response.errors }).await;
            }
        };
        let (app, identity) = (Arc::clone(&self.app), self.identity.clone());
        let answers = match asked.kind {
            OperationType::Subscription => {
                let leaving = Leaving::default();
                let operation =
                    Operation::new(Arc::clone(&app), identity, self.request.clone(), Arc::clone(&leaving.0));
                let schema = &app.graphql.schema;
                let events = schema.execute_stream(operation.behind(asked.request));
                // What tells that nobody listens lasts as long as the stream.
                events
                    .inspect(move |_| {
                        let _ = &leaving;
                    })
                    .boxed()
            }
            OperationType::Query | OperationType::Mutation => {
                let run = super::http::run(app, identity, self.request.clone(), asked.request);
                stream::once(async move { run.await.map_or_else(refused, |ran| ran.response) }).boxed()
            }
        };
        self.running.begin(id, answers);
        Ok(())
    }

    async fn say(&mut self, message: &ToClient<'_>) -> Result<(), Close> {
        self.send(Message::Text(message.write().into())).await
    }

    /// Sends, or finds that the client does not take what it is sent.
    async fn send(&mut self, message: Message) -> Result<(), Close> {
        match timeout(SEND_TIME, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Close::Gone),
            Err(_) => Err(Close::TooSlow),
        }
    }

    async fn end(&mut self, close: Close) {
        let Some(frame) = close.frame() else { return };
        // Who does not take messages may not take this one either. Who takes it answers: a connection that is cut before
        // loses the frame.
        let _ = timeout(END_TIME, async {
            if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = self.socket.recv().await {}
            }
        })
        .await;
    }
}
