//! The request log: one line for each request.
//!
//! In: requests that ended. Out: lines `wall_us,boot_us,kind,status,latency_us,outcome`, the two clocks
//! read when the request ended (it was due `latency_us` before), the status 0 where there was no answer;
//! and [`read_log`], which counts those of a span of time. Lines are in the order of `boot_us`, so a span is
//! found by bisection. Deliberately absent: an index, and lines of an earlier boot, whose clock means
//! nothing in this one.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::Time;

/// A log larger than this becomes `LOG.1`, replacing the one before: a million requests, seven hours at the
/// default rate.
const ROTATE_AT: u64 = 64 * 1024 * 1024;

/// Why the request log could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the request log {}", path.display())]
pub struct LogError {
    /// Which file.
    path: PathBuf,
    /// What the kernel said.
    #[source]
    source: io::Error,
}

/// What a visitor came for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Browse,
    AddToCart,
    Checkout,
}

/// How a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Served in full.
    Ok,
    /// Served without a part that an open breaker kept away.
    Degraded,
    /// Answered with 5xx.
    Error,
    /// Answered with 429.
    Throttled,
    /// Answered with another 4xx, although nothing was wrong with it.
    Rejected,
    /// Not answered within the limit.
    Timeout,
    /// Refused, reset, or broken off.
    NoAnswer,
    /// Not sent: too many were open already.
    Overload,
}

/// One request that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) ended: Time,
    pub(super) kind: Kind,
    pub(super) status: u16,
    pub(super) latency: Duration,
    pub(super) outcome: Outcome,
}

/// The requests that ended in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestCounts {
    /// All of them.
    pub requests: u64,
    /// Of these, those that were not served: no answer, 4xx, 5xx, or not even sent for too many open ones.
    pub failed: u64,
    /// Of these, those that were served without a part that an open breaker kept away; not failed.
    pub degraded: u64,
    /// When the last of the failed ones ended.
    pub last_failure_at: Option<Time>,
    /// The median of the times from due to end, of all that were sent; `None` without any.
    pub p50: Option<Duration>,
    /// The 95th percentile of the same.
    pub p95: Option<Duration>,
}

/// Counts the requests that ended at or after `from` and before `to`.
///
/// Reads that span only, however long the log. A line is in the file `LOG_LATE`
/// after its request ended.
/// A log that is not there yet counts nothing; lines cut short by the end of the generator are left out.
pub fn read_log(path: &Path, from: Time, to: Time) -> Result<RequestCounts, LogError> {
    let mut counts = RequestCounts::default();
    let mut latencies = Vec::new();
    let mut count = |fields: Fields| {
        counts.requests += 1;
        if fields.outcome.is_failure() {
            counts.failed += 1;
            counts.last_failure_at = Some(Time { boot_us: fields.boot_us, wall_us: fields.wall_us });
        }
        counts.degraded += u64::from(fields.outcome == Outcome::Degraded);
        if fields.outcome != Outcome::Overload {
            latencies.push(fields.latency_us);
        }
    };
    for path in [rotated(path), path.to_owned()] {
        let read = match File::open(&path) {
            Ok(file) => each_between(file, from.boot_us, to.boot_us, &mut count),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        read.map_err(|source| LogError { path, source })?;
    }
    latencies.sort_unstable();
    counts.p50 = percentile(&latencies, 50);
    counts.p95 = percentile(&latencies, 95);
    Ok(counts)
}

/// The nearest-rank percentile of sorted values.
fn percentile(sorted_us: &[u64], percent: usize) -> Option<Duration> {
    let rank = (sorted_us.len() * percent).div_ceil(100);
    sorted_us.get(rank.checked_sub(1)?).map(|us| Duration::from_micros(*us))
}

/// The part of a line that counts.
struct Fields {
    wall_us: i64,
    boot_us: u64,
    latency_us: u64,
    outcome: Outcome,
}

/// Calls `count` for each line of `file` with `from <= boot_us < to`.
fn each_between(
    mut file: impl Read + Seek,
    from: u64,
    to: u64,
    count: &mut impl FnMut(Fields),
) -> io::Result<()> {
    let start = first_at_or_after(&mut file, from)?;
    file.seek(SeekFrom::Start(start))?;
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    let mut line = String::new();
    while next_line(&mut reader, &mut line)? > 0 {
        let Some(fields) = Fields::parse(&line) else { continue };
        if fields.boot_us >= to {
            break;
        }
        if fields.boot_us >= from {
            count(fields);
        }
    }
    Ok(())
}

/// The offset of a line start before which every line is older than `from`, by bisection.
fn first_at_or_after(file: &mut (impl Read + Seek), from: u64) -> io::Result<u64> {
    let (mut low, mut high) = (0, file.seek(SeekFrom::End(0))?);
    // Below this reading on is faster than another seek.
    while high - low > 16 * 1024 {
        let middle = low + (high - low) / 2;
        match first_line_after(file, middle, high)? {
            Some((start, boot_us)) if boot_us < from => low = start,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The first whole, readable line that starts after `offset` and before `end`: where, and its time.
fn first_line_after(file: &mut (impl Read + Seek), offset: u64, end: u64) -> io::Result<Option<(u64, u64)>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut reader = BufReader::with_capacity(4096, file);
    let mut line = String::new();
    let mut start = offset + next_line(&mut reader, &mut line)?;
    while start < end {
        let length = next_line(&mut reader, &mut line)?;
        if length == 0 {
            break;
        }
        if let Some(fields) = Fields::parse(&line) {
            return Ok(Some((start, fields.boot_us)));
        }
        start += length;
    }
    Ok(None)
}

/// Reads a line into `line` and gives its length in the file. Bytes that are no text make it unreadable,
/// not the file.
fn next_line(reader: &mut impl BufRead, line: &mut String) -> io::Result<u64> {
    let mut bytes = Vec::with_capacity(96);
    let length = reader.read_until(b'\n', &mut bytes)?;
    line.clear();
    line.push_str(std::str::from_utf8(&bytes).unwrap_or_default());
    Ok(length as u64)
}

impl Fields {
    /// Reads a line; `None` where it was cut short.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.strip_suffix('\n')?.split(',');
        let wall_us = fields.next()?.parse().ok()?;
        let boot_us = fields.next()?.parse().ok()?;
        let _kind = fields.next()?;
        let _status = fields.next()?;
        let latency_us = fields.next()?.parse().ok()?;
        let outcome = Outcome::from_name(fields.next()?)?;
        fields.next().is_none().then_some(Self { wall_us, boot_us, latency_us, outcome })
    }
}

/// The log as it is written.
#[derive(Debug)]
pub(super) struct RequestLog {
    path: PathBuf,
    file: File,
    buffer: String,
    last_boot_us: u64,
}

impl RequestLog {
    /// Opens the log to go on at its end. One of an earlier boot is put aside as `LOG.earlier`; a last line
    /// that was cut short is ended.
    pub(super) fn open(path: &Path, now: Time) -> Result<Self, LogError> {
        Self::open_file(path, now).map_err(|source| LogError { path: path.to_owned(), source })
    }

    fn open_file(path: &Path, now: Time) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let (text_end, last_boot_us) = end_of(path)?;
        if last_boot_us > now.boot_us {
            std::fs::rename(path, suffixed(path, ".earlier"))?;
            let _ = std::fs::remove_file(rotated(path));
            return Self::open_file(path, now);
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let buffer = if matches!(text_end, None | Some(b'\n')) { String::new() } else { "\n".to_owned() };
        Ok(Self { path: path.to_owned(), file, buffer, last_boot_us })
    }

    /// Appends a line; it is in the file after the next [`flush`](Self::flush).
    pub(super) fn append(&mut self, record: &Record) {
        let Record { ended, kind, status, latency, outcome } = record;
        // Readers bisect, so the order holds even if two threads of the kernel disagreed on the time.
        self.last_boot_us = self.last_boot_us.max(ended.boot_us);
        let _ = writeln!(
            self.buffer,
            "{},{},{},{status},{},{}",
            ended.wall_us,
            self.last_boot_us,
            kind.name(),
            latency.as_micros(),
            outcome.name()
        );
    }

    /// Writes what was appended to the file.
    pub(super) fn flush(&mut self) -> Result<(), LogError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.write_out().map_err(|source| LogError { path: self.path.clone(), source })
    }

    fn write_out(&mut self) -> io::Result<()> {
        if self.file.metadata()?.len() > ROTATE_AT {
            std::fs::rename(&self.path, rotated(&self.path))?;
            self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        }
        self.file.write_all(self.buffer.as_bytes())?;
        self.buffer.clear();
        Ok(())
    }
}

/// The last byte of the file at `path`, and the time of its last readable line; nothing and 0 where there
/// is none.
fn end_of(path: &Path) -> io::Result<(Option<u8>, u64)> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, 0)),
        other => other?,
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(4096)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let lines = tail.split_inclusive(|byte| *byte == b'\n').rev();
    let last = lines.filter_map(|line| Fields::parse(std::str::from_utf8(line).ok()?)).next();
    Ok((tail.last().copied(), last.map_or(0, |fields| fields.boot_us)))
}

