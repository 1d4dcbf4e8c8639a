//! The processes of this binary that the provider itself starts: the keeper, the holder of the volumes'
//! namespace, the stress workers.
//!
//! In: the arguments of the process. Out: its exit code, or `None` when the arguments are meant for
//! somebody else. The binary asks here before it reads its own command line.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::{keeper, stress};

/// Runs one of the provider's processes if the arguments (program name first) name one:
/// `keeper --dir DIR`, `hold`, `stress WORK`.
pub fn run(arguments: &[OsString]) -> Option<ExitCode> {
    let words: Vec<&str> = arguments.iter().skip(1).filter_map(|word| word.to_str()).collect();
    let outcome = match words.as_slice() {
        ["keeper", "--dir", _] => {
            let dir = arguments.get(3)?;
            keeper::run(Path::new(dir)).map_err(|error| chain(&error))
        }
        ["hold"] => keeper::hold().map_err(|error| format!("cannot keep a namespace for volumes: {error}")),
        ["stress", work] => serde_json::from_str(work)
            .map_err(|error| format!("cannot read the work: {error}"))
            .and_then(|work| stress::run(&work).map_err(|error| format!("stress ended: {error}"))),
        _ => return None,
    };
    Some(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            crate::say!("homeostat: {message}");
            ExitCode::FAILURE
        }
    })
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
