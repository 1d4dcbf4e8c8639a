//! References to secrets: `${env:NAME}` and `${file:PATH}` in a text.
//!
//! In: a text as it stands in a file. Out: the same with the secrets in the place of their references, at the moment it is
//! used, and nowhere before: what is kept, journaled, shown and logged is the reference. One that cannot be followed is an
//! error that names the reference and never a value. `$${` is `${`, where neither is meant.
//!
//! A file's secret is its text without one newline at the end. Followed are regular files of at most 64 KiB, so that nobody
//! waits for a pipe.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The longest secret, in bytes.
const LONGEST: u64 = 64 << 10;

/// Why a reference leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// There is no such variable.
    #[error(
        "the environment has no variable {name}, which ${{env:{name}}} names; set it where homeostat is started"
    )]
    NoVariable {
        /// Its name.
        name: String,
    },
    /// It is no text.
    #[error("{what} is no UTF-8 text without zero bytes")]
    NoText {
        /// What the reference names.
        what: String,
    },
    /// The file cannot be read.
    #[error("cannot read {}, which ${{file:…}} names", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It does not end.
    #[error("${{{what}: has no closing brace")]
    Unclosed {
        /// `env` or `file`.
        what: &'static str,
    },
    /// It names nothing, or a file that is not said from the root.
    #[error(
        "${{{what}:{name}}} names nothing that can be found: write ${{env:NAME}}, or ${{file:PATH}} with the whole path"
    )]
    Nameless {
        /// `env` or `file`.
        what: &'static str,
        /// What stands there.
        name: String,
    },
}

impl SecretError {
    /// With its cause, for where one line is told.
    pub fn said(&self) -> String {
        match self {
            Self::Unreadable { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        }
    }
}

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece<'a> {
    /// As it stands.
    Text(&'a str),
    /// `$${`.
    Escaped,
    Variable(&'a str),
    File(&'a str),
}

/// The pieces of a text, in order.
fn pieces(text: &str) -> Result<Vec<Piece<'_>>, SecretError> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, reference) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            found.extend([Piece::Text(before), Piece::Escaped]);
            rest = &reference[2..];
            continue;
        }
        found.push(Piece::Text(before));
        let (what, name) = match reference[2..].split_once(':') {
            Some(("env", name)) => ("env", name),
            Some(("file", name)) => ("file", name),
            // None of ours: what a shell would fill in, say.
            _ => {
                found.push(Piece::Text("${"));
                rest = &reference[2..];
                continue;
            }
        };
        let (name, after) = name.split_once('}').ok_or(SecretError::Unclosed { what })?;
        found.push(if what == "env" { Piece::Variable(name) } else { Piece::File(name) });
        rest = after;
    }
    found.push(Piece::Text(rest));
    Ok(found)
}

/// Whether a text refers to a secret, or would if it were whole.
pub fn refers(text: &str) -> bool {
    let is_reference = |piece: &Piece<'_>| matches!(piece, Piece::Variable(_) | Piece::File(_));
    pieces(text).map_or(true, |pieces| pieces.iter().any(is_reference))
}

/// Whether every reference of a text says from everywhere what it means, without following it.
///
/// # Errors
///
/// [`SecretError`] for the first that does not: one without its end or its name, or a file that is not named from the root.
pub fn check_form(text: &str) -> Result<(), SecretError> {
    pieces(text)?.into_iter().try_for_each(|piece| match piece {
        Piece::Text(_) | Piece::Escaped => Ok(()),
        Piece::Variable(name) => variable_name(name).map(drop),
        Piece::File(path) => whole_path(path).map(drop),
    })
}

/// The text with every secret in its place. To be used and forgotten.
///
/// # Errors
///
/// [`SecretError`] for the first reference that leads nowhere.
pub fn reveal(text: &str) -> Result<String, SecretError> {
    let mut revealed = String::with_capacity(text.len());
    for piece in pieces(text)? {
        match piece {
            Piece::Text(text) => revealed.push_str(text),
            Piece::Escaped => revealed.push_str("${"),
            Piece::Variable(name) => revealed.push_str(&variable(name)?),
            Piece::File(path) => revealed.push_str(&file(path)?),
        }
    }
    Ok(revealed)
}

/// An environment with its secrets, as only the process that it is for is given it.
pub(crate) fn reveal_all(environment: &BTreeMap<String, String>) -> io::Result<BTreeMap<String, String>> {
    let one = |(name, text): (&String, &String)| match reveal(text) {
        Ok(value) => Ok((name.clone(), value)),
        Err(error) => Err(io::Error::other(format!("its environment variable {name}: {}", error.said()))),
    };
    environment.iter().map(one).collect()
}

/// The same text with files that are named from `dir` named from the root, since it is read elsewhere later.
pub fn anchored(text: &str, dir: &Path) -> String {
    let Ok(pieces) = pieces(text) else { return text.to_owned() };
    let dir = std::path::absolute(if dir.as_os_str().is_empty() { Path::new(".") } else { dir });
    let Ok(dir) = dir else { return text.to_owned() };
    let mut anchored = String::with_capacity(text.len());
    for piece in pieces {
        match piece {
            Piece::Escaped => anchored.push_str("$${"),
            Piece::Text(text) => anchored.push_str(text),
            Piece::Variable(name) => anchored.push_str(&format!("${{env:{name}}}")),
            Piece::File("") => anchored.push_str("${file:}"),
            Piece::File(path) => anchored.push_str(&format!("${{file:{}}}", dir.join(path).display())),
        }
    }
    anchored
}

