//! Rust source, read word by word: code apart from comments and literals, `use` trees spread out.
//!
//! In: the text of one file. Out: the same text line by line as [`Source::code`] (comments and the inside
//! of literals blanked) and [`Source::comments`], and the paths its `use` lines name. Test modules written
//! inline are blanked by [`Source::without_tests`].
//!
//! Deliberately absent: a parser. Tidy asks for words and paths only, and a parser would cost more build
//! time than all rules together.

/// What a character belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Code,
    Comment,
    Literal,
}

/// One file, sorted into code and comments.
#[derive(Debug)]
pub(crate) struct Source {
    code: String,
    comments: String,
}

/// A path named by a `use` line, spread out of its braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsedPath {
    /// The parts joined by `::`; a rename is left out, a glob is `*`.
    pub(crate) path: String,
    /// The line on which the `use` begins, counted from 1.
    pub(crate) line: usize,
}

impl Source {
    /// Sorts a file's text.
    pub(crate) fn read(text: &str) -> Self {
        let classes = classify(text);
        let only = |wanted: Class| -> String {
            let keep = |(c, class): (char, &Class)| if *class == wanted || c == '\n' { c } else { ' ' };
            text.chars().zip(&classes).map(keep).collect()
        };
        Self { code: only(Class::Code), comments: only(Class::Comment) }
    }

    /// The same with inline `#[cfg(test)] mod … { … }` blanked.
    pub(crate) fn without_tests(mut self) -> Self {
        // Backwards, so that a range found stays right while a later one is blanked.
        for (start, end) in test_modules(&self.code).into_iter().rev().filter_map(|module| module.inline) {
            let blank: String =
                self.code[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
            self.code.replace_range(start..end, &blank);
        }
        self
    }

    /// The names of modules declared by `#[cfg(test)] mod name;`, which have files of their own.
    pub(crate) fn declared_test_modules(&self) -> Vec<String> {
        let modules = test_modules(&self.code).into_iter();
        modules.filter(|module| module.inline.is_none()).map(|module| module.name).collect()
    }

    /// Lines of code, numbered from 1.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Lines that hold code.
    pub(crate) fn lines_of_code(&self) -> usize {
        self.code().filter(|(_, text)| !text.trim().is_empty()).count()
    }

    /// Lines of comments, numbered from 1.
    pub(crate) fn comments(&self) -> impl Iterator<Item = (usize, &str)> {
        self.comments.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Every path named by a `use` line.
    pub(crate) fn used_paths(&self) -> Vec<UsedPath> {
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(at) = find_word(&self.code[from..], "use").map(|at| at + from) {
            let Some(length) = self.code[at..].find(';') else { break };
            let line = 1 + self.code[..at].matches('\n').count();
            let mut paths = Vec::new();
            spread("", &self.code[at + "use".len()..at + length], &mut paths);
            found.extend(paths.into_iter().map(|path| UsedPath { path, line }));
            from = at + length;
        }
        found
    }
}

/// Where `word` stands in `text` by itself, not as a part of a longer identifier. A word that begins or
/// ends with something else than a letter (`std::fs`, `todo!`) is held to that only where it has a letter.
pub(crate) fn find_word(text: &str, word: &str) -> Option<usize> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).map(|(at, _)| at).find(|at| {
        let joined_before = word.starts_with(part) && text[..*at].ends_with(part);
        let joined_after = word.ends_with(part) && text[at + word.len()..].starts_with(part);
        !joined_before && !joined_after
    })
}

/// Spreads `a::{b, c::d as e}` into `a::b` and `a::c::d`.
fn spread(prefix: &str, tree: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    if tree.is_empty() {
        return;
    }
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree).split_whitespace().collect::<String>();
        found.push(match path.as_str() {
            "self" => prefix.trim_end_matches("::").to_owned(),
            _ => format!("{prefix}{path}"),
        });
        return;
    };
    let prefix = format!("{prefix}{}", tree[..open].split_whitespace().collect::<String>());
    let inside = &tree[open + 1..open + 1 + closing(&tree[open + 1..])];
    let (mut depth, mut start) = (0usize, 0);
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                spread(&prefix, &inside[start..at], found);
                start = at + 1;
            }
            _ => {}
        }
    }
    spread(&prefix, &inside[start..], found);
}

