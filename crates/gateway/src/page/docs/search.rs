//! Search in the documents: parts of documents that have all words, the best first.
//!
//! In: what somebody typed. Out: parts, each from one heading to the next, with a piece of their text around the first word.
//! A word in a heading counts most, then one in a title, then how often it stands in the text; what explains comes before
//! what is looked up.

use std::sync::LazyLock;

use pulldown_cmark::{Event, Tag, TagEnd};

use super::book::{self, Document};
use super::markdown::{anchor, events};

/// Parts that are shown at most.
const FOUND_MAX: usize = 30;

/// Letters before and after the first word.
const AROUND: usize = 90;

/// A part of a document that has every word.
pub(super) struct Found {
    pub(super) document: &'static Document,
    pub(super) heading: &'static str,
    pub(super) address: String,
    /// Before the word, the word, after it.
    pub(super) excerpt: (String, String, String),
}

/// What is searched: a heading with the text up to the next one.
struct Section {
    document: &'static Document,
    heading: String,
    text: String,
    small_heading: String,
    small_text: String,
}

static SECTIONS: LazyLock<Vec<Section>> = LazyLock::new(|| book::all().flat_map(sections).collect());

/// Parts with every word of `asked`.
pub(super) fn find(asked: &str) -> Vec<Found> {
    let words: Vec<String> = asked.split_whitespace().map(str::to_lowercase).collect();
    if words.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<(usize, &Section)> =
        SECTIONS.iter().filter_map(|section| Some((section.score(&words)?, section))).collect();
    // Stable: what is equally good stays in the order of reading.
    found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    found.truncate(FOUND_MAX);
    found.into_iter().map(|(_, section)| section.found(&words)).collect()
}

impl Section {
    fn score(&self, words: &[String]) -> Option<usize> {
        let title = self.document.title().to_lowercase();
        let mut score = 0;
        for word in words {
            let often = self.small_text.matches(word.as_str()).count();
            let here = 20 * usize::from(self.small_heading.contains(word)) + often.min(5);
            if here == 0 {
                return None;
            }
            score += here + 10 * usize::from(title.contains(word));
        }
        let explains = ["guides", "concepts"].contains(&self.document.folder);
        Some(if explains { 2 * score } else { score })
    }

    fn found(&'static self, words: &[String]) -> Found {
        let first =
            words.iter().filter_map(|word| Some((self.small_text.find(word.as_str())?, word.len()))).min();
        // Where small letters are as long as large ones the places are the same; else nothing is marked.
        let (at, length) = first
            .filter(|(at, length)| self.text.is_char_boundary(*at) && self.text.is_char_boundary(at + length))
            .unwrap_or((0, 0));
        let (before, rest) = self.text.split_at(at);
        let (word, after) = rest.split_at(length);
        let start = before.char_indices().rev().nth(AROUND).map_or(0, |(at, _)| at);
        let end = after.char_indices().nth(AROUND).map_or(after.len(), |(at, _)| at);
        let dots = |cut: bool| if cut { "…" } else { "" };
        let fragment = match self.heading.as_str() {
            heading if heading == self.document.title() => String::new(),
            heading => format!("#{}", anchor(heading)),
        };
        Found {
            document: self.document,
            heading: &self.heading,
            address: format!("{}{fragment}", self.document.address()),
            excerpt: (
                format!("{}{}", dots(start > 0), &before[start..]),
                word.to_owned(),
                format!("{}{}", &after[..end], dots(end < after.len())),
            ),
        }
    }
}

fn sections(document: &'static Document) -> Vec<Section> {
    let (mut sections, mut heading, mut text) = (Vec::new(), String::new(), String::new());
    let mut in_heading = false;
    let mut end = |heading: &mut String, text: &mut String| {
        let (heading, text) = (std::mem::take(heading), std::mem::take(text));
        if !heading.is_empty() || !text.trim().is_empty() {
            let (small_heading, small_text) = (heading.to_lowercase(), text.to_lowercase());
            sections.push(Section { document, heading, text, small_heading, small_text });
        }
    };
    for event in events(document.markdown) {
        match event {
            Event::Start(Tag::Heading { .. }) => {
                end(&mut heading, &mut text);
                in_heading = true;
            }
            Event::End(TagEnd::Heading(_)) => in_heading = false,
            Event::Text(words) | Event::Code(words) if in_heading => heading.push_str(&words),
            Event::Text(words) | Event::Code(words) => text.push_str(&words),
            Event::SoftBreak
            | Event::HardBreak
            | Event::End(TagEnd::Paragraph | TagEnd::Item | TagEnd::TableCell | TagEnd::CodeBlock) => {
                text.push(' ')
            }
            _ => {}
        }
    }
    end(&mut heading, &mut text);
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_words_have_to_be_there_and_a_heading_counts_most() {
        let found = find("wrong_token");
        assert_eq!(found[0].address, "/docs/reference/errors#wrong_token");
        assert!(find("wrong_token nosuchwordanywhere").is_empty());
        assert!(find("  ").is_empty());
    }

    #[test]
    fn letters_outside_ascii_are_searched_without_harm() {
        for asked in ["É", "ß", "…", "İ", "→ →", "\u{0}"] {
            let _ = find(asked);
        }
    }
}
