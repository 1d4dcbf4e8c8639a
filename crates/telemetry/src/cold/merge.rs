//! Small units into larger ones, so that a system that was quiet for long is not asked file by file.
//!
//! In: neighbouring units. Out: one unit with their rows, sorted anew, which takes their place: on disk when its index
//! has its name (its segments are theirs, so that a start that finds both knows which one counts), for queries at once
//! in [`Tiers`](crate::tiers::Tiers). Nothing is decided anew: what was sampled stays sampled, what was counted stays
//! counted.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::build::{Counts, Each, Source, Step, Watch, begin, commit, write_signal};
use super::fault::Fault;
use super::index::Index;
use super::page::Page;
use super::unit::{Files, Unit};
use crate::derive::Minutes;
use crate::model::Signal;
use crate::query::ReadError;

/// A merged unit has this many bytes at most: some two million spans, whose row groups are full.
const MERGED_BYTES_MAX: u64 = 64 << 20;

/// Fewer units are left as they are.
const UNITS_MIN: usize = 4;

/// What is merged was written within this part of the time it is kept: it goes as one, with its newest.
const RETENTION_PART: u32 = 10;

/// What is asked of a unit that may be merged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    bytes: u64,
    segments: (u64, u64),
    first_written: SystemTime,
    written: SystemTime,
}

impl Candidate {
    /// `None` for a unit that is left as it is: its rows are in a bucket.
    pub(super) fn new(unit: &Unit) -> Option<Self> {
        if unit.is_moved() {
            return None;
        }
        let segments = (*unit.segments().iter().min()?, *unit.segments().iter().max()?);
        Some(Self {
            bytes: unit.bytes(),
            segments,
            first_written: unit.first_written(),
            written: unit.written,
        })
    }
}

/// The oldest neighbours that are worth merging. None of them is as large as the others together, so that a row is
/// written again a few times only, however long the store runs.
pub(super) fn choose(units: &[Option<Candidate>], retention: Duration) -> Option<Range<usize>> {
    (0..units.len()).find_map(|start| {
        let mut ends = Vec::new();
        let (mut bytes, mut largest) = (0, 0);
        let mut last: Option<Candidate> = None;
        let mut first_written = None;
        for (at, unit) in units.iter().enumerate().skip(start) {
            let Some(unit) = unit else { break };
            let since = *first_written.get_or_insert(unit.first_written);
            let apart = unit.written.duration_since(since).unwrap_or_default();
            // Names of units are made from the first and the last segment: those of neighbours must not overlap.
            if last.is_some_and(|last| last.segments.1 >= unit.segments.0)
                || apart > retention / RETENTION_PART
                || bytes + unit.bytes > MERGED_BYTES_MAX
            {
                break;
            }
            bytes += unit.bytes;
            largest = largest.max(unit.bytes);
            last = Some(*unit);
            if at + 1 - start >= UNITS_MIN && largest <= bytes - largest {
                ends.push(at + 1);
            }
        }
        ends.last().map(|&end| start..end)
    })
}

/// Writes one unit from neighbouring ones, and opens it.
pub(super) fn merge(dir: &Path, units: &[Arc<Unit>], watch: Watch<'_>) -> Result<Unit, Fault> {
    let mut segments: Vec<u64> = units.iter().flat_map(|unit| unit.segments()).copied().collect();
    segments.sort_unstable();
    let files = Files::of_segments(dir, &segments);
    let mut derived = Minutes::default();
    for unit in units {
        let minutes = Minutes::from_bytes(unit.derived());
        derived.merge(&minutes.map_err(|error| unreadable(unit, invalid(error)))?);
    }
    let first = units.iter().map(|unit| unit.first_written()).min();
    let since = first.and_then(|first| first.duration_since(SystemTime::UNIX_EPOCH).ok());
    let mut index = Index {
        segments,
        spans_before_sampling: units.iter().map(|unit| unit.spans().1).sum(),
        derived: derived.to_bytes(),
        first_written_unix_nano: since.map_or(0, |since| since.as_nanos() as u64),
        ..Index::default()
    };
    let mut sections = Vec::new();
    begin(dir, &files)?;
    index.spans = write_signal(Signal::Spans, &units, &files, None, |_| {}, &mut sections)?;
    watch(Step::SpansWritten)?;
    index.logs = write_signal(Signal::Logs, &units, &files, None, |_| {}, &mut sections)?;
    watch(Step::LogsWritten)?;
    let written = units.iter().map(|unit| unit.written).max();
    Ok(commit(dir, files, &index, &sections, written, watch)?)
}

impl Source for &[Arc<Unit>] {
    fn rows(&self, signal: Signal) -> u64 {
        let groups = self.iter().flat_map(|unit| unit.index.groups(signal));
        groups.map(|group| u64::from(group.rows)).sum()
    }

