//! `homeostat demo`, ended by impatient people and by nobody: it leaves nothing behind.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::Signal;

use crate::Test;
use crate::fleet::{Fleet, until};
use crate::processes::{self, Part};

pub(crate) const TESTS: &[Test] = &[
    ("a_demo_that_is_told_twice_to_end_while_it_starts_leaves_nothing", told_twice),
    ("the_next_demo_takes_down_what_a_killed_one_left_behind", killed),
];

/// A demo that begins to start, with its temporary directories in a directory of the test's own.
fn demo(fleet: &Fleet) -> Child {
    let mut command = fleet.command(&["demo", "--no-drill"]);
    command.env("TMPDIR", home(fleet)).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn home(fleet: &Fleet) -> &Path {
    fleet.dir.parent().unwrap()
}

/// The directory of a demo, as soon as its keeper runs.
fn directory_of(fleet: &Fleet, demo: &Child) -> PathBuf {
    let suffix = format!("-{}", demo.id());
    until("the demo's keeper runs", || {
        let entries = std::fs::read_dir(home(fleet)).unwrap().filter_map(|entry| Some(entry.ok()?.path()));
        let mut of_demo = entries.filter(|path| path.to_string_lossy().ends_with(&suffix));
        let dir = of_demo.next().ok_or("it has no directory")?;
        let found = processes::of(&dir);
        let is_up = found.iter().any(|one| one.part == Part::Keeper);
        if is_up { Ok(dir) } else { Err(format!("{found:?}")) }
    })
}

fn nothing_is_left(dir: &Path) -> Result<(), String> {
    let left = processes::of(dir);
    if left.is_empty() && !dir.exists() { Ok(()) } else { Err(format!("{left:?} of {}", dir.display())) }
}

fn told_twice() {
    let fleet = Fleet::new("");
    let mut child = demo(&fleet);
    let dir = directory_of(&fleet, &child);
    // Two of one kind would be one while the first waits.
    processes::signal(child.id(), Signal::TERM);
    processes::signal(child.id(), Signal::INT);
    child.wait().unwrap();
    let left = nothing_is_left(&dir);
    processes::end_all(&dir);
    left.unwrap();
}

fn killed() {
    let fleet = Fleet::new("");
    let mut first = demo(&fleet);
    let left_behind = directory_of(&fleet, &first);
    first.kill().unwrap();
    first.wait().unwrap();

    let mut second = demo(&fleet);
    let dir = directory_of(&fleet, &second);
    let taken_down = nothing_is_left(&left_behind);
    processes::signal(second.id(), Signal::INT);
    second.wait().unwrap();
    let left = nothing_is_left(&dir);
    processes::end_all(&left_behind);
    processes::end_all(&dir);
    taken_down.unwrap();
    left.unwrap();
}
