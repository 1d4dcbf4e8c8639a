//! PromQL's grammar.
//!
//! In: the text of an expression. Out: [`Expression`], checked as far as that can be done without series: what takes
//! what, how many arguments, patterns that can be compiled. A fault names the byte it begins at.
//!
//! Written by hand, by precedence; why not the crate `promql-parser` stands in DEPENDENCIES.md.

pub(crate) mod ast;
mod build;
mod grammar;
pub(crate) mod literal;
mod scan;
mod selector;
pub(crate) mod signature;
mod span;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use ast::{AggregateOp, BinaryOp, Expr, Kind, Needs, Pin};

use crate::error::{Fault, QueryError};
use crate::{Matcher, Options};

/// An expression that was understood, to be evaluated any number of times.
#[derive(Debug, Clone)]
pub struct Expression {
    text: Arc<str>,
    pub(crate) root: Expr,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// Where it is no PromQL: what stands there, and what was expected.
    pub fn parse(text: &str, options: &Options) -> Result<Self, QueryError> {
        let mut root = grammar::expression(text, options).map_err(|fault| fault.in_text(text))?;
        mark_needs(&mut root, Needs::Buckets);
        Ok(Self { text: text.into(), root })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The matchers of every selector in it, in the order they are written.
    pub fn selectors(&self) -> Vec<&[Matcher]> {
        let mut found = Vec::new();
        collect_selectors(&self.root, &mut found);
        found
    }

    /// The same expression as of a fixed time (milliseconds since 1970): every selector and subquery that says nothing else
    /// gets `@`. None where its value would still depend on the time of evaluation, as that of `time()` does.
    pub fn pinned(&self, at_ms: i64) -> Option<Self> {
        let mut pinned = self.clone();
        pin(&mut pinned.root, at_ms).then_some(pinned)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads a selector without range, offset or anything around it, as the series API takes it: `up{job="api"}`.
///
/// # Errors
/// Where it is something else.
pub fn parse_selector(text: &str, options: &Options) -> Result<Vec<Matcher>, QueryError> {
    let expression = Expression::parse(text, options)?;
    match &expression.root.bare().kind {
        Kind::Selector(selector) if selector.offset.is_none() && selector.pin == Pin::None => {
            Ok(selector.matchers.clone())
        }
        _ => {
            Err(Fault::syntax(0, "expected a selector such as up{job=\"api\"} and nothing else")
                .in_text(text))
        }
    }
}

/// A span of time as Prometheus writes it, `1h30m` or `0`, in milliseconds. None where it is no such thing, or longer than
/// 292 years.
pub fn parse_duration_ms(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    literal::span(text).map(|seconds| (seconds * 1000.0).round() as i64)
}

/// What an expression may call: names of functions, then of aggregations, those that Prometheus calls experimental among
/// them.
pub fn callable_names() -> impl Iterator<Item = &'static str> {
    signature::names().chain(AggregateOp::ALL.iter().map(|(name, _)| *name))
}

fn collect_selectors<'e>(expr: &'e Expr, found: &mut Vec<&'e [Matcher]>) {
    match &expr.kind {
        Kind::Selector(selector) => found.push(&selector.matchers),
        Kind::Matrix(matrix) => found.push(&matrix.selector.matchers),
        _ => children(expr).into_iter().for_each(|child| collect_selectors(child, found)),
    }
}

/// The expressions right inside of one.
pub(crate) fn children(expr: &Expr) -> Vec<&Expr> {
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) | Kind::Selector(_) | Kind::Matrix(_) => Vec::new(),
        Kind::Subquery(subquery) => vec![&subquery.inner],
        Kind::Aggregate(aggregate) => aggregate.param.iter().chain([&aggregate.inner]).collect(),
        Kind::Call(call) => call.args.iter().collect(),
        Kind::Binary(binary) => vec![&binary.left, &binary.right],
        Kind::Unary(_, inner) | Kind::Paren(inner) | Kind::Constant(inner) => vec![inner],
    }
}

