//! The stages inside `decide`: the `use` lines between its modules follow the loop.
//!
//! `plan` may use `detect`, `diagnose` and `learn`; `diagnose` may use `detect` and `learn` (its confidence
//! is what was learned); `detect` and `learn` use no other stage. A module beside the stages serves all of
//! them, so it uses none.

use std::collections::BTreeSet;

use super::finding::Finding;
use super::source::Source;
use super::tree::Tree;

const SOURCES: &str = "crates/decide/src/";

/// Each stage with the stages it may use.
const STAGES: [(&str, &[&str]); 4] = [
    ("detect", &[]),
    ("diagnose", &["detect", "learn"]),
    ("plan", &["detect", "diagnose", "learn"]),
    ("learn", &[]),
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let own = tree.sources().filter(|(path, _)| path.starts_with(SOURCES) && !tree.is_test(path));
    own.flat_map(|(path, text)| check_file(path, &Source::read(text).without_tests())).collect()
}

fn check_file(path: &str, source: &Source) -> Vec<Finding> {
    let module = module_path(path);
    let Some(own) = module.first().copied() else { return Vec::new() };
    let allowed = STAGES.iter().find(|(stage, _)| *stage == own).map_or(&[][..], |(_, allowed)| *allowed);
    let wrong: BTreeSet<(usize, String)> = named_paths(source)
        .into_iter()
        .filter_map(|(line, path)| Some((line, top_module(&path, module.len())?.to_owned())))
        .filter(|(_, to)| to != own && !allowed.contains(&to.as_str()))
        .filter(|(_, to)| STAGES.iter().any(|(stage, _)| stage == to))
        .collect();
    let finding = |(line, to): (usize, String)| {
        let may = if allowed.is_empty() { "no other stage".to_owned() } else { allowed.join(", ") };
        let message = format!(
            "{own} uses {to}, against the direction of the loop; {own} may use {may}: \
             pass the value as an argument, or move the shared type to domain"
        );
        Finding::error(path, line, "stages", message)
    };
    wrong.into_iter().map(finding).collect()
}

/// Every path that begins with `crate` or `super`, in `use` lines and elsewhere, with its line.
fn named_paths(source: &Source) -> Vec<(usize, String)> {
    let mut paths: Vec<_> = source.used_paths().into_iter().map(|used| (used.line, used.path)).collect();
    for (line, text) in source.code() {
        let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        let rooted = words.filter(|word| word.starts_with("crate::") || word.starts_with("super::"));
        paths.extend(rooted.map(|path| (line, path.to_owned())));
    }
    paths
}

/// The module of the crate's root a path leads to, seen from a file `depth` modules deep; `None` where it
/// stays inside, or leads out of the crate.
fn top_module(path: &str, depth: usize) -> Option<&str> {
    let parts: Vec<&str> = path.split("::").collect();
    let supers = parts.iter().take_while(|part| **part == "super").count();
    match *parts.first()? {
        "crate" => parts.get(1).copied(),
        "super" if supers == depth => parts.get(supers).copied(),
        _ => None,
    }
}

/// The modules a file is: `detect/cpu.rs` is `[detect, cpu]`, the crate's root is `[]`.
fn module_path(path: &str) -> Vec<&str> {
    let inner = path.strip_prefix(SOURCES).unwrap_or(path).trim_end_matches(".rs");
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    if inner == "lib" { Vec::new() } else { inner.split('/').collect() }
}

#[cfg(test)]
mod tests {
    use super::super::tree::tree_of;
    use super::*;

    fn lines(file: &str, text: &str) -> Vec<usize> {
        check(&tree_of(&[(&format!("{SOURCES}{file}"), text)])).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_later_stage_may_use_an_earlier_one() {
        assert_eq!(lines("plan/guard.rs", "use crate::{detect::Thresholds, diagnose, learn::Rates};\n"), []);
        assert_eq!(lines("diagnose/mod.rs", "use crate::learn::Shares;\nuse crate::detect::impact;\n"), []);
    }

    #[test]
    fn an_earlier_stage_may_not_use_a_later_one() {
        assert_eq!(lines("detect/mod.rs", "use domain::Issue;\nuse crate::plan::Guard;\n"), [2]);
        assert_eq!(lines("detect/cpu.rs", "use crate::{detect::mod_a, diagnose::Graph};\n"), [1]);
        assert_eq!(lines("learn.rs", "use crate::plan::Cleared;\n"), [1]);
        assert_eq!(lines("diagnose/rank.rs", "\nfn f() { crate::plan::g() }\n"), [2]);
    }

    #[test]
    fn climbing_by_super_does_not_hide_it() {
        assert_eq!(lines("detect/cpu.rs", "use super::super::plan::Guard;\n"), [1]);
        assert_eq!(lines("detect/cpu.rs", "use super::plan;\n"), [], "that is detect's own module");
        assert_eq!(lines("detect/mod.rs", "use super::plan;\n"), [1]);
    }

    #[test]
    fn a_module_beside_the_stages_uses_none() {
        assert_eq!(lines("graph.rs", "use crate::detect::Thresholds;\n"), [1]);
        assert_eq!(lines("detect/mod.rs", "use crate::graph::Graph;\n"), []);
        assert_eq!(lines("lib.rs", "pub use crate::plan::Cleared;\n"), []);
    }
}
