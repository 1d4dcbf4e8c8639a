//! The labels of one series as they came, looked at before they become [`Labels`].
//!
//! In: pairs of a message, borrowed. Out: the same pairs sorted, or the [`Cause`] why there is no such series.
//!
//! Labels that are not sorted are sorted: the specification asks senders to sort, and Prometheus takes them all the same.
//! A label with an empty value is no label, as everywhere in Prometheus.

use promql::{Labels, METRIC_NAME};

use super::known::{self, Known};
use super::{Cause, Limits};

/// Name and value as they came.
pub(crate) type Pair<'a> = (&'a [u8], &'a [u8]);

/// Why there is no series with these labels, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfit {
    pub(crate) cause: Cause,
    pub(crate) say: String,
}

/// Whether pairs are what [`Labels`] are: sorted, each name once, nothing empty.
#[inline]
fn canonical(pairs: &[Pair<'_>]) -> bool {
    let rising = |pair: &[Pair<'_>]| pair[0].0 < pair[1].0;
    pairs.windows(2).all(rising) && pairs.iter().all(|(name, value)| !name.is_empty() && !value.is_empty())
}

/// Sorts pairs and leaves out those without a value.
fn sort(pairs: &mut Vec<Pair<'_>>) {
    pairs.retain(|(name, value)| !value.is_empty() || name.is_empty());
    pairs.sort_unstable_by_key(|pair| pair.0);
}

/// The labels of a series, found or made. `hash` is that of the pairs as they stand in the message. The pairs are sorted
/// where no series is found under it.
#[inline]
pub(crate) fn series(
    known: &mut Known,
    pairs: &mut Vec<Pair<'_>>,
    limits: &Limits,
    hash: u64,
) -> Result<Labels, Unfit> {
    match known.find(hash, |labels| known::same(labels, pairs.iter().copied())) {
        Some(labels) => Ok(labels),
        None => new_series(known, pairs, limits, hash),
    }
}

#[cold]
fn new_series(
    known: &mut Known,
    pairs: &mut Vec<Pair<'_>>,
    limits: &Limits,
    hash: u64,
) -> Result<Labels, Unfit> {
    let hash = if canonical(pairs) {
        hash
    } else {
        sort(pairs);
        let hashes = pairs.iter().flat_map(|(name, value)| [known.hash(name), known.hash(value)]);
        let hash = known.combine(hashes);
        if let Some(labels) = known.find(hash, |labels| known::same(labels, pairs.iter().copied())) {
            return Ok(labels);
        }
        hash
    };
    let texts = checked(pairs, limits)?;
    if !pairs.iter().any(|(name, _)| *name == METRIC_NAME.as_bytes()) {
        return Err(Unfit { cause: Cause::NoName, say: format!("{} has no {METRIC_NAME}", shown(pairs)) });
    }
    Ok(known.make(hash, texts.into_iter()))
}

/// The labels of an exemplar: they need no name, and are not remembered.
pub(crate) fn exemplar(pairs: &mut Vec<Pair<'_>>, limits: &Limits) -> Result<Labels, Unfit> {
    sort(pairs);
    let texts = checked(pairs, limits)?;
    let characters: usize =
        texts.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
    let most = super::limits::EXEMPLAR_CHARACTERS;
    if characters > most {
        let say = format!("the labels of an exemplar have {characters} characters, more than {most}");
        return Err(Unfit { cause: Cause::ExemplarTooLong, say });
    }
    Ok(Labels::new(texts))
}

/// Sorted pairs as text.
fn checked<'a>(pairs: &[Pair<'a>], limits: &Limits) -> Result<Vec<(&'a str, &'a str)>, Unfit> {
    let unfit = |cause, say: String| Err(Unfit { cause, say: format!("{} {say}", shown(pairs)) });
    if pairs.len() > limits.labels {
        return unfit(Cause::TooManyLabels, format!("has more than {} labels", limits.labels));
    }
    if pairs.iter().any(|(name, _)| name.is_empty()) {
        return unfit(Cause::EmptyLabelName, "has a label without a name".to_owned());
    }
    if let Some(twice) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let name = String::from_utf8_lossy(twice[0].0);
        return unfit(Cause::DuplicateLabel, format!("has the label {} twice", short(&name)));
    }
    for (name, value) in pairs {
        for (what, text, limit) in [("name", name, limits.name_bytes), ("value", value, limits.value_bytes)] {
            if text.len() > limit {
                let say = format!("has a label with a {what} of {} bytes, more than {limit}", text.len());
                return unfit(Cause::LabelTooLong, say);
            }
        }
    }
    let text = |pair: &Pair<'a>| Some((std::str::from_utf8(pair.0).ok()?, std::str::from_utf8(pair.1).ok()?));
    match pairs.iter().map(text).collect() {
        Some(texts) => Ok(texts),
        None => unfit(Cause::NotUtf8, "has a label that is not UTF-8".to_owned()),
    }
}

