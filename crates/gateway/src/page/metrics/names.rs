//! What there is to ask for: the names of metrics, with what their senders say of them.
//!
//! In: names that have series in a range of time. Out: a list; how to send series where there is nothing.

use std::collections::BTreeMap;

use maud::html;
use metrics::{Kind, Metadata, Metrics};
use promql::METRIC_NAME;
use serde_json::json;

use super::{Window, how_to_send};
use crate::body::{Query, encode};
use crate::page::list::{Column, Filter, List, Listed, Source};
use crate::page::traces::range::Range;
use crate::page::view::View;
use crate::problem::{Problem, chain};
use crate::prometheus;
use crate::serve::App;

/// A metric.
pub(in crate::page) struct Named {
    name: String,
    /// What is known of it, or of the histogram or summary that its series belong to.
    known: Option<Metadata>,
}

const KINDS: [Kind; 8] = [
    Kind::Counter,
    Kind::Gauge,
    Kind::Histogram,
    Kind::GaugeHistogram,
    Kind::Summary,
    Kind::Info,
    Kind::StateSet,
    Kind::Unknown,
];

/// The metrics of the range in an address, for a file.
pub(in crate::page) fn listed<'a>(
    app: &'a App,
    view: &View,
    query: &Query,
) -> Result<Listed<'a, Named>, Problem> {
    let none = || Problem::field("format", "series are not kept here; there are none to export");
    let metrics = app.metrics.as_ref().ok_or_else(none)?;
    if query.text("query").is_some() {
        let detail = "the values of an expression are no list; leave `format` out, or ask GET /api/v1/query_range for them";
        return Err(Problem::field("format", detail));
    }
    let range = Range::read(view, query)?;
    let window = Window::read(query, &range)?;
    found(app, metrics, &window, &range)
}

/// The metrics that have series in a range.
pub(super) fn found<'a>(
    app: &App,
    metrics: &Metrics,
    window: &Window,
    range: &Range,
) -> Result<Listed<'a, Named>, Problem> {
    let names = metrics.label_values(METRIC_NAME, &[], window.from_ms, i64::MAX).map_err(|error| {
        Problem::internal(format!("the series could not be looked through: {}", chain(&error)))
    })?;
    let known: BTreeMap<String, Metadata> = metrics.metadata(None).into_iter().collect();
    let of = |name: &str| {
        // Of a histogram's or a summary's series the family is known.
        let family = || ["_bucket", "_count", "_sum"].iter().find_map(|part| name.strip_suffix(part));
        known.get(name).or_else(|| known.get(family()?)).cloned()
    };
    let rows = names.into_iter().map(|name| Named { known: of(&name), name }).collect();
    Ok(Listed { list: list_of(app, range), source: Source::Whole(rows) })
}

fn list_of<'a>(app: &App, range: &Range) -> List<'a, Named> {
    let kinds = KINDS.map(|kind| (prometheus::word(kind), prometheus::word(kind)));
    let by_kind = Filter::choice("kind", "Kind", kinds)
        .keeping(|named: &Named, wanted| prometheus::word(kind(named)) == wanted);
    let elsewhere = ["query", "within", "from", "to", "step"].map(Filter::elsewhere);
    let range = range.address();
    List {
        address: "/metrics-explorer",
        nouns: ("metric", "metrics"),
        columns: vec![
            Column::new("metric", "Metric", |named: &Named| json!(named.name))
                .class("name mono")
                .shown(move |named| {
                    html! { a href={ "/metrics-explorer?query=" (encode(&named.name)) "&" (range) } { (named.name) } }
                })
                .sorted(),
            Column::new("kind", "Kind", |named: &Named| json!(prometheus::word(kind(named)))).sorted(),
            Column::new("help", "What it is", |named: &Named| json!(said(named, |known| &known.help)))
                .class("wide"),
            Column::unseen("unit", |named: &Named| json!(said(named, |known| &known.unit))),
        ],
        filters: [by_kind].into_iter().chain(elsewhere).collect(),
        key: Box::new(|named| named.name.clone()),
        empty: how_to_send(app),
    }
}

fn kind(named: &Named) -> Kind {
    named.known.as_ref().map_or(Kind::Unknown, |known| known.kind)
}

/// What the sender says, where it says something.
fn said(named: &Named, what: fn(&Metadata) -> &String) -> Option<&str> {
    named.known.as_ref().map(|known| what(known).as_str()).filter(|text| !text.is_empty())
}
