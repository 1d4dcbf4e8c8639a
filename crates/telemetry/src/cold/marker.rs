//! What stays beside an index when the rows of its unit were moved to a bucket: a line for each file, saying what is there.
//!
//! ```text
//! homeostat-moved 1
//! url s3://bucket/prefix
//! spans 123456 "etag"
//! logs 789 "etag"
//! crc32 1a2b3c4d
//! ```
//!
//! `A-B.moved` makes a unit one whose rows are there; `A-B.gone` says that what is there is to be removed.

use std::collections::BTreeSet;
#[cfg(any(feature = "object-storage", test))]
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::compact::files_in;
use super::unit::Files;
use crate::model::Signal;
use crate::objects::Object;

/// The first line; a later version writes another number.
const FIRST: &str = "homeostat-moved ";
pub(crate) const FORMAT: u32 = 1;

/// The object that says whose prefix of a bucket it is, and the file here that says who we are.
pub(super) const OWNER: &str = "owner";

/// Where the rows of a unit are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker {
    /// The bucket.
    pub(super) url: String,
    pub(super) spans: Option<Object>,
    pub(super) logs: Option<Object>,
}

/// What is wrong with a marker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum MarkerError {
    #[error("what says where its rows were moved is cut off or damaged")]
    Damaged,
    #[error("it was moved by a later version; use a newer homeostat")]
    Newer,
}

impl Marker {
    pub(super) fn of(&self, signal: Signal) -> Option<&Object> {
        match signal {
            Signal::Spans => self.spans.as_ref(),
            Signal::Logs => self.logs.as_ref(),
        }
    }

    /// Bytes of the rows.
    pub(super) fn bytes(&self) -> u64 {
        [&self.spans, &self.logs].into_iter().flatten().map(|object| object.bytes).sum()
    }

    #[cfg(any(feature = "object-storage", test))]
    pub(super) fn write(&self) -> Vec<u8> {
        let mut text = format!("{FIRST}{FORMAT}\nurl {}\n", self.url);
        for (name, object) in [("spans", &self.spans), ("logs", &self.logs)] {
            if let Some(Object { bytes, etag }) = object {
                // Writing to a string does not fail.
                let _ = writeln!(text, "{name} {bytes} {etag}");
            }
        }
        let _ = writeln!(text, "crc32 {:08x}", crc32fast::hash(text.as_bytes()));
        text.into_bytes()
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, MarkerError> {
        let text = str::from_utf8(bytes).map_err(|_| MarkerError::Damaged)?;
        let format = text.strip_prefix(FIRST).and_then(|rest| rest.split('\n').next()?.parse::<u32>().ok());
        match format {
            Some(FORMAT) => Self::read_body(text).ok_or(MarkerError::Damaged),
            Some(newer) if newer > FORMAT => Err(MarkerError::Newer),
            _ => Err(MarkerError::Damaged),
        }
    }

    fn read_body(text: &str) -> Option<Self> {
        let (body, crc) = text.strip_suffix('\n')?.rsplit_once("crc32 ")?;
        if u32::from_str_radix(crc, 16).ok()? != crc32fast::hash(body.as_bytes()) {
            return None;
        }
        let mut marker = Self { url: String::new(), spans: None, logs: None };
        for line in body.lines().skip(1) {
            let (name, rest) = line.split_once(' ')?;
            let object = || {
                let (bytes, etag) = rest.split_once(' ')?;
                Some(Object { bytes: bytes.parse().ok()?, etag: etag.to_owned() })
            };
            match name {
                "url" => rest.clone_into(&mut marker.url),
                "spans" => marker.spans = Some(object()?),
                "logs" => marker.logs = Some(object()?),
                _ => return None,
            }
        }
        (!marker.url.is_empty()).then_some(marker)
    }
}

impl Files {
    /// What says that the rows are in a bucket.
    pub(super) fn moved(&self) -> PathBuf {
        self.index.with_extension("moved")
    }

    /// What says that the rows are still to be removed from a bucket.
    pub(super) fn gone(&self) -> PathBuf {
        self.index.with_extension("gone")
    }

    /// Lets go of a unit whose rows are in a bucket, from where they are removed later: from the first step on for good.
    pub(super) fn bury(&self) -> io::Result<()> {
        fs::rename(self.moved(), self.gone())?;
        if let Some(dir) = self.index.parent() {
            File::open(dir)?.sync_all()?;
        }
        fs::remove_file(&self.index)
    }

    /// The name of the unit, which begins the names of its objects.
    pub(super) fn stem(&self) -> &str {
        self.index.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
    }
}

/// The name of the object that has a unit's rows of a signal.
pub(super) fn rows_name(stem: &str, signal: Signal) -> String {
    match signal {
        Signal::Spans => format!("{stem}.spans.parquet"),
        Signal::Logs => format!("{stem}.logs.parquet"),
    }
}

/// The buckets that hold something of the units of a directory. What is damaged is met later.
pub(crate) fn buckets_in(dir: &Path) -> io::Result<BTreeSet<String>> {
    let mut urls = BTreeSet::new();
    for path in files_in(dir)? {
        if path.extension().is_some_and(|ending| ending == "moved" || ending == "gone") {
            urls.extend(Marker::read(&fs::read(&path)?).ok().map(|marker| marker.url));
        }
    }
    Ok(urls)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object() -> impl Strategy<Value = Option<Object>> {
        prop::option::of((any::<u64>(), "[!-~]{0,40}").prop_map(|(bytes, etag)| Object { bytes, etag }))
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_and_what_is_changed_is_refused(
            spans in object(),
            logs in object(),
            at in any::<prop::sample::Index>(),
            flip in 1u8..128,
        ) {
            let marker = Marker { url: "s3://spans/a".to_owned(), spans, logs };
            let mut bytes = marker.write();
            prop_assert_eq!(Marker::read(&bytes), Ok(marker.clone()));
            let at = at.index(bytes.len());
            prop_assert!(Marker::read(&bytes[..at]).is_err());
            bytes[at] ^= flip;
            prop_assert!(Marker::read(&bytes).map_or(true, |read| read == marker), "byte {} changed", at);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,200}") {
            let _ = (Marker::read(&bytes), Marker::read(text.as_bytes()));
        }
    }

    #[test]
    fn a_later_version_is_no_damage() {
        assert_eq!(Marker::read(b"homeostat-moved 2\nwhatever"), Err(MarkerError::Newer));
        assert_eq!(Marker::read(b"homeostat-moved 0\n"), Err(MarkerError::Damaged));
    }
}
