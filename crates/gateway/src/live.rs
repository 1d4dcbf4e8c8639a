//! Live pages: server-sent events with the fragments of a page that changed.
//!
//! In: the address of a page; the store's changes, and once a second the loops' state, which changes
//! without the store knowing. Out: `patch` events (`{id, html}`), and `now` with the server's time, by
//! which a page knows that it is not stale.
//!
//! A stream by somebody who proved who they are ends when that does not hold any more ([`crate::standing`]), with the
//! event `over` (`{code, detail}`), at which the page asks for itself again.
//!
//! Nobody takes all of it: who looks at pages already may open another while more places are free than they have, so that one
//! alone gets half of them, the next half of the rest, and who comes new gets one. A page is on the account of one of those who
//! look at it; for the others it costs nothing but the line.
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
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

use crate::access::Shown;
use crate::asker::Asker;
use crate::body::Query;
use crate::guard::NOWHERE;
use crate::listen::Peer;
use crate::page;
use crate::problem::{Code, Problem};
use crate::serve::{App, lock};
use crate::standing::Standing;

/// Open pages at the same time.
const PAGES: usize = 3_000;

/// Different pages among them: each is rendered once for all who look at it.
const DISTINCT: usize = 256;

/// How long a page waits for changes before it looks by itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Changes come in bursts (an intent, an ending, a status): wait this long and send them as one.
const SETTLE: Duration = Duration::from_millis(100);

/// Messages that may wait for a slow browser.
const QUEUE: usize = 32;

/// The pages that are open.
#[derive(Default)]
pub(crate) struct LivePages(Mutex<Open>);

#[derive(Default)]
struct Open {
    /// How many each has open.
    lines: HashMap<Asker, usize>,
    /// By address.
    rendered: HashMap<String, Rendered>,
}

/// A page that is rendered.
struct Rendered {
    /// Where those who look at it are told.
    sender: watch::Sender<Arc<Rendering>>,
    /// Who looks at it, in the order in which they came, each as often as they have it open.
    lookers: Vec<Asker>,
    /// On whose account it is.
    payer: Asker,
}

impl Open {
    /// Whether there is room for one more of what `asker` has open.
    fn admit(&self, asker: &Asker, is_rendered: bool) -> Result<(), Problem> {
        let own = self.lines.get(asker).copied().unwrap_or(0);
        share("pages", own, self.lines.values().sum(), PAGES)?;
        if is_rendered {
            return Ok(());
        }
        let own = self.rendered.values().filter(|rendered| rendered.payer == *asker).count();
        share("different pages", own, self.rendered.len(), DISTINCT)
    }

    fn leave(&mut self, asker: &Asker, page: &str) {
        if let Some(lines) = self.lines.get_mut(asker) {
            *lines -= 1;
            if *lines == 0 {
                self.lines.remove(asker);
            }
        }
        if let Some(rendered) = self.rendered.get_mut(page) {
            rendered.left_by(asker);
        }
    }
}

impl Rendered {
    /// Who looks on pays on. The last one does until it is given up.
    fn left_by(&mut self, asker: &Asker) {
        if let Some(place) = self.lookers.iter().rposition(|looker| looker == asker) {
            self.lookers.remove(place);
        }
        self.settle();
    }

    fn joined_by(&mut self, asker: &Asker) {
        self.lookers.push(asker.clone());
        self.settle();
    }

    fn settle(&mut self) {
        if let Some(first) = self.lookers.first() {
            self.payer = first.clone();
        }
    }
}

/// Lets one who has `own` of the `taken` places have another, while more are free than they have.
fn share(what: &str, own: usize, taken: usize, most: usize) -> Result<(), Problem> {
    let free = most.saturating_sub(taken);
    if own < free {
        return Ok(());
    }
    Err(match own {
        0 => Problem::new(
            Code::TooManyPages,
            format!("{most} {what} are updated live already; close one, or reload instead"),
        ),
        own => Problem::new(
            Code::ShareTaken,
            format!(
                "{own} {what} are updated live for you, and {free} are left for everybody else; close one, or reload instead"
            ),
        ),
    })
}

