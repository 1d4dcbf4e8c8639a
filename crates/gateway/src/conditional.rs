//! Entity tags (RFC 9110, 8.8.3 and 13.1): what did not change is not sent again, and what changed since it was read is not
//! overwritten.
//!
//! In: a `GET` of ours and its answer, or a write with `If-Match`. Out: the answer with an entity tag, or 304 without a body
//! where the client has it; and the write, or 412.
//!
//! - A tag is a hash of the body, and so a strong one. A handler whose answer says more than what people change (how long a
//!   pause still lasts) gives a tag of its own over the rest. What is streamed has none.
//! - A write names the `GET` whose answer it overwrites. With `If-Match` it is done only while that has the tag. Writes of
//!   the same thing wait for each other a moment, with and without `If-Match`, so that no other write by REST, by a form or by
//!   GraphQL lies between look and change; what forms and GraphQL compare is in [`crate::overwritten`]. The loop takes no turn.
//!   An own account has a turn beside the user's: it is held while a password is proven, and whoever took an account over
//!   must not keep others from shutting it out. The store compares the user in the transaction that changes it.
//! - No precondition is ever required: a write without one says that it does not matter what is there.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use crate::api::Asked;
use crate::endpoint::Precondition;
use crate::problem::{Code, Problem};
use crate::security::hex;
use crate::serve::lock;

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
    let tag = head.headers.entry(header::ETAG).or_insert_with(|| tag_of(&body)).clone();
    if known.iter().any(|known| names(known, &tag)) {
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

/// The version that these bytes are.
pub(crate) fn version_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))[..32].to_owned()
}

/// The tag of these bytes.
pub(crate) fn tag_of(bytes: &[u8]) -> HeaderValue {
    let tag = format!("\"{}\"", version_of(bytes));
    HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The turn that writers take of what a `GET` answers; empty for `of` where its address has no name in it.
pub(crate) fn turn_of(path: &str, of: &str) -> String {
    format!("{path} {of}")
}

/// Whether a value of `If-None-Match` names a tag, compared as weak ones are: `*`, or tags separated by commas.
fn names(value: &HeaderValue, tag: &HeaderValue) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let (Ok(value), Ok(tag)) = (value.to_str(), tag.to_str()) else { return false };
    value.trim() == "*" || value.split(',').any(|known| opaque(known) == opaque(tag))
}

/// Whether a value of `If-Match` names a tag: a weak one names none.
fn matches(value: &HeaderValue, tag: &HeaderValue) -> bool {
    let (Ok(value), Ok(tag)) = (value.to_str(), tag.to_str()) else { return false };
    value.split(',').any(|known| matches!(known.trim(), "*") || known.trim() == tag)
}

/// Refuses a write of what changed since it was read; called while one has the [`Turns`] of it.
pub(crate) fn check(precondition: Precondition, asked: &Asked<'_>) -> Result<(), Problem> {
    let mut given = asked.headers.get_all(header::IF_MATCH).iter().peekable();
    if given.peek().is_none() {
        return Ok(());
    }
    let refused = |why: String| Err(Problem::new(Code::PreconditionFailed, why));
    match precondition {
        Precondition::Waived => Ok(()),
        Precondition::Unmeetable => {
            refused("this overwrites nothing that has an `ETag`; send it without `If-Match`".to_owned())
        }
        Precondition::Of { path, read } => {
            let (head, body) = read(asked)?.into_parts();
            let whole = Handle::current().block_on(body.collect());
            let whole = whole.map_err(|_| Problem::internal("what is to be overwritten cannot be read"))?;
            let tag = head.headers.get(header::ETAG).cloned().unwrap_or_else(|| tag_of(&whole.to_bytes()));
            match given.any(|given| matches(given, &tag)) {
                true => Ok(()),
                false => refused(format!(
                    "what is to be overwritten is not as `If-Match` says; read GET {path} again, and repeat what still holds"
                )),
            }
        }
    }
}

/// What is being overwritten now: one writer at a time of the same thing.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    taken: HashSet<String>,
    waiting: usize,
}

/// So many wait, whatever for; each holds a thread that others need, the emergency stop among them.
const WAITING_MAX: usize = 4;

/// How long one waits.
const WAIT: Duration = Duration::from_secs(2);

/// Held while something is overwritten.
pub(crate) struct Turn<'a> {
    of: &'a Turns,
    what: String,
}

impl Turns {
    /// Waits a moment until nobody else overwrites this.
    ///
    /// # Errors
    ///
    /// [`Code::Busy`] where it takes longer, or too many wait already.
    pub(crate) fn take(&self, what: String) -> Result<Turn<'_>, Problem> {
        let mut state = lock(&self.state);
        if state.taken.contains(&what) {
            if state.waiting >= WAITING_MAX {
                return Err(busy());
            }
            state.waiting += 1;
            let taken = |state: &mut State| state.taken.contains(&what);
            let waited = self.ended.wait_timeout_while(state, WAIT, taken);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.waiting -= 1;
            if state.taken.contains(&what) {
                return Err(busy());
            }
        }
        state.taken.insert(what.clone());
        Ok(Turn { of: self, what })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.of.state).taken.remove(&self.what);
        self.of.ended.notify_all();
    }
}

fn busy() -> Problem {
    let said = "somebody else changes the same thing at this moment; ask again";
    Problem { retry_after_seconds: Some(WAIT.as_secs()), ..Problem::new(Code::Busy, said) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_weak_tag_names_what_is_known_and_nothing_to_overwrite() {
        let tag = tag_of(b"body");
        let weak = HeaderValue::try_from(format!("W/{}", tag.to_str().unwrap())).unwrap();
        let listed = HeaderValue::try_from(format!("\"other\", {}", tag.to_str().unwrap())).unwrap();
        assert!(names(&weak, &tag) && names(&listed, &tag) && names(&HeaderValue::from_static("*"), &tag));
        assert!(!matches(&weak, &tag));
        assert!(matches(&listed, &tag) && matches(&HeaderValue::from_static(" * "), &tag));
        assert!(!matches(&tag_of(b"another body"), &tag));
    }

    #[test]
    fn writers_of_the_same_thing_wait_for_each_other_and_others_do_not() {
        let (turns, ended) = (Turns::default(), AtomicBool::new(false));
        std::thread::scope(|threads| {
            let first = turns.take("a".to_owned()).unwrap();
            threads.spawn(|| {
                let _second = turns.take("a".to_owned()).unwrap();
                assert!(ended.load(Ordering::SeqCst));
            });
            drop(turns.take("b".to_owned()).unwrap());
            ended.store(true, Ordering::SeqCst);
            drop(first);
        });
        assert!(lock(&turns.state).taken.is_empty());
    }

    #[test]
    fn few_wait_and_none_for_long() {
        let turns = Turns::default();
        let _held = turns.take("a".to_owned()).unwrap();
        std::thread::scope(|threads| {
            let waiting: Vec<_> =
                (0..WAITING_MAX * 2).map(|_| threads.spawn(|| turns.take("a".to_owned()).is_err())).collect();
            assert!(waiting.into_iter().all(|one| one.join().unwrap()));
        });
        assert_eq!(lock(&turns.state).waiting, 0);
    }
}
