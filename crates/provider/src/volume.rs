//! Volumes with a real limit: one tmpfs an instance, in a mount namespace that a *holder* keeps.
//!
//! In: sizes. Out: mounts, and the path under which they are reached from outside,
//! `/proc/HOLDER/root/...`. The holder is a process of this binary that does nothing but exist; it outlives
//! the keeper, so the data does too, and it is found again by the table or by its environment. As root it
//! has a mount namespace of its own, otherwise a user namespace around it; there it may mount, and the
//! user that owns the namespace may enter it.
//!
//! Where neither is allowed a volume is a plain directory: its use is measured, its limit is not held, and
//! faults that need the limit are refused by name.

use std::ffi::CString;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use domain::{Bytes, Enforcement, Incarnation};

use crate::layout::{self, KEEPER, WORKER};
use crate::process;

/// How the volumes of this keeper are made.
pub(crate) enum Volumes {
    /// As tmpfs in the holder's namespace, which is made with the first volume.
    Held(Option<Holder>),
    /// As directories.
    Plain(String),
}

/// The process that keeps the namespace, and the ways in.
pub(crate) struct Holder {
    pub(crate) incarnation: Incarnation,
    entry: Entry,
}

struct Entry {
    /// Absent where the holder has the same user namespace as the keeper.
    user: Option<OwnedFd>,
    mount: OwnedFd,
}

impl Volumes {
    /// Finds out what is allowed here.
    pub(crate) fn probe() -> Self {
        match in_child(unshare) {
            Ok(()) => Self::Held(None),
            Err(error) => Self::Plain(format!(
                "user namespaces are not allowed here ({error}); run as root or allow them \
                 (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)"
            )),
        }
    }

    /// As a capability.
    pub(crate) fn enforcement(&self) -> Enforcement {
        match self {
            Self::Held(_) => Enforcement::Kernel("tmpfs in a mount namespace".to_owned()),
            Self::Plain(why) => Enforcement::Unavailable(why.clone()),
        }
    }

    /// Takes a holder that an earlier keeper left.
    pub(crate) fn adopt(&mut self, incarnation: &Incarnation) {
        if let Self::Held(holder @ None) = self
            && process::is_alive(incarnation)
        {
            *holder = Holder::open(incarnation.clone()).ok();
        }
    }

    /// The process that keeps the namespace.
    pub(crate) fn holder(&self) -> Option<&Holder> {
        match self {
            Self::Held(holder) => holder.as_ref(),
            Self::Plain(_) => None,
        }
    }

    /// Makes the volume at `path` if it is not there.
    pub(crate) fn make(&mut self, exe: &Path, dir: &Path, path: &Path, size: Bytes) -> io::Result<()> {
        fs::create_dir_all(path)?;
        let Self::Held(holder) = self else { return Ok(()) };
        let holder = match holder {
            Some(holder) => holder,
            None => holder.insert(Holder::start(exe, dir)?),
        };
        if is_mounted(&holder.reach(path)) { Ok(()) } else { holder.mount(path, size, 0) }
    }

    /// Changes the size of a volume while it is in use.
    pub(crate) fn resize(&self, path: &Path, size: Bytes) -> io::Result<()> {
        match (self, self.holder()) {
            (_, Some(holder)) => holder.mount(path, size, libc::MS_REMOUNT),
            (Self::Plain(why), None) => Err(io::Error::other(why.clone())),
            (Self::Held(_), None) => Err(io::Error::other("no volume was made")),
        }
    }

    /// The path under which a volume is reached from outside its namespace.
    pub(crate) fn reach(&self, path: &Path) -> PathBuf {
        self.holder().map_or_else(|| path.to_owned(), |holder| holder.reach(path))
    }

    /// Ends the holder, and with it the namespace once no service is in it.
    pub(crate) fn release(&mut self) {
        if let Self::Held(holder) = self
            && let Some(holder) = holder.take()
            && let Err(error) = process::signal(&holder.incarnation, rustix::process::Signal::KILL)
        {
            crate::say!("cannot end the process that keeps the volumes: {error}");
        }
    }

    /// Lets a command begin inside the namespace, in the directory `path`.
    pub(crate) fn enter_before_exec(&self, command: &mut Command, path: &Path) -> io::Result<()> {
        let Some(holder) = self.holder() else {
            command.current_dir(path);
            return Ok(());
        };
        let (user, mount) = holder.entry.raw();
        let path = c_string(path)?;
        let enter = move || {
            enter(user, mount)?;
            // SAFETY: `path` is a valid C string for the length of the call.
            check(unsafe { libc::chdir(path.as_ptr()) })
        };
        // SAFETY: between fork and exec only system calls are made, on values made before the fork. The
        // descriptors stay open because the keeper spawns before it can drop the holder.
        unsafe { command.pre_exec(enter) };
        Ok(())
    }
}

