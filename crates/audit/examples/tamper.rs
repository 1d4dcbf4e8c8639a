//! Tampers with a trail of many records, one change at a time, and has each looked for. Prints JSON; ends with status 1
//! where one was not found, and where a trail that was left alone was accused.
//!
//! `cargo run --release -p audit --example tamper [CHANGES] [RECORDS] [SEED] [DIR]`; by default 100 changes of each kind to
//! 1,000,000 records. A change is made in place, the whole trail is verified, and the change is taken back; what is found
//! without a change is asked for at the begin and at the end. The log is closed, its last records covered by the head and by
//! no checkpoint: truncations cut those off, too.

#[path = "support/running.rs"]
mod running;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use audit::{Action, Audit, NewRecord, Options, Outcome, Trusted, Via, verify};
use running::Running;
use serde_json::json;

const ACTION: Action = Action::new("remediation.approve");

/// Records that come after the last checkpoint.
const UNCOVERED: u64 = 500;

/// `SplitMix64` (Steele, Lea and Flood 2014): the same changes for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A file of records, with where each of its lines begins, and where the last one ends.
struct Segment {
    path: PathBuf,
    first: u64,
    bytes: Vec<u8>,
    lines: Vec<usize>,
}

impl Segment {
    fn read(path: PathBuf) -> Self {
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let first = name.parse().expect("a segment is named by its first record");
        let bytes = fs::read(&path).expect("it was written");
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        Self { path, first, bytes, lines }
    }

    fn line(&self, at: u64) -> &[u8] {
        &self.bytes[self.lines[at as usize]..self.lines[at as usize + 1]]
    }

    fn file(&self) -> File {
        OpenOptions::new().write(true).open(&self.path).expect("it is there")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    EditedByte,
    DeletedRecord,
    SwappedRecords,
    SwappedNeighbours,
    TruncatedAtAnyByte,
    TruncatedAtARecord,
    TruncatedAtAFile,
    TruncatedUncovered,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::EditedByte,
        Self::DeletedRecord,
        Self::SwappedRecords,
        Self::SwappedNeighbours,
        Self::TruncatedAtAnyByte,
        Self::TruncatedAtARecord,
        Self::TruncatedAtAFile,
        Self::TruncatedUncovered,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::EditedByte => "edited_byte",
            Self::DeletedRecord => "deleted_record",
            Self::SwappedRecords => "swapped_records",
            Self::SwappedNeighbours => "swapped_neighbours",
            Self::TruncatedAtAnyByte => "truncated_at_any_byte",
            Self::TruncatedAtARecord => "truncated_at_a_record",
            Self::TruncatedAtAFile => "truncated_at_a_file",
            Self::TruncatedUncovered => "truncated_after_the_last_checkpoint",
        }
    }
}

/// The trail as it is, to change it and to put it back.
struct Tampering {
    dir: PathBuf,
    segments: Vec<Segment>,
    records: u64,
}

impl Tampering {
    /// Segment and line of a record.
    fn place(&self, sequence: u64) -> (usize, u64) {
        let at = self.segments.partition_point(|segment| segment.first <= sequence) - 1;
        (at, sequence - self.segments[at].first)
    }

    /// Replaces lines of one segment from a line on by other bytes, and cuts it there where they are fewer.
    fn rewrite(&self, at: usize, line: u64, with: &[u8]) {
        let segment = &self.segments[at];
        let (file, from) = (segment.file(), segment.lines[line as usize] as u64);
        file.write_all_at(with, from).and_then(|()| file.set_len(from + with.len() as u64)).expect("room");
    }

    /// Writes over a record one that is as long or not, with all that follows it in its segment.
    fn replace(&self, sequence: u64, with: &[u8]) {
        let (at, line) = self.place(sequence);
        let rest = &self.segments[at].bytes[self.segments[at].lines[line as usize + 1]..];
        self.rewrite(at, line, &[with, rest].concat());
    }

    fn swap(&self, one: u64, other: u64) {
        let (low, high) = (one.min(other), one.max(other));
        let ((a, i), (b, j)) = (self.place(low), self.place(high));
        let (first, second) = (self.segments[a].line(i), self.segments[b].line(j));
        if a != b {
            self.replace(low, second);
            self.replace(high, first);
            return;
        }
        let segment = &self.segments[a];
        let between = &segment.bytes[segment.lines[i as usize + 1]..segment.lines[j as usize]];
        let rest = &segment.bytes[segment.lines[j as usize + 1]..];
        self.rewrite(a, i, &[second, between, first, rest].concat());
    }

    /// Keeps so many bytes of one segment and removes those behind it.
    fn truncate(&self, at: usize, keep: usize) {
        for segment in &self.segments[at + 1..] {
            fs::remove_file(&segment.path).expect("it is there");
        }
        self.segments[at].file().set_len(keep as u64).expect("it is longer");
    }

