//! Selectors: `name{label="value"}`, and the brackets behind them.

use std::sync::Arc;

use super::ast::{
    BinaryOp, Boundary, Expr, Kind, Matrix, Needs, Pin, Place, Selector, Span, SpanKind, Subquery, Text, Type,
};
use super::build;
use super::grammar::Parser;
use super::scan::{Mode, Token};
use crate::error::Fault;
use crate::labels::METRIC_NAME;
use crate::{MatchOp, Matcher};

impl<'t> Parser<'t> {
    /// A selector whose name, where it has one before its braces, was read.
    pub(super) fn selector(&mut self, name: Option<(&'t str, Place)>, start: usize) -> Result<Expr, Fault> {
        let mut matchers = Vec::new();
        let mut end = name.map_or(start, |(_, place)| place.end);
        if self.peek()?.0 == Token::OpenBrace {
            self.take(Token::OpenBrace, Mode::Expression, "a selector")?;
            end = self.matchers(&mut matchers)?;
        }
        let place = Place { start, end };
        if let Some((name, _)) = name {
            if let Some(twice) = matchers.iter().find(|matcher| &*matcher.name == METRIC_NAME) {
                let message = format!("metric name must not be set twice: {name:?} or {:?}", twice.value);
                return Err(Fault::syntax(start, message));
            }
            matchers.push(Matcher { name: METRIC_NAME.into(), op: MatchOp::Equal, value: name.into() });
        } else if matchers.iter().all(|matcher| matcher.compiled().is_ok_and(|compiled| compiled.matches("")))
        {
            let message = "vector selector must contain at least one non-empty matcher, such as job=\"api\"";
            self.matches_all.get_or_insert_with(|| Fault::syntax(start, message));
        }
        let selector = Selector {
            name: name.map(|(name, _)| name.into()),
            matchers,
            offset: None,
            pin: Pin::None,
            boundary: Boundary::Plain,
            needs: Needs::Buckets,
        };
        Ok(build::selector(selector, place))
    }

    /// What stands in braces, the opening one read. Where the closing one ends.
    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Result<usize, Fault> {
        loop {
            let (token, start, end) = self.peek_in(Mode::Braces)?;
            self.at = end;
            match token {
                Token::CloseBrace => return Ok(end),
                Token::Word(name) => matchers.push(self.matcher(name.into(), start)?),
                Token::Text(quoted) => {
                    let name = self.utf8(quoted, start)?;
                    let compares = !matches!(self.peek_in(Mode::Braces)?.0, Token::Comma | Token::CloseBrace);
                    matchers.push(if compares {
                        self.matcher(name, start)?
                    } else {
                        Matcher { name: METRIC_NAME.into(), op: MatchOp::Equal, value: name }
                    });
                }
                _ => {
                    let message =
                        format!("unexpected {} in label matching, expected a label or \"}}\"", token.shown());
                    return Err(Fault::syntax(start, message));
                }
            }
            let (token, start, end) = self.peek_in(Mode::Braces)?;
            self.at = end;
            match token {
                Token::Comma => {}
                Token::CloseBrace => return Ok(end),
                _ => {
                    let message =
                        format!("unexpected {} in label matching, expected \",\" or \"}}\"", token.shown());
                    return Err(Fault::syntax(start, message));
                }
            }
        }
    }

    fn matcher(&mut self, name: Arc<str>, start: usize) -> Result<Matcher, Fault> {
        let (token, at, end) = self.peek_in(Mode::Braces)?;
        let op = match token {
            Token::Assign => MatchOp::Equal,
            Token::Op(BinaryOp::NotEqual) => MatchOp::NotEqual,
            Token::Matches => MatchOp::Matches,
            Token::MatchesNot => MatchOp::MatchesNot,
            _ => {
                let message =
                    format!("unexpected {} in label matching, expected =, !=, =~ or !~", token.shown());
                return Err(Fault::syntax(at, message));
            }
        };
        self.at = end;
        let (token, at, end) = self.peek_in(Mode::Braces)?;
        let Token::Text(quoted) = token else {
            return Err(Fault::syntax(
                at,
                format!("unexpected {} in label matching, expected string", token.shown()),
            ));
        };
        self.at = end;
        let matcher = Matcher { name, op, value: self.utf8(quoted, at)? };
        match matcher.compiled() {
            Ok(_) => Ok(matcher),
            Err(error) => Err(Fault::syntax(start, error.to_string())),
        }
    }

    fn utf8(&self, quoted: &str, start: usize) -> Result<Arc<str>, Fault> {
        match self.text_of(quoted, start)? {
            Text::Utf8(text) => Ok(text),
            Text::NotUtf8(_) => {
                Err(Fault::syntax(start, format!("{quoted} is no UTF-8, so no label is like it")))
            }
        }
    }

    /// `[5m]` or `[1h:5m]` behind an operand.
    pub(super) fn brackets(&mut self, operand: Expr) -> Result<Expr, Fault> {
        let open = self.take(Token::OpenBracket, Mode::Expression, "a range")?;
        let range = self.positive_span()?;
        let (token, start, end) = self.peek_in(Mode::Span)?;
        self.at = end;
        match token {
            Token::CloseBracket => matrix(operand, range, Place { start: open.start, end }),
            Token::Colon => {
                let step = match self.peek_in(Mode::Span)?.0 {
                    Token::CloseBracket => None,
                    _ => Some(self.positive_span()?),
                };
                let close = self.take(Token::CloseBracket, Mode::Span, "a subquery")?;
                let place = Place { start: operand.place.start, end: close.end };
                if operand.kind_of_value() != Type::Vector {
                    let found = operand.kind_of_value().name();
                    let message = format!("subquery is only allowed on instant vector, got {found} instead");
                    return Err(Fault::syntax(place.start, message));
                }
                let subquery = Subquery { inner: operand, range, step, offset: None, pin: Pin::None };
                Ok(build::subquery(subquery, place))
            }
            _ => Err(Fault::syntax(
                start,
                format!("unexpected {} in a range, expected \":\" or \"]\"", token.shown()),
            )),
        }
    }

    fn positive_span(&mut self) -> Result<Span, Fault> {
        let span = self.span(0)?;
        match span.kind {
            SpanKind::Seconds(seconds) if seconds <= 0.0 || seconds.is_nan() => {
                Err(Fault::syntax(span.place.start, "duration must be greater than 0"))
            }
            _ => Ok(span),
        }
    }
}

fn matrix(operand: Expr, range: Span, brackets: Place) -> Result<Expr, Fault> {
    let place = Place { start: operand.place.start, end: brackets.end };
    let Kind::Selector(selector) = operand.kind else {
        return Err(Fault::syntax(
            brackets.start,
            "ranges only allowed for vector selectors; use [range:step] for a subquery",
        ));
    };
    if selector.offset.is_some() {
        return Err(Fault::syntax(brackets.start, "no offset modifiers allowed before range"));
    }
    if selector.pin != Pin::None {
        return Err(Fault::syntax(brackets.start, "no @ modifiers allowed before range"));
    }
    Ok(build::matrix(Matrix { selector, range }, place))
}
