//! Whether this machine can run what an Infrastructure declares: asked before anything is started, of a plan by the
//! provider and of an order by the keeper.

use std::path::{Path, PathBuf};

use domain::Infrastructure;

/// What stands in the way of bringing it up on this machine.
pub(crate) fn check(infrastructure: &Infrastructure) -> Result<(), String> {
    if let Some(violation) = infrastructure.check().first() {
        return Err(format!("{}: {}", violation.field, violation.message));
    }
    for (name, spec) in &infrastructure.services {
        let hooks = [&spec.drain, &spec.clear_caches].into_iter().flatten();
        let commands = hooks.filter_map(|hook| hook.command.as_ref()).chain([&spec.command]);
        for program in commands.filter_map(|command| command.first()) {
            if !program.contains('{') && find_program(program).is_none() {
                return Err(format!("services.{name}.command: there is no program {program}"));
            }
        }
    }
    Ok(())
}

/// Finds a program as `execvp` would.
fn find_program(name: &str) -> Option<PathBuf> {
    let runnable = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| runnable(path));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| runnable(path))
}
