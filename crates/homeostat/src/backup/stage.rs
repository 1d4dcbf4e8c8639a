//! The files of a backup, held still: hard links and copies in a directory of their own below the data directory.
//!
//! A link keeps what compaction and retention remove meanwhile, and costs no room until they do. Files that grow are
//! linked too: they count to the length they have once all are held, which is a state a crash could have left.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use gateway::access::SealingKey;

use super::{BackupError, Telemetry, remove_left_over};
use crate::client::token_file;
use crate::control_plane::EMERGENCY_FILE;

/// Begins the name of the directory; the process id follows.
pub(super) const PREFIX: &str = ".backup-";

/// Files that are held, removed when this is dropped.
pub(super) struct Stage {
    dir: PathBuf,
    /// Paths below the data directory with their lengths, sorted.
    pub(super) files: Vec<(PathBuf, u64)>,
}

impl Stage {
    /// Holds the files of the data directory `data`.
    pub(super) fn hold(data: &Path, telemetry: Telemetry) -> Result<Self, BackupError> {
        remove_left_over(data);
        let dir = data.join(format!("{PREFIX}{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&dir).map_err(BackupError::file("make", &dir))?;
        let mut stage = Self { dir, files: Vec::new() };
        if telemetry == Telemetry::Included {
            stage.whole("telemetry", data, |dir, take| telemetry::backup::each_file(dir, take))?;
            stage.whole("metrics", data, |dir, take| metrics::backup::each_file(dir, take))?;
        }
        if !store::backup::copy(data, &stage.dir.join("homeostat.db"))? {
            return Err(BackupError::NoData { dir: data.to_owned() });
        }
        let table = data.join(provider::backup::FILE);
        if let Some(text) = provider::backup::declared(data).map_err(BackupError::file("read", &table))? {
            let to = stage.dir.join(provider::backup::FILE);
            write_private(&to, &text).map_err(BackupError::file("write", &to))?;
        }
        for path in [token_file(data), data.join(EMERGENCY_FILE)] {
            stage.take_if_there(data, &path)?;
        }
        // After the database: what is sealed there was sealed with this.
        stage.take_if_there(data, &data.join(SealingKey::FILE))?;
        // Written under another name first, as `.part`, and never changed afterwards; trails that were given up lie still.
        stage.whole("drills", data, |dir, take| {
            each_below(dir, &mut |path| match path.extension() {
                Some(ending) if ending == "json" => take(path),
                _ => Ok(()),
            })
        })?;
        stage.whole("set-aside", data, |dir, take| each_below(dir, take))?;
        // What people did comes after what came of it: nothing is in the copy that is not recorded there, and the head that
        // the database has is not ahead of the trail.
        audit::backup::copy(data, &stage.dir)?;
        stage.measure()?;
        Ok(stage)
    }

    /// Where a file is held.
    pub(super) fn path(&self, file: &Path) -> PathBuf {
        self.dir.join(file)
    }

    /// Takes what `each` names of a part of the data directory, where there is one.
    fn whole(
        &self,
        part: &str,
        data: &Path,
        each: impl FnOnce(&Path, &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()>,
    ) -> Result<(), BackupError> {
        let dir = data.join(part);
        if !dir.exists() {
            return Ok(());
        }
        each(&dir, &mut |path| self.take(data, path)).map_err(BackupError::file("copy", &dir))
    }

    fn take_if_there(&self, data: &Path, path: &Path) -> Result<(), BackupError> {
        match self.take(data, path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(BackupError::file("copy", path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Holds a file, once more where it is held already.
    fn take(&self, data: &Path, path: &Path) -> io::Result<()> {
        let to = self.dir.join(path.strip_prefix(data).map_err(io::Error::other)?);
        if let Some(parent) = to.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        match fs::remove_file(&to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match fs::hard_link(path, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
            // File systems without links, and files of another owner.
            Err(_) => fs::copy(path, &to).map(drop),
            Ok(()) => Ok(()),
        }
    }

    /// Notes what is held, and how long it is by now.
    fn measure(&mut self) -> Result<(), BackupError> {
        let mut files = Vec::new();
        let listed = each_below(&self.dir, &mut |path| {
            let below = path.strip_prefix(&self.dir).map_err(io::Error::other)?;
            files.push((below.to_owned(), path.metadata()?.len()));
            Ok(())
        });
        listed.map_err(BackupError::file("list", &self.dir))?;
        files.sort();
        self.files = files;
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            provider::say!("{} could not be removed: {error}; remove it", self.dir.display());
        }
    }
}

/// Calls `take` with every plain file below a directory, by name.
fn each_below(dir: &Path, take: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let mut entries: Vec<fs::DirEntry> = dir.read_dir()?.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            each_below(&entry.path(), take)?;
        } else if kind.is_file() {
            take(&entry.path())?;
        }
    }
    Ok(())
}

/// Writes a new file that its owner alone may read, and the directories above it.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, bytes)
}
