//! Numbers, spans of time and strings, from their text to what they say.

/// The longest span of time, seconds: so many nanoseconds fit into 64 bits, as in Prometheus.
pub(crate) const LONGEST_S: f64 = 9_223_372_036.854_775;

/// `1_000.5e3`, `0x1F`, `017` (octal, as in Go), `Inf`, `nan`.
pub(crate) fn number(text: &str) -> Option<f64> {
    if text.eq_ignore_ascii_case("inf") {
        return Some(f64::INFINITY);
    }
    if text.eq_ignore_ascii_case("nan") {
        return Some(f64::NAN);
    }
    let digits = without_underscores(text)?;
    if let Some(hex) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        return i64::from_str_radix(hex, 16).ok().map(|value| value as f64);
    }
    let octal = digits.len() > 1 && digits.starts_with('0');
    if octal && let Ok(value) = i64::from_str_radix(&digits[1..], 8) {
        return Some(value as f64);
    }
    digits.starts_with(|first: char| first.is_ascii_digit() || first == '.').then(|| digits.parse().ok())?
}

/// An underscore stands between digits only, or behind `0x`.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
    let apart = |at: usize| at > 0 && digit(at - 1) && digit(at + 1);
    let fine = bytes.iter().enumerate().all(|(at, byte)| *byte != b'_' || apart(at));
    fine.then(|| text.replace('_', ""))
}

/// Milliseconds in each unit, longest first, which is the order in which they are written.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// `1h30m`, in seconds. Each unit once, the longer before the shorter.
pub(crate) fn span(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut total_ms: i64 = 0;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0)?;
        let count: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let name = &rest[..rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len())];
        let (_, unit_ms) = units.find(|(known, _)| *known == name)?;
        total_ms = total_ms.checked_add(count.checked_mul(*unit_ms)?)?;
        rest = &rest[name.len()..];
    }
    let seconds = total_ms as f64 / 1000.0;
    (!text.is_empty() && seconds <= LONGEST_S).then_some(seconds)
}

/// What a quoted string says, with Go's escapes; its bytes may be no UTF-8.
pub(crate) fn unquoted(quoted: &str) -> Result<Vec<u8>, &'static str> {
    let quote = quoted.chars().next().unwrap_or('"');
    let inner = &quoted[1..quoted.len() - 1];
    if quote == '`' {
        return Ok(inner.as_bytes().to_vec());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escaped = chars.next().ok_or("escape sequence not terminated")?;
        let (radix, length) = match escaped {
            'a' => (0, 7),
            'b' => (0, 8),
            'f' => (0, 12),
            'n' => (0, 10),
            'r' => (0, 13),
            't' => (0, 9),
            'v' => (0, 11),
            '\\' => (0, u32::from('\\')),
            c if c == quote => (0, u32::from(c)),
            '0'..='7' => (8, 2),
            'x' => (16, 2),
            'u' => (16, 4),
            'U' => (16, 8),
            _ => return Err("unknown escape sequence"),
        };
        if radix == 0 {
            out.push(length as u8);
            continue;
        }
        let mut value = if radix == 8 { escaped.to_digit(8).unwrap_or(0) } else { 0 };
        for _ in 0..length {
            let digit =
                chars.next().and_then(|c| c.to_digit(radix)).ok_or("illegal character in escape sequence")?;
            value = value
                .checked_mul(radix)
                .and_then(|v| v.checked_add(digit))
                .ok_or("escape sequence too large")?;
        }
        if matches!(escaped, 'u' | 'U') {
            let c = char::from_u32(value).ok_or("escape sequence is an invalid Unicode code point")?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            out.push(u8::try_from(value).map_err(|_| "escape sequence is more than a byte")?);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{number, span, unquoted};

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, value) in [("1", 1.0), ("1_000.5", 1000.5), ("0x1F", 31.0), ("017", 15.0), ("08", 8.0)] {
            assert_eq!(number(text), Some(value), "{text}");
        }
        for (text, value) in [(".5", 0.5), ("2.", 2.0), ("1e-2", 0.01), ("iNf", f64::INFINITY), ("0", 0.0)] {
            assert_eq!(number(text), Some(value), "{text}");
        }
        for text in ["", "1__0", "_1", "1_", "0x", "1e", "infinity", "0x1.5"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn spans_have_their_units_in_order() {
        assert_eq!(span("1h30m"), Some(5400.0));
        assert_eq!(
            span("1y2w3d4h5m6s7ms"),
            Some(31_536_000.0 + 1_209_600.0 + 259_200.0 + 14_400.0 + 306.007)
        );
        for text in ["", "5", "1m1h", "1m1m", "1hs", "9999999999y", "300y"] {
            assert_eq!(span(text), None, "{text}");
        }
    }

    #[test]
    fn escapes_are_gos() {
        assert_eq!(unquoted(r#""a\n\x41\u00e9\101\"""#), Ok(b"a\nA\xc3\xa9A\"".to_vec()));
        assert_eq!(unquoted(r"`a\n`"), Ok(br"a\n".to_vec()));
        assert_eq!(unquoted(r#"'\xff'"#), Ok(vec![0xff]));
        for text in [r#""\q""#, r#""\x4""#, r#""\ud800""#, r#""\400""#, r#""\'""#] {
            assert!(unquoted(text).is_err(), "{text}");
        }
    }
}
