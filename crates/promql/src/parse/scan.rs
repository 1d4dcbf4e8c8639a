//! The text of an expression, word by word.
//!
//! What a character means depends on where it stands: in braces words are label names, in brackets a colon stands for
//! itself. The grammar knows where it is and asks for the next token in that mode.

use super::ast::BinaryOp;
use crate::UnquotedNames;
use crate::error::Fault;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token<'t> {
    End,
    Comma,
    Open,
    Close,
    OpenBrace,
    CloseBrace,
    OpenBracket,
    CloseBracket,
    Colon,
    Assign,
    Matches,
    MatchesNot,
    At,
    Op(BinaryOp),
    /// `5`, `0x1f`.
    Number(&'t str),
    /// `5m`.
    Span(&'t str),
    /// With its quotes.
    Text(&'t str),
    /// Letters, digits, underscores: a keyword, a function, a metric or a label.
    Word(&'t str),
    /// A word with colons in it: a metric.
    Metric(&'t str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Expression,
    Braces,
    /// In brackets, or wherever a span of time is expected.
    Span,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Scanner<'t> {
    text: &'t str,
    names: UnquotedNames,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str, names: UnquotedNames) -> Self {
        Self { text, names }
    }

    /// The token at or behind this byte, and where it begins and ends.
    pub(super) fn token(&self, from: usize, mode: Mode) -> Result<(Token<'t>, usize, usize), Fault> {
        let start = self.skip_blanks(from);
        let rest = &self.text[start..];
        let Some(first) = rest.chars().next() else { return Ok((Token::End, start, start)) };
        let two = rest.get(..2).unwrap_or("");
        let symbol = match mode {
            Mode::Braces => braces_symbol(first, two),
            Mode::Expression => symbol(first, two),
            Mode::Span if first == ':' => Some((Token::Colon, 1)),
            Mode::Span => symbol(first, two),
        };
        if let Some((token, length)) = symbol {
            return Ok((token, start, start + length));
        }
        match first {
            '"' | '\'' | '`' => self.string(start, first),
            _ if first.is_ascii_digit()
                || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) =>
            {
                self.number(start)
            }
            _ if self.begins_name(first) || (first == ':' && mode == Mode::Expression) => {
                let colons = mode == Mode::Expression;
                let length = rest
                    .find(|c: char| !(self.continues_name(c) || (colons && c == ':')))
                    .unwrap_or(rest.len());
                let word = &rest[..length];
                let token = if word.contains(':') { Token::Metric(word) } else { Token::Word(word) };
                Ok((token, start, start + length))
            }
            '!' | '=' | '~' => {
                Err(Fault::syntax(start, format!("unexpected {two:?}; matchers are =, !=, =~ and !~")))
            }
            _ => Err(Fault::syntax(start, format!("unexpected character {first:?}"))),
        }
    }

    fn skip_blanks(&self, from: usize) -> usize {
        let mut at = from;
        loop {
            let rest = &self.text[at..];
            at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
            let rest = &self.text[at..];
            if !rest.starts_with('#') {
                return at;
            }
            at += rest.find(['\n', '\r']).unwrap_or(rest.len());
        }
    }

    fn begins_name(&self, c: char) -> bool {
        c.is_ascii_alphabetic()
            || c == '_'
            || (self.names == UnquotedNames::Utf8 && !c.is_ascii() && c.is_alphabetic())
    }

    fn continues_name(&self, c: char) -> bool {
        self.begins_name(c) || c.is_ascii_digit() || (self.names == UnquotedNames::Utf8 && c == '.')
    }

    fn string(&self, start: usize, quote: char) -> Result<(Token<'t>, usize, usize), Fault> {
        let mut escaped = false;
        for (at, c) in self.text[start + 1..].char_indices() {
            match c {
                '\n' if quote != '`' => break,
                _ if escaped => escaped = false,
                '\\' if quote != '`' => escaped = true,
                _ if c == quote => {
                    let end = start + 1 + at + 1;
                    return Ok((Token::Text(&self.text[start..end]), start, end));
                }
                _ => {}
            }
        }
        Err(Fault::syntax(start, format!("string without its closing {quote}")))
    }

    /// A number, or a span of time such as `1h30m`.
    fn number(&self, start: usize) -> Result<(Token<'t>, usize, usize), Fault> {
        let bytes = &self.text.as_bytes()[start..];
        let hex = matches!(bytes, [b'0', b'x' | b'X', ..]);
        let mut length = if hex { 2 } else { 0 };
        while let Some(byte) = bytes.get(length) {
            let exponent = !hex && matches!(byte, b'e' | b'E');
            let digit = if hex { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() || *byte == b'.' };
            if exponent && !matches!(bytes.get(length + 1), Some(b'0'..=b'9' | b'+' | b'-')) {
                break;
            }
            if !(digit || exponent || *byte == b'_') {
                break;
            }
            length += 1 + usize::from(exponent && matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        }
        let ends = |length: usize| {
            !bytes.get(length).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        };
        if ends(length) {
            return Ok((Token::Number(&self.text[start..start + length]), start, start + length));
        }
        let length = bytes
            .iter()
            .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
            .unwrap_or(bytes.len());
        let word = &self.text[start..start + length];
        if super::literal::span(word).is_none() {
            return Err(Fault::syntax(
                start,
                format!("bad number or duration {word:?}; write them like 1.5 or 1h30m"),
            ));
        }
        Ok((Token::Span(word), start, start + length))
    }
}

fn symbol(first: char, two: &str) -> Option<(Token<'static>, usize)> {
    use BinaryOp as B;
    Some(match (first, two) {
        (_, "==") => (Token::Op(B::Equal), 2),
        (_, "!=") => (Token::Op(B::NotEqual), 2),
        (_, "<=") => (Token::Op(B::LessOrEqual), 2),
        (_, ">=") => (Token::Op(B::GreaterOrEqual), 2),
        (_, "</") => (Token::Op(B::TrimUpper), 2),
        (_, ">/") => (Token::Op(B::TrimLower), 2),
        ('<', _) => (Token::Op(B::Less), 1),
        ('>', _) => (Token::Op(B::Greater), 1),
        ('+', _) => (Token::Op(B::Add), 1),
        ('-', _) => (Token::Op(B::Subtract), 1),
        ('*', _) => (Token::Op(B::Multiply), 1),
        ('/', _) => (Token::Op(B::Divide), 1),
        ('%', _) => (Token::Op(B::Modulo), 1),
        ('^', _) => (Token::Op(B::Power), 1),
        (',', _) => (Token::Comma, 1),
        ('(', _) => (Token::Open, 1),
        (')', _) => (Token::Close, 1),
        ('{', _) => (Token::OpenBrace, 1),
        ('}', _) => (Token::CloseBrace, 1),
        ('[', _) => (Token::OpenBracket, 1),
        (']', _) => (Token::CloseBracket, 1),
        ('@', _) => (Token::At, 1),
        _ => return None,
    })
}

fn braces_symbol(first: char, two: &str) -> Option<(Token<'static>, usize)> {
    Some(match (first, two) {
        (_, "=~") => (Token::Matches, 2),
        (_, "!~") => (Token::MatchesNot, 2),
        (_, "!=") => (Token::Op(BinaryOp::NotEqual), 2),
        ('=', _) => (Token::Assign, 1),
        (',', _) => (Token::Comma, 1),
        ('{', _) => (Token::OpenBrace, 1),
        ('}', _) => (Token::CloseBrace, 1),
        _ => return None,
    })
}

impl Token<'_> {
    /// For a message of what stands where something else was expected.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::End => "the end of the expression".into(),
            Self::Comma => "\",\"".into(),
            Self::Open => "\"(\"".into(),
            Self::Close => "\")\"".into(),
            Self::OpenBrace => "\"{\"".into(),
            Self::CloseBrace => "\"}\"".into(),
            Self::OpenBracket => "\"[\"".into(),
            Self::CloseBracket => "\"]\"".into(),
            Self::Colon => "\":\"".into(),
            Self::Assign => "\"=\"".into(),
            Self::Matches => "\"=~\"".into(),
            Self::MatchesNot => "\"!~\"".into(),
            Self::At => "\"@\"".into(),
            Self::Op(op) => format!("{:?}", op.sign()),
            Self::Number(text) | Self::Span(text) | Self::Word(text) | Self::Metric(text) => {
                format!("{text:?}")
            }
            Self::Text(text) => (*text).into(),
        }
    }
}
