//! What holds for every input holds for the seeds under `fuzz/corpus` and for what becomes of them: the same
//! property functions as in the fuzz targets, run by `cargo test` on the stable toolchain.
//!
//! In: the name of a target and its property. Out: a panic with the smallest input found for which it does
//! not hold. Included by path into the tests of each crate; deliberately absent: coverage, which is what
//! `cargo fuzz` is for.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

/// One change to an input.
#[derive(Debug, Clone)]
enum Edit {
    Cut(Index, usize),
    Insert(Index, Vec<u8>),
    Overwrite(Index, Vec<u8>),
    /// A piece of the input once more, elsewhere.
    Repeat(Index, usize, Index),
}

/// Pieces on which parsers of text differ.
const PIECES: [&[u8]; 18] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b"\"",
    b"{",
    b"[",
    b"-1",
    b"0",
    b"1e999",
    b"18446744073709551616",
    b".nan",
    b"\xff",
    b"null",
];

/// Asserts `property` for every seed of `target` and for `cases` inputs made from them.
pub(crate) fn hold(target: &str, cases: u32, property: fn(&[u8])) {
    let seeds = read(target);
    seeds.iter().for_each(|seed| property(seed));
    let edited = (any::<Index>(), vec(edit(), 0..4)).prop_map(move |(seed, edits)| {
        edits.into_iter().fold(seeds[seed.index(seeds.len())].clone(), applied)
    });
    let inputs = prop_oneof![8 => edited, 1 => vec(any::<u8>(), 0..60)];
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&inputs, |input| {
        property(&input);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{target}: {error}");
    }
}

fn read(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries =
        std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(!paths.is_empty(), "no seed in {}", directory.display());
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn edit() -> impl Strategy<Value = Edit> {
    let piece =
        || prop_oneof![any::<Index>().prop_map(|at| at.get(&PIECES).to_vec()), vec(any::<u8>(), 1..6),];
    prop_oneof![
        (any::<Index>(), 1..20_usize).prop_map(|(at, length)| Edit::Cut(at, length)),
        (any::<Index>(), piece()).prop_map(|(at, with)| Edit::Insert(at, with)),
        (any::<Index>(), piece()).prop_map(|(at, with)| Edit::Overwrite(at, with)),
        (any::<Index>(), 1..60_usize, any::<Index>())
            .prop_map(|(from, length, to)| Edit::Repeat(from, length, to)),
    ]
}

fn applied(mut input: Vec<u8>, edit: Edit) -> Vec<u8> {
    let size = input.len();
    let end = |at: usize, length: usize| (at + length).min(size);
    match edit {
        Edit::Cut(at, length) => {
            let at = at.index(size + 1);
            input.drain(at..end(at, length));
        }
        Edit::Insert(at, with) => {
            let at = at.index(size + 1);
            input.splice(at..at, with);
        }
        Edit::Overwrite(at, with) => {
            let at = at.index(size + 1);
            input.splice(at..end(at, with.len()), with);
        }
        Edit::Repeat(from, length, to) => {
            let from = from.index(size + 1);
            let again = input[from..end(from, length)].to_vec();
            let to = to.index(size + 1);
            input.splice(to..to, again);
        }
    }
    input
}
