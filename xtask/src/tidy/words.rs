//! Words that may not stand in some crates' code: clocks, processes, files, and unfinished work anywhere.
//!
//! clippy's `disallowed-methods` cannot tell one crate from another, nor code from tests; this table can.
//! Tests may poll with a deadline and start processes, so only unfinished work is refused there.

use std::collections::BTreeMap;

use super::finding::Finding;
use super::floors::{PURE, crate_of};
use super::source::{Source, find_word};
use super::tree::Tree;

/// Where a ban holds.
enum Scope {
    /// In these crates.
    In(&'static [&'static str]),
    /// In every crate but these.
    Outside(&'static [&'static str]),
}

/// Words and what to use instead of them.
struct Ban {
    rule: &'static str,
    scope: Scope,
    words: &'static [&'static str],
    instead: &'static str,
}

const CLOCKS: [&str; 4] = ["SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now"];

const BANS: [Ban; 4] = [
    Ban {
        rule: "pure",
        scope: Scope::In(&PURE),
        words: &["std::fs", "std::net", "std::process", "std::thread", "std::env"],
        instead: "this crate does no I/O; do it on floor 2 or higher and hand the value in",
    },
    Ban {
        rule: "clock",
        scope: Scope::In(&["domain", "decide", "act", "observe", "heal", "chaos", "incident", "aiops"]),
        words: &CLOCKS,
        instead: "take `now` as an argument, or ask the `domain::Clock` that was handed in, \
                  so that a seeded run can be replayed",
    },
    Ban {
        rule: "sleep",
        scope: Scope::In(&["store", "act", "observe", "heal", "chaos", "incident", "aiops"]),
        words: &["thread::sleep"],
        instead: "wait with `domain::Clock::wait`, or make what must happen later a row with a due time",
    },
    Ban {
        rule: "spawn",
        scope: Scope::Outside(&["provider", "homeostat", "xtask"]),
        words: &["process::Command", "Command::new"],
        instead: "only a provider starts processes; make it an action of a plan",
    },
];

/// Refused everywhere, tests as well.
const UNFINISHED: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];

/// Comments that promise instead of doing.
const PROMISES: [&str; 3] = ["TODO", "FIXME", "XXX"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.sources() {
        let source = Source::read(text);
        findings.extend(unfinished(path, &source));
        if !tree.is_test(path) {
            let source = source.without_tests();
            let bans = BANS.iter().filter(|ban| ban.scope.covers(crate_of(path)));
            findings.extend(bans.flat_map(|ban| banned(path, &source, ban)));
        }
    }
    findings
}

impl Scope {
    fn covers(&self, crate_name: &str) -> bool {
        match self {
            Self::In(crates) => crates.contains(&crate_name),
            Self::Outside(crates) => !crates.contains(&crate_name),
        }
    }
}

fn unfinished(path: &str, source: &Source) -> Vec<Finding> {
    let code = source.code().flat_map(|(line, text)| {
        UNFINISHED.iter().filter(move |word| find_word(text, word).is_some()).map(move |word| (line, *word))
    });
    let comments = source.comments().flat_map(|(line, text)| {
        PROMISES.iter().filter(move |word| find_word(text, word).is_some()).map(move |word| (line, *word))
    });
    let finding = |(line, word): (usize, &str)| {
        let message =
            format!("`{word}` is left; do it now, or refuse with an error that says what cannot be done");
        Finding::error(path, line, "unfinished", message)
    };
    code.chain(comments).map(finding).collect()
}

/// One finding for each line that has a word of the ban, written out or named by a `use` with braces.
fn banned(path: &str, source: &Source, ban: &Ban) -> Vec<Finding> {
    let mut lines: BTreeMap<usize, &str> = BTreeMap::new();
    for word in ban.words {
        for used in source.used_paths() {
            if find_word(&used.path, word).is_some() {
                lines.insert(used.line, word);
            }
        }
        for (line, text) in source.code() {
            if find_word(text, word).is_some() {
                lines.insert(line, word);
            }
        }
    }
    let finding = |(line, word)| Finding::error(path, line, ban.rule, format!("`{word}`: {}", ban.instead));
    lines.into_iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::tree_of;
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(usize, &'static str)> {
        check(&tree_of(&[(path, text)])).iter().map(|finding| (finding.line, finding.rule)).collect()
    }

    #[test]
    fn a_pure_crate_reads_no_clock_and_no_file() {
        let text = "use std::{fmt, fs::File};\nfn f() { let now = Instant::now(); }\n";
        assert_eq!(found("crates/decide/src/a.rs", text), [(1, "pure"), (2, "clock")]);
        assert_eq!(found("crates/provider/src/a.rs", text), []);
    }

    #[test]
    fn words_in_comments_strings_and_tests_are_no_breach() {
        let text = "//! Not SystemTime::now.\nconst A: &str = \"Instant::now\";\n\
                    #[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert_eq!(found("crates/domain/src/a.rs", text), []);
        assert_eq!(found("crates/decide/src/detect/tests.rs", "use std::fs;\n"), []);
    }

    #[test]
    fn the_control_plane_waits_on_the_clock_it_was_handed() {
        assert_eq!(found("crates/heal/src/a.rs", "std::thread::sleep(d);\n"), [(1, "sleep")]);
        assert_eq!(found("crates/homeostat/src/a.rs", "std::thread::sleep(d);\n"), []);
    }

    #[test]
    fn only_providers_and_the_binary_start_processes() {
        assert_eq!(found("crates/act/src/a.rs", "use std::process::Command;\n"), [(1, "spawn")]);
        assert_eq!(found("crates/heal/src/a.rs", "tokio::process::Command::new(p);\n"), [(1, "spawn")]);
        assert_eq!(found("crates/provider/src/a.rs", "use std::process::Command;\n"), []);
    }

    #[test]
    fn unfinished_work_is_found_in_tests_too() {
        let text = "#[cfg(test)]\nmod tests {\n    fn f() { todo!() }\n    // TODO: more\n}\n";
        assert_eq!(found("crates/gateway/src/a.rs", text), [(3, "unfinished"), (4, "unfinished")]);
    }
}
