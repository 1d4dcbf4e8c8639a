//! Fuzz targets do not rot: each one listed in `fuzz/Cargo.toml` has its file, and the property it asserts is
//! run by a test of its crate (`hold("TARGET", …)`), which fails where the target has no seeds.

use super::finding::Finding;
use super::tree::Tree;

const MANIFEST: &str = "fuzz/Cargo.toml";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(manifest) = tree.text(MANIFEST) else { return Vec::new() };
    let targets: Vec<(usize, &str)> = manifest
        .lines()
        .enumerate()
        .skip_while(|(_, line)| *line != "[[bin]]")
        .filter_map(|(index, line)| Some((index + 1, line.strip_prefix("name = \"")?.strip_suffix('"')?)))
        .collect();
    let listed = targets.iter().flat_map(|(line, target)| listed(tree, *line, target));
    listed.chain(unlisted(tree, &targets)).collect()
}

/// What a listed target lacks.
fn listed(tree: &Tree, line: usize, target: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if tree
        .text(&file_of(target))
        .is_none_or(|text| !text.contains(&format!("::properties::{target}(input)")))
    {
        let message = format!("{} does not call the property {target}; write it", file_of(target));
        findings.push(Finding::error(MANIFEST, line, "fuzz", message));
    }
    let tested = tree.sources().any(|(_, text)| text.contains(&format!("hold(\"{target}\"")));
    if !tested {
        let message =
            format!("no test runs {target} over its seeds; add one with `seeds::hold` beside the property");
        findings.push(Finding::error(MANIFEST, line, "fuzz", message));
    }
    findings
}

/// Files that no target names.
fn unlisted(tree: &Tree, targets: &[(usize, &str)]) -> Vec<Finding> {
    let files = tree.sources().map(|(path, _)| path).filter(|path| path.starts_with("fuzz/fuzz_targets/"));
    let unknown = files.filter(|path| !targets.iter().any(|(_, target)| file_of(target) == *path));
    unknown
        .map(|path| {
            Finding::error(path, 1, "fuzz", format!("is no target; list it in {MANIFEST}, or remove it"))
        })
        .collect()
}

fn file_of(target: &str) -> String {
    format!("fuzz/fuzz_targets/{target}.rs")
}

#[cfg(test)]
mod tests {
    use super::super::tree::tree_of;
    use super::*;

    const LISTED: &str = "[package]\nname = \"fuzz\"\n\n[[bin]]\nname = \"units\"\n";
    const CALLS: &str = "//! Docs.\ndomain::properties::units(input);\n";
    const TESTED: &str = "//! Docs.\nhold(\"units\", 9, super::units);\n";

    fn found(files: &[(&str, &str)]) -> Vec<(String, usize)> {
        check(&tree_of(files)).into_iter().map(|finding| (finding.path, finding.line)).collect()
    }

    #[test]
    fn a_target_needs_its_file_and_a_test() {
        let (file, test) =
            (("fuzz/fuzz_targets/units.rs", CALLS), ("crates/domain/src/properties.rs", TESTED));
        let manifest = (MANIFEST, LISTED);
        assert_eq!(found(&[manifest, file, test]), []);
        assert_eq!(found(&[manifest, test]), [(MANIFEST.to_owned(), 5)]);
        assert_eq!(found(&[manifest, file]), [(MANIFEST.to_owned(), 5)]);
    }

    #[test]
    fn a_file_that_is_not_listed_is_found() {
        let other = ("fuzz/fuzz_targets/other.rs", CALLS);
        assert_eq!(found(&[(MANIFEST, "[package]\n"), other]), [(other.0.to_owned(), 1)]);
    }
}
