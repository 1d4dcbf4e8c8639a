//! Parts of expressions, checked while they are put together: what takes what, how many of them, and what has the same
//! value at every time.

use std::sync::Arc;

use super::ast::{
    Aggregate, AggregateOp, Binary, BinaryOp, Boundary, Call, Expr, Group, Grouping, Kind, Labelled,
    Matching, Matrix, Pin, Place, Selector, Sign, Span, Steady, Subquery, Type,
};
use super::signature::{Function, More};
use crate::error::Fault;

/// Marked as constant, where that saves work.
pub(super) fn settled(expr: Expr) -> Expr {
    if expr.steady != Steady::Yes {
        return expr;
    }
    Expr { place: expr.place, steady: Steady::Free, kind: Kind::Constant(Box::new(expr)) }
}

/// Of one that is made of these: constant as a whole, or each where it is.
fn steady_of(parts: &mut [&mut Expr]) -> Steady {
    if parts.iter().all(|part| part.steady != Steady::No) {
        return Steady::Yes;
    }
    for part in parts {
        if part.steady == Steady::Yes {
            let place = part.place;
            let inner =
                std::mem::replace(&mut **part, Expr { place, kind: Kind::Number(0.0), steady: Steady::Free });
            **part = settled(inner);
        }
    }
    Steady::No
}

pub(super) fn literal(kind: Kind, place: Place) -> Expr {
    Expr { place, kind, steady: Steady::Free }
}

pub(super) fn paren(inner: Expr, place: Place) -> Expr {
    let steady = inner.steady;
    Expr { place, kind: Kind::Paren(Box::new(inner)), steady }
}

pub(super) fn selector(selector: Selector, place: Place) -> Expr {
    Expr { place, kind: Kind::Selector(Arc::new(selector)), steady: Steady::No }
}

pub(super) fn matrix(matrix: Matrix, place: Place) -> Expr {
    Expr { place, kind: Kind::Matrix(Box::new(matrix)), steady: Steady::No }
}

pub(super) fn subquery(mut subquery: Subquery, place: Place) -> Expr {
    subquery.inner = settled(subquery.inner);
    Expr { place, kind: Kind::Subquery(Box::new(subquery)), steady: Steady::No }
}

pub(super) fn unary(sign: Sign, start: usize, mut inner: Expr) -> Result<Expr, Fault> {
    if let Kind::Number(value) = &mut inner.kind {
        if sign == Sign::Minus {
            *value = -*value;
        }
        inner.place.start = start;
        return Ok(inner);
    }
    let found = inner.kind_of_value();
    if !matches!(found, Type::Scalar | Type::Vector) {
        let message = format!(
            "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
            found.name()
        );
        return Err(Fault::syntax(start, message));
    }
    let place = Place { start, end: inner.place.end };
    let steady = inner.steady;
    Ok(Expr { place, kind: Kind::Unary(sign, Box::new(inner)), steady })
}

