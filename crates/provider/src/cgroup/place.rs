//! Where the groups of a keeper are: `homeostat/KEEPER/INSTANCE` below the root of a hierarchy.
//!
//! In: the mounts of this machine, the directory of a keeper. Out: the directory of its groups, made and
//! locked, or the sentence that says why there is none. Below the root and not below the group the keeper
//! itself is in: version 2 allows no controllers below a group with processes in it, and the next keeper,
//! which may be started from somewhere else, has to find them again.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::limit::{Kind, Version};

/// The directory of all keepers' groups below the root of a hierarchy.
const ALL: &str = "homeostat";
/// How often making a place is tried, where another keeper tidies up at the same time.
const TRIES: usize = 5;

/// The directory of a keeper's groups for one controller.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) version: Version,
    kind: Kind,
    /// The mount point of the hierarchy.
    root: PathBuf,
    pub(crate) dir: PathBuf,
    /// Held while the keeper lives, so that others leave its empty groups alone.
    lock: Option<File>,
}

impl Place {
    /// Where the groups of the keeper in `keeper_dir` would be. Makes nothing.
    pub(crate) fn find(kind: Kind, keeper_dir: &Path) -> Result<Self, String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")
            .map_err(|error| format!("/proc/self/mountinfo cannot be read: {error}"))?;
        let (version, root) = hierarchy(&mounts, kind, controllers).ok_or_else(|| {
            format!("no cgroup hierarchy with the {} controller is mounted", kind.controller())
        })?;
        let dir = root.join(ALL).join(name_of(keeper_dir));
        Ok(Self { version, kind, root, dir, lock: None })
    }

    /// In a directory of a test's own.
    #[cfg(test)]
    pub(super) fn at(dir: &Path, kind: Kind, version: Version) -> Self {
        Self { version, kind, root: dir.to_owned(), dir: dir.to_owned(), lock: None }
    }

    /// Makes the directory, with the controller working in it, and locks it.
    pub(crate) fn make(&mut self) -> Result<(), String> {
        let mut last = String::new();
        for _ in 0..TRIES {
            match self.try_make() {
                Ok(Some(lock)) => {
                    self.lock = Some(lock);
                    return Ok(());
                }
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => last = error.to_string(),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(format!("making {} was refused: {error}; run as root", self.dir.display()));
                }
                Err(error) => return Err(format!("making {} failed: {error}", self.dir.display())),
            }
        }
        Err(format!("making {} failed {TRIES} times: {last}", self.dir.display()))
    }

    /// `None` where somebody removed it meanwhile.
    fn try_make(&self) -> io::Result<Option<File>> {
        self.enable(&self.root)?;
        let all = self.root.join(ALL);
        for dir in [&all, &self.dir] {
            match fs::create_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => self.enable(dir)?,
            }
        }
        let opened = File::open(&self.dir)?;
        // Shared, because in version 2 both controllers have the same directory.
        rustix::fs::flock(&opened, FlockOperation::LockShared)?;
        let same =
            fs::metadata(&self.dir).is_ok_and(|now| opened.metadata().is_ok_and(|it| it.ino() == now.ino()));
        Ok(same.then_some(opened))
    }

    /// Lets the groups below `dir` have the controller. Version 1 needs no such thing.
    fn enable(&self, dir: &Path) -> io::Result<()> {
        if self.version == Version::V1 {
            return Ok(());
        }
        let file = dir.join("cgroup.subtree_control");
        let name = self.kind.controller();
        if fs::read_to_string(&file)?.split_ascii_whitespace().any(|word| word == name) {
            return Ok(());
        }
        write(&file, &format!("+{name}"))
    }

    /// The groups that are there.
    pub(crate) fn groups(&self) -> Vec<String> {
        directories(&self.dir)
    }

    /// Removes the directory where it is empty, and unlocks it.
    pub(crate) fn release(&mut self) {
        self.lock = None;
        // Whoever still has groups in there keeps it, and that is what an error says.
        let _ = fs::remove_dir(&self.dir).and_then(|()| fs::remove_dir(self.root.join(ALL)));
    }

    /// Removes the empty groups of keepers that are gone, which nobody else would.
    pub(crate) fn sweep(&self) {
        let all = self.root.join(ALL);
        for name in directories(&all) {
            let dir = all.join(name);
            let Ok(opened) = File::open(&dir) else { continue };
            if dir == self.dir
                || rustix::fs::flock(&opened, FlockOperation::NonBlockingLockExclusive).is_err()
            {
                continue;
            }
            // What still has processes stays: the next keeper of that directory adopts them.
            for group in directories(&dir) {
                let _ = fs::remove_dir(dir.join(group));
            }
            let _ = fs::remove_dir(&dir);
        }
    }
}

