//! Expressions: operators by precedence, calls, aggregations, and what may follow a selector.

use std::sync::Arc;

use super::ast::{
    AggregateOp, BinaryOp, Boundary, Expr, Group, Grouping, Kind, Labelled, Matching, Pin, Place, Sign, Text,
};
use super::build;
use super::literal;
use super::scan::{Mode, Scanner, Token};
use super::signature::Function;
use crate::error::Fault;
use crate::{Experimental, Options};

/// How deep expressions may be nested in each other: evaluating one takes about 4 KiB of stack a level in a debug build,
/// and threads have 2 MiB.
const NESTED_MAX: usize = 128;
/// How many operators may follow each other in one expression.
const CHAINED_MAX: usize = 1_000;

pub(super) struct Parser<'t> {
    pub(super) scanner: Scanner<'t>,
    /// The byte behind what was read.
    pub(super) at: usize,
    pub(super) options: &'t Options,
    nested: usize,
    /// A selector that matches every series is a fault, but for the second argument of `info`: only known behind it.
    pub(super) matches_all: Option<Fault>,
}

pub(super) fn expression(text: &str, options: &Options) -> Result<Expr, Fault> {
    let scanner = Scanner::new(text, options.unquoted_names);
    let mut parser = Parser { scanner, at: 0, options, nested: 0, matches_all: None };
    if parser.peek()?.0 == Token::End {
        return Err(Fault::syntax(0, "no expression found in input"));
    }
    let root = parser.expression(0)?;
    let (token, start, _) = parser.peek()?;
    if token != Token::End {
        let message = format!(
            "unexpected {} behind the expression; expected an operator or nothing more",
            token.shown()
        );
        return Err(Fault::syntax(start, message));
    }
    match parser.matches_all {
        Some(fault) => Err(fault),
        None => Ok(build::settled(root)),
    }
}

impl<'t> Parser<'t> {
    pub(super) fn peek(&self) -> Result<(Token<'t>, usize, usize), Fault> {
        self.scanner.token(self.at, Mode::Expression)
    }

    pub(super) fn peek_in(&self, mode: Mode) -> Result<(Token<'t>, usize, usize), Fault> {
        self.scanner.token(self.at, mode)
    }

    /// Takes this token or says what was expected.
    pub(super) fn take(&mut self, wanted: Token<'_>, mode: Mode, context: &str) -> Result<Place, Fault> {
        let (token, start, end) = self.peek_in(mode)?;
        if token != wanted {
            return Err(Fault::syntax(
                start,
                format!("unexpected {} in {context}, expected {}", token.shown(), wanted.shown()),
            ));
        }
        self.at = end;
        Ok(Place { start, end })
    }

    /// Takes this word, whatever its case, where it is next.
    fn took_word(&mut self, word: &str) -> Result<bool, Fault> {
        let (token, _, end) = self.peek()?;
        let took = matches!(token, Token::Word(found) if found.eq_ignore_ascii_case(word));
        if took {
            self.at = end;
        }
        Ok(took)
    }

    pub(super) fn expression(&mut self, min: u8) -> Result<Expr, Fault> {
        self.nested += 1;
        if self.nested > NESTED_MAX {
            return Err(Fault::syntax(self.at, format!("expressions are nested deeper than {NESTED_MAX}")));
        }
        let mut left = self.operand()?;
        for chained in 0.. {
            let (token, start, end) = self.peek()?;
            let Some(op) = operator(token).filter(|op| op.precedence() >= min) else { break };
            if chained == CHAINED_MAX {
                return Err(Fault::syntax(start, format!("more than {CHAINED_MAX} operators in a row")));
            }
            self.at = end;
            let (as_bool, matching) = self.modifiers()?;
            // `^` groups to the right.
            let right = self.expression(op.precedence() + u8::from(op != BinaryOp::Power))?;
            left = build::binary(op, Place { start, end }, left, right, matching, as_bool)?;
        }
        self.nested -= 1;
        Ok(left)
    }