pub(super) fn binary(
    op: BinaryOp,
    sign: Place,
    mut left: Expr,
    mut right: Expr,
    matching: Matching,
    as_bool: bool,
) -> Result<Expr, Fault> {
    let place = Place { start: left.place.start, end: right.place.end };
    let (left_type, right_type) = (left.kind_of_value(), right.kind_of_value());
    for (side, found) in [(&left, left_type), (&right, right_type)] {
        if !matches!(found, Type::Scalar | Type::Vector) {
            let message = "binary expression must contain only scalar and instant vector types";
            return Err(Fault::syntax(side.place.start, message));
        }
    }
    if as_bool && !op.is_comparison() {
        return Err(Fault::syntax(sign.start, "bool modifier can only be used on comparison operators"));
    }
    let scalars = left_type == Type::Scalar && right_type == Type::Scalar;
    if op.is_comparison() && !as_bool && scalars {
        return Err(Fault::syntax(sign.start, "comparisons between scalars must use BOOL modifier"));
    }
    if let (Labelled::On(on), Group::Left(taken) | Group::Right(taken)) = (&matching.labels, &matching.group)
        && let Some(twice) = on.iter().find(|label| taken.contains(label))
    {
        let message = format!("label {twice:?} must not occur in ON and GROUP clause at once");
        return Err(Fault::syntax(sign.start, message));
    }
    let filled = matching.fill != (None, None);
    let wrong = if left_type == Type::Scalar || right_type == Type::Scalar {
        let (Labelled::On(labels) | Labelled::Ignoring(labels)) = &matching.labels;
        match () {
            () if !labels.is_empty() => {
                Some("vector matching only allowed between instant vectors".to_string())
            }
            () if filled => {
                Some("filling in missing series only allowed between instant vectors".to_string())
            }
            () if op.is_set() => {
                Some(format!("set operator {:?} not allowed in binary scalar expression", op.sign()))
            }
            () if scalars && matches!(op, BinaryOp::TrimLower | BinaryOp::TrimUpper) => {
                Some(format!("operator {:?} not allowed for Scalar operations", op.sign()))
            }
            () => None,
        }
    } else if op.is_set() && matching.group != Group::OneToOne {
        Some(format!("no grouping allowed for {:?} operation", op.sign()))
    } else if op.is_set() && filled {
        Some("filling in missing series not allowed for set operators".to_string())
    } else {
        None
    };
    if let Some(message) = wrong {
        return Err(Fault::syntax(place.start, message));
    }
    let steady = steady_of(&mut [&mut left, &mut right]);
    let returns = if scalars { Type::Scalar } else { Type::Vector };
    let binary = Binary { op, left, right, matching, as_bool, returns };
    Ok(Expr { place, kind: Kind::Binary(Box::new(binary)), steady })
}

pub(super) fn aggregate(
    op: AggregateOp,
    place: Place,
    grouping: Grouping,
    args: Vec<Expr>,
) -> Result<Expr, Fault> {
    if args.is_empty() {
        return Err(Fault::syntax(place.start, "no arguments for aggregate expression provided"));
    }
    let wanted = 1 + usize::from(op.param().is_some());
    let given = args.len();
    let mut args = args.into_iter();
    let (mut param, inner) = match op.param() {
        Some(_) => (args.next(), args.next()),
        None => (None, args.next()),
    };
    let Some(mut inner) = inner.filter(|_| given == wanted) else {
        let message = format!(
            "wrong number of arguments for aggregate expression provided, expected {wanted}, got {given}"
        );
        return Err(Fault::syntax(place.start, message));
    };
    expect(&inner, Type::Vector, "aggregation expression")?;
    if let (Some(param), Some(wanted)) = (&param, op.param()) {
        expect(param, wanted, "aggregation parameter")?;
    }
    let steady = match &mut param {
        Some(param) => steady_of(&mut [param, &mut inner]),
        None => steady_of(&mut [&mut inner]),
    };
    let aggregate = Aggregate { op, inner, param, grouping };
    Ok(Expr { place, kind: Kind::Aggregate(Box::new(aggregate)), steady })
}

fn expect(expr: &Expr, wanted: Type, context: &str) -> Result<(), Fault> {
    let found = expr.kind_of_value();
    if found == wanted {
        return Ok(());
    }
    let message = format!("expected type {} in {context}, got {}", wanted.name(), found.name());
    Err(Fault::syntax(expr.place.start, message))
}

pub(super) fn call(function: &'static Function, mut args: Vec<Expr>, place: Place) -> Result<Expr, Fault> {
    check_count(function, args.len(), place)?;
    if function.name == "info" {
        check_info(&args)?;
    }
    for (at, arg) in args.iter().enumerate() {
        if let Some(wanted) = function.argument(at) {
            expect(arg, wanted, &format!("call to function {:?}", function.name))?;
        }
    }
    // `timestamp` of a pinned selector is the time of its sample; of anything else it is the time of evaluation.
    let pinned_timestamp = function.name == "timestamp"
        && args.iter().all(|arg| arg.steady == Steady::Yes && matches!(arg.bare().kind, Kind::Selector(_)));
    let steady = match function.name {
        "start" | "end" | "step" | "range" => Steady::Free,
        // Its series are selected around the times of evaluation.
        "info" => Steady::No,
        _ if function.depends_on_time() && !pinned_timestamp => Steady::No,
        _ => steady_of(&mut args.iter_mut().collect::<Vec<_>>()),
    };
    if steady == Steady::No && function.name != "info" {
        for arg in &mut args {
            let inner = std::mem::replace(arg, literal(Kind::Number(0.0), place));
            *arg = settled(inner);
        }
    }
    Ok(Expr { place, kind: Kind::Call(Box::new(Call { function, args })), steady })
}

