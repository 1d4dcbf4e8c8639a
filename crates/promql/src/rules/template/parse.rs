//! Actions understood: what is printed, decided and repeated.

use super::functions::Function;
use super::lex::{self, Piece, Placed, Token};
use crate::error::Fault;

/// Deeper nesting is refused.
const DEPTH_MAX: usize = 100;

/// A part of a template.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    /// Printed.
    Print(Pipeline),
    /// `$x := …` and `$x = …`.
    Set(Setting, Pipeline),
    If(Vec<Branch>),
    With(Vec<Branch>),
    Range(Range),
}

/// What happens where a condition holds. The last of several may have none: `else`.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) condition: Option<(Option<Setting>, Pipeline)>,
    pub(super) body: Vec<Node>,
}

/// What happens for each of several.
#[derive(Debug, Clone)]
pub(super) struct Range {
    /// Takes the place or the key.
    pub(super) key: Option<Setting>,
    /// Takes the value.
    pub(super) value: Option<Setting>,
    pub(super) over: Pipeline,
    pub(super) body: Vec<Node>,
    /// Where there is none.
    pub(super) otherwise: Vec<Node>,
}

/// A variable that gets a value.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) name: String,
    /// It is new here; else it is one from further out.
    pub(super) declares: bool,
}

/// Calls of which each takes what the one before makes of it as its last argument.
#[derive(Debug, Clone)]
pub(super) struct Pipeline(pub(super) Vec<Call>);

/// A function and its arguments, or a value.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) function: Option<Function>,
    pub(super) operands: Vec<Operand>,
}

/// A value, or a field of one.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub(super) base: Base,
    pub(super) fields: Vec<String>,
}

/// Where a value comes from.
#[derive(Debug, Clone)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Text(String),
    Integer(i64),
    Number(f64),
    Bool(bool),
    Nil,
    Inner(Pipeline),
}

/// What is given at the outermost.
const ROOT_FIELDS: [&str; 4] = ["Labels", "Value", "ExternalLabels", "ExternalURL"];

pub(super) fn template(text: &str) -> Result<Vec<Node>, Fault> {
    let pieces = lex::pieces(text)?;
    let known = ["labels", "externalLabels", "externalURL", "value", ""].map(str::to_owned).to_vec();
    let mut parser = Parser { pieces: &pieces, next: 0, known, depth: 0, dot_is_root: true };
    let (nodes, ended) = parser.body()?;
    match ended {
        Ended::Text => Ok(nodes),
        Ended::End(at) => Err(Fault::syntax(at, "`end` ends nothing here")),
        Ended::Else(at, _) => Err(Fault::syntax(at, "`else` belongs to nothing here")),
    }
}

struct Parser<'t> {
    pieces: &'t [Piece<'t>],
    next: usize,
    /// Variables, those of inner scopes last.
    known: Vec<String>,
    depth: usize,
    dot_is_root: bool,
}

/// How a body ended.
enum Ended<'t> {
    Text,
    End(usize),
    /// With what is behind `else`.
    Else(usize, Vec<Placed<'t>>),
}