    fn operand(&mut self) -> Result<Expr, Fault> {
        let (token, start, end) = self.peek()?;
        if let Token::Op(op @ (BinaryOp::Add | BinaryOp::Subtract)) = token {
            self.at = end;
            let inner = self.expression(BinaryOp::Multiply.precedence() + 1)?;
            let sign = if op == BinaryOp::Add { Sign::Plus } else { Sign::Minus };
            return build::unary(sign, start, inner);
        }
        let mut operand = self.primary(token, start, end)?;
        for _ in 0..CHAINED_MAX {
            let (token, start, end) = self.peek()?;
            operand = match token {
                Token::OpenBracket => self.brackets(operand)?,
                Token::At => {
                    self.at = end;
                    let pin = self.pin()?;
                    build::at(operand, pin, self.at)?
                }
                Token::Word(word) if word.eq_ignore_ascii_case("offset") => {
                    self.at = end;
                    let span = self.offset_span()?;
                    build::offset(operand, span, self.at)?
                }
                Token::Word(word) if word.eq_ignore_ascii_case("anchored") => {
                    self.at = end;
                    build::boundary(operand, Boundary::Anchored, start)?
                }
                Token::Word(word) if word.eq_ignore_ascii_case("smoothed") => {
                    self.at = end;
                    build::boundary(operand, Boundary::Smoothed, start)?
                }
                _ => return Ok(operand),
            };
        }
        Err(Fault::syntax(self.at, format!("more than {CHAINED_MAX} modifiers in a row")))
    }

    fn primary(&mut self, token: Token<'t>, start: usize, end: usize) -> Result<Expr, Fault> {
        match token {
            Token::Number(_) | Token::Span(_) => {
                self.at = end;
                Ok(build::literal(Kind::Number(self.number(token, start)?), Place { start, end }))
            }
            Token::Text(quoted) => {
                self.at = end;
                Ok(build::literal(Kind::Text(self.text_of(quoted, start)?), Place { start, end }))
            }
            Token::Open => {
                self.at = end;
                let inner = self.expression(0)?;
                let close = self.take(Token::Close, Mode::Expression, "parentheses")?;
                Ok(build::paren(inner, Place { start, end: close.end }))
            }
            Token::OpenBrace => self.selector(None, start),
            Token::Word(word) => self.word(word, start, end),
            Token::Metric(name) => {
                self.at = end;
                self.selector(Some((name, Place { start, end })), start)
            }
            _ => Err(Fault::syntax(
                start,
                format!(
                    "unexpected {}, expected a metric, a number, a function, \"(\" or \"-\"",
                    token.shown()
                ),
            )),
        }
    }

    pub(super) fn number(&self, token: Token<'_>, start: usize) -> Result<f64, Fault> {
        let (value, text) = match token {
            Token::Number(text) => (literal::number(text), text),
            Token::Span(text) => (literal::span(text), text),
            _ => {
                return Err(Fault::syntax(start, format!("unexpected {}, expected a number", token.shown())));
            }
        };
        value.ok_or_else(|| Fault::syntax(start, format!("bad number {text:?}")))
    }

    pub(super) fn text_of(&self, quoted: &str, start: usize) -> Result<Text, Fault> {
        let bytes = literal::unquoted(quoted)
            .map_err(|why| Fault::syntax(start, format!("bad string {quoted}: {why}")))?;
        Ok(match String::from_utf8(bytes) {
            Ok(text) => Text::Utf8(text.into()),
            Err(_) => Text::NotUtf8(quoted.into()),
        })
    }

    /// A word where an operand is expected: an aggregation, a call, a special number or a metric.
    fn word(&mut self, word: &'t str, start: usize, end: usize) -> Result<Expr, Fault> {
        self.at = end;
        if word.eq_ignore_ascii_case("inf") || word.eq_ignore_ascii_case("nan") {
            let value = self.number(Token::Number(word), start)?;
            return Ok(build::literal(Kind::Number(value), Place { start, end }));
        }
        let (next, _, _) = self.peek()?;
        if let Some(op) = AggregateOp::named(word) {
            let grouped = matches!(next, Token::Word(by) if by.eq_ignore_ascii_case("by") || by.eq_ignore_ascii_case("without"));
            if next == Token::Open || grouped {
                return self.aggregate(op, start);
            }
        } else if next == Token::Open {
            return self.call(word, start);
        }
        let reserved = ["bool", "on", "ignoring", "group_left", "group_right", "atan2"];
        if reserved.iter().any(|known| word.eq_ignore_ascii_case(known)) {
            return Err(Fault::syntax(
                start,
                format!("unexpected {word:?}, expected a metric, a number or a function"),
            ));
        }
        self.selector(Some((word, Place { start, end })), start)
    }

