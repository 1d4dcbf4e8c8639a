//! Values as text: as Go prints them, and as Prometheus makes numbers readable.

use super::expand::Value;
use crate::calendar::Civil;
use crate::go::{General, Quoted};

/// As `%v` does.
pub(super) fn printed(value: &Value) -> String {
    match value {
        Value::Nil => "<no value>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Number(value) => General(*value).to_string(),
        Value::Text(text) => text.to_string(),
        Value::Labels(labels) => {
            let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}:{value}")).collect();
            format!("map[{}]", pairs.join(" "))
        }
        Value::Sample(sample) => {
            let labels = printed(&Value::Labels(sample.labels.clone()));
            format!("{{{labels} {}}}", printed(&super::expand::of_sample(&sample.value)))
        }
        Value::Samples(samples) => {
            let all: Vec<String> =
                samples.iter().map(|sample| printed(&Value::Sample(sample.clone()))).collect();
            format!("[{}]", all.join(" "))
        }
        Value::Root => "<data>".to_owned(),
    }
}

/// As `%.4g` does.
pub(super) fn four_digits(value: f64) -> String {
    general(value, 4)
}

/// As `%.{digits}g` does: so many digits that count, without zeros behind.
fn general(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return General(value).to_string();
    }
    let digits = digits.max(1);
    let rounded = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= i32::try_from(digits).unwrap_or(i32::MAX) {
        return format!("{}{}", without_zeros(mantissa), go_exponent(exponent));
    }
    let behind = usize::try_from(digits as i64 - 1 - i64::from(exponent)).unwrap_or(0);
    without_zeros(&format!("{value:.behind$}")).to_owned()
}

fn without_zeros(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

fn go_exponent(exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("e{sign}{:02}", exponent.abs())
}

const LARGER: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const SMALLER: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];
const BINARY: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];

pub(super) fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return four_digits(value);
    }
    if value.abs() >= 1.0 { scaled_down(value, &LARGER, 1000.0) } else { scaled_up(value) }
}

pub(super) fn humanize_1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return four_digits(value);
    }
    scaled_down(value, &BINARY, 1024.0)
}

fn scaled_down(mut value: f64, prefixes: &[&str], by: f64) -> String {
    let mut prefix = "";
    for larger in prefixes {
        if value.abs() < by {
            break;
        }
        prefix = larger;
        value /= by;
    }
    format!("{}{prefix}", four_digits(value))
}

fn scaled_up(mut value: f64) -> String {
    let mut prefix = "";
    for smaller in SMALLER {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = smaller;
        value *= 1000.0;
    }
    format!("{}{prefix}", four_digits(value))
}

