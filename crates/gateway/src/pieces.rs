//! Long answers, written piece by piece while they are sent: a trace of 50,000 spans is never in memory as text.
//!
//! In: something that writes the next piece of an answer. Out: a response body. Pieces are written on the blocking
//! pool, and only when the client has taken what was written before, so a slow client holds no thread.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use tokio::task::JoinHandle;

/// A chunk is sent when it has this many bytes: large beside what a chunk costs, small beside a trace.
const CHUNK: usize = 64 << 10;

/// Whether there is more to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum More {
    Yes,
    No,
}

/// Why an answer breaks off: what was sent is not whole, and the client sees the connection end early.
pub(crate) type Broken = Box<dyn std::error::Error + Send + Sync>;

/// An answer that is written piece by piece.
pub(crate) trait Pieces: Send + Unpin + 'static {
    /// Writes the next piece.
    fn write(&mut self, out: &mut Vec<u8>) -> Result<More, Broken>;
}

/// A response of JSON, written while it is sent.
pub(crate) fn json(pieces: impl Pieces) -> Response {
    let body = Body::new(Written { state: State::Resting(pieces) });
    let mut response = (StatusCode::OK, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

struct Written<P> {
    state: State<P>,
}

enum State<P> {
    /// Waits for the client.
    Resting(P),
    /// A piece is being written.
    Writing(JoinHandle<(P, Result<More, Broken>, Vec<u8>)>),
    Ended,
}

impl<P: Pieces> hyper::body::Body for Written<P> {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Resting(pieces) => {
                    self.state = State::Writing(tokio::task::spawn_blocking(move || chunk(pieces)));
                }
                State::Writing(mut thread) => {
                    let done = match Pin::new(&mut thread).poll(context) {
                        Poll::Ready(done) => done,
                        Poll::Pending => {
                            self.state = State::Writing(thread);
                            return Poll::Pending;
                        }
                    };
                    let (pieces, more, bytes) = match done {
                        Ok(done) => done,
                        Err(error) => return Poll::Ready(Some(Err(error.into()))),
                    };
                    if more? == More::Yes {
                        self.state = State::Resting(pieces);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes.into()))));
                }
            }
        }
    }
}

fn chunk<P: Pieces>(mut pieces: P) -> (P, Result<More, Broken>, Vec<u8>) {
    let mut out = Vec::with_capacity(CHUNK + CHUNK / 4);
    loop {
        match pieces.write(&mut out) {
            Ok(More::Yes) if out.len() < CHUNK => {}
            more => return (pieces, more, out),
        }
    }
}
