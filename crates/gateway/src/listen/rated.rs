//! A request's body that has to come at some rate, and an answer's body that says when it has been sent.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::ConnectionLimits;
use crate::serve::lock;

/// Whether a body was given up because it came too slowly.
pub(super) type GivenUp = Arc<AtomicBool>;

/// A body as it comes in.
pub(super) struct Rated {
    inner: Incoming,
    time: Duration,
    bytes_per_second: u64,
    /// Since somebody waits for it, and how much came.
    began: Option<Instant>,
    bytes: u64,
    waiting: Option<Pin<Box<Sleep>>>,
    given_up: GivenUp,
}

/// It came slower than it may.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body comes too slowly")]
    Slow,
    #[error(transparent)]
    Broken(#[from] hyper::Error),
}

impl Rated {
    pub(super) fn new(inner: Incoming, limits: &ConnectionLimits, given_up: GivenUp) -> Self {
        Self {
            inner,
            time: limits.body_time,
            bytes_per_second: limits.body_bytes_per_second.max(1),
            began: None,
            bytes: 0,
            waiting: None,
            given_up,
        }
    }

    /// By when more has to come.
    fn due(&mut self) -> Instant {
        let began = *self.began.get_or_insert_with(Instant::now);
        began + self.time + Duration::from_millis(self.bytes.saturating_mul(1000) / self.bytes_per_second)
    }
}

impl hyper::body::Body for Rated {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let due = self.due();
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(frame) => {
                if let Some(Ok(frame)) = &frame {
                    self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)))
            }
            Poll::Pending => {
                let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
                if waiting.deadline() != due {
                    waiting.as_mut().reset(due);
                }
                if waiting.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.given_up.store(true, Ordering::Relaxed);
                Poll::Ready(Some(Err(BodyError::Slow)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What one connection is doing.
#[derive(Debug)]
pub(super) struct Activity {
    open: AtomicUsize,
    asked: AtomicBool,
    since: Mutex<Instant>,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        let since = Mutex::new(Instant::now());
        Arc::new(Self { open: AtomicUsize::new(0), asked: AtomicBool::new(false), since })
    }

    /// A request is under way until what is returned is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.asked.store(true, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Waits until nothing was asked for `idle`, or for `first` at the beginning.
    pub(super) async fn idle(&self, first: Duration, idle: Duration) {
        loop {
            let time = if self.asked.load(Ordering::Relaxed) { idle } else { first };
            let busy = self.open.load(Ordering::Relaxed) > 0;
            let over = if busy { Instant::now() + time } else { *lock(&self.since) + time };
            if !busy && over <= Instant::now() {
                return;
            }
            // What was asked meanwhile may have changed which time counts.
            tokio::time::sleep_until(over.min(Instant::now() + idle)).await;
        }
    }
}

/// A request under way.
pub(super) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        *lock(&self.0.since) = Instant::now();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer's body; its request is under way until it is sent.
pub(super) struct Answered {
    inner: Body,
    _busy: Busy,
}

impl Answered {
    pub(super) fn new(inner: Body, busy: Busy) -> Self {
        Self { inner, _busy: busy }
    }
}

impl hyper::body::Body for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
