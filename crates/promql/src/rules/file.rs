//! Rule files as people write them for Prometheus.
//!
//! In: the bytes of files, with names to tell them apart by. Out: groups of rules, or everything that is wrong, each with
//! file, line, column and what was expected. Nothing is half loaded: files that are read together come whole or not at
//! all. A scalar is the text it is written as, until a field says what it is: `severity: 1` is the text `1`.
//!
//! Deliberately absent: reading from disk.

use std::collections::BTreeMap;
use std::time::Duration;

use yaml::{Fields, File, FileError, Problem, Value};

use super::template::Template;
use crate::parse::literal;
use crate::{Engine, Expression, METRIC_NAME, Position};

/// A group of rules, evaluated one after the other at the same time.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleGroup {
    /// Unique within its file.
    pub name: String,
    /// The name its file was given.
    pub file: String,
    /// The time between two evaluations; where none is said, the one of the configuration.
    pub interval: Option<Duration>,
    /// How far in the past it is evaluated; where none is said, the one of the configuration.
    pub query_offset: Option<Duration>,
    /// Series or alerts that one rule may produce; 0 is no limit.
    pub limit: u64,
    /// In the order of their evaluation.
    pub rules: Vec<Rule>,
}

/// A rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The series it records, or the alert it raises.
    pub name: String,
    /// Where it stands in its file, from 1.
    pub line: u64,
    /// What is evaluated.
    pub expression: Expression,
    /// What it is for.
    pub kind: Purpose,
}

/// What a rule is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Purpose {
    /// Its value is kept as series with these labels.
    Record {
        /// Sorted by name.
        labels: BTreeMap<String, String>,
    },
    /// Its value is what there is to be alarmed about.
    Alert {
        /// How long it has to be so before it fires.
        hold: Duration,
        /// How long it goes on firing when it is so no more.
        keep_firing: Duration,
        /// Labels of the alert.
        labels: BTreeMap<String, Template>,
        /// What is said with it.
        annotations: BTreeMap<String, Template>,
    },
}

impl Rule {
    /// Its labels as they were written.
    pub fn written_labels(&self) -> BTreeMap<String, String> {
        match &self.kind {
            Purpose::Record { labels } => labels.clone(),
            Purpose::Alert { labels, .. } => written(labels),
        }
    }
}

/// Templates as they were written.
pub(super) fn written(templates: &BTreeMap<String, Template>) -> BTreeMap<String, String> {
    templates.iter().map(|(name, template)| (name.clone(), template.text().to_owned())).collect()
}

/// Equal where they do the same: where they stand does not matter.
impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.expression.text() == other.expression.text()
            && self.kind == other.kind
    }
}

/// Files that were understood.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RuleFiles {
    /// In the order of the files.
    pub groups: Vec<RuleGroup>,
    /// What was read past, since it has no meaning here.
    pub notes: Vec<Problem>,
}

