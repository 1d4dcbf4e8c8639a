//! A file that stands under its name when it is whole, and not before.
//!
//! In: the name it is to have. Out: a file beside it to be written, which takes that name at the end; what ends without an end,
//! as by Ctrl-C, leaves nothing in the way of the next try.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Who may read it: its owner.
pub(crate) const MODE: u32 = 0o600;

/// A file that has not its name yet, removed unless it gets one.
pub(crate) struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    /// Of a file that is to stand at `file`.
    pub(crate) fn beside(file: &Path) -> Self {
        let mut name = file.as_os_str().to_owned();
        name.push(".unfinished");
        Self { path: name.into() }
    }

    /// Where it is until then.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it, empty; one that was killed may have left another there.
    ///
    /// # Errors
    ///
    /// Where the file system refuses.
    pub(crate) fn create(&self) -> io::Result<fs::File> {
        let _ = fs::remove_file(&self.path);
        fs::OpenOptions::new().write(true).create_new(true).mode(MODE).open(&self.path)
    }

    /// Gives it its name, for good.
    ///
    /// # Errors
    ///
    /// Where the file system refuses.
    pub(crate) fn finish(self, file: &Path) -> io::Result<()> {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::rename(&self.path, file).and_then(|()| fs::File::open(parent)?.sync_all())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It has its name, or nobody needs it.
        let _ = fs::remove_file(&self.path);
    }
}
