//! The catalogue: which parts there are, and through which segment of the log they reach.
//!
//! ```text
//! catalogue:  "HMSC" │ format u32 │ crc of the rest u32 │ log through │ next number │ floors │ parts │ metadata
//! ```
//!
//! A file replaced as a whole, so that several parts come and go at once: the tiers of one flush, or a merged part
//! and those it was made of. Parts that it does not name are left-overs of a crash. Should it be damaged, which no crash
//! does, it is set aside, every sound part is taken, and the log is read from its beginning.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use durable::Access;
use promql::{Labels, Samples, Value};

use crate::batch::Metadata;
use crate::bytes::{Damaged, Reader, put_signed, put_varint};
use crate::config::{OpenError, failed};
use crate::head::OnDisk;
use crate::lock;
use crate::part::{Between, Columns, IndexCache, Part, PartError, UNFINISHED};
use crate::tier::Tier;
use crate::wal::{put_metadata, read_metadata};

const MAGIC: [u8; 4] = *b"HMSC";
pub(crate) const FORMAT: u32 = 1;
pub(crate) const NAME: &str = "catalogue";

/// What is put behind the name of a file that cannot be read.
const SET_ASIDE: &str = "damaged";

/// A file that could not be read, and was set aside: it has `.damaged` behind its name from then on, is not looked at
/// again, and not removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedFile {
    /// By the name it had.
    pub path: PathBuf,
    /// What was wrong.
    pub why: String,
}

/// What there is at one time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    /// By tier, those with older samples first.
    pub(crate) parts: [Vec<Arc<Part>>; 3],
    /// By tier, milliseconds: samples up to this may be gone; `i64::MIN` where none are.
    pub(crate) floors: [i64; 3],
    /// The last segment of the log whose samples are in parts; 0 where none are.
    pub(crate) through: u64,
}

impl Live {
    /// All parts.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Arc<Part>> {
        self.parts.iter().flatten()
    }

    /// Parts that answer for a tier: its own, and finer ones beside which none was written.
    pub(crate) fn answering(&self, tier: Tier) -> impl Iterator<Item = &Arc<Part>> {
        self.parts().filter(move |part| part.foot.tier <= tier && part.foot.through >= tier)
    }

    /// Adds a part.
    pub(crate) fn add(&mut self, part: Arc<Part>) {
        let parts = &mut self.parts[part.foot.tier.place()];
        parts.push(part);
        parts.sort_by_key(|part| (part.foot.min_ms, part.foot.number));
    }

    /// Takes parts out.
    pub(crate) fn remove(&mut self, gone: &[Arc<Part>]) {
        let is_gone = |part: &Arc<Part>| gone.iter().any(|gone| gone.foot.number == part.foot.number);
        self.parts.iter_mut().for_each(|parts| parts.retain(|part| !is_gone(part)));
    }
}

/// Whether a change survives a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Synced {
    Yes,
    /// It is made, but the disk did not say that it keeps it: what it replaces is not to be removed yet.
    Unknown,
}

/// Parts that were written and are in no catalogue yet. Those that do not come into one are removed: a full disk would not
/// become emptier else.
#[derive(Debug, Default)]
pub(crate) struct Written {
    parts: Vec<Arc<Part>>,
}

impl Written {
    pub(crate) fn add(&mut self, part: Part) {
        self.parts.push(Arc::new(part));
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.parts.append(&mut other.parts);
    }

    fn claim(mut self) {
        self.parts.clear();
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        for part in &self.parts {
            let _ = fs::remove_file(&part.path);
        }
    }
}

/// Which parts there are.
#[derive(Debug)]
pub(crate) struct Catalogue {
    dir: PathBuf,
    /// Where parts lie.
    pub(crate) parts_dir: PathBuf,
    live: RwLock<Arc<Live>>,
    /// Held while it changes.
    changing: Mutex<()>,
    next_number: AtomicU64,
    /// The newest sample of the raw tier.
    horizon_ms: AtomicI64,
    pub(crate) indexes: IndexCache,
    pub(crate) damaged: Mutex<Vec<DamagedFile>>,
    /// What is known of metrics, by name.
    pub(crate) metadata: RwLock<BTreeMap<String, Metadata>>,
}

