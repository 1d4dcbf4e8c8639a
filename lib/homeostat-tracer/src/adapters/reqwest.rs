//! reqwest: `send_traced` in place of `send`.
//!
//! In: a request about to be sent. Out: a client span around it, and the context in its headers. The span ends
//! when the answer's head is there: the body is read by the caller, in the caller's span.

use std::future::Future;

use super::http::{Protocol, Side, answered, client, describe, name};
use crate::future::Scoped;

/// Sends a request in a client span.
pub trait SendTraced {
    /// Like [`reqwest::RequestBuilder::send`], in a client span that is a child of what is in scope. Outside
    /// any span it is a trace of the installed tracer.
    fn send_traced(self) -> impl Future<Output = reqwest::Result<reqwest::Response>> + Send;
}

impl SendTraced for reqwest::RequestBuilder {
    async fn send_traced(self) -> reqwest::Result<reqwest::Response> {
        let (sender, request) = self.build_split();
        let mut request = request?;
        let (protocol, uri) = (Protocol::of(request.headers()), request.url().as_str().parse());
        let uri = uri.unwrap_or_else(|_| http::Uri::from_static("/"));
        let mut span = client(None, name(protocol, request.method(), &uri, None));
        describe(&mut span, protocol, Side::Client, request.method(), &uri, request.headers());
        span.inject(request.headers_mut());
        let answer = Scoped { future: sender.execute(request), span: &mut span }.await;
        match &answer {
            Ok(answer) => answered(&mut span, Side::Client, answer.status()),
            Err(error) => span.record_error(error),
        }
        answer
    }
}
