//! Numbers and times as Prometheus writes them into JSON: values as strings, times as seconds.

use std::io::Write;

/// A value in quotes: the shortest text that reads back, with an exponent below 1e-6 and from 1e21 on.
pub(super) fn write_value(value: f64, out: &mut Vec<u8>) {
    out.push(b'"');
    write_plain(value, out);
    out.push(b'"');
}

fn write_plain(value: f64, out: &mut Vec<u8>) {
    let size = value.abs();
    // Writing to a vector does not fail.
    let _ = if value.is_nan() {
        out.write_all(b"NaN")
    } else if value.is_infinite() {
        out.write_all(if value > 0.0 { b"+Inf" } else { b"-Inf" })
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let shortest = format!("{value:e}");
        let (digits, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "{digits}e{sign}{:02}", exponent.abs())
    } else {
        write!(out, "{value}")
    };
}

/// The same as text.
pub(crate) fn shown(value: f64) -> String {
    let mut out = Vec::new();
    write_plain(value, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// Milliseconds as seconds, with three digits behind the point where they are needed.
pub(super) fn write_time(at_ms: i64, out: &mut Vec<u8>) {
    let sign = if at_ms < 0 { "-" } else { "" };
    let (seconds, ms) = (at_ms.unsigned_abs() / 1000, at_ms.unsigned_abs() % 1000);
    let _ = match ms {
        0 => write!(out, "{sign}{seconds}"),
        ms => write!(out, "{sign}{seconds}.{ms:03}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_go_writes_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (1e-6, "0.000001"),
            (1e-7, "1e-07"),
            (-2.5e-9, "-2.5e-09"),
            (123456789012345680000.0, "123456789012345680000"),
            (1e21, "1e+21"),
            (1.25e100, "1.25e+100"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(shown(value), text);
        }
    }

    #[test]
    fn times_have_the_digits_they_need() {
        for (at_ms, text) in
            [(0, "0"), (1_435_781_451_781, "1435781451.781"), (10, "0.010"), (-1_500, "-1.500")]
        {
            let mut out = Vec::new();
            write_time(at_ms, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
