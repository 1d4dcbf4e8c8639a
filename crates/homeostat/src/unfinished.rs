//! A file that stands under its name when it is whole, and not before.
//!
//! In: the name it is to have. Out: a file beside it to be written, which takes that name at the end, unless something has it
//! by then that is not to be replaced; what ends without an end, as by Ctrl-C, leaves nothing in the way of the next try. Each try writes a file of its
//! own, locked as long as it is written: what nobody holds was left behind.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// Who may read it: its owner.
pub(crate) const MODE: u32 = 0o600;

/// Follows the name that it is to have; a number follows, but in what was left before there were any.
const ENDING: &str = ".unfinished";

/// A file that has not its name yet, removed unless it gets one.
pub(crate) struct Unfinished {
    path: PathBuf,
    file: File,
    /// Whether its own name is still there to be removed.
    stands: bool,
}

impl Unfinished {
    /// Makes one, empty, of what is to stand at `file`, and removes what tries that were killed left there.
    ///
    /// # Errors
    ///
    /// Where the file system refuses.
    pub(crate) fn beside(file: &Path) -> io::Result<Self> {
        remove_left_over(file);
        let mut number = 0_u32;
        loop {
            number += 1;
            let path = ending(file, &format!("{ENDING}-{number}"));
            match fs::OpenOptions::new().write(true).create_new(true).mode(MODE).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(made) => match made.try_lock() {
                    // Another try took it for left behind before it was locked, and removes it.
                    Err(TryLockError::WouldBlock) => {}
                    Ok(()) if made.metadata()?.nlink() == 0 => {}
                    // Where files cannot be locked nobody takes it for left behind either.
                    Ok(()) | Err(TryLockError::Error(_)) => {
                        return Ok(Self { path, file: made, stands: true });
                    }
                },
            }
        }
    }

    /// Where it is until then.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file, to be written.
    ///
    /// # Errors
    ///
    /// Where this process may have no more files open.
    pub(crate) fn target(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Gives it its name, for good.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AlreadyExists`] where something has that name by now, which stays as it is; where the file system
    /// refuses.
    pub(crate) fn finish(mut self, file: &Path) -> io::Result<()> {
        match renameat_with(CWD, &self.path, CWD, file, RenameFlags::NOREPLACE) {
            // From here on that name may be another try's.
            Ok(()) => self.stands = false,
            // File systems that know only a rename which replaces.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => fs::hard_link(&self.path, file)?,
            Err(error) => return Err(error.into()),
        }
        durable::sync_dir(above(file))
    }

    /// Gives it its name, for good, in the place of what has it.
    ///
    /// # Errors
    ///
    /// Where the file system refuses.
    pub(crate) fn replace(mut self, file: &Path) -> io::Result<()> {
        fs::rename(&self.path, file)?;
        self.stands = false;
        durable::sync_dir(above(file))
    }
}

/// The directory that has the name of a file.
fn above(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.stands {
            // It has its name, or nobody needs it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn ending(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Whether a path still leads to a file that was opened by it.
fn is_at(file: &File, path: &Path) -> bool {
    let here = path.symlink_metadata().map(|found| (found.dev(), found.ino()));
    file.metadata().is_ok_and(|opened| here.is_ok_and(|here| here == (opened.dev(), opened.ino())))
}

/// Removes what tries left that were killed. One that is still written is left alone.
fn remove_left_over(file: &Path) {
    let Some(name) = file.file_name().and_then(|name| name.to_str()) else { return };
    for entry in fs::read_dir(above(file)).into_iter().flatten().flatten() {
        let found = entry.file_name();
        let rest = found.to_str().and_then(|found| found.strip_prefix(name)?.strip_prefix(ENDING));
        let is_ours = |rest: &str| {
            rest.is_empty() || rest.strip_prefix('-').is_some_and(|number| number.parse::<u32>().is_ok())
        };
        let path = entry.path();
        if !rest.is_some_and(is_ours) || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let Ok(left) = fs::OpenOptions::new().write(true).open(&path) else { continue };
        match left.try_lock() {
            // The next one tries again where it cannot be removed. What has its name by now is not here any more.
            Ok(()) if is_at(&left, &path) => drop(fs::remove_file(&path)),
            Ok(()) | Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(_)) => {
                provider::say!("{} may be of a try that was killed; remove it then", path.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            dir.read_dir().unwrap().map(|one| one.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn of_two_to_one_name_the_first_that_is_whole_has_it_and_the_other_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("monday.backup");
        let first = Unfinished::beside(&file).unwrap();
        first.target().unwrap().write_all(b"first").unwrap();
        let second = Unfinished::beside(&file).unwrap();
        second.target().unwrap().write_all(b"second").unwrap();
        assert_eq!(fs::read(first.path()).unwrap(), b"first", "the second try took it away");
        second.finish(&file).unwrap();
        let refused = first.finish(&file).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&file).unwrap(), b"second", "what stood there was written over");
        assert_eq!(names(dir.path()), ["monday.backup"]);
    }

    #[test]
    fn what_was_left_behind_goes_and_what_only_looks_like_it_stays() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.unfinished", "a.unfinished-1", "a.unfinished-7", "a.unfinished-notes", "b.unfinished"]
        {
            fs::write(dir.path().join(name), "left").unwrap();
        }
        let written = Unfinished::beside(&dir.path().join("a")).unwrap();
        assert_eq!(names(dir.path()), ["a.unfinished-1", "a.unfinished-notes", "b.unfinished"]);
        assert_eq!(fs::read(written.path()).unwrap(), b"");
        drop(written);
        assert_eq!(names(dir.path()), ["a.unfinished-notes", "b.unfinished"]);
    }
}
