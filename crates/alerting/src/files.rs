//! Rule files from disk.

use std::io;
use std::path::{Path, PathBuf};

use promql::Engine;
use promql::rules::{self, FileError, RuleFiles};

/// Rules were not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read the rules {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What stands in them is wrong.
    #[error(transparent)]
    Wrong(#[from] FileError),
}

/// Reads files, all or none. A path whose last part has a `*` stands for every file that fits, and may stand for none.
///
/// # Errors
/// Where one cannot be read, or anything is wrong with one.
pub fn load(paths: &[PathBuf], engine: &Engine) -> Result<RuleFiles, LoadError> {
    let mut read: Vec<(String, Vec<u8>)> = Vec::new();
    for path in paths {
        for path in matching(path)? {
            let bytes = input::read(&path, rules::FILE_BYTES_MAX as u64)
                .map_err(|source| LoadError::Unreadable { path: path.clone(), source })?;
            let name = path.display().to_string();
            // Named twice, it is read once.
            if !read.iter().any(|(known, _)| *known == name) {
                read.push((name, bytes));
            }
        }
    }
    let files: Vec<(&str, &[u8])> = read.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
    Ok(rules::read_all(&files, engine)?)
}

/// The files that a path stands for: itself, or where its last part has a `*` every file that fits, sorted.
///
/// # Errors
/// Where the directory of such a path cannot be read.
pub fn matching(path: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let Some(pattern) = path.file_name().and_then(|name| name.to_str()).filter(|name| name.contains('*'))
    else {
        return Ok(vec![path.to_owned()]);
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unreadable = |source| LoadError::Unreadable { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.file_name().to_str().is_some_and(|name| fits(name, pattern)) && entry.path().is_file() {
            found.push(path.with_file_name(entry.file_name()));
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a name fits a pattern in which `*` stands for anything.
fn fits(name: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let (first, mut rest) = (parts.next().unwrap_or_default(), name);
    let Some(behind) = rest.strip_prefix(first) else { return false };
    rest = behind;
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "groups: [{name: a, rules: [{record: a, expr: 1}]}]";

    #[test]
    fn a_star_stands_for_every_file_that_fits() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.rules.yaml", "a.rules.yaml", "other.txt"] {
            std::fs::write(dir.path().join(name), GOOD).unwrap();
        }
        let engine = Engine::default();
        let one = dir.path().join("a.rules.yaml");
        let files = load(&[dir.path().join("*.rules.y*ml"), one.clone()], &engine).unwrap();
        let names: Vec<_> = files.groups.iter().map(|group| group.file.clone()).collect();
        let expected = [one, dir.path().join("b.rules.yaml")].map(|path| path.display().to_string());
        assert_eq!(names, expected);
        assert!(load(&[dir.path().join("none*")], &engine).unwrap().groups.is_empty());
    }

    #[test]
    fn what_is_not_there_or_wrong_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        let error = load(std::slice::from_ref(&path), &Engine::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot read the rules {}", path.display()));
        std::fs::write(&path, "groups: [{name: a, rules: [{record: a, expr: 1 +}]}]").unwrap();
        let error = load(std::slice::from_ref(&path), &Engine::default()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}:1:", path.display())), "{error}");
    }

    #[test]
    fn a_star_is_anything() {
        for (name, pattern, expected) in [
            ("abc", "*", true),
            ("abc", "a*c", true),
            ("abc", "a*b", false),
            ("abc", "*b*", true),
            ("ab", "ab*b", false),
            ("aXbXc", "a*b*c", true),
        ] {
            assert_eq!(fits(name, pattern), expected, "{name} {pattern}");
        }
    }
}
