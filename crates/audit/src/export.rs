//! Records for other programs: the lines as they are, or a table.
//!
//! In: a data directory. Out: bytes. The lines are those of the log, so that hashes over them are those of the tree. The
//! table is RFC 4180's; a cell that a spreadsheet would take for a formula begins with an apostrophe.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use crate::error::{AuditError, Problem, Result};
use crate::head;
use crate::keys::load_public;
use crate::layout::Layout;
use crate::record::{Record, shown_time};
use crate::retained::Beginning;

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A JSON object a line, as in the log.
    Jsonl,
    /// A table with a line of names.
    Csv,
}

const COLUMNS: &str = "sequence,time,who,via,action,target,why,outcome,detail,plan,request\r\n";

/// Writes every acknowledged record that is no older than `since_us` (microseconds since 1970-01-01 UTC), oldest first.
/// Returns how many. What it writes is not verified; [`crate::verify`] does that.
///
/// # Errors
///
/// Where there is no trail, a line is no record, or `out` takes no more.
pub fn export(dir: &Path, since_us: Option<i64>, format: Format, out: &mut dyn Write) -> Result<u64> {
    let layout = Layout::new(dir);
    let keys = load_public(&layout)?;
    let size = head::read(&layout, &keys)?.newest.checkpoint.size;
    let failed = || AuditError::file("write", Path::new("the output"));
    if format == Format::Csv {
        out.write_all(COLUMNS.as_bytes()).map_err(failed())?;
    }
    let (mut count, mut line, mut again) = (0, Vec::new(), Vec::new());
    for segment in Beginning::read(&layout, &keys)?.segments(layout.segments()?.0) {
        let file = File::open(&segment.path).map_err(AuditError::file("open", &segment.path))?;
        let mut reader = BufReader::with_capacity(1 << 20, file);
        for number in 1.. {
            line.clear();
            let read =
                reader.read_until(b'\n', &mut line).map_err(AuditError::file("read", &segment.path))?;
            if read == 0 || segment.first + number > size {
                break;
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let record = Record::read(text, &mut again).map_err(|error| {
                let sequence = Some(segment.first + number - 1);
                let file = layout.shown(&segment.path);
                AuditError::Inconsistent(Problem {
                    file,
                    line: Some(number),
                    sequence,
                    what: error.to_string(),
                })
            })?;
            if since_us.is_none_or(|since| record.time_us >= since) {
                match format {
                    Format::Jsonl => out.write_all(&line),
                    Format::Csv => out.write_all(row(&record).as_bytes()),
                }
                .map_err(failed())?;
                count += 1;
            }
        }
    }
    out.flush().map_err(failed())?;
    Ok(count)
}

fn row(record: &Record) -> String {
    let plan = record.plan.map(|plan| plan.to_string());
    let cells = [
        &record.sequence.to_string(),
        &shown_time(record.time_us),
        &record.who,
        record.via.name(),
        record.action.as_str(),
        &record.target,
        record.why.as_deref().unwrap_or_default(),
        record.outcome.name(),
        record.detail.as_deref().unwrap_or_default(),
        plan.as_deref().unwrap_or_default(),
        record.request.as_deref().unwrap_or_default(),
    ];
    cells.map(cell).join(",") + "\r\n"
}

fn cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if text.contains([',', '"', '\r', '\n']) || !guard.is_empty() {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Somewhere to write that nobody reads any more, such as a closed pipe, is no failure of the export.
pub fn is_closed(error: &AuditError) -> bool {
    matches!(error, AuditError::File { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_are_no_formulas() {
        assert_eq!(cell("plain"), "plain");
        assert_eq!(cell("a,\"b\"\nc"), "\"a,\"\"b\"\"\nc\"");
        assert_eq!(cell("=1+1"), "\"'=1+1\"");
    }
}
