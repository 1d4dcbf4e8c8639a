//! Sums of histograms.
//!
//! Histograms that differ in their buckets are brought to common ones first: the coarser schema, the larger zero bucket,
//! the custom boundaries that both have.

use std::sync::Arc;

use super::bounds::{bound, coarser};
use super::{Buckets, CUSTOM_SCHEMA, CounterReset, Histogram};
use crate::kahan::Kahan;

/// Exponential and custom buckets cannot be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MixedSchemas;

/// What happened on the way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Added {
    /// One says that its counter was reset, the other that it was not.
    pub(crate) resets_collided: bool,
    /// Custom boundaries that only one has are gone.
    pub(crate) bounds_reconciled: bool,
}

/// Whether what rounding loses is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    Plain,
    Kahan,
}

/// A histogram that others are added to.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    schema: i8,
    zero_threshold: f64,
    zero_count: Kahan,
    count: Kahan,
    sum: Kahan,
    positive: Vec<Cell>,
    negative: Vec<Cell>,
    custom_values: Arc<[f64]>,
    pub(crate) reset: CounterReset,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Cell {
    index: i64,
    value: Kahan,
}

fn cells(buckets: &Buckets) -> Vec<Cell> {
    buckets.iter().map(|(index, count)| Cell { index, value: Kahan::of(count) }).collect()
}

impl Tally {
    pub(crate) fn of(h: &Histogram) -> Self {
        let custom = h.uses_custom_buckets();
        // Not below 0 and a number, so that thresholds can be compared.
        let zero_threshold = if custom { 0.0 } else { h.zero_threshold.max(0.0) };
        Self {
            schema: h.schema,
            zero_threshold,
            zero_count: Kahan::of(if custom { 0.0 } else { h.zero_count }),
            count: Kahan::of(h.count),
            sum: Kahan::of(h.sum),
            positive: cells(&h.positive),
            negative: if custom { Vec::new() } else { cells(&h.negative) },
            custom_values: h.custom_values.clone(),
            reset: h.reset,
        }
    }

    /// Adds a histogram.
    pub(crate) fn add(&mut self, other: &Histogram, precision: Precision) -> Result<Added, MixedSchemas> {
        self.combine(Self::of(other), 1.0, precision)
    }

    /// Takes a histogram away.
    pub(crate) fn subtract(&mut self, other: &Histogram) -> Result<Added, MixedSchemas> {
        self.combine(Self::of(other), -1.0, Precision::Plain)
    }

    fn combine(&mut self, mut other: Self, sign: f64, precision: Precision) -> Result<Added, MixedSchemas> {
        if self.uses_custom_buckets() != other.uses_custom_buckets() {
            return Err(MixedSchemas);
        }
        let resets_collided = self.adjust_reset(other.reset);
        let bounds_reconciled = self.uses_custom_buckets() && self.custom_values != other.custom_values;
        if bounds_reconciled {
            let common: Arc<[f64]> = common_bounds(&self.custom_values, &other.custom_values).into();
            self.reduce_bounds(&common);
            other.reduce_bounds(&common);
        } else if !self.uses_custom_buckets() {
            self.reconcile_zero(&mut other);
            let schema = self.schema.min(other.schema);
            self.reduce_schema(schema);
            other.reduce_schema(schema);
        }
        let plus = |into: &mut Kahan, mut term: Kahan| {
            term.scale(sign);
            match precision {
                Precision::Plain => into.sum += term.sum + term.lost,
                Precision::Kahan => into.add_sum(term),
            }
        };
        plus(&mut self.zero_count, other.zero_count);
        plus(&mut self.count, other.count);
        plus(&mut self.sum, other.sum);
        merge(&mut self.positive, &other.positive, plus);
        merge(&mut self.negative, &other.negative, plus);
        Ok(Added { resets_collided, bounds_reconciled })
    }

    fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_SCHEMA
    }

    /// Adding is meant for gauges; of counters as much is kept as both say. Whether they contradict each other.
    fn adjust_reset(&mut self, other: CounterReset) -> bool {
        use CounterReset::{Gauge, Unknown};
        match (self.reset, other) {
            (own, other) if own == other => false,
            (Gauge, _) | (Unknown, _) if other != Gauge => false,
            (_, Gauge) => {
                self.reset = Gauge;
                false
            }
            (_, Unknown) => {
                self.reset = Unknown;
                false
            }
            _ => {
                self.reset = Unknown;
                true
            }
        }
    }

    /// Brings it to a coarser schema, unless it is as coarse already.
    pub(crate) fn coarsen(&mut self, to: i8) {
        if !self.uses_custom_buckets() && to != CUSTOM_SCHEMA {
            self.reduce_schema(to);
        }
    }

    fn reduce_schema(&mut self, to: i8) {
        if to >= self.schema {
            return;
        }
        for side in [&mut self.positive, &mut self.negative] {
            for cell in side.iter_mut() {
                cell.index = coarser(cell.index, self.schema, to);
            }
            join_equal(side);
        }
        self.schema = to;
    }

    /// To boundaries that are all among its own.
    fn reduce_bounds(&mut self, common: &Arc<[f64]>) {
        for cell in &mut self.positive {
            let upper = bound(cell.index, CUSTOM_SCHEMA, &self.custom_values);
            cell.index = common.partition_point(|bound| *bound < upper) as i64;
        }
        join_equal(&mut self.positive);
        self.positive.retain(|cell| cell.value != Kahan::default());
        self.custom_values = Arc::clone(common);
    }

    /// Gives both the same zero bucket: large enough for both, and not ending within a bucket that is in use.
    fn reconcile_zero(&mut self, other: &mut Self) {
        while self.zero_threshold != other.zero_threshold {
            let (smaller, larger) = if self.zero_threshold < other.zero_threshold {
                (&mut *self, &*other)
            } else {
                (&mut *other, &*self)
            };
            smaller.widen_zero(larger.zero_threshold);
        }
    }

    fn widen_zero(&mut self, threshold: f64) {
        let (count, threshold) = self.zero_for(threshold);
        self.zero_count = count;
        self.zero_threshold = threshold;
        let schema = self.schema;
        for side in [&mut self.positive, &mut self.negative] {
            side.retain(|cell| bound(cell.index - 1, schema, &[]) >= threshold);
        }
    }

    /// What would be in a zero bucket of this width or, where that ends within a bucket in use, up to the end of that.
    fn zero_for(&self, mut threshold: f64) -> (Kahan, f64) {
        if threshold == self.zero_threshold {
            return (self.zero_count, threshold);
        }
        'wider: loop {
            let mut total = self.zero_count;
            for (side, cells) in [&self.positive, &self.negative].into_iter().enumerate() {
                for cell in cells {
                    if bound(cell.index - 1, self.schema, &[]) >= threshold {
                        break;
                    }
                    total.add_sum(cell.value);
                    let upper = bound(cell.index, self.schema, &[]);
                    if upper > threshold {
                        if cell.value.sum != 0.0 {
                            threshold = upper;
                            // What was taken of the other side no longer suffices.
                            if side == 1 {
                                continue 'wider;
                            }
                        }
                        break;
                    }
                }
            }
            return (total, threshold);
        }
    }

    pub(super) fn zero_of(h: &Histogram, threshold: f64) -> (f64, f64) {
        let (count, threshold) = Self::of(h).zero_for(threshold);
        (count.total(), threshold)
    }

    pub(crate) fn scale(&mut self, factor: f64) {
        self.each(|value| value.scale(factor));
    }

    pub(crate) fn divide(&mut self, divisor: f64) {
        self.each(|value| value.divide(divisor));
    }

    fn each(&mut self, mut change: impl FnMut(&mut Kahan)) {
        change(&mut self.zero_count);
        change(&mut self.count);
        change(&mut self.sum);
        self.positive.iter_mut().chain(&mut self.negative).for_each(|cell| change(&mut cell.value));
    }

    /// Whether a sum does not fit into a number.
    pub(crate) fn overflows(&self) -> bool {
        let own = [self.zero_count, self.count, self.sum].iter().any(|value| value.sum.is_infinite());
        own || self.positive.iter().chain(&self.negative).any(|cell| cell.value.sum.is_infinite())
    }

    /// The sum, without empty buckets.
    pub(crate) fn finish(self) -> Histogram {
        let buckets = |side: &[Cell]| {
            let totals = side.iter().map(|cell| (cell.index, cell.value.total()));
            Buckets::collect(totals.filter(|(_, total)| *total != 0.0))
        };
        Histogram {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count.total(),
            count: self.count.total(),
            sum: self.sum.total(),
            positive: buckets(&self.positive),
            negative: buckets(&self.negative),
            custom_values: if self.schema == CUSTOM_SCHEMA { self.custom_values } else { [].into() },
            reset: self.reset,
        }
    }
}

/// Neighbours that have become the same bucket are added.
fn join_equal(cells: &mut Vec<Cell>) {
    cells.dedup_by(|next, kept| {
        let same = next.index == kept.index;
        if same {
            kept.value.add_sum(next.value);
        }
        same
    });
}

fn common_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().copied().filter(|bound| b.contains(bound)).collect()
}

fn merge(into: &mut Vec<Cell>, from: &[Cell], plus: impl Fn(&mut Kahan, Kahan)) {
    let same = into.len() == from.len() && into.iter().zip(from).all(|(a, b)| a.index == b.index);
    if same {
        for (cell, term) in into.iter_mut().zip(from) {
            plus(&mut cell.value, term.value);
        }
        return;
    }
    let old = std::mem::take(into);
    into.reserve(old.len() + from.len());
    let mut old = old.into_iter().peekable();
    for term in from {
        while let Some(cell) = old.next_if(|cell| cell.index < term.index) {
            into.push(cell);
        }
        let mut cell = old
            .next_if(|cell| cell.index == term.index)
            .unwrap_or(Cell { index: term.index, value: Kahan::default() });
        plus(&mut cell.value, term.value);
        into.push(cell);
    }
    into.extend(old);
}
