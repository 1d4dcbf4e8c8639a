//! A request of which nothing is taken: why, in the words of each protocol.
//!
//! In: a [`Refusal`] of the store, or what a receiver finds wrong by itself. Out: the status of HTTP, the code of gRPC, a sentence
//! for people, and where another try may do better the time until then.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};
use protowire::{put_bytes, put_integer};
use telemetry::Refusal;

use super::counts::Reason;

/// A client that is asked to wait for room in a receiver waits this long: some ten group commits.
const ROOM_WAIT: Duration = Duration::from_millis(100);

/// Why nothing of a request is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) reason: Reason,
    /// For people.
    pub(crate) message: String,
    /// When to try again; `None`: the same request would be refused again.
    pub(crate) retry_after: Option<Duration>,
}

/// Codes of gRPC, as far as they are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrpcCode {
    Ok = 0,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl Refused {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry_after: None }
    }

    pub(crate) fn no_room(limit: usize) -> Self {
        Self {
            retry_after: Some(ROOM_WAIT),
            ..Self::new(
                Reason::InFlight,
                format!("the receiver holds {limit} bytes of unfinished requests; send it again later"),
            )
        }
    }

    pub(crate) fn too_large(what: &str, limit: usize) -> Self {
        Self::new(Reason::TooLarge, format!("{what} has more than {limit} bytes; send fewer items at a time"))
    }

    pub(crate) fn malformed(offset: usize, what: &str) -> Self {
        Self::new(Reason::Malformed, format!("the message is malformed at byte {offset}: {what}"))
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self.reason {
            Reason::Malformed | Reason::Incomplete => StatusCode::BAD_REQUEST,
            Reason::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Reason::Encoding | Reason::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Reason::Method => StatusCode::METHOD_NOT_ALLOWED,
            Reason::Path => StatusCode::NOT_FOUND,
            Reason::Unauthenticated => StatusCode::UNAUTHORIZED,
            Reason::Browser | Reason::Forbidden => StatusCode::FORBIDDEN,
            Reason::Slow => StatusCode::REQUEST_TIMEOUT,
            Reason::InFlight | Reason::Overloaded | Reason::Backlog => StatusCode::TOO_MANY_REQUESTS,
            Reason::Disk | Reason::Closing => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(crate) fn grpc_code(&self) -> GrpcCode {
        match self.reason {
            Reason::Malformed | Reason::Incomplete | Reason::MediaType => GrpcCode::InvalidArgument,
            Reason::TooLarge | Reason::InFlight | Reason::Overloaded | Reason::Backlog => {
                GrpcCode::ResourceExhausted
            }
            Reason::Encoding | Reason::Method | Reason::Path => GrpcCode::Unimplemented,
            Reason::Unauthenticated => GrpcCode::Unauthenticated,
            Reason::Browser | Reason::Forbidden => GrpcCode::PermissionDenied,
            Reason::Slow => GrpcCode::DeadlineExceeded,
            Reason::Disk | Reason::Closing => GrpcCode::Unavailable,
        }
    }

    /// As `google.rpc.Status`, with `google.rpc.RetryInfo` where trying again makes sense.
    pub(crate) fn in_protobuf(&self) -> Vec<u8> {
        let mut status = Vec::new();
        put_integer(&mut status, 1, self.grpc_code() as u64);
        put_bytes(&mut status, 2, self.message.as_bytes());
        if let Some(wait) = self.retry_after {
            let mut duration = Vec::new();
            put_integer(&mut duration, 1, wait.as_secs());
            put_integer(&mut duration, 2, u64::from(wait.subsec_nanos()));
            let mut retry = Vec::new();
            put_bytes(&mut retry, 1, &duration);
            let mut any = Vec::new();
            put_bytes(&mut any, 1, RETRY_INFO.as_bytes());
            put_bytes(&mut any, 2, &retry);
            put_bytes(&mut status, 3, &any);
        }
        status
    }

    /// The same in JSON.
    pub(crate) fn in_json(&self) -> Vec<u8> {
        let mut status = serde_json::json!({ "code": self.grpc_code() as u64, "message": self.message });
        if let Some(wait) = self.retry_after {
            let delay = format!("{}.{:09}s", wait.as_secs(), wait.subsec_nanos());
            status["details"] = serde_json::json!([{ "@type": RETRY_INFO, "retryDelay": delay }]);
        }
        status.to_string().into_bytes()
    }

    /// Adds what HTTP says beside the status; `encodings` are those a body may come in.
    pub(crate) fn put_headers(&self, headers: &mut HeaderMap, encodings: &'static str) {
        if let Some(seconds) = self.retry_after_seconds() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self.reason {
            Reason::Method => drop(headers.insert(header::ALLOW, HeaderValue::from_static("POST"))),
            Reason::Encoding => {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(encodings));
            }
            // What is left of the body may be long.
            Reason::TooLarge | Reason::Slow => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
    }

    /// The value of `Retry-After`: whole seconds, at least 1.
    pub(crate) fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|wait| wait.as_millis().div_ceil(1000).clamp(1, 3600) as u64)
    }
}

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// What a client is told where the store closes: long enough for a restart to begin.
const CLOSING_WAIT: Duration = Duration::from_secs(1);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed { offset, what } => Self::malformed(offset, what),
            Refusal::Overloaded { retry_after } => Self {
                retry_after: Some(retry_after),
                ..Self::new(Reason::Overloaded, "more comes than can be stored; send it again later")
            },
            Refusal::Backlog { waiting_bytes, retry_after } => Self {
                retry_after: Some(retry_after),
                ..Self::new(
                    Reason::Backlog,
                    format!(
                        "compaction is behind: {} MiB wait for it; send it again later",
                        waiting_bytes >> 20
                    ),
                )
            },
            Refusal::Disk { message, retry_after } => Self {
                retry_after: Some(retry_after),
                ..Self::new(Reason::Disk, format!("the disk does not take it: {message}"))
            },
            Refusal::Closing => Self {
                retry_after: Some(CLOSING_WAIT),
                ..Self::new(Reason::Closing, "the store is closing; send it again later")
            },
        }
    }
}