/// Reads files, given as names and contents.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn read_all(files: &[(&str, &[u8])], engine: &Engine) -> Result<RuleFiles, FileError> {
    let mut read = RuleFiles::default();
    let mut problems = Vec::new();
    for (name, bytes) in files {
        match File::parse(name, bytes, ()) {
            Ok(file) => {
                read.groups.extend(read_file(&file, engine));
                read.notes.extend(file.take_notes());
                let mut found = file.take_problems();
                // What stands in the labels of a group is read once for each of its rules.
                found.dedup();
                problems.extend(found);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(read) } else { Err(FileError { problems }) }
}

/// As Prometheus: a file without anything in it has no groups.
fn read_file(file: &File<'_>, engine: &Engine) -> Vec<RuleGroup> {
    let mut documents = file.documents();
    let Some(root) = documents.next() else { return Vec::new() };
    if let Some(second) = documents.next() {
        second.place.refuse("begins a second document; a rule file is one");
        return Vec::new();
    }
    groups(&root, engine)
}

fn groups(root: &Value<'_>, engine: &Engine) -> Vec<RuleGroup> {
    let Some(fields) = root.fields() else { return Vec::new() };
    let listed = fields.optional("groups").and_then(|groups| groups.list()).unwrap_or_default();
    fields.end();
    let mut names: BTreeMap<String, u64> = BTreeMap::new();
    let mut groups = Vec::new();
    for value in &listed {
        let Some(group) = group(value, engine) else { continue };
        match names.get(&group.name) {
            Some(line) => value.place.refuse(format_args!(
                "is the second group with the name {:?}; the first begins in line {line}",
                group.name
            )),
            None => drop(names.insert(group.name.clone(), value.place.line)),
        }
        groups.push(group);
    }
    groups
}

/// Reads everything of a group, so that all that is wrong is told.
fn group(value: &Value<'_>, engine: &Engine) -> Option<RuleGroup> {
    let fields = value.fields()?;
    let name = fields.required("name").and_then(|name| name.written()).map(str::to_owned);
    let interval = duration(&fields, "interval").filter(|interval| !interval.is_zero());
    let query_offset = duration(&fields, "query_offset");
    let limit = fields.optional("limit").and_then(|limit| whole_number(&limit)).unwrap_or(0);
    if let Some(strategy) = fields.optional("partial_response_strategy") {
        strategy.place.note("is Thanos' and has no meaning here: an answer is never partial");
    }
    let labels = fields.optional("labels").map(|labels| texts(&labels, "label")).unwrap_or_default();
    let listed = fields.optional("rules").and_then(|rules| rules.list()).unwrap_or_default();
    fields.end();
    let rules: Vec<Option<Rule>> = listed.iter().map(|rule| self::rule(rule, &labels, engine)).collect();
    let rules = rules.into_iter().flatten().collect();
    let file = value.place.file.name.to_owned();
    Some(RuleGroup { name: name?, file, interval, query_offset, limit, rules })
}

type Texts<'a> = BTreeMap<String, Option<Value<'a>>>;

fn rule(value: &Value<'_>, of_group: &Texts<'_>, engine: &Engine) -> Option<Rule> {
    let fields = value.fields()?;
    let record = fields.optional("record");
    let alert = fields.optional("alert");
    let expression = fields.required("expr").and_then(|expr| expression(&expr, engine));
    let hold = duration(&fields, "for");
    let keep_firing = duration(&fields, "keep_firing_for");
    let own = fields.optional("labels").map(|labels| texts(&labels, "label")).unwrap_or_default();
    let annotations = fields.optional("annotations");
    let said = annotations.as_ref().map(|said| texts(said, "annotation")).unwrap_or_default();
    let mut labels = of_group.clone();
    labels.extend(own);
    let (name, kind) = match (record, alert) {
        (Some(record), None) => {
            for name in ["for", "keep_firing_for", "annotations"] {
                if fields.optional(name).is_some() {
                    fields.place_of(name).refuse("belongs to an alert; this rule records a series");
                }
            }
            let labels = labels.into_iter().map(|(name, value)| (name, plain(value.as_ref())));
            (metric_name(&record), Purpose::Record { labels: labels.collect() })
        }
        (None, Some(alert)) => {
            let kind = Purpose::Alert {
                hold: hold.unwrap_or_default(),
                keep_firing: keep_firing.unwrap_or_default(),
                labels: templates(&labels),
                annotations: templates(&said),
            };
            (words(&alert), kind)
        }
        (Some(_), Some(_)) => {
            fields.place_of("alert").refuse("stands beside `record`; a rule is one or the other");
            return None;
        }
        (None, None) => {
            fields.place.refuse("has neither `record` nor `alert`; one of them is needed");
            return None;
        }
    };
    fields.end();
    Some(Rule { name: name?, line: value.place.line, expression: expression?, kind })
}

/// Text that is not empty.
fn words(value: &Value<'_>) -> Option<String> {
    let text = value.written()?;
    if text.is_empty() {
        value.place.refuse("is empty; a name was expected");
        return None;
    }
    Some(text.to_owned())
}

fn metric_name(value: &Value<'_>) -> Option<String> {
    let name = words(value)?;
    if name.contains(['{', '}']) {
        value.place.refuse(format_args!(
            "is {name:?}; the name of a series was expected, selectors belong to `expr` and labels to `labels`"
        ));
        return None;
    }
    Some(name)
}

fn expression(value: &Value<'_>, engine: &Engine) -> Option<Expression> {
    let parsed = engine.parse(value.written()?);
    parsed.map_err(|error| refuse_within(value, error.position, "expression", &error.message)).ok()
}

/// Refuses what stands at a position of a value: there where the value stands in the file as it is, and else at its
/// beginning, with the position within it.
fn refuse_within(value: &Value<'_>, at: Position, what: &str, message: &str) {
    match value.place_within(at.line as usize, at.column as usize) {
        Some(place) => place.refuse(message),
        None => value.place.refuse(format_args!("at {at} of the {what}: {message}")),
    }
}

fn duration<'a>(fields: &Fields<'a>, name: &'a str) -> Option<Duration> {
    let value = fields.optional(name)?;
    let text = value.written()?;
    if text == "0" {
        return Some(Duration::ZERO);
    }
    match literal::span(text) {
        Some(seconds) => Some(Duration::from_secs_f64(seconds)),
        None => {
            value.place.refuse(format_args!("is {text:?}; a duration such as 30s, 5m or 1h30m was expected"));
            None
        }
    }
}

fn whole_number(value: &Value<'_>) -> Option<u64> {
    let text = value.written()?;
    let number = text.parse().ok();
    if number.is_none() {
        value.place.refuse(format_args!("is {text:?}; a whole number was expected, 0 for no limit"));
    }
    number
}

/// Names and texts; what they are for says what a wrong one is called.
fn texts<'a>(value: &Value<'a>, what: &str) -> Texts<'a> {
    let Some(fields) = value.fields() else { return Texts::default() };
    let mut texts = Texts::new();
    for (name, place, value) in fields.each() {
        if name.is_empty() || (what == "label" && name == METRIC_NAME) {
            place.refuse(format_args!("{name:?} cannot be the name of a {what}"));
        }
        if value.as_ref().is_none_or(|value| value.written().is_some()) {
            texts.insert(name.to_owned(), value);
        }
    }
    texts
}

fn plain(value: Option<&Value<'_>>) -> String {
    value.and_then(Value::written).unwrap_or_default().to_owned()
}

fn templates(texts: &Texts<'_>) -> BTreeMap<String, Template> {
    let mut templates = BTreeMap::new();
    for (name, value) in texts {
        match (Template::parse(&plain(value.as_ref())), value) {
            (Ok(template), _) => drop(templates.insert(name.clone(), template)),
            (Err(error), Some(value)) => refuse_within(value, error.position, "template", &error.message),
            (Err(_), None) => {}
        }
    }
    templates
}
