//! The messages of `graphql-transport-ws`, and the codes a socket is closed with.
//!
//! <https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>

use async_graphql::{Response, ServerError};
use axum::extract::ws::CloseFrame;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::graphql::http::Sent;
use crate::problem::Problem;

/// The name of the protocol, which a client has to offer.
pub(super) const PROTOCOL: &str = "graphql-transport-ws";

/// The longest id of an operation, in bytes.
const ID_MAX: usize = 128;

/// The longest reason that a frame that closes may hold, in bytes (RFC 6455, 5.5).
const REASON_MAX: usize = 123;

/// What a client says.
pub(super) enum FromClient {
    /// Who it is: by a token, or by what the request said that opened the socket.
    Init {
        token: Option<String>,
    },
    Ping,
    Pong,
    /// Begin an operation.
    Subscribe {
        id: String,
        payload: Sent,
    },
    /// End it.
    Complete {
        id: String,
    },
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Raw {
    ConnectionInit { payload: Option<Map<String, Value>> },
    Ping {},
    Pong {},
    Subscribe { id: String, payload: Sent },
    Complete { id: String },
}

impl FromClient {
    pub(super) fn read(text: &str) -> Result<Self, Close> {
        let raw = serde_json::from_str(text).map_err(|error| Close::Invalid(error.to_string()))?;
        let named = |id: String| match id.len() {
            1..=ID_MAX => Ok(id),
            _ => Err(Close::Invalid(format!("an id has 1 to {ID_MAX} bytes"))),
        };
        Ok(match raw {
            Raw::ConnectionInit { payload } => Self::Init { token: payload.as_ref().and_then(token) },
            Raw::Ping {} => Self::Ping,
            Raw::Pong {} => Self::Pong,
            Raw::Subscribe { id, payload } => Self::Subscribe { id: named(id)?, payload },
            Raw::Complete { id } => Self::Complete { id: named(id)? },
        })
    }
}

/// The token of `{"Authorization": "Bearer TOKEN"}`, however that is capitalised.
fn token(payload: &Map<String, Value>) -> Option<String> {
    let (_, value) = payload.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"))?;
    let text = value.as_str().unwrap_or_default();
    let bearer = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    Some(bearer.map_or(text, |(_, token)| token.trim()).to_owned())
}

/// What is said to a client.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ToClient<'a> {
    #[serde(rename = "connection_ack")]
    Ack,
    Pong,
    Next {
        id: &'a str,
        payload: &'a Response,
    },
    Error {
        id: &'a str,
        payload: &'a [ServerError],
    },
    Complete {
        id: &'a str,
    },
}

impl ToClient<'_> {
    pub(super) fn write(&self) -> String {
        // Answers are made of values that JSON has.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Why a socket is closed.
#[derive(Debug)]
pub(super) enum Close {
    Invalid(String),
    Unauthorized,
    Forbidden(String),
    Subprotocol,
    InitTimeout,
    InitTwice,
    SubscriberExists(String),
    TooSlow,
    GoingAway,
    /// The client is not there any more.
    Gone,
}

impl Close {
    /// Why one may not, by its code.
    pub(super) fn forbidden(problem: &Problem) -> Self {
        Self::Forbidden(format!("{}: {}", problem.code.name(), problem.detail))
    }

    /// The frame that closes; none where nobody would read it.
    pub(super) fn frame(self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            Self::Invalid(why) => (4400, format!("Invalid message: {why}")),
            Self::Unauthorized => (4401, "Unauthorized".to_owned()),
            Self::Forbidden(why) => (4403, format!("Forbidden: {why}")),
            Self::Subprotocol => (4406, "Subprotocol not acceptable".to_owned()),
            Self::InitTimeout => (4408, "Connection initialisation timeout".to_owned()),
            Self::InitTwice => (4429, "Too many initialisation requests".to_owned()),
            Self::SubscriberExists(id) => (4409, format!("Subscriber for {id} already exists")),
            Self::TooSlow => (1013, "messages are not read fast enough; connect again".to_owned()),
            Self::GoingAway => (1001, "connect again".to_owned()),
            Self::Gone => return None,
        };
        let end = reason.floor_char_boundary(REASON_MAX);
        Some(CloseFrame { code, reason: reason[..end].to_owned().into() })
    }
}
