//! Which series match: conditions on labels, answered by whatever lists series by label.
//!
//! In: matchers. Out: places of series, rising. Lists of the conditions that a series without the label cannot meet are
//! cut with each other; the rest is asked of the labels of what is left.

use promql::{MatchOp, Matcher, SourceError};
use regex::Regex;

/// Bytes a compiled expression may take: RE2, too, refuses what grows beyond all measure.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// A condition, ready to be asked.
#[derive(Debug)]
pub(crate) struct Condition {
    pub(crate) name: std::sync::Arc<str>,
    test: Test,
    wanted: Wanted,
}

#[derive(Debug)]
enum Test {
    Equals(std::sync::Arc<str>),
    Matches(Regex),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Held,
    NotHeld,
}

impl Condition {
    /// Makes a matcher ready; an expression that cannot be read is said.
    pub(crate) fn of(matcher: &Matcher) -> Result<Self, SourceError> {
        let regex = || {
            // As Prometheus does: the whole value, and a dot is any character.
            regex::RegexBuilder::new(&format!("^(?s:{})$", matcher.value))
                .size_limit(REGEX_BYTES_MAX)
                .build()
                .map(Test::Matches)
                .map_err(|error| {
                    let why = match error {
                        regex::Error::CompiledTooBig(_) => "it grows too large".to_owned(),
                        other => other.to_string().lines().last().unwrap_or_default().trim().to_owned(),
                    };
                    SourceError::Unreadable(format!(
                        "the expression {:?} for label {:?} is not understood: {why}",
                        matcher.value, matcher.name
                    ))
                })
        };
        let (test, wanted) = match matcher.op {
            MatchOp::Equal => (Test::Equals(matcher.value.clone()), Wanted::Held),
            MatchOp::NotEqual => (Test::Equals(matcher.value.clone()), Wanted::NotHeld),
            MatchOp::Matches => (regex()?, Wanted::Held),
            MatchOp::MatchesNot => (regex()?, Wanted::NotHeld),
        };
        Ok(Self { name: matcher.name.clone(), test, wanted })
    }

    /// Makes all of them ready.
    pub(crate) fn all_of(matchers: &[Matcher]) -> Result<Vec<Self>, SourceError> {
        matchers.iter().map(Self::of).collect()
    }

    /// Whether a value meets it. A label that is not there has an empty one.
    pub(crate) fn holds(&self, value: &str) -> bool {
        let held = match &self.test {
            Test::Equals(wanted) => **wanted == *value,
            Test::Matches(regex) => regex.is_match(value),
        };
        held == (self.wanted == Wanted::Held)
    }

    /// The only value that meets it, where there is one.
    fn only(&self) -> Option<&str> {
        match (&self.test, self.wanted) {
            (Test::Equals(value), Wanted::Held) => Some(value),
            _ => None,
        }
    }
}

/// Lists series by label.
pub(crate) trait Postings {
    /// What may go wrong when asking.
    type Error;

    /// All series.
    fn all(&self) -> Result<Vec<u32>, Self::Error>;

    /// Series with this label, rising.
    fn with(&self, name: &str, value: &str) -> Result<Vec<u32>, Self::Error>;

    /// Series with a label of this name whose value meets the condition, in any order, each once.
    fn matching(&self, name: &str, holds: &dyn Fn(&str) -> bool) -> Result<Vec<u32>, Self::Error>;

    /// Whether the value of a label of a series meets the condition; it is empty where there is no such label.
    fn test(&self, series: u32, name: &str, holds: &dyn Fn(&str) -> bool) -> Result<bool, Self::Error>;
}

/// The series that meet all conditions, rising.
pub(crate) fn find<P: Postings>(postings: &P, conditions: &[Condition]) -> Result<Vec<u32>, P::Error> {
    let mut found: Option<Vec<u32>> = None;
    let (listed, asked): (Vec<&Condition>, Vec<&Condition>) =
        conditions.iter().partition(|condition| !condition.holds(""));
    // A list for one value is short to get: first.
    let (exact, rest): (Vec<&Condition>, Vec<&Condition>) =
        listed.into_iter().partition(|condition| condition.only().is_some());
    for condition in exact.into_iter().chain(rest) {
        let mut list = match condition.only() {
            Some(value) => postings.with(&condition.name, value)?,
            None => postings.matching(&condition.name, &|value| condition.holds(value))?,
        };
        if !list.is_sorted() {
            list.sort_unstable();
        }
        let both = match found {
            None => list,
            Some(before) => intersection(&before, &list),
        };
        if both.is_empty() {
            return Ok(both);
        }
        found = Some(both);
    }
    let mut left = match found {
        Some(found) => found,
        None => postings.all()?,
    };
    for condition in asked {
        let mut kept = Vec::with_capacity(left.len());
        for series in left {
            if postings.test(series, &condition.name, &|value| condition.holds(value))? {
                kept.push(series);
            }
        }
        left = kept;
    }
    Ok(left)
}

/// What is in both lists; both rise. Of a long list only the places are looked at that a short one names.
fn intersection(a: &[u32], b: &[u32]) -> Vec<u32> {
    let (short, mut long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let mut both = Vec::with_capacity(short.len());
    for series in short {
        let at = if long.len() / 16 > short.len() {
            long.partition_point(|other| other < series)
        } else {
            long.iter().position(|other| other >= series).unwrap_or(long.len())
        };
        long = &long[at..];
        if long.first() == Some(series) {
            both.push(*series);
        }
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(op: MatchOp, value: &str) -> Condition {
        Condition::of(&Matcher { name: "a".into(), op, value: value.into() }).expect("understood")
    }

    #[test]
    fn an_expression_is_of_the_whole_value() {
        let matches = condition(MatchOp::Matches, "a|b.");
        let held: Vec<&str> =
            ["a", "ab", "b\n", "bc", "xa", ""].into_iter().filter(|v| matches.holds(v)).collect();
        assert_eq!(held, ["a", "b\n", "bc"]);
        assert!(condition(MatchOp::MatchesNot, "a.*").holds(""));
    }

    #[test]
    fn an_expression_that_makes_no_sense_is_said() {
        let matcher = Matcher { name: "a".into(), op: MatchOp::Matches, value: "(".into() };
        let error = Condition::of(&matcher).expect_err("no expression").to_string();
        assert!(error.contains("\"(\"") && error.contains("unclosed group"), "{error}");
    }

    #[test]
    fn what_is_in_both_lists() {
        assert_eq!(intersection(&[1, 3, 5], &[0, 1, 2, 5, 6]), [1, 5]);
        let long: Vec<u32> = (0..1000).collect();
        assert_eq!(intersection(&long, &[7, 500, 2000]), [7, 500]);
    }
}
