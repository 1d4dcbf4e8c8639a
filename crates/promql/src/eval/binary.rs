//! Binary operators.
//!
//! In: both sides, evaluated at every time of a grid, and how their series are matched. Out: scalars, or rows of series with
//! the labels that matching leaves. What two values come to is worked out one time after the other; who is matched with
//! whom once for all times. A vector with two series of the same labels on the side that may have one is a [`Fault`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::functions::numbers;
use super::grid::Grid;
use super::rows::{Row, merged};
use super::{Evaluated, Query};
use crate::error::Fault;
use crate::histogram::{Added, MixedSchemas, Precision, Tally};
use crate::labels::is_metadata;
use crate::parse::ast::{Binary, BinaryOp, Expr, Group, Kind, Labelled, Matching};
use crate::{CounterReset, Histogram, Labels, Value};

impl Query<'_> {
    /// A chain of operators leans to the left, as deep as it is long: it is taken from the bottom, not by recursion.
    pub(super) fn binary_chain(&self, expr: &Expr, grid: Grid) -> Result<Evaluated, Fault> {
        let mut chain: Vec<(&Binary, &Expr)> = Vec::new();
        let mut bottom = expr;
        while let Kind::Binary(binary) = &bottom.kind {
            chain.push((binary, bottom));
            bottom = &binary.left;
        }
        let mut left = self.eval(bottom, grid)?;
        while let Some((binary, expr)) = chain.pop() {
            let right = self.eval(&binary.right, grid)?;
            left = self.binary(binary, left, right, expr, grid)?;
        }
        Ok(left)
    }

    fn binary(
        &self,
        binary: &Binary,
        left: Evaluated,
        right: Evaluated,
        expr: &Expr,
        grid: Grid,
    ) -> Result<Evaluated, Fault> {
        self.go_on(expr.place.start)?;
        let rows = match (left, right) {
            (Evaluated::Scalar(left), Evaluated::Scalar(right)) => {
                let values =
                    left.into_iter().zip(right).map(|(left, right)| of_scalars(binary.op, left, right));
                return Ok(Evaluated::Scalar(values.collect()));
            }
            (Evaluated::Vector(rows), Evaluated::Scalar(scalars)) => {
                self.with_scalars(binary, rows, &scalars, ScalarSide::Right, expr)?
            }
            (Evaluated::Scalar(scalars), Evaluated::Vector(rows)) => {
                self.with_scalars(binary, rows, &scalars, ScalarSide::Left, expr)?
            }
            (Evaluated::Vector(left), Evaluated::Vector(right)) if binary.op.is_set() => {
                set(binary, left, right, grid)
            }
            (Evaluated::Vector(left), Evaluated::Vector(right)) => {
                Join::new(self, binary, &left, &right, expr, grid)?.rows()?
            }
        };
        merged(rows, expr.place.start).map(Evaluated::Vector)
    }

    fn with_scalars(
        &self,
        binary: &Binary,
        mut rows: Vec<Row>,
        scalars: &[f64],
        side: ScalarSide,
        expr: &Expr,
    ) -> Result<Vec<Row>, Fault> {
        let (op, at) = (binary.op, expr.place.start);
        let unnamed = op.makes_another_metric() || binary.as_bool;
        for row in &mut rows {
            for (point, scalar) in row.points.iter_mut().zip(scalars) {
                let Some(value) = point.take() else { continue };
                let scalar = Value::Float(*scalar);
                let result = match side {
                    ScalarSide::Right => self.of_two(op, &value, &scalar, at),
                    ScalarSide::Left => self.of_two(op, &scalar, &value, at),
                };
                let Some(OfTwo { result, holds }) = result else { continue };
                *point = if binary.as_bool {
                    Some(Value::Float(f64::from(u8::from(holds))))
                } else if !holds {
                    None
                } else if op.is_comparison() {
                    // What is kept is the series' value, on whichever side it is.
                    Some(value)
                } else {
                    Some(result)
                };
            }
            if unnamed {
                self.unname(row);
            }
        }
        rows.retain(|row| !row.is_empty());
        Ok(rows)
    }

    /// None where these kinds of values have no result; that is said.
    fn of_two(&self, op: BinaryOp, left: &Value, right: &Value, at: usize) -> Option<OfTwo> {
        use BinaryOp::{Add, Divide, Equal, Multiply, NotEqual, Subtract, TrimLower, TrimUpper};
        let always = |h: Histogram| Some(OfTwo { result: Value::Histogram(h.into()), holds: true });
        match (left, right) {
            (Value::Float(left), Value::Float(right)) if !matches!(op, TrimLower | TrimUpper) => {
                let of = of_scalars(op, *left, *right);
                Some(match op.is_comparison() {
                    true => OfTwo { result: Value::Float(*left), holds: of != 0.0 },
                    false => OfTwo { result: Value::Float(of), holds: true },
                })
            }
            (Value::Float(factor), Value::Histogram(h)) if op == Multiply => always(h.times(*factor)),
            (Value::Histogram(h), Value::Float(value))
                if matches!(op, Multiply | Divide | TrimUpper | TrimLower) =>
            {
                always(match op {
                    Multiply => h.times(*value),
                    Divide => h.divided_by(*value),
                    TrimUpper => h.trimmed_above(*value),
                    _ => h.trimmed_below(*value),
                })
            }
            (Value::Histogram(left), Value::Histogram(right)) if matches!(op, Add | Subtract) => {
                self.of_histograms(op, left, right, at).and_then(always)
            }
            (Value::Histogram(one), Value::Histogram(other)) if matches!(op, Equal | NotEqual) => {
                Some(OfTwo { result: left.clone(), holds: one.is_same(other) == (op == Equal) })
            }
            _ => {
                let kind = |value: &Value| match value {
                    Value::Float(_) => "float",
                    Value::Histogram(_) => "histogram",
                };
                let (sign, left, right) = (op.sign(), kind(left), kind(right));
                let text = "incompatible sample types encountered for binary operator";
                self.info(at, format!("{text} {sign:?}: {left} {sign} {right}"));
                None
            }
        }
    }

    fn of_histograms(
        &self,
        op: BinaryOp,
        left: &Arc<Histogram>,
        right: &Arc<Histogram>,
        at: usize,
    ) -> Option<Histogram> {
        let mut tally = Tally::of(left);
        let (added, operation) = if op == BinaryOp::Add {
            (tally.add(right, Precision::Plain), "addition")
        } else {
            (tally.subtract(right), "subtraction")
        };
        match added {
            Err(MixedSchemas) => {
                let text = "incompatible bucket layout encountered for binary operator";
                self.warn(at, format!("{text} {}", op.sign()));
                return None;
            }
            Ok(Added { resets_collided, bounds_reconciled }) => {
                if resets_collided {
                    self.warn(at, format!("conflicting counter resets during histogram {operation}"));
                }
                if bounds_reconciled {
                    self.info(at, format!("mismatched custom buckets were reconciled during {operation}"));
                }
            }
        }
        if op == BinaryOp::Subtract {
            tally.reset = CounterReset::Gauge;
        }
        Some(tally.finish())
    }
}

