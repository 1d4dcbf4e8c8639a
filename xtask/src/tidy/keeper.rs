//! The keeper stays small: it reconciles one table and must not become a second brain.
//!
//! Counted are lines of code in the keeper's own modules, `provider::keeper` and below: what explains it
//! (comments, blank lines) must not cost. Left out are tests, and the link proxies, which carry traffic and
//! decide nothing about services.

use super::finding::Finding;
use super::source::Source;
use super::tree::Tree;

/// What one person can read in an hour or so and then vouch for. Wished were 2,000; probes, measuring, adoption and
/// rollouts proved to need the rest, and what is more belongs elsewhere.
const LINES_MAX: usize = 2_750;

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let files: Vec<(&str, usize)> = tree
        .sources()
        .filter(|(path, _)| belongs(path) && !tree.is_test(path))
        .map(|(path, text)| (path, Source::read(text).without_tests().lines_of_code()))
        .collect();
    let total: usize = files.iter().map(|(_, lines)| lines).sum();
    let mut files = files;
    files.sort_by_key(|(_, lines)| std::cmp::Reverse(*lines));
    let Some((longest, _)) = files.first().filter(|_| total > LINES_MAX) else { return Vec::new() };
    let each: Vec<String> = files.iter().map(|(path, lines)| format!("{} {lines}", inner(path))).collect();
    let message = format!(
        "the keeper has {total} lines of code, {LINES_MAX} are allowed ({}); \
         what decides belongs in the control plane, what only carries bytes in the proxy",
        each.join(", ")
    );
    vec![Finding::error(*longest, 1, "keeper", message)]
}

/// The path inside `provider`, as messages name it.
fn inner(path: &str) -> &str {
    path.strip_prefix("crates/provider/src/").unwrap_or(path)
}

fn belongs(path: &str) -> bool {
    let Some(inner) = path.strip_prefix("crates/provider/src/") else { return false };
    let mut parts = inner.trim_end_matches(".rs").split('/');
    parts.clone().any(|part| part == "keeper") && !parts.any(|part| part == "proxy")
}

#[cfg(test)]
mod tests {
    use super::super::tree::tree_of;
    use super::*;

    #[test]
    fn the_keeper_is_counted_over_its_files_without_proxy_and_tests() {
        let half = "//! Docs.\n\nconst A: u8 = 1;\n".repeat(LINES_MAX / 2);
        let tests = "#[cfg(test)]\nmod tests {\n    fn f() {}\n}\n".to_owned();
        let full = [
            ("crates/provider/src/keeper/mod.rs", format!("{half}{tests}")),
            ("crates/provider/src/keeper/table.rs", half.clone()),
            ("crates/provider/src/keeper/tests.rs", half.clone()),
            ("crates/provider/src/keeper/proxy/http.rs", half.clone()),
            ("crates/provider/src/lib.rs", half.clone()),
        ];
        let mut files: Vec<(&str, &str)> = full.iter().map(|(path, text)| (*path, text.as_str())).collect();
        assert_eq!(check(&tree_of(&files)), []);
        files.push(("crates/provider/src/processes/keeper.rs", "// Why.\nfn one_too_many() {}\n"));
        let findings = check(&tree_of(&files));
        assert_eq!(findings.len(), 1);
        assert!(
            findings[0].message.contains(&format!("{} lines of code", LINES_MAX + 1)),
            "{}",
            findings[0].message
        );
    }
}
