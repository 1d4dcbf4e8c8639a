//! Every Rust file opens with its module docs and stays short enough to be read.

use super::finding::Finding;
use super::tree::Tree;

/// Above this a file is said to be long.
const LINES_WISHED: usize = 500;
/// Above this a file is refused.
const LINES_MAX: usize = 1_000;

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.sources().flat_map(|(path, text)| [module_docs(path, text), length(path, text)]).flatten().collect()
}

fn module_docs(path: &str, text: &str) -> Option<Finding> {
    (!text.starts_with("//!")).then(|| {
        let message =
            "does not open with `//!`; say what flows in, what flows out and what is deliberately absent";
        Finding::error(path, 1, "module-docs", message)
    })
}

fn length(path: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    let message = |limit: usize| {
        format!(
            "has {lines} lines, more than {limit}; split it where it holds two ideas, move long tests to tests.rs"
        )
    };
    if lines > LINES_MAX {
        Some(Finding::error(path, LINES_MAX + 1, "length", message(LINES_MAX)))
    } else if lines > LINES_WISHED {
        Some(Finding::warning(path, LINES_WISHED + 1, "length", message(LINES_WISHED)))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Weight;
    use super::super::tree::tree_of;
    use super::*;

    fn found(lines: usize) -> Vec<(usize, Weight)> {
        let text = "//! Docs.\n".repeat(lines);
        check(&tree_of(&[("crates/act/src/a.rs", &text)])).iter().map(|f| (f.line, f.weight)).collect()
    }

    #[test]
    fn long_files_are_said_and_longer_ones_refused() {
        assert_eq!(found(500), []);
        assert_eq!(found(501), [(501, Weight::Warning)]);
        assert_eq!(found(1000), [(501, Weight::Warning)]);
        assert_eq!(found(1001), [(1001, Weight::Error)]);
    }

    #[test]
    fn a_file_without_module_docs_is_found() {
        let findings = check(&tree_of(&[("build.rs", "/// Not the module's.\nfn main() {}\n")]));
        assert_eq!(findings.iter().map(|f| f.rule).collect::<Vec<_>>(), ["module-docs"]);
    }
}
