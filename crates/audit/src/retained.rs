//! Where a log begins whose first records were removed: their number, their root, and what the next record goes on from.
//!
//! ```text
//! homeostat.audit/5d2c…
//! retained from 4096        the first record that is there
//! CsUYapGGPo4d…             root over those before, base64
//! previous 91c4…            hash of the leaf of the last of them
//! peak 20e7…                the perfect subtrees over them, from left to right
//!
//! — homeostat.audit/5d2c… …
//! ```
//!
//! In: a walk over all that is signed. Out: the file `audit/retained`, signed by both keys that sign now: nobody else can
//! take records from the beginning. No checkpoint has this form, so none can be put in its place.

use std::fs;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoints::Checkpoints;
use crate::error::{AuditError, NoteError, Problem, Result};
use crate::keys::load_public;
use crate::layout::{Layout, SegmentFile, write_file};
use crate::merkle::{Frontier, Hash};
use crate::scan::walk;
use crate::verifying::VerifyingKeys;

/// What a walk goes on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beginning {
    /// The tree over all records before.
    pub(crate) frontier: Frontier,
    /// The hash of the last of them.
    pub(crate) last: Hash,
}

impl Default for Beginning {
    fn default() -> Self {
        Self { frontier: Frontier::default(), last: Hash::ZERO }
    }
}

impl Beginning {
    /// The first record that is there.
    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// What is signed.
    pub(crate) fn text(&self, origin: &str) -> String {
        let root = STANDARD.encode(self.frontier.root().0);
        let peaks = self.frontier.peaks().iter().map(|peak| format!("peak {peak}\n"));
        let peaks: String = peaks.collect();
        format!("{origin}\nretained from {}\n{root}\nprevious {}\n{peaks}", self.size(), self.last)
    }

    fn parse(origin: &str, text: &str) -> Option<Self> {
        let mut lines = text.lines().skip(1);
        let size = lines.next()?.strip_prefix("retained from ")?.parse().ok()?;
        let _root = lines.next()?;
        let last = Hash::from_hex(lines.next()?.strip_prefix("previous ")?)?;
        let peaks = lines.map(|line| Hash::from_hex(line.strip_prefix("peak ")?)).collect::<Option<_>>()?;
        let beginning = Self { frontier: Frontier::of(size, peaks)?, last };
        (beginning.text(origin) == text).then_some(beginning)
    }

    /// Where the log of a directory begins.
    pub(crate) fn read(layout: &Layout, keys: &VerifyingKeys) -> Result<Self> {
        let path = layout.retained();
        let Some(note) = note(layout)? else { return Ok(Self::default()) };
        let broken = |error: NoteError| {
            AuditError::Inconsistent(Problem::of_file(layout.shown(&path), error.to_string()))
        };
        let text = keys.signed_now(&note).map_err(broken)?;
        Self::parse(keys.origin(), text).ok_or_else(|| broken(NoteError::Form("it is no beginning of a log")))
    }

    /// Where the log begins once all before record `size` is removed: found by a walk to the first checkpoint that covers
    /// them, so that nothing is signed that was changed meanwhile.
    pub(crate) fn at(layout: &Layout, size: u64) -> Result<Self> {
        let keys = load_public(layout)?;
        let from = Self::read(layout, &keys)?;
        let checkpoints = Checkpoints::read(layout, &keys)?;
        let until = checkpoints.all.iter().map(|one| one.checkpoint.size).find(|covered| *covered >= size);
        let until = until.ok_or(AuditError::NotCovered { sequence: size.saturating_sub(1) })?;
        let mut signed = checkpoints.signed();
        signed.retain(|one| one.checkpoint.size <= until);
        let (segments, _) = layout.segments()?;
        let segments = from.segments(segments);
        let mut beginning = from.clone();
        let walk = walk(
            layout,
            &segments,
            &from,
            signed,
            Some(until),
            |_| (),
            |record| {
                if beginning.size() < size {
                    beginning.frontier.push(record.hash);
                    beginning.last = record.hash;
                }
            },
        )?;
        match walk.stop {
            Some(stop) => Err(AuditError::Inconsistent(stop.problem)),
            None => Ok(beginning),
        }
    }

    /// The segments that belong to the log still.
    pub(crate) fn segments(&self, mut all: Vec<SegmentFile>) -> Vec<SegmentFile> {
        all.retain(|segment| segment.first >= self.size());
        all
    }

    /// Removes the segments before it. From the file `audit/retained` on they are no part of the log.
    pub(crate) fn remove_before(&self, layout: &Layout) -> Result<()> {
        let (segments, _) = layout.segments()?;
        let mut gone = segments.iter().filter(|segment| segment.first < self.size()).peekable();
        if gone.peek().is_none() {
            return Ok(());
        }
        for segment in gone {
            fs::remove_file(&segment.path).map_err(AuditError::file("remove", &segment.path))?;
        }
        layout.sync(&layout.log())
    }
}

/// The signed note, where there is one.
pub(crate) fn note(layout: &Layout) -> Result<Option<String>> {
    let path = layout.retained();
    match fs::read_to_string(&path) {
        Ok(note) => Ok(Some(note)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AuditError::file("read", &path)(error)),
    }
}

/// Writes the signed note.
pub(crate) fn write(layout: &Layout, note: &str) -> Result<()> {
    write_file(&layout.retained(), note.as_bytes(), 0o600)?;
    layout.sync(&layout.audit())
}

/// Public keys and where the log begins. Whoever reads while a trail is written to begins again where these changed.
pub(crate) fn standing(layout: &Layout) -> Result<(VerifyingKeys, Option<String>)> {
    Ok((load_public(layout)?, note(layout)?))
}
