//! Reports of drills that are kept: a file of JSON each, in one directory, named by when and with which seed.
//!
//! In: a [`Report`]. Out: the same again later, with its name; and a list of all in short, newest first. What cannot be
//! read is told beside the others and hides none of them. What a report says in short is remembered for as long as its
//! file is the same, so that a list reads no file twice.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use durable::Access;

use super::report::Report;

/// Reports that are listed at most, the newest; a file of a full drill has about 300 KB.
pub const LISTED_MAX: usize = 1000;

/// Where reports are kept. Clones remember together.
#[derive(Debug, Clone)]
pub struct Archive {
    dir: PathBuf,
    remembered: Arc<Mutex<BTreeMap<String, Remembered>>>,
}

/// A report in short, with its name in the archive.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptDrill {
    /// Such as `20261122T070712Z-41`.
    pub id: String,
    /// When its first part began, RFC 3339 in UTC.
    pub started_at: String,
    /// The version of Homeostat that was drilled.
    pub homeostat: String,
    /// The seed of the order of runs and of the load.
    pub seed: u64,
    /// Runs that were made.
    pub runs: usize,
    /// Whether everything came out as expected.
    pub passed: bool,
    /// How it came out, in one sentence.
    pub sentence: String,
    /// The share that was healed of the runs expected to be, from 0 to 1.
    pub healed_ratio: Option<f64>,
    /// The share of runs whose true cause was ranked first, from 0 to 1.
    pub cause_first_ratio: Option<f64>,
    /// Until detection, milliseconds, 95 % of the runs.
    pub detected_p95_ms: Option<f64>,
    /// Until the repair was verified, milliseconds, 95 % of the runs.
    pub verified_p95_ms: Option<f64>,
    /// Issues that were opened while nothing was injected.
    pub false_alarms: u64,
}

impl KeptDrill {
    /// What the list shows of the report kept as `id`.
    pub fn of(id: &str, report: &Report) -> Self {
        Self {
            id: id.to_owned(),
            started_at: report.started_at.clone(),
            homeostat: report.homeostat.clone(),
            seed: report.seed,
            runs: report.runs.len(),
            passed: report.verdict().passed(),
            sentence: report.sentence(),
            healed_ratio: report.summary.healed_ratio,
            cause_first_ratio: report.summary.cause_first_ratio,
            detected_p95_ms: report.summary.detected_ms.p95,
            verified_p95_ms: report.summary.verified_ms.p95,
            false_alarms: report.summary.false_alarms,
        }
    }
}

/// What lies in an archive.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KeptDrills {
    /// Newest first, at most [`LISTED_MAX`].
    pub drills: Vec<KeptDrill>,
    /// What cannot be read, with why: one sentence each.
    pub unreadable: Vec<String>,
}

/// What tells one content of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: (i64, i64),
    /// A file that another was renamed to may have the same size and time.
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            inode: metadata.ino(),
        }
    }
}

/// The report that a file held when it had this stamp. What could not be read is tried again each time.
#[derive(Debug)]
struct Remembered {
    stamp: Stamp,
    drill: KeptDrill,
}

impl Archive {
    /// That of a data directory: `drills` in it.
    pub fn of_data_directory(dir: &Path) -> Self {
        Self { dir: dir.join("drills"), remembered: Arc::default() }
    }

    /// Keeps a report, and says in which file. A report of the same drill, made in parts, is replaced by the whole.
    ///
    /// # Errors
    ///
    /// What the system says where the directory or the file cannot be written; what was kept before is as it was then.
    pub fn keep(&self, report: &Report) -> io::Result<PathBuf> {
        durable::make_dir(&self.dir, Access::Owner)?;
        let file = self.file(&id(report));
        durable::replace(&file, report.json().as_bytes(), Access::Owner)?;
        Ok(file)
    }

