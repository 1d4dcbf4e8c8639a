//! Parameters as Prometheus reads them: times as seconds or RFC 3339, spans of time as seconds or `1h30m`.

use std::time::Duration;

use promql::{Matcher, parse_selector};

use super::form::Form;
use super::options;
use super::refused::Refused;

/// The first and the last time there are, as Prometheus' clients write and it means them where none is given.
pub(super) const FIRST_MS: i64 = (i64::MIN / 1000 + 62_135_596_801) * 1000;
pub(super) const LAST_MS: i64 = (i64::MAX / 1000 - 62_135_596_801) * 1000 + 999;

/// Seconds beyond which no time is: so many nanoseconds fit into 64 bits, as in Prometheus.
const FARTHEST_S: f64 = 9_223_372_036.0;

/// A time, milliseconds since 1970.
pub(super) fn time_ms(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        let whole = seconds.trunc();
        let ms = ((seconds - whole) * 1000.0).round();
        return (whole.abs() <= FARTHEST_S).then(|| whole as i64 * 1000 + ms as i64);
    }
    match text {
        "-292273086-05-16T16:47:06Z" => Some(FIRST_MS),
        "+292277025-08-18T07:12:54.999999999Z" => Some(LAST_MS),
        _ => text
            .parse::<jiff::Timestamp>()
            .ok()
            .map(|stamp| stamp.as_nanosecond().div_euclid(1_000_000) as i64),
    }
}

/// A parameter that is a time.
pub(super) fn time(form: &Form, name: &str) -> Result<Option<i64>, Refused> {
    let Some(text) = form.text(name) else { return Ok(None) };
    let wrong = || Refused::parameter(name, format_args!("cannot parse {text:?} to a valid timestamp"));
    time_ms(text).map(Some).ok_or_else(wrong)
}

/// A parameter that is a time and has to be there.
pub(super) fn time_wanted(form: &Form, name: &str) -> Result<i64, Refused> {
    let missing = || Refused::parameter(name, "cannot parse \"\" to a valid timestamp");
    time(form, name)?.ok_or_else(missing)
}

/// A span of time, seconds; may be negative where it is a number.
fn span_s(name: &str, text: &str) -> Result<f64, Refused> {
    if let Ok(seconds) = text.parse::<f64>() {
        if seconds.abs() <= FARTHEST_S {
            return Ok(seconds);
        }
        let why = format!("cannot parse {text:?} to a valid duration. It overflows int64");
        return Err(Refused::parameter(name, why));
    }
    let wrong = || Refused::parameter(name, format_args!("cannot parse {text:?} to a valid duration"));
    promql::parse_duration_ms(text).map(|ms| ms as f64 / 1000.0).ok_or_else(wrong)
}

/// How far apart the times of a range are, milliseconds.
pub(super) fn step_ms(form: &Form) -> Result<i64, Refused> {
    let seconds = span_s("step", form.text("step").unwrap_or_default())?;
    // To nanoseconds, and then cut, as Prometheus does.
    let ms = (seconds * 1e9) as i64 / 1_000_000;
    if ms > 0 {
        return Ok(ms);
    }
    let why = "zero or negative query resolution step widths are not accepted. Try a positive integer";
    Err(Refused::parameter("step", why))
}

/// How long the query may take at most.
pub(super) fn timeout(form: &Form) -> Result<Option<Duration>, Refused> {
    let Some(text) = form.text("timeout") else { return Ok(None) };
    let seconds = span_s("timeout", text)?;
    Ok(Some(Duration::try_from_secs_f64(seconds).unwrap_or_default()))
}

/// How long a sample stands for its series, where the query says so.
pub(super) fn lookback_ms(form: &Form) -> Result<Option<i64>, Refused> {
    let Some(text) = form.text("lookback_delta") else { return Ok(None) };
    let ms = (span_s("lookback_delta", text)? * 1000.0) as i64;
    Ok((ms > 0).then_some(ms))
}

