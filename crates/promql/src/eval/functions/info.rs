//! `info`: adds the labels of info series, such as `target_info`, to the series they describe.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::error::Fault;
use crate::eval::Query;
use crate::eval::grid::{Grid, Shift};
use crate::eval::rows::{Row, merged};
use crate::eval::selector::{Apart, Latest};
use crate::labels::is_metadata;
use crate::parse::ast::{Call, Expr, Kind, Subquery, Type};
use crate::parse::children;
use crate::{CompiledMatcher, Labels, METRIC_NAME, MatchOp, Matcher, Select, StartedSeries, Value};

/// What a series and the info series that describe it have in common.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// An info series, with the time of its sample at each time of evaluation.
struct InfoSeries {
    labels: Labels,
    sampled: Vec<Option<i64>>,
}

/// Which info series, and which of their labels.
struct Wanted {
    names: Vec<Matcher>,
    data: Vec<Matcher>,
}

impl Query<'_> {
    pub(in crate::eval) fn info_labels(
        &self,
        call: &Call,
        expr: &Expr,
        grid: Grid,
    ) -> Result<Vec<Row>, Fault> {
        let at = expr.place.start;
        let shift = self.info_shift(&call.args[0])?;
        let rows = self.eval(&call.args[0], grid)?.vector();
        let wanted = Wanted::of(call.args.get(1));
        let names = compiled(&wanted.names, at)?;
        // Info series themselves stay as they are.
        let plain: Vec<bool> = rows
            .iter()
            .map(|row| names.iter().all(|name| name.matches(row.labels.get(METRIC_NAME))))
            .collect();
        let infos = self.info_series(&rows, &plain, &wanted, shift, grid, at)?;
        self.described(rows, &plain, &infos, &wanted, grid, at)
    }

    /// Where info series are looked at: where the only selectors are that are looked at, or at the time of evaluation.
    fn info_shift(&self, argument: &Expr) -> Result<Shift, Fault> {
        let mut found = Found { first: None, uniform: true };
        self.references(argument, &mut Vec::new(), &mut found)?;
        let here = Shift::new(None, 0);
        Ok(found.first.filter(|_| found.uniform).map_or(here, |(pinned, offset)| Shift::new(pinned, offset)))
    }

    /// Whether there is a selector in it.
    fn references<'e>(
        &self,
        expr: &'e Expr,
        path: &mut Vec<&'e Subquery>,
        found: &mut Found,
    ) -> Result<bool, Fault> {
        if !matches!(expr.kind_of_value(), Type::Vector | Type::Matrix) {
            return Ok(false);
        }
        let selector = match &expr.kind {
            Kind::Selector(selector) => Some(selector),
            Kind::Matrix(matrix) => Some(&matrix.selector),
            _ => None,
        };
        if let Some(selector) = selector {
            let (mut pinned, mut offset) = self.shift(selector.pin, selector.offset.as_ref())?.parts();
            for subquery in path.iter().rev() {
                if pinned.is_none() {
                    let (outer, more) = self.shift(subquery.pin, subquery.offset.as_ref())?.parts();
                    pinned = outer;
                    offset = offset.saturating_add(more);
                }
            }
            found.add((pinned, offset));
            return Ok(true);
        }
        if let Kind::Subquery(subquery) = &expr.kind {
            path.push(subquery);
        }
        let inner = match &expr.kind {
            Kind::Call(call) if call.function.name == "info" => vec![&call.args[0]],
            _ => children(expr),
        };
        let mut any = false;
        for child in inner {
            any |= self.references(child, path, found)?;
        }
        if matches!(expr.kind, Kind::Subquery(_)) {
            path.pop();
        }
        // A vector without a selector is of the time of evaluation.
        found.uniform &= any;
        Ok(any)
    }

    fn info_series(
        &self,
        rows: &[Row],
        plain: &[bool],
        wanted: &Wanted,
        shift: Shift,
        grid: Grid,
        at: usize,
    ) -> Result<Vec<InfoSeries>, Fault> {
        let described = rows.iter().zip(plain).filter(|(_, plain)| !**plain).map(|(row, _)| &row.labels);
        let (first, last) = shift.bounds(grid);
        let lookback = self.options.lookback_ms;
        let mut infos = Vec::new();
        for identifying in identifying_matchers(described) {
            let matchers =
                identifying.into_iter().chain(wanted.data.clone()).chain(wanted.names.clone()).collect();
            let select = Select {
                matchers,
                from_ms: first.saturating_sub(lookback).saturating_add(1),
                to_ms: last,
                step_ms: Apart::Last.step(grid, lookback),
            };
            for StartedSeries { series, .. } in self.select(&select, at)? {
                let mut latest = Latest::new(&series.samples, lookback);
                let mut sampled = Vec::with_capacity(grid.steps());
                for time in grid.times() {
                    let sample = latest.at(shift.of(time)).map(|(_, sample)| sample);
                    if matches!(sample.map(|sample| &sample.value), Some(Value::Histogram(_))) {
                        let shown = series.labels.shown();
                        let message = format!("this should be an info metric, with float samples: {shown}");
                        return Err(Fault::execution(at, message));
                    }
                    sampled.push(sample.map(|sample| sample.at_ms));
                }
                if sampled.iter().any(Option::is_some) {
                    infos.push(InfoSeries { labels: series.labels, sampled });
                }
            }
        }
        Ok(infos)
    }

    fn described(
        &self,
        rows: Vec<Row>,
        plain: &[bool],
        infos: &[InfoSeries],
        wanted: &Wanted,
        grid: Grid,
        at: usize,
    ) -> Result<Vec<Row>, Fault> {
        let data = compiled(&wanted.data, at)?;
        let only: Vec<&str> = wanted.data.iter().map(|matcher| &*matcher.name).collect();
        let without_info = data.iter().all(|matcher| matcher.matches(""));
        let identity = |labels: &Labels| labels.filtered(|name| IDENTIFYING.contains(&name));
        // By what they describe, and by their own name.
        let mut by_identity: HashMap<Labels, BTreeMap<&str, Vec<usize>>> = HashMap::new();
        for (place, info) in infos.iter().enumerate() {
            let names = by_identity.entry(identity(&info.labels)).or_default();
            names.entry(info.labels.get(METRIC_NAME)).or_default().push(place);
        }
        let none = BTreeMap::new();
        let mut out: Vec<Row> = Vec::with_capacity(rows.len());
        for (row, plain) in rows.into_iter().zip(plain) {
            if *plain {
                out.push(row);
                continue;
            }
            self.go_on(at)?;
            let candidates = by_identity.get(&identity(&row.labels)).unwrap_or(&none);
            let mut known: HashMap<Vec<usize>, usize> = HashMap::new();
            for (step, point) in row.points.iter().enumerate().filter(|(_, point)| point.is_some()) {
                let mut chosen = Vec::with_capacity(candidates.len());
                for places in candidates.values() {
                    chosen.extend(newest(infos, places, step, at)?);
                }
                if chosen.is_empty() && !without_info {
                    continue;
                }
                let place = match known.get(&chosen) {
                    Some(place) => *place,
                    None => {
                        let labels = with_info(
                            &row.labels,
                            chosen.iter().map(|info| &infos[*info].labels),
                            &only,
                            at,
                        )?;
                        out.push(Row { labels, drop_name: row.drop_name, points: vec![None; grid.steps()] });
                        known.insert(chosen, out.len() - 1);
                        out.len() - 1
                    }
                };
                out[place].points[step].clone_from(point);
            }
        }
        merged(out, at)
    }
}

