//! Limits held by the kernel: one control group an instance and controller, below a group of the keeper.
//!
//! In: the limits of an instance, the processes that belong to it. Out: groups that hold them to it, how often
//! the kernel ended one of them for its memory, and, where that cannot be had, the sentence that says why. A
//! group outlives the processes of its instance and goes with the instance. Where a group cannot be made the
//! service starts all the same: what is then not held is said in [`Groups::cpu_limit`] and
//! [`Groups::memory_limit`], and the keeper watches the memory itself.
//!
//! Deliberately absent: accounting. What an instance uses is measured in the same way with and without groups.

mod limit;
mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use domain::{Bytes, Cores, Enforcement, InstanceName};
use rustix::process::Signal;

use crate::process;
pub(crate) use limit::Limit;
use limit::{Kind, Version, WhenAbsent};
use place::Place;

/// The groups of one keeper.
pub(crate) struct Groups {
    cpu: Controller,
    memory: Controller,
}

/// What an instance is to be held to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limits {
    pub(crate) cpu: Option<Cores>,
    pub(crate) memory: Option<Bytes>,
    /// Room beside the memory limit: the kernel counts the pages of a volume as memory of who wrote them.
    pub(crate) volume: Option<Bytes>,
}

/// What happens to a process that cannot enter its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outside {
    /// It runs all the same.
    Runs,
    /// It does not run.
    Refused,
}

/// What [`Groups::hold`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// The groups were there, with the processes that belong in them.
    Before,
    /// One was taken over or made, or could not be joined: processes of the instance may be outside.
    New,
}

/// The groups for one controller.
struct Controller {
    kind: Kind,
    place: Result<Place, String>,
    groups: BTreeMap<InstanceName, Group>,
    /// Removed, and not yet empty.
    ending: BTreeSet<InstanceName>,
}

/// One group.
struct Group {
    /// What the kernel holds it to; `None` where writing it failed.
    limit: Option<Limit>,
    /// Ends by the kernel that were told.
    oom_kills: u64,
    /// Why its instance is not held to its limit.
    trouble: Option<String>,
    /// Why a process of its instance is not in it.
    outside: Option<String>,
}

impl Group {
    /// Why not every process of its instance is held to its limit.
    fn wrong(&self) -> Option<&String> {
        self.trouble.as_ref().or(self.outside.as_ref())
    }
}

impl Groups {
    /// Finds out what this machine has, for the keeper in `keeper_dir`, and removes the empty groups of keepers
    /// that are gone.
    pub(crate) fn probe(keeper_dir: &Path) -> Self {
        Self {
            cpu: Controller::probe(Kind::Cpu, keeper_dir),
            memory: Controller::probe(Kind::Memory, keeper_dir),
        }
    }

    /// How a CPU limit is held.
    pub(crate) fn cpu_limit(&self) -> Enforcement {
        match self.cpu.in_force() {
            Ok(version) => Enforcement::Kernel(version.name().to_owned()),
            Err(why) => Enforcement::Unavailable(format!("holding a CPU limit needs cgroups: {why}")),
        }
    }

    /// How a memory limit is held.
    pub(crate) fn memory_limit(&self) -> Enforcement {
        match self.memory.in_force() {
            Ok(version) => Enforcement::Kernel(version.name().to_owned()),
            Err(_) => Enforcement::Supervision,
        }
    }

    /// Whether load can be put beside an instance.
    pub(crate) fn host_stress(&self) -> Enforcement {
        match (self.cpu.in_force(), self.memory.in_force()) {
            (Ok(version), Ok(_)) => Enforcement::Kernel(version.name().to_owned()),
            (Err(why), _) | (_, Err(why)) => {
                Enforcement::Unavailable(format!("stress beside an instance needs cgroups: {why}"))
            }
        }
    }

    /// Brings the groups of an instance to its limits. Without a limit there is no group. The same limits again
    /// cost nothing; what failed is tried again.
    pub(crate) fn hold(&mut self, instance: &InstanceName, limits: Limits) -> Held {
        let room = limits.volume.map_or(0, |size| size.0);
        let memory = limits.memory.map(|limit| Bytes(limit.0.saturating_add(room)));
        let cpu = self.cpu.hold(instance, Limit::Cpu(limits.cpu), limits.cpu.is_some());
        let memory = self.memory.hold(instance, Limit::Memory(memory), memory.is_some());
        if cpu == Held::New || memory == Held::New { Held::New } else { Held::Before }
    }

