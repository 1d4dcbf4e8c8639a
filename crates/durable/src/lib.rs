//! Directories and small files that a power cut does not take back.
//!
//! ```text
//! directory ─► make it, sync the one above ─► the next below it        what it is called is on the disk, and so all in it
//! bytes ─► NAME.new, sync ─► rename ─► sync the directory              the old file or the new one, whole
//! ```
//!
//! In: the directory that is wanted, or a name and its bytes. Out: nothing, when the disk has it. A file that is synced is
//! there after a power cut only where its name was synced in its directory, and the name of that in the one above.
//!
//! After an error nothing may be built on what was tried: a sync that failed is not asked again, as the system may have
//! forgotten by then what it could not write (Rebello et al., "Can Applications Recover from fsync Failures?", 2020). What
//! was new is removed instead, and the next try makes it anew.
//!
//! Deliberately absent: files that grow; they are their stores' business.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Who may read what is made. It holds from its first moment; what is there already keeps what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Its owner alone.
    Owner,
    /// Everybody, as far as the umask lets them; its owner alone may write.
    Everybody,
}

impl Access {
    fn of_directory(self) -> u32 {
        match self {
            Self::Owner => 0o700,
            Self::Everybody => 0o755,
        }
    }

    fn of_file(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Everybody => 0o644,
        }
    }
}

/// Makes a directory, and those above it that are missing, each with its name on the disk before the next is made in it.
///
/// Of one that is there already the name is put on the disk as well: whoever made it may have been killed before.
///
/// # Errors
///
/// Where it cannot be made, or the disk does not say that it keeps the name; then it is not there, if it was not before.
pub fn make_dir(dir: &Path, access: Access) -> io::Result<()> {
    make(dir, access, &mut sync_dir)
}

/// Makes the directory that holds what decides who may do what, or takes up one that is there.
///
/// Of one that is there, nobody but its owner's group keeps the way in: others lose it. Whoever may write in it could put
/// another token or another database in the place of ours, so it has to be the caller's own, or the superuser's.
///
/// # Errors
///
/// As [`make_dir`]; [`ErrorKind::PermissionDenied`] where it is another user's, or everybody may write in it.
pub fn take_dir(dir: &Path) -> io::Result<()> {
    make_dir(dir, Access::Owner)?;
    let found = dir.metadata()?;
    let (me, owner) = (rustix::process::geteuid().as_raw(), found.uid());
    refuse(owner, me, found.mode())?;
    if found.mode() & OTHERS != 0 && owner == me {
        fs::set_permissions(dir, Permissions::from_mode(found.mode() & 0o7777 & !OTHERS))?;
    }
    Ok(())
}

/// What those may who are neither the owner nor of the group: read, write, enter.
const OTHERS: u32 = 0o007;

fn refuse(owner: u32, me: u32, mode: u32) -> io::Result<()> {
    let why = if owner != me && owner != 0 {
        format!(
            "it belongs to the user {owner}, who could replace what is kept there, and this is the user {me}; \
             name another directory, or give it to this user (chown)"
        )
    } else if mode & 0o002 != 0 {
        "everybody may write in it, and so replace what is kept there; name another directory, or close it (chmod o-w)"
            .to_owned()
    } else {
        return Ok(());
    };
    Err(io::Error::new(ErrorKind::PermissionDenied, why))
}

fn make(dir: &Path, access: Access, sync: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    if dir.is_dir() {
        return keep_name(dir, sync);
    }
    if let Some(above) = dir.parent().filter(|above| !above.as_os_str().is_empty()) {
        make(above, access, sync)?;
    }
    match DirBuilder::new().mode(access.of_directory()).create(dir) {
        // Somebody else made it meanwhile.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => {
            return keep_name(dir, sync);
        }
        made => made?,
    }
    sync(above(dir)).inspect_err(|_| {
        // Nothing is in it yet.
        let _ = fs::remove_dir(dir);
    })
}

/// Puts the name of a directory on the disk that is there already.
fn keep_name(dir: &Path, sync: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let dir = dir.canonicalize()?;
    let Some(above) = dir.parent() else { return Ok(()) };
    if above.metadata()?.dev() != dir.metadata()?.dev() {
        // Something is mounted there: its name is of another file system, and nobody here made it.
        return Ok(());
    }
    match sync(above) {
        // Who may not even list it did not make anything in it.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// Waits until the disk has the names in a directory.
///
/// # Errors
///
/// Where it cannot be opened, or the disk does not say that it has them.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Puts a file in the place of what is there, if anything is: after a crash the old one is there or the new one, whole. One
/// at a time may do so with a name.
///
/// # Errors
///
/// Where the file system refuses; then the old one is there, or the new one of which the disk did not say that it keeps it.
pub fn replace(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let new = path.with_added_extension("new");
    match fs::remove_file(&new) {
        // What was left there may be readable by others.
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    write_new(&new, bytes, access)?;
    fs::rename(&new, path).inspect_err(|_| {
        // It has no name that counts.
        let _ = fs::remove_file(&new);
    })?;
    sync_dir(above(path))
}

/// Makes a file where none is.
///
/// # Errors
///
/// [`ErrorKind::AlreadyExists`] where there is something; else where the file system refuses, and then there is none.
pub fn create(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    write_new(path, bytes, access)?;
    sync_dir(above(path)).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

/// Gives a file or a directory, whose content is on the disk, another name.
///
/// # Errors
///
/// Where the file system refuses; it has its old name then, or the new one of which the disk did not say that it keeps it.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_dir(above(to))?;
    if above(from) == above(to) { Ok(()) } else { sync_dir(above(from)) }
}

fn write_new(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(access.of_file()).open(path)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

/// The directory that has the name of a file.
fn above(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests;