    fn each(&self, signal: Signal, each: Each<'_>) -> Result<(), Fault> {
        for unit in *self {
            for group in unit.index.groups(signal) {
                for number in 0..group.bounds.len() {
                    let read = Page::new(unit, signal, group, number).batch();
                    let (batch, counts) = read.map_err(|error| match error {
                        ReadError::Io { source, .. } => unreadable(unit, source),
                        damaged => unreadable(unit, invalid(damaged)),
                    })?;
                    each(batch, Counts::Decided(counts))?;
                }
            }
        }
        Ok(())
    }
}

fn unreadable(unit: &Unit, error: io::Error) -> Fault {
    Fault::reading(unit.segments().first().copied(), error)
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Which units another one took the place of: all their segments are its own, and more. A crash between a merge and the
/// removal of what it was made from leaves such units. Units that are not `sound` take nobody's place.
pub(super) fn superseded(segments: &[&[u64]], sound: &[bool]) -> Vec<bool> {
    let mut holders: super::Map<u64, Vec<usize>> = super::Map::default();
    for (unit, numbers) in segments.iter().enumerate().filter(|(unit, _)| sound[*unit]) {
        numbers.iter().for_each(|&number| holders.entry(number).or_default().push(unit));
    }
    let is_superseded = |numbers: &[u64]| {
        let candidates = numbers.first().and_then(|first| holders.get(first)).into_iter().flatten();
        candidates.copied().any(|other| {
            segments[other].len() > numbers.len()
                && numbers
                    .iter()
                    .all(|number| holders.get(number).is_some_and(|units| units.contains(&other)))
        })
    };
    segments.iter().map(|numbers| is_superseded(numbers)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETENTION: Duration = Duration::from_secs(100 * 3600);

    /// Units of these MiB, written an hour apart.
    fn units(mebibytes: &[u64]) -> Vec<Option<Candidate>> {
        let unit = |(at, &mib): (usize, &u64)| {
            let written = SystemTime::UNIX_EPOCH + Duration::from_secs(3600 * at as u64);
            let segments = (10 * at as u64, 10 * at as u64 + 9);
            Some(Candidate { bytes: mib << 20, segments, first_written: written, written })
        };
        mebibytes.iter().enumerate().map(unit).collect()
    }

    #[test]
    fn small_neighbours_are_merged_up_to_a_size_and_large_ones_left() {
        for (mebibytes, chosen) in [
            (&[1, 1, 1][..], None),
            (&[1, 1, 1, 1], Some(0..4)),
            (&[60, 1, 1, 1, 1], Some(1..5)),
            (&[4, 1, 1, 1, 1], Some(0..5)),
            (&[5, 1, 1, 1, 1], Some(1..5)),
            (&[20, 20, 20, 20], None),
            (&[16, 16, 16, 16, 16], Some(0..4)),
            (&[1, 2, 4, 8, 16], None),
            (&[1; 30], Some(0..11)),
        ] {
            assert_eq!(choose(&units(mebibytes), RETENTION), chosen, "{mebibytes:?}");
        }
    }

    #[test]
    fn units_that_are_damaged_or_whose_names_would_clash_are_not_merged() {
        let mut damaged = units(&[1; 7]);
        damaged[3] = None;
        assert_eq!(choose(&damaged, RETENTION), None);
        let mut within = units(&[1; 5]);
        if let Some(second) = &mut within[1] {
            second.segments = (3, 4);
        }
        assert_eq!(choose(&within, RETENTION), Some(1..5));
    }

    #[test]
    fn rows_are_written_again_a_few_times_only_however_long_the_store_runs() {
        let mut all: Vec<u64> = Vec::new();
        let (mut written, arrivals) = (0, 1000);
        for arriving in std::iter::repeat_n(1, arrivals) {
            all.push(arriving);
            while let Some(range) = choose(&units(&all), 10_000 * RETENTION) {
                let sum = all[range.clone()].iter().sum();
                all.splice(range, [sum]);
                written += sum;
            }
        }
        assert!(written <= 5 * arrivals as u64, "{written} MiB written again for {arrivals}");
        assert!(all.len() <= 50, "{} units: {all:?}", all.len());
    }

    #[test]
    fn a_unit_is_superseded_by_one_that_has_all_its_segments_and_more() {
        let segments: [&[u64]; 6] = [&[1, 2], &[1, 2, 3, 5], &[3], &[4], &[5], &[6, 7]];
        let mut sound = [true; 6];
        assert_eq!(superseded(&segments, &sound), [true, false, true, false, true, false]);
        sound[0] = false;
        assert_eq!(superseded(&segments, &sound), [true, false, true, false, true, false]);
        sound[1] = false;
        assert_eq!(superseded(&segments, &sound), [false; 6], "what is damaged takes nobody's place");
    }
}
