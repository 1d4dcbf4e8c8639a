//! The token that every write must show.
//!
//! In: a data directory. Out: its token, made at the first start. One that is there and is not understood is refused,
//! never replaced: somebody's tools hold it.

use std::fs;
use std::path::Path;

use durable::Access;

use crate::client::token_file;
use crate::control_plane::StartError;

/// The longest file with a token, in bytes.
const LONGEST: u64 = 4 << 10;

/// The token of a data directory; made at first start, readable by its owner alone. One that is there and cannot be
/// read is somebody's: it is not replaced.
pub(crate) fn token(dir: &Path) -> Result<String, StartError> {
    let path = token_file(dir);
    match input::read(&path, LONGEST).map(String::from_utf8) {
        Ok(Ok(text)) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(Ok(_)) => {}
        Ok(Err(_)) => return Err(StartError::TokenText { path }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(StartError::TokenRead { path, source }),
    }
    let failed = |source| StartError::Token { path: path.clone(), source };
    let token = random::<24>().map_err(failed)?;
    // On the disk before anybody is given it.
    durable::replace(&path, token.as_bytes(), Access::Owner).map_err(failed)?;
    Ok(token)
}

/// So many random bytes of the system, in hexadecimal.
pub(crate) fn random<const BYTES: usize>() -> std::io::Result<String> {
    let mut random = [0u8; BYTES];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