/// How many to answer at most; 0 and nothing are no limit.
pub(super) fn limit(form: &Form, name: &str) -> Result<Option<usize>, Refused> {
    let Some(text) = form.text(name) else { return Ok(None) };
    match text.parse::<i64>() {
        Ok(0) => Ok(None),
        Ok(limit) if limit > 0 => Ok(Some(usize::try_from(limit).unwrap_or(usize::MAX))),
        Ok(_) => Err(Refused::parameter(name, "limit must be non-negative")),
        Err(_) => Err(Refused::parameter(name, format_args!("cannot parse {text:?} as a whole number"))),
    }
}

/// `match[]`: each a selector; what meets any of them is meant.
pub(super) fn selectors(form: &Form) -> Result<Vec<Vec<Matcher>>, Refused> {
    let read =
        |text: &str| parse_selector(text, &options()).map_err(|error| Refused::expression("match[]", &error));
    form.all("match[]").map(read).collect()
}

/// `start` and `end`, all there is where they are not given.
pub(super) fn between(form: &Form) -> Result<(i64, i64), Refused> {
    let from_ms = time(form, "start")?.unwrap_or(FIRST_MS);
    let to_ms = time(form, "end")?.unwrap_or(LAST_MS);
    if to_ms < from_ms {
        return Err(Refused::parameter("end", "end timestamp must not be before start time"));
    }
    Ok((from_ms, to_ms))
}

/// The name of a label in a path: `U__` before one with escapes, `_2e_` for the character 0x2e and `__` for `_`.
pub(super) fn label_name(text: &str) -> String {
    let Some(escaped) = text.strip_prefix("U__") else { return text.to_owned() };
    let mut name = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = rest.find('_') {
        name.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('_') {
            name.push('_');
            rest = after;
            continue;
        }
        let code = rest.split_once('_').and_then(|(code, after)| {
            let character = u32::from_str_radix(code, 16).ok().and_then(char::from_u32)?;
            Some((character, after))
        });
        // What is no escape is meant as it stands.
        let Some((character, after)) = code else { return text.to_owned() };
        name.push(character);
        rest = after;
    }
    name.push_str(rest);
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_as_prometheus_reads_them() {
        for (text, at_ms) in [
            ("0", 0),
            ("1435781430.781", 1_435_781_430_781),
            ("-1.5", -1_500),
            ("1e3", 1_000_000),
            ("2015-06-03T13:21:58.555Z", 1_433_337_718_555),
            ("2015-06-03T14:21:58.555+01:00", 1_433_337_718_555),
            ("-292273086-05-16T16:47:06Z", FIRST_MS),
        ] {
            assert_eq!(time_ms(text), Some(at_ms), "{text}");
        }
        for text in ["", "foo", "NaN", "inf", "1e40", "2015-06-03T13:21:58"] {
            assert_eq!(time_ms(text), None, "{text}");
        }
    }

    #[test]
    fn steps_are_seconds_or_spans() {
        let step = |text: &str| {
            let form = Form::read(Some(&format!("step={text}")), "", b"").unwrap();
            step_ms(&form).ok()
        };
        assert_eq!(
            [step("15"), step("0.25"), step("1m30s"), step("5ms")],
            [15_000, 250, 90_000, 5].map(Some)
        );
        for text in ["", "0", "-1", "1h1d", "x", "0.0001", "NaN", "1e300"] {
            assert_eq!(step(text), None, "{text}");
        }
    }

    #[test]
    fn names_of_labels_are_freed_of_their_escapes() {
        for (text, name) in [
            ("job", "job"),
            ("U__service_2e_name", "service.name"),
            ("U__a__b", "a_b"),
            ("U__a_zz_b", "U__a_zz_b"),
            ("U__a_1f600_", "a😀"),
        ] {
            assert_eq!(label_name(text), name);
        }
    }

    proptest! {
        #[test]
        fn no_parameter_panics(text in ".{0,24}|-?[0-9.e]{0,24}|U__[_a-f0-9]{0,12}") {
            let _ = (time_ms(&text), label_name(&text), span_s("step", &text));
        }
    }
}
