//! What stands first in an archive: who wrote it, when, in which formats, and every file with its size and checksum.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::BackupError;

/// Its name in the archive.
pub(super) const NAME: &str = "manifest.json";

/// No manifest is longer, in bytes: at 200 bytes a file this is a third of a million files.
pub(super) const BYTES_MAX: u64 = 64 << 20;

/// The format of the archive itself.
const FORMAT: u32 = 1;

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// The format of the archive.
    pub(crate) format: u32,
    /// The version of homeostat that wrote it.
    pub(crate) homeostat: String,
    /// When it was begun, RFC 3339: what was acknowledged before is in it.
    pub(crate) made_at: String,
    /// Whether spans, logs and series are in it.
    pub(crate) telemetry: bool,
    /// The formats that program wrote, by name.
    pub(crate) formats: BTreeMap<String, u32>,
    /// The files, in the order in which they follow.
    pub(crate) files: Vec<File>,
}

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// Its path below the data directory.
    pub(crate) path: PathBuf,
    /// How long it is.
    pub(crate) bytes: u64,
    /// SHA-256 of its content, in hexadecimal.
    pub(crate) sha256: String,
}

/// Every format this program writes, by name.
pub(crate) fn formats() -> BTreeMap<String, u32> {
    let all = [("backup", FORMAT), ("control_socket", crate::control_socket::VERSION)];
    let all = all
        .into_iter()
        .chain(store::backup::FORMATS)
        .chain(audit::backup::FORMATS)
        .chain(provider::backup::FORMATS)
        .chain(telemetry::backup::FORMATS)
        .chain(metrics::backup::FORMATS);
    all.map(|(name, number)| (name.to_owned(), number)).collect()
}

impl Manifest {
    /// A manifest of this program's, without files yet.
    pub(super) fn new(made_at: String, telemetry: super::Telemetry) -> Self {
        Self {
            format: FORMAT,
            homeostat: env!("CARGO_PKG_VERSION").to_owned(),
            made_at,
            telemetry: telemetry == super::Telemetry::Included,
            formats: formats(),
            files: Vec::new(),
        }
    }

    /// Reads one, and refuses what this program would not understand.
    pub(super) fn read(file: &Path, text: &[u8]) -> Result<Self, BackupError> {
        /// What every format says.
        #[derive(Deserialize)]
        struct Head {
            format: u32,
            homeostat: String,
        }
        let damaged = |why: String| BackupError::Damaged { file: file.to_owned(), why };
        let unreadable = |error: serde_json::Error| damaged(format!("its manifest cannot be read: {error}"));
        let head: Head = serde_json::from_slice(text).map_err(unreadable)?;
        let newer = |what: &str, found, known| BackupError::Newer {
            file: file.to_owned(),
            version: head.homeostat.clone(),
            what: what.to_owned(),
            found,
            known,
        };
        if head.format > FORMAT {
            return Err(newer("the archive", head.format, FORMAT));
        }
        let manifest: Self = serde_json::from_slice(text).map_err(unreadable)?;
        let known = formats();
        for (name, found) in &manifest.formats {
            let known = known.get(name).copied().unwrap_or(0);
            if *found > known {
                return Err(newer(name, *found, known));
            }
        }
        for one in &manifest.files {
            let plain = one.path.components().all(|part| matches!(part, Component::Normal(_)));
            if !plain || one.path.as_os_str().is_empty() {
                return Err(damaged(format!("it names a file outside: {}", one.path.display())));
            }
        }
        Ok(manifest)
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_with_a_newer_audit_trail_is_refused_by_name() {
        let mut manifest = Manifest::new("2026-11-22T03:00:00Z".to_owned(), super::super::Telemetry::LeftOut);
        let read = |manifest: &Manifest| {
            Manifest::read(Path::new("backup.tar.zst"), &serde_json::to_vec(manifest).unwrap())
        };
        assert_eq!(read(&manifest).unwrap().formats["audit"], 1);
        manifest.formats.insert("audit".to_owned(), 2);
        let error = read(&manifest).unwrap_err().to_string();
        assert!(
            error.contains("its format of audit is 2, this one knows 1; use the newer homeostat"),
            "{error}"
        );
    }
}
