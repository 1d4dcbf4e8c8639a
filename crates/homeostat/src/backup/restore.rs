//! Reading an archive into a directory: beside where it belongs, checked there as a whole, then put in its place by one
//! rename. Until then nothing of the target is touched.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use durable::Access;
use gateway::access::SealingKey;
use provider::ProcessProvider;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use sha2::{Digest, Sha256};
use store::HolderKind;

use super::archive::hex;
use super::manifest::{self, Manifest};
use super::{BackupError, remove_of_the_dead};
use crate::second_factors;

/// What to do where there is something already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Refuse.
    Refuse,
    /// Put the backup in its place, and remove it.
    Replace,
}

/// What a restore came to.
#[derive(Debug)]
pub(crate) struct Restored {
    /// What the archive held.
    pub(crate) manifest: Manifest,
    /// Users whose second factor cannot be checked with the key that is there now.
    pub(crate) unreadable: Vec<String>,
}

/// Restores the archive `file` as the data directory `dir`.
///
/// # Errors
/// [`BackupError`]; `dir` is as it was then.
pub(crate) fn restore(file: &Path, dir: &Path, found: Found) -> Result<Restored, BackupError> {
    // First of all: without a backup it does not matter what is in the way of one.
    let archive =
        input::open(file).map_err(|source| BackupError::NoArchive { path: file.to_owned(), source })?;
    let there = is_occupied(dir)?;
    if there && found == Found::Refuse {
        return Err(BackupError::NotEmpty { dir: dir.to_owned() });
    }
    let in_use = |by| BackupError::InUse { dir: dir.to_owned(), by };
    // Held until the end, so that nobody starts on what is about to go.
    let held = if there {
        if ProcessProvider::runs(dir) {
            return Err(in_use("a keeper"));
        }
        match store::hold(dir) {
            Err(store::StoreError::Locked { kind: HolderKind::ControlPlane, .. }) => {
                return Err(in_use("a control plane"));
            }
            held => Some(held?),
        }
    } else {
        None
    };
    let beside = Beside::make(dir)?;
    let manifest = unpack(file, archive, &beside.path)?;
    store::backup::check(&beside.path.join("homeostat.db"))?;
    if there {
        keep_key(dir, &beside.path)?;
    }
    let unreadable = second_factors::unreadable(&beside.path)?;
    beside.put(dir, there, durable::sync_dir)?;
    drop(held);
    Ok(Restored { manifest, unreadable })
}

/// Takes over the key of what is about to be removed where the archive has none, as those had that were written before keys
/// were in them: of the same server it opens what is sealed, and nowhere else there is another one.
fn keep_key(dir: &Path, to: &Path) -> Result<(), BackupError> {
    let (from, to) = (dir.join(SealingKey::FILE), to.join(SealingKey::FILE));
    if to.exists() {
        return Ok(());
    }
    let bytes = match fs::read(&from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read.map_err(BackupError::file("read", &from))?,
    };
    // What is no key would only keep the next start from making one.
    if bytes.len() != SealingKey::BYTES {
        return Ok(());
    }
    write(&mut bytes.as_slice(), &to, |error| BackupError::file("read", &from)(error)).map(drop)
}

/// Whether there is anything in a directory.
fn is_occupied(dir: &Path) -> Result<bool, BackupError> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(BackupError::file("use", dir)(error)),
        Ok(mut entries) => Ok(entries.next().is_some()),
    }
}

/// Unpacks an archive, which `file` names in errors, into an empty directory, and holds everything against its manifest.
fn unpack(file: &Path, archive: fs::File, to: &Path) -> Result<Manifest, BackupError> {
    let unreadable =
        |error: io::Error| BackupError::Damaged { file: file.to_owned(), why: error.to_string() };
    let damaged = |why: String| BackupError::Damaged { file: file.to_owned(), why };
    let mut archive = tar::Archive::new(zstd::Decoder::new(archive).map_err(unreadable)?);
    let mut entries = archive.entries().map_err(unreadable)?;
    let mut next = || entries.next().transpose().map_err(unreadable);
    let first = next()?.ok_or_else(|| damaged("it is empty".to_owned()))?;
    if first.path().map_err(unreadable)? != Path::new(manifest::NAME) {
        return Err(damaged("it does not begin with a manifest".to_owned()));
    }
    let mut text = Vec::new();
    first.take(manifest::BYTES_MAX).read_to_end(&mut text).map_err(unreadable)?;
    let manifest = Manifest::read(file, &text)?;
    for expected in &manifest.files {
        let mut entry =
            next()?.ok_or_else(|| damaged(format!("it ends before {}", expected.path.display())))?;
        let path = entry.path().map_err(unreadable)?.into_owned();
        if path != expected.path {
            let (is, wanted) = (path.display(), expected.path.display());
            return Err(damaged(format!("{is} stands where {wanted} should")));
        }
        let (sha256, bytes) = write(&mut entry, &to.join(&expected.path), unreadable)?;
        if (bytes, &sha256) != (expected.bytes, &expected.sha256) {
            return Err(damaged(format!("{} is not as it was written", path.display())));
        }
    }
    if let Some(more) = next()? {
        let path = more.path().map_err(unreadable)?.into_owned();
        return Err(damaged(format!("its manifest does not name {}", path.display())));
    }
    // To its end, where the checksum of the whole stands: it covers what lies between files as well.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(unreadable)?;
    Ok(manifest)
}