impl<'t> Parser<'t> {
    fn body(&mut self) -> Result<(Vec<Node>, Ended<'t>), Fault> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.get(self.next) {
            self.next += 1;
            let (action, at) = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text((*text).to_owned()));
                    continue;
                }
                Piece::Action(action, at) => (*action, *at),
            };
            let tokens = lex::tokens(action, at)?;
            let Some(first) = tokens.first() else {
                return Err(Fault::syntax(at, "there is nothing between `{{` and `}}`"));
            };
            let (word, at) = match first.token {
                Token::Word(word) => (word, first.at),
                _ => ("", first.at),
            };
            match word {
                "end" if tokens.len() == 1 => return Ok((nodes, Ended::End(at))),
                "else" => return Ok((nodes, Ended::Else(at, tokens[1..].to_vec()))),
                "if" | "with" => nodes.push(self.branches(word, &tokens[1..], at)?),
                "range" => nodes.push(self.range(&tokens[1..], at)?),
                "define" | "template" | "block" | "break" | "continue" => {
                    return Err(Fault::syntax(at, format!("`{word}` is not supported in rules here")));
                }
                _ => nodes.push(self.plain(&tokens, at)?),
            }
        }
        Ok((nodes, Ended::Text))
    }

    fn plain(&mut self, tokens: &[Placed<'t>], at: usize) -> Result<Node, Fault> {
        let (setting, rest) = self.setting(tokens)?;
        let pipeline = self.whole_pipeline(rest, at)?;
        Ok(match setting {
            Some(setting) => {
                self.declare(Some(&setting));
                Node::Set(setting, pipeline)
            }
            None => Node::Print(pipeline),
        })
    }

    /// `$x :=` or `$x =` at the beginning, and what is behind.
    fn setting<'a>(&self, tokens: &'a [Placed<'t>]) -> Result<(Option<Setting>, &'a [Placed<'t>]), Fault> {
        let [Placed { token: Token::Variable(name), at, .. }, Placed { token, .. }, rest @ ..] = tokens
        else {
            return Ok((None, tokens));
        };
        let declares = match token {
            Token::Declare => true,
            Token::Assign => false,
            _ => return Ok((None, tokens)),
        };
        if !declares {
            self.must_know(name, *at)?;
        }
        Ok((Some(Setting { name: (*name).to_owned(), declares }), rest))
    }

    fn declare(&mut self, setting: Option<&Setting>) {
        if let Some(setting) = setting.filter(|setting| setting.declares) {
            self.known.push(setting.name.clone());
        }
    }

    fn must_know(&self, name: &str, at: usize) -> Result<(), Fault> {
        if self.known.iter().any(|known| known == name) {
            return Ok(());
        }
        Err(Fault::syntax(
            at,
            format!(
                "undefined variable \"${name}\"; there are $labels, $value, $externalLabels and $externalURL, and what the template sets"
            ),
        ))
    }

    fn deeper(&mut self, at: usize) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Fault::syntax(at, format!("this is nested more than {DEPTH_MAX} deep")));
        }
        Ok(())
    }

    /// `if` and `with`: conditions with bodies, as far as their `end`.
    fn branches(&mut self, word: &str, tokens: &[Placed<'t>], at: usize) -> Result<Node, Fault> {
        self.deeper(at)?;
        let scope = self.known.len();
        let outer_dot = self.dot_is_root;
        let mut branches = Vec::new();
        let mut tokens = tokens.to_vec();
        let mut opened = at;
        loop {
            let (setting, rest) = self.setting(&tokens)?;
            let pipeline = self.whole_pipeline(rest, opened)?;
            self.declare(setting.as_ref());
            self.dot_is_root = outer_dot && word == "if";
            let (body, ended) = self.body()?;
            self.dot_is_root = outer_dot;
            branches.push(Branch { condition: Some((setting, pipeline)), body });
            match self.after_branch(word, ended, at)? {
                Next::End => break,
                Next::Another(behind, behind_at) => (tokens, opened) = (behind, behind_at),
                Next::Otherwise => {
                    let (body, ended) = self.body()?;
                    self.must_end(ended, at)?;
                    branches.push(Branch { condition: None, body });
                    break;
                }
            }
        }
        self.known.truncate(scope);
        self.depth -= 1;
        Ok(if word == "if" { Node::If(branches) } else { Node::With(branches) })
    }

    fn after_branch(&self, word: &str, ended: Ended<'t>, opened: usize) -> Result<Next<'t>, Fault> {
        match ended {
            Ended::Text => Err(no_end(opened)),
            Ended::End(_) => Ok(Next::End),
            Ended::Else(_, behind) if behind.is_empty() => Ok(Next::Otherwise),
            Ended::Else(at, behind) => match &behind[0].token {
                Token::Word(again) if *again == word => Ok(Next::Another(behind[1..].to_vec(), at)),
                _ => {
                    Err(Fault::syntax(behind[0].at, format!("`}}}}` or `{word}` was expected behind `else`")))
                }
            },
        }
    }

    fn must_end(&self, ended: Ended<'t>, opened: usize) -> Result<(), Fault> {
        match ended {
            Ended::End(_) => Ok(()),
            Ended::Text => Err(no_end(opened)),
            Ended::Else(at, _) => Err(Fault::syntax(at, "this is the second `else` of the same")),
        }
    }

    fn range(&mut self, tokens: &[Placed<'t>], at: usize) -> Result<Node, Fault> {
        self.deeper(at)?;
        let scope = self.known.len();
        let outer_dot = self.dot_is_root;
        let (key, value, rest) = self.range_settings(tokens)?;
        let over = self.whole_pipeline(rest, at)?;
        self.declare(key.as_ref());
        self.declare(value.as_ref());
        self.dot_is_root = false;
        let (body, ended) = self.body()?;
        self.dot_is_root = outer_dot;
        let otherwise = match ended {
            Ended::End(_) => Vec::new(),
            Ended::Text => return Err(no_end(at)),
            Ended::Else(_, behind) => {
                if let Some(behind) = behind.first() {
                    return Err(Fault::syntax(behind.at, "`}}` was expected behind `else`"));
                }
                let (body, ended) = self.body()?;
                self.must_end(ended, at)?;
                body
            }
        };
        self.known.truncate(scope);
        self.depth -= 1;
        Ok(Node::Range(Range { key, value, over, body, otherwise }))
    }

    #[allow(clippy::type_complexity)]
    fn range_settings<'a>(
        &self,
        tokens: &'a [Placed<'t>],
    ) -> Result<(Option<Setting>, Option<Setting>, &'a [Placed<'t>]), Fault> {
        use Token::{Assign, Comma, Declare, Variable};
        let names: Vec<&Token<'_>> = tokens.iter().take(4).map(|placed| &placed.token).collect();
        if let [Variable(key), Comma, Variable(value), how @ (Declare | Assign)] = names[..] {
            let declares = *how == Declare;
            if !declares {
                self.must_know(key, tokens[0].at)?;
                self.must_know(value, tokens[2].at)?;
            }
            let setting = |name: &str| Some(Setting { name: name.to_owned(), declares });
            return Ok((setting(key), setting(value), &tokens[4..]));
        }
        let (value, rest) = self.setting(tokens)?;
        Ok((None, value, rest))
    }

    fn whole_pipeline(&mut self, tokens: &[Placed<'t>], at: usize) -> Result<Pipeline, Fault> {
        let mut rest = tokens;
        let pipeline = self.pipeline(&mut rest, at)?;
        match rest.first() {
            None => Ok(pipeline),
            Some(more) => Err(Fault::syntax(more.at, "this belongs to nothing; `}}` was expected")),
        }
    }

    /// As far as a closing parenthesis.
    fn pipeline(&mut self, tokens: &mut &[Placed<'t>], at: usize) -> Result<Pipeline, Fault> {
        let mut calls = Vec::new();
        let mut at = at;
        loop {
            let first = calls.is_empty();
            calls.push(self.call(tokens, at, first)?);
            match tokens.first() {
                Some(Placed { token: Token::Pipe, at: pipe, .. }) => {
                    at = *pipe;
                    *tokens = &tokens[1..];
                }
                _ => return Ok(Pipeline(calls)),
            }
        }
    }

    fn call(&mut self, tokens: &mut &[Placed<'t>], at: usize, first: bool) -> Result<Call, Fault> {
        let mut function = None;
        let begins = tokens.first().map_or(at, |placed| placed.at);
        if let Some(Placed { token: Token::Word(name), at, .. }) = tokens.first()
            && !matches!(*name, "true" | "false" | "nil")
        {
            function = Some(Function::of_name(name).ok_or_else(|| unknown_function(name, *at))?);
            *tokens = &tokens[1..];
        }
        let mut operands = Vec::new();
        while let Some(placed) = tokens.first() {
            match placed.token {
                Token::Pipe | Token::Close => break,
                Token::Word(name) if !matches!(name, "true" | "false" | "nil") => {
                    // A function without arguments.
                    let function =
                        Function::of_name(name).ok_or_else(|| unknown_function(name, placed.at))?;
                    function.must_take(0, placed.at)?;
                    *tokens = &tokens[1..];
                    let call = Call { function: Some(function), operands: Vec::new() };
                    operands.push(Operand { base: Base::Inner(Pipeline(vec![call])), fields: Vec::new() });
                }
                _ => operands.push(self.operand(tokens)?),
            }
        }
        let piped = usize::from(!first);
        match function {
            Some(function) => function.must_take(operands.len() + piped, begins)?,
            None if operands.is_empty() => return Err(Fault::syntax(begins, "a value was expected here")),
            None if operands.len() + piped > 1 => {
                return Err(Fault::syntax(begins, "this is no function and takes no arguments"));
            }
            None => {}
        }
        Ok(Call { function, operands })
    }

    fn operand(&mut self, tokens: &mut &[Placed<'t>]) -> Result<Operand, Fault> {
        let all = *tokens;
        let Some(placed) = all.first() else { return Err(Fault::syntax(0, "a value was expected here")) };
        let at = placed.at;
        *tokens = &all[1..];
        let mut fields = Vec::new();
        let base = match &placed.token {
            Token::Dot => Base::Dot,
            Token::Field(name) => {
                if self.dot_is_root {
                    root_field(name, at)?;
                }
                fields.push((*name).to_owned());
                Base::Dot
            }
            Token::Variable(name) => {
                self.must_know(name, at)?;
                Base::Variable((*name).to_owned())
            }
            Token::Text(text) => Base::Text(text.clone()),
            Token::Integer(value) => Base::Integer(*value),
            Token::Number(value) => Base::Number(*value),
            Token::Word("true") => Base::Bool(true),
            Token::Word("false") => Base::Bool(false),
            Token::Word(_) => Base::Nil,
            Token::Open => {
                self.deeper(at)?;
                let inner = self.pipeline(tokens, at)?;
                self.depth -= 1;
                match tokens.first() {
                    Some(Placed { token: Token::Close, .. }) => *tokens = &tokens[1..],
                    _ => return Err(Fault::syntax(at, "this parenthesis is not closed")),
                }
                Base::Inner(inner)
            }
            Token::Close => return Err(Fault::syntax(at, "this parenthesis was not opened")),
            _ => return Err(Fault::syntax(at, "a value was expected here")),
        };
        while let Some(Placed { token: Token::Field(name), apart: false, at }) = tokens.first() {
            if fields.is_empty() && matches!(&base, Base::Variable(name) if name.is_empty()) {
                root_field(name, *at)?;
            }
            fields.push((*name).to_owned());
            *tokens = &tokens[1..];
        }
        Ok(Operand { base, fields })
    }
}

enum Next<'t> {
    End,
    Another(Vec<Placed<'t>>, usize),
    Otherwise,
}

fn no_end(opened: usize) -> Fault {
    Fault::syntax(opened, "this has no end; `{{ end }}` was expected")
}

fn root_field(name: &str, at: usize) -> Result<(), Fault> {
    if ROOT_FIELDS.contains(&name) {
        return Ok(());
    }
    Err(Fault::syntax(at, format!("there is no .{name}; there are .{}", ROOT_FIELDS.join(", ."))))
}

fn unknown_function(name: &str, at: usize) -> Fault {
    Fault::syntax(at, format!("the function {name:?} is not known in rules here"))
}
