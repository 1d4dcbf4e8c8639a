//! `/api/v3/audit/…`: the audit trail. What reads changes nothing; to sign a checkpoint now, and to rotate the keys, are writes,
//! and recorded like any other.

use audit::{Audit, AuditError, Filter, Outcome, Record, SignedCheckpoint};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use domain::{Permission, PlanId};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Answer, Asked, PAGE, json, names};
use crate::deed::Deed;
use crate::endpoint::{Endpoint, Parameter, SEQUENCE};
use crate::problem::{Code, Problem, chain};
use crate::shapes::AuditRecordShape;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(Permission::AuditRead, "/api/v3/audit/records", "audit.list", list)
            .says("Records of the audit trail, newest first")
            .query([
                Parameter::text("who", "Only what was done by exactly this one"),
                Parameter::text("action", "Only actions whose name begins like this"),
                Parameter::choice("outcome", Outcome::ALL.map(Outcome::name), "Only what came out like this"),
                Parameter::text("target", "Only what was done to exactly this"),
                Parameter::id("plan", "Only what is about this plan"),
                Parameter::time("since", "Only what was done since"),
                Parameter::form(
                    "before",
                    SEQUENCE,
                    "17",
                    "Only those before this sequence; the Link header has it",
                ),
                Parameter::limit(Filter::LIMIT_MAX, PAGE),
            ])
            .refuses([Code::Unavailable])
            .answers::<Vec<AuditRecordShape>>("Records"),
        Endpoint::get(Permission::AuditRead, "/api/v3/audit/records/{sequence}", "audit.get", get)
            .says("One record")
            .placeholder(Parameter::form("sequence", SEQUENCE, "17", "Its place, counted from 0"))
            .refuses([Code::Unavailable])
            .answers::<AuditRecordShape>("The record"),
        Endpoint::get(Permission::AuditRead, "/api/v3/audit/checkpoint", "audit.checkpoint", checkpoint)
            .says("The newest signed checkpoint; kept elsewhere, it shows what was changed since")
            .refuses([Code::NotFound, Code::Unavailable])
            .answers_text("text/plain", "The signed note"),
        Endpoint::post(Permission::ServerManage, "/api/v3/audit/checkpoint", "audit.sign_checkpoint", sign)
            .says("Signs a checkpoint of everything so far; one is signed by itself ten minutes after a record, too")
            .refuses([Code::Unavailable])
            .answers_text("text/plain", "The signed note"),
        Endpoint::post(Permission::ServerManage, "/api/v3/audit/keys/rotate", "audit.rotate_keys", rotate)
            .says("Signs with new keys from now on: the old ones hand over to them and are gone; a copy of the answer is worth keeping elsewhere")
            .refuses([Code::Unavailable])
            .answers::<KeysShape>("The public keys, old and new"),
        Endpoint::get(Permission::AuditRead, "/api/v3/audit/status", "audit.status", status)
            .says("How the trail is, and by which keys its checkpoints are known")
            .refuses([Code::Unavailable])
            .answers::<TrailShape>("Its state"),
    ]
}

/// The public keys of the trail.
#[derive(Serialize, JsonSchema)]
struct KeysShape {
    /// What people compare: SHA-256 over the text.
    fingerprint: String,
    /// How often they were rotated.
    rotations: usize,
    /// As `homeostat audit keys` prints them: the first pair, then every rotation, signed by the pair before.
    text: String,
}

/// How the trail is.
#[derive(Serialize, JsonSchema)]
struct TrailShape {
    /// How many records there are, with those that were removed because their time had come.
    records: u64,
    /// The first record that is there.
    first_record: u64,
    /// How many of them the newest checkpoint covers.
    checkpoint_records: u64,
    /// Why the last checkpoint could not be written.
    checkpoint_failure: Option<String>,
    /// Why no more records are taken.
    stopped: Option<String>,
    /// The fingerprint of the public keys.
    keys: String,
    /// How often these were rotated.
    key_rotations: usize,
}

