//! Answers of `/api/…` with traces in them, written span by span.

use serde_json::json;
use telemetry::Trace;

use super::Traces;
use super::origin::Origins;
use super::span::{ProcessShape, SpanShape, process_key};
use crate::pieces::{Broken, More, Pieces};
use crate::problem::chain;

/// `{"data": [traces], …, "errors": …}`.
pub(super) struct TracesAnswer {
    traces: Traces,
    /// Which ids are errors when they have no trace.
    missing: Missing,
    stage: Stage,
    written: usize,
    errors: Vec<serde_json::Value>,
}

/// What an id without a trace means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// It was found a moment ago, and its time to be kept has ended since.
    Gone,
    /// It was asked for by name.
    Error,
}

enum Stage {
    Begin,
    Between,
    Within { trace: Box<Trace>, row: usize, origins: Origins },
}

impl TracesAnswer {
    pub(super) fn new(traces: Traces, missing: Missing) -> Self {
        Self { traces, missing, stage: Stage::Begin, written: 0, errors: Vec::new() }
    }

    /// Begins the next trace, or ends the answer.
    fn next_trace(&mut self, out: &mut Vec<u8>) -> Result<More, Broken> {
        match self.traces.next() {
            Some((_, Ok(Some(trace)))) => {
                if self.written > 0 {
                    out.push(b',');
                }
                self.written += 1;
                out.extend_from_slice(format!("{{\"traceID\":\"{}\",\"spans\":[", trace.id()).as_bytes());
                self.stage = Stage::Within { trace: Box::new(trace), row: 0, origins: Origins::default() };
            }
            Some((id, Ok(None))) => {
                if self.missing == Missing::Error {
                    self.errors.push(json!({"msg": "trace not found", "traceID": id.to_string()}));
                }
            }
            // One damaged block must not hide the other traces.
            Some((id, Err(error))) => {
                self.errors.push(json!({"code": 500, "msg": chain(&error), "traceID": id.to_string()}));
            }
            None => {
                out.extend_from_slice(b"],\"total\":0,\"limit\":0,\"offset\":0,\"errors\":");
                let errors = (!self.errors.is_empty()).then_some(&self.errors);
                serde_json::to_writer(&mut *out, &errors)?;
                out.push(b'}');
                return Ok(More::No);
            }
        }
        Ok(More::Yes)
    }
}

impl Pieces for TracesAnswer {
    fn write(&mut self, out: &mut Vec<u8>) -> Result<More, Broken> {
        match &mut self.stage {
            Stage::Begin => {
                out.extend_from_slice(b"{\"data\":[");
                self.stage = Stage::Between;
            }
            Stage::Between => return self.next_trace(out),
            Stage::Within { trace, row, origins } if *row < trace.spans().len() => {
                if *row > 0 {
                    out.push(b',');
                }
                let span = &trace.spans()[*row];
                let shape = SpanShape::new(span, origins.number(&span.resource), trace.rows()[*row].oddity);
                serde_json::to_writer(out, &shape)?;
                *row += 1;
            }
            Stage::Within { origins, .. } => {
                out.extend_from_slice(b"],\"processes\":{");
                for (number, resource) in origins.all().iter().enumerate() {
                    let comma = if number > 0 { "," } else { "" };
                    out.extend_from_slice(format!("{comma}\"{}\":", process_key(number)).as_bytes());
                    serde_json::to_writer(&mut *out, &ProcessShape::new(resource))?;
                }
                out.extend_from_slice(b"},\"warnings\":null}");
                self.stage = Stage::Between;
            }
        }
        Ok(More::Yes)
    }
}
