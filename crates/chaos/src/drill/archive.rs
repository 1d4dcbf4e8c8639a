//! Reports of drills that are kept: a file of JSON each, in one directory, named by when and with which seed.
//!
//! In: a [`Report`]. Out: the same again later, with its name, newest first. What cannot be read is told beside the
//! others and hides none of them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::report::Report;

/// Reports that are read for a list at most: a file of a full drill has about 300 KB.
pub const LISTED_MAX: usize = 100;

/// Where reports are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    dir: PathBuf,
}

/// A report with its name in the archive.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptReport {
    /// Such as `20261122T070712Z-41`.
    pub id: String,
    /// What was measured.
    pub report: Report,
}

/// What lies in an archive.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KeptReports {
    /// Newest first, at most [`LISTED_MAX`].
    pub reports: Vec<KeptReport>,
    /// What cannot be read, with why: one sentence each.
    pub unreadable: Vec<String>,
}

impl Archive {
    /// That of a data directory: `drills` in it.
    pub fn of_data_directory(dir: &Path) -> Self {
        Self { dir: dir.join("drills") }
    }

    /// Keeps a report, and says in which file. A report of the same drill, made in parts, is replaced by the whole.
    ///
    /// # Errors
    ///
    /// What the system says where the directory or the file cannot be written; what was kept before is as it was then.
    pub fn keep(&self, report: &Report) -> io::Result<PathBuf> {
        std::fs::create_dir_all(&self.dir)?;
        let file = self.file(&id(report));
        let unfinished = file.with_extension("part");
        let mut writing = std::fs::File::create(&unfinished)?;
        writing.write_all(report.json().as_bytes())?;
        writing.sync_all()?;
        std::fs::rename(&unfinished, &file)?;
        Ok(file)
    }

    /// What is kept; nothing where there is no such directory.
    ///
    /// # Errors
    ///
    /// What the system says where the directory is there and cannot be read.
    pub fn list(&self) -> io::Result<KeptReports> {
        let entries = match std::fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(KeptReports::default()),
            entries => entries?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            ids.extend(name.to_str().and_then(|name| name.strip_suffix(".json")).map(str::to_owned));
        }
        ids.sort_by(|a, b| b.cmp(a));
        let mut kept = KeptReports::default();
        for id in ids.into_iter().take(LISTED_MAX) {
            match self.read(&id) {
                Ok(Some(report)) => kept.reports.push(KeptReport { id, report }),
                // It was removed since.
                Ok(None) => {}
                Err(error) => {
                    kept.unreadable.push(format!("{} cannot be read: {error}", self.file(&id).display()))
                }
            }
        }
        Ok(kept)
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
    use super::super::report::sample::{crash, hang, report};
    use super::*;

    #[test]
    fn what_is_kept_comes_back_newest_first_and_a_broken_file_hides_none() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::of_data_directory(dir.path());
        assert_eq!(archive.list().unwrap(), KeptReports::default());
        let first = report(vec![hang(0)]);
        let later =
            Report { started_at: "2026-12-01T03:00:00.5Z".to_owned(), ..report(vec![crash(0), hang(1)]) };
        archive.keep(&first).unwrap();
        let file = archive.keep(&later).unwrap();
        assert!(file.ends_with(format!("20261201T030000Z-{}.json", later.seed)), "{file:?}");
        std::fs::write(dir.path().join("drills/20261130T000000Z-1.json"), "{").unwrap();
        let kept = archive.list().unwrap();
        let reports: Vec<&Report> = kept.reports.iter().map(|kept| &kept.report).collect();
        assert_eq!(reports, [&later, &first]);
        assert!(
            kept.unreadable.len() == 1 && kept.unreadable[0].contains("20261130T000000Z-1.json"),
            "{kept:?}"
        );
        assert_eq!(archive.read(&kept.reports[1].id).unwrap(), Some(first));
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
