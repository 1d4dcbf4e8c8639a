//! An expression, parsed. Every part knows the bytes of the text it was read from.

use std::sync::Arc;

use super::signature::Function;
use crate::Matcher;

/// Bytes of the text: from, and up to but not including.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
    pub(crate) steady: Steady,
}

/// Whether an expression has the same value at every time a query is evaluated at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Steady {
    No,
    /// It has, but nothing would be saved by evaluating it once only.
    Free,
    Yes,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Number(f64),
    Text(Text),
    Selector(Arc<Selector>),
    Matrix(Box<Matrix>),
    Subquery(Box<Subquery>),
    Aggregate(Box<Aggregate>),
    Call(Box<Call>),
    Binary(Box<Binary>),
    Unary(Sign, Box<Expr>),
    Paren(Box<Expr>),
    /// Has the same value at every time the query is evaluated at, so one evaluation is enough. Found after parsing.
    Constant(Box<Expr>),
}

/// What an expression's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Scalar,
    Text,
    Vector,
    Matrix,
}

impl Type {
    /// As Prometheus' documentation calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Text => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        }
    }
}

impl Expr {
    pub(crate) fn kind_of_value(&self) -> Type {
        match &self.kind {
            Kind::Number(_) => Type::Scalar,
            Kind::Text(_) => Type::Text,
            Kind::Selector(_) | Kind::Aggregate(_) => Type::Vector,
            Kind::Matrix(_) | Kind::Subquery(_) => Type::Matrix,
            Kind::Call(call) => call.function.returns,
            Kind::Binary(binary) => binary.returns,
            Kind::Unary(_, inner) | Kind::Paren(inner) | Kind::Constant(inner) => inner.kind_of_value(),
        }
    }

    /// Without the parentheses around it, and whether it is constant or not.
    pub(crate) fn bare(&self) -> &Self {
        match &self.kind {
            Kind::Paren(inner) | Kind::Constant(inner) => inner.bare(),
            _ => self,
        }
    }
}

/// A string. What it says may not be UTF-8 (`"\xff"`), which no label is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Text {
    Utf8(Arc<str>),
    /// As it was written, quotes included.
    NotUtf8(Arc<str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Plus,
    Minus,
}

/// `@`: the time that is looked at, in place of the time of evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pin {
    None,
    AtMs(i64),
    Start,
    End,
}

/// `anchored` and `smoothed`: how a range meets its boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Boundary {
    Plain,
    Anchored,
    Smoothed,
}

#[derive(Debug, Clone)]
pub(crate) struct Selector {
    /// Before the braces.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) offset: Option<Span>,
    pub(crate) pin: Pin,
    pub(crate) boundary: Boundary,
    pub(crate) needs: Needs,
}

/// What of a histogram is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    Buckets,
    /// Its count and its sum, and whether it was reset.
    CountAndSum,
}

#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    pub(crate) selector: Arc<Selector>,
    pub(crate) range: Span,
}

#[derive(Debug, Clone)]
pub(crate) struct Subquery {
    pub(crate) inner: Expr,
    pub(crate) range: Span,
    pub(crate) step: Option<Span>,
    pub(crate) offset: Option<Span>,
    pub(crate) pin: Pin,
}

/// A span of time, as an expression: `5m`, `2 * step()`.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) place: Place,
    pub(crate) kind: SpanKind,
}

#[derive(Debug, Clone)]
pub(crate) enum SpanKind {
    Seconds(f64),
    /// The step of the query.
    Step,
    /// From the query's first to its last time.
    Range,
    Negative(Box<Span>),
    /// In parentheses, or with a plus before it: no literal any more, whatever is inside.
    Group(Box<Span>),
    Of(SpanOp, Box<Span>, Box<Span>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpanOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Max,
    Min,
}

#[derive(Debug, Clone)]
pub(crate) struct Aggregate {
    pub(crate) op: AggregateOp,
    pub(crate) inner: Expr,
    pub(crate) param: Option<Expr>,
    pub(crate) grouping: Grouping,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Grouping {
    By(Vec<Arc<str>>),
    Without(Vec<Arc<str>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    CountValues,
    Quantile,
    Limitk,
    LimitRatio,
}

impl AggregateOp {
    pub(crate) const ALL: [(&'static str, Self); 14] = [
        ("sum", Self::Sum),
        ("avg", Self::Avg),
        ("count", Self::Count),
        ("min", Self::Min),
        ("max", Self::Max),
        ("group", Self::Group),
        ("stddev", Self::Stddev),
        ("stdvar", Self::Stdvar),
        ("topk", Self::Topk),
        ("bottomk", Self::Bottomk),
        ("count_values", Self::CountValues),
        ("quantile", Self::Quantile),
        ("limitk", Self::Limitk),
        ("limit_ratio", Self::LimitRatio),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, op)| *op)
    }

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, op)| *op == self).map_or("", |(name, _)| name)
    }

    /// What its parameter is.
    pub(crate) fn param(self) -> Option<Type> {
        match self {
            Self::Topk | Self::Bottomk | Self::Quantile | Self::Limitk | Self::LimitRatio => {
                Some(Type::Scalar)
            }
            Self::CountValues => Some(Type::Text),
            _ => None,
        }
    }

    pub(crate) fn is_experimental(self) -> bool {
        matches!(self, Self::Limitk | Self::LimitRatio)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) function: &'static Function,
    pub(crate) args: Vec<Expr>,
}

#[derive(Debug, Clone)]
pub(crate) struct Binary {
    pub(crate) op: BinaryOp,
    pub(crate) left: Expr,
    pub(crate) right: Expr,
    pub(crate) matching: Matching,
    /// A comparison answers 0 or 1 in place of leaving series out.
    pub(crate) as_bool: bool,
    pub(crate) returns: Type,
}

/// Which series of both sides belong together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Matching {
    pub(crate) labels: Labelled,
    pub(crate) group: Group,
    /// What a missing series on the left, and on the right, is taken for.
    pub(crate) fill: (Option<f64>, Option<f64>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Labelled {
    On(Vec<Arc<str>>),
    /// `ignoring`; without labels where nothing is said.
    Ignoring(Vec<Arc<str>>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Group {
    OneToOne,
    /// `group_left` with the labels it takes from the right.
    Left(Vec<Arc<str>>),
    /// `group_right` with the labels it takes from the left.
    Right(Vec<Arc<str>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Atan2,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// `</`: a histogram without what is above.
    TrimUpper,
    /// `>/`: a histogram without what is below.
    TrimLower,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Power => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    /// The higher, the tighter it binds.
    pub(crate) fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Add | Self::Subtract => 4,
            Self::Multiply | Self::Divide | Self::Modulo | Self::Atan2 => 5,
            Self::Power => 6,
            _ => 3,
        }
    }

    pub(crate) fn is_comparison(self) -> bool {
        use BinaryOp::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        matches!(self, Equal | NotEqual | Less | LessOrEqual | Greater | GreaterOrEqual)
    }

    pub(crate) fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// Whether the result is no longer the metric that was there before.
    pub(crate) fn makes_another_metric(self) -> bool {
        use BinaryOp::{Add, Atan2, Divide, Modulo, Multiply, Power, Subtract};
        matches!(self, Add | Subtract | Multiply | Divide | Modulo | Power | Atan2)
    }
}
