//! `GET /metrics`: the names of the specification (§8) that have an engine, as Prometheus text.
//!
//! Counters are counted from what the store keeps, so they survive a restart; what retention removed is added
//! ([`carried`]).

mod carried;
mod chaos;
mod distribution;
mod healing;
mod series;
mod slo;

use std::fmt::Write as _;

use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use domain::{Permission, Time};
use telemetry::{Counters, Telemetry};

pub(crate) use carried::Carried;
pub(crate) use healing::Settled;

use super::{Answer, Asked};
use crate::endpoint::Endpoint;
use crate::otlp::Running;
use crate::problem::Problem;
use crate::serve::{App, lock};
use distribution::Distribution;

/// The store has nothing older than this: since the beginning of its time.
const BEGINNING: Time = Time { boot_us: 0, wall_us: 0 };

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(Permission::MetricsScrape, "/metrics", "server.metrics", metrics)
            .says("Our own metrics, as Prometheus scrapes them")
            .answers_text("text/plain; version=0.0.4; charset=utf-8", "Prometheus' text format"),
    ]
}

pub(crate) fn metrics(asked: &Asked<'_>) -> Answer {
    let mut text = Exposition::default();
    counted(&mut text, asked.app)?;
    scores(&mut text, asked.app);
    let sockets = asked.app.graphql.open_sockets();
    text.gauge("gateway_graphql_sockets", "WebSockets of GraphQL clients", &[("", sockets as f64)]);
    let [identity, address] = asked.app.rates.refused();
    text.counters(
        "gateway_requests_refused_total",
        "requests refused because one asked too often, an identity or an address without one",
        &[("by=\"identity\"", identity as f64), ("by=\"address\"", address as f64)],
    );
    if let Some(tls) = &asked.app.tls {
        text.gauge(
            "tls_certificate_not_after_timestamp_seconds",
            "when the certificate in use ceases to be valid, in seconds since 1970",
            &[("", tls.facts().expires as f64)],
        );
    }
    if let Some(Running { counts, .. }) = &asked.app.otlp {
        counts.write_to(&mut text.text);
    }
    if let Some(telemetry) = &asked.app.telemetry {
        stored(&mut text, telemetry.counters());
        waiting(&mut text, telemetry);
        moved(&mut text, telemetry);
        text.text.push_str(&telemetry.span_metrics());
    }
    if let Some(tracer) = &asked.app.tracer {
        text.text.push_str(&tracer.metrics().prometheus());
    }
    if let Some(store) = &asked.app.metrics {
        series::write(&mut text, store);
    }
    if let Some(rules) = &asked.app.rules {
        rules.write_metrics(&mut text.text);
    }
    if let Some(objectives) = &asked.app.objectives {
        slo::write(&mut text, objectives);
    }
    let mut response = text.text.into_response();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// What is counted from records of the store.
fn counted(text: &mut Exposition<'_>, app: &App) -> Result<(), Problem> {
    let mut carried = lock(&app.carried);
    carried.begin();
    let mut records = Exposition { text: String::new(), carried: Some(&mut carried) };
    healing::write(&mut records, app)?;
    chaos::write(&mut records, app)?;
    text.text.push_str(&records.text);
    carried.end(&app.store)?;
    Ok(())
}

/// What the store of spans and logs took, left out and refused.
fn stored(text: &mut Exposition<'_>, counts: &Counters) {
    for (name, help, counter) in [
        ("telemetry_spans_total", "spans taken in", &counts.spans),
        ("telemetry_log_records_total", "log records taken in", &counts.log_records),
        ("telemetry_items_rejected_total", "spans without usable ids", &counts.rejected),
        ("telemetry_requests_malformed_total", "requests that were no OTLP", &counts.malformed),
        ("telemetry_requests_overloaded_total", "requests refused: too much waited", &counts.overloaded),
        (
            "telemetry_requests_backlogged_total",
            "requests refused: compaction was behind",
            &counts.backlogged,
        ),
        ("telemetry_requests_disk_refused_total", "requests the disk did not take", &counts.disk_refused),
        ("telemetry_attributes_dropped_total", "attributes left out by limits", &counts.attributes_dropped),
        ("telemetry_values_cut_total", "values, names and messages cut by limits", &counts.values_cut),
        ("telemetry_events_dropped_total", "events left out by limits", &counts.events_dropped),
        ("telemetry_links_dropped_total", "links left out by limits or without ids", &counts.links_dropped),
        ("telemetry_commits_total", "group commits", &counts.commits),
        ("telemetry_written_bytes_total", "bytes written before compaction", &counts.bytes_written),
        ("telemetry_compacted_spans_total", "spans compaction kept", &counts.compacted_spans),
        ("telemetry_sampled_out_spans_total", "spans tail sampling let go", &counts.sampled_out_spans),
        ("telemetry_compacted_bytes_total", "bytes written by compaction", &counts.unit_bytes_written),
        ("telemetry_compaction_failures_total", "compactions that failed", &counts.compaction_failures),
        ("telemetry_damaged_segments_total", "segments that cannot be compacted", &counts.damaged_segments),
        ("telemetry_damaged_files_total", "compacted files that cannot be read", &counts.damaged_units),
        ("telemetry_merged_files_total", "small compacted files merged", &counts.merged_units),
        ("telemetry_merged_bytes_total", "bytes written by merging", &counts.merged_bytes_written),
        ("telemetry_merge_failures_total", "merges that failed", &counts.merge_failures),
        (
            "telemetry_retention_removed_total",
            "files that were too old or too much",
            &counts.retention_removed,
        ),
        ("telemetry_archived_traces_total", "traces written to the archive", &counts.archived_traces),
        ("telemetry_archive_evicted_total", "archived evidence that went for newer", &counts.archive_evicted),
        ("telemetry_archive_refused_total", "traces that were not archived", &counts.archive_refused),
    ] {
        text.counter(name, help, counter.get());
    }
}

/// What waits for compaction, and what came out of it.
fn waiting(text: &mut Exposition<'_>, telemetry: &Telemetry) {
    let (backlog, (files, bytes)) = (telemetry.backlog(), telemetry.compacted());
    let archive = telemetry.archive_status();
    for (name, help, value) in [
        ("telemetry_archive_traces", "archived traces", archive.traces as f64),
        ("telemetry_archive_bytes", "bytes of archived traces on disk", archive.bytes as f64),
        ("telemetry_archive_limit_bytes", "most bytes of archived traces", archive.bytes_max as f64),
        ("telemetry_backlog_bytes", "bytes that wait for compaction", backlog.bytes as f64),
        ("telemetry_backlog_limit_bytes", "from so many on intake is refused", backlog.bytes_max as f64),
        ("telemetry_intake_refused", "1 while intake waits for compaction", f64::from(backlog.refusing)),
        ("telemetry_compacted_files", "compacted files, each with an index", files as f64),
        ("telemetry_compacted_stored_bytes", "bytes of compacted files on disk", bytes as f64),
    ] {
        text.gauge(name, help, &[("", value)]);
    }
}

/// What is in object storage, what went there and what was read from it; nothing where none is configured.
fn moved(text: &mut Exposition<'_>, telemetry: &Telemetry) {
    let (Some(moved), Some(counts)) = (telemetry.moved(), telemetry.object_counters()) else { return };
    for (name, help, value) in [
        ("telemetry_moved_files", "compacted files whose rows are in object storage", moved.units as f64),
        ("telemetry_moved_stored_bytes", "bytes of these rows", moved.bytes as f64),
        ("telemetry_objects_trouble", "1 while nothing can be moved", f64::from(moved.trouble.is_some())),
    ] {
        text.gauge(name, help, &[("", value)]);
    }
    for (name, help, counter) in [
        ("telemetry_moved_files_total", "compacted files moved to object storage", &counts.moved_units),
        ("telemetry_objects_uploaded_bytes_total", "bytes put there", &counts.uploaded_bytes),
        ("telemetry_objects_failures_total", "tries to move or remove that failed", &counts.failures),
        ("telemetry_objects_removed_total", "compacted files removed there", &counts.removed_units),
        (
            "telemetry_objects_unknown_total",
            "compacted files there that are left alone",
            &counts.unknown_units,
        ),
        ("telemetry_objects_ranged_reads_total", "ranges read for questions", &counts.ranged_reads),
        ("telemetry_objects_read_bytes_total", "bytes of these ranges", &counts.read_bytes),
        ("telemetry_objects_read_failures_total", "ranges that were not to be had", &counts.read_failures),
    ] {
        text.counter(name, help, counter.get());
    }
}

fn scores(text: &mut Exposition<'_>, app: &App) {
    let Some(record) = app.control.health() else { return };
    let components = [
        ("component=\"overall\"", record.overall),
        ("component=\"compute\"", record.compute),
        ("component=\"network\"", record.network),
        ("component=\"storage\"", record.storage),
        ("component=\"database\"", record.database),
        ("component=\"security\"", record.security),
    ];
    let known: Vec<_> =
        components.into_iter().filter_map(|(label, score)| Some((label, f64::from(score?)))).collect();
    text.gauge("self_healing_health_score", "health, 0 to 100; an unknown component is absent", &known);
    if let Some(overall) = record.overall {
        let help = "overall health as experiments see it, 0 to 100";
        text.gauge("chaos_system_health_score", help, &[("", f64::from(overall))]);
    }
}

/// Text in the Prometheus exposition format, version 0.0.4.
#[derive(Default)]
struct Exposition<'a> {
    text: String,
    /// For counts of records that retention removes.
    carried: Option<&'a mut Carried>,
}