    fn aggregate(&mut self, op: AggregateOp, start: usize) -> Result<Expr, Fault> {
        let before = self.grouping()?;
        let args = self.arguments()?;
        let grouping = match before {
            Some(grouping) => Some(grouping),
            None => self.grouping()?,
        };
        let place = Place { start, end: self.at };
        if op.is_experimental() && self.options.experimental == Experimental::Refused {
            return Err(Fault::syntax(start, format!("{}() is experimental and not enabled", op.name())));
        }
        build::aggregate(op, place, grouping.unwrap_or(Grouping::By(Vec::new())), args)
    }

    fn grouping(&mut self) -> Result<Option<Grouping>, Fault> {
        if self.took_word("by")? {
            return Ok(Some(Grouping::By(self.labels()?)));
        }
        if self.took_word("without")? {
            return Ok(Some(Grouping::Without(self.labels()?)));
        }
        Ok(None)
    }

    fn call(&mut self, name: &str, start: usize) -> Result<Expr, Fault> {
        let Some(function) = Function::named(name) else {
            return Err(Fault::syntax(start, format!("unknown function with name {name:?}")));
        };
        if function.experimental && self.options.experimental == Experimental::Refused {
            return Err(Fault::syntax(start, format!("function {name:?} is experimental and not enabled")));
        }
        let outer = self.matches_all.take();
        let args = self.arguments()?;
        // The second argument of `info` says which labels to add: none in particular is fine.
        if let (true, Some(second), Some(fault)) = (name == "info", args.get(1), &self.matches_all)
            && fault.at >= second.place.start
        {
            self.matches_all = None;
        }
        self.matches_all = outer.or(self.matches_all.take());
        build::call(function, args, Place { start, end: self.at })
    }

    fn arguments(&mut self) -> Result<Vec<Expr>, Fault> {
        self.take(Token::Open, Mode::Expression, "a call")?;
        let mut args = Vec::new();
        loop {
            let (token, start, end) = self.peek()?;
            if token == Token::Close {
                if !args.is_empty() {
                    return Err(Fault::syntax(start, "no comma allowed behind the last argument"));
                }
                self.at = end;
                return Ok(args);
            }
            args.push(self.expression(0)?);
            let (token, start, end) = self.peek()?;
            self.at = end;
            match token {
                Token::Comma => {}
                Token::Close => return Ok(args),
                _ => {
                    return Err(Fault::syntax(
                        start,
                        format!("unexpected {} in arguments, expected \",\" or \")\"", token.shown()),
                    ));
                }
            }
        }
    }

    /// `bool`, `on`, `ignoring`, `group_left`, `group_right`, `fill`.
    fn modifiers(&mut self) -> Result<(bool, Matching), Fault> {
        let as_bool = self.took_word("bool")?;
        let mut matching =
            Matching { labels: Labelled::Ignoring(Vec::new()), group: Group::OneToOne, fill: (None, None) };
        let said = if self.took_word("on")? {
            matching.labels = Labelled::On(self.labels()?);
            true
        } else if self.took_word("ignoring")? {
            matching.labels = Labelled::Ignoring(self.labels()?);
            true
        } else {
            false
        };
        if said && self.took_word("group_left")? {
            matching.group = Group::Left(self.labels_where_there()?);
        } else if said && self.took_word("group_right")? {
            matching.group = Group::Right(self.labels_where_there()?);
        }
        self.fills(&mut matching)?;
        Ok((as_bool, matching))
    }

    fn fills(&mut self, matching: &mut Matching) -> Result<(), Fault> {
        for word in ["fill", "fill_left", "fill_right", "fill_left"] {
            let before = self.at;
            if !self.took_word(word)? {
                continue;
            }
            // `fill` is a metric too, where no parenthesis follows.
            if self.peek()?.0 != Token::Open {
                self.at = before;
                return Ok(());
            }
            if self.options.experimental == Experimental::Refused {
                return Err(Fault::syntax(before, "fill modifiers are experimental and not enabled"));
            }
            let value = Some(self.fill_value()?);
            match word {
                "fill" => {
                    matching.fill = (value, value);
                    return Ok(());
                }
                "fill_left" if matching.fill.0.is_none() => matching.fill.0 = value,
                "fill_right" => matching.fill.1 = value,
                _ => return Err(Fault::syntax(before, "fill_left is said twice")),
            }
        }
        Ok(())
    }

