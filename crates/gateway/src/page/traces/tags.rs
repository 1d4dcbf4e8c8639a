//! Tags as people type them: `http.status_code=500 db.statement="select 1"`.

/// Reads pairs set apart by blanks; a value with blanks stands in double quotes. None where something is no pair.
pub(super) fn parse(text: &str) -> Option<Vec<(String, String)>> {
    let mut tags = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        if key.is_empty() || key.contains(char::is_whitespace) {
            return None;
        }
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted_value(quoted)?,
            None => {
                let end = after.find(char::is_whitespace).unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        tags.push((key.to_owned(), value));
        rest = after.trim_start();
    }
    Some(tags)
}

/// The text up to the closing quote, `\"` and `\\` read as the character, and what comes after.
fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[place + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// A tag as [`parse`] reads it.
pub(super) fn write(key: &str, value: &str) -> String {
    if value.is_empty() || value.contains(|c: char| c.is_whitespace() || c == '"' || c == '\\') {
        format!("{key}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        format!("{key}={value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_with_and_without_quotes() {
        let tags = parse(r#" http.method=GET  db.statement="select \"a\" from b" x= "#).unwrap();
        let tags: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(tags, [("http.method", "GET"), ("db.statement", "select \"a\" from b"), ("x", "")]);
    }

    #[test]
    fn what_is_no_pair_is_refused() {
        for text in ["error", "a b=c", "=x", "a=\"open"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_back(key in "[a-z.]{1,8}", value in "\\PC{0,12}", other in ".{0,30}") {
            let _ = parse(&other);
            assert_eq!(parse(&write(&key, &value)), Some(vec![(key, value)]));
        }
    }
}
