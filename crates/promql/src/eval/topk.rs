//! Aggregations that choose series of each group: `topk`, `bottomk`, `limitk`, `limit_ratio`.

use super::Query;
use super::aggregate::groups;
use super::functions::sort::by_number;
use super::grid::Grid;
use super::rows::{Row, float};
use crate::Value;
use crate::error::Fault;
use crate::go::General;
use crate::parse::ast::{Aggregate, AggregateOp, Expr};

impl Query<'_> {
    pub(super) fn choose(
        &self,
        aggregate: &Aggregate,
        param: &[f64],
        rows: Vec<Row>,
        expr: &Expr,
        grid: Grid,
    ) -> Result<Vec<Row>, Fault> {
        let at = aggregate.param.as_ref().map_or(expr.place.start, |param| param.place.start);
        let ratio = aggregate.op == AggregateOp::LimitRatio;
        let nothing = if ratio { param.iter().all(|r| *r == 0.0) } else { param.iter().all(|k| *k < 1.0) };
        if nothing {
            return Ok(Vec::new());
        }
        if ratio {
            self.check_ratio(param, at)?
        } else {
            check_count(param, at)?
        }
        let mut chosen: Vec<Vec<bool>> = vec![vec![false; grid.steps()]; rows.len()];
        // At a single time the order is part of the answer.
        let mut order = Vec::new();
        for group in groups(&aggregate.grouping, &rows) {
            self.go_on(at)?;
            for (step, param) in param.iter().enumerate() {
                let best = self.best(aggregate.op, *param, &rows, &group.rows, step, expr);
                for row in &best {
                    chosen[*row][step] = true;
                }
                if step == 0 {
                    order.extend(best);
                }
            }
        }
        let mut rows: Vec<Option<Row>> = rows
            .into_iter()
            .zip(chosen)
            .map(|(mut row, chosen)| {
                for (point, chosen) in row.points.iter_mut().zip(chosen) {
                    if !chosen {
                        *point = None;
                    }
                }
                (!row.is_empty()).then_some(row)
            })
            .collect();
        let mut out: Vec<Row> = order.into_iter().filter_map(|at| rows[at].take()).collect();
        out.extend(rows.into_iter().flatten());
        Ok(out)
    }

    fn check_ratio(&self, ratios: &[f64], at: usize) -> Result<(), Fault> {
        for ratio in ratios {
            if ratio.is_nan() {
                return Err(Fault::execution(at, "Ratio value is NaN"));
            }
            if ratio.abs() > 1.0 {
                let capped = General(ratio.signum());
                let ratio = General(*ratio);
                self.warn(
                    at,
                    format!("ratio value should be between -1 and 1, got {ratio}, capping to {capped}"),
                );
            }
        }
        Ok(())
    }

    /// The rows of a group that are chosen at one time, best first.
    fn best(
        &self,
        op: AggregateOp,
        param: f64,
        rows: &[Row],
        group: &[usize],
        step: usize,
        expr: &Expr,
    ) -> Vec<usize> {
        let mut there: Vec<usize> =
            group.iter().copied().filter(|row| rows[*row].points[step].is_some()).collect();
        let count = if param >= 1.0 { (param as u64).min(there.len() as u64) as usize } else { 0 };
        match op {
            AggregateOp::LimitRatio => there.retain(|row| is_in_share(param, rows[*row].labels.hash())),
            AggregateOp::Limitk => there.truncate(count),
            _ if count == 0 => there.clear(),
            _ => {
                let all = there.len();
                there.retain(|row| matches!(rows[*row].points[step], Some(Value::Float(_))));
                if there.len() < all {
                    self.info(expr.place.start, format!("ignored histogram in {} aggregation", op.name()));
                }
                let value = |row: usize| float(&rows[row].points[step]).unwrap_or(f64::NAN);
                there.sort_by(|a, b| by_number(value(*a), value(*b), op == AggregateOp::Topk));
                there.truncate(count);
            }
        }
        there
    }
}

fn check_count(counts: &[f64], at: usize) -> Result<(), Fault> {
    for count in counts {
        let shown = General(*count);
        if count.is_nan() {
            return Err(Fault::execution(at, "Parameter value is NaN"));
        }
        if *count <= i64::MIN as f64 {
            return Err(Fault::execution(at, format!("Scalar value {shown} underflows int64")));
        }
        // The largest number below 2^63.
        if *count >= 9_223_372_036_854_774_784.0 {
            return Err(Fault::execution(at, format!("Scalar value {shown} overflows int64")));
        }
    }
    Ok(())
}

/// Whether a series with this hash belongs to a share of all. A negative share is the complement: -0.3 chooses what 0.7 does
/// not.
fn is_in_share(ratio: f64, hash: u64) -> bool {
    let ratio = ratio.clamp(-1.0, 1.0);
    let place = hash as f64 / u64::MAX as f64;
    if ratio >= 0.0 { ratio != 0.0 && place < ratio } else { place >= 1.0 + ratio }
}
