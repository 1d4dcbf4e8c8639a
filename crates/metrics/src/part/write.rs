//! A part, written series by series.
//!
//! In: series in the order of their labels, with samples in the order of time. Out: a file that is there under its name once
//! it is whole and on the disk. What was not finished is removed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use promql::{Histogram, Labels, Sample, Value};

use super::index::{Contents, bytes_of};
use super::read::Part;
use super::{Chunk, ChunkKind, FORMAT, Foot, HEAD_BYTES, MAGIC, Place, UNFINISHED};
use crate::codec::{self, CHUNK_SAMPLES};
use crate::tier::{Tier, Windows};

/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 1 << 20;

/// Columns of times that are remembered, so that one that comes again is not written again.
const TIMES_MAX: usize = 4096;

/// Writes a part. What is not finished is removed.
pub(crate) struct PartWriter {
    tier: Tier,
    /// The coarsest tier it will answer for.
    through: Tier,
    number: u64,
    /// The name it will have.
    path: PathBuf,
    unfinished: PathBuf,
    out: BufWriter<File>,
    offset: u64,
    /// Columns of times by their bytes.
    times: HashMap<Box<[u8]>, Place, RandomState>,
    strings: HashMap<Arc<str>, u32, RandomState>,
    by_number: Vec<Arc<str>>,
    labels: Vec<(u32, u32)>,
    chunks: Vec<u8>,
    series: Vec<(std::ops::Range<usize>, std::ops::Range<usize>)>,
    base_ms: Option<i64>,
    samples: u64,
    min_ms: i64,
    max_ms: i64,
    finished: bool,
}

impl PartWriter {
    /// Begins a part in a directory, which will answer for a tier and those up to another.
    pub(crate) fn create(dir: &Path, number: u64, tier: Tier, through: Tier) -> io::Result<Self> {
        let path = dir.join(format!("{number:020}.{}", tier.name()));
        let unfinished = dir.join(format!("{number:020}.{}.{UNFINISHED}", tier.name()));
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, File::create(&unfinished)?);
        out.write_all(&MAGIC)?;
        out.write_all(&FORMAT.to_le_bytes())?;
        let (times, strings, by_number, labels, chunks, series) = Default::default();
        Ok(Self {
            tier,
            through,
            number,
            path,
            unfinished,
            out,
            offset: HEAD_BYTES as u64,
            times,
            strings,
            by_number,
            labels,
            chunks,
            series,
            base_ms: None,
            samples: 0,
            min_ms: i64::MAX,
            max_ms: i64::MIN,
            finished: false,
        })
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Adds a series; they come sorted by labels. Samples are sorted by time, none twice. Windows are those of all samples
    /// there were, where these are not all.
    pub(crate) fn series(
        &mut self,
        labels: &Labels,
        samples: &[Sample],
        windows: &Windows,
    ) -> io::Result<()> {
        if samples.is_empty() && windows.times.is_empty() {
            return Ok(());
        }
        let chunks_from = self.chunks.len();
        let (mut times, mut floats, mut histograms): (Vec<i64>, Vec<f64>, Vec<Arc<Histogram>>) =
            Default::default();
        let is_float = |sample: &Sample| matches!(sample.value, Value::Float(_));
        for run in
            samples.chunk_by(|a, b| is_float(a) == is_float(b)).flat_map(|run| run.chunks(CHUNK_SAMPLES))
        {
            times.clear();
            floats.clear();
            histograms.clear();
            for sample in run {
                times.push(sample.at_ms);
                match &sample.value {
                    Value::Float(value) => floats.push(*value),
                    Value::Histogram(histogram) => histograms.push(Arc::clone(histogram)),
                }
            }
            let mut values = Vec::new();
            let kind = if histograms.is_empty() {
                codec::put_floats(&mut values, &floats);
                ChunkKind::Floats
            } else {
                codec::put_histograms(&mut values, &histograms);
                ChunkKind::Histograms
            };
            self.chunk(kind, &times, &values)?;
            self.samples += run.len() as u64;
        }
        let columns = [&windows.counts, &windows.sums, &windows.mins, &windows.maxs];
        for from in (0..windows.times.len()).step_by(CHUNK_SAMPLES) {
            let to = windows.times.len().min(from + CHUNK_SAMPLES);
            let mut values = Vec::new();
            codec::put_columns(&mut values, &columns.map(|column| &column[from..to]));
            self.chunk(ChunkKind::Windows, &windows.times[from..to], &values)?;
        }
        let labels_from = self.labels.len();
        for (name, value) in labels.iter() {
            let label = (self.string(name), self.string(value));
            self.labels.push(label);
        }
        self.series.push((labels_from..self.labels.len(), chunks_from..self.chunks.len()));
        Ok(())
    }

