//! What there is: series, labels, their values, metadata, exemplars; and which Prometheus this is.

use std::collections::{BTreeMap, BTreeSet};

use metrics::{Exemplar, Kind};
use promql::{Labels, Matcher};
use serde_json::json;

use super::answer::{self, Item, cut, whole, write_labels};
use super::number::{write_time, write_value};
use super::parameter::{self, label_name};
use super::refused::Refused;
use super::{Answer, Asked, SPOKEN_VERSION};

/// `GET` and `POST /api/v1/series`
pub(crate) fn series(asked: &Asked<'_>) -> Answer {
    let metrics = asked.metrics()?;
    let selectors = parameter::selectors(&asked.form)?;
    if selectors.is_empty() {
        return Err(Refused::bad_data("no match[] parameter provided"));
    }
    let limit = parameter::limit(&asked.form, "limit")?;
    let (from_ms, to_ms) = parameter::between(&asked.form)?;
    let mut found: Vec<Labels> = Vec::new();
    for matchers in &selectors {
        found.extend(metrics.series(matchers, from_ms, to_ms)?);
    }
    found.sort_unstable();
    found.dedup();
    let warnings = cut(&mut found, limit);
    Ok(answer::list(found, &warnings))
}

/// `GET` and `POST /api/v1/labels`
pub(crate) fn labels(asked: &Asked<'_>) -> Answer {
    let metrics = asked.metrics()?;
    let (from_ms, to_ms) = parameter::between(&asked.form)?;
    texts(asked, |matchers| Ok(metrics.label_names(matchers, from_ms, to_ms)?))
}

/// `GET` and `POST /api/v1/label/{name}/values`
pub(crate) fn label_values(asked: &Asked<'_>) -> Answer {
    let metrics = asked.metrics()?;
    let name = label_name(asked.name);
    if name.is_empty() {
        return Err(Refused::bad_data(format!("invalid label name: {:?}", asked.name)));
    }
    let (from_ms, to_ms) = parameter::between(&asked.form)?;
    texts(asked, |matchers| Ok(metrics.label_values(&name, matchers, from_ms, to_ms)?))
}

/// What is found by any of the selectors, each text once, sorted.
fn texts(asked: &Asked<'_>, find: impl Fn(&[Matcher]) -> Result<Vec<String>, Refused>) -> Answer {
    let selectors = parameter::selectors(&asked.form)?;
    let limit = parameter::limit(&asked.form, "limit")?;
    let mut found = match selectors.as_slice() {
        [] => find(&[])?,
        [one] => find(one)?,
        all => {
            let mut found = BTreeSet::new();
            for matchers in all {
                found.extend(find(matchers)?);
            }
            found.into_iter().collect()
        }
    };
    let warnings = cut(&mut found, limit);
    Ok(whole(json!(found), &warnings))
}

/// `GET /api/v1/metadata`
pub(crate) fn metadata(asked: &Asked<'_>) -> Answer {
    let metrics = asked.metrics()?;
    let limit = parameter::limit(&asked.form, "limit")?;
    // Of a metric one thing is known here.
    parameter::limit(&asked.form, "limit_per_metric")?;
    let mut known = metrics.metadata(asked.form.text("metric"));
    known.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    known.truncate(limit.unwrap_or(usize::MAX));
    let data: BTreeMap<String, serde_json::Value> = known
        .into_iter()
        .map(|(name, known)| {
            let entry = json!({"type": word(known.kind), "help": known.help, "unit": known.unit});
            (name, json!([entry]))
        })
        .collect();
    Ok(whole(json!(data), &[]))
}

/// The kinds of metrics as Prometheus calls them.
pub(crate) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Unknown => "unknown",
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
        Kind::GaugeHistogram => "gaugehistogram",
        Kind::Summary => "summary",
        Kind::Info => "info",
        Kind::StateSet => "stateset",
    }
}

/// `GET` and `POST /api/v1/query_exemplars`
pub(crate) fn exemplars(asked: &Asked<'_>) -> Answer {
    let metrics = asked.metrics()?;
    let (from_ms, to_ms) = parameter::between(&asked.form)?;
    let text = asked.form.text("query").unwrap_or_default();
    let expression = asked.engine()?.parse(text).map_err(|error| Refused::expression("query", &error))?;
    let mut found: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
    for matchers in expression.selectors() {
        // The same series by another selector has the same exemplars.
        found.extend(metrics.exemplars(matchers, from_ms, to_ms)?);
    }
    Ok(answer::list(found.into_iter().map(|(series, exemplars)| Marked { series, exemplars }).collect(), &[]))
}

/// A series with its exemplars.
struct Marked {
    series: Labels,
    exemplars: Vec<Exemplar>,
}

impl Item for Marked {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"seriesLabels\":");
        write_labels(&self.series, out);
        out.extend_from_slice(b",\"exemplars\":[");
        for (at, exemplar) in self.exemplars.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"{\"labels\":" } else { b",{\"labels\":" });
            write_labels(&exemplar.labels, out);
            out.extend_from_slice(b",\"value\":");
            write_value(exemplar.value, out);
            out.extend_from_slice(b",\"timestamp\":");
            write_time(exemplar.at_ms, out);
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
    }
}

/// `GET /api/v1/status/buildinfo`: the Prometheus whose language is spoken, and who speaks it.
pub(crate) fn build(_: &Asked<'_>) -> Answer {
    let own = concat!("homeostat ", env!("CARGO_PKG_VERSION"));
    Ok(whole(
        json!({
            "version": SPOKEN_VERSION, "revision": own, "branch": "", "buildUser": "", "buildDate": "",
            "goVersion": "",
        }),
        &[],
    ))
}
