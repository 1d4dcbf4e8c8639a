//! A file while it is read.

use std::cell::RefCell;
use std::fmt;

use serde_saphyr::options::NonFiniteFloatPolicy;

use super::{Node, Place, Problem, Spanned, Value, plain_message};

/// Longer files are refused.
pub const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A file, with what was found in it so far. `C` is what its reader needs wherever it reads.
pub struct File<'a, C = ()> {
    /// As it is named in errors.
    pub name: &'a str,
    /// What its reader needs wherever it reads.
    pub context: C,
    pub(crate) text: &'a str,
    documents: Vec<Spanned<Node>>,
    problems: RefCell<Vec<Problem>>,
    notes: RefCell<Vec<Problem>>,
}

impl<'a, C> File<'a, C> {
    /// Reads the bytes of the file `name`.
    ///
    /// # Errors
    ///
    /// Where it is longer than [`FILE_BYTES_MAX`], no UTF-8 or no YAML.
    pub fn parse(name: &'a str, bytes: &'a [u8], context: C) -> Result<Self, Problem> {
        let problem = |(line, column), message| Problem {
            file: name.to_owned(),
            line,
            column,
            field: String::new(),
            message,
        };
        if bytes.len() > FILE_BYTES_MAX {
            let message = format!("has {} bytes, at most {FILE_BYTES_MAX} are read", bytes.len());
            return Err(problem((1, 1), message));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let line = before.matches('\n').count() as u64 + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() as u64 + 1;
            problem((line, column), "is not UTF-8".to_owned())
        })?;
        // What is no finite number is refused where it stands, by what was expected there.
        let options = serde_saphyr::options! { non_finite_float_policy: NonFiniteFloatPolicy::PassThrough };
        let documents = serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
            let at = error.location().map_or((1, 1), |at| (at.line(), at.column()));
            problem(at, plain_message(&error))
        })?;
        Ok(Self { name, context, text, documents, problems: RefCell::default(), notes: RefCell::default() })
    }

    /// Its documents; none where there is nothing in it.
    pub fn documents(&'a self) -> impl ExactSizeIterator<Item = Value<'a, C>> {
        self.documents.iter().map(|document| Value::root(self, document))
    }

    /// Notes that something is wrong with the whole of it.
    pub fn refuse(&'a self, message: impl fmt::Display) {
        Place::beginning(self).refuse(message);
    }

    /// What was found wrong since this was last asked, in the order of the file.
    pub fn take_problems(&self) -> Vec<Problem> {
        let mut problems = self.problems.take();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        problems
    }

    /// What was read past since this was last asked.
    pub fn take_notes(&self) -> Vec<Problem> {
        self.notes.take()
    }

    pub(crate) fn add_problem(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(crate) fn add_note(&self, note: Problem) {
        self.notes.borrow_mut().push(note);
    }
}