impl Catalogue {
    /// Opens what is in a directory. What was set aside is in `damaged`, also where it fails.
    pub(crate) fn open(
        dir: &Path,
        index_bytes_max: u64,
        damaged: &mut Vec<DamagedFile>,
    ) -> Result<Self, OpenError> {
        let parts_dir = dir.join("parts");
        // The names beside it are on the disk then, too: the catalogue's, before anything goes that it does not name. The process
        // that put it in its place may have been killed, or not been told that the disk keeps it.
        durable::make_dir(&parts_dir, Access::Owner).map_err(failed("making", &parts_dir))?;
        let said = read(&dir.join(NAME), damaged)?;
        let mut live = Live { floors: [i64::MIN; 3], ..Live::default() };
        let mut next_number = 1;
        if let Some(said) = &said {
            (live.floors, live.through, next_number) = (said.floors, said.through, said.next_number);
        }
        for entry in fs::read_dir(&parts_dir).map_err(failed("listing", &parts_dir))? {
            let path = entry.map_err(failed("listing", &parts_dir))?.path();
            let Some((number, tier)) = named(&path) else {
                if path.extension().is_some_and(|ending| ending == UNFINISHED) {
                    fs::remove_file(&path).map_err(failed("removing", &path))?;
                }
                continue;
            };
            next_number = next_number.max(number + 1);
            if said.as_ref().is_some_and(|said| !said.parts.contains(&(tier, number))) {
                fs::remove_file(&path).map_err(failed("removing", &path))?;
                continue;
            }
            match Part::open(&path) {
                Ok(part) => live.add(Arc::new(part)),
                Err(PartError::Newer { path, found }) => {
                    return Err(OpenError::Newer { path, found, known: crate::part::FORMAT });
                }
                Err(PartError::Io { path, source }) => return Err(failed("reading", &path)(source)),
                Err(error @ PartError::Damaged { .. }) => {
                    set_aside(&path, error.to_string(), damaged)?;
                }
            }
        }
        let mut damaged = damaged.clone();
        if let Some(said) = &said {
            for (tier, number) in &said.parts {
                let there = live.parts[tier.place()].iter().any(|part| part.foot.number == *number);
                let path = part_path(&parts_dir, *number, *tier);
                if !there && !damaged.iter().any(|file| file.path == path) {
                    damaged.push(DamagedFile { path, why: "it is not there".to_owned() });
                }
            }
        }
        Ok(Self {
            dir: dir.to_owned(),
            parts_dir,
            horizon_ms: AtomicI64::new(horizon_ms(&live)),
            live: RwLock::new(Arc::new(live)),
            changing: Mutex::default(),
            next_number: AtomicU64::new(next_number),
            indexes: IndexCache::new(index_bytes_max),
            damaged: Mutex::new(damaged),
            metadata: RwLock::new(said.map(|said| said.metadata).unwrap_or_default()),
        })
    }

    /// What there is now.
    pub(crate) fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A number for the next part; none is given twice.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes parts out, adds others, and changes what else there is: on the disk first, then for queries. Where the disk
    /// does not take it everything is as before, and the new parts are removed.
    pub(crate) fn replace(
        &self,
        gone: &[Arc<Part>],
        written: Written,
        change: impl FnOnce(&mut Live),
    ) -> io::Result<Synced> {
        let _changing = lock(&self.changing);
        let mut live = Live::clone(&self.live());
        live.remove(gone);
        written.parts.iter().for_each(|part| live.add(Arc::clone(part)));
        change(&mut live);
        File::open(&self.parts_dir)?.sync_all()?;
        let synced = self.write(&live)?;
        written.claim();
        self.horizon_ms.store(horizon_ms(&live), Ordering::Release);
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
        for part in gone {
            self.indexes.forget(part.foot.number);
            if synced == Synced::Yes {
                // What stays is a left-over that the next opening removes.
                let _ = fs::remove_file(&part.path);
            }
        }
        Ok(synced)
    }

    /// Takes out a part that turned out to be damaged, and sets its file aside.
    pub(crate) fn set_aside(&self, part: &Arc<Part>, why: String) -> io::Result<()> {
        // First the file: its name is no longer one of a part's, whatever comes of the rest.
        fs::rename(&part.path, aside(&part.path))?;
        lock(&self.damaged).push(DamagedFile { path: part.path.clone(), why });
        self.replace(std::slice::from_ref(part), Written::default(), |_| {}).map(|_| ())
    }

    fn write(&self, live: &Live) -> io::Result<Synced> {
        let mut body = Vec::new();
        put_varint(&mut body, live.through);
        put_varint(&mut body, self.next_number.load(Ordering::Relaxed));
        live.floors.iter().for_each(|floor_ms| put_signed(&mut body, *floor_ms));
        put_varint(&mut body, live.parts().count() as u64);
        for part in live.parts() {
            body.push(part.foot.tier.place() as u8);
            put_varint(&mut body, part.foot.number);
        }
        {
            let metadata = self.metadata.read().unwrap_or_else(PoisonError::into_inner);
            put_varint(&mut body, metadata.len() as u64);
            metadata.iter().for_each(|(name, metadata)| put_metadata(&mut body, name, metadata));
        }
        let (path, unfinished) = (self.dir.join(NAME), self.dir.join(format!("{NAME}.{UNFINISHED}")));
        let mut file = File::create(&unfinished)?;
        file.write_all(&MAGIC)?;
        file.write_all(&FORMAT.to_le_bytes())?;
        file.write_all(&crc32fast::hash(&body).to_le_bytes())?;
        file.write_all(&body)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        let synced = File::open(&self.dir).and_then(|dir| dir.sync_all());
        Ok(if synced.is_ok() { Synced::Yes } else { Synced::Unknown })
    }

