//! Settings of an instance, from its environment.
//!
//! In: environment variables. Out: [`Settings`], or an error that names the variable. Deliberately absent:
//! a configuration file; the keeper speaks to services through their environment only.

use std::path::PathBuf;

use super::ServiceError;
use super::call::Dependency;

/// What every instance needs to know.
#[derive(Debug)]
pub(super) struct Settings {
    /// Its name, such as `cart-0`.
    pub(super) instance: String,
    /// Where it listens, on loopback.
    pub(super) port: u16,
    /// Its data directory; may be empty at start.
    pub(super) volume: PathBuf,
}

impl Settings {
    /// Reads `HOMEOSTAT_INSTANCE`, `PORT` and `HOMEOSTAT_VOLUME`; makes the directory where it is missing.
    pub(super) fn from_environment() -> Result<Self, ServiceError> {
        let volume = PathBuf::from(text("HOMEOSTAT_VOLUME")?);
        std::fs::create_dir_all(&volume)
            .map_err(|source| ServiceError::Volume { path: volume.clone(), source })?;
        Ok(Self { instance: text("HOMEOSTAT_INSTANCE")?, port: number("PORT", &text("PORT")?)?, volume })
    }
}

/// The service named `callee`, at the address in `CALLEE_ADDRESS`.
pub(super) fn dependency(callee: &str) -> Result<Dependency, ServiceError> {
    let address = text(&format!("{}_ADDRESS", callee.to_uppercase().replace('-', "_")))?;
    Ok(Dependency::new(callee, address))
}

/// A number from the variable `name`, `default` where it is not set.
pub(super) fn number_or(name: &str, default: u64) -> Result<u64, ServiceError> {
    std::env::var(name).map_or(Ok(default), |value| number(name, &value))
}

fn text(name: &str) -> Result<String, ServiceError> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).ok_or_else(|| ServiceError::Setting {
        name: name.to_owned(),
        problem: "is not set; the keeper sets it, by hand export it before the start".to_owned(),
    })
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, ServiceError> {
    value.parse().map_err(|_| ServiceError::Setting {
        name: name.to_owned(),
        problem: format!("is {value:?}, must be a whole number in range"),
    })
}