/// The text without its references: for checks of what is left.
pub(crate) fn without(text: &str) -> String {
    let Ok(pieces) = pieces(text) else { return text.to_owned() };
    // What was escaped stays so, for who escapes it the same way.
    let kept = pieces.iter().filter_map(|piece| match piece {
        Piece::Escaped => Some("$${"),
        Piece::Text(text) => Some(*text),
        Piece::Variable(_) | Piece::File(_) => None,
    });
    kept.collect()
}

fn variable_name(name: &str) -> Result<&str, SecretError> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(SecretError::Nameless { what: "env", name: name.to_owned() });
    }
    Ok(name)
}

fn whole_path(name: &str) -> Result<&Path, SecretError> {
    let path = Path::new(name);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(SecretError::Nameless { what: "file", name: name.to_owned() })
}

fn variable(name: &str) -> Result<String, SecretError> {
    match std::env::var(variable_name(name)?) {
        Ok(value) => Ok(value),
        Err(std::env::VarError::NotPresent) => Err(SecretError::NoVariable { name: name.to_owned() }),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(SecretError::NoText { what: format!("the environment variable {name}") })
        }
    }
}

fn file(name: &str) -> Result<String, SecretError> {
    let path = whole_path(name)?;
    let unreadable = |source| SecretError::Unreadable { path: path.to_owned(), source };
    let meta = std::fs::metadata(path).map_err(unreadable)?;
    if !meta.is_file() {
        return Err(unreadable(io::Error::other("it is no regular file")));
    }
    let bytes = input::read(path, LONGEST).map_err(unreadable)?;
    let no_text = || SecretError::NoText { what: format!("the text of {name}") };
    let text = String::from_utf8(bytes).map_err(|_| no_text())?;
    if text.contains('\0') {
        return Err(no_text());
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn references_are_followed_where_they_stand_and_nothing_else_is() {
        let (_dir, path) = secret("s3cret\n");
        let file = format!("${{file:{}}}", path.display());
        assert_eq!(reveal(&format!("a{file}b{file}")).unwrap(), "as3cretbs3cret");
        assert_eq!(reveal("${env:PATH}!").unwrap(), format!("{}!", std::env::var("PATH").unwrap()));
        for plain in ["", "a", "$", "${", "${HOME}", "$HOME ${A:-b}", "${envy:a}", "a}b"] {
            assert_eq!(reveal(plain).unwrap(), plain);
            assert!(!refers(plain), "{plain}");
        }
        assert_eq!(reveal("$${env:A} $${HOME}").unwrap(), "${env:A} ${HOME}");
        assert!(refers(&file) && refers("x${env:A}") && refers("${env:A") && !refers("$${env:A}"));
    }

    #[test]
    fn what_leads_nowhere_is_named_and_quotes_no_secret() {
        let said = |text: &str| reveal(text).unwrap_err().said();
        assert!(said("${env:NO_SUCH_VARIABLE_HERE}").contains("no variable NO_SUCH_VARIABLE_HERE"));
        let missing = said("${file:/no/such/file}");
        assert!(missing.contains("/no/such/file") && missing.contains("No such file"), "{missing}");
        assert!(said("${file:relative}").contains("whole path") && said("${env:}").contains("NAME"));
        assert!(said("${file:/etc/passwd").contains("closing brace"));
        assert!(said("${file:/dev/zero}").contains("no regular file"));
        let (_dir, path) = secret("canary\0");
        let refused = said(&format!("${{file:{}}}", path.display()));
        assert!(refused.contains("zero bytes") && !refused.contains("canary"), "{refused}");
        let (_dir, path) = secret(&"x".repeat(LONGEST as usize + 1));
        assert!(said(&format!("${{file:{}}}", path.display())).contains("64 KiB"));
    }

    #[test]
    fn what_means_another_thing_elsewhere_is_known_without_following_it() {
        for whole in ["", "$${file:a}", "${HOME}", "${env:NO_SUCH_VARIABLE_HERE}", "a${file:/no/such/file}"] {
            assert!(check_form(whole).is_ok(), "{whole}");
        }
        for half in
            ["${file:key}", "x${file:./key}", "${file:}", "${env:}", "${env:A", "${file:/a} ${file:b}"]
        {
            assert!(check_form(half).is_err(), "{half}");
        }
    }

    #[test]
    fn a_file_beside_the_file_that_names_it_is_found_from_elsewhere() {
        let (dir, path) = secret("s3cret\r\n");
        let text = anchored("a${file:secret}$${file:secret}${env:X}", dir.path());
        assert_eq!(text, format!("a${{file:{}}}$${{file:secret}}${{env:X}}", path.display()));
        assert_eq!(reveal(&anchored("${file:secret}", dir.path())).unwrap(), "s3cret");
    }
}