fn trail<'a>(asked: &'a Asked<'_>) -> Result<&'a Audit, Problem> {
    asked.app.trail.audit().ok_or_else(|| {
        let why = "no audit trail is kept here; the log of `homeostat serve` says why";
        Problem::new(Code::Unavailable, why)
    })
}

fn list(asked: &Asked<'_>) -> Answer {
    let query = &asked.query;
    let text = |name: &str| query.text(name).map(str::to_owned);
    let filter = Filter {
        before: query.read("before", |text| text.parse().ok(), || "a sequence".to_owned())?,
        who: text("who"),
        action: text("action"),
        outcome: query.read("outcome", |text| text.parse().ok(), || names(Outcome::ALL, Outcome::name))?,
        target: text("target"),
        plan: query.read("plan", |text| text.parse::<PlanId>().ok(), || "the id of a plan".to_owned())?,
        since_us: asked.since()?.map(|since| since.wall_us),
        limit: query.count("limit", 1, Filter::LIMIT_MAX)?.unwrap_or(PAGE),
    };
    let page = trail(asked)?.query(&filter).map_err(problem)?;
    let shapes: Vec<_> = page.records.iter().map(AuditRecordShape::from).collect();
    let mut response = json(StatusCode::OK, &shapes)?;
    if let Some(before) = page.next {
        let query = asked.query.with("before", &before.to_string());
        let link = format!("<{}?{query}>; rel=\"next\"", asked.path);
        let link = HeaderValue::from_str(&link)
            .map_err(|_| Problem::internal("the address of the next page is no header"))?;
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

fn get(asked: &Asked<'_>) -> Answer {
    let sequence = asked.name.parse().map_err(|_| {
        Problem::not_found(format!("there is no record {:?}; records are counted from 0", asked.name))
    })?;
    let record: Record = trail(asked)?.record(sequence).map_err(problem)?;
    json(StatusCode::OK, &AuditRecordShape::from(&record))
}

fn checkpoint(asked: &Asked<'_>) -> Answer {
    let none = "no checkpoint was signed yet: the first one is ten minutes after the first record; POST signs one now";
    note(trail(asked)?.newest_checkpoint().ok_or_else(|| Problem::not_found(none.to_owned()))?)
}

fn sign(asked: &Asked<'_>) -> Answer {
    asked.deed.tell(Deed::of("audit trail"));
    let signed = trail(asked)?.checkpoint().map_err(problem)?;
    asked.deed.add("checkpoint signed");
    note(signed)
}

fn note(signed: SignedCheckpoint) -> Answer {
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], signed.note).into_response())
}

fn rotate(asked: &Asked<'_>) -> Answer {
    asked.deed.tell(Deed::of("audit trail"));
    let keys = trail(asked)?.rotate_keys().map_err(problem)?;
    let (fingerprint, rotations) = (keys.fingerprint(), keys.rotations());
    asked.deed.add(format!("keys {fingerprint}"));
    json(StatusCode::OK, &KeysShape { fingerprint, rotations, text: keys.text() })
}

fn status(asked: &Asked<'_>) -> Answer {
    let trail = trail(asked)?;
    let (status, keys) = (trail.status(), trail.keys());
    let shape = TrailShape {
        records: status.size,
        first_record: status.first,
        checkpoint_records: status.checkpoint_size,
        checkpoint_failure: status.checkpoint_failure.map(|error| chain(&error)),
        stopped: status.stopped.map(|why| why.to_string()),
        keys: keys.fingerprint(),
        key_rotations: keys.rotations(),
    };
    json(StatusCode::OK, &shape)
}

fn problem(error: AuditError) -> Problem {
    match error {
        AuditError::NoSuchRecord { .. } | AuditError::Removed { .. } => Problem::not_found(error.to_string()),
        AuditError::Stopped(_) => Problem::new(Code::Unavailable, error.to_string()),
        error => Problem::internal(chain(&error)),
    }
}
