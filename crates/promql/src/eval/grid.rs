//! The times at which an expression is evaluated, and spans of time that depend on them.

use super::Query;
use crate::error::Fault;
use crate::parse::ast::{Pin, Place, Span, SpanKind, SpanOp, Subquery};
use crate::parse::literal::LONGEST_S;

/// Times at equal steps, milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) from: i64,
    /// Not before `from`; need not be one of the times.
    pub(super) to: i64,
    /// Above 0.
    pub(super) step: i64,
    empty: bool,
}

impl Grid {
    pub(super) fn new(from: i64, to: i64, step: i64) -> Self {
        Self { from, to: to.max(from), step: step.max(1), empty: to < from }
    }

    pub(super) fn at(time: i64) -> Self {
        Self::new(time, time, 1)
    }

    pub(super) fn first(self) -> Self {
        Self { to: self.from, ..self }
    }

    pub(super) fn step_count(self) -> u64 {
        if self.empty { 0 } else { self.to.abs_diff(self.from) / self.step as u64 + 1 }
    }

    pub(super) fn steps(self) -> usize {
        self.step_count() as usize
    }

    pub(super) fn times(self) -> impl Iterator<Item = i64> {
        (0..self.step_count()).map(move |at| self.from.saturating_add((at as i64).saturating_mul(self.step)))
    }

    /// The last of the times.
    fn last(self) -> i64 {
        self.from.saturating_add((self.step_count().saturating_sub(1) as i64).saturating_mul(self.step))
    }
}

/// How a selector moves the times of evaluation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shift {
    pinned: Option<i64>,
    offset: i64,
}

impl Shift {
    pub(super) fn new(pinned: Option<i64>, offset: i64) -> Self {
        Self { pinned, offset }
    }

    /// The pinned time, and the offset.
    pub(super) fn parts(self) -> (Option<i64>, i64) {
        (self.pinned, self.offset)
    }

    /// The time that is looked at when it is evaluated at this one.
    pub(super) fn of(self, time: i64) -> i64 {
        self.pinned.unwrap_or(time).saturating_sub(self.offset)
    }

    /// The first and the last time that are looked at.
    pub(super) fn bounds(self, grid: Grid) -> (i64, i64) {
        (self.of(grid.from), self.of(grid.last()))
    }
}

impl Query<'_> {
    pub(super) fn shift(&self, pin: Pin, offset: Option<&Span>) -> Result<Shift, Fault> {
        let pinned = match pin {
            Pin::None => None,
            Pin::AtMs(at) => Some(at),
            Pin::Start => Some(self.from_ms),
            Pin::End => Some(self.to_ms),
        };
        let offset = offset.map_or(Ok(0), |span| self.span_ms(span))?;
        Ok(Shift { pinned, offset })
    }

    /// A range or a step: above 0.
    pub(super) fn positive_ms(&self, span: &Span) -> Result<i64, Fault> {
        let ms = self.span_ms(span)?;
        let seconds = self.seconds(span)?;
        if seconds > 0.0 {
            Ok(ms)
        } else {
            Err(Fault::execution(span.place.start, "duration must be greater than 0"))
        }
    }

    fn span_ms(&self, span: &Span) -> Result<i64, Fault> {
        let seconds = self.seconds(span)?;
        if !seconds.is_finite() {
            return Err(Fault::execution(span.place.start, "duration is NaN or infinite"));
        }
        if seconds.abs() > LONGEST_S {
            return Err(Fault::execution(span.place.start, "duration is out of range"));
        }
        Ok(match span.kind {
            // To nanoseconds, and then cut to milliseconds, as in Prometheus.
            SpanKind::Seconds(seconds) => (seconds * 1e9).round() as i64 / 1_000_000,
            _ => (seconds * 1000.0) as i64,
        })
    }

    pub(super) fn seconds(&self, span: &Span) -> Result<f64, Fault> {
        Ok(match &span.kind {
            SpanKind::Seconds(seconds) => *seconds,
            SpanKind::Step => self.step_ms as f64 / 1000.0,
            SpanKind::Range => self.to_ms.saturating_sub(self.from_ms) as f64 / 1000.0,
            SpanKind::Negative(inner) => -self.seconds(inner)?,
            SpanKind::Group(inner) => self.seconds(inner)?,
            SpanKind::Of(op, left, right) => of(*op, self.seconds(left)?, self.seconds(right)?, right.place)?,
        })
    }

    /// The times at which what is inside of a subquery is evaluated: multiples of its step, from behind the beginning of the
    /// first range to the end of the last.
    pub(super) fn subquery_grid(&self, subquery: &Subquery, grid: Grid) -> Result<(Grid, Shift, i64), Fault> {
        let range = self.positive_ms(&subquery.range)?;
        let step = match &subquery.step {
            Some(step) => self.positive_ms(step)?.max(1),
            None => self.options.subquery_step_ms.max(1),
        };
        let shift = self.shift(subquery.pin, subquery.offset.as_ref())?;
        let (first, last) = shift.bounds(grid);
        let behind = first.saturating_sub(range);
        let mut from = (behind / step).saturating_mul(step);
        if from <= behind {
            from = from.saturating_add(step);
        }
        Ok((Grid::new(from, last, step), shift, range))
    }
}

fn of(op: SpanOp, left: f64, right: f64, at: Place) -> Result<f64, Fault> {
    Ok(match op {
        SpanOp::Add => left + right,
        SpanOp::Subtract => left - right,
        SpanOp::Multiply => left * right,
        SpanOp::Divide if right == 0.0 => return Err(Fault::execution(at.start, "division by zero")),
        SpanOp::Divide => left / right,
        SpanOp::Modulo if right == 0.0 => return Err(Fault::execution(at.start, "modulo by zero")),
        SpanOp::Modulo => left % right,
        SpanOp::Power => left.powf(right),
        SpanOp::Max => left.max(right),
        SpanOp::Min => left.min(right),
    })
}
