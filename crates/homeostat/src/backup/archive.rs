//! Writing an archive: what is held still, as tar in zstd, the manifest first.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use domain::Clock;
use sha2::{Digest, Sha256};

use super::manifest::{self, File, Manifest};
use super::stage::Stage;
use super::{BackupError, Telemetry};
use crate::unfinished::{MODE, Unfinished};

/// Zstandard's level: spans and series are compressed already, the rest is small.
const LEVEL: i32 = 3;

/// Writes a backup of the data directory `data` to `file`, which must not be there; it stands there when it is whole and
/// on the disk.
///
/// # Errors
/// [`BackupError`]; there is no `file` then.
pub(crate) fn write(
    data: &Path,
    file: &Path,
    telemetry: Telemetry,
    clock: &dyn Clock,
) -> Result<Manifest, BackupError> {
    if file.symlink_metadata().is_ok() {
        return Err(BackupError::Exists { path: file.to_owned() });
    }
    if let Some(parent) = file.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists()) {
        return Err(BackupError::File {
            what: "write to the directory",
            path: parent.to_owned(),
            source: io::ErrorKind::NotFound.into(),
        });
    }
    if !data.is_dir() {
        return Err(BackupError::NoData { dir: data.to_owned() });
    }
    let mut manifest = Manifest::new(clock.now().rfc3339(), telemetry);
    let stage = Stage::hold(data, telemetry)?;
    for (path, bytes) in &stage.files {
        let (sha256, read) = checksum(&stage.path(path), *bytes)?;
        if read != *bytes {
            return Err(BackupError::Changed { path: data.join(path) });
        }
        manifest.files.push(File { path: path.clone(), bytes: *bytes, sha256 });
    }
    let unfinished = Unfinished::beside(file).map_err(BackupError::file("write", file))?;
    if let Some(path) = fill(&unfinished, &manifest, &stage)? {
        return Err(BackupError::Changed { path: data.join(path) });
    }
    unfinished.finish(file).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists { path: file.to_owned() },
        _ => BackupError::file("write", file)(error),
    })?;
    Ok(manifest)
}

/// SHA-256 of the first bytes of a file, and how many there were.
fn checksum(path: &Path, bytes: u64) -> Result<(String, u64), BackupError> {
    let file = fs::File::open(path).map_err(BackupError::file("read", path))?;
    let mut from = Hashing { from: file.take(bytes), hash: Sha256::new() };
    let read = io::copy(&mut from, &mut io::sink()).map_err(BackupError::file("read", path))?;
    Ok((hex(from.hash), read))
}

/// A checksum as text.
pub(super) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Adds up what is read through it.
struct Hashing<R> {
    from: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

/// Writes an archive to the disk. `Some`: a file that is not what it was when its checksum was taken.
fn fill(unfinished: &Unfinished, manifest: &Manifest, stage: &Stage) -> Result<Option<PathBuf>, BackupError> {
    let failed = |error| BackupError::file("write", unfinished.path())(error);
    let target = unfinished.target().map_err(failed)?;
    let mut packed = zstd::Encoder::new(io::BufWriter::new(target), LEVEL).map_err(failed)?;
    packed.include_checksum(true).map_err(failed)?;
    let mut tar = tar::Builder::new(packed);
    let text = serde_json::to_vec_pretty(manifest).map_err(io::Error::other).map_err(failed)?;
    tar.append_data(&mut header(text.len() as u64), manifest::NAME, text.as_slice()).map_err(failed)?;
    for file in &manifest.files {
        let path = stage.path(&file.path);
        let from = fs::File::open(&path).map_err(BackupError::file("read", &path))?;
        let mut from = Hashing { from: from.take(file.bytes), hash: Sha256::new() };
        tar.append_data(&mut header(file.bytes), &file.path, &mut from).map_err(failed)?;
        if hex(from.hash) != file.sha256 {
            return Ok(Some(file.path.clone()));
        }
    }
    let mut buffered = tar.into_inner().and_then(|packed| packed.finish()).map_err(failed)?;
    buffered.flush().and_then(|()| buffered.get_ref().sync_all()).map_err(failed)?;
    Ok(None)
}

fn header(bytes: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(MODE);
    header
}