/// Writes a file to the disk; its checksum, and how long it is.
fn write(
    from: &mut impl Read,
    to: &Path,
    unreadable: impl Fn(io::Error) -> BackupError,
) -> Result<(String, u64), BackupError> {
    let failed = |error| BackupError::file("write", to)(error);
    if let Some(parent) = to.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
    }
    let target = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let mut target = target.map_err(failed)?;
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 256 << 10]);
    loop {
        let read = from.read(&mut buffer).map_err(&unreadable)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        target.write_all(&buffer[..read]).map_err(failed)?;
        bytes += read as u64;
    }
    target.sync_all().map_err(failed)?;
    Ok((hex(hash), bytes))
}

/// A directory beside the target, removed with whatever is in it when this is dropped.
struct Beside {
    path: PathBuf,
    parent: PathBuf,
    /// Its name where it is what was in the target, and has to stay.
    kept: PathBuf,
}

impl Beside {
    fn make(dir: &Path) -> Result<Self, BackupError> {
        let absolute = std::path::absolute(dir).map_err(BackupError::file("use", dir))?;
        let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            let source = io::Error::other("it has no directory above it");
            return Err(BackupError::File { what: "restore to", path: dir.to_owned(), source });
        };
        durable::make_dir(parent, Access::Everybody).map_err(BackupError::file("make", parent))?;
        let beside = |what: &str| {
            let mut beside = name.to_owned();
            beside.push(what);
            beside
        };
        if let Some(prefix) = beside(".restore-").to_str() {
            remove_of_the_dead(parent, prefix);
        }
        let process = std::process::id();
        let path = parent.join(beside(&format!(".restore-{process}")));
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(BackupError::file("make", &path))?;
        let kept = parent.join(beside(&format!(".replaced-{process}")));
        Ok(Self { path, parent: parent.to_owned(), kept })
    }

    /// Puts it where it belongs in one step; what was there is here then. It is removed once the disk says that it keeps that.
    fn put(
        mut self,
        dir: &Path,
        occupied: bool,
        sync: impl Fn(&Path) -> io::Result<()>,
    ) -> Result<(), BackupError> {
        sync_directories(&self.path).map_err(BackupError::file("write", &self.path))?;
        // An empty directory gives way to a rename, anything else has to be exchanged.
        let put = match occupied {
            true => renameat_with(CWD, &self.path, CWD, dir, RenameFlags::EXCHANGE),
            false => rustix::fs::rename(&self.path, dir),
        };
        put.map_err(io::Error::from)
            .map_err(BackupError::file("put the restored directory in the place of", dir))?;
        sync(&self.parent).map_err(|source| {
            // It stays, and under another name: for that one the next restore would take it for what a killed one left.
            let was = std::mem::take(&mut self.path);
            let renamed = occupied && fs::rename(&was, &self.kept).is_ok();
            let before = occupied.then(|| if renamed { self.kept.clone() } else { was });
            BackupError::Unconfirmed { dir: dir.to_owned(), before, source }
        })
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                provider::say!("{} could not be removed: {error}; remove it", self.path.display());
            }
            _ => {}
        }
    }
}

fn sync_directories(dir: &Path) -> io::Result<()> {
    for entry in dir.read_dir()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_directories(&entry.path())?;
        }
    }
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn directory(top: &TempDir) -> PathBuf {
        let dir = top.path().join("data");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("old"), "old").unwrap();
        dir
    }

    #[test]
    fn what_was_there_stays_until_the_disk_says_that_it_keeps_what_took_its_place() {
        let top = TempDir::new().unwrap();
        let dir = directory(&top);
        let beside = Beside::make(&dir).unwrap();
        fs::write(beside.path.join("new"), "new").unwrap();
        let told = beside.put(&dir, true, |_| Err(io::Error::other("input/output error"))).unwrap_err();
        let BackupError::Unconfirmed { before: Some(before), .. } = &told else { panic!("{told}") };
        assert!(told.to_string().contains("is restored, but"), "{told}");
        assert!(dir.join("new").exists() && before.join("old").exists());
        drop(Beside::make(&dir).unwrap());
        assert!(before.join("old").exists(), "nor does the next one remove it");
        let beside = Beside::make(&dir).unwrap();
        beside.put(&dir, true, durable::sync_dir).unwrap();
        assert_eq!(top.path().read_dir().unwrap().count(), 2, "what was replaced for good is gone");
    }

    #[test]
    fn what_a_killed_restore_left_goes_with_the_next_and_what_another_works_on_stays() {
        let top = TempDir::new().unwrap();
        let dir = directory(&top);
        // No process has such a number.
        let [dead, running] = [u32::MAX, std::process::id()].map(|process| {
            let left = top.path().join(format!("data.restore-{process}"));
            fs::create_dir(&left).unwrap();
            left
        });
        assert!(Beside::make(&dir).is_err(), "its own is there already");
        assert!(!dead.exists() && running.exists() && dir.join("old").exists());
    }
}