    /// Whether the kernel holds the processes of an instance to `limit`, and to nothing above it.
    pub(crate) fn holds_memory(&self, instance: &InstanceName, limit: Bytes) -> bool {
        let group = self.memory.groups.get(instance);
        group.is_some_and(|group| group.wrong().is_none() && group.limit == Some(Limit::Memory(Some(limit))))
    }

    /// Lets a command begin inside the groups of an instance.
    pub(crate) fn enter_before_exec(
        &self,
        command: &mut Command,
        instance: &InstanceName,
        outside: Outside,
    ) -> io::Result<()> {
        let entries: io::Result<Vec<File>> =
            self.of(instance).map(|(version, dir)| open_entry(version, &dir)).collect();
        let entries = match (entries, outside) {
            (Ok(entries), _) => entries,
            (Err(error), Outside::Refused) => return Err(error),
            (Err(_), Outside::Runs) => return Ok(()),
        };
        let enter = move || {
            for entry in &entries {
                // SAFETY: the descriptor is open as long as the closure is, and the text is one byte long.
                let written = unsafe { libc::write(entry.as_raw_fd(), c"0".as_ptr().cast(), 1) };
                if written != 1 && outside == Outside::Refused {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        };
        // SAFETY: between fork and exec only system calls are made, on descriptors opened before the fork.
        unsafe { command.pre_exec(enter) };
        Ok(())
    }

    /// Makes sure that running processes of an instance are in its groups.
    pub(crate) fn admit(&mut self, instance: &InstanceName, pids: &[u32]) {
        for controller in [&mut self.cpu, &mut self.memory] {
            controller.admit(instance, pids);
        }
    }

    /// Whether the kernel ended a process of an instance for its memory since this was asked last.
    pub(crate) fn take_oom(&mut self, instance: &InstanceName) -> bool {
        self.memory.take_oom(instance)
    }

    /// The file that lists the processes whose memory is counted together with an instance's.
    pub(crate) fn memory_members(&self, instance: &InstanceName) -> Option<PathBuf> {
        let place = self.memory.place.as_ref().ok()?;
        self.memory.groups.get(instance)?;
        Some(place.dir.join(instance.to_string()).join(MEMBERS))
    }

    /// Removes the groups of an instance and ends what is still in them.
    pub(crate) fn remove(&mut self, instance: &InstanceName) {
        for controller in [&mut self.cpu, &mut self.memory] {
            if controller.groups.remove(instance).is_some() {
                controller.ending.insert(instance.clone());
            }
        }
        self.sweep();
    }

    /// Removes the groups of every instance that is not among these: an earlier keeper's.
    pub(crate) fn remove_others(&mut self, wanted: &[InstanceName]) {
        for controller in [&mut self.cpu, &mut self.memory] {
            let Ok(place) = &controller.place else { continue };
            let names = place.groups().into_iter().filter_map(|name| name.parse::<InstanceName>().ok());
            controller.ending.extend(names.filter(|name| !wanted.contains(name)));
        }
        self.sweep();
    }

    /// Goes on with removing; whether everything that had to go is gone.
    pub(crate) fn sweep(&mut self) -> bool {
        let cpu = self.cpu.sweep();
        self.memory.sweep() && cpu
    }

    /// Removes the group of the keeper where it is empty. It is made again when it is needed.
    pub(crate) fn release(&mut self) {
        for controller in [&mut self.cpu, &mut self.memory] {
            if let Ok(place) = &mut controller.place {
                place.release();
            }
        }
    }

    /// The directories of an instance's groups, each once.
    fn of(&self, instance: &InstanceName) -> impl Iterator<Item = (Version, PathBuf)> {
        let dir = |controller: &Controller| {
            controller.groups.get(instance)?;
            let place = controller.place.as_ref().ok()?;
            Some((place.version, place.dir.join(instance.to_string())))
        };
        let (cpu, memory) = (dir(&self.cpu), dir(&self.memory));
        let memory = memory.filter(|it| cpu.as_ref() != Some(it));
        cpu.into_iter().chain(memory)
    }
}

impl Controller {
    fn probe(kind: Kind, keeper_dir: &Path) -> Self {
        let place = Place::find(kind, keeper_dir).and_then(|mut place| {
            place.make()?;
            place.sweep();
            Ok(place)
        });
        Self { kind, place, groups: BTreeMap::new(), ending: BTreeSet::new() }
    }

    /// The version that holds every instance to its limit, or why one is not held.
    fn in_force(&self) -> Result<Version, String> {
        let version = self.place.as_ref().map(|place| place.version).map_err(Clone::clone)?;
        let trouble = self.groups.iter().find_map(|(name, group)| Some((name, group.wrong()?)));
        trouble.map_or(Ok(version), |(name, why)| Err(format!("{name}: {why}")))
    }

    fn hold(&mut self, instance: &InstanceName, limit: Limit, limited: bool) -> Held {
        let Ok(place) = &mut self.place else { return Held::Before };
        let known = self.groups.get(instance);
        let is_new = known.map_or(limited, |group| group.outside.is_some());
        let held = if is_new { Held::New } else { Held::Before };
        if known.is_some_and(|group| group.limit == Some(limit)) || (known.is_none() && !limited) {
            return held;
        }
        let dir = place.dir.join(instance.to_string());
        self.ending.remove(instance);
        let made = make(place, &dir).and_then(|()| set(&dir, place.version, limit));
        let oom_kills = if self.kind == Kind::Memory { count_ooms(place.version, &dir) } else { 0 };
        let fresh = Group { limit: None, oom_kills, trouble: None, outside: None };
        let group = self.groups.entry(instance.clone()).or_insert(fresh);
        (group.limit, group.trouble) = match made {
            Ok(()) => (Some(limit), None),
            Err(why) => (None, Some(why)),
        };
        held
    }

    fn admit(&mut self, instance: &InstanceName, pids: &[u32]) {
        let (Ok(place), Some(group)) = (&self.place, self.groups.get_mut(instance)) else { return };
        let procs = place.dir.join(instance.to_string()).join(MEMBERS);
        let inside = members(&procs);
        let put = |pid: &u32| match place::write(&procs, &pid.to_string()) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                Some(format!("process {pid} cannot be put into its group: {error}"))
            }
            // In it, or ended meanwhile.
            _ => None,
        };
        let outside: Vec<String> = pids.iter().filter(|pid| !inside.contains(pid)).filter_map(put).collect();
        group.outside = outside.into_iter().next();
    }

