//! `homeostat audit`: verify, prove and export the audit trail of the data directory; have its keys rotated.
//!
//! In: the files of the trail, which are read and never written, and the head of it that the database has; no control plane
//! is needed, and one may run. What changes something is asked of it, but for giving up the trail, without which none starts. Out: JSON and tables on stdout.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use audit::{AuditError, Fact, Format, Proof, Proven, Report, Trust, Trusted, VerifyingKeys};
use clap::{Args, Subcommand, ValueEnum};
use domain::units::parse_duration;
use serde_json::{Value, json};

use super::config::print;
use super::set_aside::{self, SetAsideArgs};
use super::{Exit, Failure, Global, Output};
use crate::auditing;
use crate::unfinished::Unfinished;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Whether every record is as it was written: none changed, removed, added, swapped or cut off.
    Verify(VerifyArgs),
    /// Records, newest first, asked of the running control plane.
    List(ListArgs),
    /// Print the records, oldest first.
    Export(ExportArgs),
    /// Print a proof, to be checked without the log: that a record is in it, or that it only grew.
    Prove(ProveArgs),
    /// Print the newest signed checkpoint; kept elsewhere, it shows what even root on this machine changed since.
    Checkpoint,
    /// Print the public keys by which checkpoints and proofs are known.
    Keys,
    /// Have the running control plane sign with new keys from now on; prints the public keys, to be kept elsewhere.
    RotateKey(RotateArgs),
    /// Give up a trail that is gone or damaged: it is moved away as it is, and a new one begun that says why. While no control
    /// plane runs.
    SetAside(SetAsideArgs),
}

/// `audit verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A checkpoint that was kept elsewhere: the log has to go on where it ended. May be given several times.
    #[arg(long, value_name = "FILE", conflicts_with = "proof")]
    checkpoint: Vec<PathBuf>,
    /// Check this proof, without the log.
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// The public keys, kept elsewhere; default: those of the data directory.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// `audit list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only what was done by exactly this one.
    #[arg(long)]
    pub(super) who: Option<String>,
    /// Only actions whose name begins like this, such as `users.`.
    #[arg(long)]
    pub(super) action: Option<String>,
    /// Only what came out like this: done, refused or failed.
    #[arg(long)]
    pub(super) outcome: Option<String>,
    /// Only what was done since: RFC 3339, such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<String>,
    /// At most this many.
    #[arg(long, default_value_t = 50, allow_negative_numbers = true)]
    pub(super) limit: u32,
    #[command(flatten)]
    pub(super) output: Output,
}

/// `audit export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Only what was recorded since: a time (RFC 3339) or how far back, such as 24h or 7d.
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<i64>,
    /// How records are written.
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    format: ExportFormat,
    /// Write to this file instead, readable by its owner alone; it is there whole or not at all.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ExportFormat {
    /// A JSON object a line, exactly as in the log.
    Jsonl,
    /// A table with a line of names.
    Csv,
}

/// `audit prove`.
#[derive(Debug, Args)]
pub(crate) struct ProveArgs {
    /// The record, by its sequence, counted from 0.
    #[arg(required_unless_present = "since_checkpoint", allow_negative_numbers = true)]
    sequence: Option<u64>,
    /// Prove it by this checkpoint instead of the newest.
    #[arg(long, value_name = "FILE", requires = "sequence")]
    checkpoint: Option<PathBuf>,
    /// Prove that the log only grew since this checkpoint.
    #[arg(long, value_name = "FILE", conflicts_with = "sequence")]
    since_checkpoint: Option<PathBuf>,
}

/// `audit rotate-key`.
#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    output: Output,
}

/// Microseconds since 1970-01-01 UTC.
fn since(text: &str) -> Result<i64, String> {
    if let Ok(back) = parse_duration(text) {
        let back = i64::try_from(back.as_micros()).unwrap_or(i64::MAX);
        return Ok(jiff::Timestamp::now().as_microsecond().saturating_sub(back));
    }
    let stamp: jiff::Timestamp = text
        .parse()
        .map_err(|_| "must be a time such as 2026-11-21T03:00:00Z, or how far back such as 24h")?;
    Ok(stamp.as_microsecond())
}

pub(super) fn run(global: &Global, command: &AuditCommand) -> Result<Exit, Failure> {
    let dir = &global.dir;
    match command {
        AuditCommand::Verify(args) => match &args.proof {
            Some(proof) => check(dir, proof, args),
            None => verify(dir, args),
        },
        AuditCommand::List(args) => super::access::audit_records(global, args),
        AuditCommand::Export(args) => export(dir, args),
        AuditCommand::Prove(args) => prove(dir, args),
        AuditCommand::Checkpoint => checkpoint(dir),
        AuditCommand::RotateKey(args) => rotate_key(global, args),
        AuditCommand::SetAside(args) => set_aside::run(global, args),
        AuditCommand::Keys => {
            print(&audit::public_keys(dir).map_err(failure)?.text())?;
            Ok(Exit::Done)
        }
    }
}

