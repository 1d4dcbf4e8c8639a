//! Functions of histograms, native ones and classic ones, which are a series for each bucket.

mod classic;

use std::collections::HashMap;

use classic::{Bucket, Forced};

use crate::annotations::{Monotonicity, of_metric};
use crate::error::Fault;
use crate::eval::Query;
use crate::eval::grid::Grid;
use crate::eval::rows::{Row, float};
use crate::go::General;
use crate::histogram::{self, Observed};
use crate::parse::ast::{Call, Expr};
use crate::{Histogram, Labels, METRIC_NAME, MetricNames, Value};

pub(in crate::eval) fn simple(name: &str) -> Option<fn(&Histogram) -> f64> {
    Some(match name {
        "histogram_avg" => |h| h.sum / h.count,
        "histogram_count" => |h| h.count,
        "histogram_sum" => |h| h.sum,
        "histogram_stddev" => |h| h.variance().sqrt(),
        "histogram_stdvar" => Histogram::variance,
        _ => return None,
    })
}

/// What is asked of the buckets at one time.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Quantile(f64),
    Fraction(f64, f64),
}

/// `histogram_quantile`, `histogram_fraction` and `histogram_quantiles`.
pub(in crate::eval) fn of_buckets(
    query: &Query<'_>,
    call: &Call,
    expr: &Expr,
    grid: Grid,
) -> Result<Vec<Row>, Fault> {
    let args = &call.args;
    match call.function.name {
        "histogram_quantile" => {
            let asked = quantiles(query, &args[0], grid)?;
            let histograms = Histograms::of(query, &args[1], grid)?;
            Ok(histograms.rows(&asked, grid, |_, labels| labels.clone()))
        }
        "histogram_fraction" => {
            let lower = query.eval(&args[0], grid)?.scalar();
            let upper = query.eval(&args[1], grid)?.scalar();
            let asked: Vec<Asked> =
                lower.into_iter().zip(upper).map(|(l, u)| Asked::Fraction(l, u)).collect();
            let histograms = Histograms::of(query, &args[2], grid)?;
            Ok(histograms.rows(&asked, grid, |_, labels| labels.clone()))
        }
        _ => {
            let label = query.text(&args[1]).unwrap_or_default();
            if label.is_empty() {
                return Err(Fault::execution(
                    args[1].place.start,
                    "invalid label name in histogram_quantiles()",
                ));
            }
            let mut asked = Vec::new();
            for arg in &args[2..] {
                asked.push(quantiles(query, arg, grid)?);
            }
            let histograms = Histograms::of(query, &args[0], grid)?;
            query.may_hold(histograms.len() * asked.len(), grid, expr.place.start)?;
            let named = |asked: Asked, labels: &Labels| match asked {
                Asked::Quantile(q) => labels.with(label, &quantile_label(q)),
                Asked::Fraction(..) => labels.clone(),
            };
            Ok(asked.iter().flat_map(|asked| histograms.rows(asked, grid, named)).collect())
        }
    }
}

fn quantiles(query: &Query<'_>, arg: &Expr, grid: Grid) -> Result<Vec<Asked>, Fault> {
    let values = query.eval(arg, grid)?.scalar();
    for q in values.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
        query.warn(arg.place.start, format!("quantile value should be between 0 and 1, got {}", General(*q)));
    }
    Ok(values.into_iter().map(Asked::Quantile).collect())
}

/// As OpenMetrics writes it: `1.0`, `0.99`.
fn quantile_label(q: f64) -> String {
    let shown = General(q).to_string();
    if q.is_finite() && !shown.contains(['.', 'e']) { format!("{shown}.0") } else { shown }
}

/// The histograms of a vector.
struct Histograms<'q> {
    query: &'q Query<'q>,
    place: usize,
    rows: Vec<Row>,
    classic: Vec<Classic>,
    native: Vec<Native>,
    /// Rows that have numbers but no bucket's boundary.
    malformed: Vec<usize>,
}

/// A classic histogram.
struct Classic {
    /// Without `le`.
    labels: Labels,
    /// Upper boundary and row of each bucket.
    buckets: Vec<(f64, usize)>,
}

struct Native {
    row: usize,
    /// The classic histogram with the same labels: where both have a value, neither counts.
    classic: Option<usize>,
}

impl<'q> Histograms<'q> {
    fn of(query: &'q Query<'q>, arg: &Expr, grid: Grid) -> Result<Self, Fault> {
        let rows = query.eval(arg, grid)?.vector();
        let mut known: HashMap<Labels, usize> = HashMap::new();
        let mut all = Self {
            query,
            place: arg.bare().place.start,
            rows: Vec::new(),
            classic: Vec::new(),
            native: Vec::new(),
            malformed: Vec::new(),
        };
        for (at, row) in rows.iter().enumerate() {
            if !row.points.iter().any(|point| float(point).is_some()) {
                continue;
            }
            match row.labels.get("le").parse::<f64>() {
                Ok(upper) if !upper.is_nan() => {
                    let labels = row.labels.filtered(|name| name != "le");
                    let group = *known.entry(labels.clone()).or_insert_with(|| {
                        all.classic.push(Classic { labels, buckets: Vec::new() });
                        all.classic.len() - 1
                    });
                    all.classic[group].buckets.push((upper, at));
                }
                _ => all.malformed.push(at),
            }
        }
        for (at, row) in rows.iter().enumerate() {
            if row.points.iter().any(|point| matches!(point, Some(Value::Histogram(_)))) {
                all.native.push(Native { row: at, classic: known.get(&row.labels).copied() });
            }
        }
        all.rows = rows;
        Ok(all)
    }

