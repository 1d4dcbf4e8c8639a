//! The project's text: every manifest, Rust source and document, by path from the root; which of the sources are
//! tests; and which other files there are.
//!
//! Deliberately absent: build output and hidden directories.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

use super::source::Source;

/// Texts by path, `/` between the parts.
#[derive(Debug)]
pub(crate) struct Tree {
    texts: BTreeMap<String, String>,
    /// Every other file.
    others: BTreeSet<String>,
    /// Files declared by `#[cfg(test)] mod name;`.
    test_modules: BTreeSet<String>,
}

impl Tree {
    /// Reads the tree under `root`.
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let (mut texts, mut others) = (BTreeMap::new(), BTreeSet::new());
        read_directory(root, "", &mut texts, &mut others)?;
        Ok(Self { others, ..Self::from(texts) })
    }

    /// Every document with its text.
    pub(crate) fn documents(&self) -> impl Iterator<Item = (&str, &str)> {
        self.named(|path| path.ends_with(".md"))
    }

    /// Whether there is a file or a directory of this path.
    pub(crate) fn has(&self, path: &str) -> bool {
        let directory = format!("{path}/");
        let mut all = self.texts.keys().chain(&self.others);
        path.is_empty() || all.any(|known| known == path || known.starts_with(&directory))
    }

    /// How many files it holds.
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// The text of one file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Every Rust source with its text.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.named(|path| path.ends_with(".rs"))
    }

    /// Every member's manifest with its text, the workspace's own left out.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = (&str, &str)> {
        self.named(|path| path.ends_with("/Cargo.toml"))
    }

    fn named(&self, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = (&str, &str)> {
        self.texts
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .filter(move |(path, _)| wanted(path))
    }

    /// Whether a whole file is tests: it is named `tests.rs`, lies below `tests/` or `benches/`, or is
    /// declared by `#[cfg(test)] mod name;`.
    pub(crate) fn is_test(&self, path: &str) -> bool {
        path.ends_with("/tests.rs")
            || path.split('/').any(|part| part == "tests" || part == "benches" || part == "examples")
            || self.test_modules.contains(path)
    }
}

impl From<BTreeMap<String, String>> for Tree {
    fn from(texts: BTreeMap<String, String>) -> Self {
        let sources = texts.iter().filter(|(path, _)| path.ends_with(".rs"));
        let test_modules = sources
            .flat_map(|(path, text)| {
                let directory = submodule_directory(path);
                let names = Source::read(text).declared_test_modules();
                names.into_iter().flat_map(move |name| {
                    [format!("{directory}/{name}.rs"), format!("{directory}/{name}/mod.rs")]
                })
            })
            .collect();
        Self { texts, others: BTreeSet::new(), test_modules }
    }
}

/// Where the files of the modules lie that `path` declares.
fn submodule_directory(path: &str) -> &str {
    let stem = path.trim_end_matches(".rs");
    let (directory, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    if matches!(name, "mod" | "lib" | "main") { directory } else { stem }
}

fn read_directory(
    directory: &Path,
    prefix: &str,
    texts: &mut BTreeMap<String, String>,
    others: &mut BTreeSet<String>,
) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            read_directory(&entry.path(), &format!("{path}/"), texts, others)?;
        } else if name == "Cargo.toml" || name.ends_with(".rs") || name.ends_with(".md") {
            texts.insert(path, fs::read_to_string(entry.path())?);
        } else {
            others.insert(path);
        }
    }
    Ok(())
}

/// A tree of made-up files, for the rules' tests.
#[cfg(test)]
pub(crate) fn tree_of(files: &[(&str, &str)]) -> Tree {
    let owned = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    Tree::from(owned.collect::<BTreeMap<String, String>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_manifests_and_documents_are_read_and_build_output_is_not() {
        let tree = Tree::read(&crate::project_root()).unwrap();
        assert!(tree.text("crates/domain/src/lib.rs").is_some());
        assert!(tree.text("DEPENDENCIES.md").is_some());
        assert!(tree.has("assets/tokens.css") && tree.has("docs/decisions") && !tree.has("docs/decision"));
        assert!(tree.manifests().any(|(path, _)| path == "crates/domain/Cargo.toml"));
        assert!(!tree.manifests().any(|(path, _)| path == "Cargo.toml"));
        assert!(!tree.sources().any(|(path, _)| path.starts_with("target/")));
    }

    #[test]
    fn files_of_test_modules_are_tests_whatever_their_name() {
        let tree = tree_of(&[
            ("a/src/lib.rs", "#[cfg(test)]\nmod fixture;\nmod real;\n"),
            ("a/src/real.rs", "#[cfg(test)]\npub(crate) mod deep;\n"),
        ]);
        assert!(tree.is_test("a/src/fixture.rs") && tree.is_test("a/src/real/deep.rs"));
        assert!(tree.is_test("a/src/real/tests.rs") && tree.is_test("a/tests/boot.rs"));
        assert!(!tree.is_test("a/src/real.rs"));
    }
}