    fn take_oom(&mut self, instance: &InstanceName) -> bool {
        let (Ok(place), Some(group)) = (&self.place, self.groups.get_mut(instance)) else { return false };
        let now = count_ooms(place.version, &place.dir.join(instance.to_string()));
        let more = now > group.oom_kills;
        group.oom_kills = now;
        more
    }

    fn sweep(&mut self) -> bool {
        if let Ok(place) = &self.place {
            self.ending.retain(|instance| !remove_group(&place.dir.join(instance.to_string())));
        }
        self.ending.is_empty()
    }
}

/// The file that lists the processes of a group and takes new ones.
const MEMBERS: &str = "cgroup.procs";

/// What a process writes "0" into to enter a group. In version 1 a single thread may enter by itself, which
/// waits for nobody; a whole process waits until the kernel saw every processor rest, 15 ms at times.
fn open_entry(version: Version, dir: &Path) -> io::Result<File> {
    let name = match version {
        Version::V1 => "tasks",
        Version::V2 => MEMBERS,
    };
    fs::OpenOptions::new().write(true).open(dir.join(name))
}

fn make(place: &mut Place, dir: &Path) -> Result<(), String> {
    let mut made = fs::create_dir(dir);
    if made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        place.make()?;
        made = fs::create_dir(dir);
    }
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(format!("making {} failed: {error}", dir.display()))
        }
        _ => Ok(()),
    }
}