    fn len(&self) -> usize {
        self.native.len() + self.classic.len()
    }

    /// The metric's name in annotations: known where names are removed last only.
    fn metric<'l>(&self, labels: &'l Labels) -> &'l str {
        match self.query.options.metric_names {
            MetricNames::RemovedLast => labels.get(METRIC_NAME),
            MetricNames::RemovedAtOnce => "",
        }
    }

    fn rows(&self, asked: &[Asked], grid: Grid, named: impl Fn(Asked, &Labels) -> Labels) -> Vec<Row> {
        let mut out = Out { rows: Vec::new(), places: HashMap::new(), steps: grid.steps() };
        let mut buckets = Vec::new();
        for (step, (asked, time)) in asked.iter().zip(grid.times()).enumerate() {
            self.note_malformed(step);
            let has_buckets = |group: &Classic| {
                group.buckets.iter().any(|(_, row)| float(&self.rows[*row].points[step]).is_some())
            };
            let mut conflicts = Vec::new();
            for native in &self.native {
                let row = &self.rows[native.row];
                let Some(Value::Histogram(h)) = &row.points[step] else { continue };
                if let Some(group) = native.classic.filter(|group| has_buckets(&self.classic[*group])) {
                    conflicts.push(group);
                    let text = "vector contains a mix of classic and native histograms";
                    self.query.warn(self.place, of_metric(text, self.metric(&row.labels)));
                    continue;
                }
                let value = self.of_native(*asked, h, &row.labels);
                out.put((0, native.row), step, named(*asked, &row.labels), value);
            }
            for (at, group) in self.classic.iter().enumerate() {
                if conflicts.contains(&at) {
                    continue;
                }
                buckets.clear();
                buckets.extend(group.buckets.iter().filter_map(|(upper, row)| {
                    Some(Bucket { upper: *upper, count: float(&self.rows[*row].points[step])? })
                }));
                if !buckets.is_empty() {
                    let value = self.of_classic(*asked, &mut buckets, &group.labels, time);
                    out.put((1, at), step, named(*asked, &group.labels), value);
                }
            }
        }
        let mut rows = out.rows;
        rows.iter_mut().for_each(|row| self.query.unname(row));
        rows
    }

    fn note_malformed(&self, step: usize) {
        for row in self.malformed.iter().map(|at| &self.rows[*at]) {
            if float(&row.points[step]).is_some() {
                let text = format!(
                    "bucket label \"le\" is missing or has a malformed value of {:?}",
                    row.labels.get("le")
                );
                self.query.warn(self.place, of_metric(&text, self.metric(&row.labels)));
            }
        }
    }

    fn of_native(&self, asked: Asked, h: &Histogram, labels: &Labels) -> f64 {
        let metric = self.metric(labels);
        let (value, text) = match asked {
            Asked::Quantile(q) => {
                let (value, observed) = histogram::quantile(q, h);
                let text = match observed {
                    Observed::Numbers => None,
                    Observed::SkewedByNan => {
                        Some("input to histogram_quantile has NaN observations, result is skewed higher")
                    }
                    Observed::Nan => Some("input to histogram_quantile has NaN observations, result is NaN"),
                };
                (value, text)
            }
            Asked::Fraction(lower, upper) => {
                let (value, observed) = histogram::fraction(lower, upper, h);
                let text =
                    "input to histogram_fraction has NaN observations, which are excluded from all fractions";
                (value, (observed != Observed::Numbers).then_some(text))
            }
        };
        if let Some(text) = text {
            self.query.info(self.place, of_metric(text, metric));
        }
        value
    }

    fn of_classic(&self, asked: Asked, buckets: &mut Vec<Bucket>, labels: &Labels, time: i64) -> f64 {
        match asked {
            Asked::Fraction(lower, upper) => classic::fraction(lower, upper, buckets),
            Asked::Quantile(q) => {
                let (value, forced) = classic::quantile(q, buckets);
                if let Some(Forced { bucket_min, bucket_max, difference_max }) = forced {
                    let forced = Monotonicity {
                        bucket_min,
                        bucket_max,
                        difference_max,
                        samples: 1,
                        from_ms: time,
                        to_ms: time,
                    };
                    self.query.notes.borrow_mut().monotonicity(self.place, self.metric(labels), forced);
                }
                value
            }
        }
    }
}

/// Rows that grow by one value at a time.
struct Out {
    rows: Vec<Row>,
    /// By where the value comes from, and by the labels it gets, which may change from one time to the next.
    places: HashMap<((u8, usize), Labels), usize>,
    steps: usize,
}

impl Out {
    fn put(&mut self, from: (u8, usize), step: usize, labels: Labels, value: f64) {
        let at = *self.places.entry((from, labels.clone())).or_insert_with(|| {
            self.rows.push(Row { labels, drop_name: true, points: vec![None; self.steps] });
            self.rows.len() - 1
        });
        self.rows[at].points[step] = Some(Value::Float(value));
    }
}