    /// Samples of a series in the raw tier at a time.
    fn raw_at(&self, labels: &Labels, at_ms: i64) -> Result<Option<Value>, PartError> {
        let within = Between { from_ms: at_ms, to_ms: at_ms };
        for part in self.live().parts[Tier::Raw.place()].iter().filter(|part| part.overlaps(at_ms, at_ms)) {
            let index = self.indexes.get(part)?;
            let damaged = |_| part.damaged("its index makes no sense");
            let Some(id) = index.find(labels).map_err(damaged)? else { continue };
            let mut columns = Columns::of(part);
            let mut found = Samples::default();
            for chunk in index.chunks(id).map_err(damaged)? {
                if chunk.min_ms <= at_ms && chunk.max_ms >= at_ms {
                    columns.samples(&chunk, within, &mut found)?;
                }
            }
            if let Some(sample) = found.to_vec().pop() {
                return Ok(Some(sample.value));
            }
        }
        Ok(None)
    }

    fn raw_newest_ms(&self, labels: &Labels) -> Result<i64, PartError> {
        let mut newest_ms = i64::MIN;
        for part in self.live().parts[Tier::Raw.place()].iter().rev() {
            if part.foot.max_ms <= newest_ms {
                continue;
            }
            let index = self.indexes.get(part)?;
            let damaged = |_| part.damaged("its index makes no sense");
            if let Some(id) = index.find(labels).map_err(damaged)? {
                let chunks = index.chunks(id).map_err(damaged)?;
                newest_ms = chunks.iter().map(|chunk| chunk.max_ms).fold(newest_ms, i64::max);
            }
        }
        Ok(newest_ms)
    }
}

/// What cannot be read is as if it were not there: a sample is rather taken twice than refused, and of two of one time
/// a query shows the first.
impl OnDisk for Catalogue {
    fn horizon_ms(&self) -> i64 {
        self.horizon_ms.load(Ordering::Acquire)
    }

    fn newest_ms(&self, labels: &Labels) -> i64 {
        self.raw_newest_ms(labels).unwrap_or(i64::MIN)
    }

    fn at(&self, labels: &Labels, at_ms: i64) -> Option<Value> {
        self.raw_at(labels, at_ms).unwrap_or_default()
    }
}

fn horizon_ms(live: &Live) -> i64 {
    live.parts[Tier::Raw.place()].iter().map(|part| part.foot.max_ms).max().unwrap_or(i64::MIN)
}

fn part_path(dir: &Path, number: u64, tier: Tier) -> PathBuf {
    dir.join(format!("{number:020}.{}", tier.name()))
}

/// The parts in a directory, whether a catalogue names them or not.
pub(crate) fn part_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in dir.read_dir()? {
        let path = entry?.path();
        if named(&path).is_some() {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// The number and tier in a file's name.
fn named(path: &Path) -> Option<(u64, Tier)> {
    let ending = path.extension()?.to_str()?;
    let tier = Tier::ALL.into_iter().find(|tier| tier.name() == ending)?;
    Some((path.file_stem()?.to_str()?.parse().ok()?, tier))
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{SET_ASIDE}"));
    name.into()
}

fn set_aside(path: &Path, why: String, damaged: &mut Vec<DamagedFile>) -> Result<(), OpenError> {
    fs::rename(path, aside(path)).map_err(failed("setting aside", path))?;
    damaged.push(DamagedFile { path: path.to_owned(), why });
    Ok(())
}

/// What a catalogue says.
#[derive(Debug)]
struct Said {
    through: u64,
    next_number: u64,
    floors: [i64; 3],
    parts: Vec<(Tier, u64)>,
    metadata: BTreeMap<String, Metadata>,
}

/// Reads the catalogue; none where there is none yet, or none that can be read.
fn read(path: &Path, damaged: &mut Vec<DamagedFile>) -> Result<Option<Said>, OpenError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("reading", path)(error)),
    };
    match said(&bytes) {
        Ok(Ok(said)) => Ok(Some(said)),
        Ok(Err(found)) => Err(OpenError::Newer { path: path.to_owned(), found, known: FORMAT }),
        Err(Damaged) => {
            set_aside(path, "it does not have the checksum it had".to_owned(), damaged)?;
            Ok(None)
        }
    }
}

/// What the bytes say, or by which later format they were written.
fn said(bytes: &[u8]) -> Result<Result<Said, u32>, Damaged> {
    let mut reader = Reader::new(bytes);
    if reader.fixed::<4>()? != MAGIC {
        return Err(Damaged);
    }
    let format = reader.u32()?;
    if format > FORMAT {
        return Ok(Err(format));
    }
    let crc = reader.u32()?;
    if crc32fast::hash(&bytes[12..]) != crc {
        return Err(Damaged);
    }
    let (through, next_number) = (reader.varint()?, reader.varint()?);
    let floors = [reader.signed()?, reader.signed()?, reader.signed()?];
    let mut parts = Vec::new();
    for _ in 0..reader.varint()? {
        let tier = *Tier::ALL.get(usize::from(reader.byte()?)).ok_or(Damaged)?;
        parts.push((tier, reader.varint()?));
    }
    let mut metadata = BTreeMap::new();
    for _ in 0..reader.varint()? {
        let (name, known) = read_metadata(&mut reader)?;
        metadata.insert(name, known);
    }
    Ok(Ok(Said { through, next_number, floors, parts, metadata }))
}