fn set(dir: &Path, version: Version, limit: Limit) -> Result<(), String> {
    for write in limit::writes(version, limit) {
        let file = dir.join(write.file);
        match place::write(&file, &write.text) {
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && write.when_absent == WhenAbsent::Skipped => {}
            Err(error) => {
                return Err(format!("writing {} into {} failed: {error}", write.text, file.display()));
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

fn count_ooms(version: Version, dir: &Path) -> u64 {
    let text = fs::read_to_string(dir.join(limit::oom_file(version))).unwrap_or_default();
    limit::oom_kills(&text).unwrap_or_default()
}

/// The processes a `cgroup.procs` lists.
pub(crate) fn members(procs: &Path) -> Vec<u32> {
    let text = fs::read_to_string(procs).unwrap_or_default();
    text.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

/// Ends what is in a group and removes it; whether it is gone.
fn remove_group(dir: &Path) -> bool {
    for member in members(&dir.join(MEMBERS)).into_iter().filter_map(process::identify) {
        if let Err(error) = process::signal(&member, Signal::KILL) {
            crate::say!("cannot end process {} in {}: {error}", member.pid, dir.display());
        }
    }
    match fs::remove_dir(dir) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Whether the kernel holds the running process `pid` of an instance to `limit`, read from the group itself.
/// `volume` as in [`Limits`].
pub(crate) fn is_held(
    keeper_dir: &Path,
    instance: &InstanceName,
    pid: u32,
    limit: Limit,
    volume: Option<Bytes>,
) -> bool {
    let (kind, limit) = match limit {
        Limit::Cpu(_) => (Kind::Cpu, limit),
        Limit::Memory(most) => {
            let room = volume.map_or(0, |size| size.0);
            (Kind::Memory, Limit::Memory(most.map(|most| Bytes(most.0.saturating_add(room)))))
        }
    };
    let Ok(place) = Place::find(kind, keeper_dir) else { return false };
    let dir = place.dir.join(instance.to_string());
    let text = |file: &&str| fs::read_to_string(dir.join(file)).unwrap_or_default();
    let texts: Vec<String> = limit::files(place.version, kind).iter().map(text).collect();
    members(&dir.join(MEMBERS)).contains(&pid) && limit::is_in_force(limit, &texts.join(" "))
}

/// The groups that are there for the keeper in `keeper_dir`, whoever left them.
pub(crate) fn groups_of(keeper_dir: &Path) -> BTreeSet<String> {
    let places = [Kind::Cpu, Kind::Memory].map(|kind| Place::find(kind, keeper_dir));
    places.iter().flatten().flat_map(Place::groups).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's files of a group, as far as they are there, as plain ones.
    fn files(dir: &Path, names: &[&str]) {
        fs::create_dir_all(dir).unwrap();
        names.iter().for_each(|name| fs::write(dir.join(name), "").unwrap());
    }

    #[test]
    fn a_group_that_can_be_made_and_joined_again_is_no_trouble_any_more() {
        let root = tempfile::tempdir().unwrap();
        let place = Ok(Place::at(root.path(), Kind::Cpu, Version::V2));
        let mut groups =
            Controller { kind: Kind::Cpu, place, groups: BTreeMap::new(), ending: BTreeSet::new() };
        let (instance, limit) = ("cart-0".parse().unwrap(), Limit::Cpu(Some(Cores(0.5))));
        let dir = root.path().join("cart-0");

        // Neither the limit nor the members can be written.
        assert_eq!(groups.hold(&instance, limit, true), Held::New);
        groups.admit(&instance, &[7, 8]);
        assert!(groups.in_force().unwrap_err().contains("cpu.max"));
        // The limit can; the processes are outside still, and that is said.
        files(&dir, &["cpu.max"]);
        assert_eq!(groups.hold(&instance, limit, true), Held::New);
        groups.admit(&instance, &[7, 8]);
        assert!(groups.in_force().unwrap_err().contains("process 7 cannot be put into its group"));
        // Now both.
        files(&dir, &["cgroup.procs"]);
        assert_eq!(groups.hold(&instance, limit, true), Held::New);
        groups.admit(&instance, &[7, 8]);
        assert_eq!(groups.in_force(), Ok(Version::V2));
        assert_eq!(groups.hold(&instance, limit, true), Held::Before, "nothing is tried without need");
    }
}
