//! Prometheus' form of an answer: `{"status":"success","data":…,"warnings":[…],"infos":[…]}`.

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use promql::{Histogram, Labels, Point, Sample, Series, Value};
use serde_json::json;

use super::number::{write_time, write_value};
use crate::pieces::{self, Broken, More, Pieces};

/// Warnings, and infos, that are answered at most: Prometheus' number.
const NOTES_MAX: usize = 10;

/// An answer that is small enough to be built whole.
pub(super) fn whole(data: serde_json::Value, warnings: &[String]) -> Response {
    let mut body = json!({"status": "success", "data": data});
    if !warnings.is_empty() {
        body["warnings"] = json!(warnings);
    }
    Json(body).into_response()
}

/// Cuts a list; answers what there is to warn of.
pub(super) fn cut<T>(list: &mut Vec<T>, limit: Option<usize>) -> Vec<String> {
    match limit {
        Some(limit) if list.len() > limit => {
            list.truncate(limit);
            vec!["results truncated due to limit".to_owned()]
        }
        _ => Vec::new(),
    }
}

/// A part of an answer: one of a list.
pub(super) trait Item: Send + Unpin + 'static {
    fn write(&self, out: &mut Vec<u8>);
}

/// An answer that is a list, written while it is sent.
pub(super) struct List<T> {
    /// What stands before the list; none once it is written.
    head: Option<String>,
    items: std::vec::IntoIter<T>,
    first: bool,
    tail: String,
}

/// A list that is itself the data.
pub(super) fn list<T: Item>(items: Vec<T>, warnings: &[String]) -> Response {
    let head = "{\"status\":\"success\",\"data\":[".to_owned();
    let tail = format!("]{}}}", notes("warnings", warnings));
    pieces::json(List { head: Some(head), items: items.into_iter(), first: true, tail })
}

/// The value of a query that is a list: a vector or a matrix.
pub(super) fn result<T: Item>(kind: &str, items: Vec<T>, warnings: &[String], infos: &[String]) -> Response {
    let head = format!("{{\"status\":\"success\",\"data\":{{\"resultType\":\"{kind}\",\"result\":[");
    let tail = format!("]}}{}{}}}", notes("warnings", warnings), notes("infos", infos));
    pieces::json(List { head: Some(head), items: items.into_iter(), first: true, tail })
}

/// The value of a query that is one: a number or a string, written already.
pub(super) fn single(kind: &str, written: &str, warnings: &[String], infos: &[String]) -> Response {
    let (warnings, infos) = (notes("warnings", warnings), notes("infos", infos));
    let body = format!(
        "{{\"status\":\"success\",\"data\":{{\"resultType\":\"{kind}\",\"result\":{written}}}{warnings}{infos}}}"
    );
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// `,"warnings":[…]`, or nothing where there are none.
fn notes(name: &str, notes: &[String]) -> String {
    if notes.is_empty() {
        return String::new();
    }
    let mut shown: Vec<String> = notes.iter().take(NOTES_MAX).cloned().collect();
    if notes.len() > NOTES_MAX {
        let kind = name.trim_end_matches('s');
        shown.push(format!("{} more {kind} annotations omitted", notes.len() - NOTES_MAX));
    }
    format!(",\"{name}\":{}", json!(shown))
}

impl<T: Item> Pieces for List<T> {
    fn write(&mut self, out: &mut Vec<u8>) -> Result<More, Broken> {
        if let Some(head) = self.head.take() {
            out.extend_from_slice(head.as_bytes());
        }
        match self.items.next() {
            Some(item) => {
                if !std::mem::take(&mut self.first) {
                    out.push(b',');
                }
                item.write(out);
                Ok(More::Yes)
            }
            None => {
                out.extend_from_slice(self.tail.as_bytes());
                Ok(More::No)
            }
        }
    }
}

/// A value of a vector, at its time.
pub(super) struct PointAt(pub(super) i64, pub(super) Point);

impl Item for PointAt {
    fn write(&self, out: &mut Vec<u8>) {
        let Self(at_ms, Point { labels, value }) = self;
        out.extend_from_slice(b"{\"metric\":");
        write_labels(labels, out);
        out.extend_from_slice(match value {
            Value::Float(_) => b",\"value\":".as_slice(),
            Value::Histogram(_) => b",\"histogram\":",
        });
        write_sample(*at_ms, value, out);
        out.push(b'}');
    }
}

impl Item for Series {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"metric\":");
        write_labels(&self.labels, out);
        let is_float = |sample: &&Sample| matches!(sample.value, Value::Float(_));
        write_samples("values", self.samples.iter().filter(is_float), out);
        write_samples("histograms", self.samples.iter().filter(|sample| !is_float(sample)), out);
        out.push(b'}');
    }
}

impl Item for Labels {
    fn write(&self, out: &mut Vec<u8>) {
        write_labels(self, out);
    }
}

fn write_samples<'s>(name: &str, samples: impl Iterator<Item = &'s Sample>, out: &mut Vec<u8>) {
    let mut samples = samples.peekable();
    if samples.peek().is_none() {
        return;
    }
    out.extend_from_slice(format!(",\"{name}\":").as_bytes());
    let mut before = b'[';
    for sample in samples {
        out.push(before);
        write_sample(sample.at_ms, &sample.value, out);
        before = b',';
    }
    out.push(b']');
}

fn write_sample(at_ms: i64, value: &Value, out: &mut Vec<u8>) {
    out.push(b'[');
    write_time(at_ms, out);
    out.push(b',');
    match value {
        Value::Float(value) => write_value(*value, out),
        Value::Histogram(histogram) => write_histogram(histogram, out),
    }
    out.push(b']');
}

/// Buckets as `[boundaries, lower, upper, count]`; boundaries 0: the upper belongs to it, 1: the lower, 2: neither, 3: both.
fn write_histogram(histogram: &Histogram, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"count\":");
    write_value(histogram.count, out);
    out.extend_from_slice(b",\"sum\":");
    write_value(histogram.sum, out);
    let buckets = histogram.shown();
    if !buckets.is_empty() {
        out.extend_from_slice(b",\"buckets\":");
        let mut before = b'[';
        for bucket in buckets {
            out.push(before);
            out.extend_from_slice(match (bucket.with_lower, bucket.with_upper) {
                (false, true) => b"[0,",
                (true, false) => b"[1,",
                (false, false) => b"[2,",
                (true, true) => b"[3,",
            });
            write_value(bucket.lower, out);
            out.push(b',');
            write_value(bucket.upper, out);
            out.push(b',');
            write_value(bucket.count, out);
            out.push(b']');
            before = b',';
        }
        out.push(b']');
    }
    out.push(b'}');
}

pub(super) fn write_labels(labels: &Labels, out: &mut Vec<u8>) {
    let mut before = b'{';
    for (name, value) in labels.iter() {
        out.push(before);
        write_text(name, out);
        out.push(b':');
        write_text(value, out);
        before = b',';
    }
    if labels.is_empty() {
        out.push(b'{');
    }
    out.push(b'}');
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    // Writing text to a vector does not fail.
    let _ = serde_json::to_writer(out, text);
}
