//! A template cut into text and actions, and an action into tokens.

use crate::error::Fault;
use crate::parse::literal;

/// A piece of a template.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Piece<'t> {
    Text(&'t str),
    /// What is between `{{` and `}}`, and the byte of the template where it begins.
    Action(&'t str, usize),
}

/// Text and actions in turn; blanks beside `{{-` and `-}}` are gone, and so are comments.
pub(super) fn pieces(template: &str) -> Result<Vec<Piece<'_>>, Fault> {
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut trim_next = false;
    loop {
        let found = template[at..].find("{{").map(|open| at + open);
        let mut text = &template[at..found.unwrap_or(template.len())];
        if trim_next {
            text = text.trim_start_matches(blank);
        }
        let Some(open) = found else {
            push_text(&mut pieces, text);
            return Ok(pieces);
        };
        let mut inner = open + 2;
        let after = &template[inner..];
        if after.starts_with('-') && after[1..].starts_with(blank) {
            text = text.trim_end_matches(blank);
            inner += 1;
        }
        push_text(&mut pieces, text);
        let trimmed = template[inner..].trim_start_matches(blank);
        if let Some(comment) = trimmed.strip_prefix("/*") {
            let start = template.len() - comment.len();
            let end = comment
                .find("*/")
                .ok_or_else(|| Fault::syntax(open, "this comment has no end; `*/` was expected"))?;
            let close = start + end + 2;
            let rest = template[close..].trim_start_matches(blank);
            let (rest, trims) = match rest.strip_prefix('-') {
                Some(rest) => (rest, true),
                None => (rest, false),
            };
            if !rest.starts_with("}}") {
                return Err(Fault::syntax(close, "`}}` was expected behind the comment"));
            }
            at = template.len() - rest.len() + 2;
            trim_next = trims;
            continue;
        }
        let close = end_of_action(template, inner, open)?;
        let mut action = &template[inner..close];
        trim_next = action.ends_with('-') && action[..action.len() - 1].ends_with(blank);
        if trim_next {
            action = &action[..action.len() - 1];
        }
        pieces.push(Piece::Action(action, inner));
        at = close + 2;
    }
}

fn push_text<'t>(pieces: &mut Vec<Piece<'t>>, text: &'t str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
}

fn blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// The byte of the `}}` that ends an action: not one within a string.
fn end_of_action(template: &str, from: usize, open: usize) -> Result<usize, Fault> {
    let mut at = from;
    loop {
        let rest = &template[at..];
        if rest.starts_with("}}") {
            return Ok(at);
        }
        at += match rest.chars().next() {
            None => return Err(Fault::syntax(open, "this action has no end; `}}` was expected")),
            Some('"' | '`' | '\'') => quoted(rest, at)?.len(),
            Some(c) => c.len_utf8(),
        };
    }
}

/// The string at the beginning of a text, with its quotes.
fn quoted(text: &str, at: usize) -> Result<&str, Fault> {
    let quote = text.chars().next().unwrap_or('"');
    let mut escaped = false;
    for (offset, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            '\n' if quote != '`' => break,
            c if c == quote => return Ok(&text[..=offset]),
            _ => {}
        }
    }
    Err(Fault::syntax(at, "this string has no end"))
}

/// A token of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'t> {
    /// A keyword or the name of a function.
    Word(&'t str),
    /// `.name`, without the dot, right behind what it is a field of or on its own.
    Field(&'t str),
    /// `.` on its own.
    Dot,
    /// `$name`, without the dollar; empty for `$`.
    Variable(&'t str),
    Text(String),
    Integer(i64),
    Number(f64),
    Open,
    Close,
    Pipe,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    Comma,
}

/// A token, the byte of the template where it begins, and whether blanks are before it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed<'t> {
    pub(super) token: Token<'t>,
    pub(super) at: usize,
    pub(super) apart: bool,
}

/// The tokens of an action that begins at a byte of the template.
pub(super) fn tokens(action: &str, begins: usize) -> Result<Vec<Placed<'_>>, Fault> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < action.len() {
        let rest = action[at..].trim_start_matches(blank);
        let start = action.len() - rest.len();
        if rest.is_empty() {
            break;
        }
        let (token, length) = token(rest, begins + start)?;
        tokens.push(Placed { token, at: begins + start, apart: start > at || at == 0 });
        at = start + length;
    }
    Ok(tokens)
}

fn token(rest: &str, at: usize) -> Result<(Token<'_>, usize), Fault> {
    let first = rest.chars().next().unwrap_or(' ');
    let word = |from: usize| {
        let length =
            rest[from..].find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len() - from);
        &rest[from..from + length]
    };
    Ok(match first {
        '(' => (Token::Open, 1),
        ')' => (Token::Close, 1),
        '|' => (Token::Pipe, 1),
        ',' => (Token::Comma, 1),
        '=' => (Token::Assign, 1),
        ':' if rest.starts_with(":=") => (Token::Declare, 2),
        '"' | '`' => {
            let quoted = quoted(rest, at)?;
            let bytes = literal::unquoted(quoted).map_err(|error| Fault::syntax(at, error))?;
            let text = String::from_utf8(bytes).map_err(|_| Fault::syntax(at, "this string is not UTF-8"))?;
            (Token::Text(text), quoted.len())
        }
        '\'' => {
            let quoted = quoted(rest, at)?;
            let bytes = literal::unquoted(quoted).map_err(|error| Fault::syntax(at, error))?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let mut chars = text.chars();
            match (chars.next(), chars.next()) {
                (Some(only), None) => (Token::Integer(i64::from(u32::from(only))), quoted.len()),
                _ => return Err(Fault::syntax(at, "one character was expected between these quotes")),
            }
        }
        '$' => {
            let name = word(1);
            (Token::Variable(name), 1 + name.len())
        }
        '.' if rest[1..].starts_with(|c: char| c.is_alphabetic() || c == '_') => {
            let name = word(1);
            (Token::Field(name), 1 + name.len())
        }
        '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => (Token::Dot, 1),
        '0'..='9' | '.' | '+' | '-' => number(rest, at)?,
        c if c.is_alphabetic() || c == '_' => {
            let name = word(0);
            (Token::Word(name), name.len())
        }
        other => return Err(Fault::syntax(at, format!("{other:?} has no meaning here"))),
    })
}

fn number(rest: &str, at: usize) -> Result<(Token<'_>, usize), Fault> {
    let sign = usize::from(rest.starts_with(['+', '-']));
    let mut length = sign;
    let mut before = ' ';
    for c in rest[sign..].chars() {
        let exponent_sign = matches!(c, '+' | '-') && matches!(before, 'e' | 'E');
        if !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_') || exponent_sign) {
            break;
        }
        before = c;
        length += c.len_utf8();
    }
    let text = &rest[..length];
    if let Ok(integer) = text.parse() {
        return Ok((Token::Integer(integer), length));
    }
    let digits = &text[sign..];
    match literal::number(digits).filter(|_| digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')) {
        Some(value) => Ok((Token::Number(if text.starts_with('-') { -value } else { value }), length)),
        None => Err(Fault::syntax(at, format!("{text:?} is no number"))),
    }
}
