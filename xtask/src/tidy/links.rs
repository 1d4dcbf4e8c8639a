//! Links of documents lead somewhere: a relative one names a file or a directory of the tree.
//!
//! Addresses elsewhere and headings are not looked up; those of the documents that ship are held by `gateway`'s tests.

use super::finding::Finding;
use super::tree::Tree;

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.documents().flat_map(|(path, text)| broken(tree, path, text)).collect()
}

fn broken(tree: &Tree, path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_code = false;
    for (number, line) in text.lines().enumerate() {
        in_code ^= line.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        for target in line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()) {
            if !leads_somewhere(tree, path, target) {
                let message = format!("{target} leads nowhere; name a file as seen from this one");
                findings.push(Finding::error(path, number + 1, "links", message));
            }
        }
    }
    findings
}

fn leads_somewhere(tree: &Tree, from: &str, target: &str) -> bool {
    let file = target.split('#').next().unwrap_or_default();
    if file.is_empty() || target.contains("://") || target.starts_with("mailto:") {
        return true;
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return false;
                }
            }
            name => parts.push(name),
        }
    }
    tree.has(&parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::tree::tree_of;
    use super::*;

    #[test]
    fn a_link_that_leads_nowhere_is_found_with_its_line() {
        let text = "[a](docs/b.md#x) [b](https://example.org/c.md) [c](#here)\n```\n[d](none.md)\n```\n[e](docs) [f](c.md)\n";
        let up = "[g](../README.md) [h](../../out.md) [i](b.md)\n";
        let found: Vec<_> = check(&tree_of(&[("README.md", text), ("docs/b.md", up)]))
            .into_iter()
            .map(|finding| (finding.path, finding.line))
            .collect();
        assert_eq!(found, [("README.md".to_owned(), 5), ("docs/b.md".to_owned(), 1)]);
    }
}
