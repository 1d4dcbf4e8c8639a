//! The file as it is written: where each key stands, and every text in it.
//!
//! In: the text of a file. Out: the line of a field by its path, such as `metrics.scrape[1].url` (from 0), the key that is at
//! a place, and the texts, for what is to be said of all of them.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A file that was read. One that cannot be parsed has no keys.
pub(super) struct Written<'a> {
    text: &'a str,
    table: DeTable<'a>,
}

/// A text in the file.
pub(super) struct Text<'a> {
    /// Its key without numbers of lists: `metrics.scrape.url`.
    pub(super) key: String,
    /// Where it stands: `metrics.scrape[1].url`.
    pub(super) field: String,
    pub(super) value: &'a str,
}

impl<'a> Written<'a> {
    pub(super) fn read(text: &'a str) -> Self {
        Self { text, table: DeTable::parse(text).map(Spanned::into_inner).unwrap_or_default() }
    }

    /// Whether a field is in the file.
    pub(super) fn has(&self, field: &str) -> bool {
        self.place(field).is_some()
    }

    /// The line of a field, from 1; `None` where it is not in the file.
    pub(super) fn line(&self, field: &str) -> Option<usize> {
        self.place(field).map(|at| line_of(self.text, at))
    }

    fn place(&self, field: &str) -> Option<usize> {
        place_in(&self.table, field)
    }

    /// The innermost key whose value is at a byte offset.
    pub(super) fn key_at(&self, at: usize) -> Option<String> {
        let mut found = None;
        walk("", "", &self.table, &mut |_, field, value| {
            let span = value.span();
            if span.contains(&at) || span.start == at {
                found = Some(field.to_owned());
            }
        });
        found
    }

    /// Every text of the file.
    pub(super) fn texts(&self) -> Vec<Text<'_>> {
        let mut found = Vec::new();
        walk("", "", &self.table, &mut |key, field, value| {
            if let Some(value) = value.get_ref().as_str() {
                found.push(Text { key: key.to_owned(), field: field.to_owned(), value });
            }
        });
        found
    }
}

/// Shows every value with its key and its field, outer ones first.
fn walk<'t>(
    key: &str,
    field: &str,
    table: &'t DeTable<'_>,
    see: &mut impl FnMut(&str, &str, &'t Spanned<DeValue<'t>>),
) {
    let below = |above: &str, name: &str| match above {
        "" => name.to_owned(),
        above => format!("{above}.{name}"),
    };
    for (name, value) in table.iter() {
        of_value(&below(key, name.get_ref()), &below(field, name.get_ref()), value, see);
    }
}

fn of_value<'t>(
    key: &str,
    field: &str,
    value: &'t Spanned<DeValue<'_>>,
    see: &mut impl FnMut(&str, &str, &'t Spanned<DeValue<'t>>),
) {
    see(key, field, value);
    match value.get_ref() {
        DeValue::Table(table) => walk(key, field, table, see),
        DeValue::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                of_value(key, &format!("{field}[{index}]"), value, see);
            }
        }
        _ => {}
    }
}

/// `scrape[1]` is the second of `scrape`.
/// Where a field of a table stands. A key may have dots itself, so that the keys that are there say where the field parts.
fn place_in(table: &DeTable<'_>, field: &str) -> Option<usize> {
    table.iter().find_map(|(key, value)| {
        let rest = field.strip_prefix(key.get_ref().as_ref())?;
        let (rest, value, place) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((index, rest)) => {
                let value = value.get_ref().as_array()?.get(index.parse::<usize>().ok()?)?;
                (rest, value, value.span().start)
            }
            None => (rest, value, key.span().start),
        };
        match rest.strip_prefix('.') {
            Some(inner) => place_in(value.get_ref().as_table()?, inner),
            None => rest.is_empty().then_some(place),
        }
    })
}

/// The line of a byte offset, from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text[..offset.min(text.len())].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# port is said below\n[gateway]\nport = 1\n[[metrics.scrape]]\nurl = \"a\"\n\n[[metrics.scrape]]\n\
                        labels.\"zone.name\" = \"b\"\ntls_config = { ca_file = \"\" }\n[rules]\nfiles = [\n  \"c\",\n  \"d\",\n]\n";

    #[test]
    fn a_field_is_where_it_is_written_and_nowhere_else() {
        let file = Written::read(FILE);
        for (field, line) in [
            ("gateway", Some(2)),
            ("gateway.port", Some(3)),
            ("metrics.scrape[0].url", Some(5)),
            ("metrics.scrape[1].url", None),
            ("metrics.scrape[1].labels.zone.name", Some(8)),
            ("metrics.scrape[1].labels.zone", None),
            ("metrics.scrape[1].tls_config.ca_file", Some(9)),
            ("rules.files", Some(11)),
            ("rules.files[1]", Some(13)),
            ("rules.files[2]", None),
            ("tls.port", None),
            ("port", None),
            ("", None),
        ] {
            assert_eq!(file.line(field), line, "{field}");
        }
        assert!(!Written::read("port =").has("port"));
    }

    #[test]
    fn every_text_is_found_with_its_key() {
        let file = Written::read(FILE);
        let texts: Vec<(String, String)> =
            file.texts().into_iter().map(|text| (text.field, text.value.to_owned())).collect();
        let expected = [
            ("metrics.scrape[0].url", "a"),
            ("metrics.scrape[1].labels.zone.name", "b"),
            ("metrics.scrape[1].tls_config.ca_file", ""),
            ("rules.files[0]", "c"),
            ("rules.files[1]", "d"),
        ];
        assert_eq!(texts, expected.map(|(field, value)| (field.to_owned(), value.to_owned())));
        assert_eq!(
            file.key_at(FILE.find("\"b\"").unwrap()).as_deref(),
            Some("metrics.scrape[1].labels.zone.name")
        );
    }
}
