//! Documents that go with the code: DEPENDENCIES.md names each workspace dependency, and no other;
//! CHANGELOG.md has a place for what is not released yet.

use std::collections::BTreeMap;

use super::finding::Finding;
use super::manifest::Manifest;
use super::tree::Tree;

const WORKSPACE: &str = "Cargo.toml";
const DEPENDENCIES: &str = "DEPENDENCIES.md";
const CHANGELOG: &str = "CHANGELOG.md";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = dependencies(tree);
    findings.extend(changelog(tree));
    findings
}

fn dependencies(tree: &Tree) -> Vec<Finding> {
    let manifest = match Manifest::parse(tree.text(WORKSPACE).unwrap_or_default()) {
        Ok(manifest) => manifest,
        Err(error) => return vec![Finding::error(WORKSPACE, 1, "manifest", error)],
    };
    let used: BTreeMap<&str, usize> = manifest
        .workspace_dependencies
        .iter()
        .filter(|dependency| !dependency.by_path)
        .map(|dependency| (dependency.package.as_str(), dependency.line))
        .collect();
    let described: BTreeMap<&str, usize> = tree
        .text(DEPENDENCIES)
        .unwrap_or_default()
        .lines()
        .enumerate()
        .filter_map(|(index, line)| Some((line.strip_prefix("| `")?.split('`').next()?, index + 1)))
        .collect();
    let undescribed = used.iter().filter(|(name, _)| !described.contains_key(*name)).map(|(name, line)| {
        let message = format!("{name} has no line in {DEPENDENCIES}; say why it is used, its licence and what else was looked at");
        Finding::error(WORKSPACE, *line, "dependencies", message)
    });
    let unused = described.iter().filter(|(name, _)| !used.contains_key(*name)).map(|(name, line)| {
        let message = format!("{name} is no workspace dependency; remove the line, or add it to {WORKSPACE}");
        Finding::error(DEPENDENCIES, *line, "dependencies", message)
    });
    undescribed.chain(unused).collect()
}

fn changelog(tree: &Tree) -> Option<Finding> {
    let text = tree.text(CHANGELOG).unwrap_or_default();
    let has = text.lines().any(|line| matches!(line.trim_end(), "## Unreleased" | "## [Unreleased]"));
    (!has).then(|| {
        let message = "has no `## Unreleased` section; add it at the top, with what a user will notice";
        Finding::error(CHANGELOG, 1, "changelog", message)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree::tree_of;
    use super::*;

    const CALM: &str = "# Changelog\n\n## Unreleased\n";

    fn found(manifest: &str, dependencies: &str, changelog: &str) -> Vec<(String, usize)> {
        let files = [(WORKSPACE, manifest), (DEPENDENCIES, dependencies), (CHANGELOG, changelog)];
        check(&tree_of(&files)).into_iter().map(|finding| (finding.path, finding.line)).collect()
    }

    #[test]
    fn a_dependency_without_a_line_and_a_line_without_a_dependency_are_found() {
        let manifest =
            "[workspace.dependencies]\ndomain = { path = \"crates/domain\" }\nserde = \"1\"\ntoml = \"1\"\n";
        assert_eq!(found(manifest, "| `serde` | why |\n| `toml` | why |\n", CALM), []);
        let wrong = found(manifest, "# Dependencies\n\n| `serde` | why |\n| `rand` | why |\n", CALM);
        assert_eq!(wrong, [(WORKSPACE.to_owned(), 4), (DEPENDENCIES.to_owned(), 4)]);
    }

    #[test]
    fn a_changelog_needs_a_place_for_the_unreleased() {
        assert_eq!(found("", "", "# Changelog\n\n## 0.1.0\n"), [(CHANGELOG.to_owned(), 1)]);
    }
}
