//! What people and programs ask to be changed, for the audit trail.
//!
//! In: requests that may change something, with their answers. Out: a record of each, before it is answered: who, by what
//! it was proven, what, to what, with what outcome, and the plan it is about. What was refused at the door is
//! recorded as well; of what nobody in particular was refused within bounds, and how many were left out is recorded when the
//! minute is over, and at the server's end ([`anonymous`]).
//!
//! What the loop does by itself is recorded by who runs it.

mod anonymous;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use audit::{Action, Audit, NewRecord, Outcome, Via};
use axum::extract::{OriginalUri, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::{AnonymousReads, Identity, PlanId, Proof, Time};
use store::PurgeId;
use tokio::sync::Notify;

use anonymous::{Anonymous, Attempt, Kind, rest_of_minute};

use crate::deed::Deed;
use crate::guard::{REQUEST_ID, Requirement, who_asks};
use crate::idempotency::Replayed;
use crate::listen::Peer;
use crate::problem::{Problem, Refusal};
use crate::serve::{App, lock};

/// Goes with an answer: the plan it is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OfPlan(PlanId);

/// Goes with an answer: the purge it is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OfPurge(pub(crate) PurgeId);

/// Goes with an answer to what was done: what else the record says, and what came of it, which is a failure where it was
/// not done to its end.
#[derive(Debug, Clone)]
pub(crate) struct Detail {
    pub(crate) text: String,
    pub(crate) outcome: Outcome,
}

/// Goes with the answer to who signed in: who it is.
#[derive(Debug, Clone)]
pub(crate) struct SignedInAs(pub(crate) String);

/// Goes with the answer to who did not sign in: the name that was tried, as it was sent.
#[derive(Debug, Clone)]
pub(crate) struct TriedAs(pub(crate) String);

/// Says which plan an answer is about.
pub(crate) fn about(plan: PlanId, mut response: Response) -> Response {
    response.extensions_mut().insert(OfPlan(plan));
    response
}

/// Says which tokens ended with what was ended, where any did.
pub(crate) fn ended_with(tokens: &[String], mut response: Response) -> Response {
    if !tokens.is_empty() {
        let text = format!("these tokens ended, too: {}", tokens.join(", "));
        response.extensions_mut().insert(Detail { text, outcome: Outcome::Done });
    }
    response
}

/// The trail, with what keeps it from being flooded, and what went wrong with it.
pub(crate) struct Trail {
    audit: Option<Audit>,
    anonymous: Mutex<Anonymous>,
    /// Something was left out.
    left_out: Notify,
    /// Why the last record could not be written.
    trouble: Mutex<Option<String>>,
}

impl Trail {
    pub(crate) fn new(audit: Option<Audit>) -> Self {
        Self { audit, anonymous: Mutex::default(), left_out: Notify::new(), trouble: Mutex::default() }
    }

    /// The trail itself; `None` where none is kept.
    pub(crate) fn audit(&self) -> Option<&Audit> {
        self.audit.as_ref()
    }

    /// Why records are not written, where they are not.
    pub(crate) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// The record, unless none is kept, or too many of who proved nothing came within a minute.
    fn admitted(&self, record: NewRecord, anonymous: Option<&Attempt>, now: Time) -> Option<NewRecord> {
        self.audit.as_ref()?;
        let Some(attempt) = anonymous else { return Some(record) };
        if lock(&self.anonymous).admit(attempt, now) {
            return Some(record);
        }
        self.left_out.notify_one();
        None
    }

    /// Records what was left out so far, and waits for the disk.
    pub(crate) fn tell_left_out(&self) {
        let records = lock(&self.anonymous).left_out();
        for record in records {
            self.append(record);
        }
    }

    /// Writes a record, and waits for the disk. What was done is done: that it could not be recorded is said by `/health`.
    /// Returns whether the trail has it.
    pub(crate) fn append(&self, record: NewRecord) -> bool {
        let Some(audit) = &self.audit else { return false };
        let written = audit.append(record);
        let is_written = written.is_ok();
        *lock(&self.trouble) = written.err().map(|error| format!("the audit trail is not written: {error}"));
        is_written
    }
}

/// Records what was left out whenever the minute is over in which it was; until then there is no timer.
pub(crate) async fn told_by_the_minute(app: Arc<App>) {
    loop {
        app.trail.left_out.notified().await;
        tokio::time::sleep(rest_of_minute(app.clock.now())).await;
        let app = Arc::clone(&app);
        // A panic of the writer is said by the trail's own state at the next record.
        let _ = tokio::task::spawn_blocking(move || app.trail.tell_left_out()).await;
    }
}

/// Records what a request came to.
pub(crate) async fn record(
    State((app, requirement)): State<(Arc<App>, Requirement)>,
    OriginalUri(uri): OriginalUri,
    request: Request,
    next: Next,
) -> Response {
    let identity = who_asks(&request);
    let id = request_id(request.headers());
    let from = request.extensions().get::<Peer>().map(|Peer(from)| *from);
    // On its own: who hangs up, or is no longer waited for, has what was begun done all the same.
    let answered = tokio::spawn(async move {
        let response = next.run(request).await;
        if let Ok(action) = Action::try_from(requirement.action.to_owned()) {
            let mut draft = of_answer(&identity, action, uri.path(), id, &response);
            let attempt = attempted(requirement.action, from, &response);
            if let Some(Refusal { code, detail }) = response.extensions().get::<Refusal>()
                && (draft.is_anonymous_refusal || attempt.is_sign_in())
            {
                let told = format!("{}: {detail}{}", code.name(), attempt.told());
                draft.record = draft.record.detail(told);
            }
            write(&app, draft, attempt).await;
        }
        response
    });
    answered.await.unwrap_or_else(|_| {
        Problem::internal("what was asked for broke off; look before asking again").into_response()
    })
}

/// Records that somebody came with a proof that is none.
pub(crate) async fn refused(
    app: &Arc<App>,
    path: &str,
    headers: &HeaderMap,
    from: Option<IpAddr>,
    problem: &Problem,
) {
    const ACTION: Action = Action::new("access.identify");
    let nobody = Identity::anonymous(AnonymousReads::Refused);
    let attempt = Attempt::new(Kind::Proof, from, None);
    let record = NewRecord::new(nobody.name.as_str(), Via::Anonymous, ACTION, path, Outcome::Refused)
        .detail(format!("{}: {}{}", problem.code.name(), problem.detail, attempt.told()))
        .request(request_id(headers));
    write(app, Draft { record, is_anonymous_refusal: true, purge: None }, attempt).await;
}

/// Records that somebody did not sign in by an address that is only read; blocks for the disk.
pub(crate) fn sign_in_refused(
    app: &App,
    action: Action,
    (target, request): (&str, &str),
    from: IpAddr,
    problem: &Problem,
) {
    let nobody = Identity::anonymous(AnonymousReads::Refused);
    let attempt = Attempt::new(Kind::of(action.as_str(), Some(problem.code)), Some(from), None);
    let outcome = if problem.status().is_server_error() { Outcome::Failed } else { Outcome::Refused };
    let record = NewRecord::new(nobody.name.as_str(), Via::Anonymous, action, target, outcome)
        .detail(format!("{}: {}{}", problem.code.name(), problem.detail, attempt.told()))
        .request(request);
    if let Some(record) = app.trail.admitted(record, Some(&attempt), app.clock.now()) {
        app.trail.append(record);
    }
}

/// What a request attempted that was refused.
fn attempted(action: &str, from: Option<IpAddr>, response: &Response) -> Attempt {
    let code = response.extensions().get::<Refusal>().map(|refusal| refusal.code);
    let tried = response.extensions().get::<TriedAs>().map(|TriedAs(name)| name.as_str());
    Attempt::new(Kind::of(action, code), from, tried)
}

/// Records what came of a deed that was asked for by this request, or that it was refused; blocks for the disk.
pub(crate) fn mutation(
    app: &App,
    identity: &Identity,
    action: Action,
    (deed, request): (&Deed, &str),
    done: Result<Option<PlanId>, &Problem>,
) {
    let (outcome, plan) = match done {
        Ok(plan) => (Outcome::Done, plan),
        Err(problem) if problem.status().is_server_error() => (Outcome::Failed, problem.plan),
        Err(problem) => (Outcome::Refused, problem.plan),
    };
    let refusal = done.err().map(Problem::refusal);
    let code = refusal.as_ref().map(|refusal| refusal.code);
    let anonymous = is_anonymous_refusal(identity, done.is_ok())
        .then(|| Attempt::new(Kind::of(action.as_str(), code), None, None));
    let target = deed.target.as_str();
    let mut record =
        NewRecord::new(identity.name.as_str(), via(identity.proof), action, target, outcome).request(request);
    if let Some(detail) = detail(Some(deed), refusal.as_ref(), None) {
        record = record.detail(detail);
    }
    if let Some(plan) = plan {
        record = record.plan(plan);
    }
    if let Some(record) = app.trail.admitted(record, anonymous.as_ref(), app.clock.now()) {
        app.trail.append(record);
    }
}

/// Whether anybody could cause such a record.
fn is_anonymous_refusal(identity: &Identity, done: bool) -> bool {
    identity.proof == Proof::None && !done
}

/// What a record says besides: why not, what was to be, what came of it.
fn detail(deed: Option<&Deed>, refusal: Option<&Refusal>, came: Option<&Detail>) -> Option<String> {
    let asked = deed.and_then(|deed| deed.detail.as_deref());
    let told = match refusal {
        Some(Refusal { code, detail }) => {
            [Some(format!("{}: {detail}", code.name())), asked.map(|asked| format!("asked for: {asked}"))]
        }
        None => [asked.map(str::to_owned), came.map(|Detail { text, .. }| text.clone())],
    };
    let told: Vec<String> = told.into_iter().flatten().collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// A record, whether it is one that anybody could cause, and the purge it is about.
struct Draft {
    record: NewRecord,
    is_anonymous_refusal: bool,
    purge: Option<PurgeId>,
}

fn of_answer(identity: &Identity, action: Action, path: &str, id: String, response: &Response) -> Draft {
    let extensions = response.extensions();
    let status = response.status();
    // Who is led to the page to sign in was refused, too, and who is led to a plan that the guard does not let begin.
    let outcome = match extensions.get::<Refusal>() {
        _ if status.is_server_error() => Outcome::Failed,
        None if !status.is_client_error() => {
            extensions.get::<Detail>().map_or(Outcome::Done, |detail| detail.outcome)
        }
        _ => Outcome::Refused,
    };
    // Who signs in is nobody until then.
    let signed_in = extensions.get::<SignedInAs>().map(|SignedInAs(name)| name.as_str());
    let who = signed_in.unwrap_or(&identity.name);
    let replayed = extensions.get::<Replayed>().map(|Replayed(first)| match first {
        Some(first) => {
            Deed::of(path).and(format!("replayed: request {first} was answered again, nothing was done"))
        }
        None => Deed::of(path).and("replayed: an earlier request was answered again, nothing was done"),
    });
    let deed = extensions.get::<Deed>().or(replayed.as_ref());
    let target = deed.map_or(path, |deed| deed.target.as_str());
    let mut record = NewRecord::new(who, via(identity.proof), action, target, outcome).request(id);
    if let Some(why) = deed.and_then(|deed| deed.why.as_deref()) {
        record = record.why(why);
    }
    if let Some(detail) = detail(deed, extensions.get(), extensions.get()) {
        record = record.detail(detail);
    }
    if let Some(OfPlan(plan)) = extensions.get() {
        record = record.plan(*plan);
    }
    let is_anonymous_refusal = is_anonymous_refusal(identity, outcome == Outcome::Done);
    Draft { record, is_anonymous_refusal, purge: extensions.get().map(|OfPurge(id)| *id) }
}

async fn write(app: &Arc<App>, Draft { record, is_anonymous_refusal, purge }: Draft, attempt: Attempt) {
    let anonymous = is_anonymous_refusal.then_some(&attempt);
    let Some(record) = app.trail.admitted(record, anonymous, app.clock.now()) else { return };
    let app = Arc::clone(app);
    // A panic of the writer is said by the trail's own state at the next record.
    let _ = tokio::task::spawn_blocking(move || {
        if app.trail.append(record)
            && let Some(id) = purge
        {
            // Where its note cannot be removed, the next start finds the record and does it.
            let _ = app.store.purge_is_recorded(id);
        }
    })
    .await;
}

/// The id of a request, as its answer carries it.
pub(crate) fn request_id(headers: &HeaderMap) -> String {
    headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned()
}

fn via(proof: Proof) -> Via {
    match proof {
        Proof::None => Via::Anonymous,
        Proof::Token => Via::Token,
        Proof::Session => Via::Session,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_led_to_sign_in_was_refused_and_who_is_led_on_was_not() {
        const ACTION: Action = Action::new("automation.set");
        let nobody = Identity::anonymous(AnonymousReads::Allowed);
        let draft = |response: &Response| of_answer(&nobody, ACTION, "/automation", String::new(), response);
        let mut led = crate::routes::see_other("/login");
        assert!(!draft(&led).is_anonymous_refusal);
        led.extensions_mut().insert(Problem::internal("no proof").refusal());
        assert!(draft(&led).is_anonymous_refusal);
    }
}