    /// Changes something. Returns what, in words.
    fn change(&self, kind: Kind, random: &mut Random) -> String {
        let any = |random: &mut Random| random.below(self.records);
        match kind {
            Kind::EditedByte => {
                let at = random.below(self.segments.len() as u64) as usize;
                let segment = &self.segments[at];
                let byte = random.below(segment.bytes.len() as u64);
                let other = segment.bytes[byte as usize] ^ (1 + random.below(255) as u8);
                segment.file().write_all_at(&[other], byte).expect("it is there");
                format!("byte {byte} of segment {at} to {other}")
            }
            Kind::DeletedRecord => {
                let sequence = any(random);
                self.replace(sequence, b"");
                format!("record {sequence}")
            }
            Kind::SwappedRecords => {
                let one = any(random);
                let other = (one + 1 + random.below(self.records - 1)) % self.records;
                self.swap(one, other);
                format!("records {one} and {other}")
            }
            Kind::SwappedNeighbours => {
                let one = random.below(self.records - 1);
                self.swap(one, one + 1);
                format!("records {one} and {}", one + 1)
            }
            Kind::TruncatedAtAnyByte => {
                let at = random.below(self.segments.len() as u64) as usize;
                let keep = random.below(self.segments[at].bytes.len() as u64) as usize;
                self.truncate(at, keep);
                format!("segment {at} after {keep} bytes")
            }
            Kind::TruncatedAtARecord => self.truncate_before(any(random)),
            Kind::TruncatedAtAFile => {
                // What remains ends with a file: an empty one more, or none.
                let at = random.below(self.segments.len() as u64) as usize;
                self.truncate(at, 0);
                let gone = at > 0 && random.below(2) == 0;
                if gone {
                    fs::remove_file(&self.segments[at].path).expect("it is there");
                }
                format!(
                    "segment {at} and what follows, {}",
                    if gone { "the file as well" } else { "left empty" }
                )
            }
            Kind::TruncatedUncovered => self.truncate_before(self.records - 1 - random.below(UNCOVERED)),
        }
    }

    fn truncate_before(&self, sequence: u64) -> String {
        let (at, line) = self.place(sequence);
        self.truncate(at, self.segments[at].lines[line as usize]);
        format!("before record {sequence}")
    }

    /// Writes back every file that is not as long as it was or was written to.
    fn put_back(&self) {
        for segment in &self.segments {
            if fs::read(&segment.path).is_ok_and(|bytes| bytes == segment.bytes) {
                continue;
            }
            fs::write(&segment.path, &segment.bytes).expect("the disk has room");
        }
    }

    fn is_found(&self) -> bool {
        !verify(&self.dir, &Trusted::default()).expect("it can be read").holds()
    }
}

fn record(number: u64) -> NewRecord {
    let outcome = [Outcome::Done, Outcome::Refused, Outcome::Failed][number as usize % 3];
    let target = format!("service-{}", number % 1000);
    NewRecord::new(format!("user-{}", number % 50), Via::Token, ACTION, target, outcome)
        .why("latency of checkout rises after the deployment of 14:02")
        .request(format!("{number:032x}"))
}

fn fill(audit: &Audit, numbers: std::ops::Range<u64>) {
    const THREADS: u64 = 256;
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let numbers = numbers.clone();
            scope.spawn(move || {
                for number in (numbers.start + thread..numbers.end).step_by(THREADS as usize) {
                    audit.append(record(number)).expect("the disk has room");
                }
            });
        }
    });
}

/// A trail as it lies there while its control plane was killed: the head counts more than the last checkpoint.
fn write(dir: &Path, records: u64) {
    let live = dir.join("live");
    fs::create_dir_all(&live).expect("the directory can be made");
    let options = Options { checkpoint_interval: Duration::from_secs(86_400), ..Options::default() };
    let covered = records.saturating_sub(UNCOVERED);
    let options = Options { checkpoint_records: covered.max(1), segment_bytes: 32 << 20, ..options };
    let audit =
        Audit::open_with(&live, Arc::new(Running(Instant::now())), options).expect("nobody else has it");
    fill(&audit, 0..covered);
    audit.checkpoint().expect("the disk has room");
    fill(&audit, covered..records);
    audit::backup::copy(&live, dir).expect("it can be copied");
    drop(audit);
    fs::remove_dir_all(live).expect("it was made here");
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |at: usize, default: u64| arguments.get(at).map_or(default, |text| text.parse().expect("a number"));
    let (changes, records, seed) = (number(0, 100), number(1, 1_000_000), number(2, 1));
    let dir = arguments.get(3).map_or_else(|| PathBuf::from("target/audit-tamper"), PathBuf::from);
    assert!(records > 2 * UNCOVERED, "give more than {} records", 2 * UNCOVERED);
    assert!(!dir.exists(), "{} is there: remove it, or name another directory", dir.display());
    write(&dir, records);
    let mut paths: Vec<PathBuf> = fs::read_dir(dir.join("audit/log"))
        .expect("it was written")
        .map(|entry| entry.expect("it was written").path())
        .collect();
    paths.sort();
    let tampering = Tampering { dir, segments: paths.into_iter().map(Segment::read).collect(), records };
    let begin = Instant::now();
    let report = verify(&tampering.dir, &Trusted::default()).expect("it can be read");
    let verify_s = begin.elapsed().as_secs_f64();
    let accused_before = !report.holds();
    let mut random = Random(seed);
    let (mut found, mut missed, mut slowest) = (BTreeMap::new(), Vec::new(), 0.0_f64);
    for kind in Kind::ALL {
        for _ in 0..changes {
            let what = tampering.change(kind, &mut random);
            let begin = Instant::now();
            if tampering.is_found() {
                *found.entry(kind.name()).or_insert(0_u64) += 1;
            } else {
                missed.push(format!("{}: {what}", kind.name()));
            }
            slowest = slowest.max(begin.elapsed().as_secs_f64());
            tampering.put_back();
        }
    }
    let accused = accused_before || tampering.is_found();
    let line = json!({
        "how": "one change in place, the whole trail verified by audit::verify, the change taken back",
        "seed": seed, "records": report.records, "bytes": report.bytes, "segments": report.segments,
        "checkpoints": report.checkpoints, "covered": report.covered,
        "verify_s": verify_s, "slowest_verify_s": slowest,
        "changes_of_each_kind": changes, "found": found, "not_found": missed, "left_alone_and_accused": accused,
    });
    println!("{line:#}");
    fs::remove_dir_all(&tampering.dir).expect("it was made here");
    if accused || !missed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
