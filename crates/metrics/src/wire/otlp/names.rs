//! Names of OpenTelemetry as Prometheus writes them.
//!
//! In: the name, unit and kind of a metric, or the key of an attribute. Out: the name of a metric or a label; nothing where
//! nothing of it is left.
//!
//! Source: "Prometheus and OpenMetrics Compatibility" of the OpenTelemetry specification
//! (<https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>), with the strategies Prometheus 3
//! has for it.

use std::borrow::Cow;

/// How names are translated: Prometheus' `otlp.translation_strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Translation {
    /// Characters Prometheus' own names do not have become underscores; unit and kind are written behind. The default, as
    /// in Prometheus 3.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// Characters become underscores; nothing is written behind.
    UnderscoreEscapingWithoutSuffixes,
    /// Characters stay; unit and kind are written behind.
    NoUtf8EscapingWithSuffixes,
    /// Names stay as they are. Two metrics that differ in their unit only become one.
    NoTranslation,
}

/// What decides on what is written behind a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A sum that only rises.
    Counter,
    Gauge,
    /// Anything else.
    Other,
}

impl Translation {
    /// Reads the name Prometheus' configuration has for it.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "UnderscoreEscapingWithSuffixes" => Self::UnderscoreEscapingWithSuffixes,
            "UnderscoreEscapingWithoutSuffixes" => Self::UnderscoreEscapingWithoutSuffixes,
            "NoUTF8EscapingWithSuffixes" => Self::NoUtf8EscapingWithSuffixes,
            "NoTranslation" => Self::NoTranslation,
            _ => return None,
        })
    }

    fn escapes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::UnderscoreEscapingWithoutSuffixes)
    }

    /// The name of a metric; `None` where nothing but underscores is left of it.
    pub(super) fn metric(self, name: &str, unit: &str, kind: Kind) -> Option<String> {
        let translated = match self {
            Self::UnderscoreEscapingWithSuffixes => escaped_with_suffixes(name, unit, kind),
            Self::UnderscoreEscapingWithoutSuffixes => {
                let words: Vec<&str> = name
                    .split(|c: char| !is_metric_character(c) && c != '_')
                    .filter(|word| !word.is_empty())
                    .collect();
                not_a_digit_first(words.join("_"))
            }
            Self::NoUtf8EscapingWithSuffixes => with_suffixes(name, unit, kind),
            Self::NoTranslation => name.to_owned(),
        };
        let usable = translated == name || translated.contains(|c: char| c != '_');
        (!translated.is_empty() && usable).then_some(translated)
    }

    /// The name of a label; `None` where nothing but underscores is left of it.
    pub(super) fn label(self, key: &str) -> Option<Cow<'_, str>> {
        if key.is_empty() {
            return None;
        }
        if !self.escapes() {
            return Some(key.into());
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let plain = key.chars().all(fits);
        let mut name: Cow<'_, str> =
            if plain { key.into() } else { key.chars().map(|c| if fits(c) { c } else { '_' }).collect() };
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            name.to_mut().insert_str(0, "key_");
        } else if name.starts_with('_') && !name.starts_with("__") {
            name.to_mut().insert_str(0, "key");
        }
        (name == key || name.contains(|c: char| c != '_')).then_some(name)
    }
}

fn is_metric_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

fn not_a_digit_first(name: String) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// Words of a name joined by underscores, with unit and kind as last words where they are not among them.
fn escaped_with_suffixes(name: &str, unit: &str, kind: Kind) -> String {
    let (main, per) = unit_words(unit);
    let (main, per) = (plain_unit(&main), plain_unit(&per));
    let per = per.trim_end_matches('_');
    let mut words: Vec<&str> =
        name.split(|c: char| !is_metric_character(c)).filter(|word| !word.is_empty()).collect();
    let new = |words: &[&str], word: &str| !word.is_empty() && !words.contains(&word);
    let per = if per != "per" && new(&words, per) { per } else { "" };
    let main = if per.is_empty() { &*main } else { main.trim_end_matches('_') };
    if new(&words, main) {
        words.push(main);
    }
    if !per.is_empty() {
        words.push(per);
    }
    let last = suffix(unit, kind);
    if !last.is_empty() {
        words.retain(|word| *word != last);
        words.push(last);
    }
    not_a_digit_first(words.join("_"))
}

/// A name as it is, with unit and kind behind it where it does not end so.
fn with_suffixes(name: &str, unit: &str, kind: Kind) -> String {
    let (main, per) = unit_words(unit);
    let last = suffix(unit, kind);
    let mut stem = name;
    for end in [last, &*per] {
        stem = without_end(stem, end);
    }
    let mut name = stem.to_owned();
    for end in [if stem.ends_with(&*main) { "" } else { &*main }, &*per, last] {
        if !end.is_empty() {
            name.push('_');
            name.push_str(end);
        }
    }
    name
}

/// The name without an end and the one character before it, where it has that end and more.
fn without_end<'n>(name: &'n str, end: &str) -> &'n str {
    let Some(stem) = name.strip_suffix(end).filter(|_| !end.is_empty()) else { return name };
    match stem.char_indices().next_back() {
        Some((at, _)) if at > 0 => &stem[..at],
        _ => name,
    }
}

