//! The reference of the command line and of the configuration, made from code; and commands and files in documents, read as
//! the program would.
//!
//! In: the command line, the configuration with its defaults, the documents in `docs/`. Out: Markdown, which must be what is
//! committed. `cargo xtask docs` writes it anew; the rest of the reference is made in `gateway`.

mod cli;
mod configuration;
mod documents;
mod source;

use std::path::{Path, PathBuf};

/// Set, what is made is written; else it must be what lies there already.
const WRITE: &str = "HOMEOSTAT_WRITE_REFERENCE";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Holds a page of the reference against what is committed.
fn check(name: &str, made: &str) {
    let path = root().join("docs/reference").join(name);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, made).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let difference = committed.lines().zip(made.lines()).find(|(committed, made)| committed != made);
    assert!(
        committed == made,
        "docs/reference/{name} is not what the code says: {difference:?}; run `cargo xtask docs` and commit what it writes"
    );
}

/// Text as a cell of a table may hold it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