/// False where something depends on the time of evaluation for all that.
fn pin(expr: &mut Expr, at_ms: i64) -> bool {
    match &mut expr.kind {
        Kind::Number(_) | Kind::Text(_) => true,
        Kind::Selector(selector) => {
            if selector.pin == Pin::None {
                Arc::make_mut(selector).pin = Pin::AtMs(at_ms);
            }
            true
        }
        Kind::Matrix(matrix) => {
            if matrix.selector.pin == Pin::None {
                Arc::make_mut(&mut matrix.selector).pin = Pin::AtMs(at_ms);
            }
            true
        }
        // What is inside of a pinned subquery is evaluated at the subquery's own times.
        Kind::Subquery(subquery) => {
            if subquery.pin == Pin::None {
                subquery.pin = Pin::AtMs(at_ms);
            }
            !depends_on_time(&subquery.inner)
        }
        Kind::Aggregate(aggregate) => {
            pin(&mut aggregate.inner, at_ms) && aggregate.param.as_mut().is_none_or(|param| pin(param, at_ms))
        }
        Kind::Call(call) => {
            let free = !call.function.depends_on_time()
                && !matches!(call.function.name, "start" | "end" | "step" | "range");
            call.args.iter_mut().fold(free, |free, arg| pin(arg, at_ms) && free)
        }
        Kind::Binary(binary) => {
            let left = pin(&mut binary.left, at_ms);
            pin(&mut binary.right, at_ms) && left
        }
        Kind::Unary(_, inner) | Kind::Paren(inner) | Kind::Constant(inner) => pin(inner, at_ms),
    }
}

/// Marks the selectors of whose histograms only count and sum are looked at: `histogram_count` and its like are somewhere
/// above them, and nothing that looks at buckets is. Of such histograms it is known whether they were reset, since that is
/// found out before their buckets are left out; Prometheus says so too.
fn mark_needs(expr: &mut Expr, above: Needs) {
    let needs = match &expr.kind {
        Kind::Call(call) => match call.function.name {
            "histogram_count" | "histogram_sum" | "histogram_avg" | "timestamp" | "start_timestamp"
            | "absent" => Needs::CountAndSum,
            "histogram_quantile"
            | "histogram_quantiles"
            | "histogram_fraction"
            | "histogram_stddev"
            | "histogram_stdvar"
            | "changes" => return,
            _ => above,
        },
        Kind::Aggregate(aggregate) if aggregate.op == AggregateOp::CountValues => return,
        Kind::Binary(binary) => match binary.op {
            BinaryOp::TrimUpper | BinaryOp::TrimLower | BinaryOp::Equal | BinaryOp::NotEqual => return,
            _ => above,
        },
        // A reset may lie between two of its times.
        Kind::Subquery(_) => return,
        _ => above,
    };
    match &mut expr.kind {
        Kind::Number(_) | Kind::Text(_) => {}
        Kind::Selector(selector) => Arc::make_mut(selector).needs = needs,
        Kind::Matrix(matrix) => Arc::make_mut(&mut matrix.selector).needs = needs,
        Kind::Subquery(subquery) => mark_needs(&mut subquery.inner, needs),
        Kind::Aggregate(aggregate) => {
            aggregate.param.iter_mut().for_each(|param| mark_needs(param, needs));
            mark_needs(&mut aggregate.inner, needs);
        }
        Kind::Call(call) => call.args.iter_mut().for_each(|arg| mark_needs(arg, needs)),
        Kind::Binary(binary) => {
            mark_needs(&mut binary.left, needs);
            mark_needs(&mut binary.right, needs);
        }
        Kind::Unary(_, inner) | Kind::Paren(inner) | Kind::Constant(inner) => mark_needs(inner, needs),
    }
}

fn depends_on_time(expr: &Expr) -> bool {
    let own = matches!(&expr.kind, Kind::Call(call) if call.function.depends_on_time());
    own || children(expr).into_iter().any(depends_on_time)
}
