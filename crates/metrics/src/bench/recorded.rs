//! Pages of real targets, recorded as they came and taken in as if they were scraped again.
//!
//! In: a file of `benches/metrics/record`: compressed with gzip, before each page a line
//! `# page JOB INSTANCE MILLISECONDS BYTES`. Out: how many samples and series that was, and what they take on disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use flate2::bufread::MultiGzDecoder;

use super::{BenchError, Sent};
use crate::wire::Limits;
use crate::wire::text::{Format, HonorLabels, TargetDecoder};
use crate::{Config, Metrics, SourceName};

/// Longer pages are none.
const PAGE_BYTES_MAX: usize = 64 << 20;

/// What a recording took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recorded {
    /// Pages taken in.
    pub pages: u64,
    /// Samples taken in.
    pub samples: u64,
    /// Series they are of.
    pub series: u64,
    /// From the first page to the last, seconds.
    pub seconds: f64,
    /// Bytes of raw blocks for each sample, when all are on disk and merged.
    pub bytes_per_sample: f64,
    /// The same with the tiers of minutes and hours.
    pub bytes_per_sample_all_tiers: f64,
}

/// A page, and when it was asked for.
struct Page {
    job: String,
    instance: String,
    at_ms: i64,
    text: Vec<u8>,
}

/// Takes a recording into a new store in `dir`.
///
/// # Errors
/// Where the file is none, or a page of it cannot be read, or the store or the system refuses.
pub(super) fn take(file: &Path, dir: &Path) -> Result<Recorded, BenchError> {
    let mut pages = BufReader::new(MultiGzDecoder::new(BufReader::new(File::open(file)?)));
    let Some(first) = next(&mut pages)? else { return Err(torn("there is no page in it").into()) };
    let (first_ms, mut last_ms) = (first.at_ms, first.at_ms);
    let clock = Arc::new(Sent(AtomicI64::new(first_ms)));
    let store = Metrics::open(Config::new(dir, Arc::<Sent>::clone(&clock)))?;
    let mut decoders = BTreeMap::new();
    let (mut count, mut samples, mut page) = (0, 0, Some(first));
    while let Some(Page { job, instance, at_ms, text }) = page {
        clock.0.fetch_max(at_ms, Ordering::Relaxed);
        let decoder = decoders.entry((job, instance)).or_insert_with_key(|(job, instance)| {
            TargetDecoder::new(
                Limits::default(),
                [("job", &**job), ("instance", &**instance)],
                HonorLabels::No,
            )
        });
        let decoded = decoder.decode(Format::Prometheus, &text, at_ms);
        let decoded = decoded.map_err(|error| torn(&format!("page {}: {error}", count + 1)))?;
        let admission = store.append(&SourceName::new("recorded"), decoded.batch);
        let admission = admission.map_err(|refusal| BenchError::Refused(refusal.to_string()))?;
        if admission.refused.total() > 0 {
            return Err(BenchError::Refused(admission.reason.unwrap_or_default()));
        }
        (count, samples, last_ms) = (count + 1, samples + admission.accepted, last_ms.max(at_ms));
        page = next(&mut pages)?;
    }
    let series = store.status().series;
    store.flush()?;
    store.compact()?;
    let tiers = store.status().tiers;
    let (kept, all) = (tiers[0].samples.max(1) as f64, tiers.iter().map(|tier| tier.bytes).sum::<u64>());
    Ok(Recorded {
        pages: count,
        samples,
        series,
        seconds: (last_ms - first_ms) as f64 / 1000.0,
        bytes_per_sample: tiers[0].bytes as f64 / kept,
        bytes_per_sample_all_tiers: all as f64 / kept,
    })
}

fn torn(why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("this is no recording of benches/metrics/record: {why}"),
    )
}

/// The next page; none at the end of the file.
fn next(from: &mut impl BufRead) -> io::Result<Option<Page>> {
    let mut head = Vec::new();
    from.take(4096).read_until(b'\n', &mut head)?;
    if head.is_empty() {
        return Ok(None);
    }
    let head = String::from_utf8_lossy(&head);
    let wrong = || {
        torn(&format!(
            "a page does not begin with '# page JOB INSTANCE MILLISECONDS BYTES' but with {head:?}"
        ))
    };
    let fields: Vec<&str> = head.split_ascii_whitespace().collect();
    let ["#", "page", job, instance, at_ms, bytes] = fields[..] else { return Err(wrong()) };
    let (Ok(at_ms), Ok(bytes)) = (at_ms.parse(), bytes.parse::<usize>()) else { return Err(wrong()) };
    if bytes > PAGE_BYTES_MAX {
        return Err(torn(&format!("a page has {bytes} bytes")));
    }
    let mut text = vec![0; bytes];
    from.read_exact(&mut text)?;
    Ok(Some(Page { job: job.to_owned(), instance: instance.to_owned(), at_ms, text }))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn recording(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        let file = File::create(dir.path().join("pages")).expect("a file");
        let mut out = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        out.write_all(text.as_bytes()).and_then(|()| out.finish().map(drop)).expect("it is written");
        dir
    }

    #[test]
    fn pages_are_taken_as_if_they_were_scraped() {
        let dir = recording(
            "# page node a:1 1767225700000 12\nup 1\nload 2\n# page node a:1 1767225701000 12\nup 1\nload 3\n\
             # page shop b:1 1767225701000 5\nup 1\n",
        );
        let taken = take(&dir.path().join("pages"), &dir.path().join("store")).expect("it is whole");
        assert_eq!((taken.pages, taken.samples, taken.series, taken.seconds), (3, 5, 3, 1.0));
        assert!(taken.bytes_per_sample > 0.0);
        assert_eq!(taken.bytes_per_sample_all_tiers, taken.bytes_per_sample, "so few are worth no tier");
    }

    #[test]
    fn what_is_no_recording_is_told() {
        for (text, wanted) in [
            ("", "no page"),
            ("up 1\n", "does not begin"),
            ("# page node a:1 x 3\nup 1\n", "does not begin"),
            ("# page node a:1 1767225700000 4\nup?\n", "page 1"),
        ] {
            let dir = recording(text);
            let error = take(&dir.path().join("pages"), &dir.path().join("store")).expect_err(text);
            assert!(error.to_string().contains(wanted), "{text:?}: {error}");
        }
    }
}
