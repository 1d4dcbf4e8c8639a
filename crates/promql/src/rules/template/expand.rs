//! What a template says of an alert.
//!
//! In: a parsed template, and what it is expanded with: labels, value, time, and a way to ask queries. Out: the text, or a
//! sentence that says why there is none: also where the text would be longer than its bound.

use std::rc::Rc;

use super::format::printed;
use super::parse::{Base, Branch, Call, Node, Operand, Pipeline, Range, Setting};
use crate::{Labels, Point};

/// Longer texts are given up.
const BYTES_MAX: usize = 1 << 20;

/// Answers a query of a template, at the time of the evaluation.
pub(in crate::rules) type Ask<'a> = dyn Fn(&str) -> Result<Vec<Point>, String> + 'a;

/// What a template is expanded with.
#[derive(Clone, Copy)]
pub(in crate::rules) struct Given<'a> {
    pub(in crate::rules) labels: &'a Labels,
    pub(in crate::rules) value: &'a crate::Value,
    pub(in crate::rules) external_labels: &'a Labels,
    pub(in crate::rules) external_url: &'a str,
    /// Milliseconds since 1970.
    pub(in crate::rules) at_ms: i64,
    pub(in crate::rules) ask: &'a Ask<'a>,
}

/// What templates reckon with.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Nil,
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(Rc<str>),
    Labels(Labels),
    Sample(Rc<Point>),
    Samples(Rc<[Rc<Point>]>),
    /// What is given at the outermost.
    Root,
}

impl Value {
    pub(super) fn text(text: impl AsRef<str>) -> Self {
        Self::Text(text.as_ref().into())
    }

    /// What Go calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Integer(_) => "int",
            Self::Number(_) => "float64",
            Self::Text(_) => "string",
            Self::Labels(_) => "labels",
            Self::Sample(_) => "sample",
            Self::Samples(_) => "query result",
            Self::Root => "data",
        }
    }

    /// What Go holds to be true: what is not empty.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Integer(value) => *value != 0,
            Self::Number(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::Labels(labels) => !labels.is_empty(),
            Self::Samples(samples) => !samples.is_empty(),
            Self::Sample(_) | Self::Root => true,
        }
    }
}

/// The value of a sample: a number, or a histogram as it is shown.
pub(super) fn of_sample(value: &crate::Value) -> Value {
    match value {
        crate::Value::Float(value) => Value::Number(*value),
        crate::Value::Histogram(histogram) => Value::text(histogram.to_string()),
    }
}

pub(super) fn expand(nodes: &[Node], given: &Given<'_>) -> Result<String, String> {
    let variables = vec![
        (String::new(), Value::Root),
        ("labels".to_owned(), Value::Labels(given.labels.clone())),
        ("externalLabels".to_owned(), Value::Labels(given.external_labels.clone())),
        ("externalURL".to_owned(), Value::text(given.external_url)),
        ("value".to_owned(), of_sample(given.value)),
    ];
    let mut run = Run { given, variables, out: String::new() };
    run.body(nodes, &Value::Root)?;
    Ok(run.out)
}

/// A template while it is expanded.
pub(super) struct Run<'a> {
    pub(super) given: &'a Given<'a>,
    /// Those of inner scopes last.
    variables: Vec<(String, Value)>,
    out: String,
}

