//! The series of a script, as Prometheus' storage would answer them.

use std::collections::BTreeMap;
use std::sync::Arc;

use promql::{
    Buckets, CUSTOM_SCHEMA, CounterReset, Histogram, Labels, METRIC_NAME, Sample, Select, Series, Source,
    SourceError, Span, StartedSeries, Value,
};

use crate::script::Load;
use crate::sequence::Item;

/// Samples by time, each with the time its counter began.
type Samples = BTreeMap<i64, (Value, i64)>;

#[derive(Default)]
pub(crate) struct Memory {
    series: BTreeMap<Labels, Samples>,
}

impl Memory {
    pub(crate) fn load(&mut self, load: Load) {
        let mut classic: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
        for loaded in &load.series {
            if load.with_nhcb {
                collect_classic(&loaded.labels, &loaded.items, load.step_ms, &mut classic);
            }
            let samples = self.series.entry(loaded.labels.clone()).or_default();
            for (at, item) in loaded.items.iter().enumerate() {
                let time = at as i64 * load.step_ms;
                let start = loaded.starts_ms.get(at).copied().flatten().map_or(0, |start| time + start);
                if let Some(value) = &item.value {
                    samples.insert(time, (value.clone(), start));
                }
            }
        }
        for (labels, histograms) in classic {
            let samples = self.series.entry(labels).or_default();
            samples.extend(
                histograms.into_iter().map(|(time, h)| (time, (Value::Histogram(h.native().into()), 0))),
            );
        }
    }
}

impl Source for Memory {
    fn select(&self, select: &Select) -> Result<Vec<Series>, SourceError> {
        Ok(self.select_started(select)?.into_iter().map(|started| started.series).collect())
    }

    fn select_started(&self, select: &Select) -> Result<Vec<StartedSeries>, SourceError> {
        let matchers: Vec<_> = select
            .matchers
            .iter()
            .map(|matcher| matcher.compiled().expect("checked while parsing"))
            .collect();
        let mut found = Vec::new();
        for (labels, samples) in &self.series {
            if !matchers.iter().all(|matcher| matcher.matches_labels(labels)) {
                continue;
            }
            let hinted = hinted(samples);
            let wanted =
                hinted.iter().filter(|(sample, _)| (select.from_ms..=select.to_ms).contains(&sample.at_ms));
            let (samples, starts_ms): (Vec<Sample>, Vec<i64>) = wanted.cloned().unzip();
            if !samples.is_empty() {
                found.push(StartedSeries { series: Series { labels: labels.clone(), samples }, starts_ms });
            }
        }
        Ok(found)
    }
}

/// What Prometheus' storage knows of resets when it is read. Histograms are stored in chunks that have no reset inside, so
/// all but the first of a chunk are known not to be after one; of the first nothing is known.
fn hinted(samples: &Samples) -> Vec<(Sample, i64)> {
    let mut before: Option<Arc<Histogram>> = None;
    samples
        .iter()
        .map(|(at, (value, start))| {
            let value = match value {
                Value::Float(_) => {
                    before = None;
                    value.clone()
                }
                Value::Histogram(h) => {
                    let reset = match (h.reset, &before) {
                        (CounterReset::Gauge, _) => CounterReset::Gauge,
                        (CounterReset::Reset, _) | (_, None) => CounterReset::Unknown,
                        (_, Some(before)) if starts_chunk(h, before) => CounterReset::Unknown,
                        _ => CounterReset::NotReset,
                    };
                    before = (!h.is_stale()).then(|| Arc::clone(h));
                    Value::Histogram(Arc::new(Histogram { reset, ..(**h).clone() }))
                }
            };
            (Sample { at_ms: *at, value }, *start)
        })
        .collect()
}

fn starts_chunk(h: &Histogram, before: &Histogram) -> bool {
    let plain = |h: &Histogram| Histogram { reset: CounterReset::Unknown, ..h.clone() };
    before.reset == CounterReset::Gauge
        || h.schema != before.schema
        || h.zero_threshold != before.zero_threshold
        || h.custom_values != before.custom_values
        || plain(h).is_reset_after(&plain(before))
}

/// A classic histogram at one time.
#[derive(Default)]
struct Classic {
    /// Cumulative counts by upper boundary.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

fn collect_classic(
    labels: &Labels,
    items: &[Item],
    step_ms: i64,
    classic: &mut BTreeMap<Labels, BTreeMap<i64, Classic>>,
) {
    let name = labels.get(METRIC_NAME);
    let Some((base, part)) =
        ["_bucket", "_sum", "_count"].iter().find_map(|part| Some((name.strip_suffix(part)?, *part)))
    else {
        return;
    };
    let le = labels.get("le").parse::<f64>().ok().filter(|le| !le.is_nan());
    if part == "_bucket" && le.is_none() {
        return;
    }
    let pairs = labels.iter().filter(|(name, _)| *name != "le").map(|(key, value)| {
        (key.to_string(), if key == METRIC_NAME { base.to_string() } else { value.to_string() })
    });
    let histograms = classic.entry(Labels::new(pairs)).or_default();
    for (at, item) in items.iter().enumerate() {
        let Some(Value::Float(value)) = item.value else { continue };
        let histogram = histograms.entry(at as i64 * step_ms).or_default();
        match part {
            "_bucket" => histogram.buckets.push((le.expect("checked"), value)),
            "_sum" => histogram.sum = value,
            _ => histogram.count = Some(value),
        }
    }
}

impl Classic {
    fn native(mut self) -> Histogram {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by(|a, b| a.0 == b.0);
        let count = self.count.or(self.buckets.last().map(|(_, count)| *count)).unwrap_or(0.0);
        if self.buckets.last().is_none_or(|(le, _)| *le != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        let mut below = 0.0;
        let mut counts = Vec::new();
        for (_, cumulative) in &self.buckets {
            counts.push(cumulative - below);
            below = *cumulative;
        }
        let bounds: Vec<f64> = self.buckets.iter().map(|(le, _)| *le).filter(|le| le.is_finite()).collect();
        Histogram {
            schema: CUSTOM_SCHEMA,
            zero_threshold: 0.0,
            zero_count: 0.0,
            count,
            sum: self.sum,
            positive: Buckets { spans: vec![Span { offset: 0, length: counts.len() as u32 }], counts },
            negative: Buckets::default(),
            custom_values: bounds.into(),
            reset: CounterReset::Unknown,
        }
    }
}
