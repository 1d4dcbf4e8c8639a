//! Files in volumes: how much of each class there is, removing old ones, rotating logs.
//!
//! In: a directory. Out: sizes, or fewer files. Symbolic links are never followed: a service must not be
//! able to point a cleanup at somebody else's files. All of this blocks and runs beside the event loop.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use domain::infrastructure::VolumeSpec;
use domain::{Bytes, FileClass, StepToken};
use flate2::Compression;
use flate2::write::GzEncoder;

/// Temporary files older than this count as old (SPEC H3, cleanup_temp_files).
const OLD: Duration = Duration::from_secs(7 * 86_400);
/// Files looked at in one walk; a directory with more is summed up in part rather than for minutes.
const WALK_MAX: usize = 100_000;
/// Rotated generations kept of each log.
const GENERATIONS: u32 = 5;

/// Size and use of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) size: Bytes,
    pub(crate) used: Bytes,
}

/// Bytes used by each class of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ClassSizes {
    pub(crate) temporary_old: Bytes,
    pub(crate) logs: Bytes,
    pub(crate) cache: Bytes,
    pub(crate) all: Bytes,
}

/// Asks the file system at `path`.
pub(crate) fn space(path: &Path) -> io::Result<Space> {
    let stat = rustix::fs::statvfs(path)?;
    let used = (stat.f_blocks - stat.f_bfree) * stat.f_frsize;
    Ok(Space { size: Bytes(stat.f_blocks * stat.f_frsize), used: Bytes(used) })
}

/// The directory of a class in a volume.
pub(crate) fn directory(root: &Path, volume: &VolumeSpec, class: FileClass) -> PathBuf {
    match class {
        FileClass::Temporary => root.join(&volume.temporary),
        FileClass::Logs => root.join(&volume.logs),
        FileClass::Cache => root.join(&volume.cache),
        FileClass::Data => root.to_owned(),
    }
}

/// Sums up the classes of a volume.
pub(crate) fn class_sizes(root: &Path, volume: &VolumeSpec) -> ClassSizes {
    let sum = |class, old: Duration| {
        let found = files(&directory(root, volume, class), old);
        Bytes(found.iter().map(|(_, bytes)| bytes).sum())
    };
    ClassSizes {
        temporary_old: sum(FileClass::Temporary, OLD),
        logs: sum(FileClass::Logs, Duration::ZERO),
        cache: sum(FileClass::Cache, Duration::ZERO),
        all: sum(FileClass::Data, Duration::ZERO),
    }
}

/// Every regular file below `dir` that was not modified for `age`, with the bytes it takes.
pub(crate) fn files(dir: &Path, age: Duration) -> Vec<(PathBuf, u64)> {
    use std::os::unix::fs::MetadataExt;
    #[expect(clippy::disallowed_methods, reason = "file times are of the wall clock")]
    let now = SystemTime::now();
    let mut open = vec![dir.to_owned()];
    let mut found = Vec::new();
    while let Some(dir) = open.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries.filter_map(Result::ok) {
            let Ok(meta) = entry.metadata() else { continue };
            let old = || meta.modified().is_ok_and(|at| now.duration_since(at).unwrap_or_default() >= age);
            if meta.is_dir() {
                open.push(entry.path());
            } else if meta.is_file() && old() {
                found.push((entry.path(), meta.blocks() * 512));
            }
            if found.len() >= WALK_MAX {
                return found;
            }
        }
    }
    found
}

/// Removes the files below `dir` that were not modified for `age`; how many.
pub(crate) fn remove_old(dir: &Path, age: Duration) -> io::Result<usize> {
    let found = files(dir, age);
    for (path, _) in &found {
        remove_if_there(path)?;
    }
    Ok(found.len())
}

/// How the files of every disk fault begin.
pub(crate) const FILLER: &str = "homeostat-fill-";

/// How the files of one disk fault begin; nothing else is removed when it is taken back.
pub(crate) fn filler_prefix(token: StepToken) -> String {
    format!("{FILLER}{token}-")
}

/// Removes what a disk fault wrote, rotated or not; how many files.
pub(crate) fn remove_filler(dir: &Path, prefix: &str) -> io::Result<usize> {
    let ours = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
    let found: Vec<_> = files(dir, Duration::ZERO).into_iter().filter(|(path, _)| ours(path)).collect();
    for (path, _) in &found {
        remove_if_there(path)?;
    }
    Ok(found.len())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Rotates every `*.log` directly in `dir`; how many.
pub(crate) fn rotate_all(dir: &Path) -> io::Result<usize> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut rotated = 0;
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        let is_log = path.extension().is_some_and(|end| end == "log");
        if is_log && entry.metadata().is_ok_and(|meta| meta.is_file() && meta.len() > 0) {
            rotate(&path)?;
            rotated += 1;
        }
    }
    Ok(rotated)
}

