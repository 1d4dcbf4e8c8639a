//! What people and programs ask to be changed, for the audit trail.
//!
//! In: requests that may change something, with their answers. Out: a record of each, before it is answered: who, by what
//! it was proven, what, to what, with what outcome, and the plan it is about. What was refused at the door is
//! recorded as well; of what nobody in particular was refused, no more than [`ANONYMOUS_A_MINUTE`] a minute, so that who has
//! no token cannot fill the disk; how many were left out is said by the next record.
//!
//! What the loop does by itself is recorded by who runs it.

use std::sync::{Arc, Mutex};

use audit::{Action, Audit, NewRecord, Outcome, Via};
use axum::extract::{OriginalUri, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::{AnonymousReads, Identity, PlanId, Proof, Time};
use store::PurgeId;

use crate::deed::Deed;
use crate::guard::{REQUEST_ID, Requirement, who_asks};
use crate::idempotency::Replayed;
use crate::problem::{Problem, Refusal};
use crate::serve::{App, lock};

/// Refusals of who proved nothing that are recorded within a minute.
const ANONYMOUS_A_MINUTE: u32 = 60;

const MINUTE_US: i64 = 60_000_000;

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
    /// Why the last record could not be written.
    trouble: Mutex<Option<String>>,
}

/// What was recorded of nobody in particular in one minute.
#[derive(Debug, Default)]
struct Anonymous {
    minute: i64,
    recorded: u32,
    left_out: u64,
}

impl Anonymous {
    /// Whether one more is recorded, and how many were left out before it.
    fn admit(&mut self, now: Time) -> Option<u64> {
        let minute = now.wall_us.div_euclid(MINUTE_US);
        if minute != self.minute {
            (self.minute, self.recorded) = (minute, 0);
        }
        if self.recorded >= ANONYMOUS_A_MINUTE {
            self.left_out += 1;
            return None;
        }
        self.recorded += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Trail {
    pub(crate) fn new(audit: Option<Audit>) -> Self {
        Self { audit, anonymous: Mutex::default(), trouble: Mutex::default() }
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
    fn admitted(&self, record: NewRecord, is_anonymous_refusal: bool, now: Time) -> Option<NewRecord> {
        self.audit.as_ref()?;
        if !is_anonymous_refusal {
            return Some(record);
        }
        match lock(&self.anonymous).admit(now)? {
            0 => Some(record),
            left_out => {
                Some(record.why(format!("{left_out} more like this were refused before and not recorded")))
            }
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

/// Records what a request came to.
pub(crate) async fn record(
    State((app, requirement)): State<(Arc<App>, Requirement)>,
    OriginalUri(uri): OriginalUri,
    request: Request,
    next: Next,
) -> Response {
    let identity = who_asks(&request);
    let id = request_id(request.headers());
    // On its own: who hangs up, or is no longer waited for, has what was begun done all the same.
    let answered = tokio::spawn(async move {
        let response = next.run(request).await;
        if let Ok(action) = Action::try_from(requirement.action.to_owned()) {
            write(&app, of_answer(&identity, action, uri.path(), id, &response)).await;
        }
        response
    });
    answered.await.unwrap_or_else(|_| {
        Problem::internal("what was asked for broke off; look before asking again").into_response()
    })
}

/// Records that somebody came with a proof that is none.
pub(crate) async fn refused(app: &Arc<App>, path: &str, headers: &HeaderMap, problem: &Problem) {
    const ACTION: Action = Action::new("access.identify");
    let nobody = Identity::anonymous(AnonymousReads::Refused);
    let record = NewRecord::new(nobody.name.as_str(), Via::Anonymous, ACTION, path, Outcome::Refused)
        .detail(format!("{}: {}", problem.code.name(), problem.detail))
        .request(request_id(headers));
    write(app, Draft { record, is_anonymous_refusal: true, purge: None }).await;
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
    let target = deed.target.as_str();
    let mut record =
        NewRecord::new(identity.name.as_str(), via(identity.proof), action, target, outcome).request(request);
    if let Some(detail) = detail(Some(deed), refusal.as_ref(), None) {
        record = record.detail(detail);
    }
    if let Some(plan) = plan {
        record = record.plan(plan);
    }
    if let Some(record) =
        app.trail.admitted(record, is_anonymous_refusal(identity, done.is_ok()), app.clock.now())
    {
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

async fn write(app: &Arc<App>, Draft { record, is_anonymous_refusal, purge }: Draft) {
    let Some(record) = app.trail.admitted(record, is_anonymous_refusal, app.clock.now()) else { return };
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

    #[test]
    fn what_nobody_in_particular_was_refused_is_recorded_up_to_a_bound_and_counted_beyond() {
        let mut anonymous = Anonymous::default();
        let at = |minute: i64| Time { boot_us: 0, wall_us: minute * MINUTE_US };
        for _ in 0..ANONYMOUS_A_MINUTE {
            assert_eq!(anonymous.admit(at(1)), Some(0));
        }
        assert_eq!((anonymous.admit(at(1)), anonymous.admit(at(1))), (None, None));
        assert_eq!(anonymous.admit(at(2)), Some(2));
        assert_eq!(anonymous.admit(at(2)), Some(0));
    }
}