impl Run<'_> {
    fn body(&mut self, nodes: &[Node], dot: &Value) -> Result<(), String> {
        for node in nodes {
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Print(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    self.out.push_str(&printed(&value));
                }
                Node::Set(setting, pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    self.set(setting, value);
                }
                Node::If(branches) => self.branches(branches, dot, false)?,
                Node::With(branches) => self.branches(branches, dot, true)?,
                Node::Range(range) => self.range(range, dot)?,
            }
            if self.out.len() > BYTES_MAX {
                return Err(format!("it would be longer than {BYTES_MAX} bytes"));
            }
        }
        Ok(())
    }

    /// The body of the first condition that holds; where it is `with`, of what was found to be true.
    fn branches(&mut self, branches: &[Branch], dot: &Value, with: bool) -> Result<(), String> {
        let scope = self.variables.len();
        for branch in branches {
            let Some((setting, pipeline)) = &branch.condition else {
                self.body(&branch.body, dot)?;
                break;
            };
            let value = self.pipeline(pipeline, dot)?;
            if let Some(setting) = setting {
                self.set(setting, value.clone());
            }
            if value.is_true() {
                self.body(&branch.body, if with { &value } else { dot })?;
                break;
            }
        }
        self.variables.truncate(scope);
        Ok(())
    }

    fn range(&mut self, range: &Range, dot: &Value) -> Result<(), String> {
        let over = self.pipeline(&range.over, dot)?;
        let each: Vec<(Value, Value)> = match &over {
            Value::Samples(samples) => (0..)
                .zip(samples.iter())
                .map(|(at, sample)| (Value::Integer(at), Value::Sample(Rc::clone(sample))))
                .collect(),
            Value::Labels(labels) => {
                labels.iter().map(|(name, value)| (Value::text(name), Value::text(value))).collect()
            }
            Value::Nil => Vec::new(),
            other => return Err(format!("range can't iterate over {}", other.kind())),
        };
        if each.is_empty() {
            return self.body(&range.otherwise, dot);
        }
        for (key, value) in each {
            let scope = self.variables.len();
            if let Some(setting) = &range.key {
                self.set(setting, key);
            }
            if let Some(setting) = &range.value {
                self.set(setting, value.clone());
            }
            self.body(&range.body, &value)?;
            self.variables.truncate(scope);
        }
        Ok(())
    }

    fn set(&mut self, setting: &Setting, value: Value) {
        if setting.declares {
            self.variables.push((setting.name.clone(), value));
        } else if let Some(known) = self.variables.iter_mut().rev().find(|(name, _)| *name == setting.name) {
            known.1 = value;
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, String> {
        let mut piped = None;
        for call in &pipeline.0 {
            piped = Some(self.call(call, piped, dot)?);
        }
        Ok(piped.unwrap_or(Value::Nil))
    }

    fn call(&mut self, call: &Call, piped: Option<Value>, dot: &Value) -> Result<Value, String> {
        let Some(function) = call.function else {
            return match call.operands.first() {
                Some(operand) => self.operand(operand, dot),
                None => Ok(piped.unwrap_or(Value::Nil)),
            };
        };
        let mut arguments = Vec::with_capacity(call.operands.len() + 1);
        for operand in &call.operands {
            let value = self.operand(operand, dot)?;
            // As in Go: what decides is not behind what is not looked at.
            if function.decided_by(&value) {
                return Ok(value);
            }
            arguments.push(value);
        }
        arguments.extend(piped);
        function.call(&arguments, self.given)
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, String> {
        let mut value = match &operand.base {
            Base::Dot => dot.clone(),
            Base::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                known.map_or(Value::Nil, |(_, value)| value.clone())
            }
            Base::Text(text) => Value::text(text),
            Base::Integer(value) => Value::Integer(*value),
            Base::Number(value) => Value::Number(*value),
            Base::Bool(value) => Value::Bool(*value),
            Base::Nil => Value::Nil,
            Base::Inner(pipeline) => self.pipeline(pipeline, dot)?,
        };
        for field in &operand.fields {
            value = self.field(&value, field)?;
        }
        Ok(value)
    }

    fn field(&self, value: &Value, name: &str) -> Result<Value, String> {
        match (value, name) {
            (Value::Root, "Labels") => Ok(Value::Labels(self.given.labels.clone())),
            (Value::Root, "ExternalLabels") => Ok(Value::Labels(self.given.external_labels.clone())),
            (Value::Root, "ExternalURL") => Ok(Value::text(self.given.external_url)),
            (Value::Root, "Value") => Ok(of_sample(self.given.value)),
            // A label that is not there is empty.
            (Value::Labels(labels), name) => Ok(Value::text(labels.get(name))),
            (Value::Sample(sample), "Labels") => Ok(Value::Labels(sample.labels.clone())),
            (Value::Sample(sample), "Value") => Ok(of_sample(&sample.value)),
            (other, name) => Err(format!("can't evaluate field {name} in type {}", other.kind())),
        }
    }
}