/// Moves the content of a log into `NAME.1.gz` and empties the log. Services append, so they go on in the
/// emptied file without being told; a line written between the last read and the emptying is lost.
///
/// What was compressed is given back to the file system chunk by chunk, so that a full volume can be
/// rotated: the compressed chunk always fits where the plain one was.
pub(crate) fn rotate(log: &Path) -> io::Result<()> {
    let generation = |n: u32| PathBuf::from(format!("{}.{n}.gz", log.display()));
    let fresh = PathBuf::from(format!("{}.rotating", log.display()));
    let source = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(log)?;
    let mut packed = GzEncoder::new(Spill::create(&fresh)?, Compression::fast());
    let mut chunk = vec![0; 256 * 1024];
    let mut at = 0;
    loop {
        let read = source.read_at(&mut chunk, at)?;
        if read == 0 {
            break;
        }
        packed.write_all(&chunk[..read])?;
        let hole = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        // A file system without holes keeps the space until the end, as any rotation would.
        let _ = rustix::fs::fallocate(&source, hole, at, read as u64);
        at += read as u64;
        packed.get_mut().settle()?;
    }
    packed.finish()?.finish()?;
    for n in (1..GENERATIONS).rev() {
        if generation(n).exists() {
            fs::rename(generation(n), generation(n + 1))?;
        }
    }
    fs::rename(&fresh, generation(1))?;
    source.set_len(0)
}

/// A file whose writes wait in memory until there is room for them.
struct Spill {
    file: File,
    waiting: Vec<u8>,
}

impl Spill {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::create(path)?, waiting: Vec::new() })
    }

    fn settle(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            match self.file.write(&self.waiting) {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.settle()?;
        if self.waiting.is_empty() { self.file.sync_all() } else { Err(io::ErrorKind::StorageFull.into()) }
    }
}

impl Write for Spill {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The last `lines` lines of a file, reading from its end.
pub(crate) fn tail(path: &Path, lines: usize) -> io::Result<Vec<String>> {
    let file = File::open(path)?;
    let mut start = file.metadata()?.len();
    let mut text = Vec::new();
    while start > 0 && text.iter().filter(|byte| **byte == b'\n').count() <= lines {
        let from = start.saturating_sub(64 * 1024);
        let mut chunk = Vec::new();
        let mut at = &file;
        io::Seek::seek(&mut at, io::SeekFrom::Start(from))?;
        at.take(start - from).read_to_end(&mut chunk)?;
        chunk.append(&mut text);
        (text, start) = (chunk, from);
    }
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    Ok(all[all.len().saturating_sub(lines)..].iter().map(|line| (*line).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotated_log_is_empty_keeps_its_file_and_can_be_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("a.log");
        let text = "one line of many\n".repeat(50_000);
        fs::write(&log, &text).unwrap();
        let mut service = OpenOptions::new().append(true).open(&log).unwrap();
        assert_eq!(rotate_all(dir.path()).unwrap(), 1);
        service.write_all(b"next\n").unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "next\n");
        let mut back = String::new();
        let packed = File::open(dir.path().join("a.log.1.gz")).unwrap();
        flate2::read::GzDecoder::new(packed).read_to_string(&mut back).unwrap();
        assert_eq!(back, text);
    }

    #[test]
    fn only_old_files_are_removed_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        #[expect(clippy::disallowed_methods, reason = "file times are of the wall clock")]
        let old = SystemTime::now() - Duration::from_secs(8 * 86_400);
        for path in [dir.path().join("old"), outside.path().join("theirs")] {
            File::create(&path).unwrap().set_modified(old).unwrap();
        }
        fs::write(dir.path().join("new"), "x").unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).unwrap();
        assert_eq!(remove_old(dir.path(), OLD).unwrap(), 1);
        assert!(dir.path().join("new").exists() && outside.path().join("theirs").exists());
    }

    #[test]
    fn the_tail_of_a_long_file_is_its_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let text: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
        fs::write(&path, text).unwrap();
        assert_eq!(tail(&path, 2).unwrap(), ["line 19998", "line 19999"]);
        assert_eq!(tail(&path, 100_000).unwrap().len(), 20_000);
    }
}
