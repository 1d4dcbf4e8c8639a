//! What a bucket says it has: the answer to `ListObjectsV2`, as far as it is asked for. And why it refused.
//!
//! In: any bytes. Out: keys and sizes, and where to go on; or that this is no such answer. Answers are flat documents
//! without attributes that matter, comments or sections, which is all of XML that is read here.

/// A part of the list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Keys, each with the bytes of its object.
    pub(crate) objects: Vec<(String, u64)>,
    /// What to ask with for the next part.
    pub(crate) next: Option<String>,
}

/// Reads a part of the list; `None` where it makes no sense.
pub(crate) fn read(document: &[u8]) -> Option<Listing> {
    let text = str::from_utf8(document).ok()?;
    let (list, _) = element(text, "ListBucketResult")?;
    let mut listing = Listing::default();
    let mut rest = list;
    while let Some((contents, behind)) = element(rest, "Contents") {
        let (key, _) = element(contents, "Key")?;
        let (size, _) = element(contents, "Size")?;
        listing.objects.push((unescaped(key)?, size.trim().parse().ok()?));
        rest = behind;
    }
    if element(list, "IsTruncated").is_some_and(|(truncated, _)| truncated.trim() == "true") {
        listing.next = Some(unescaped(element(list, "NextContinuationToken")?.0)?);
    }
    Some(listing)
}

/// The code and the message of an answer that refuses.
pub(crate) fn refusal(document: &[u8]) -> Option<(String, String)> {
    let (error, _) = element(str::from_utf8(document).ok()?, "Error")?;
    let text = |name: &str| element(error, name).and_then(|(text, _)| unescaped(text));
    Some((text("Code")?, text("Message").unwrap_or_default()))
}

/// What is within the first element of this name, and what is behind it.
fn element<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let mut from = 0;
    loop {
        let at = from + text[from..].find('<')? + 1;
        from = at;
        let Some(rest) = text[at..].strip_prefix(name) else { continue };
        // Another name may begin alike.
        if !rest.starts_with(|c: char| c == '>' || c == '/' || c.is_ascii_whitespace()) {
            continue;
        }
        let (attributes, within) = rest.split_once('>')?;
        if attributes.ends_with('/') {
            return Some(("", within));
        }
        let end = format!("</{name}>");
        return within.split_once(end.as_str());
    }
}

/// Text with its entities resolved.
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('&');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (entity, rest) = part.split_once(';')?;
        out.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = entity.strip_prefix('#')?;
                let code = match number.strip_prefix('x') {
                    Some(digits) => u32::from_str_radix(digits, 16),
                    None => number.parse(),
                };
                char::from_u32(code.ok()?)?
            }
        });
        out.push_str(rest);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sizes_and_where_to_go_on_are_read() {
        let document = br#"<?xml version="1.0" encoding="UTF-8"?>
            <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>spans</Name><KeyCount>2</KeyCount>
            <IsTruncated>true</IsTruncated><NextContinuationToken>a&#x2b;b&amp;c</NextContinuationToken>
            <Contents><Key>p/1-2.index</Key><ETag>&quot;e&quot;</ETag><Size>12</Size><Owner><ID>x</ID></Owner></Contents>
            <Contents><Key>p/a&lt;b</Key><Size>18446744073709551615</Size></Contents></ListBucketResult>"#;
        let objects = vec![("p/1-2.index".to_owned(), 12), ("p/a<b".to_owned(), u64::MAX)];
        assert_eq!(read(document), Some(Listing { objects, next: Some("a+b&c".to_owned()) }));
        let none =
            b"<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>";
        assert_eq!(read(none), Some(Listing::default()));
        assert_eq!(read(b"<ListBucketResult/>"), Some(Listing::default()));
    }

    #[test]
    fn a_refusal_is_read() {
        let document =
            b"<?xml?><Error><Code>NoSuchBucket</Code><Message>It&apos;s not there</Message></Error>";
        assert_eq!(refusal(document), Some(("NoSuchBucket".to_owned(), "It's not there".to_owned())));
        assert_eq!(refusal(b"<html>busy</html>"), None);
    }

    #[test]
    fn what_is_no_list_is_refused_and_none_is_cut_short() {
        for document in [
            "",
            "<html>login</html>",
            "<Error><Code>AccessDenied</Code></Error>",
            "<ListBucketResult><Contents><Key>a</Key><Size>1</Size></Contents>",
            "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
            "<ListBucketResult><Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>",
            "<ListBucketResult><Contents><Key>a&b</Key><Size>1</Size></Contents></ListBucketResult>",
            "<ListBucketResult><Contents><Key>&#xD800;</Key><Size>1</Size></Contents></ListBucketResult>",
            "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        ] {
            assert_eq!(read(document.as_bytes()), None, "{document}");
        }
    }
}
