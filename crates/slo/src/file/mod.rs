//! Objectives as people write them: OpenSLO v1, Sloth, Pyrra.
//!
//! In: the bytes of files, with names to tell them apart by. Out: objectives, or everything that is wrong, each with file,
//! line, column and what was expected. Nothing is half loaded: files that are read together come whole or not at all, and
//! a reference may name an object of any of them.
//!
//! Deliberately absent: reading from disk.

mod openslo;
mod promql;
mod pyrra;
mod sloth;
mod yaml;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use serde_saphyr::Spanned;

use crate::objective::Objective;
use yaml::{Fields, Node, Notes, Place, Value};

/// Longer files are refused: 10,000 objectives take less.
pub const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Everything that is wrong with files that were read together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// At least one, in the order of the files.
    pub problems: Vec<Problem>,
}

/// Something wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The name the file was given.
    pub file: String,
    /// From 1.
    pub line: u64,
    /// From 1, in characters.
    pub column: u64,
    /// The path of the field, such as `spec.objectives[0].target`; empty for the whole document.
    pub field: String,
    /// What is wrong and what was expected.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.field.is_empty() { "" } else { ": " };
        write!(f, "{}:{}:{}: {}{colon}{}", self.file, self.line, self.column, self.field, self.message)
    }
}

/// A line each.
impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            let newline = if at > 0 { "\n" } else { "" };
            write!(f, "{newline}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for FileError {}

/// Reads one file. `name` is named in errors.
pub fn read(name: &str, bytes: &[u8]) -> Result<Vec<Objective>, FileError> {
    read_all(&[(name, bytes)])
}

/// Reads files, given as names and contents, whose objects may refer to each other. Expressions are checked as far as text
/// can be; see [`read_checked`].
pub fn read_all(files: &[(&str, &[u8])]) -> Result<Vec<Objective>, FileError> {
    read_checked(files, &|_| Ok(()))
}

/// As [`read_all`], and asks `check` of every PromQL expression, its window being `1m`, what is wrong with it.
pub fn read_checked(
    files: &[(&str, &[u8])],
    check: &dyn Fn(&str) -> Result<(), String>,
) -> Result<Vec<Objective>, FileError> {
    let notes = Notes { problems: RefCell::new(Vec::new()), check };
    let documents: Vec<(&str, Vec<Spanned<Node>>)> = files
        .iter()
        .filter_map(|(name, bytes)| match documents(name, bytes) {
            Ok(documents) => Some((*name, documents)),
            Err(problem) => {
                notes.problems.borrow_mut().push(problem);
                None
            }
        })
        .collect();
    let mut found: Vec<(Objective, Place<'_>)> = Vec::new();
    let mut openslo = openslo::Objects::default();
    for (file, document) in documents.iter().flat_map(|(file, all)| all.iter().map(move |one| (*file, one))) {
        let place = Place::root(file, document, &notes);
        let Some(fields) = Value::root(place, document).fields() else { continue };
        match kind(&fields) {
            Some(Kind::OpenSlo) => openslo.add(fields),
            Some(Kind::Sloth) => found.extend(sloth::plain(fields)),
            Some(Kind::SlothKubernetes) => found.extend(sloth::kubernetes(fields)),
            Some(Kind::Pyrra) => found.extend(pyrra::objective(fields)),
            None => {}
        }
    }
    found.extend(openslo.objectives());
    refuse_twins(&found);
    let objectives = found.into_iter().map(|(objective, _)| objective).collect();
    let mut problems = notes.problems.into_inner();
    if problems.is_empty() {
        return Ok(objectives);
    }
    let order = |problem: &Problem| files.iter().position(|(name, _)| *name == problem.file);
    problems.sort_by_key(|problem| (order(problem), problem.line, problem.column));
    Err(FileError { problems })
}

fn documents(name: &str, bytes: &[u8]) -> Result<Vec<Spanned<Node>>, Problem> {
    let whole =
        |message| Problem { file: name.to_owned(), line: 1, column: 1, field: String::new(), message };
    if bytes.len() > FILE_BYTES_MAX {
        return Err(whole(format!("has {} bytes, at most {FILE_BYTES_MAX} are read", bytes.len())));
    }
    let documents = yaml::documents(name, bytes)?;
    if documents.is_empty() {
        return Err(whole("is empty; an SLO was expected".to_owned()));
    }
    Ok(documents)
}

enum Kind {
    OpenSlo,
    Sloth,
    SlothKubernetes,
    Pyrra,
}

/// What a document is.
fn kind(fields: &Fields<'_>) -> Option<Kind> {
    const EXPECTED: &str = "`apiVersion: openslo/v1`, `version: prometheus/v1`, `apiVersion: sloth.slok.dev/v1` or `apiVersion: pyrra.dev/v1alpha1`";
    let Some(value) = fields.optional("apiVersion").or_else(|| fields.optional("version")) else {
        fields.place.refuse(format_args!("says no version; {EXPECTED} was expected"));
        return None;
    };
    let is_api = value.place.field == "apiVersion";
    match (is_api, value.text()?) {
        (true, "openslo/v1") => Some(Kind::OpenSlo),
        (false, "prometheus/v1") => Some(Kind::Sloth),
        (true, "sloth.slok.dev/v1") => Some(Kind::SlothKubernetes),
        (true, "pyrra.dev/v1alpha1") => Some(Kind::Pyrra),
        (_, other) => {
            value.place.refuse(format_args!("is {other:?}; {EXPECTED} was expected"));
            None
        }
    }
}

/// Two objectives of one id would share alerts and history.
fn refuse_twins(found: &[(Objective, Place<'_>)]) {
    let mut first: BTreeMap<&str, &Place<'_>> = BTreeMap::new();
    for (objective, place) in found {
        match first.get(&*objective.id) {
            Some(other) => place.refuse(format_args!(
                "is the second objective with the id {:?}; the first is in {}:{}",
                objective.id,
                other.file,
                other.line()
            )),
            None => {
                first.insert(&objective.id, place);
            }
        }
    }
}

/// What a Kubernetes object's metadata says.
struct Metadata {
    name: String,
    namespace: String,
    labels: BTreeMap<String, String>,
}

/// Reads `metadata` as Kubernetes has it; what its server writes there is left out of account.
fn kubernetes_metadata(fields: &Fields<'_>) -> Option<Metadata> {
    const WRITTEN_BY_THE_SERVER: [&str; 9] = [
        "creationTimestamp",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "uid",
    ];
    let metadata = fields.required("metadata")?.fields()?;
    let name = metadata.required("name").and_then(|name| name.words());
    let namespace = metadata.optional("namespace").and_then(|namespace| namespace.words());
    let labels = metadata.optional("labels").and_then(|labels| labels.map_of_texts());
    metadata.optional("annotations").and_then(|annotations| annotations.map_of_texts());
    metadata.ignore(&WRITTEN_BY_THE_SERVER);
    metadata.end();
    Some(Metadata {
        name: name?.to_owned(),
        namespace: namespace.unwrap_or_default().to_owned(),
        labels: labels.unwrap_or_default(),
    })
}

/// Refuses another `kind` than the only one.
fn only_kind(fields: &Fields<'_>, expected: &str) -> Option<()> {
    let kind = fields.required("kind")?;
    let text = kind.text()?;
    if text != expected {
        kind.place.refuse(format_args!("is {text:?}, {expected} was expected"));
        return None;
    }
    Some(())
}