/// Writes a text into a file of the kernel, which takes it in one piece and is never created.
pub(crate) fn write(file: &Path, text: &str) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes())
}

fn directories(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let is_dir = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries.filter_map(Result::ok).filter(is_dir).filter_map(|it| it.file_name().into_string().ok()).collect()
}

/// The same for the same directory in every version of this program: FNV-1a, 64 bits.
fn name_of(keeper_dir: &Path) -> String {
    let bytes = keeper_dir.as_os_str().as_bytes().iter();
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn controllers(root: &Path) -> String {
    fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default()
}

/// The hierarchy a controller is in, from `/proc/self/mountinfo`: a controller is in one of version 1 or in the
/// one of version 2, never in both. `available` reads which ones version 2 has at a mount point.
fn hierarchy(mounts: &str, kind: Kind, available: impl Fn(&Path) -> String) -> Option<(Version, PathBuf)> {
    let name = kind.controller();
    let found: Vec<(&str, PathBuf, &str)> = mounts.lines().filter_map(mount).collect();
    let first =
        found.iter().find(|(of, _, options)| *of == "cgroup" && options.split(',').any(|it| it == name));
    let second = || {
        let has = |root: &Path| available(root).split_ascii_whitespace().any(|it| it == name);
        found.iter().find(|(of, root, _)| *of == "cgroup2" && has(root))
    };
    first
        .map(|(_, root, _)| (Version::V1, root.clone()))
        .or_else(|| second().map(|(_, root, _)| (Version::V2, root.clone())))
}

/// Type, mount point and options of the file system of one line; fields 5 and those after the dash.
fn mount(line: &str) -> Option<(&str, PathBuf, &str)> {
    let (before, after) = line.split_once(" - ")?;
    let mut after = after.split(' ');
    let (kind, _source, options) = (after.next()?, after.next()?, after.next()?);
    Some((kind, PathBuf::from(before.split(' ').nth(4)?), options))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
        33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn each_controller_is_found_where_it_is() {
        let unified = |root: &Path| {
            assert_eq!(root, Path::new("/sys/fs/cgroup/unified"));
            "hugetlb memory".to_owned()
        };
        assert_eq!(
            hierarchy(HYBRID, Kind::Cpu, unified),
            Some((Version::V1, PathBuf::from("/sys/fs/cgroup/cpu,cpuacct")))
        );
        assert_eq!(
            hierarchy(HYBRID, Kind::Memory, unified),
            Some((Version::V2, PathBuf::from("/sys/fs/cgroup/unified")))
        );
        assert_eq!(hierarchy(HYBRID, Kind::Memory, |_| "hugetlb".to_owned()), None);
    }

    #[test]
    fn directories_have_names_of_their_own_that_do_not_change() {
        assert_eq!(name_of(Path::new("/a")), "07d66707b49cd92d");
        assert_ne!(name_of(Path::new("/a/keeper")), name_of(Path::new("/b/keeper")));
    }

    proptest::proptest! {
        #[test]
        fn no_mount_table_panics(text in "(.{0,30}\n){0,4}", line in "[0-9 ]{0,9}/.{0,20}( - .{0,20})?") {
            let _ = hierarchy(&format!("{text}{line}"), Kind::Cpu, |_| String::new());
        }
    }
}
