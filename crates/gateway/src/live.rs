//! Live pages: server-sent events with the fragments of a page that changed.
//!
//! In: the address of a page; the store's changes, and once a second the loops' state, which changes
//! without the store knowing. Out: `patch` events (`{id, html}`), and `now` with the server's time, by
//! which a page knows that it is not stale.
//!
//! A stream by somebody who proved who they are ends when that does not hold any more ([`crate::standing`]), with the
//! event `over` (`{code, detail}`), at which the page asks for itself again.
//!
//! A page is rendered once for all who look at it, and a fragment is sent to each when its text differs from what that
//! browser was last sent. Nothing runs here while no page is open; a page that is not looked at closes its stream (see
//! `page.js`).

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use domain::Identity;
use hyper::body::Frame;
use serde_json::json;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::timeout;

use crate::access::Shown;
use crate::body::Query;
use crate::page;
use crate::problem::{Code, Problem};
use crate::serve::{App, lock};
use crate::standing::Standing;

/// Open pages at the same time.
const PAGES: usize = 2_000;

/// Different pages among them: each is rendered once for all who look at it.
const DISTINCT: usize = 128;

/// How long a page waits for changes before it looks by itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Changes come in bursts (an intent, an ending, a status): wait this long and send them as one.
const SETTLE: Duration = Duration::from_millis(100);

/// Messages that may wait for a slow browser.
const QUEUE: usize = 32;

/// The pages that are open.
pub(crate) struct LivePages {
    /// One permit for each open page.
    open: Arc<Semaphore>,
    /// By address: where those who look at it are told.
    rendered: Mutex<HashMap<String, watch::Sender<Arc<Rendering>>>>,
}

impl Default for LivePages {
    fn default() -> Self {
        Self { open: Arc::new(Semaphore::new(PAGES)), rendered: Mutex::default() }
    }
}

/// A page as it is now.
#[derive(Debug, Default)]
struct Rendering {
    fragments: Vec<Fragment>,
    /// The message that says when it was made; empty before the first.
    now: Bytes,
}

/// A part of a page, as it is sent.
#[derive(Debug, Clone)]
struct Fragment {
    id: String,
    html: String,
    /// Counts how often it changed.
    version: u64,
    message: Bytes,
}

