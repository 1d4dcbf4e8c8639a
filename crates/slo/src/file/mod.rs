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

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use yaml::{FileError, Problem};

use crate::objective::Objective;

/// What is wrong with an expression of PromQL, where something is.
type Check<'a> = &'a dyn Fn(&str) -> Result<(), String>;

type File<'a> = yaml::File<'a, Check<'a>>;
type Place<'a> = yaml::Place<'a, Check<'a>>;
type Value<'a> = yaml::Value<'a, Check<'a>>;
type Fields<'a> = yaml::Fields<'a, Check<'a>>;

/// Reads one file. `name` is named in errors.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(name: &str, bytes: &[u8]) -> Result<Vec<Objective>, FileError> {
    read_all(&[(name, bytes)])
}

/// Reads files, given as names and contents, whose objects may refer to each other. Expressions are checked as far as text
/// can be; see [`read_checked`].
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn read_all(files: &[(&str, &[u8])]) -> Result<Vec<Objective>, FileError> {
    read_checked(files, &|_| Ok(()))
}

/// As [`read_all`], and asks `check` of every PromQL expression, its window being `1m`, what is wrong with it.
///
/// # Errors
/// As [`read_all`].
pub fn read_checked(files: &[(&str, &[u8])], check: Check<'_>) -> Result<Vec<Objective>, FileError> {
    let parsed: Vec<Result<File<'_>, Problem>> =
        files.iter().map(|(name, bytes)| File::parse(name, bytes, check)).collect();
    let mut found: Vec<(Objective, Place<'_>)> = Vec::new();
    let mut openslo = openslo::Objects::default();
    for file in parsed.iter().flatten() {
        if file.documents().len() == 0 {
            file.refuse("is empty; an SLO was expected");
        }
        for document in file.documents() {
            let Some(fields) = document.fields() else { continue };
            match kind(&fields) {
                Some(Kind::OpenSlo) => openslo.add(fields),
                Some(Kind::Sloth) => found.extend(sloth::plain(fields)),
                Some(Kind::SlothKubernetes) => found.extend(sloth::kubernetes(fields)),
                Some(Kind::Pyrra) => found.extend(pyrra::objective(fields)),
                None => {}
            }
        }
    }
    found.extend(openslo.objectives());
    refuse_twins(&found);
    let objectives = found.into_iter().map(|(objective, _)| objective).collect();
    let problems_of = |file: &Result<File<'_>, Problem>| match file {
        Ok(file) => file.take_problems(),
        Err(problem) => vec![problem.clone()],
    };
    let problems: Vec<Problem> = parsed.iter().flat_map(problems_of).collect();
    if problems.is_empty() { Ok(objectives) } else { Err(FileError { problems }) }
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
                objective.id, other.file.name, other.line
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