/// The references of the selectors of an expression.
struct Found {
    first: Option<(Option<i64>, i64)>,
    uniform: bool,
}

impl Found {
    fn add(&mut self, reference: (Option<i64>, i64)) {
        let Some(first) = self.first else {
            self.first = Some(reference);
            return;
        };
        self.uniform &= match (first.0, reference.0) {
            (None, None) => first.1 == reference.1,
            (Some(a), Some(b)) => a.saturating_sub(first.1) == b.saturating_sub(reference.1),
            _ => false,
        };
    }
}

impl Wanted {
    fn of(selector: Option<&Expr>) -> Self {
        let matchers = match selector.map(|expr| &expr.bare().kind) {
            Some(Kind::Selector(selector)) => selector.matchers.clone(),
            _ => Vec::new(),
        };
        let (mut names, data): (Vec<Matcher>, Vec<Matcher>) =
            matchers.into_iter().partition(|matcher| &*matcher.name == METRIC_NAME);
        let named = |op, value: &str| Matcher { name: METRIC_NAME.into(), op, value: value.into() };
        if names.is_empty() {
            names.push(named(MatchOp::Equal, "target_info"));
        } else if !names.iter().any(|matcher| matches!(matcher.op, MatchOp::Equal | MatchOp::Matches)) {
            // It is only said what they are not.
            names.insert(0, named(MatchOp::Matches, ".+_info"));
        }
        Self { names, data }
    }
}

