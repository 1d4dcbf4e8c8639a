//! Connections that last are not trusted for as long as they last.
//!
//! In: who was let in, by what was shown. Out: why they are not any more, within [`SETTLE`] and a look at the store: a token
//! that was revoked or expired, a session that ended, a user who was shut out, a role or a scope that was narrowed. Live
//! pages ([`crate::live`]) and WebSockets ([`crate::graphql`]) end then.

use std::sync::Arc;
use std::time::Duration;

use domain::{Identity, Time};
use tokio::sync::watch;

use crate::access::{AccessError, Shown};
use crate::problem::Problem;
use crate::serve::App;

/// Changes come in bursts: wait this long, and look once.
const SETTLE: Duration = Duration::from_millis(250);

/// What could not be looked at, on a store that is busy, is looked at again.
const AGAIN: Duration = Duration::from_secs(1);

/// The clock that ends are told by goes on while the machine sleeps; timers do not. So they are compared this often.
const COMPARE_EVERY: Duration = Duration::from_secs(30);

/// Somebody who keeps a connection open.
pub(crate) struct Standing {
    app: Arc<App>,
    shown: Shown,
    identity: Identity,
    changes: watch::Receiver<u64>,
}

impl Standing {
    /// Of who was let in a moment ago.
    pub(crate) fn new(app: Arc<App>, shown: Shown, identity: Identity) -> Self {
        Self { changes: app.door.access().changes(), app, shown, identity }
    }

    /// Waits until what was shown is worth less than it was; for ever where nothing was shown.
    pub(crate) async fn lost(mut self) -> Problem {
        if matches!(self.shown, Shown::Nothing) {
            return std::future::pending().await;
        }
        loop {
            self.changes.borrow_and_update();
            let end = match self.look().await {
                Ok((now, _))
                    if self.identity.permissions.within(now.permissions) != self.identity.permissions =>
                {
                    return AccessError::Narrowed.into();
                }
                Ok((_, end)) => end,
                Err(AccessError::Store(_) | AccessError::Busy) => {
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                Err(error) => return error.into(),
            };
            tokio::select! {
                // An error means that there is nobody left to change anything: the server stops.
                changed = self.changes.changed() => match changed {
                    Ok(()) => tokio::time::sleep(SETTLE).await,
                    Err(_) => return std::future::pending().await,
                },
                () = reached(&self.app, end) => {}
            }
        }
    }

    async fn look(&self) -> Result<(Identity, Option<Time>), AccessError> {
        let (app, shown) = (Arc::clone(&self.app), self.shown.clone());
        let looked = tokio::task::spawn_blocking(move || app.door.access().look_again(&shown)).await;
        looked.unwrap_or(Err(AccessError::Busy))
    }
}

/// Waits for a time; for ever where there is none.
async fn reached(app: &App, end: Option<Time>) {
    let Some(end) = end else { return std::future::pending().await };
    loop {
        let now = app.clock.now();
        if now.reached(end) {
            return;
        }
        tokio::time::sleep(end.since(now).min(COMPARE_EVERY)).await;
    }
}
