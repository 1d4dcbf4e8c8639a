//! What documents show is what the program takes: each command is parsed as if it were typed, each file read as if it were
//! given.
//!
//! In: the blocks of the documents by their language. `sh`: lines that begin with `homeostat`; words in capitals such as
//! `ISSUE` stand for an id. `toml`: a configuration. `yaml` with `services:`: an Infrastructure, ours or
//! of Compose.

use std::path::Path;

use clap::Parser;

use super::root;
use crate::cli::Cli;
use crate::config::Config;

/// A block of a document.
struct Block {
    /// Document and line, for whoever has to mend it.
    place: String,
    language: String,
    text: String,
}

fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut files = vec![root().join("README.md")];
    for folder in ["docs", "docs/guides", "docs/concepts"] {
        let entries = std::fs::read_dir(root().join(folder)).unwrap();
        files.extend(
            entries
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|e| e == "md")),
        );
    }
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        let mut open: Option<Block> = None;
        for (number, line) in text.lines().enumerate() {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(language), None) => {
                    let place = format!("{name}:{}", number + 1);
                    open = Some(Block { place, language: language.to_owned(), text: String::new() });
                }
                (None, Some(block)) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
    }
    blocks
}

/// The words of a line as a shell would hand them over, up to a comment, a pipe, or the next command.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in line.chars() {
        match (letter, quote) {
            (letter, Some(open)) if letter == open => quote = None,
            (letter, Some(_)) => word.get_or_insert_default().push(letter),
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (letter, None) if letter.is_whitespace() => words.extend(word.take()),
            ('#', None) if word.is_none() => break,
            ('|' | '&' | ';', None) => break,
            ('>', None) if word.is_none() => break,
            (letter, None) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[test]
fn every_command_in_a_document_is_one_that_the_program_takes() {
    let mut tried = 0;
    for block in blocks().into_iter().filter(|block| block.language == "sh") {
        for line in block.text.replace("\\\n", " ").lines() {
            let mut words = words(line);
            if words.first().map(String::as_str) != Some("homeostat") {
                continue;
            }
            for word in &mut words {
                match word.as_str() {
                    "ISSUE" | "PLAN" => "019a9b1c-0000-7000-8000-000000000000".clone_into(word),
                    "TRACE" => "5b8efff798038103d269b633813fc60c".clone_into(word),
                    _ => {}
                }
            }
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{}: {line}\n{error}", block.place);
            }
            tried += 1;
        }
    }
    assert!(tried > 20, "only {tried} commands were found");
}

#[test]
fn every_configuration_in_a_document_is_one_that_the_program_reads() {
    let mut tried = 0;
    for block in blocks().into_iter().filter(|block| block.language == "toml") {
        // The one part that only some programs have.
        if block.text.contains("[telemetry.objects]") && !telemetry::ObjectStorage::BUILT_IN {
            continue;
        }
        if let Err(error) = Config::parse(Some(Path::new(&block.place)), &block.text, |_| None) {
            panic!("{error}");
        }
        tried += 1;
    }
    assert!(tried > 3, "only {tried} configurations were found");
}

#[test]
fn every_infrastructure_in_a_document_is_one_that_the_program_brings_up() {
    let mut tried = 0;
    let is_one = |block: &Block| block.language == "yaml" && block.text.contains("services:");
    for block in blocks().into_iter().filter(is_one) {
        let beside = Path::new("/srv/shop");
        if let Err(error) = provider::manifest::parse_beside(&block.place, &block.text, beside) {
            panic!("{error}");
        }
        tried += 1;
    }
    assert!(tried > 1, "only {tried} were found");
}