    fn fill_value(&mut self) -> Result<f64, Fault> {
        self.take(Token::Open, Mode::Expression, "fill")?;
        let value = self.signed_number()?;
        self.take(Token::Close, Mode::Expression, "fill")?;
        Ok(value)
    }

    /// `5`, `-5m`, `+Inf`.
    fn signed_number(&mut self) -> Result<f64, Fault> {
        let (mut token, mut start, mut end) = self.peek()?;
        let minus = token == Token::Op(BinaryOp::Subtract);
        if minus || token == Token::Op(BinaryOp::Add) {
            self.at = end;
            (token, start, end) = self.peek()?;
        }
        if let Token::Word(word) = token {
            token = Token::Number(word);
        }
        self.at = end;
        let value = self.number(token, start)?;
        Ok(if minus { -value } else { value })
    }

    /// What stands behind `@`.
    fn pin(&mut self) -> Result<Pin, Fault> {
        let (token, start, end) = self.peek()?;
        let bound = match token {
            Token::Word(word) if word.eq_ignore_ascii_case("start") => Some(Pin::Start),
            Token::Word(word) if word.eq_ignore_ascii_case("end") => Some(Pin::End),
            _ => None,
        };
        if let Some(bound) = bound {
            self.at = end;
            self.take(Token::Open, Mode::Expression, "@")?;
            self.take(Token::Close, Mode::Expression, "@")?;
            return Ok(bound);
        }
        if matches!(token, Token::End | Token::Close | Token::Comma) {
            return Err(Fault::syntax(
                start,
                format!("unexpected {} in @, expected timestamp", token.shown()),
            ));
        }
        let seconds = self.signed_number()?;
        let ms = (seconds * 1000.0).round();
        if ms.is_nan() || ms.abs() >= 9.0e18 {
            return Err(Fault::syntax(start, format!("timestamp out of bounds for @ modifier: {seconds}")));
        }
        Ok(Pin::AtMs(ms as i64))
    }

    fn labels_where_there(&mut self) -> Result<Vec<Arc<str>>, Fault> {
        if self.peek()?.0 == Token::Open { self.labels() } else { Ok(Vec::new()) }
    }

    /// `(a, b)`.
    fn labels(&mut self) -> Result<Vec<Arc<str>>, Fault> {
        self.take(Token::Open, Mode::Expression, "grouping")?;
        let mut labels: Vec<Arc<str>> = Vec::new();
        loop {
            let (token, start, end) = self.peek()?;
            self.at = end;
            match token {
                Token::Close => return Ok(labels),
                Token::Word(word) | Token::Metric(word) => labels.push(word.into()),
                Token::Text(quoted) => match self.text_of(quoted, start)? {
                    Text::Utf8(name) if !name.is_empty() => labels.push(name),
                    _ => {
                        return Err(Fault::syntax(
                            start,
                            format!("invalid label name for grouping: {quoted}"),
                        ));
                    }
                },
                _ => {
                    return Err(Fault::syntax(
                        start,
                        format!("unexpected {} in grouping, expected label", token.shown()),
                    ));
                }
            }
            let (token, start, end) = self.peek()?;
            self.at = end;
            match token {
                Token::Comma => {}
                Token::Close => return Ok(labels),
                _ => {
                    return Err(Fault::syntax(
                        start,
                        format!("unexpected {} in grouping, expected \",\" or \")\"", token.shown()),
                    ));
                }
            }
        }
    }
}

fn operator(token: Token<'_>) -> Option<BinaryOp> {
    match token {
        Token::Op(op) => Some(op),
        Token::Word(word) => [BinaryOp::And, BinaryOp::Or, BinaryOp::Unless, BinaryOp::Atan2]
            .into_iter()
            .find(|op| word.eq_ignore_ascii_case(op.sign())),
        _ => None,
    }
}
