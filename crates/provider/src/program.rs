//! Where a program is found.
//!
//! In: the first word of a command, and what it is relative to. Out: the same said from the root, or whether `execvp` finds
//! it in the process that is started: that one runs in a directory of its own, with a `PATH` of its own.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use domain::ServiceSpec;

/// Placeholders that are paths from the root.
const ROOTED: [&str; 3] = ["{homeostat}", "{volume}", "{state}"];

/// Where `execvp` looks without a `PATH`.
const PATH_OF_NONE: &str = "/bin:/usr/bin";

/// Why a program that [`is_relative`] is refused where nothing says relative to what.
pub const RELATIVE: &str = "which is relative, and nothing here says to which directory; give the whole path, or the name of a program in PATH";

/// Whether a program is a path that does not begin at the root.
pub fn is_relative(program: &str) -> bool {
    let rooted = program.starts_with('/') || ROOTED.iter().any(|one| program.starts_with(one));
    program.contains('/') && !rooted
}

/// The same program, said from the root where it is relative to `dir`, which is said from the root itself.
pub fn anchored(program: &str, dir: &Path) -> String {
    if !is_relative(program) {
        return program.to_owned();
    }
    let whole = dir.join(program);
    // Without `./`, so that the same program is said in one way.
    std::path::absolute(&whole).unwrap_or(whole).display().to_string()
}

/// Every program of a service, with the field of its command.
pub(crate) fn of(spec: &ServiceSpec) -> impl Iterator<Item = (&'static str, &str)> {
    let hooks = [("drain.command", &spec.drain), ("clear_caches.command", &spec.clear_caches)];
    let hooks = hooks
        .into_iter()
        .filter_map(|(field, hook)| Some((field, hook.as_ref()?.command.as_ref()?.first()?)));
    let own = spec.command.first().map(|program| ("command", program));
    own.into_iter().chain(hooks).map(|(field, program)| (field, program.as_str()))
}

/// Says every program of a service from the root.
pub(crate) fn anchor_all(spec: &mut ServiceSpec, dir: &Path) {
    let hooks = [&mut spec.drain, &mut spec.clear_caches].into_iter().flatten();
    let commands = hooks.filter_map(|hook| hook.command.as_mut()).chain([&mut spec.command]);
    for program in commands.filter_map(|command| command.first_mut()) {
        *program = anchored(program, dir);
    }
}

/// Why a process of a service could not run a program; `None` where it could. Asked by whoever would start it, whose `PATH`
/// it is given unless the service has one of its own.
pub(crate) fn fault(spec: &ServiceSpec, program: &str) -> Option<String> {
    if is_relative(program) {
        return Some(format!("names the program {program}, {RELATIVE}"));
    }
    // What a placeholder stands for is known when an instance is.
    if program.contains('{') {
        return None;
    }
    if program.contains('/') {
        return (!is_runnable(Path::new(program))).then(|| match Path::new(program).exists() {
            true => format!("{program} is no file that may be executed"),
            false => format!("there is no program {program}"),
        });
    }
    let (whose, path) = match spec.environment.get("PATH") {
        // One that refers to a secret that is not there is told as that when it is used.
        Some(own) => {
            ("its own PATH", crate::secret::reveal(own).map_or_else(|_| OsString::new(), Into::into))
        }
        None => ("PATH", std::env::var_os("PATH").unwrap_or_else(|| PATH_OF_NONE.into())),
    };
    let missing = !is_in(&path, program);
    missing.then(|| format!("there is no program {program} in {whose} ({})", path.display()))
}

/// Whether one of the directories of a `PATH` has it. Those that are relative to where a process will run are not looked in:
/// that directory is not there yet.
fn is_in(path: &OsStr, program: &str) -> bool {
    let mut directories = std::env::split_paths(path).filter(|dir| dir.is_absolute());
    directories.any(|dir| is_runnable(&dir.join(program)))
}

fn is_runnable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_program_is_said_from_a_directory_and_nothing_else_is() {
        let said = |program| anchored(program, Path::new("/srv/shop"));
        assert_eq!(said("./web"), "/srv/shop/web");
        assert_eq!(said("bin/{version}/web"), "/srv/shop/bin/{version}/web");
        assert_eq!(said("{version}/web"), "/srv/shop/{version}/web");
        for other in ["web", "/usr/bin/web", "{homeostat}", "{volume}/web", "{state}/web", ""] {
            assert_eq!(said(other), other);
        }
    }
}
