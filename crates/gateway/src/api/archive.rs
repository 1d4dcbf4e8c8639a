//! `observability/archive`: traces kept beyond retention and sampling.
//!
//! In: ids of traces. Out: what is archived of them, on disk before it is answered.

use axum::http::StatusCode;
use domain::Permission;
use schemars::JsonSchema;
use serde::Serialize;
use telemetry::{ArchiveError, ArchiveStatus, ArchivedTrace, Keeping, TraceId};

use super::observability::{READS, TRACE};
use super::{Answer, Asked, json};
use crate::deed::Deed;
use crate::endpoint::{Endpoint, Parameter, TRACE_ID};
use crate::problem::{Code, Listed, Problem, chain};
use crate::span_time::{read_time, show_time};

const ARCHIVE: &str = "/api/v3/observability/archive";
const ONE: &str = "/api/v3/observability/archive/{id}";

/// Traces of a page, and where the client does not say.
const TRACES_MAX: usize = 1_000;
const TRACES: usize = 100;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let id = || Parameter::form("id", TRACE_ID, TRACE, "A trace id: 32 hexadecimal digits");
    vec![
        Endpoint::get(Permission::TelemetryRead, ARCHIVE, "archive.list", list)
            .says("Archived traces, the one that was archived last first")
            .query([
                Parameter::time("before", "Only traces that were archived before"),
                Parameter::limit(TRACES_MAX, TRACES),
            ])
            .refuses([Code::NoTelemetry])
            .answers::<Vec<ArchivedShape>>("Archived traces"),
        Endpoint::get(Permission::TelemetryRead, ONE, "archive.get", one)
            .says("What is archived of a trace")
            .placeholder(id())
            .refuses([Code::NoTelemetry])
            .answers::<ArchivedShape>("The archived trace"),
        Endpoint::post(Permission::TelemetryWrite, ONE, "archive.add", add)
            .says(
                "Archives a trace as it is now, beyond retention and sampling; answered when the disk has it",
            )
            .placeholder(id())
            .overwrites(ONE, one)
            .refuses(READS)
            .refuses([Code::ArchiveFull, Code::Disk])
            .answers::<ArchivedShape>("What is archived of it"),
        Endpoint::delete(Permission::ServerManage, ONE, "archive.remove", remove)
            .says("Removes a trace from the archive; what retention still holds of it stays with the others")
            .placeholder(id())
            .overwrites(ONE, one)
            .refuses([Code::NoTelemetry, Code::Disk])
            .answers::<ArchivedShape>("What was archived of it"),
    ]
}

/// A trace in the archive.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ArchivedShape {
    trace_id: String,
    /// When it was archived, or last added to.
    archived_at: String,
    /// `asked`: it stays until somebody removes it. `evidence`: an issue cites it; the oldest go when there is no room.
    keeping: &'static str,
    spans: u64,
    /// Bytes on the disk, in whole blocks of 4 KiB.
    bytes: u64,
}

impl From<ArchivedTrace> for ArchivedShape {
    fn from(told: ArchivedTrace) -> Self {
        Self {
            trace_id: told.trace_id.to_string(),
            archived_at: show_time(told.archived_unix_us.saturating_mul(1000)),
            keeping: told.keeping.name(),
            spans: told.spans,
            bytes: told.bytes,
        }
    }
}

/// How full the archive is.
#[derive(Serialize, JsonSchema)]
pub(super) struct ArchiveShape {
    traces: u64,
    bytes: u64,
    /// Bytes of traces that stay until somebody removes them.
    asked_bytes: u64,
    bytes_max: u64,
}

impl From<ArchiveStatus> for ArchiveShape {
    fn from(status: ArchiveStatus) -> Self {
        let ArchiveStatus { traces, bytes, asked_bytes, bytes_max } = status;
        Self { traces, bytes, asked_bytes, bytes_max }
    }
}

impl From<ArchiveError> for Problem {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::NotFound(_) => Self::not_among(Listed::Traces, error.to_string()),
            ArchiveError::Full { .. } => Self::new(Code::ArchiveFull, error.to_string()),
            ArchiveError::Read(error) => error.into(),
            ArchiveError::Disk { .. } | ArchiveError::Unconfirmed { .. } => {
                Self::new(Code::Disk, chain(&error))
            }
        }
    }
}

fn list(asked: &Asked<'_>) -> Answer {
    let limit = asked.query.count("limit", 1, TRACES_MAX)?.unwrap_or(TRACES);
    let expected = || "an RFC 3339 time, such as 2026-11-21T03:00:00Z".to_owned();
    let before = asked.query.read("before", read_time, expected)?;
    let mut all = asked.telemetry()?.archived_traces();
    all.retain(|told| before.is_none_or(|before| told.archived_unix_us.saturating_mul(1000) < before));
    all.truncate(limit + 1);
    let at = |told: &ArchivedTrace| show_time(told.archived_unix_us.saturating_mul(1000));
    asked.list(all, limit, at, |told| ArchivedShape::from(*told))
}

fn one(asked: &Asked<'_>) -> Answer {
    json(StatusCode::OK, &ArchivedShape::from(archived(asked)?))
}

fn add(asked: &Asked<'_>) -> Answer {
    let id = id(asked)?;
    asked.deed.tell(Deed::trace(id).and("archived"));
    let told = asked.telemetry()?.archive_trace(id, Keeping::Asked)?;
    json(StatusCode::OK, &ArchivedShape::from(told))
}

fn remove(asked: &Asked<'_>) -> Answer {
    asked.deed.tell(Deed::trace(id(asked)?).and("no longer archived"));
    let told = archived(asked)?;
    match asked.telemetry()?.remove_archived(told.trace_id)? {
        true => json(StatusCode::OK, &ArchivedShape::from(told)),
        false => Err(not_archived(told.trace_id)),
    }
}

fn archived(asked: &Asked<'_>) -> Result<ArchivedTrace, Problem> {
    let id = id(asked)?;
    asked.telemetry()?.archived_trace(id).ok_or_else(|| not_archived(id))
}

fn id(asked: &Asked<'_>) -> Result<TraceId, Problem> {
    asked.name.parse().map_err(|error| Problem::field("id", format!("{error}")))
}

fn not_archived(id: TraceId) -> Problem {
    Problem::not_among(Listed::Archive, format!("trace {id} is not archived"))
}