impl From<metrics::Refusal> for Refused {
    fn from(refusal: metrics::Refusal) -> Self {
        use metrics::Refusal;
        let message = refusal.to_string();
        match refusal {
            Refusal::Overloaded { retry_after } => {
                Self { retry_after: Some(retry_after), ..Self::new(Reason::Overloaded, message) }
            }
            Refusal::Backlog { retry_after, .. } => {
                Self { retry_after: Some(retry_after), ..Self::new(Reason::Backlog, message) }
            }
            Refusal::Disk { retry_after, .. } => {
                Self { retry_after: Some(retry_after), ..Self::new(Reason::Disk, message) }
            }
            Refusal::TooManySources { .. } => Self::new(Reason::Forbidden, message),
            Refusal::Closing => {
                Self { retry_after: Some(CLOSING_WAIT), ..Self::new(Reason::Closing, message) }
            }
        }
    }
}

impl From<metrics::wire::Unreadable> for Refused {
    fn from(unreadable: metrics::wire::Unreadable) -> Self {
        use metrics::wire::Unreadable;
        let reason = match unreadable {
            Unreadable::Malformed { .. } | Unreadable::Packing(_) => Reason::Malformed,
            Unreadable::TooMuch { .. } => Reason::TooLarge,
        };
        Self::new(reason, unreadable.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_each_form() {
        let refused = Refused::from(Refusal::Overloaded { retry_after: Duration::from_millis(1_500) });
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.retry_after_seconds(), Some(2));
        let json: serde_json::Value = serde_json::from_slice(&refused.in_json()).unwrap();
        assert_eq!(json["code"], 8);
        assert_eq!(json["details"][0]["retryDelay"], "1.500000000s");
        let protobuf = refused.in_protobuf();
        let retry = b"\x12\x0a\x0a\x08\x08\x01\x10\x80\xca\xb5\xee\x01";
        assert!(protobuf.starts_with(b"\x08\x08\x12"), "{protobuf:?}");
        assert!(protobuf.ends_with(retry), "{protobuf:?}");
    }

    #[test]
    fn what_would_be_refused_again_names_no_time() {
        let refused = Refused::from(Refusal::Malformed { offset: 7, what: "a number does not end" });
        assert_eq!(
            (refused.status(), refused.grpc_code()),
            (StatusCode::BAD_REQUEST, GrpcCode::InvalidArgument)
        );
        assert_eq!(refused.retry_after_seconds(), None);
        assert_eq!(refused.in_protobuf()[..2], [8, 3]);
        assert!(refused.message.contains("at byte 7"));
    }
}