fn rotated(path: &Path) -> PathBuf {
    suffixed(path, ".1")
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Browse => "browse",
            Self::AddToCart => "add_to_cart",
            Self::Checkout => "checkout",
        }
    }
}

impl Outcome {
    const ALL: [Self; 8] = [
        Self::Ok,
        Self::Degraded,
        Self::Error,
        Self::Throttled,
        Self::Rejected,
        Self::Timeout,
        Self::NoAnswer,
        Self::Overload,
    ];

    /// Whether the visitor was not served.
    pub(super) fn is_failure(self) -> bool {
        !matches!(self, Self::Ok | Self::Degraded)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Error => "error",
            Self::Throttled => "throttled",
            Self::Rejected => "rejected",
            Self::Timeout => "timeout",
            Self::NoAnswer => "no_answer",
            Self::Overload => "overload",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// Whatever a crash or a full disk left in the log: a span that begins with the log counts each line in it
/// that can be read, as far as the times go up; a later one counts none of another time.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn property(input: &[u8]) {
    // Over 16 KiB a span is looked for by bisection.
    for times in [1, 40] {
        let log = input.repeat(times);
        let times_between = |from, to| {
            let mut seen = Vec::new();
            let read = each_between(io::Cursor::new(&log), from, to, &mut |fields| seen.push(fields.boot_us));
            read.expect("memory can be read");
            seen
        };
        let all = times_between(0, u64::MAX);
        let lines = log.split_inclusive(|byte| *byte == b'\n');
        let readable = lines.filter_map(|line| Fields::parse(std::str::from_utf8(line).ok()?));
        let until_the_end: Vec<u64> =
            readable.map(|fields| fields.boot_us).take_while(|boot_us| *boot_us < u64::MAX).collect();
        assert_eq!(all, until_the_end);
        let middle = all.get(all.len() / 2).copied().unwrap_or(0);
        let late = times_between(middle, u64::MAX);
        assert!(late.iter().all(|boot_us| *boot_us >= middle));
        if all.is_sorted() {
            assert_eq!(late.len(), all.iter().filter(|boot_us| **boot_us >= middle).count());
        }
    }
}

#[cfg(test)]
#[path = "request_log_tests.rs"]
mod tests;
