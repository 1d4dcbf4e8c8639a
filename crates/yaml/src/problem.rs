//! What is wrong with files, and where.

use std::fmt;

/// Something in a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The name the file was given.
    pub file: String,
    /// From 1.
    pub line: u64,
    /// From 1, in characters.
    pub column: u64,
    /// The path of the field, such as `groups[0].rules[1].expr`; empty for the whole document.
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

/// Everything that is wrong with files that were read together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// At least one, in the order of the files.
    pub problems: Vec<Problem>,
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
