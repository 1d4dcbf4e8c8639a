//! The project's text: every manifest, Rust source and top-level document, by path from the root.
//!
//! Deliberately absent: build output and hidden directories.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

/// Texts by path, `/` between the parts.
#[derive(Debug, Default)]
pub(crate) struct Tree(BTreeMap<String, String>);

impl Tree {
    /// Reads the tree under `root`.
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        tree.read_directory(root, "")?;
        Ok(tree)
    }

    /// How many files it holds.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The text of one file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
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
        self.0.iter().map(|(path, text)| (path.as_str(), text.as_str())).filter(move |(path, _)| wanted(path))
    }

    fn read_directory(&mut self, directory: &Path, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || name == "target" {
                continue;
            }
            let path = format!("{prefix}{name}");
            if entry.file_type()?.is_dir() {
                self.read_directory(&entry.path(), &format!("{path}/"))?;
            } else if name == "Cargo.toml"
                || name.ends_with(".rs")
                || (prefix.is_empty() && name.ends_with(".md"))
            {
                self.0.insert(path, fs::read_to_string(entry.path())?);
            }
        }
        Ok(())
    }
}

/// A tree of made-up files, for the rules' tests.
#[cfg(test)]
pub(crate) fn tree_of(files: &[(&str, &str)]) -> Tree {
    Tree(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_manifests_and_top_documents_are_read_and_build_output_is_not() {
        let tree = Tree::read(&crate::project_root()).unwrap();
        assert!(tree.text("crates/domain/src/lib.rs").is_some());
        assert!(tree.text("DEPENDENCIES.md").is_some());
        assert!(tree.manifests().any(|(path, _)| path == "crates/domain/Cargo.toml"));
        assert!(!tree.manifests().any(|(path, _)| path == "Cargo.toml"));
        assert!(!tree.sources().any(|(path, _)| path.starts_with("target/")));
    }
}
