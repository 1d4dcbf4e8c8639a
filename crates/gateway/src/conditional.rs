//! `ETag` and `If-None-Match` (RFC 9110, 8.8.3 and 13.1.2): what did not change is not sent again.
//!
//! In: a `GET` of ours and its answer. Out: the answer with an entity tag, or 304 without a body where the client has it. The
//! tag is weak, a hash of the body: what is answered is made anew each time, and only its transfer is spared. What is
//! streamed has none.

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};

use crate::security::hex;

/// Tags JSON that is all there.
pub(crate) async fn tag(request: Request, next: Next) -> Response {
    let known: Vec<HeaderValue> = request.headers().get_all(header::IF_NONE_MATCH).iter().cloned().collect();
    let response = next.run(request).await;
    if response.status() != StatusCode::OK
        || !is_json(response.headers())
        || response.body().size_hint().exact().is_none()
    {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let Ok(body) = body.collect().await.map(|body| body.to_bytes()) else {
        return Response::from_parts(head, Body::empty());
    };
    let tag = format!("W/\"{}\"", &hex(&Sha256::digest(&body))[..32]);
    let is_known = known.iter().any(|known| names(known, &tag));
    if let Ok(value) = HeaderValue::try_from(tag) {
        head.headers.insert(header::ETAG, value);
    }
    if is_known {
        head.status = StatusCode::NOT_MODIFIED;
        head.headers.remove(header::CONTENT_TYPE);
        head.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(head, Body::empty());
    }
    Response::from_parts(head, Body::from(body))
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == b"application/json")
}

/// Whether a value of `If-None-Match` names a tag, compared as weak ones are: `*`, or tags separated by commas.
fn names(value: &HeaderValue, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let Ok(value) = value.to_str() else { return false };
    value.trim() == "*" || value.split(',').any(|known| opaque(known) == opaque(tag))
}
