//! One operation: who asks, until when, and what was read for it.
//!
//! In: the server and an identity. Out, for resolvers: snapshots of the loops' state, read once however many fields ask
//! for them, so that an operation sees one state of the world and asks nothing twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use async_graphql::{Context, Request};
use audit::Action;
use domain::{Identity, Infrastructure, Issue, PlanId, Snapshot};

use crate::auditing;
use crate::control::ControlError;
use crate::deed::Deed;
use crate::problem::{Code, Problem};
use crate::security::REQUEST_TIME;
use crate::serve::App;

/// What resolvers see of the operation they work for.
pub(crate) struct Operation {
    app: Arc<App>,
    identity: Identity,
    /// The id of the request that it came by.
    request: String,
    deadline: Instant,
    left: Arc<AtomicBool>,
    /// Whether a mutation of it was done.
    did: Arc<AtomicBool>,
    snapshot: OnceLock<Option<Arc<Snapshot>>>,
    infrastructure: OnceLock<Result<Option<Arc<Infrastructure>>, ControlError>>,
    open_issues: OnceLock<Result<Arc<[Issue]>, Problem>>,
}

/// Tells whoever works for a client that it is gone: dropped with the future that waits.
#[derive(Default)]
pub(super) struct Leaving(pub(super) Arc<AtomicBool>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Operation {
    pub(super) fn new(app: Arc<App>, identity: Identity, request: String, left: Arc<AtomicBool>) -> Self {
        Self {
            app,
            identity,
            request,
            deadline: Instant::now() + REQUEST_TIME,
            left,
            did: Arc::default(),
            snapshot: OnceLock::new(),
            infrastructure: OnceLock::new(),
            open_issues: OnceLock::new(),
        }
    }

    /// A request with the operation that its resolvers see, and the identity that [`super::permission`] asks.
    pub(super) fn behind(self, request: Request) -> Request {
        request.data(self.identity.clone()).data(self)
    }

    /// Where it is said, also after its end, whether a mutation of it was done.
    pub(super) fn did(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.did)
    }

    /// Records what a mutation came to, before it is answered.
    pub(super) fn record(&self, action: Action, deed: &Deed, done: Result<Option<PlanId>, &Problem>) {
        self.did.fetch_or(done.is_ok(), Ordering::Relaxed);
        auditing::mutation(&self.app, &self.identity, action, (deed, &self.request), done);
    }

    /// Records that a field was refused to who asked.
    pub(super) fn refused(&self, field: &str, problem: &Problem) {
        const REFUSED: Action = Action::new("graphql.refused");
        self.record(REFUSED, &Deed::of(field), Err(problem));
    }

    /// The operation of a resolver.
    pub(super) fn of<'a>(context: &Context<'a>) -> Result<&'a Self, Problem> {
        let missing = || Problem::internal("the operation was begun without what its fields need");
        context.data_opt::<Self>().ok_or_else(missing)
    }

    pub(super) fn app(&self) -> &Arc<App> {
        &self.app
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether nobody waits for the answer any more, or its time is over.
    pub(super) fn is_given_up(&self) -> bool {
        self.left.load(Ordering::Relaxed) || Instant::now() >= self.deadline
    }

    /// What was last seen.
    pub(super) fn snapshot(&self) -> Result<Arc<Snapshot>, Problem> {
        self.snapshot.get_or_init(|| self.app.control.snapshot()).clone().ok_or_else(|| {
            Problem::new(Code::NotKnownYet, "nothing was looked at yet; ask again in a few seconds")
        })
    }

    /// What is up, as it was declared.
    pub(super) fn infrastructure(&self) -> Result<Option<Arc<Infrastructure>>, Problem> {
        let found = self.infrastructure.get_or_init(|| Ok(self.app.control.infrastructure()?.map(Arc::new)));
        Ok(found.clone()?)
    }

    /// What is wrong now.
    pub(super) fn open_issues(&self) -> Result<Arc<[Issue]>, Problem> {
        self.open_issues.get_or_init(|| Ok(self.app.store.open_issues()?.into())).clone()
    }
}
