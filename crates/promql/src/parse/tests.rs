//! What is understood, what is refused, and where it is said to be wrong.

use super::ast::{BinaryOp, Expr, Kind, Sign, Steady};
use super::{Expression, parse_selector};
use crate::{Experimental, MatchOp, Options, UnquotedNames};

fn options() -> Options {
    Options { experimental: Experimental::Known, ..Options::default() }
}

fn parsed(text: &str) -> Expression {
    Expression::parse(text, &options()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// With parentheses around each operation.
fn grouped(expr: &Expr) -> String {
    match &expr.kind {
        Kind::Number(value) => value.to_string(),
        Kind::Selector(selector) => selector.name.as_deref().unwrap_or("{}").to_string(),
        Kind::Binary(binary) => {
            format!("({} {} {})", grouped(&binary.left), binary.op.sign(), grouped(&binary.right))
        }
        Kind::Unary(Sign::Minus, inner) => format!("-({})", grouped(inner)),
        Kind::Unary(Sign::Plus, inner) | Kind::Paren(inner) | Kind::Constant(inner) => grouped(inner),
        other => format!("{other:?}"),
    }
}

#[test]
fn operators_bind_as_in_prometheus() {
    for (text, wanted) in [
        ("a + b * c", "(a + (b * c))"),
        ("a * b + c", "((a * b) + c)"),
        ("a - b - c", "((a - b) - c)"),
        ("a ^ b ^ c", "(a ^ (b ^ c))"),
        ("-a ^ b", "-((a ^ b))"),
        ("-a * b", "(-(a) * b)"),
        ("2 ^ -a * b", "((2 ^ -(a)) * b)"),
        ("a or b and c unless d", "(a or ((b and c) unless d))"),
        ("a == b + c", "(a == (b + c))"),
        ("a atan2 b + c", "((a atan2 b) + c)"),
        ("-1 ^ 2", "-((1 ^ 2))"),
        ("1 - -1", "(1 - -1)"),
        ("sum + by", "(sum + by)"),
        ("fill + fill", "(fill + fill)"),
        ("a offset 5m ^ b", "(a ^ b)"),
    ] {
        assert_eq!(grouped(&parsed(text).root), wanted, "{text}");
    }
}

#[test]
fn keywords_may_be_names_of_metrics_and_labels() {
    for text in [
        "start",
        "offset",
        "sum{by=\"x\"}",
        "count_values",
        "a + on (bool, group_left) group_left (sum) b",
        "sum by (by, without, offset) (a)",
        "SUM(a) BY (b)",
        "limitk",
        "rate:sum",
        "{\"a b\", \"c d\"=\"e\"}",
        "{__name__=~\".+\", le=\"1\",}",
        "a[5m:] offset -1h",
        "a[1h:5m] @ end() offset 1w",
        "a[step() * 2 + 1m]",
        "a offset -(2 * step())",
        "a @ -1.5",
        "# comment\n a # another\n + b",
        "histogram_quantiles(a, \"q\", 0.5, 0.9)",
    ] {
        parsed(text);
    }
}

#[test]
fn names_without_quotes_may_be_of_any_script_where_that_is_wanted() {
    let utf8 = Options { unquoted_names: UnquotedNames::Utf8, ..Options::default() };
    for text in ["http.server.requests{service.name=\"api\"}", "温度", "sum by (a.b) (c)"] {
        assert!(Expression::parse(text, &utf8).is_ok(), "{text}");
        assert!(Expression::parse(text, &options()).is_err(), "{text}");
    }
}

#[test]
fn a_fault_names_its_place_and_what_was_expected() {
    for (text, place, said) in [
        ("", "1:1", "no expression found"),
        ("sum(", "1:5", "expected a metric"),
        ("a +\n  * b", "2:3", "expected a metric"),
        ("foo{bar=~\"(\"}", "1:5", "bad pattern"),
        ("foo{bar}", "1:8", "expected =, !=, =~ or !~"),
        ("foo{bar=5}", "1:9", "expected string"),
        ("rate(foo)", "1:6", "expected type range vector in call to function \"rate\", got instant vector"),
        ("rate(foo[5m], 1)", "1:1", "expected 1 argument(s)"),
        ("foo[5m] + 1", "1:1", "must contain only scalar and instant vector"),
        ("1 == 1", "1:3", "must use BOOL"),
        ("a + bool b", "1:3", "bool modifier"),
        ("a and 1", "1:1", "not allowed in binary scalar expression"),
        ("a and on (x) group_left b", "1:1", "no grouping allowed"),
        ("{}", "1:1", "at least one non-empty matcher"),
        ("{x=~\".*\"}", "1:1", "at least one non-empty matcher"),
        ("foo[5m][5m]", "1:8", "ranges only allowed for vector selectors"),
        ("foo offset 5m offset 5m", "1:1", "may not be set multiple times"),
        ("foo[0s]", "1:5", "must be greater than 0"),
        ("foo[5m", "1:7", "expected \":\" or \"]\""),
        ("foo) ", "1:4", "unexpected \")\""),
        ("1m1h", "1:1", "bad number or duration"),
        ("\"a", "1:1", "string without its closing"),
        ("nosuch(1)", "1:1", "unknown function"),
        ("topk(a)", "1:1", "expected 2, got 1"),
        ("topk(\"1\", a)", "1:6", "expected type scalar in aggregation parameter, got string"),
        ("a @ b", "1:5", "bad number"),
        ("foo{__name__=\"bar\"}", "1:1", "metric name must not be set twice"),
        ("a + on (x) group_left (x) b", "1:3", "must not occur in ON and GROUP clause"),
        ("info(a, b)", "1:9", "expected label selectors only"),
        ("a[5m:][1h:]", "1:1", "subquery is only allowed on instant vector"),
    ] {
        let error = Expression::parse(text, &options()).expect_err(text);
        assert_eq!(error.position.to_string(), place, "{text}: {error}");
        assert!(error.message.contains(said), "{text}: {error}");
    }
}

#[test]
fn experimental_functions_are_refused_by_name_unless_known() {
    for text in ["limitk(1, a)", "mad_over_time(a[5m])", "a + fill(0) b", "info(a)"] {
        parsed(text);
        let error = Expression::parse(text, &Options::default()).expect_err(text);
        assert!(error.message.contains("not enabled"), "{error}");
    }
}

#[test]
fn nesting_and_chains_are_bounded() {
    for text in [
        format!("{}a{}", "(".repeat(10_000), ")".repeat(10_000)),
        "-".repeat(10_000) + "a",
        "a + ".repeat(5_000) + "a",
        format!("a[{}1m]", "-".repeat(10_000)),
        format!("a[{}]", "1m + ".repeat(5_000) + "1m"),
        "sum(".repeat(10_000),
    ] {
        assert!(Expression::parse(&text, &options()).is_err());
    }
    parsed(&("a + ".repeat(900) + "a"));
    parsed(&format!("{}a{}", "(".repeat(120), ")".repeat(120)));
}

#[test]
fn what_is_pinned_is_evaluated_once() {
    for (text, constant) in [
        ("a @ 5", true),
        ("sum(rate(a[5m] @ end()))", true),
        ("a @ 5 + 1", true),
        ("vector(1)", true),
        ("a", false),
        ("time() + 1", false),
        ("timestamp(a @ 5)", true),
        ("timestamp(abs(a @ 5))", false),
        ("predict_linear(a[5m] @ 5, 1)", false),
    ] {
        let root = parsed(text).root;
        assert_eq!(matches!(root.kind, Kind::Constant(_)), constant, "{text}");
    }
    let Kind::Binary(binary) = parsed("a + b @ 5").root.kind else { panic!("an operation") };
    assert!(matches!(binary.right.kind, Kind::Constant(_)) && binary.op == BinaryOp::Add);
    assert_eq!(binary.left.steady, Steady::No);
}

#[test]
fn selectors_are_read_alone_too() {
    let matchers = parse_selector("up{job!=\"api\"}", &options()).expect("a selector");
    let shown: Vec<_> = matchers.iter().map(|m| (&*m.name, m.op, &*m.value)).collect();
    assert_eq!(shown, [("job", MatchOp::NotEqual, "api"), ("__name__", MatchOp::Equal, "up")]);
    for text in ["up[5m]", "sum(up)", "up offset 5m", "1"] {
        assert!(parse_selector(text, &options()).is_err(), "{text}");
    }
    assert_eq!(parsed("a{x=\"1\"} / sum(b) + max_over_time(c[5m:])").selectors().len(), 3);
}