/// `GET /events?page=/issues`
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Identity>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let shown = Shown::by(&identity, &headers, app.door.cookie());
    match open(&app, &uri, Standing::new(Arc::clone(&app), shown, identity)) {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

fn open(app: &Arc<App>, uri: &Uri, standing: Standing) -> Result<Response, Problem> {
    let query = Query::parse(uri.query())?;
    let page: Uri = query
        .text("page")
        .filter(|page| page.starts_with('/'))
        .and_then(|page| page.parse().ok())
        .ok_or_else(|| Problem::field("page", "give the path of a page, such as /issues"))?;
    let full = |what: &str| {
        Problem::new(
            Code::TooManyPages,
            format!("{what} are updated live already; close one, or reload instead"),
        )
    };
    let permit =
        Arc::clone(&app.live_pages.open).try_acquire_owned().map_err(|_| full(&format!("{PAGES} pages")))?;
    let rendered = subscribe(app, &page).ok_or_else(|| full(&format!("{DISTINCT} different pages")))?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let stopping = app.stopping.clone();
    tokio::spawn(async move {
        let _permit = permit;
        let last = sender.clone();
        tokio::select! {
            () = tell(rendered, stopping, sender) => {}
            problem = standing.lost() => {
                let said = json!({"code": problem.code.name(), "detail": problem.detail});
                // Who has not read what came before reads the end of the stream.
                let _ = last.try_send(Bytes::from(format!("event: over\ndata: {said}\n\n")));
            }
        }
    });
    let kinds = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((kinds, Body::new(Events(receiver))).into_response())
}

/// Joins those who look at a page; the first begins to have it rendered. `None` where too many different ones are.
fn subscribe(app: &Arc<App>, page: &Uri) -> Option<watch::Receiver<Arc<Rendering>>> {
    let mut rendered = lock(&app.live_pages.rendered);
    if let Some(sender) = rendered.get(&page.to_string()) {
        return Some(sender.subscribe());
    }
    if rendered.len() >= DISTINCT {
        return None;
    }
    let (sender, receiver) = watch::channel(Arc::default());
    rendered.insert(page.to_string(), sender);
    tokio::spawn(render(Arc::clone(app), page.clone()));
    Some(receiver)
}

/// Renders a page for as long as anybody looks at it.
async fn render(app: Arc<App>, page: Uri) {
    let changed = Arc::new(Notify::new());
    let _subscription = app.store.subscribe({
        let changed = Arc::clone(&changed);
        move |_| changed.notify_one()
    });
    let mut stopping = app.stopping.clone();
    let mut last: Vec<Fragment> = Vec::new();
    loop {
        let (of, at) = (Arc::clone(&app), page.clone());
        let made = tokio::task::spawn_blocking(move || (page::fragments(&of, &at), of.clock.now())).await;
        // A page that cannot be rendered now (its store is busy) is tried again; the page shows its age.
        if let Ok((Ok(fragments), now)) = made {
            last = changes(fragments, last);
            let now = Bytes::from(format!("event: now\ndata: {}\n\n", now.rfc3339()));
            let rendering = Arc::new(Rendering { fragments: last.clone(), now });
            if let Some(sender) = lock(&app.live_pages.rendered).get(&page.to_string()) {
                sender.send_replace(rendering);
            }
        }
        if is_left(&app, &page) {
            return;
        }
        tokio::select! {
            () = stopped(&mut stopping) => return,
            woken = timeout(LOOK_EVERY, changed.notified()) => {
                if woken.is_ok() {
                    tokio::time::sleep(SETTLE).await;
                }
            }
        }
    }
}

/// Whether nobody looks any more; the page is then given up, so that who comes next begins anew.
fn is_left(app: &App, page: &Uri) -> bool {
    let mut rendered = lock(&app.live_pages.rendered);
    let left = rendered.get(&page.to_string()).is_none_or(|sender| sender.receiver_count() == 0);
    if left {
        rendered.remove(&page.to_string());
    }
    left
}

/// Ends when the server is to stop.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// The fragments as they are now, each with the count of its changes.
fn changes(fragments: Vec<(String, String)>, last: Vec<Fragment>) -> Vec<Fragment> {
    let mut last: HashMap<String, Fragment> =
        last.into_iter().map(|fragment| (fragment.id.clone(), fragment)).collect();
    let now = fragments.into_iter().map(|(id, html)| match last.remove(&id) {
        Some(former) if former.html == html => former,
        former => {
            let message = format!("event: patch\ndata: {}\n\n", json!({"id": id, "html": html})).into();
            Fragment { id, html, version: former.map_or(1, |former| former.version + 1), message }
        }
    });
    now.collect()
}

/// Sends one browser what changed since it was last told.
async fn tell(
    mut rendered: watch::Receiver<Arc<Rendering>>,
    mut stopping: watch::Receiver<bool>,
    sender: mpsc::Sender<Bytes>,
) {
    let mut told: HashMap<String, u64> = HashMap::new();
    loop {
        let rendering = Arc::clone(&rendered.borrow_and_update());
        for message in news(&rendering, &mut told) {
            if sender.send(message).await.is_err() {
                return;
            }
        }
        tokio::select! {
            _ = sender.closed() => return,
            () = stopped(&mut stopping) => return,
            changed = rendered.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// What of a rendering was not told yet, and when it was made.
fn news(rendering: &Rendering, told: &mut HashMap<String, u64>) -> Vec<Bytes> {
    if rendering.now.is_empty() {
        return Vec::new();
    }
    let mut messages = Vec::new();
    for fragment in &rendering.fragments {
        if told.get(&fragment.id) != Some(&fragment.version) {
            told.insert(fragment.id.clone(), fragment.version);
            messages.push(fragment.message.clone());
        }
    }
    messages.push(rendering.now.clone());
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
    fn a_fragment_is_told_once_until_it_changes() {
        let page = |html: &str| vec![("a".to_owned(), html.to_owned()), ("b".to_owned(), "same".to_owned())];
        let now = Bytes::from_static(b"event: now\n\n");
        let mut told = HashMap::new();
        let mut tell = |fragments: &[Fragment]| {
            news(&Rendering { fragments: fragments.to_vec(), now: now.clone() }, &mut told)
        };
        let one = changes(page("one\n"), Vec::new());
        assert_eq!(tell(&one).len(), 3, "both, and the time");
        let same = changes(page("one\n"), one);
        assert_eq!(tell(&same), std::slice::from_ref(&now));
        let two = changes(page("two\n"), same);
        let messages = tell(&two);
        assert_eq!(messages[0], "event: patch\ndata: {\"html\":\"two\\n\",\"id\":\"a\"}\n\n");
        assert_eq!(messages.len(), 2);
    }
}
