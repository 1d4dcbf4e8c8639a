//! Spans of time as expressions: `5m`, `300`, `2 * step()`, `max_of(step(), 1m)`.

use super::ast::{BinaryOp, Place, Span, SpanKind, SpanOp};
use super::grammar::Parser;
use super::literal::LONGEST_S;
use super::scan::{Mode, Token};
use crate::error::Fault;

/// How deep spans may be nested in each other.
const NESTED_MAX: usize = 64;

impl Parser<'_> {
    /// A span where an operator may follow: in brackets or parentheses.
    pub(super) fn span(&mut self, min: u8) -> Result<Span, Fault> {
        self.span_at_depth(min, 0)
    }

    /// What stands behind `offset`: an operator behind it belongs to the expression, unless there are parentheses.
    pub(super) fn offset_span(&mut self) -> Result<Span, Fault> {
        let (token, start, _) = self.peek_in(Mode::Span)?;
        if matches!(token, Token::End | Token::Close | Token::Comma) {
            let message = format!(
                "unexpected {} in offset, expected number, duration, step() or range()",
                token.shown()
            );
            return Err(Fault::syntax(start, message));
        }
        self.signed_span(0, false)
    }

    fn span_at_depth(&mut self, min: u8, depth: usize) -> Result<Span, Fault> {
        if depth > NESTED_MAX {
            return Err(Fault::syntax(self.at, format!("durations are nested deeper than {NESTED_MAX}")));
        }
        let mut left = self.signed_span(depth, true)?;
        for _ in 0..NESTED_MAX {
            let (token, _, end) = self.peek_in(Mode::Span)?;
            let Token::Op(op) = token else { return Ok(left) };
            let Some(span_op) = span_op(op).filter(|_| op.precedence() >= min) else { return Ok(left) };
            self.at = end;
            let right = self.span_at_depth(op.precedence() + u8::from(op != BinaryOp::Power), depth + 1)?;
            if matches!(right.kind, SpanKind::Seconds(seconds) if seconds == 0.0) {
                match span_op {
                    SpanOp::Divide => return Err(Fault::syntax(right.place.start, "division by zero")),
                    SpanOp::Modulo => return Err(Fault::syntax(right.place.start, "modulo by zero")),
                    _ => {}
                }
            }
            let place = Place { start: left.place.start, end: right.place.end };
            left = Span { place, kind: SpanKind::Of(span_op, Box::new(left), Box::new(right)) };
        }
        Err(Fault::syntax(self.at, format!("more than {NESTED_MAX} operators in a duration")))
    }

    /// With signs before it. In brackets a sign binds as loosely as `*`: `-2 ^ 2` is `-(2 ^ 2)`.
    fn signed_span(&mut self, depth: usize, loosely: bool) -> Result<Span, Fault> {
        let (token, start, end) = self.peek_in(Mode::Span)?;
        let Token::Op(op @ (BinaryOp::Add | BinaryOp::Subtract)) = token else {
            return self.plain_span(depth);
        };
        self.at = end;
        let mut inner = if loosely {
            self.span_at_depth(BinaryOp::Multiply.precedence() + 1, depth + 1)?
        } else {
            self.plain_span(depth)?
        };
        inner.place.start = start;
        if op == BinaryOp::Add {
            return Ok(inner);
        }
        let kind = match inner.kind {
            SpanKind::Seconds(seconds) => SpanKind::Seconds(-seconds),
            _ => SpanKind::Negative(Box::new(inner.clone())),
        };
        Ok(Span { place: inner.place, kind })
    }

    fn plain_span(&mut self, depth: usize) -> Result<Span, Fault> {
        let (token, start, end) = self.peek_in(Mode::Span)?;
        self.at = end;
        let kind = match token {
            Token::Number(_) | Token::Span(_) => {
                let seconds = self.number(token, start)?;
                if seconds.is_nan() || seconds.abs() > LONGEST_S {
                    return Err(Fault::syntax(start, "duration out of range"));
                }
                SpanKind::Seconds(seconds)
            }
            Token::Open => {
                let inner = self.span_at_depth(0, depth + 1)?;
                self.take(Token::Close, Mode::Span, "a duration")?;
                SpanKind::Group(Box::new(inner))
            }
            Token::Word(word) => self.span_call(word, start, depth)?,
            _ => {
                let message = format!(
                    "unexpected {} in a duration, expected number, duration, step() or range()",
                    token.shown()
                );
                return Err(Fault::syntax(start, message));
            }
        };
        Ok(Span { place: Place { start, end: self.at }, kind })
    }

    fn span_call(&mut self, word: &str, start: usize, depth: usize) -> Result<SpanKind, Fault> {
        let op = match word.to_ascii_lowercase().as_str() {
            "step" | "range" => None,
            "max_of" => Some(SpanOp::Max),
            "min_of" => Some(SpanOp::Min),
            _ => {
                let message = format!(
                    "unexpected {word:?} in a duration, expected number, duration, step() or range()"
                );
                return Err(Fault::syntax(start, message));
            }
        };
        self.take(Token::Open, Mode::Span, "a duration")?;
        let kind = match op {
            None if word.eq_ignore_ascii_case("step") => SpanKind::Step,
            None => SpanKind::Range,
            Some(op) => {
                let first = self.span_at_depth(0, depth + 1)?;
                self.take(Token::Comma, Mode::Span, "a duration")?;
                let second = self.span_at_depth(0, depth + 1)?;
                SpanKind::Of(op, Box::new(first), Box::new(second))
            }
        };
        self.take(Token::Close, Mode::Span, "a duration")?;
        Ok(kind)
    }
}

fn span_op(op: BinaryOp) -> Option<SpanOp> {
    Some(match op {
        BinaryOp::Add => SpanOp::Add,
        BinaryOp::Subtract => SpanOp::Subtract,
        BinaryOp::Multiply => SpanOp::Multiply,
        BinaryOp::Divide => SpanOp::Divide,
        BinaryOp::Modulo => SpanOp::Modulo,
        BinaryOp::Power => SpanOp::Power,
        _ => return None,
    })
}