/// What was asked for that is not there is wrong input; the rest is what a check found, or what failed.
fn failure(error: AuditError) -> Failure {
    let exit = match &error {
        AuditError::Absent { .. } | AuditError::NoSuchRecord { .. } | AuditError::Removed { .. } => {
            Exit::Usage
        }
        _ => Exit::Failed,
    };
    Failure::new(exit, &error)
}

/// The longest proof, checkpoint or file of keys, in bytes.
const EVIDENCE_BYTES_MAX: u64 = 16 << 20;

fn read(path: &Path) -> Result<String, Failure> {
    input::read_to_string(path, EVIDENCE_BYTES_MAX).map_err(|error| Failure {
        exit: Exit::Usage,
        message: format!("cannot read {}: {error}", path.display()),
    })
}

/// A checkpoint with where it was read. A blank line at its end, as in the file of checkpoints, does not count.
fn read_checkpoint(path: &Path) -> Result<(PathBuf, String), Failure> {
    Ok((path.to_owned(), format!("{}\n", read(path)?.trim_end_matches('\n'))))
}

fn read_keys(path: Option<&PathBuf>) -> Result<Option<VerifyingKeys>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let keys = VerifyingKeys::parse(&read(path)?);
    let message = |error| format!("{} holds no public keys: {error}", path.display());
    keys.map(Some).map_err(|error| Failure { exit: Exit::Usage, message: message(error) })
}

fn verify(dir: &Path, args: &VerifyArgs) -> Result<Exit, Failure> {
    let checkpoints = args.checkpoint.iter().map(|path| read_checkpoint(path)).collect::<Result<_, _>>()?;
    // Before the trail, which may be written to, so that it is never ahead of it.
    let anchor = auditing::kept_head(dir).map_err(|error| Failure::failed(&error))?;
    let trusted = Trusted { keys: read_keys(args.keys.as_ref())?, checkpoints, anchor };
    let report = audit::verify(dir, &trusted).map_err(failure)?;
    if args.output.json {
        let mut value = serde_json::to_value(&report).map_err(|error| Failure::failed(&error))?;
        value["holds"] = report.holds().into();
        print(&format!("{value:#}\n"))?;
    } else {
        let mut text = format!(
            "log          {}\nrecords      {}, {} of them covered by {} checkpoints\nbegins with  {}\nhead         {}\nbytes        {} in {} segments\nroot         {}\nkeys         {}, rotated {} times{}\n",
            report.origin,
            report.records,
            report.covered,
            report.checkpoints,
            begins(&report),
            match report.anchored {
                Some(size) => format!("counts {}, the one kept in the database {size}", report.acknowledged),
                None => format!("counts {}; the database has none", report.acknowledged),
            },
            report.bytes,
            report.segments,
            report.root,
            report.keys,
            report.rotations,
            if trusted.keys.is_some() { ", as given" } else { ", from the data directory itself" },
        );
        for problem in &report.problems {
            text.push_str(&format!("WRONG        {problem}\n"));
        }
        print(&text)?;
        let verdict =
            if report.holds() { "every record is as it was written" } else { "this is not what was written" };
        provider::say!("{verdict}");
    }
    Ok(if report.holds() { Exit::Done } else { Exit::Failed })
}

/// From where on it was verified.
fn begins(report: &Report) -> String {
    match report.first {
        0 => "record 0".to_owned(),
        first => format!(
            "record {first}: those before were removed when their time had come (retention.audit_days), by a signed note"
        ),
    }
}

fn check(dir: &Path, proof: &Path, args: &VerifyArgs) -> Result<Exit, Failure> {
    let text = read(proof)?;
    let wrong = |error: &dyn std::error::Error| {
        let inner = Failure::failed(error).message;
        Failure { exit: Exit::Failed, message: format!("{}: {inner}", proof.display()) }
    };
    let parsed = Proof::from_json(&text).map_err(|error| Failure { exit: Exit::Usage, ..wrong(&error) })?;
    // Keys of the data directory are those of somebody else where the proof is about another log.
    let given = match read_keys(args.keys.as_ref())? {
        Some(keys) => Some(keys),
        None => audit::public_keys(dir).ok().filter(|keys| text.contains(keys.origin())),
    };
    let proven = parsed.check(given.as_ref()).map_err(|error| wrong(&error))?;
    let shown = if args.output.json { format!("{:#}\n", as_json(&proven)) } else { as_text(&proven) };
    print(&shown)?;
    if proven.trust == Trust::Itself {
        provider::say!(
            "the keys are those in the proof: compare {} with what `homeostat audit verify` says, or give --keys",
            proven.keys.fingerprint()
        );
    }
    Ok(Exit::Done)
}

