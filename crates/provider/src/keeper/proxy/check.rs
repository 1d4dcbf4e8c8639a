//! Path checks: how the way to each instance is, asked twice a second from this end of the link.
//!
//! In: the instances that are ready. Out: on each, how long a fresh connection and its first answer take
//! through the faults in force, or how often that failed in a row. A check that passes brings back an
//! instance whose time out is over.
//!
//! Deliberately absent: instances that are not ready. That they do not answer is known, and says nothing of
//! the path.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::infrastructure::Protocol;
use http_body_util::Empty;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::balance::Slot;
use super::faults::Verdict;
use super::pool::connect;
use super::{Core, lock};

/// Between two checks of one instance: six to the 3 s that a snapshot looks at.
const INTERVAL_MS: u64 = 500;

/// A check that takes longer failed. On loopback it takes a millisecond; a path that needs a second serves
/// nobody.
const LIMIT: Duration = Duration::from_secs(1);

/// Checks for ever. The links of a fleet are made together; each begins at its own `phase` (any number), so
/// that their checks do not all come together.
pub(super) async fn run(core: Arc<Core>, phase: u64) {
    sleep(Duration::from_millis(phase % INTERVAL_MS)).await;
    let mut ticks = interval(Duration::from_millis(INTERVAL_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut running = JoinSet::new();
    loop {
        ticks.tick().await;
        while running.try_join_next().is_some() {}
        for slot in lock(&core.link).balancer.slots() {
            if slot.begin_check() {
                running.spawn(check(Arc::clone(&core), Arc::clone(slot)));
            }
        }
    }
}

async fn check(core: Arc<Core>, slot: Arc<Slot>) {
    let began = core.now();
    let passed = timeout(LIMIT, passes(&core, &slot)).await.unwrap_or(false);
    let now = core.now();
    slot.end_check(passed.then(|| now.since(began)), now);
}

async fn passes(core: &Core, slot: &Slot) -> bool {
    match core.verdict(slot, core.now()) {
        Verdict::Cut | Verdict::Throttled => return false,
        Verdict::Pass(delay) if delay.is_zero() => {}
        Verdict::Pass(delay) => sleep(delay).await,
    }
    let path = {
        let link = lock(&core.link);
        if link.protocol == Protocol::Http { link.check_path.clone() } else { None }
    };
    match path {
        None => connect(slot.pool.address()).await.is_ok(),
        Some(path) => answers(slot, &path).await.unwrap_or(false),
    }
}

/// Whether `GET path` over a connection of its own is answered with 2xx or 3xx.
async fn answers(slot: &Slot, path: &str) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let address = slot.pool.address();
    let stream = connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path)
        .header(header::HOST, address.to_string())
        .header(header::USER_AGENT, "homeostat-path-check")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let mut response = std::pin::pin!(sender.send_request(request));
    let status = tokio::select! {
        biased;
        response = &mut response => response?.status(),
        // It was closed as asked, with the answer delivered or without.
        _ = connection => response.await?.status(),
    };
    Ok(status.is_success() || status.is_redirection())
}
