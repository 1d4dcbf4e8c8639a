//! `homeostat backup` and `homeostat restore`: the data directory as one file, and back.
//!
//! Both work on the files themselves, so that a backup can be made, and restored, when nothing runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use audit::{Action, Audit, Outcome};
use clap::Args;
use domain::Bytes;
use provider::clock::SystemClock;
use serde_json::{Value, json};
use store::Store;

use super::config::print;
use super::{Exit, Failure, Global, Output};
use crate::backup::{self, BackupError, Found, Manifest, Restored, Telemetry};
use crate::{auditing, second_factors};

/// `backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The archive to write (tar in zstd); it must not be there. It holds the token and the keys: keep it as safe as the data.
    file: PathBuf,
    /// Leave spans, logs and series out.
    #[arg(long)]
    without_telemetry: bool,
    #[command(flatten)]
    output: Output,
}

/// `restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The archive, written by `homeostat backup`.
    file: PathBuf,
    /// Remove what is in the data directory; without this, anything there is refused.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    output: Output,
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let exit = match &error {
            BackupError::NoData { .. }
            | BackupError::NotEmpty { .. }
            | BackupError::InUse { .. }
            | BackupError::Exists { .. }
            | BackupError::NoArchive { .. } => Exit::Usage,
            _ => Exit::Failed,
        };
        Self::new(exit, &error)
    }
}

pub(super) fn backup(global: &Global, args: &BackupArgs) -> Result<Exit, Failure> {
    let telemetry = if args.without_telemetry { Telemetry::LeftOut } else { Telemetry::Included };
    let manifest = backup::write(&global.dir, &args.file, telemetry, &SystemClock)?;
    let packed = args.file.metadata().map(|file| file.len()).unwrap_or(0);
    let text = format!("{} holds {} in {} bytes", args.file.display(), told(&manifest), packed);
    say(args.output, described(&manifest), &text)
}

pub(super) fn restore(global: &Global, args: &RestoreArgs) -> Result<Exit, Failure> {
    let found = if args.replace { Found::Replace } else { Found::Refuse };
    let Restored { manifest, unreadable } = backup::restore(&args.file, &global.dir, found)?;
    if let Err(failure) = record(&global.dir, &args.file, &manifest) {
        provider::say!("the audit trail does not say that this was restored: {}", failure.message);
    }
    let text = format!("{} is as it was at {}: {}", global.dir.display(), manifest.made_at, told(&manifest));
    let mut value = described(&manifest);
    value["unreadable_second_factors"] = json!(unreadable);
    let exit = say(args.output, value, &text)?;
    if let Some(trouble) = second_factors::told(&unreadable, &global.dir) {
        provider::say!("{trouble}");
    }
    Ok(exit)
}

/// Appends to the trail that was restored who did that; what was recorded since the backup is gone with it.
fn record(dir: &Path, archive: &Path, manifest: &Manifest) -> Result<(), Failure> {
    const ACTION: Action = Action::new("backup.restore");
    let store = Store::open(dir).map_err(|error| Failure::failed(&error))?;
    let options = auditing::options(&store, 0).map_err(|error| Failure::failed(&error))?;
    let trail =
        Audit::open_with(dir, Arc::new(SystemClock), options).map_err(|error| Failure::failed(&error))?;
    let archive = std::path::absolute(archive).unwrap_or_else(|_| archive.to_owned());
    let record = auditing::command_line().did(ACTION, archive.display().to_string(), Outcome::Done);
    let record = record.detail(format!("all is as it was at {}", manifest.made_at));
    trail.append(record).map(drop).map_err(|error| Failure::failed(&error))
}

fn told(manifest: &Manifest) -> String {
    let without = if manifest.telemetry { "" } else { ", without telemetry" };
    format!("{} files, {}{without}", manifest.files.len(), Bytes(manifest.bytes()))
}

fn described(manifest: &Manifest) -> Value {
    let Manifest { homeostat, made_at, telemetry, formats, files, .. } = manifest;
    json!({
        "homeostat": homeostat, "made_at": made_at, "telemetry": telemetry, "formats": formats,
        "files": files.len(), "bytes": manifest.bytes(),
    })
}

fn say(output: Output, value: Value, text: &str) -> Result<Exit, Failure> {
    if output.json {
        print(&format!("{value:#}\n"))?;
    } else {
        provider::say!("{text}");
    }
    Ok(Exit::Done)
}
