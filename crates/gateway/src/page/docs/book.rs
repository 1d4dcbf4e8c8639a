//! The documents that ship, in the order in which they are best read.
//!
//! In: the Markdown in `docs/`, taken in when the program is built. Out: parts with their documents, each with its address
//! below `/docs` and its title.

/// A document.
pub(super) struct Document {
    /// Its path in `docs/` without `.md`, and its address below `/docs/`; empty for the first page.
    pub(super) path: &'static str,
    /// Its folder in `docs/`, which relative links begin at.
    pub(super) folder: &'static str,
    pub(super) markdown: &'static str,
}

/// Documents of one kind.
pub(super) struct Part {
    pub(super) title: &'static str,
    pub(super) documents: &'static [Document],
}

macro_rules! documents {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        &[$(Document {
            path: concat!($folder, "/", $name),
            folder: $folder,
            markdown: include_str!(concat!("../../../../../docs/", $folder, "/", $name, ".md")),
        },)+]
    };
}

/// The first page.
pub(super) static FIRST: Document =
    Document { path: "", folder: "", markdown: include_str!("../../../../../docs/README.md") };

/// Everything else.
pub(super) static PARTS: [Part; 4] = [
    Part {
        title: "Guides",
        documents: documents!("guides":
            "first-hour",
            "heal-your-services",
            "infrastructures",
            "infrastructure-file",
            "write-an-experiment",
            "secure-it",
            "backup-and-reload",
            "graphql",
            "sre-automation",
            "chaos-engineering",
            "observability-practices",
            "incident-playbook",
            "troubleshooting",
        ),
    },
    Part {
        title: "Concepts",
        documents: documents!("concepts":
            "the-loop",
            "plans-and-undo",
            "guardrails-and-trust",
            "verification-and-outcomes",
            "health-score",
            "severity",
            "security-model",
            "audit",
        ),
    },
    Part {
        title: "Reference",
        documents: documents!("reference":
            "cli",
            "configuration",
            "rest",
            "permissions",
            "errors",
            "metrics",
        ),
    },
    Part {
        title: "Decisions",
        documents: documents!("decisions":
            "0001-plans-with-undo",
            "0002-blocking-control-plane",
            "0003-keeper-as-data-plane",
            "0004-sqlite-first",
            "0005-detection-reads-the-proxy",
            "0006-groups-below-the-root",
            "0007-spans-as-second-witness",
            "0008-blocks-are-the-log",
            "0009-tiers-keep-samples",
        ),
    },
];

/// Every document, in the order of reading.
pub(super) fn all() -> impl Iterator<Item = &'static Document> {
    std::iter::once(&FIRST).chain(PARTS.iter().flat_map(|part| part.documents))
}

impl Document {
    /// Where it is served.
    pub(super) fn address(&self) -> String {
        if self.path.is_empty() { "/docs".to_owned() } else { format!("/docs/{}", self.path) }
    }

    /// Where its Markdown is served.
    pub(super) fn source(&self) -> String {
        format!("/docs/{}.md", if self.path.is_empty() { "README" } else { self.path })
    }

    /// Its first heading.
    pub(super) fn title(&self) -> &'static str {
        self.markdown.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or(self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_document_in_the_folders_is_served_and_has_a_title() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        let served: BTreeSet<String> = all().map(|document| document.path.to_owned()).collect();
        for folder in ["guides", "concepts", "reference", "decisions"] {
            for entry in std::fs::read_dir(docs.join(folder)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                // The schema of GraphQL lies there for programs.
                if !name.ends_with(".md") {
                    continue;
                }
                let path = format!("{folder}/{}", name.trim_end_matches(".md"));
                assert!(served.contains(&path), "docs/{folder}/{name} is missing in {}", file!());
            }
        }
        for document in all() {
            assert_ne!(
                document.title(),
                document.path,
                "{} has no line that begins with `# `",
                document.path
            );
        }
    }
}
