//! `sort` and its kin. They mean something at one time only: series over a range are always sorted by their labels.

use std::cmp::Ordering;

use crate::error::Fault;
use crate::eval::Query;
use crate::eval::grid::Grid;
use crate::eval::rows::{Row, float};
use crate::parse::ast::{Call, Expr};

pub(in crate::eval) fn sort(
    query: &Query<'_>,
    call: &Call,
    expr: &Expr,
    grid: Grid,
) -> Result<Vec<Row>, Fault> {
    let mut rows = query.eval(&call.args[0], grid)?.vector();
    let by_value = matches!(call.function.name, "sort" | "sort_desc");
    if by_value {
        for row in &mut rows {
            for point in &mut row.points {
                *point = point.take().filter(|value| matches!(value, crate::Value::Float(_)));
            }
        }
        rows.retain(|row| !row.is_empty());
    }
    if grid.from != grid.to {
        query.warn(
            expr.place.start,
            "sort is ineffective for range queries since results are always ordered by labels",
        );
        return Ok(rows);
    }
    let descending = call.function.name.ends_with("_desc");
    if by_value {
        let value = |row: &Row| row.points.first().and_then(float).unwrap_or(f64::NAN);
        rows.sort_by(|a, b| by_number(value(a), value(b), descending));
        return Ok(rows);
    }
    let labels: Vec<&str> = call.args[1..].iter().map(|arg| query.text(arg).unwrap_or_default()).collect();
    rows.sort_by(|a, b| {
        let by_labels = labels.iter().map(|label| natural(a.labels.get(label), b.labels.get(label)));
        let order = by_labels.fold(Ordering::Equal, Ordering::then).then_with(|| a.labels.cmp(&b.labels));
        if descending { order.reverse() } else { order }
    });
    Ok(rows)
}

/// NaN comes last either way.
pub(in crate::eval) fn by_number(a: f64, b: f64, descending: bool) -> Ordering {
    let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
    a.is_nan().cmp(&b.is_nan()).then(if descending { order.reverse() } else { order })
}

/// Numbers in texts by their value: `cpu2` before `cpu10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    while !a.is_empty() && !b.is_empty() {
        let (first, rest_a) = chunk(a);
        let (second, rest_b) = chunk(b);
        let order = match (first.parse::<u64>(), second.parse::<u64>()) {
            (Ok(first), Ok(second)) => first.cmp(&second),
            _ => first.cmp(second),
        };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    a.len().cmp(&b.len())
}

/// Digits, or what is none, from the beginning.
fn chunk(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    text.split_at(text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::natural;
    use std::cmp::Ordering;

    #[test]
    fn numbers_in_texts_are_ordered_by_value() {
        for (a, b) in [("cpu2", "cpu10"), ("a", "b"), ("1.9", "1.10"), ("", "a"), ("a", "a1")] {
            assert_eq!(natural(a, b), Ordering::Less, "{a} {b}");
            assert_eq!(natural(b, a), Ordering::Greater, "{a} {b}");
        }
        assert_eq!(natural("x1", "x1"), Ordering::Equal);
    }
}
