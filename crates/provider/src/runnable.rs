//! Whether this machine can run what an Infrastructure declares: asked before anything is started, of whoever would start
//! it, and of this process where no keeper runs yet.

use domain::Infrastructure;

use crate::program;

/// What stands in the way of bringing it up on this machine.
pub(crate) fn check(infrastructure: &Infrastructure) -> Result<(), String> {
    if let Some(violation) = infrastructure.check().first() {
        return Err(format!("{}: {}", violation.field, violation.message));
    }
    for (name, spec) in &infrastructure.services {
        for (field, program) in program::of(spec) {
            if let Some(fault) = program::fault(spec, program) {
                return Err(format!("services.{name}.{field}: {fault}"));
            }
        }
    }
    Ok(())
}
