//! Regular expressions as Prometheus' RE2 means them, on the `regex` crate.
//!
//! Both know almost the same language. What differs is translated here: RE2's `\d`, `\w`, `\s` and `\b` know ASCII only;
//! it has `\Q…\E`; in its classes `[`, `&&`, `--` and `~~` stand for themselves; and a `{` that begins no repetition does.

use regex::Regex;

/// A pattern that has to match the whole value; `.` matches a line end too.
pub(crate) fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(&format!("^(?s:{})$", translated(pattern)))
}

/// A pattern that may match any part of a text, as Go's `regexp` looks for it.
pub(crate) fn anywhere(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(&translated(pattern))
}

fn translated(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    // Characters of the class so far; None outside of one.
    let mut class: Option<usize> = None;
    while let Some(first) = rest.chars().next() {
        let inside = class.is_some();
        let taken = match (first, class) {
            ('\\', _) => escape(rest, class.is_some(), &mut out),
            ('[', None) => {
                out.push('[');
                class = Some(0);
                let negated = rest[1..].starts_with('^');
                out.push_str(if negated { "^" } else { "" });
                1 + usize::from(negated)
            }
            (']', Some(seen)) if seen > 0 => {
                out.push(']');
                class = None;
                1
            }
            (']', Some(_)) => push(&mut out, "\\]", 1),
            ('[', Some(_)) => match rest.find(":]").filter(|_| rest.starts_with("[:")) {
                Some(end) => push(&mut out, &rest[..end + 2], end + 2),
                None => push(&mut out, "\\[", 1),
            },
            ('&' | '~', Some(_)) => {
                out.push('\\');
                push(&mut out, &rest[..1], 1)
            }
            ('-', Some(0)) if rest[1..].starts_with('-') => push(&mut out, "\\-", 1),
            ('-', Some(_)) if rest[1..].starts_with('-') => push(&mut out, "-\\-", 2),
            ('{', None) if !begins_repetition(rest) => push(&mut out, "\\{", 1),
            _ => push(&mut out, &rest[..first.len_utf8()], first.len_utf8()),
        };
        if let (Some(seen), true) = (class.as_mut(), inside) {
            *seen += 1;
        }
        rest = &rest[taken..];
    }
    out
}

fn push(out: &mut String, text: &str, taken: usize) -> usize {
    out.push_str(text);
    taken
}

/// Takes what begins with a backslash. How many bytes it was.
fn escape(rest: &str, in_class: bool, out: &mut String) -> usize {
    let Some(escaped) = rest[1..].chars().next() else { return push(out, "\\", 1) };
    let text = match (escaped, in_class) {
        ('d', true) => "0-9",
        ('d', false) => "[0-9]",
        ('D', _) => "[^0-9]",
        ('w', true) => "0-9A-Za-z_",
        ('w', false) => "[0-9A-Za-z_]",
        ('W', _) => "[^0-9A-Za-z_]",
        ('s', true) => "\\t\\n\\f\\r ",
        ('s', false) => "[\\t\\n\\f\\r ]",
        ('S', _) => "[^\\t\\n\\f\\r ]",
        ('b', false) => "(?-u:\\b)",
        ('Q', _) => {
            let quoted = &rest[2..];
            let length = quoted.find("\\E").unwrap_or(quoted.len());
            out.push_str(&regex::escape(&quoted[..length]));
            return (2 + length + 2).min(rest.len());
        }
        _ => &rest[..1 + escaped.len_utf8()],
    };
    push(out, text, 1 + escaped.len_utf8())
}

fn begins_repetition(rest: &str) -> bool {
    let Some(end) = rest.find('}') else { return false };
    let mut numbers = rest[1..end].splitn(2, ',');
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.next().is_some_and(|first| !first.is_empty() && number(first))
        && numbers.next().is_none_or(number)
}

#[cfg(test)]
mod tests {
    use super::whole;

    fn matches(pattern: &str, value: &str) -> bool {
        whole(pattern).expect("a pattern").is_match(value)
    }

    #[test]
    fn a_pattern_matches_the_whole_value_line_ends_included() {
        assert!(matches("a.c", "a\nc"));
        assert!(!matches("b", "abc"));
        assert!(matches("a|b", "b") && !matches("a|b", "ab"));
        assert!(matches("", "") && !matches("", "x"));
    }

    #[test]
    fn classes_of_perl_know_ascii_only() {
        assert!(matches(r"\d+", "123") && !matches(r"\d+", "١٢٣"));
        assert!(matches(r"\w+", "a_1") && !matches(r"\w+", "é"));
        assert!(matches(r"[\d.]+", "1.2") && matches(r"[^\s]+", "ab") && !matches(r"[^\s]+", "a b"));
    }

    #[test]
    fn what_re2_takes_literally_is_literal() {
        assert!(matches("[[]a[]]b", "[a]b"));
        assert!(matches("[a&&b]+", "a&b") && matches("[+--]+", "+,-"));
        assert!(matches("{foo}", "{foo}") && matches("a{2}", "aa") && matches("a{1,}", "aaa"));
        assert!(matches(r"\Qa.b\E+", "a.bb") && !matches(r"\Qa.b\E", "axb"));
        assert!(matches("[[:alpha:]]+", "ab"));
    }
}