    /// What is kept, in short; nothing where there is no such directory. Files that are as they were when they were last
    /// listed are not read again.
    ///
    /// # Errors
    ///
    /// What the system says where the directory is there and cannot be read.
    pub fn list(&self) -> io::Result<KeptDrills> {
        let entries = match std::fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(KeptDrills::default()),
            entries => entries?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json"));
            ids.extend(id.filter(|id| is_id(id)).map(str::to_owned));
        }
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.truncate(LISTED_MAX);
        let mut remembered = self.remembered();
        // What was removed is forgotten.
        let mut before = std::mem::take(&mut *remembered);
        let mut kept = KeptDrills::default();
        for id in ids {
            match self.look(&id, before.remove(&id)) {
                Ok(Some(one)) => {
                    kept.drills.push(one.drill.clone());
                    remembered.insert(id, one);
                }
                // It was removed since.
                Ok(None) => {}
                Err(error) => {
                    kept.unreadable.push(format!("{} cannot be read: {error}", self.file(&id).display()))
                }
            }
        }
        Ok(kept)
    }

    /// What a file says: what is remembered of it, where it is the same. `None` where there is none.
    fn look(&self, id: &str, before: Option<Remembered>) -> io::Result<Option<Remembered>> {
        // The stamp is from before the reading: what is written meanwhile has another one the next time.
        let stamp = match std::fs::metadata(self.file(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => Stamp::of(&metadata?),
        };
        if let Some(same) = before.filter(|before| before.stamp == stamp) {
            return Ok(Some(same));
        }
        let report = self.read(id)?;
        Ok(report.map(|report| Remembered { stamp, drill: KeptDrill::of(id, &report) }))
    }

    /// One report; `None` where there is none of this name.
    ///
    /// # Errors
    ///
    /// Where the file is there and is no report.
    pub fn read(&self, id: &str) -> io::Result<Option<Report>> {
        if !is_id(id) {
            return Ok(None);
        }
        match std::fs::read(self.file(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            bytes => serde_json::from_slice(&bytes?).map(Some).map_err(io::Error::from),
        }
    }

    fn file(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.json"))
    }

    fn remembered(&self) -> MutexGuard<'_, BTreeMap<String, Remembered>> {
        // Whoever panicked left nothing half done that a stamp does not tell.
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When it began, to the second, and the seed: the parts of one drill share both.
fn id(report: &Report) -> String {
    let seconds = report.started_at.split(['.', 'Z']).next().unwrap_or_default();
    let digits: String = seconds.chars().filter(|one| one.is_ascii_digit() || *one == 'T').collect();
    format!("{digits}Z-{}", report.seed)
}

/// Whether a text can be the name of a report: it is part of a path.
fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::report::sample::{crash, hang, report};
    use super::*;

    #[test]
    fn what_is_kept_comes_back_newest_first_and_a_broken_file_hides_none() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::of_data_directory(dir.path());
        assert_eq!(archive.list().unwrap(), KeptDrills::default());
        let first = report(vec![hang(0)]);
        let later =
            Report { started_at: "2026-12-01T03:00:00.5Z".to_owned(), ..report(vec![crash(0), hang(1)]) };
        archive.keep(&first).unwrap();
        let file = archive.keep(&later).unwrap();
        assert!(file.ends_with(format!("20261201T030000Z-{}.json", later.seed)), "{file:?}");
        std::fs::write(dir.path().join("drills/20261130T000000Z-1.json"), "{").unwrap();
        let kept = archive.list().unwrap();
        let began: Vec<(&str, usize)> =
            kept.drills.iter().map(|drill| (drill.started_at.as_str(), drill.runs)).collect();
        assert_eq!(began, [(later.started_at.as_str(), 2), (first.started_at.as_str(), 1)]);
        assert!(
            kept.unreadable.len() == 1 && kept.unreadable[0].contains("20261130T000000Z-1.json"),
            "{kept:?}"
        );
        assert_eq!(archive.read(&kept.drills[1].id).unwrap(), Some(first));
    }

    #[test]
    fn a_report_that_changes_is_torn_or_is_gone_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::of_data_directory(dir.path());
        let part = report(vec![hang(0)]);
        let file = archive.keep(&part).unwrap();
        let runs = || archive.list().unwrap().drills.iter().map(|drill| drill.runs).collect::<Vec<_>>();
        assert_eq!((runs(), runs()), (vec![1], vec![1]));
        let whole = report(vec![hang(0), crash(1)]);
        assert_eq!(archive.keep(&whole).unwrap(), file, "parts of one drill share a name");
        assert_eq!(runs(), [2]);
        // Cut off where it stands, as by a full disk.
        let text = std::fs::read(&file).unwrap();
        std::fs::write(&file, &text[..text.len() / 2]).unwrap();
        let torn = archive.list().unwrap();
        assert!(torn.drills.is_empty() && torn.unreadable[0].contains("cannot be read"), "{torn:?}");
        assert_eq!(archive.list().unwrap(), torn);
        std::fs::write(&file, text).unwrap();
        assert_eq!(runs(), [2]);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(archive.list().unwrap(), KeptDrills::default());
    }

    #[test]
    fn a_file_that_is_as_it_was_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::of_data_directory(dir.path());
        let file = archive.keep(&report(vec![hang(0)])).unwrap();
        let kept = archive.list().unwrap();
        // Another content behind the same name, size and time: only one who reads it would know.
        let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
        let bytes = std::fs::metadata(&file).unwrap().len();
        let writing = std::fs::File::options().write(true).open(&file).unwrap();
        (&writing).write_all(&vec![b' '; usize::try_from(bytes).unwrap()]).unwrap();
        writing.set_modified(modified).unwrap();
        assert_eq!(archive.clone().list().unwrap(), kept);
        let another = Archive::of_data_directory(dir.path());
        assert_eq!(another.list().unwrap().unreadable.len(), 1);
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("secret.json"), "{}").unwrap();
        let archive = Archive::of_data_directory(dir.path());
        std::fs::create_dir(dir.path().join("drills")).unwrap();
        assert!(archive.read("../secret").unwrap().is_none());
        assert!(archive.read("20261130T000000Z-1").unwrap().is_none());
    }
}