impl Exposition<'_> {
    /// One count, with what was removed of it.
    fn count(&mut self, series: &str, counted: f64) {
        let said = self.carried.as_mut().map_or(counted, |carried| carried.carry(series, counted));
        let _ = writeln!(self.text, "{series} {said}");
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "counter", help);
        self.count(name, value as f64);
    }

    /// One count for each label set; nothing where there is none.
    fn counters(&mut self, name: &str, help: &str, samples: &[(impl AsRef<str>, f64)]) {
        if !samples.is_empty() {
            self.head(name, "counter", help);
        }
        for (labels, value) in samples {
            self.count(&format!("{name}{{{}}}", labels.as_ref()), *value);
        }
    }

    /// One value for each label set, an empty one has no labels; nothing where there is none.
    fn gauge(&mut self, name: &str, help: &str, samples: &[(impl AsRef<str>, f64)]) {
        if !samples.is_empty() {
            self.head(name, "gauge", help);
        }
        for (labels, value) in samples {
            let labels = labels.as_ref();
            let _ = if labels.is_empty() {
                writeln!(self.text, "{name} {value}")
            } else {
                writeln!(self.text, "{name}{{{labels}}} {value}")
            };
        }
    }

    /// A distribution in buckets, zeros where there is no value yet: a series that appears with its first value has not
    /// risen by it, and `increase` would miss the first repair.
    fn histogram(&mut self, name: &str, help: &str, values: &Distribution) {
        self.head(name, "histogram", help);
        for (bound, within) in values.buckets() {
            self.count(&format!("{name}_bucket{{le=\"{bound}\"}}"), within as f64);
        }
        let all = values.all() as f64;
        self.count(&format!("{name}_bucket{{le=\"+Inf\"}}"), all);
        self.count(&format!("{name}_sum"), values.sum());
        self.count(&format!("{name}_count"), all);
    }
}

/// As a label's value in the text format.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
