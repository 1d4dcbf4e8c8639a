//! Markdown to HTML: headings that can be linked, tables that scroll, links that lead to where documents are served.
//!
//! In: a document of [`book`](super::book). Out: its HTML and the headings of its parts. What documents bring along as HTML
//! is shown as text: nothing of ours needs it.

use maud::{Markup, PreEscaped};
use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

use super::book::{self, Document};

/// A document as it is shown.
pub(super) struct Rendered {
    pub(super) html: Markup,
    /// Headings of the second level: anchor and words.
    pub(super) headings: Vec<(String, String)>,
}

/// The anchor of a heading, as GitHub makes it: small letters, dashes for spaces, no punctuation.
pub(crate) fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).flat_map(char::to_lowercase).collect()
}

/// Reads a document's Markdown.
pub(super) fn events(markdown: &str) -> Parser<'_> {
    Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH)
}

/// Shows a document.
pub(super) fn render(document: &Document) -> Rendered {
    let source: Vec<Event<'_>> = events(document.markdown).collect();
    let mut shown: Vec<Event<'_>> = Vec::with_capacity(source.len() + 64);
    let (mut headings, mut taken) = (Vec::new(), Vec::new());
    let mut links_left_out = Vec::new();
    for (at, event) in source.iter().enumerate() {
        match event {
            Event::Start(Tag::Heading { level, classes, attrs, .. }) => {
                let words = words_of_heading(&source[at..]);
                let anchor = unused(anchor(&words), &mut taken);
                if *level == HeadingLevel::H2 {
                    headings.push((anchor.clone(), words));
                }
                let id = Some(CowStr::from(anchor));
                let (level, classes, attrs) = (*level, classes.clone(), attrs.clone());
                shown.push(Event::Start(Tag::Heading { level, id, classes, attrs }));
            }
            Event::End(TagEnd::Heading(level)) => {
                if let Some(anchor) = taken.last().filter(|_| *level != HeadingLevel::H1) {
                    let link = format!(
                        " <a class=\"anchor\" href=\"#{anchor}\" aria-label=\"Link to this part\">#</a>"
                    );
                    shown.push(Event::InlineHtml(link.into()));
                }
                shown.push(event.clone());
            }
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let leads = leads_to(document, dest_url);
                links_left_out.push(leads.is_none());
                if let Some(address) = leads {
                    let (link_type, title, id) = (*link_type, title.clone(), id.clone());
                    shown.push(Event::Start(Tag::Link { link_type, dest_url: address.into(), title, id }));
                }
            }
            Event::End(TagEnd::Link) => {
                if links_left_out.pop() == Some(false) {
                    shown.push(event.clone());
                }
            }
            Event::Start(Tag::Table(_)) => {
                shown.push(Event::Html("<div class=\"scroll\" tabindex=\"0\">".into()));
                shown.push(event.clone());
            }
            Event::End(TagEnd::Table) => {
                shown.push(event.clone());
                shown.push(Event::Html("</div>\n".into()));
            }
            Event::Start(Tag::CodeBlock(_)) => shown.push(Event::Html("<pre tabindex=\"0\"><code>".into())),
            Event::End(TagEnd::CodeBlock) => shown.push(Event::Html("</code></pre>\n".into())),
            Event::Html(text) | Event::InlineHtml(text) if !text.starts_with("<!--") => {
                shown.push(Event::Text(text.clone()));
            }
            Event::Html(_) | Event::InlineHtml(_) => {}
            other => shown.push(other.clone()),
        }
    }
    let mut text = String::new();
    html::push_html(&mut text, shown.into_iter());
    Rendered { html: PreEscaped(text), headings }
}

/// The words of the heading that these events begin with.
fn words_of_heading(events: &[Event<'_>]) -> String {
    let until = events.iter().take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
    let words = until.filter_map(|event| match event {
        Event::Text(text) | Event::Code(text) => Some(&**text),
        _ => None,
    });
    words.collect()
}

/// The second heading of the same words gets a number.
fn unused(anchor: String, taken: &mut Vec<String>) -> String {
    let mut found = anchor.clone();
    let mut number = 0;
    while taken.contains(&found) {
        number += 1;
        found = format!("{anchor}-{number}");
    }
    taken.push(found.clone());
    found
}

/// Where a link leads as it is served; nowhere, where what it names lies in the source tree alone.
fn leads_to(document: &Document, target: &str) -> Option<String> {
    if target.starts_with(['#', '/']) || target.contains("://") {
        return Some(target.to_owned());
    }
    let (file, fragment) = target.split_once('#').map_or((target, None), |(file, at)| (file, Some(at)));
    let mut folders: Vec<&str> = document.folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in file.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(folders.pop()?),
            name => folders.push(name),
        }
    }
    let path = folders.join("/");
    let path = if path == "README.md" { "" } else { path.strip_suffix(".md")? };
    let address = book::all().find(|document| document.path == path)?.address();
    Some(fragment.map_or(address.clone(), |fragment| format!("{address}#{fragment}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(markdown: &'static str) -> String {
        render(&Document { path: "guides/x", folder: "guides", markdown }).html.into_string()
    }

    #[test]
    fn headings_have_anchors_and_no_two_the_same() {
        assert_eq!(anchor("`GET /api/v3/issues/{id}`"), "get-apiv3issuesid");
        let html = shown("# A\n\n## What it costs\n\n## What it costs\n");
        assert!(html.contains("<h2 id=\"what-it-costs\">"), "{html}");
        assert!(html.contains("<h2 id=\"what-it-costs-1\">"), "{html}");
    }

    #[test]
    fn links_lead_to_documents_and_those_into_the_source_are_words() {
        let html = shown(
            "[loop](../concepts/the-loop.md#act) [code](../../crates/heal/src/turn.rs) [x](https://example.org)",
        );
        assert!(html.contains("<a href=\"/docs/concepts/the-loop#act\">loop</a> code <a"), "{html}");
        assert!(html.contains("href=\"https://example.org\""), "{html}");
    }

    #[test]
    fn html_in_a_document_is_text() {
        let html = shown("<!-- Made. -->\n\na <script>alert(1)</script> b\n\n```sh\na < b\n```\n");
        assert!(!html.contains("<script") && !html.contains("Made."), "{html}");
        assert!(html.contains("<pre tabindex=\"0\"><code>a &lt; b\n</code></pre>"), "{html}");
    }

    /// Every link from document to document leads to one that is there, and to a heading that it has.
    #[test]
    fn no_link_between_documents_is_broken() {
        for document in book::all() {
            for event in events(document.markdown) {
                let Event::Start(Tag::Link { dest_url, .. }) = event else { continue };
                let Some(address) = leads_to(document, &dest_url) else { continue };
                if address.contains("://") {
                    continue;
                }
                let (path, fragment) = address.split_once('#').unwrap_or((&address, ""));
                let target = match path {
                    "" => document,
                    path => book::all()
                        .find(|other| other.address() == path)
                        .unwrap_or_else(|| panic!("{}: {dest_url} leads nowhere", document.path)),
                };
                let html = render(target).html.into_string();
                assert!(
                    fragment.is_empty() || html.contains(&format!("id=\"{fragment}\"")),
                    "{}: {dest_url}: there is no such heading",
                    document.path
                );
            }
        }
    }
}
