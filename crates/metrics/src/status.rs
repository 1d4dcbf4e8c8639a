//! How a store is: what it holds, where, and who sent it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::admission::SourceName;
use crate::catalogue::DamagedFile;
use crate::lock;
use crate::shared::Shared;
use crate::tier::Tier;

/// How a store is.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Active series.
    pub series: u64,
    /// Most active series.
    pub series_max: u64,
    /// By name.
    pub sources: Vec<SourceStatus>,
    /// Bytes of samples in memory.
    pub head_bytes: u64,
    /// Bytes of batches that wait for the disk.
    pub waiting_bytes: u64,
    /// Bytes of indexes of blocks in memory.
    pub index_bytes: u64,
    /// Exemplars in memory.
    pub exemplars: u64,
    /// Finest first.
    pub tiers: Vec<TierStatus>,
    /// Why samples in memory did not become blocks the last time, where they did not.
    pub flush_failure: Option<String>,
    /// Files that could not be read, and were set aside.
    pub damaged: Vec<DamagedFile>,
}

/// How a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStatus {
    /// Which.
    pub name: SourceName,
    /// Active series that came from it first.
    pub series: u64,
    /// Most active series.
    pub series_max: u64,
    /// Samples taken in since the process began.
    pub accepted: u64,
    /// Samples left out since the process began, for whatever reason.
    pub refused: u64,
    /// Samples left out because their series would have been one too many.
    pub over_limit: u64,
}

/// What of a tier is on disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TierStatus {
    /// Which.
    pub tier: Tier,
    /// Files.
    pub blocks: u64,
    /// Of all files.
    pub bytes: u64,
    /// Samples in them.
    pub samples: u64,
    /// Time of the oldest sample, milliseconds since 1970; none where there is no sample.
    pub oldest_ms: Option<i64>,
    /// Time of the newest sample.
    pub newest_ms: Option<i64>,
}

/// How the store is now.
pub(crate) fn status(shared: &Shared) -> Status {
    let limits = &shared.config.limits;
    let mut sources: Vec<SourceStatus> = {
        let sources = shared.sources.read().unwrap_or_else(PoisonError::into_inner);
        let one = sources.values().map(|source| SourceStatus {
            name: source.name.clone(),
            series: source.series.load(Ordering::Relaxed),
            series_max: limits.source_series_max,
            accepted: source.accepted.get(),
            refused: source.refused.get(),
            over_limit: source.over_limit.get(),
        });
        one.collect()
    };
    sources.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let live = shared.catalogue.live();
    let tiers = Tier::ALL.into_iter().map(|tier| {
        let parts = &live.parts[tier.place()];
        TierStatus {
            tier,
            blocks: parts.len() as u64,
            bytes: parts.iter().map(|part| part.bytes).sum(),
            samples: parts.iter().map(|part| part.foot.samples).sum(),
            oldest_ms: parts.iter().map(|part| part.foot.min_ms).min(),
            newest_ms: parts.iter().map(|part| part.foot.max_ms).max(),
        }
    });
    Status {
        series: shared.index.read().unwrap_or_else(PoisonError::into_inner).len() as u64,
        series_max: limits.series_max,
        sources,
        head_bytes: shared.head_bytes.load(Ordering::Relaxed),
        waiting_bytes: shared.waiting.load(Ordering::Relaxed),
        index_bytes: shared.catalogue.indexes.bytes(),
        exemplars: lock(&shared.exemplars).len() as u64,
        tiers: tiers.collect(),
        flush_failure: lock(&shared.flush_failure).clone(),
        damaged: lock(&shared.catalogue.damaged).clone(),
    }
}
