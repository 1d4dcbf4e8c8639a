//! Directories of demos, drills and benchmarks, in a place where anybody can make one of any name.
//!
//! In: what their names begin with. Out: a new directory that its user alone may enter; and those there are, of this user.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::token::random;

/// A new directory: `PREFIX`, something random, and the process id, which tells whose it is. One that is there already is
/// never taken: somebody may have put a token into it.
pub(crate) fn directory(prefix: &str) -> io::Result<PathBuf> {
    let dir = std::env::temp_dir().join(format!("{prefix}{}-{}", random::<6>()?, std::process::id()));
    std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
    std::fs::canonicalize(dir)
}

/// Those that [`directory`] made for this user's processes.
pub(crate) fn directories(prefix: &str) -> io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(std::env::temp_dir())?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(paths.filter(|path| process_of(path, prefix).is_some() && is_ours(path)).collect())
}

/// The id of the process that made a directory; `None` where its name is none that [`directory`] gives.
pub(crate) fn process_of(dir: &Path, prefix: &str) -> Option<i32> {
    let (random, process) = dir.file_name()?.to_str()?.strip_prefix(prefix)?.split_once('-')?;
    let is_named = random.bytes().all(|sign| sign.is_ascii_alphanumeric());
    let process: i32 = process.parse().ok()?;
    (is_named && process > 0).then_some(process)
}

fn is_ours(dir: &Path) -> bool {
    std::fs::symlink_metadata(dir).is_ok_and(|about| about.is_dir() && about.uid() == geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_is_its_users_alone_and_tells_whose_it_is() {
        let dir = directory("homeostat-test-").unwrap();
        let mode = std::fs::metadata(&dir).unwrap().permissions().mode();
        let found = directories("homeostat-test-").unwrap();
        std::fs::remove_dir(&dir).unwrap();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(process_of(&dir, "homeostat-test-"), i32::try_from(std::process::id()).ok());
        assert!(found.contains(&dir), "{found:?}");
    }

    #[test]
    fn a_name_that_somebody_else_gave_is_none_of_ours() {
        for name in [
            "homeostat-demo-812",
            "homeostat-demo-keep-20261122-1",
            "homeostat-demo-a1b2c3",
            "homeostat-demo-a1-",
            "other-a1-1",
        ] {
            assert_eq!(process_of(Path::new(name), "homeostat-demo-"), None, "{name}");
        }
    }
}