/// Of seconds.
pub(super) fn humanize_duration(value: f64) -> String {
    if !value.is_finite() {
        return four_digits(value);
    }
    if value == 0.0 {
        return format!("{}s", four_digits(value));
    }
    if value.abs() < 1.0 {
        return format!("{}s", scaled_up(value));
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let whole = value.abs() as i64;
    let (seconds, minutes) = (whole % 60, whole / 60 % 60);
    let (hours, days) = (whole / 3_600 % 24, whole / 86_400);
    if days != 0 {
        return format!("{sign}{days}d {hours}h {minutes}m {seconds}s");
    }
    if hours != 0 {
        return format!("{sign}{hours}h {minutes}m {seconds}s");
    }
    if minutes != 0 {
        return format!("{sign}{minutes}m {seconds}s");
    }
    format!("{sign}{}s", four_digits(value.abs()))
}

/// Of seconds since 1970.
pub(super) fn humanize_timestamp(value: f64) -> Result<String, String> {
    if !value.is_finite() {
        return Ok(four_digits(value));
    }
    let nanoseconds = value * 1e9;
    if !(-9.223_372_036_854_776e18..9.223_372_036_854_776e18).contains(&nanoseconds) {
        return Err(format!(
            "{} cannot be represented as a nanoseconds timestamp since it overflows int64",
            General(value)
        ));
    }
    // Prometheus' times have milliseconds.
    let ms = nanoseconds as i64 / 1_000_000;
    let Civil { year, month, day, hour, minute, second, .. } = Civil::of(ms.div_euclid(1000));
    let fraction = format!(".{:03}", ms.rem_euclid(1000));
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    Ok(format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{fraction} +0000 UTC"))
}

/// As Go's `strings.Title` does: the first letter of each word is a capital one.
pub(super) fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        if separates(before) {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        before = c;
    }
    out
}

fn separates(c: char) -> bool {
    match c {
        '_' => false,
        c if c.is_ascii() => !c.is_ascii_alphanumeric(),
        c => !c.is_alphanumeric() && c.is_whitespace(),
    }
}

/// As Go's `fmt.Sprintf` does, for the verbs that numbers and texts have.
pub(super) fn printf(format: &str, arguments: &[Value]) -> String {
    let mut out = String::with_capacity(format.len() + 16);
    let mut rest = format;
    let mut used = 0;
    while let Some(percent) = rest.find('%') {
        out.push_str(&rest[..percent]);
        rest = &rest[percent + 1..];
        let spec = Spec::read(&mut rest, arguments, &mut used);
        let Some(verb) = rest.chars().next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        rest = &rest[verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(value) = arguments.get(used) else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        used += 1;
        out.push_str(&spec.formatted(verb, value));
    }
    out.push_str(rest);
    if used < arguments.len() {
        let extra: Vec<String> = arguments[used..]
            .iter()
            .map(|value| match value {
                Value::Nil => "<nil>".to_owned(),
                value => format!("{}={}", value.kind(), printed(value)),
            })
            .collect();
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

/// What stands between `%` and the verb.
#[derive(Debug, Clone, Copy, Default)]
struct Spec {
    plus: bool,
    minus: bool,
    space: bool,
    zero: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
}

/// Wider or more precise is not given: the text would be nothing but padding.
const WIDTH_MAX: usize = 1_000;

impl Spec {
    fn read(rest: &mut &str, arguments: &[Value], used: &mut usize) -> Self {
        let mut spec = Self::default();
        while let Some(flag) = rest.chars().next() {
            match flag {
                '+' => spec.plus = true,
                '-' => spec.minus = true,
                ' ' => spec.space = true,
                '0' => spec.zero = true,
                '#' => spec.alternate = true,
                _ => break,
            }
            *rest = &rest[1..];
        }
        spec.width = size(rest, arguments, used).unwrap_or(0);
        if let Some(behind) = rest.strip_prefix('.') {
            *rest = behind;
            spec.precision = Some(size(rest, arguments, used).unwrap_or(0));
        }
        spec
    }

    fn formatted(self, verb: char, value: &Value) -> String {
        let text = match (verb, value) {
            ('v', Value::Nil) => "<nil>".to_owned(),
            ('v' | 'd', Value::Integer(value)) => self.signed(value.unsigned_abs().to_string(), *value < 0),
            ('x', Value::Integer(value)) => self.signed(format!("{:x}", value.unsigned_abs()), *value < 0),
            ('X', Value::Integer(value)) => self.signed(format!("{:X}", value.unsigned_abs()), *value < 0),
            ('o', Value::Integer(value)) => self.signed(format!("{:o}", value.unsigned_abs()), *value < 0),
            ('b', Value::Integer(value)) => self.signed(format!("{:b}", value.unsigned_abs()), *value < 0),
            ('c', Value::Integer(value)) => {
                let c = u32::try_from(*value).ok().and_then(char::from_u32);
                return self.padded(c.unwrap_or(char::REPLACEMENT_CHARACTER).to_string(), false);
            }
            ('v' | 'g' | 'G' | 'f' | 'F' | 'e' | 'E', Value::Number(value)) => self.number(verb, *value),
            ('v' | 't', Value::Bool(value)) => return self.padded(value.to_string(), false),
            ('v' | 's', Value::Text(text)) => return self.padded(self.cut(text), false),
            ('q', Value::Text(text)) => return self.padded(Quoted(&self.cut(text)).to_string(), false),
            ('x', Value::Text(text)) => {
                return self.padded(text.bytes().map(|byte| format!("{byte:02x}")).collect(), false);
            }
            ('v' | 's', Value::Labels(_) | Value::Sample(_) | Value::Samples(_) | Value::Root) => {
                return self.padded(printed(value), false);
            }
            (verb, Value::Nil) => return format!("%!{verb}(<nil>)"),
            (verb, value) => return format!("%!{verb}({}={})", value.kind(), printed(value)),
        };
        self.padded(text, true)
    }

    fn cut(self, text: &str) -> String {
        text.chars().take(self.precision.unwrap_or(usize::MAX)).collect()
    }

    fn signed(self, digits: String, negative: bool) -> String {
        let wanted = self.precision.unwrap_or(0);
        let digits = format!("{digits:0>wanted$}");
        format!("{}{digits}", self.sign(negative))
    }

    fn sign(self, negative: bool) -> &'static str {
        match (negative, self.plus, self.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            _ => "",
        }
    }

    fn number(self, verb: char, value: f64) -> String {
        if value.is_nan() {
            return format!("{}NaN", self.sign(false));
        }
        if value == f64::INFINITY {
            return if self.space && !self.plus { " Inf".to_owned() } else { "+Inf".to_owned() };
        }
        if value == f64::NEG_INFINITY {
            return "-Inf".to_owned();
        }
        let magnitude = value.abs();
        let digits = match (verb, self.precision) {
            ('f' | 'F', precision) => format!("{magnitude:.*}", precision.unwrap_or(6)),
            ('e' | 'E', precision) => {
                let text = format!("{magnitude:.*e}", precision.unwrap_or(6));
                let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                format!("{mantissa}{}", go_exponent(exponent.parse().unwrap_or(0)))
            }
            (_, Some(precision)) => general(magnitude, precision),
            (_, None) => General(magnitude).to_string(),
        };
        let digits = if verb.is_ascii_uppercase() { digits.to_uppercase() } else { digits };
        format!("{}{digits}", self.sign(value.is_sign_negative()))
    }

    fn padded(self, text: String, numeric: bool) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        if missing == 0 {
            return text;
        }
        if self.minus {
            return text + &" ".repeat(missing);
        }
        let digits = text.trim_start_matches(['+', '-', ' ']);
        if self.zero && numeric && digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
            let sign = &text[..text.len() - digits.len()];
            return format!("{sign}{}{digits}", "0".repeat(missing));
        }
        " ".repeat(missing) + &text
    }
}

/// A number of digits or `*`, which is an argument.
fn size(rest: &mut &str, arguments: &[Value], used: &mut usize) -> Option<usize> {
    if let Some(behind) = rest.strip_prefix('*') {
        *rest = behind;
        let Some(Value::Integer(size)) = arguments.get(*used) else { return None };
        *used += 1;
        return usize::try_from(*size).ok().map(|size| size.min(WIDTH_MAX));
    }
    let length = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let digits = &rest[..length];
    *rest = &rest[length..];
    if digits.is_empty() { None } else { Some(digits.parse::<usize>().unwrap_or(WIDTH_MAX).min(WIDTH_MAX)) }
}
