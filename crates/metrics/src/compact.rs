//! Chores in the background: the head becomes parts, small parts become larger ones, old parts go.
//!
//! One thread does one chore at a time; a person who asks for one (`Metrics::flush`, `Metrics::compact`) waits for it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use promql::Labels;

use crate::catalogue::{Synced, Written};
use crate::config::Retention;
use crate::head::{Active, Series};
use crate::intake::millis;
use crate::lock;
use crate::merge;
use crate::part::{Part, PartWriter};
use crate::shared::Shared;
use crate::tier::{Nature, Tier, Windows, beside, nature, thinned, through};
use crate::wal::Segment;

/// Between two looks at what there may be to do. Tests say when.
const LOOK: Duration = if cfg!(test) { Duration::from_secs(3600) } else { Duration::from_secs(5) };

/// Between two tries of what failed.
const RETRY: Duration = Duration::from_secs(1);

/// Does the chores.
pub(crate) struct Chores {
    shared: Arc<Shared>,
    log_dir: PathBuf,
    /// Through which segment the samples reach that are frozen and in no part yet. Held while a chore is done.
    frozen: Mutex<Option<u64>>,
}

impl Chores {
    pub(crate) fn new(shared: Arc<Shared>, log_dir: PathBuf) -> Arc<Self> {
        Arc::new(Self { shared, log_dir, frozen: Mutex::default() })
    }

    /// Runs on a thread of its own until the store closes.
    pub(crate) fn start(self: &Arc<Self>) -> io::Result<JoinHandle<()>> {
        let chores = Arc::clone(self);
        thread::Builder::new().name("metrics-compact".to_owned()).spawn(move || {
            let mut failing = false;
            while chores.shared.wait_for_chores(if failing { RETRY } else { LOOK }) {
                if failing {
                    // Woken by every batch while the head is full: one try a second is enough.
                    thread::park_timeout(RETRY);
                }
                let done = catch_unwind(AssertUnwindSafe(|| chores.turn()));
                failing = !matches!(done, Ok(Ok(())));
                if done.is_err() {
                    *lock(&chores.shared.flush_failure) =
                        Some("a defect ended it; see the panic that was printed".to_owned());
                }
            }
        })
    }

    fn turn(&self) -> io::Result<()> {
        if self.shared.head_is_due() || lock(&self.frozen).is_some() {
            self.flush()?;
        }
        self.retire()?;
        while !self.shared.is_closing() && self.merge()? {}
        Ok(())
    }

