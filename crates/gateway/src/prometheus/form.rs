//! What a request asks: parameters of its address, and of its body where that is a form.

use super::refused::Refused;

/// Parameters in the order in which they count: those of the body before those of the address.
#[derive(Debug, Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads what is there; a body of another kind than a form is passed over, as Prometheus does.
    pub(super) fn read(query: Option<&str>, content_type: &str, body: &[u8]) -> Result<Self, Refused> {
        let mut pairs = Vec::new();
        if content_type.trim_start().to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
            add(body, &mut pairs)?;
        }
        add(query.unwrap_or_default().as_bytes(), &mut pairs)?;
        Ok(Self(pairs))
    }

    /// The first value; an empty one counts as none.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.all(name).find(|text| !text.is_empty())
    }

    /// All values of a parameter that may be repeated.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn add(encoded: &[u8], pairs: &mut Vec<(String, String)>) -> Result<(), Refused> {
    for pair in encoded.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = (&pair[..at], pair.get(at + 1..).unwrap_or_default());
        pairs.push((decoded(name)?, decoded(value)?));
    }
    Ok(())
}

/// Takes the encoding of forms off: `+` is a blank, `%41` is a byte.
fn decoded(encoded: &[u8]) -> Result<String, Refused> {
    let wrong = || {
        let shown = String::from_utf8_lossy(encoded);
        Refused::bad_data(format!("error parsing form values: invalid URL escape in {shown:?}"))
    };
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.iter();
    let digit = |rest: &mut std::slice::Iter<'_, u8>| {
        rest.next().and_then(|byte| char::from(*byte).to_digit(16)).ok_or_else(wrong)
    };
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => (digit(&mut rest)? * 16 + digit(&mut rest)?) as u8,
            other => *other,
        });
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

    #[test]
    fn the_body_counts_before_the_address_and_lists_are_of_both() {
        let form = Form::read(Some("a=1&m[]=x&e="), FORM, b"a=2+3%2B&m%5B%5D=y").unwrap();
        assert_eq!(form.text("a"), Some("2 3+"));
        assert_eq!(form.all("m[]").collect::<Vec<_>>(), ["y", "x"]);
        assert_eq!(form.text("e"), None);
        let other = Form::read(Some("a=1"), "application/json", b"a=2").unwrap();
        assert_eq!(other.text("a"), Some("1"));
        for wrong in ["a=%", "a=%4", "a=%zz", "%ff=1"] {
            assert!(Form::read(Some(wrong), "", b"").is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_read_back(name in ".{1,8}", value in ".{1,20}") {
            let text = format!("{}={}", crate::body::encode(&name), crate::body::encode(&value));
            let form = Form::read(None, FORM, text.as_bytes()).unwrap();
            prop_assert_eq!(form.text(&name), Some(value.as_str()));
        }

        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Form::read(None, FORM, &body);
        }
    }
}