/// What the kind of a metric asks for at the end. A gauge of unit 1 is a ratio; counters of unit 1 count things.
fn suffix(unit: &str, kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "total",
        Kind::Gauge if unit == "1" => "ratio",
        Kind::Gauge | Kind::Other => "",
    }
}

/// A unit as words: what is measured, and per what.
fn unit_words(unit: &str) -> (Cow<'_, str>, Cow<'_, str>) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    // What is in braces is for people.
    let spoken = |unit: &str| unit.contains(['{', '}']);
    let main = main.trim();
    let main = if spoken(main) { "" } else { unit_word(main) };
    let per = per.trim();
    let per = if per.is_empty() || spoken(per) { "".into() } else { format!("per_{}", per_word(per)).into() };
    (main.into(), per)
}

/// UCUM's units as Prometheus writes them.
fn unit_word(unit: &str) -> &str {
    match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tibibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "1" => "",
        "%" => "percent",
        other => other,
    }
}

fn per_word(unit: &str) -> &str {
    match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        other => other,
    }
}

/// A unit of the characters of names; several underscores are one, and none is first.
fn plain_unit(unit: &str) -> String {
    let mut plain = String::with_capacity(unit.len());
    for c in unit.chars() {
        let c = if is_metric_character(c) { c } else { '_' };
        if c != '_' || !plain.ends_with('_') {
            plain.push(c);
        }
    }
    plain.strip_prefix('_').map(str::to_owned).unwrap_or(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(translation: Translation, cases: &[(&str, &str, Kind, &str)]) {
        for (name, unit, kind, expected) in cases {
            let found = translation.metric(name, unit, *kind);
            assert_eq!(found.as_deref(), Some(*expected), "{name:?} in {unit:?} as {kind:?}");
        }
    }

    #[test]
    fn names_get_unit_and_kind_behind_them() {
        check(
            Translation::UnderscoreEscapingWithSuffixes,
            &[
                ("http.server.request.duration", "s", Kind::Other, "http_server_request_duration_seconds"),
                ("requests", "", Kind::Counter, "requests_total"),
                ("requests.total", "1", Kind::Counter, "requests_total"),
                ("total.requests", "", Kind::Counter, "requests_total"),
                ("memory.usage", "By", Kind::Gauge, "memory_usage_bytes"),
                ("memory.usage.bytes", "By", Kind::Gauge, "memory_usage_bytes"),
                ("cpu.utilization", "1", Kind::Gauge, "cpu_utilization_ratio"),
                ("cpu.utilization", "1", Kind::Other, "cpu_utilization"),
                ("network.io", "By/s", Kind::Gauge, "network_io_bytes_per_second"),
                ("network.io", "By/s", Kind::Counter, "network_io_bytes_per_second_total"),
                ("queue.length", "{item}", Kind::Gauge, "queue_length"),
                ("rate", "{request}/s", Kind::Gauge, "rate_per_second"),
                ("disk.used", "%", Kind::Gauge, "disk_used_percent"),
                ("system.__.load", "", Kind::Gauge, "system_load"),
                ("2xx.responses", "", Kind::Gauge, "_2xx_responses"),
                ("überlast", "", Kind::Gauge, "berlast"),
                ("a:b", "", Kind::Gauge, "a:b"),
                ("speed", "m/h", Kind::Gauge, "speed_meters_per_hour"),
                ("odd", "foo bar", Kind::Gauge, "odd_foo_bar"),
            ],
        );
        assert_eq!(Translation::default().metric("…", "", Kind::Gauge), None);
        assert_eq!(Translation::default().metric("", "", Kind::Gauge), None);
    }

    #[test]
    fn other_strategies_leave_out_one_or_the_other() {
        check(
            Translation::UnderscoreEscapingWithoutSuffixes,
            &[("http.requests", "s", Kind::Counter, "http_requests"), ("1st", "", Kind::Gauge, "_1st")],
        );
        check(
            Translation::NoUtf8EscapingWithSuffixes,
            &[
                ("http.requests", "s", Kind::Counter, "http.requests_seconds_total"),
                ("http.requests.total", "", Kind::Counter, "http.requests_total"),
                ("io_per_second", "By/s", Kind::Gauge, "io_bytes_per_second"),
                ("usage.bytes", "By", Kind::Gauge, "usage.bytes"),
                ("load", "1", Kind::Gauge, "load_ratio"),
                ("total", "", Kind::Counter, "total_total"),
            ],
        );
        check(Translation::NoTranslation, &[("http.requests", "s", Kind::Counter, "http.requests")]);
    }

    #[test]
    fn labels_begin_with_a_letter() {
        let label = |key| Translation::default().label(key).map(Cow::into_owned);
        assert_eq!(label("http.method").as_deref(), Some("http_method"));
        assert_eq!(label("1st").as_deref(), Some("key_1st"));
        assert_eq!(label("_private").as_deref(), Some("key_private"));
        assert_eq!(label("__reserved__").as_deref(), Some("__reserved__"));
        assert_eq!(label("ümlaut").as_deref(), Some("key_mlaut"));
        assert_eq!((label(""), label("..")), (None, None));
        assert_eq!(Translation::NoTranslation.label("http.method").as_deref(), Some("http.method"));
    }
}
