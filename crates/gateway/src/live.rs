//! Live pages: server-sent events with the fragments of a page that changed.
//!
//! In: the address of a page; the store's changes, and once a second the loops' state, which changes
//! without the store knowing. Out: `patch` events (`{id, html}`), and `now` with the server's time, by
//! which a page knows that it is not stale.
//!
//! A fragment is sent when its text differs from what this page was last sent. Nothing runs here while no
//! page is open; a page that is not looked at closes its stream (see `page.js`).

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use serde_json::json;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

use crate::body::Query;
use crate::page;
use crate::problem::{Code, Problem};
use crate::serve::App;

/// Open pages at the same time; a person has a few.
pub(crate) const PAGES: usize = 32;

/// How long a page waits for changes before it looks by itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Changes come in bursts (an intent, an ending, a status): wait this long and send them as one.
const SETTLE: Duration = Duration::from_millis(100);

/// Messages that may wait for a slow browser.
const QUEUE: usize = 32;

/// `GET /events?page=/issues`
pub(crate) async fn events(State(app): State<Arc<App>>, uri: Uri) -> Response {
    match open(app, &uri) {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

fn open(app: Arc<App>, uri: &Uri) -> Result<Response, Problem> {
    let query = Query::parse(uri.query())?;
    let page: Uri = query
        .text("page")
        .filter(|page| page.starts_with('/'))
        .and_then(|page| page.parse().ok())
        .ok_or_else(|| Problem::field("page", "give the path of a page, such as /issues"))?;
    let permit = Arc::clone(&app.live_pages).try_acquire_owned().map_err(|_| {
        Problem::new(
            Code::TooManyPages,
            format!("{PAGES} pages are updated live already; close one, or reload instead"),
        )
    })?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let _permit = permit;
        follow(app, page, sender).await;
    });
    let kinds = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((kinds, Body::new(Events(receiver))).into_response())
}

async fn follow(app: Arc<App>, page: Uri, sender: mpsc::Sender<Bytes>) {
    let changed = Arc::new(Notify::new());
    let _subscription = app.store.subscribe({
        let changed = Arc::clone(&changed);
        move |_| changed.notify_one()
    });
    let mut stopping = app.stopping.clone();
    let mut sent: HashMap<String, String> = HashMap::new();
    loop {
        let (app, page) = (Arc::clone(&app), page.clone());
        let rendered = tokio::task::spawn_blocking(move || (page::fragments(&app, &page), app.clock.now()));
        let Ok((fragments, now)) = rendered.await else { return };
        // A page that cannot be rendered now (its store is busy) is tried again; the page shows its age.
        let messages = match fragments {
            Ok(fragments) => {
                let mut messages = changes(fragments, &mut sent);
                messages.push(format!("event: now\ndata: {}\n\n", now.rfc3339()));
                messages
            }
            Err(_) => Vec::new(),
        };
        for message in messages {
            if sender.send(message.into()).await.is_err() {
                return;
            }
        }
        tokio::select! {
            _ = sender.closed() => return,
            () = stopped(&mut stopping) => return,
            woken = timeout(LOOK_EVERY, changed.notified()) => {
                if woken.is_ok() {
                    tokio::time::sleep(SETTLE).await;
                }
            }
        }
    }
}

/// Ends when the server is to stop.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _ = stopping.wait_for(|stop| *stop).await;
}

fn changes(fragments: Vec<(String, String)>, sent: &mut HashMap<String, String>) -> Vec<String> {
    let mut messages = Vec::new();
    for (id, html) in fragments {
        if sent.get(&id) != Some(&html) {
            messages.push(format!("event: patch\ndata: {}\n\n", json!({"id": id, "html": html})));
            sent.insert(id, html);
        }
    }
    messages
}

/// The response body: what the follower sends.
struct Events(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|message| message.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_is_sent_once_until_it_changes() {
        let mut sent = HashMap::new();
        let page = |html: &str| vec![("a".to_owned(), html.to_owned()), ("b".to_owned(), "same".to_owned())];
        assert_eq!(changes(page("one\n"), &mut sent).len(), 2);
        assert_eq!(changes(page("one\n"), &mut sent).len(), 0);
        let messages = changes(page("two\n"), &mut sent);
        assert_eq!(messages, ["event: patch\ndata: {\"html\":\"two\\n\",\"id\":\"a\"}\n\n"]);
    }
}