    /// Writes what is in the head to parts.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let mut frozen = lock(&self.frozen);
        let through = match *frozen {
            Some(through) => through,
            None => {
                let (tell, told) = sync_channel(1);
                self.shared.ask_to_freeze(tell);
                let Ok(through) = told.recv() else { return Ok(()) };
                *frozen = Some(through);
                through
            }
        };
        let written = self.write_frozen(through);
        let counters = &self.shared.counters;
        *lock(&self.shared.flush_failure) = written.as_ref().err().map(ToString::to_string);
        match &written {
            Ok(()) => {
                *frozen = None;
                counters.flushes.add(1);
            }
            Err(_) => counters.flush_failures.add(1),
        }
        written
    }

    fn write_frozen(&self, through: u64) -> io::Result<()> {
        let shared = &*self.shared;
        let mut series: Vec<(Arc<Series>, Arc<Active>)> = {
            let index = shared.index.read().unwrap_or_else(PoisonError::into_inner);
            let frozen = |series: &Arc<Series>| Some((Arc::clone(series), lock(&series.state).frozen()?));
            index.iter().filter_map(frozen).collect()
        };
        series.sort_unstable_by(|(a, _), (b, _)| a.labels.cmp(&b.labels));
        let catalogue = &shared.catalogue;
        let parts = if series.is_empty() { Written::default() } else { self.write_tiers(&series)? };
        let synced = catalogue.replace(&[], parts, |live| live.through = through)?;
        for (series, _) in &series {
            lock(&series.state).flushed();
        }
        shared.head_flushed();
        self.retire_idle();
        match synced {
            Synced::Yes => Segment::remove_through(&self.log_dir, through),
            // The catalogue of before may come back after a crash, and needs the log; the next flush removes it.
            Synced::Unknown => Ok(()),
        }
    }

    /// Writes samples, and what minutes and hours keep of them where that is less.
    fn write_tiers(&self, series: &[(Arc<Series>, Arc<Active>)]) -> io::Result<Written> {
        let catalogue = &self.shared.catalogue;
        let through = through(series.iter().map(|(_, active)| active.extent()));
        let mut writers = Vec::new();
        for tier in Tier::ALL.into_iter().filter(|tier| *tier == Tier::Raw || *tier > through) {
            let own = if tier == Tier::Raw { through } else { tier };
            let number = catalogue.next_number();
            writers.push((tier, PartWriter::create(&catalogue.parts_dir, number, tier, own)?));
        }
        let mut all = Vec::new();
        for (series, active) in series {
            let labels = &series.labels;
            let nature = self.nature(labels);
            all.clear();
            active.read(i64::MIN, i64::MAX, &mut all);
            for (tier, writer) in &mut writers {
                match beside(&all, *tier) {
                    None => writer.series(labels, &all, &Windows::default())?,
                    Some(windows) => writer.series(labels, &thinned(&all, *tier, nature), &windows)?,
                }
            }
        }
        let mut written = Written::default();
        for (_, writer) in writers {
            written.add(writer.finish()?);
        }
        Ok(written)
    }

    fn nature(&self, labels: &Labels) -> Nature {
        let metadata = self.shared.catalogue.metadata.read().unwrap_or_else(PoisonError::into_inner);
        nature(labels, |name| metadata.get(name).cloned())
    }

    fn retire_idle(&self) {
        let since_ms = self.shared.now_ms().saturating_sub(millis(self.shared.config.idle));
        let mut index = self.shared.index.write().unwrap_or_else(PoisonError::into_inner);
        index.retire_idle(since_ms);
    }

    /// Makes one part of several, where there are several that belong together; answers whether there were.
    pub(crate) fn merge(&self) -> io::Result<bool> {
        let _one_at_a_time = lock(&self.frozen);
        let catalogue = &self.shared.catalogue;
        for tier in Tier::ALL {
            let live = catalogue.live();
            let Some(parts) = merge::choose(&live.parts[tier.place()], tier) else { continue };
            let through = parts.first().map_or(tier, |part| part.foot.through);
            if let Some(merged) = self.merged(&parts, tier, through)? {
                catalogue.replace(&parts, merged, |_| {})?;
                self.shared.counters.merges.add(1);
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// What several parts have, as one part of a tier; none where one of them turned out to be damaged and was set aside.
    fn merged(&self, parts: &[Arc<Part>], tier: Tier, through: Tier) -> io::Result<Option<Written>> {
        match merge::merge(&self.shared.catalogue, parts, (tier, through), |labels| self.nature(labels)) {
            Ok(merged) => Ok(Some(merged)),
            Err(merge::MergeError::Damaged { part, why }) => {
                self.shared.catalogue.set_aside(&part, why)?;
                Ok(None)
            }
            Err(merge::MergeError::Io(error)) => Err(error),
        }
    }

    /// What coarser tiers keep of a part that answered for them; none where it turned out to be damaged and was set aside.
    fn coarser(&self, part: &Arc<Part>) -> io::Result<Option<Written>> {
        let mut written = Written::default();
        for tier in Tier::ALL.into_iter().filter(|tier| *tier > part.foot.tier && *tier <= part.foot.through)
        {
            let Some(of_tier) = self.merged(std::slice::from_ref(part), tier, tier)? else { return Ok(None) };
            written.append(of_tier);
        }
        Ok(Some(written))
    }

    /// Lets go of what is too old, and of the oldest where there is too much. What answered for coarser tiers is written
    /// for them first.
    pub(crate) fn retire(&self) -> io::Result<()> {
        let _one_at_a_time = lock(&self.frozen);
        let (catalogue, config) = (&self.shared.catalogue, &self.shared.config);
        for (tier, retention) in Tier::ALL.into_iter().zip([config.raw, config.minute, config.hour]) {
            let Retention { age, bytes: bytes_max } = retention;
            let oldest_ms = self.shared.now_ms().saturating_sub(millis(age));
            let mut parts = catalogue.live().parts[tier.place()].clone();
            parts.sort_by_key(|part| part.foot.max_ms);
            let mut bytes: u64 = parts.iter().map(|part| part.bytes).sum();
            let mut gone = Vec::new();
            for part in parts {
                if part.foot.max_ms >= oldest_ms && bytes <= bytes_max {
                    break;
                }
                bytes -= part.bytes;
                gone.push(part);
            }
            // Alone, so that a disk that is nearly full needs room for no more than one at a time.
            for part in gone {
                let Some(kept) = self.coarser(&part)? else { continue };
                catalogue.replace(std::slice::from_ref(&part), kept, |live| {
                    let floor = &mut live.floors[tier.place()];
                    *floor = part.foot.max_ms.max(*floor);
                })?;
                self.shared.counters.retired.add(1);
            }
        }
        Ok(())
    }
}