fn as_json(proven: &Proven) -> Value {
    let fact = match &proven.fact {
        Fact::Recorded(record, checkpoint) => {
            json!({ "proves": "inclusion", "record": record, "size": checkpoint.size, "root": checkpoint.root })
        }
        Fact::Grown(old, new) => json!({
            "proves": "consistency",
            "old": { "size": old.size, "root": old.root },
            "new": { "size": new.size, "root": new.root },
        }),
    };
    let keys =
        json!({ "fingerprint": proven.keys.fingerprint(), "from_proof": proven.trust == Trust::Itself });
    json!({ "holds": true, "log": proven.keys.origin(), "fact": fact, "keys": keys })
}

fn as_text(proven: &Proven) -> String {
    let origin = proven.keys.origin();
    match &proven.fact {
        Fact::Recorded(record, checkpoint) => format!(
            "record {} is in the log {origin} of {} records:\n{}\n",
            record.sequence,
            checkpoint.size,
            record.line()
        ),
        Fact::Grown(old, new) => {
            format!(
                "the first {} records of the log {origin} are the same at {} records\n",
                old.size, new.size
            )
        }
    }
}

fn export(dir: &Path, args: &ExportArgs) -> Result<Exit, Failure> {
    let format = match args.format {
        ExportFormat::Jsonl => Format::Jsonl,
        ExportFormat::Csv => Format::Csv,
    };
    let Some(path) = &args.output else {
        let mut out = BufWriter::new(io::stdout().lock());
        return match audit::export(dir, args.since, format, &mut out) {
            Err(error) if !audit::is_closed(&error) => Err(failure(error)),
            _ => Ok(Exit::Done),
        };
    };
    // What is written beside it takes its place, which must not be that of `/dev/null`.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let message = format!(
            "{} is no regular file; name one, or leave --output out and redirect stdout",
            path.display()
        );
        return Err(Failure { exit: Exit::Usage, message });
    }
    let unfinished = Unfinished::beside(path).map_err(|error| not_written(path, &error))?;
    let mut out = BufWriter::new(unfinished.target().map_err(|error| not_written(path, &error))?);
    let count = audit::export(dir, args.since, format, &mut out).map_err(failure)?;
    out.flush()
        .and_then(|()| out.get_ref().sync_all())
        .and_then(|()| unfinished.replace(path))
        .map_err(|error| not_written(path, &error))?;
    provider::say!("{count} records are in {}", path.display());
    Ok(Exit::Done)
}

fn not_written(path: &Path, error: &io::Error) -> Failure {
    Failure { exit: Exit::Failed, message: format!("cannot write {}: {error}", path.display()) }
}

fn prove(dir: &Path, args: &ProveArgs) -> Result<Exit, Failure> {
    let proof = match (&args.since_checkpoint, args.sequence) {
        (Some(old), _) => audit::prove_growth(dir, &read_checkpoint(old)?),
        (None, sequence) => {
            let by = args.checkpoint.as_deref().map(read_checkpoint).transpose()?;
            audit::prove_record(dir, sequence.unwrap_or_default(), by.as_ref())
        }
    };
    print(&proof.map_err(failure)?.to_json())?;
    Ok(Exit::Done)
}

fn checkpoint(dir: &Path) -> Result<Exit, Failure> {
    let newest = audit::newest_checkpoint(dir).map_err(failure)?;
    let nothing = || Failure {
        exit: Exit::Failed,
        message: "no checkpoint was signed yet: nothing was recorded, or not ten minutes ago".to_owned(),
    };
    print(&newest.ok_or_else(nothing)?.note)?;
    Ok(Exit::Done)
}

fn rotate_key(global: &Global, args: &RotateArgs) -> Result<Exit, Failure> {
    let keys: Value = global.client()?.post("/api/v3/audit/keys/rotate", &json!({}))?;
    if args.output.json {
        print(&format!("{keys:#}\n"))?;
    } else {
        print(keys["text"].as_str().unwrap_or_default())?;
        provider::say!(
            "the old keys handed over and are gone; keep this elsewhere: it is what others know the log by"
        );
    }
    Ok(Exit::Done)
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
