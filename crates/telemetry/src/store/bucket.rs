//! The store and its bucket: whether they belong together, and what is to be said of it.

use std::path::Path;
use std::sync::Arc;

use super::{Config, OpenError, Telemetry, failed};
use crate::cold;
use crate::objects::{Bucket, Moved, ObjectCounters};

/// The bucket that is configured, if one is. A directory meets it for the first time while it is opened.
pub(super) fn meet(config: &Config, cold: &Path, hot: &Path) -> Result<Option<Arc<Bucket>>, OpenError> {
    let bucket = configured(config, cold, hot)?;
    let holding = cold::buckets_in(cold).map_err(failed("reading", cold))?;
    let configured = bucket.as_ref().map(|bucket| bucket.url().to_owned());
    if let Some(url) = holding.into_iter().find(|url| Some(url) != configured.as_ref()) {
        return Err(OpenError::MovedElsewhere { dir: cold.to_owned(), url, configured });
    }
    Ok(bucket)
}

#[cfg(feature = "object-storage")]
fn configured(config: &Config, cold: &Path, hot: &Path) -> Result<Option<Arc<Bucket>>, OpenError> {
    let Some(storage) = &config.objects else { return Ok(None) };
    let bucket = Bucket::new(storage, |name| std::env::var(name).ok())?;
    cold::acquaint(&bucket, cold, hot)
        .map_err(|trouble| OpenError::FirstMeeting { why: trouble.to_string() })?;
    Ok(Some(Arc::new(bucket)))
}

#[cfg(not(feature = "object-storage"))]
fn configured(config: &Config, _: &Path, _: &Path) -> Result<Option<Arc<Bucket>>, OpenError> {
    config.objects.as_ref().map_or(Ok(()), crate::ObjectStorage::check)?;
    Ok(None)
}

impl Telemetry {
    /// What is kept in a bucket; `None` where none is configured.
    pub fn moved(&self) -> Option<Moved> {
        let bucket = self.open.bucket.as_ref()?;
        let units = self.open.tiers.units();
        let bytes: Vec<u64> = units.iter().filter_map(|unit| unit.moved_bytes()).collect();
        Some(Moved {
            url: bucket.url().to_owned(),
            units: bytes.len() as u64,
            bytes: bytes.iter().sum(),
            trouble: self.open.trouble_with_bucket(),
        })
    }

    /// What went to the bucket and came from it; `None` where none is configured.
    pub fn object_counters(&self) -> Option<&ObjectCounters> {
        self.open.bucket.as_ref().map(|bucket| bucket.counters())
    }
}