/// Pairs for people, not more than a line of them.
pub(crate) fn shown(pairs: &[Pair<'_>]) -> String {
    let text = |bytes| short(&String::from_utf8_lossy(bytes)).into_owned();
    let name = pairs.iter().find(|(name, _)| *name == METRIC_NAME.as_bytes());
    let mut line = name.map_or_else(String::new, |(_, value)| text(value));
    line.push('{');
    let others = pairs.iter().filter(|(name, _)| *name != METRIC_NAME.as_bytes());
    for (at, (name, value)) in others.enumerate() {
        if at == 4 {
            line.push_str(", …");
            break;
        }
        line.push_str(if at == 0 { "" } else { ", " });
        line.push_str(&format!("{}={:?}", text(name), text(value)));
    }
    line.push('}');
    line
}

/// A text of at most 64 characters, for a message to people.
pub(crate) fn short(text: &str) -> std::borrow::Cow<'_, str> {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(pairs: &[(&str, &str)]) -> Result<Labels, Unfit> {
        let mut pairs = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        series(&mut Known::default(), &mut pairs, &Limits::default(), 1)
    }

    #[test]
    fn labels_in_any_order_are_one_series_and_empty_ones_are_none() {
        let sorted = made(&[("__name__", "up"), ("instance", "a"), ("job", "b")]).expect("a series");
        let other = made(&[("job", "b"), ("empty", ""), ("instance", "a"), ("__name__", "up")]);
        assert_eq!(other, Ok(sorted));
    }

    #[test]
    fn what_is_no_series_says_why() {
        let cause = |pairs: &[(&str, &str)]| made(pairs).map_err(|unfit| unfit.cause);
        assert_eq!(cause(&[("job", "b")]), Err(Cause::NoName));
        assert_eq!(cause(&[]), Err(Cause::NoName));
        assert_eq!(cause(&[("__name__", "")]), Err(Cause::NoName));
        assert_eq!(cause(&[("__name__", "up"), ("", "b")]), Err(Cause::EmptyLabelName));
        assert_eq!(cause(&[("__name__", "up"), ("", "")]), Err(Cause::EmptyLabelName));
        assert_eq!(cause(&[("a", "1"), ("__name__", "up"), ("a", "1")]), Err(Cause::DuplicateLabel));
        assert_eq!(cause(&[("__name__", "up"), ("a", &"x".repeat(4097))]), Err(Cause::LabelTooLong));
        assert_eq!(cause(&[("__name__", "up"), (&"x".repeat(257), "a")]), Err(Cause::LabelTooLong));
        let many: Vec<String> = (0..64).map(|n| format!("l{n}")).collect();
        let many: Vec<(&str, &str)> =
            many.iter().map(|name| (&**name, "x")).chain([("__name__", "up")]).collect();
        assert_eq!(cause(&many), Err(Cause::TooManyLabels));
        assert!(cause(&many[1..]).is_ok());
        let unfit = made(&[("__name__", "up"), ("job", "b"), ("job", "c")]).expect_err("twice");
        assert_eq!(unfit.say, r#"up{job="b", job="c"} has the label job twice"#);
        let mut broken: Vec<Pair<'_>> = vec![(b"__name__", b"up"), (b"a", b"\xff")];
        let unfit = series(&mut Known::default(), &mut broken, &Limits::default(), 1).expect_err("no text");
        assert_eq!(unfit.cause, Cause::NotUtf8);
    }
}