fn check_count(function: &Function, given: usize, place: Place) -> Result<(), Fault> {
    let name = function.name;
    let listed = function.takes.len();
    let message = match function.more {
        More::No if given != listed => {
            format!("expected {listed} argument(s) in call to {name:?}, got {given}")
        }
        More::UpTo(_) | More::Any if given + 1 < listed => {
            format!("expected at least {} argument(s) in call to {name:?}, got {given}", listed - 1)
        }
        More::UpTo(more) if given > listed - 1 + more => {
            format!("expected at most {} argument(s) in call to {name:?}, got {given}", listed - 1 + more)
        }
        _ => return Ok(()),
    };
    Err(Fault::syntax(place.start, message))
}

/// The second argument of `info` says which labels to add, in the form of a selector without a name.
fn check_info(args: &[Expr]) -> Result<(), Fault> {
    let Some(second) = args.get(1) else { return Ok(()) };
    match &second.kind {
        Kind::Selector(selector) if selector.name.is_none() => Ok(()),
        Kind::Selector(_) => Err(Fault::syntax(
            second.place.start,
            "expected label selectors only, got vector selector instead",
        )),
        _ => Err(Fault::syntax(second.place.start, "expected label selectors only")),
    }
}

pub(super) fn at(mut expr: Expr, pin: Pin, end: usize) -> Result<Expr, Fault> {
    let start = expr.place.start;
    let (known, steady) = match &mut expr.kind {
        Kind::Selector(selector) => (&mut Arc::make_mut(selector).pin, Steady::Yes),
        Kind::Matrix(matrix) => (&mut Arc::make_mut(&mut matrix.selector).pin, Steady::Free),
        Kind::Subquery(subquery) => (&mut subquery.pin, Steady::Free),
        _ => {
            let message = "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery";
            return Err(Fault::syntax(start, message));
        }
    };
    if *known != Pin::None {
        return Err(Fault::syntax(start, "@ <timestamp> may not be set multiple times"));
    }
    *known = pin;
    expr.steady = steady;
    expr.place.end = end;
    Ok(expr)
}

pub(super) fn offset(mut expr: Expr, span: Span, end: usize) -> Result<Expr, Fault> {
    let start = expr.place.start;
    let known = match &mut expr.kind {
        Kind::Selector(selector) => &mut Arc::make_mut(selector).offset,
        Kind::Matrix(matrix) => &mut Arc::make_mut(&mut matrix.selector).offset,
        Kind::Subquery(subquery) => &mut subquery.offset,
        _ => {
            let message = "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery";
            return Err(Fault::syntax(start, message));
        }
    };
    if known.is_some() {
        return Err(Fault::syntax(start, "offset may not be set multiple times"));
    }
    *known = Some(span);
    expr.place.end = end;
    Ok(expr)
}

pub(super) fn boundary(mut expr: Expr, boundary: Boundary, at: usize) -> Result<Expr, Fault> {
    let word = if boundary == Boundary::Anchored { "anchored" } else { "smoothed" };
    let known = match &mut expr.kind {
        Kind::Selector(selector) => &mut Arc::make_mut(selector).boundary,
        Kind::Matrix(matrix) => &mut Arc::make_mut(&mut matrix.selector).boundary,
        Kind::Subquery(_) => {
            return Err(Fault::syntax(at, format!("{word} modifier is not supported for subqueries")));
        }
        _ => return Err(Fault::syntax(at, format!("{word} modifier must be preceded by a selector"))),
    };
    if *known != Boundary::Plain && *known != boundary {
        return Err(Fault::syntax(at, "anchored and smoothed modifiers cannot be used together"));
    }
    *known = boundary;
    Ok(expr)
}