/// One line of one who looks at a page, until it is dropped.
struct Line {
    app: Arc<App>,
    asker: Asker,
    page: String,
}

impl Drop for Line {
    fn drop(&mut self) {
        lock(&self.app.live_pages.0).leave(&self.asker, &self.page);
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
    peer: Option<Extension<Peer>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let shown = Shown::by(&identity, &headers, app.door.cookie());
    let asker = Asker::of(&identity, peer.map_or(NOWHERE, |Extension(peer)| peer.0));
    match open(&app, &uri, asker, Standing::new(Arc::clone(&app), shown, identity)) {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

fn open(app: &Arc<App>, uri: &Uri, asker: Asker, standing: Standing) -> Result<Response, Problem> {
    let query = Query::parse(uri.query())?;
    let page: Uri = query
        .text("page")
        .filter(|page| page.starts_with('/'))
        .and_then(|page| page.parse().ok())
        .ok_or_else(|| Problem::field("page", "give the path of a page, such as /issues"))?;
    let (line, rendered) = join(app, &page, asker)?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let stopping = app.stopping.clone();
    tokio::spawn(async move {
        let _line = line;
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

/// Joins those who look at a page; the first begins to have it rendered.
fn join(
    app: &Arc<App>,
    page: &Uri,
    asker: Asker,
) -> Result<(Line, watch::Receiver<Arc<Rendering>>), Problem> {
    let key = page.to_string();
    let mut open = lock(&app.live_pages.0);
    open.admit(&asker, open.rendered.contains_key(&key))?;
    *open.lines.entry(asker.clone()).or_default() += 1;
    let rendered = open.rendered.entry(key.clone()).or_insert_with(|| {
        tokio::spawn(render(Arc::clone(app), page.clone()));
        Rendered { sender: watch::Sender::default(), lookers: Vec::new(), payer: asker.clone() }
    });
    rendered.joined_by(&asker);
    let receiver = rendered.sender.subscribe();
    Ok((Line { app: Arc::clone(app), asker, page: key }, receiver))
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
            if let Some(rendered) = lock(&app.live_pages.0).rendered.get(&page.to_string()) {
                rendered.sender.send_replace(rendering);
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
    let mut open = lock(&app.live_pages.0);
    let left = open.rendered.get(&page.to_string()).is_none_or(|rendered| rendered.lookers.is_empty());
    if left {
        open.rendered.remove(&page.to_string());
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
    fn one_gets_half_of_what_is_there_and_who_comes_new_gets_one() {
        let mut taken = Vec::new();
        loop {
            let mut own = 0;
            while share("pages", own, taken.iter().sum::<usize>() + own, DISTINCT).is_ok() {
                own += 1;
            }
            if own == 0 {
                break;
            }
            taken.push(own);
        }
        assert_eq!(taken, [128, 64, 32, 16, 8, 4, 2, 1, 1]);
        let code = |own, taken| share("pages", own, taken, DISTINCT).unwrap_err().code;
        assert_eq!((code(0, DISTINCT), code(128, 128)), (Code::TooManyPages, Code::ShareTaken));
    }

    #[test]
    fn a_page_is_on_the_account_of_one_who_looks_at_it() {
        let [ada, ben] = ["ada", "ben"].map(|name| Asker::Named(name.to_owned()));
        let sender = watch::Sender::default();
        let mut page = Rendered { sender, lookers: Vec::new(), payer: ada.clone() };
        for asker in [&ada, &ada, &ben] {
            page.joined_by(asker);
        }
        page.left_by(&ada);
        assert_eq!(page.payer, ada, "she has it open once more");
        page.left_by(&ada);
        assert_eq!(page.payer, ben);
        page.left_by(&ben);
        assert_eq!((page.payer.clone(), page.lookers.len()), (ben, 0), "until it is given up");
        page.joined_by(&ada);
        assert_eq!(page.payer, ada);
    }

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