/// On which side of a vector a scalar stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ScalarSide {
    Left,
    Right,
}

/// What an operator makes of two values.
struct OfTwo {
    result: Value,
    /// Of a comparison, whether it does; true of all others.
    holds: bool,
}

fn of_scalars(op: BinaryOp, left: f64, right: f64) -> f64 {
    use BinaryOp as B;
    let truth = |holds: bool| f64::from(u8::from(holds));
    match op {
        B::Add => left + right,
        B::Subtract => left - right,
        B::Multiply => left * right,
        B::Divide => left / right,
        B::Modulo => left % right,
        B::Power => left.powf(right),
        B::Atan2 => left.atan2(right),
        B::Equal => truth(left == right),
        B::NotEqual => truth(left != right),
        B::Less => truth(left < right),
        B::LessOrEqual => truth(left <= right),
        B::Greater => truth(left > right),
        B::GreaterOrEqual => truth(left >= right),
        // Refused while parsing.
        B::TrimUpper => numbers::min(left, right),
        B::TrimLower => numbers::max(left, right),
        B::And | B::Or | B::Unless => f64::NAN,
    }
}

/// The labels by which two series match.
fn signature(matching: &Matching, labels: &Labels) -> Labels {
    match &matching.labels {
        Labelled::On(on) => labels.filtered(|name| on.iter().any(|label| **label == *name)),
        Labelled::Ignoring(ignoring) => {
            labels.filtered(|name| !is_metadata(name) && !ignoring.iter().any(|label| **label == *name))
        }
    }
}

/// Each row's signature, as a number, of both sides; and how many there are.
fn signatures(matching: &Matching, left: &[Row], right: &[Row]) -> (Vec<usize>, Vec<usize>, usize) {
    let mut known: HashMap<Labels, usize> = HashMap::with_capacity(left.len());
    let mut numbered = |rows: &[Row]| -> Vec<usize> {
        let number = |row: &Row| {
            let next = known.len();
            *known.entry(signature(matching, &row.labels)).or_insert(next)
        };
        rows.iter().map(number).collect()
    };
    let (left, right) = (numbered(left), numbered(right));
    let count = known.len();
    (left, right, count)
}