impl Holder {
    fn open(incarnation: Incarnation) -> io::Result<Self> {
        let namespace = |of: &str, kind: &str| format!("/proc/{of}/ns/{kind}");
        let pid = incarnation.pid.to_string();
        let same_user = fs::read_link(namespace(&pid, "user"))? == fs::read_link(namespace("self", "user"))?;
        let user = if same_user { None } else { Some(fs::File::open(namespace(&pid, "user"))?.into()) };
        let mount = fs::File::open(namespace(&pid, "mnt"))?.into();
        Ok(Self { incarnation, entry: Entry { user, mount } })
    }

    fn start(exe: &Path, dir: &Path) -> io::Result<Self> {
        let log = layout::open_log(&dir.join("keeper.log"))?;
        let mut command = Command::new(exe);
        command.arg("hold").env(KEEPER, dir).env(WORKER, "volumes").current_dir(dir);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn()?;
        let mut answer = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut answer)?;
        }
        let incarnation = process::identify(child.id()).filter(|_| answer == READY);
        incarnation.map(Self::open).unwrap_or_else(|| {
            let _ = child.kill();
            let _ = child.wait();
            Err(io::Error::other("the process that keeps the volumes did not start; see keeper.log"))
        })
    }

    fn reach(&self, path: &Path) -> PathBuf {
        let inside = path.strip_prefix("/").unwrap_or(path);
        Path::new("/proc").join(self.incarnation.pid.to_string()).join("root").join(inside)
    }

    fn mount(&self, path: &Path, size: Bytes, flags: libc::c_ulong) -> io::Result<()> {
        let path = c_string(path)?;
        let options = CString::new(format!("size={},mode=0700", size.0))?;
        let (user, mount) = self.entry.raw();
        let flags = flags | libc::MS_NOSUID | libc::MS_NODEV;
        in_child(|| {
            enter(user, mount)?;
            // SAFETY: all four are valid C strings for the length of the call.
            check(unsafe {
                libc::mount(
                    c"homeostat".as_ptr(),
                    path.as_ptr(),
                    c"tmpfs".as_ptr(),
                    flags,
                    options.as_ptr().cast(),
                )
            })
        })
    }
}

impl Entry {
    fn raw(&self) -> (Option<RawFd>, RawFd) {
        (self.user.as_ref().map(AsRawFd::as_raw_fd), self.mount.as_raw_fd())
    }
}

/// What the holder says when its namespace is made.
const READY: &str = "ready\n";

/// Makes a namespace and keeps it until it is killed: the whole life of `homeostat hold`.
pub fn hold() -> io::Result<()> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if check_mount_only().is_err() {
        // SAFETY: no memory is involved; this process has one thread, as a user namespace demands.
        check(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) })?;
        // The same ids inside as outside: a service sees itself as who started it.
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    }
    // SAFETY: the path is a valid C string, the other pointers may be null for a change of propagation.
    check(unsafe {
        let none = std::ptr::null();
        libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast())
    })?;
    // Entering a user namespace makes a process unreadable; the way in is its directory in /proc.
    // SAFETY: this option takes a plain number.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) })?;
    rustix::process::setsid()?;
    io::stdout().write_all(READY.as_bytes())?;
    io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}

fn check_mount_only() -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })
}

fn unshare() -> io::Result<()> {
    // SAFETY: no memory is involved.
    check_mount_only().or_else(|_| check(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) }))
}

/// Makes the calling process, which must have one thread, a member of the namespaces.
fn enter(user: Option<RawFd>, mount: RawFd) -> io::Result<()> {
    if let Some(user) = user {
        // SAFETY: no memory is involved.
        check(unsafe { libc::setns(user, libc::CLONE_NEWUSER) })?;
    }
    // SAFETY: no memory is involved.
    check(unsafe { libc::setns(mount, libc::CLONE_NEWNS) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn c_string(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn is_mounted(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| path.metadata().map(|meta| meta.dev()).ok();
    path.parent().is_some_and(|parent| device(path).is_some() && device(path) != device(parent))
}

/// Runs `work` in a forked child, because a namespace can be entered only by a process of one thread.
/// `work` may make system calls and nothing else.
fn in_child(work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    // SAFETY: the child only runs `work`, which by contract makes nothing but system calls, and ends
    // without running any destructor.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let code = work().map_or_else(|error| error.raw_os_error().unwrap_or(libc::EIO), |()| 0);
            // SAFETY: ends this process at once.
            unsafe { libc::_exit(code) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: `status` is writable for the length of the call.
            while unsafe { libc::waitpid(pid, &raw mut status, 0) } == -1 {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            match (libc::WIFEXITED(status), libc::WEXITSTATUS(status)) {
                (true, 0) => Ok(()),
                (true, errno) => Err(io::Error::from_raw_os_error(errno)),
                (false, _) => Err(io::Error::other("the child that enters the namespace was killed")),
            }
        }
    }
}