fn compiled(matchers: &[Matcher], at: usize) -> Result<Vec<CompiledMatcher>, Fault> {
    let compiled = matchers.iter().map(|matcher| matcher.compiled());
    compiled.collect::<Result<_, _>>().map_err(|error| Fault::execution(at, error.to_string()))
}

/// One set of matchers for each combination of identifying labels that series have.
fn identifying_matchers<'l>(all: impl Iterator<Item = &'l Labels>) -> Vec<Vec<Matcher>> {
    let mut groups: BTreeMap<[bool; 2], [BTreeSet<&str>; 2]> = BTreeMap::new();
    for labels in all {
        let values = IDENTIFYING.map(|name| labels.get(name));
        let present = values.map(|value| !value.is_empty());
        if present == [false; 2] {
            continue;
        }
        let group = groups.entry(present).or_default();
        for (known, value) in group.iter_mut().zip(values) {
            known.insert(value);
        }
    }
    let matcher = |(name, values): (&str, BTreeSet<&str>)| {
        let (op, value) = match values.first() {
            Some(value) if values.len() == 1 => (MatchOp::Equal, (*value).to_string()),
            _ => (MatchOp::Matches, values.into_iter().map(regex::escape).collect::<Vec<_>>().join("|")),
        };
        Matcher { name: name.into(), op, value: value.into() }
    };
    groups.into_values().map(|values| IDENTIFYING.into_iter().zip(values).map(matcher).collect()).collect()
}

/// Of info series with the same name that describe the same, the one with the newest sample.
fn newest(infos: &[InfoSeries], places: &[usize], step: usize, at: usize) -> Result<Option<usize>, Fault> {
    let mut best: Option<(i64, usize)> = None;
    for place in places {
        let Some(time) = infos[*place].sampled[step] else { continue };
        match best {
            Some((known, other)) if known == time => {
                let (a, b) = (infos[other].labels.shown(), infos[*place].labels.shown());
                let message = format!(
                    "found duplicate series for info metric: existing {a} @ {known}, new {b} @ {time}"
                );
                return Err(Fault::execution(at, message));
            }
            Some((known, _)) if known > time => {}
            _ => best = Some((time, *place)),
        }
    }
    Ok(best.map(|(_, place)| place))
}

fn with_info<'l>(
    base: &Labels,
    infos: impl Iterator<Item = &'l Labels>,
    only: &[&str],
    at: usize,
) -> Result<Labels, Fault> {
    let mut added = Labels::default();
    for (name, value) in infos.flat_map(Labels::iter) {
        if is_metadata(name) || (!only.is_empty() && !only.contains(&name)) {
            continue;
        }
        let known = added.get(name);
        if !known.is_empty() && known != value {
            return Err(Fault::execution(at, format!("conflicting label: {name}")));
        }
        if base.get(name).is_empty() {
            added = added.with(name, value);
        }
    }
    Ok(Labels::new(base.iter().chain(added.iter())))
}