/// `and`, `or`, `unless`: what of a side is kept depends on what the other has at the same time.
fn set(binary: &Binary, left: Vec<Row>, right: Vec<Row>, grid: Grid) -> Vec<Row> {
    let (left_signs, right_signs, count) = signatures(&binary.matching, &left, &right);
    let present = |rows: &[Row], signs: &[usize]| {
        let mut present = vec![false; count * grid.steps()];
        for (row, sign) in rows.iter().zip(signs) {
            for (step, point) in row.points.iter().enumerate() {
                present[sign * grid.steps() + step] |= point.is_some();
            }
        }
        present
    };
    let kept = |rows: Vec<Row>, signs: &[usize], present: &[bool], wanted: bool| {
        let rows = rows.into_iter().zip(signs).map(|(mut row, sign)| {
            for (step, point) in row.points.iter_mut().enumerate() {
                if present[sign * grid.steps() + step] != wanted {
                    *point = None;
                }
            }
            row
        });
        rows.filter(|row| !row.is_empty()).collect::<Vec<_>>()
    };
    match binary.op {
        BinaryOp::And => kept(left, &left_signs, &present(&right, &right_signs), true),
        BinaryOp::Unless => kept(left, &left_signs, &present(&right, &right_signs), false),
        _ => {
            let more = kept(right, &right_signs, &present(&left, &left_signs), false);
            left.into_iter().chain(more).collect()
        }
    }
}

/// Series of two sides, matched. "One" is the side of which each signature may be there once at a time; "many" the other,
/// which is the left one unless it says `group_right`.
struct Join<'j> {
    query: &'j Query<'j>,
    binary: &'j Binary,
    many: &'j [Row],
    one: &'j [Row],
    many_signs: Vec<usize>,
    one_signs: Vec<usize>,
    signs: usize,
    /// What a missing series on the many side, and on the one side, is taken for.
    fill: (Option<f64>, Option<f64>),
    swapped: bool,
    grid: Grid,
    at: usize,
    out: Vec<Row>,
    /// Where the result of a pair goes: by the places of its rows, and by signature and labels.
    by_pair: HashMap<(Option<usize>, Option<usize>), usize>,
    by_labels: HashMap<(usize, Labels), usize>,
}

impl<'j> Join<'j> {
    fn new(
        query: &'j Query<'j>,
        binary: &'j Binary,
        left: &'j [Row],
        right: &'j [Row],
        expr: &Expr,
        grid: Grid,
    ) -> Result<Self, Fault> {
        let swapped = matches!(binary.matching.group, Group::Right(_));
        let (left_fill, right_fill) = binary.matching.fill;
        let (many, one, fill) = match swapped {
            true => (right, left, (right_fill, left_fill)),
            false => (left, right, (left_fill, right_fill)),
        };
        let (many_signs, one_signs, signs) = signatures(&binary.matching, many, one);
        query.may_hold(many.len().max(one.len()), grid, expr.place.start)?;
        Ok(Self {
            query,
            binary,
            many,
            one,
            many_signs,
            one_signs,
            signs,
            fill,
            swapped,
            grid,
            at: expr.place.start,
            out: Vec::new(),
            by_pair: HashMap::new(),
            by_labels: HashMap::new(),
        })
    }

    fn rows(mut self) -> Result<Vec<Row>, Fault> {
        let mut one_of: Vec<Option<usize>> = vec![None; self.signs];
        let mut matched: Vec<bool> = vec![false; self.signs];
        let mut inserted: HashSet<usize> = HashSet::new();
        for step in 0..self.grid.steps() {
            if step % 64 == 0 {
                self.query.go_on(self.at)?;
            }
            one_of.fill(None);
            matched.fill(false);
            inserted.clear();
            for (row, sign) in self.one_signs.iter().enumerate() {
                if self.one[row].points[step].is_none() {
                    continue;
                }
                if let Some(other) = one_of[*sign].replace(row) {
                    return Err(self.twice_on_one_side(other, row));
                }
            }
            let (many, one) = (self.many, self.one);
            for (row, many_row) in many.iter().enumerate() {
                let Some(value) = &many_row.points[step] else { continue };
                let sign = self.many_signs[row];
                let other = one_of[sign];
                let filled = self.fill.1.map(Value::Float);
                let Some(one_value) = other.map_or(filled.as_ref(), |other| one[other].points[step].as_ref())
                else {
                    continue;
                };
                self.pair((Some(row), other), (value, one_value), sign, step, &mut matched, &mut inserted)?;
            }
            if let Some(fill) = self.fill.0.map(Value::Float) {
                for (row, one_row) in one.iter().enumerate() {
                    let Some(value) = &one_row.points[step] else { continue };
                    let sign = self.one_signs[row];
                    if !matched[sign] {
                        self.pair(
                            (None, Some(row)),
                            (&fill, value),
                            sign,
                            step,
                            &mut matched,
                            &mut inserted,
                        )?;
                    }
                }
            }
        }
        Ok(self.out)
    }

