//! What the rules want to know of a `Cargo.toml`: its dependencies with their lines, and its lints.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// In which table a dependency stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DependencyKind {
    /// Linked into what ships.
    Normal,
    /// Run when building.
    Build,
    /// Linked into tests only.
    Dev,
}

/// One dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// The package's name, also where it is renamed.
    pub(crate) package: String,
    /// Its table.
    pub(crate) kind: DependencyKind,
    /// Its line, counted from 1.
    pub(crate) line: usize,
    /// Whether it is a member of this workspace (`path = …`).
    pub(crate) by_path: bool,
    /// The features switched on here.
    pub(crate) features: Vec<String>,
}

/// A manifest, read.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// `[dependencies]` and its kin, those of `[target.…]` among them.
    pub(crate) dependencies: Vec<Dependency>,
    /// `[workspace.dependencies]`.
    pub(crate) workspace_dependencies: Vec<Dependency>,
    /// `lints.workspace = true`.
    pub(crate) inherits_lints: bool,
}

impl Manifest {
    /// Reads a manifest; the error names the place.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let document = DeTable::parse(text).map_err(|error| error.to_string())?;
        let root = document.get_ref();
        let mut dependencies = dependencies_of(root, text);
        for (_, target) in table(root, "target").into_iter().flatten() {
            if let DeValue::Table(target) = target.get_ref() {
                dependencies.extend(dependencies_of(target, text));
            }
        }
        let workspace_dependencies = table(root, "workspace")
            .and_then(|workspace| table(workspace, "dependencies"))
            .map(|entries| entries_of(entries, DependencyKind::Normal, text))
            .unwrap_or_default();
        let inherits_lints = table(root, "lints")
            .and_then(|lints| lints.get("workspace"))
            .is_some_and(|value| matches!(value.get_ref(), DeValue::Boolean(true)));
        Ok(Self { dependencies, workspace_dependencies, inherits_lints })
    }
}

fn dependencies_of(root: &DeTable<'_>, text: &str) -> Vec<Dependency> {
    [
        ("dependencies", DependencyKind::Normal),
        ("build-dependencies", DependencyKind::Build),
        ("dev-dependencies", DependencyKind::Dev),
    ]
    .into_iter()
    .filter_map(|(name, kind)| table(root, name).map(|entries| entries_of(entries, kind, text)))
    .flatten()
    .collect()
}

fn entries_of(entries: &DeTable<'_>, kind: DependencyKind, text: &str) -> Vec<Dependency> {
    let entry = |(key, value): (&Spanned<toml::de::DeString<'_>>, &Spanned<DeValue<'_>>)| {
        let details = match value.get_ref() {
            DeValue::Table(details) => Some(details),
            _ => None,
        };
        let package = details
            .and_then(|details| details.get("package"))
            .and_then(|package| package.get_ref().as_str())
            .unwrap_or(key.get_ref());
        Dependency {
            package: package.to_owned(),
            kind,
            line: 1 + text[..key.span().start].matches('\n').count(),
            by_path: details.is_some_and(|details| details.contains_key("path")),
            features: details.map(features_of).unwrap_or_default(),
        }
    };
    entries.iter().map(entry).collect()
}

fn features_of(details: &DeTable<'_>) -> Vec<String> {
    let features = details.get("features").and_then(|features| features.get_ref().as_array());
    features
        .into_iter()
        .flat_map(|features| features.iter())
        .filter_map(|feature| feature.get_ref().as_str())
        .map(str::to_owned)
        .collect()
}

fn table<'a, 'i>(parent: &'a DeTable<'i>, name: &str) -> Option<&'a DeTable<'i>> {
    match parent.get(name)?.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_found_in_every_table_with_their_lines_and_real_names() {
        let manifest = Manifest::parse(
            "[dependencies]\nserde.workspace = true\n\n[dev-dependencies]\ncalendar = { package = \"jiff\", version = \"1\" }\n\n\
             [target.'cfg(unix)'.dependencies]\nlibc = \"0.2\"\n\n[lints]\nworkspace = true\n",
        )
        .unwrap();
        let seen: Vec<_> = manifest
            .dependencies
            .iter()
            .map(|found| (found.package.as_str(), found.kind, found.line))
            .collect();
        assert_eq!(
            seen,
            [
                ("serde", DependencyKind::Normal, 2),
                ("jiff", DependencyKind::Dev, 5),
                ("libc", DependencyKind::Normal, 8)
            ]
        );
        assert!(manifest.inherits_lints);
    }

    #[test]
    fn workspace_members_are_told_from_registry_packages() {
        let manifest = Manifest::parse(
            "[workspace.dependencies]\ndomain = { path = \"crates/domain\" }\nserde = \"1\"\n",
        )
        .unwrap();
        let by_path: Vec<_> = manifest
            .workspace_dependencies
            .iter()
            .map(|found| (found.package.as_str(), found.by_path))
            .collect();
        assert_eq!(by_path, [("domain", true), ("serde", false)]);
        assert!(!manifest.inherits_lints);
    }

    #[test]
    fn a_broken_manifest_is_an_error_and_not_an_empty_one() {
        assert!(Manifest::parse("[dependencies\n").is_err());
    }
}
