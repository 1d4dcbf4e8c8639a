//! What `/proc` says about a process: identity, state, use, descendants, environment.
//!
//! In: a process id. Out: values read at this moment; `None` where the process is gone.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::OnceLock;

use domain::Incarnation;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::sample::PortHolder;

/// The fields of `/proc/PID/stat` that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// `R`, `S`, `T`, `Z` and so on.
    pub(crate) state: char,
    /// The process group.
    pub(crate) group: u32,
    /// User and system time in clock ticks.
    pub(crate) ticks: u64,
    /// When it started, in clock ticks since boot.
    pub(crate) start_ticks: u64,
    /// Resident memory in bytes.
    pub(crate) resident: u64,
}

/// Reads `/proc/PID/stat`.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

pub(crate) fn parse_stat(text: &str) -> Option<Stat> {
    // The name is in parentheses and may hold anything; what follows the last one has fixed places.
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        group: u32::try_from(number(5)?).ok()?,
        ticks: number(14)?.saturating_add(number(15)?),
        start_ticks: number(22)?,
        resident: bytes(number(24)?),
    })
}

fn bytes(pages: u64) -> u64 {
    pages.saturating_mul(rustix::param::page_size() as u64)
}

/// Resident memory in bytes, from the cheapest file that has it.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(bytes(pages))
}

/// The kernel's boot id.
pub(crate) fn boot_id() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    })
}

/// The identity of the process that has this id now; `None` for none and for a zombie.
pub(crate) fn identify(pid: u32) -> Option<Incarnation> {
    let stat = stat(pid).filter(|stat| !matches!(stat.state, 'Z' | 'X'))?;
    Some(Incarnation { boot_id: boot_id().to_owned(), pid, start_ticks: stat.start_ticks })
}

/// Whether this very process still runs.
pub(crate) fn is_alive(incarnation: &Incarnation) -> bool {
    identify(incarnation.pid).as_ref() == Some(incarnation)
}

/// A descriptor of this very process; `None` where it is gone.
pub(crate) fn open(incarnation: &Incarnation) -> Option<OwnedFd> {
    let fd = rustix::process::pidfd_open(pid(incarnation.pid)?, PidfdFlags::empty()).ok()?;
    // The descriptor is of whoever has the id now: looking after opening tells whether it is the one meant.
    is_alive(incarnation).then_some(fd)
}

/// Whether the process behind a descriptor has ended, reaped or not.
pub(crate) fn has_ended(pidfd: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
}

fn pid(raw: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(raw).ok()?)
}

/// Sends a signal to this very process. A process that is gone is no error.
pub(crate) fn signal(incarnation: &Incarnation, signal: Signal) -> io::Result<()> {
    match open(incarnation).map(|fd| rustix::process::pidfd_send_signal(fd, signal)) {
        None | Some(Ok(()) | Err(rustix::io::Errno::SRCH)) => Ok(()),
        Some(Err(errno)) => Err(errno.into()),
    }
}

/// Sends a signal to a process group that this process knows to be its own making.
pub(crate) fn signal_group(leader: u32, signal: Signal) {
    if let Some(group) = pid(leader) {
        // A group without members is what is wanted.
        let _ = rustix::process::kill_process_group(group, signal);
    }
}

/// The process that listens on a TCP port of this machine, as far as it can be seen from here.
pub(crate) fn listener_on(port: u16) -> Option<PortHolder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let sockets: Vec<PathBuf> = tables
        .iter()
        .flat_map(|table| listening_inodes(table, port))
        .map(|inode| PathBuf::from(format!("socket:[{inode}]")))
        .collect();
    let has_one = |pid: &u32| {
        let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        let mut links = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        links.any(|link| sockets.contains(&link))
    };
    let all = fs::read_dir("/proc").ok()?;
    let pid = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).find(has_one)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned();
    Some(PortHolder { pid, name })
}

/// The inodes of sockets that listen on a port, of the text of `/proc/net/tcp`.
fn listening_inodes(table: &str, port: u16) -> impl Iterator<Item = &str> {
    /// The kernel's number of the state LISTEN.
    const LISTEN: &str = "0A";
    table.lines().skip(1).filter_map(move |line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, at) = fields.get(1)?.rsplit_once(':')?;
        let listens = *fields.get(3)? == LISTEN && u16::from_str_radix(at, 16) == Ok(port);
        listens.then_some(*fields.get(9)?)
    })
}

/// The children of every thread of a process.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let listed = |path: std::path::PathBuf| fs::read_to_string(path.join("children")).unwrap_or_default();
    threads
        .filter_map(Result::ok)
        .flat_map(|thread| {
            let text = listed(thread.path());
            text.split_ascii_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<u32>>()
        })
        .collect()
}

/// A process and all its descendants.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut all = vec![root];
    let mut next = 0;
    while let Some(pid) = all.get(next).copied() {
        all.extend(children(pid));
        next += 1;
    }
    all
}

/// Signals a process and its descendants.
pub(crate) fn signal_tree(root: Option<&Incarnation>, with: Signal) {
    let Some(root) = root else { return };
    for member in tree(root.pid).into_iter().filter_map(identify) {
        if let Err(error) = signal(&member, with) {
            crate::say!("cannot signal process {}: {error}", member.pid);
        }
    }
}

/// How many file descriptors a process has open.
pub(crate) fn descriptors(pid: u32) -> Option<u32> {
    let path = format!("/proc/{pid}/fd");
    // Since Linux 6.2 the size of the directory is the count.
    match fs::metadata(&path).ok()?.len() {
        0 => u32::try_from(fs::read_dir(&path).ok()?.count()).ok(),
        count => u32::try_from(count).ok(),
    }
}

/// The value of an environment variable a process was started with.
pub(crate) fn environment_of(pid: u32, name: &str) -> Option<String> {
    let all = fs::read(format!("/proc/{pid}/environ")).ok()?;
    all.split(|byte| *byte == 0).find_map(|entry| {
        let entry = std::str::from_utf8(entry).ok()?;
        entry.strip_prefix(name)?.strip_prefix('=').map(str::to_owned)
    })
}

/// Every process id there is.
pub(crate) fn all() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_shift_the_fields() {
        let text =
            "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 50 25 0 0 20 0 1 0 999 1000 3 18446744073709551615 0";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.state, stat.group, stat.ticks, stat.start_ticks), ('S', 7, 75, 999));
        assert_eq!(stat.resident, 3 * rustix::param::page_size() as u64);
    }

    #[test]
    fn a_process_is_known_by_its_start_too() {
        let me = identify(std::process::id()).unwrap();
        assert!(is_alive(&me) && open(&me).is_some());
        let other = Incarnation { start_ticks: me.start_ticks + 1, ..me };
        assert!(!is_alive(&other) && open(&other).is_none());
    }

    proptest::proptest! {
        /// A name may hold anything, and a newer kernel may write anything.
        #[test]
        fn no_stat_panics(
            name in ".{0,20}",
            fields in proptest::collection::vec("[0-9]{1,20}|18446744073709551615|-1|.{0,3}", 0..30),
        ) {
            let _ = parse_stat(&name);
            let _ = parse_stat(&format!("7 ({name}) S {}", fields.join(" ")));
        }
    }
}