    /// One pair at one time.
    fn pair(
        &mut self,
        rows: (Option<usize>, Option<usize>),
        (many, one): (&Value, &Value),
        sign: usize,
        step: usize,
        matched: &mut [bool],
        inserted: &mut HashSet<usize>,
    ) -> Result<(), Fault> {
        let (left, right) = if self.swapped { (one, many) } else { (many, one) };
        let Some(OfTwo { result, holds }) = self.query.of_two(self.binary.op, left, right, self.at) else {
            return Ok(());
        };
        let place = self.place(rows, sign);
        let grouped = self.binary.matching.group != Group::OneToOne;
        if !grouped && matched[sign] {
            let message =
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";
            return Err(Fault::execution(self.at, message));
        }
        if grouped && !inserted.insert(place) {
            let message = "multiple matches for labels: grouping labels must ensure unique matches";
            return Err(Fault::execution(self.at, message));
        }
        matched[sign] = true;
        let value = match self.binary.as_bool {
            true => Value::Float(f64::from(u8::from(holds))),
            false if holds => result,
            false => return Ok(()),
        };
        self.out[place].points[step] = Some(value);
        Ok(())
    }

    /// The row that the results of a pair go to.
    fn place(&mut self, rows: (Option<usize>, Option<usize>), sign: usize) -> usize {
        if let Some(place) = self.by_pair.get(&rows) {
            return *place;
        }
        let labels = self.result_labels(rows);
        let place = *self.by_labels.entry((sign, labels.clone())).or_insert_with(|| {
            let points = vec![None; self.grid.steps()];
            // The result is the left series, where it is still that metric.
            let drop_name = self.binary.as_bool || rows.0.is_some_and(|many| self.many[many].drop_name);
            self.out.push(Row { labels, drop_name, points });
            self.out.len() - 1
        });
        self.by_pair.insert(rows, place);
        place
    }

    fn result_labels(&self, (many, one): (Option<usize>, Option<usize>)) -> Labels {
        let matching = &self.binary.matching;
        let matched = |labels: &Labels| signature(matching, labels);
        // What is filled in has the labels by which it would match.
        let (many, one) = match (many, one) {
            (Some(many), Some(one)) => (self.many[many].labels.clone(), self.one[one].labels.clone()),
            (Some(many), None) => (self.many[many].labels.clone(), matched(&self.many[many].labels)),
            (None, Some(one)) => (matched(&self.one[one].labels), self.one[one].labels.clone()),
            (None, None) => return Labels::default(),
        };
        let eager = self.query.options.metric_names == crate::MetricNames::RemovedAtOnce;
        let mut labels = many;
        if self.binary.op.makes_another_metric() || (self.binary.as_bool && eager) {
            labels = labels.without_metadata();
        }
        let taken: &[Arc<str>] = match (&matching.group, &matching.labels) {
            (Group::OneToOne, Labelled::On(on)) => {
                labels = labels.filtered(|name| on.iter().any(|label| **label == *name));
                &[]
            }
            (Group::OneToOne, Labelled::Ignoring(ignoring)) => {
                labels = labels.filtered(|name| !ignoring.iter().any(|label| **label == *name));
                &[]
            }
            (Group::Left(taken) | Group::Right(taken), _) => taken,
        };
        for label in taken {
            labels = labels.with(label, one.get(label));
        }
        labels
    }

    fn twice_on_one_side(&self, first: usize, second: usize) -> Fault {
        let (first, second) = (&self.one[first].labels, &self.one[second].labels);
        let matched = signature(&self.binary.matching, second).shown();
        let mut shown = [first.shown(), second.shown()];
        shown.sort();
        let [first, second] = shown;
        let side = if self.swapped { "left" } else { "right" };
        let message = format!(
            "found duplicate series for the match group {matched} on the {side} hand-side of the operation: \
             [{first}, {second}];many-to-many matching not allowed: matching labels must be unique on one side"
        );
        Fault::execution(self.at, message)
    }
}