    fn string(&mut self, text: &str) -> u32 {
        if let Some(number) = self.strings.get(text) {
            return *number;
        }
        let text: Arc<str> = text.into();
        let number = self.by_number.len() as u32;
        self.by_number.push(Arc::clone(&text));
        self.strings.insert(text, number);
        number
    }

    fn chunk(&mut self, kind: ChunkKind, times: &[i64], values: &[u8]) -> io::Result<()> {
        let (Some(&min_ms), Some(&max_ms)) = (times.first(), times.last()) else { return Ok(()) };
        let mut bytes = Vec::new();
        codec::put_times(&mut bytes, times);
        let times_at = match self.times.get(&bytes[..]) {
            Some(place) => *place,
            None => {
                let place = self.column(&bytes)?;
                if self.times.len() >= TIMES_MAX {
                    self.times.clear();
                }
                self.times.insert(bytes.into(), place);
                place
            }
        };
        let values = self.column(values)?;
        let count = times.len() as u32;
        let base_ms = *self.base_ms.get_or_insert(min_ms);
        Chunk { kind, count, min_ms, max_ms, times: times_at, values }.put(&mut self.chunks, base_ms);
        self.min_ms = self.min_ms.min(min_ms);
        self.max_ms = self.max_ms.max(max_ms);
        Ok(())
    }

    fn column(&mut self, bytes: &[u8]) -> io::Result<Place> {
        let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let place = Place { offset: self.offset, len };
        self.out.write_all(bytes)?;
        self.out.write_all(&crc32fast::hash(bytes).to_le_bytes())?;
        self.offset += u64::from(len) + 4;
        Ok(place)
    }

    /// Writes the index, waits for the disk, and gives the file its name. The directory is not synced yet.
    pub(crate) fn finish(mut self) -> io::Result<Part> {
        let contents = Contents {
            strings: &self.by_number,
            series: &self.series,
            labels: &self.labels,
            chunks: &self.chunks,
            base_ms: self.base_ms.unwrap_or(0),
        };
        let index = bytes_of(&contents).map_err(io::Error::other)?;
        let foot = Foot {
            tier: self.tier,
            through: self.through,
            number: self.number,
            index_offset: self.offset,
            index_len: index.len() as u64,
            index_crc: crc32fast::hash(&index),
            series: self.series.len() as u32,
            samples: self.samples,
            min_ms: self.min_ms,
            max_ms: self.max_ms,
        };
        self.out.write_all(&index)?;
        self.out.write_all(&foot.bytes())?;
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        let file = File::open(&self.unfinished)?;
        fs::rename(&self.unfinished, &self.path)?;
        self.finished = true;
        let bytes = self.offset + index.len() as u64 + super::FOOT_BYTES as u64;
        Ok(Part::of(self.path.clone(), file, foot, bytes))
    }
}

impl Drop for PartWriter {
    fn drop(&mut self) {
        if !self.finished {
            // What stays is removed when the store opens.
            let _ = fs::remove_file(&self.unfinished);
        }
    }
}
