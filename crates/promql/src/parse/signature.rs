//! The functions of PromQL: what they take and what they return.

use super::ast::Type;
use Type::{Matrix, Scalar, Text, Vector};

/// A function's signature.
#[derive(Debug, PartialEq)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) takes: &'static [Type],
    pub(crate) more: More,
    pub(crate) returns: Type,
    pub(crate) experimental: bool,
}

/// Whether more or fewer arguments may be given than the signature has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum More {
    /// Exactly so many.
    No,
    /// The last may be left out, and there may be so many of it.
    UpTo(usize),
    /// The last may be left out, and there may be any number of it.
    Any,
}

impl Function {
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        FUNCTIONS.binary_search_by(|function| function.name.cmp(name)).ok().map(|at| &FUNCTIONS[at])
    }

    /// What the argument at this place has to be.
    pub(crate) fn argument(&self, at: usize) -> Option<Type> {
        self.takes.get(at).or(self.takes.last()).copied()
    }

    /// Whether its value may differ between times of evaluation though its arguments do not.
    pub(crate) fn depends_on_time(&self) -> bool {
        matches!(
            self.name,
            "days_in_month"
                | "day_of_month"
                | "day_of_week"
                | "day_of_year"
                | "hour"
                | "minute"
                | "month"
                | "year"
                | "predict_linear"
                | "time"
                | "timestamp"
        )
    }
}

const fn is(name: &'static str, takes: &'static [Type], returns: Type) -> Function {
    Function { name, takes, more: More::No, returns, experimental: false }
}

const fn new(name: &'static str, takes: &'static [Type], returns: Type) -> Function {
    Function { name, takes, more: More::No, returns, experimental: true }
}

const fn more(mut function: Function, more: More) -> Function {
    function.more = more;
    function
}

/// The names of all functions, sorted.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|function| function.name)
}

/// Sorted by name.
static FUNCTIONS: [Function; 91] = [
    is("abs", &[Vector], Vector),
    is("absent", &[Vector], Vector),
    is("absent_over_time", &[Matrix], Vector),
    is("acos", &[Vector], Vector),
    is("acosh", &[Vector], Vector),
    is("asin", &[Vector], Vector),
    is("asinh", &[Vector], Vector),
    is("atan", &[Vector], Vector),
    is("atanh", &[Vector], Vector),
    is("avg_over_time", &[Matrix], Vector),
    is("ceil", &[Vector], Vector),
    is("changes", &[Matrix], Vector),
    is("clamp", &[Vector, Scalar, Scalar], Vector),
    is("clamp_max", &[Vector, Scalar], Vector),
    is("clamp_min", &[Vector, Scalar], Vector),
    is("cos", &[Vector], Vector),
    is("cosh", &[Vector], Vector),
    is("count_over_time", &[Matrix], Vector),
    more(is("day_of_month", &[Vector], Vector), More::UpTo(1)),
    more(is("day_of_week", &[Vector], Vector), More::UpTo(1)),
    more(is("day_of_year", &[Vector], Vector), More::UpTo(1)),
    more(is("days_in_month", &[Vector], Vector), More::UpTo(1)),
    is("deg", &[Vector], Vector),
    is("delta", &[Matrix], Vector),
    is("deriv", &[Matrix], Vector),
    new("double_exponential_smoothing", &[Matrix, Scalar, Scalar], Vector),
    new("end", &[], Scalar),
    is("exp", &[Vector], Vector),
    is("first_over_time", &[Matrix], Vector),
    is("floor", &[Vector], Vector),
    is("histogram_avg", &[Vector], Vector),
    is("histogram_count", &[Vector], Vector),
    is("histogram_fraction", &[Scalar, Scalar, Vector], Vector),
    is("histogram_quantile", &[Scalar, Vector], Vector),
    more(new("histogram_quantiles", &[Vector, Text, Scalar, Scalar], Vector), More::UpTo(9)),
    is("histogram_stddev", &[Vector], Vector),
    is("histogram_stdvar", &[Vector], Vector),
    is("histogram_sum", &[Vector], Vector),
    more(is("hour", &[Vector], Vector), More::UpTo(1)),
    is("idelta", &[Matrix], Vector),
    is("increase", &[Matrix], Vector),
    more(new("info", &[Vector, Vector], Vector), More::UpTo(1)),
    more(new("integral", &[Matrix, Scalar], Vector), More::UpTo(1)),
    is("irate", &[Matrix], Vector),
    more(is("label_join", &[Vector, Text, Text, Text], Vector), More::Any),
    is("label_replace", &[Vector, Text, Text, Text, Text], Vector),
    is("last_over_time", &[Matrix], Vector),
    is("ln", &[Vector], Vector),
    is("log10", &[Vector], Vector),
    is("log2", &[Vector], Vector),
    new("mad_over_time", &[Matrix], Vector),
    new("max_of", &[Scalar, Scalar], Scalar),
    is("max_over_time", &[Matrix], Vector),
    new("min_of", &[Scalar, Scalar], Scalar),
    is("min_over_time", &[Matrix], Vector),
    more(is("minute", &[Vector], Vector), More::UpTo(1)),
    more(is("month", &[Vector], Vector), More::UpTo(1)),
    is("pi", &[], Scalar),
    is("predict_linear", &[Matrix, Scalar], Vector),
    is("present_over_time", &[Matrix], Vector),
    is("quantile_over_time", &[Scalar, Matrix], Vector),
    is("rad", &[Vector], Vector),
    new("range", &[], Scalar),
    is("rate", &[Matrix], Vector),
    is("resets", &[Matrix], Vector),
    more(is("round", &[Vector, Scalar], Vector), More::UpTo(1)),
    is("scalar", &[Vector], Scalar),
    is("sgn", &[Vector], Vector),
    is("sin", &[Vector], Vector),
    is("sinh", &[Vector], Vector),
    is("sort", &[Vector], Vector),
    more(new("sort_by_label", &[Vector, Text], Vector), More::Any),
    more(new("sort_by_label_desc", &[Vector, Text], Vector), More::Any),
    is("sort_desc", &[Vector], Vector),
    is("sqrt", &[Vector], Vector),
    new("start", &[], Scalar),
    new("start_timestamp", &[Vector], Vector),
    is("stddev_over_time", &[Matrix], Vector),
    is("stdvar_over_time", &[Matrix], Vector),
    new("step", &[], Scalar),
    is("sum_over_time", &[Matrix], Vector),
    is("tan", &[Vector], Vector),
    is("tanh", &[Vector], Vector),
    is("time", &[], Scalar),
    is("timestamp", &[Vector], Vector),
    new("ts_of_first_over_time", &[Matrix], Vector),
    new("ts_of_last_over_time", &[Matrix], Vector),
    new("ts_of_max_over_time", &[Matrix], Vector),
    new("ts_of_min_over_time", &[Matrix], Vector),
    is("vector", &[Scalar], Vector),
    more(is("year", &[Vector], Vector), More::UpTo(1)),
];

#[cfg(test)]
mod tests {
    use super::{FUNCTIONS, Function};

    #[test]
    fn every_function_is_found_by_its_name() {
        assert!(FUNCTIONS.is_sorted_by_key(|function| function.name));
        for function in &FUNCTIONS {
            assert_eq!(Function::named(function.name), Some(function));
        }
        assert_eq!(Function::named("rates"), None);
    }
}
