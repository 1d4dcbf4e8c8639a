//! One line under a cursor: names, quoted texts, numbers; and the column where it is not what it should be.

use std::borrow::Cow;

use super::PageError;

/// A place in a line.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'p> {
    line: &'p str,
    at: usize,
    number: usize,
}

/// Which characters a name may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// Of a metric: colons too.
    Metric,
    /// Of a label.
    Label,
}

impl<'p> Cursor<'p> {
    /// At the beginning of line `number`, counted from 1.
    pub(super) fn new(line: &'p str, number: usize) -> Self {
        Self { line, at: 0, number }
    }

    /// An error here.
    #[cold]
    pub(super) fn error(&self, what: impl Into<String>) -> PageError {
        PageError { line: self.number, column: self.at + 1, what: what.into() }
    }

    /// An error that says what was expected here and what is.
    #[cold]
    pub(super) fn expected(&self, what: &str) -> PageError {
        match self.rest().chars().next() {
            Some(found) => self.error(format!("expected {what}, found {found:?}")),
            None => self.error(format!("expected {what}, found the end of the line")),
        }
    }

    /// Where the cursor is, in bytes.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The line up to the cursor, from `start`.
    pub(super) fn since(&self, start: usize) -> &'p str {
        &self.line[start..self.at]
    }

    pub(super) fn rest(&self) -> &'p str {
        &self.line[self.at..]
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }

    pub(super) fn is_done(&self) -> bool {
        self.at == self.line.len()
    }

    /// Passes over a byte of ASCII, where it is the next.
    #[inline]
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Passes over a text, where it is next.
    pub(super) fn eat_text(&mut self, text: &str) -> bool {
        let there = self.rest().starts_with(text);
        self.at += if there { text.len() } else { 0 };
        there
    }

    /// Passes over spaces and tabs; whether there were any.
    #[inline]
    pub(super) fn blanks(&mut self) -> bool {
        let start = self.at;
        while let Some(b' ' | b'\t') = self.peek() {
            self.at += 1;
        }
        self.at > start
    }

    /// A name without quotes; `None` where none begins here.
    #[inline]
    pub(super) fn name(&mut self, name: Name) -> Option<&'p str> {
        let start = self.at;
        while let Some(byte) = self.peek() {
            let fits = match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => true,
                b'0'..=b'9' => self.at > start,
                b':' => name == Name::Metric,
                _ => false,
            };
            if !fits {
                break;
            }
            self.at += 1;
        }
        (self.at > start).then(|| &self.line[start..self.at])
    }

    /// A text in quotes, with what is escaped in it put back.
    pub(super) fn quoted(&mut self) -> Result<Cow<'p, str>, PageError> {
        let open = self.clone();
        if !self.eat(b'"') {
            return Err(self.expected("a text in quotes"));
        }
        let start = self.at;
        let mut escaped = false;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 1;
                    let character =
                        self.rest().chars().next().ok_or_else(|| open.error("the quotes are not closed"))?;
                    self.at += character.len_utf8();
                }
                Some(_) => self.at += 1,
                None => return Err(open.error("the quotes are not closed")),
            }
        }
        let text = &self.line[start..self.at];
        self.at += 1;
        Ok(if escaped { unescaped(text, Quotes::Escaped).into() } else { text.into() })
    }

    /// What stands up to the next blank; `None` where nothing does.
    #[inline]
    pub(super) fn word(&mut self) -> Option<&'p str> {
        let rest = self.rest();
        let word = rest.find([' ', '\t']).map_or(rest, |end| &rest[..end]);
        self.at += word.len();
        (!word.is_empty()).then_some(word)
    }

    /// All that is left of the line.
    pub(super) fn all(&mut self) -> &'p str {
        let rest = self.rest();
        self.at = self.line.len();
        rest
    }
}

/// Whether `\"` stands for a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quotes {
    Escaped,
    Plain,
}

/// A text with `\\`, `\n` and perhaps `\"` put back; a backslash before anything else stands for itself.
pub(super) fn unescaped(text: &str, quotes: Quotes) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match rest.next() {
            Some('n') => plain.push('\n'),
            Some('\\') => plain.push('\\'),
            Some('"') if quotes == Quotes::Escaped => plain.push('"'),
            Some(other) => plain.extend(['\\', other]),
            None => plain.push('\\'),
        }
    }
    plain
}