/// The length of what stands before the brace that closes the one just opened.
fn closing(text: &str) -> usize {
    let mut depth = 1usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// A module behind `#[cfg(test)]`.
struct TestModule {
    name: String,
    /// Start and end (in bytes), attribute and body included, where it is written inline.
    inline: Option<(usize, usize)>,
}

/// Every module behind `#[cfg(test)]`, in order.
fn test_modules(code: &str) -> Vec<TestModule> {
    const ATTRIBUTE: &str = "#[cfg(test)]";
    let module = |(start, _): (usize, &str)| {
        let mut rest = code[start + ATTRIBUTE.len()..].trim_start();
        while rest.starts_with("#[") {
            rest = rest[rest.find(']')? + 1..].trim_start();
        }
        let rest = rest.strip_prefix("pub(crate) ").or_else(|| rest.strip_prefix("pub ")).unwrap_or(rest);
        let rest = rest.strip_prefix("mod ")?;
        let open = rest.find(['{', ';'])?;
        let body = &rest[open + 1..];
        let end = code.len() - body.len() + closing(body) + 1;
        let inline = rest[open..].starts_with('{').then_some((start, end.min(code.len())));
        Some(TestModule { name: rest[..open].trim().to_owned(), inline })
    };
    code.match_indices(ATTRIBUTE).filter_map(module).collect()
}

/// The class of every character of a source text.
fn classify(text: &str) -> Vec<Class> {
    let chars: Vec<char> = text.chars().collect();
    let mut classes = Vec::with_capacity(chars.len());
    while classes.len() < chars.len() {
        let at = classes.len();
        let (class, length) = token(&chars, at);
        classes.resize((at + length).min(chars.len()), class);
    }
    classes
}

/// Class and length of the comment, the literal or the single character of code that begins at `at`.
fn token(chars: &[char], at: usize) -> (Class, usize) {
    let rest = &chars[at..];
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match rest {
        ['/', '/', ..] => (Class::Comment, rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())),
        ['/', '*', ..] => (Class::Comment, block_comment(rest)),
        ['"', ..] => (Class::Literal, quoted(rest, '"')),
        ['r', '"' | '#', ..] if !in_word => {
            raw_string(rest).map_or((Class::Code, 1), |n| (Class::Literal, n))
        }
        ['b' | 'c', 'r', '"' | '#', ..] if !in_word => {
            raw_string(&rest[1..]).map_or((Class::Code, 1), |n| (Class::Literal, n + 1))
        }
        ['\'', '\\', ..] => (Class::Literal, quoted(rest, '\'')),
        ['\'', _, '\'', ..] => (Class::Literal, 3),
        _ => (Class::Code, 1),
    }
}

/// The length of a block comment; they nest.
fn block_comment(rest: &[char]) -> usize {
    let (mut at, mut depth) = (0, 0usize);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => {
                depth += 1;
                at += 2;
            }
            ['*', '/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

/// The length of a literal that ends with an unescaped `quote`.
fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// The length of a raw string beginning with its `r`; `None` where it is a raw identifier.
fn raw_string(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let end = (2 + hashes..rest.len()).find(|at| {
        rest[*at] == '"'
            && rest[at + 1..].len() >= hashes
            && rest[at + 1..at + 1 + hashes].iter().all(|c| *c == '#')
    });
    Some(end.map_or(rest.len(), |end| end + 1 + hashes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::read(text).code().map(|(_, line)| line.trim_end()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        assert_eq!(code("a(); // b()\n/* c /* d */ e */ f();"), "a();\n                  f();");
        assert_eq!(code(r##"x("todo!()", r#"un"quoted"#, '"', b"\"y");"##).replace(' ', ""), "x(,,,b);");
        assert_eq!(
            code("fn f<'a>(x: &'a str) -> char { '\\'' }").replace(' ', ""),
            "fnf<'a>(x:&'astr)->char{}"
        );
        assert_eq!(code("let r#type = 1;"), "let r#type = 1;");
    }

    #[test]
    fn lines_keep_their_numbers() {
        let source = Source::read("one();\n/* a\nb */\n\"x\ny\";\nsix();\n");
        assert_eq!(source.code().find(|(_, line)| line.contains("six")).map(|(number, _)| number), Some(6));
        assert_eq!(source.comments().find(|(_, line)| line.contains('b')).map(|(number, _)| number), Some(3));
    }

    #[test]
    fn inline_test_modules_are_left_out_and_what_follows_is_kept() {
        let text = "a(); // why\n// why\n\n#[cfg(test)]\nmod tests {\n fn f() { b(); }\n}\nc();\n#[cfg(test)]\nmod more;\n";
        let rest = Source::read(text).without_tests();
        assert!(!rest.code.contains("b()"));
        assert!(rest.code.contains("a()") && rest.code.contains("c()") && rest.code.contains("mod more"));
        assert_eq!(rest.code.lines().count(), text.lines().count());
        assert_eq!(rest.lines_of_code(), 4);
    }

    #[test]
    fn use_trees_are_spread_out() {
        let source =
            Source::read("use a::b;\npub use c::{self, d::{e, f as g}, h::*};\nuse i::{\n    j,\n};\n");
        let paths: Vec<_> = source.used_paths().into_iter().map(|used| (used.path, used.line)).collect();
        let expected = [("a::b", 1), ("c", 2), ("c::d::e", 2), ("c::d::f", 2), ("c::h::*", 2), ("i::j", 3)];
        assert_eq!(paths, expected.map(|(path, line)| (path.to_owned(), line)));
    }

    #[test]
    fn words_are_whole_words() {
        assert_eq!(find_word("reuse use", "use"), Some(6));
        assert_eq!(find_word("x.todo!()", "todo!"), Some(2));
        assert_eq!(find_word("MyInstant::now()", "Instant::now"), None);
        assert_eq!(find_word("std::fs_extra", "std::fs"), None);
    }
}
