//! Tidy: the rules of the house that no compiler knows.
//!
//! In: a [`Tree`], the project's manifests, Rust sources and documents as text. Out: [`Finding`]s, each
//! with file, line, rule and what to do. Every rule is a pure function of the tree, one file each or one
//! entry in a table, so a rule is tested on a few lines of made-up source.
//!
//! Deliberately absent: anything rustfmt, clippy or cargo-deny can say. Sources are read word by word
//! ([`source`]), not parsed: a rule that needs types belongs in the compiler.

mod decide_stages;
mod documents;
mod files;
mod finding;
mod floors;
mod fuzz;
mod keeper;
mod links;
mod manifest;
mod source;
mod tree;
mod words;

use std::path::Path;
use std::process::ExitCode;

use finding::{Finding, Weight};
use tree::Tree;

/// Every rule, in the order in which its findings are shown.
const RULES: [fn(&Tree) -> Vec<Finding>; 8] = [
    floors::check,
    words::check,
    decide_stages::check,
    keeper::check,
    files::check,
    documents::check,
    links::check,
    fuzz::check,
];

/// Prints the findings on the tree under `root`; fails when one of them is an error.
pub(crate) fn command(root: &Path) -> ExitCode {
    let tree = match Tree::read(root) {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("cannot read {}: {error}", root.display());
            return ExitCode::FAILURE;
        }
    };
    let findings = check(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    let errors = findings.iter().filter(|finding| finding.weight == Weight::Error).count();
    eprintln!("tidy: {} files, {errors} errors, {} warnings", tree.len(), findings.len() - errors);
    if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// All findings of all rules.
fn check(tree: &Tree) -> Vec<Finding> {
    RULES.iter().flat_map(|rule| rule(tree)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_is_tidy() {
        let tree = Tree::read(&crate::project_root()).unwrap();
        assert!(tree.len() > 20, "only {} files were found: wrong directory?", tree.len());
        let errors: Vec<String> = check(&tree)
            .iter()
            .filter(|finding| finding.weight == Weight::Error)
            .map(Finding::to_string)
            .collect();
        assert!(errors.is_empty(), "\n{}", errors.join("\n"));
    }
}
