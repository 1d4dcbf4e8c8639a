//! The reference that is made from code: what is served at `/docs/reference` and lies as Markdown in `docs/reference`.
//!
//! In: endpoints, permissions, codes of errors. Out: Markdown, which must be what is committed. `cargo xtask docs` writes it
//! anew. What the command line, the configuration and the metrics make of theirs is in `homeostat` and in
//! `tests/metrics_reference.rs`.

mod errors;
mod permissions;
mod rest;

use std::path::Path;

/// Set, what is made is written; else it must be what lies there already.
const WRITE: &str = "HOMEOSTAT_WRITE_REFERENCE";

/// Holds a page of the reference against what is committed.
fn check(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, made).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = committed.lines().zip(made.lines()).position(|(a, b)| a != b);
    assert!(
        committed == made,
        "docs/reference/{name} is not what the code says, from line {} on; run `cargo xtask docs` and commit what it writes",
        differs.unwrap_or_else(|| committed.lines().count().min(made.lines().count())) + 1
    );
}

/// Text as a cell of a table may hold it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// The first line of every page that is made.
fn made_from(what: &str) -> String {
    format!("<!-- Made from {what} by `cargo xtask docs`; changes made here are lost. -->\n\n")
}
