//! A future that is in a span's scope whenever it is polled.
//!
//! In: a future and a span. Out: the same future. The span's buffer travels with the task from thread to
//! thread: each poll puts it in scope and takes it out again, so that two tasks that take turns on one thread
//! do not mix. The span ends with the future, also when that is dropped half-way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Poller, Poll};

use pin_project_lite::pin_project;

use crate::local::{self, Active};
use crate::span::Span;

/// `.in_span(…)` for futures.
pub trait InSpan: Future + Sized {
    /// Polls this future in the scope of `span`, and ends that with it.
    fn in_span(self, span: Span) -> Traced<Self> {
        Traced { future: self, span: Some(span) }
    }

    /// Polls this future in the scope of `span`, which goes on after it: something may still be said of it.
    fn in_scope_of(self, span: &mut Span) -> Scoped<'_, Self> {
        Scoped { future: self, span }
    }
}

impl<F: Future> InSpan for F {}

pin_project! {
    /// A future in a span's scope; see [`InSpan`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Traced<F> {
        #[pin]
        future: F,
        span: Option<Span>,
    }
}

/// A span in scope for the length of a call; put back also when that panics.
pub(crate) struct Scope<'a> {
    span: &'a mut Span,
    before: Active,
}

impl<'a> Scope<'a> {
    pub(crate) fn enter(span: &'a mut Span) -> Self {
        let before = local::swap(std::mem::take(&mut span.active));
        Self { span, before }
    }
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        self.span.active = local::swap(std::mem::take(&mut self.before));
    }
}

impl<F: Future> Future for Traced<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Some(span) = this.span else { return this.future.poll(poller) };
        let polled = {
            let _scope = Scope::enter(span);
            this.future.poll(poller)
        };
        if polled.is_ready() {
            *this.span = None;
        }
        polled
    }
}

pin_project! {
    /// A future in the scope of a span that goes on after it; see [`InSpan::in_scope_of`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Scoped<'a, F> {
        #[pin]
        pub(crate) future: F,
        pub(crate) span: &'a mut Span,
    }
}

impl<F: Future> Future for Scoped<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _scope = Scope::enter(this.span);
        this.future.poll(poller)
    }
}
