//! `homeostat tls`: makes a certificate for first use.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use domain::Clock;
use durable::Access;
use provider::clock::SystemClock;

use super::{Exit, Failure, Global};

const DAY: Duration = Duration::from_secs(86_400);

/// What to do with certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum TlsCommand {
    /// Make a certificate that vouches for itself: for tests and first use, until an authority issues one. Clients have to
    /// be given the certificate to trust it; browsers warn.
    SelfSigned(SelfSignedArgs),
}

/// `tls self-signed`.
#[derive(Debug, Args)]
pub(crate) struct SelfSignedArgs {
    /// A host name or an address that it is for; may be repeated.
    #[arg(long = "name", required = true, value_name = "HOST")]
    pub(crate) names: Vec<String>,
    /// Where the certificate is written. Default: certificate.pem in the data directory.
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    /// Where its key is written, readable by its owner alone. Default: key.pem in the data directory.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// How many days it is valid.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650), allow_negative_numbers = true)]
    pub(crate) days: u32,
}

pub(super) fn run(global: &Global, command: &TlsCommand) -> Result<Exit, Failure> {
    let TlsCommand::SelfSigned(args) = command;
    let made = gateway::self_signed(&args.names, SystemClock.now(), DAY.saturating_mul(args.days))
        .map_err(|error| Failure::new(Exit::Usage, &error))?;
    // Where they are used, in the configuration, a path is seen from another place than here.
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let data = whole(&global.dir);
    let at = |given: &Option<PathBuf>, name: &str| given.as_deref().map_or_else(|| data.join(name), whole);
    let (certificate, key) = (at(&args.certificate, "certificate.pem"), at(&args.key, "key.pem"));
    if let Some(dir) = [&certificate, &key].into_iter().find(|file| file.starts_with(&data)) {
        let dir = dir.parent().unwrap_or(&data);
        durable::take_dir(&data).map_err(|error| failed("use", &data, &error))?;
        durable::make_dir(dir, Access::Owner).map_err(|error| failed("make", dir, &error))?;
    }
    // The key first: a certificate whose key could not be written would be of no use.
    write(&key, Access::Owner, &made.key, "--key")?;
    if let Err(failure) = write(&certificate, Access::Everybody, &made.certificate, "--certificate") {
        // It was made for this certificate alone, and would be in the way of the next try.
        let _ = std::fs::remove_file(&key);
        return Err(failure);
    }
    super::print(&format!(
        "[tls]\ncertificate = {:?}\nkey = {:?}\n",
        certificate.display().to_string(),
        key.display().to_string()
    ))?;
    provider::say!("put these lines into the configuration; clients trust it by {}", certificate.display());
    Ok(Exit::Done)
}

/// Writes a file that is not there yet: what is there may be in use.
fn write(path: &Path, access: Access, text: &str, option: &str) -> Result<(), Failure> {
    durable::create(path, text.as_bytes(), access).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure {
            exit: Exit::Usage,
            message: format!(
                "{} is there already, and may be in use; name another file with {option}, or remove this one",
                path.display()
            ),
        },
        _ => failed("write", path, &error),
    })
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure { exit: Exit::Failed, message: format!("cannot {what} {}: {error}", path.display()) }
}
