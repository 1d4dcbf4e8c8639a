//! Functions of single numbers.

use crate::Value;
use crate::error::Fault;
use crate::eval::Query;
use crate::eval::grid::Grid;
use crate::eval::rows::{Row, float};
use crate::parse::ast::{Call, Expr};

/// NaN where one is, but for +Inf, as in Go.
pub(in crate::eval) fn max(a: f64, b: f64) -> f64 {
    match a.is_nan() || b.is_nan() {
        true if a == f64::INFINITY || b == f64::INFINITY => f64::INFINITY,
        true => f64::NAN,
        false => a.max(b),
    }
}

/// NaN where one is, but for -Inf, as in Go.
pub(in crate::eval) fn min(a: f64, b: f64) -> f64 {
    match a.is_nan() || b.is_nan() {
        true if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY => f64::NEG_INFINITY,
        true => f64::NAN,
        false => a.min(b),
    }
}

fn simple(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "acos" => f64::acos,
        "acosh" => f64::acosh,
        "asin" => f64::asin,
        "asinh" => f64::asinh,
        "atan" => f64::atan,
        "atanh" => f64::atanh,
        "ceil" => f64::ceil,
        "cos" => f64::cos,
        "cosh" => f64::cosh,
        "deg" => |value| value * (180.0 / std::f64::consts::PI),
        "exp" => f64::exp,
        "floor" => f64::floor,
        "ln" => f64::ln,
        "log10" => f64::log10,
        "log2" => f64::log2,
        "rad" => |value| value * (std::f64::consts::PI / 180.0),
        "sgn" => |value| match value {
            value if value < 0.0 => -1.0,
            value if value > 0.0 => 1.0,
            value => value,
        },
        "sin" => f64::sin,
        "sinh" => f64::sinh,
        "sqrt" => f64::sqrt,
        "tan" => f64::tan,
        "tanh" => f64::tanh,
        _ => return None,
    })
}

/// Functions of a number and of further arguments at the same time. None leaves the series out.
type WithArguments = fn(f64, &[f64]) -> Option<f64>;

fn with_arguments(name: &str) -> Option<WithArguments> {
    Some(match name {
        "clamp" => |value, args| {
            let crossed = args[1] < args[0];
            (!crossed).then(|| max(args[0], min(args[1], value)))
        },
        "clamp_max" => |value, args| Some(max(f64::NEG_INFINITY, min(args[0], value))),
        "clamp_min" => |value, args| Some(max(args[0], min(f64::INFINITY, value))),
        // Ties are rounded up.
        "round" => |value, args| {
            let inverse = 1.0 / args.first().copied().unwrap_or(1.0);
            Some((value * inverse + 0.5).floor() / inverse)
        },
        _ => return None,
    })
}

pub(in crate::eval) fn rows(
    query: &Query<'_>,
    call: &Call,
    expr: &Expr,
    grid: Grid,
) -> Result<Vec<Row>, Fault> {
    let name = call.function.name;
    if let Some(of) = simple(name) {
        return query.each(call, grid, |value| match value {
            Value::Float(value) => Some(of(*value)),
            Value::Histogram(_) => None,
        });
    }
    let Some(of) = with_arguments(name) else {
        return Err(Fault::execution(
            expr.place.start,
            format!("{name} cannot be called with these arguments"),
        ));
    };
    let mut rows = query.eval(&call.args[0], grid)?.vector();
    let mut args = Vec::new();
    for arg in &call.args[1..] {
        args.push(query.eval(arg, grid)?.scalar());
    }
    let mut at_step = vec![0.0; args.len()];
    for row in &mut rows {
        for (step, point) in row.points.iter_mut().enumerate() {
            for (value, values) in at_step.iter_mut().zip(&args) {
                *value = values[step];
            }
            *point = float(point).and_then(|value| of(value, &at_step)).map(Value::Float);
        }
        query.unname(row);
    }
    rows.retain(|row| !row.is_empty());
    Ok(rows)
}
