//! Requests and answers as the services see them: read whole, small, without HTTP's ceremony.
//!
//! In: a hyper request. Out: a hyper response. Deliberately absent: streaming; nothing in the shop is
//! larger than [`BODY_LIMIT`].

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::CallError;

/// Names the parts of the shop that are missing from an answer which was served all the same.
pub(crate) const DEGRADED_HEADER: &str = "x-shop-degraded";
/// The id of the order that an answer acknowledges.
pub(crate) const ORDER_HEADER: &str = "x-shop-order";

/// The largest request body that is read; the largest real one, a full cart, has about 2 KiB.
const BODY_LIMIT: usize = 64 * 1024;

/// A request that was read whole.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Without the query.
    pub(super) path: String,
    query: String,
    body: Bytes,
}

/// What goes back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    content_type: &'static str,
    body: Bytes,
    headers: Vec<(&'static str, String)>,
}

impl Request {
    /// Reads a request to its end; an answer where that cannot be done.
    pub(super) async fn read(request: hyper::Request<Incoming>) -> Result<Self, Answer> {
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, BODY_LIMIT).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 64 KiB")
            } else {
                Answer::error(StatusCode::BAD_REQUEST, "the body ended before its end")
            }
        })?;
        Ok(Self {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            body: body.to_bytes(),
        })
    }

    /// The value of `name` from the query or a form body, decoded.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let form = std::str::from_utf8(&self.body).unwrap_or_default();
        self.query.split('&').chain(form.split('&')).find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            (key == name).then(|| decode(value))
        })
    }

    /// The body as JSON; an answer that says what is wrong with it where it is not.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Answer> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Answer::error(StatusCode::BAD_REQUEST, &format!("cannot read the body: {error}"))
        })
    }
}

impl Answer {
    /// 200 with `value` as JSON.
    pub(super) fn json(value: &impl Serialize) -> Self {
        Self::json_with(StatusCode::OK, value)
    }

    /// `value` as JSON.
    pub(super) fn json_with(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::raw(status, "application/json", body.into()),
            Err(error) => Self::error(
                StatusCode::INTERNAL_SERVER_ERROR,
                &format!("cannot write the answer as JSON: {error}"),
            ),
        }
    }

    /// A body that is JSON already.
    pub(super) fn json_bytes(body: Bytes) -> Self {
        Self::raw(StatusCode::OK, "application/json", body)
    }

    /// Plain text.
    pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::raw(status, "text/plain; charset=utf-8", body.into())
    }

    /// A page.
    pub(super) fn html(body: String) -> Self {
        Self::raw(StatusCode::OK, "text/html; charset=utf-8", body.into())
    }

    /// `{"error": message}`.
    pub(super) fn error(status: StatusCode, message: &str) -> Self {
        Self::json_with(status, &serde_json::json!({ "error": message }))
    }

    /// 404 for a path that leads nowhere.
    pub(super) fn not_found() -> Self {
        Self::error(StatusCode::NOT_FOUND, "there is nothing at this path")
    }

    /// The same answer with one more header. A value no header can hold is left out.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The hyper response.
    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers
            .insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static(self.content_type));
        for (name, value) in self.headers {
            if let Ok(value) = value.parse() {
                headers.insert(name, value);
            }
        }
        response
    }

    fn raw(status: StatusCode, content_type: &'static str, body: Bytes) -> Self {
        Self { status, content_type, body, headers: Vec::new() }
    }
}

/// How a failed call is passed on to the own caller.
impl From<CallError> for Answer {
    fn from(error: CallError) -> Self {
        let status = match &error {
            CallError::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            CallError::BreakerOpen => StatusCode::SERVICE_UNAVAILABLE,
            CallError::Turned { status, .. } => *status,
            CallError::NoAnswer(_) | CallError::Failed(_) | CallError::Unreadable(_) => {
                StatusCode::BAD_GATEWAY
            }
        };
        Self::error(status, &error.to_string())
    }
}

/// Decodes `application/x-www-form-urlencoded`; what is no valid escape stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (escaped, bytes[at]) {
            (Some(byte), _) => {
                out.push(byte);
                at += 2;
            }
            (None, b'+') => out.push(b' '),
            (None, byte) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_fields_are_decoded() {
        assert_eq!(decode("blue+mug%21"), "blue mug!");
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz%C3%A9"), "%zzé");
    }

    #[test]
    fn fields_come_from_the_query_and_from_the_form() {
        let request = Request {
            method: Method::POST,
            path: "/".to_owned(),
            query: "cart=a".to_owned(),
            body: Bytes::from_static(b"product=3&q=red+cup"),
        };
        assert_eq!(request.field("cart").as_deref(), Some("a"));
        assert_eq!(request.field("q").as_deref(), Some("red cup"));
        assert_eq!(request.field("price"), None);
    }
}
