//! What survives a restart: what every objective counted, and up to which place each source was counted.
//!
//! Both are written in one transaction. A source that keeps its events (spans in their log, link seconds in the keeper,
//! repairs in the store, samples in their store) is counted on from that place by the next start, so that after a crash
//! nothing is missing and nothing counts twice.

use std::sync::Arc;
use std::time::Duration;

use domain::{PlanId, Time};
use serde::{Deserialize, Serialize};
use slo::{Objective, Saved, SavedBlock, Tracker};
use store::{ObjectiveRecord, ObjectiveSave, Store};
use telemetry::Place;

use super::Sources;
use super::one::{Followed, Source, source};
use super::series::Counters;

/// The names of the sources whose place is kept for all objectives together.
const SPANS: &str = "spans";
const LINKS: &str = "links";

/// What is kept of an objective beside its counts.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// What it counts: with another definition the counts would be of other events.
    indicator: String,
    /// The alerts, and when something was first measured.
    saved: Saved,
    source: Source,
    #[serde(default)]
    counters: Counters,
}

/// The last second of the links that was counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LinkPosition {
    /// The boot it counts from.
    pub(super) boot: String,
    /// Seconds since boot.
    pub(super) second: u64,
}

/// Up to where sources were counted.
pub(super) struct Positions {
    pub(super) spans: Option<Place>,
    pub(super) links: Option<LinkPosition>,
}

impl Positions {
    /// As they were kept. One that cannot be read was not written by us and is none.
    pub(super) fn read(store: &Store) -> store::Result<Self> {
        let kept = store.objective_positions()?;
        let spans = kept.get(SPANS).and_then(|text| {
            let (segment, offset) = serde_json::from_str(text).ok()?;
            Some(Place { segment, offset })
        });
        Ok(Self { spans, links: kept.get(LINKS).and_then(|text| serde_json::from_str(text).ok()) })
    }
}

/// What is to be written, and when it was last.
pub(super) struct Keeping {
    saved: Time,
    /// The place of the last spans that were counted.
    pub(super) spans: Option<Place>,
    /// Remediations that were counted since the last save.
    pub(super) remediations: Vec<PlanId>,
}

impl Keeping {
    pub(super) fn new(now: Time) -> Self {
        Self { saved: now, spans: None, remediations: Vec::new() }
    }

    pub(super) fn due(&self, now: Time, pause: Duration) -> bool {
        now.since(self.saved) >= pause
    }

    /// What changed since the last call.
    pub(super) fn collect(
        &mut self,
        followed: &mut [Followed],
        links: Option<&LinkPosition>,
        now: Time,
    ) -> ObjectiveSave {
        self.saved = now;
        let mut save = ObjectiveSave { remediations: self.remediations.clone(), ..ObjectiveSave::default() };
        if let Some(Place { segment, offset }) = self.spans {
            save.positions.insert(SPANS.to_owned(), text(&(segment, offset)));
        }
        if let Some(links) = links {
            save.positions.insert(LINKS.to_owned(), text(links));
        }
        save.objectives = followed.iter_mut().map(|one| record(one, now)).collect();
        save
    }

    /// Notes what became of a save.
    pub(super) fn saved(&mut self, save: &ObjectiveSave, done: bool, followed: &mut [Followed]) {
        if done {
            self.remediations.retain(|plan| !save.remediations.contains(plan));
        } else {
            // What changed is not known to be there.
            followed.iter_mut().for_each(|one| one.tracker.save_all_next());
        }
    }
}

fn record(one: &mut Followed, now: Time) -> (String, ObjectiveRecord, Option<i64>) {
    let (saved, oldest) = one.tracker.save_changed(now);
    let blocks = saved.blocks.iter().map(|block| (block.index, block.bytes.clone())).collect();
    let kept = Kept {
        indicator: indicator(&one.objective),
        saved: Saved { blocks: Vec::new(), ..saved },
        source: one.source,
        counters: one.counters.clone(),
    };
    (one.objective.id.clone(), ObjectiveRecord { state: text(&kept), blocks }, oldest)
}

/// Only what has no place in JSON can fail, and there is nothing of it: numbers, text, lists, maps with text keys.
fn text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// What an objective counts, in a text that is another one for another definition.
fn indicator(objective: &Objective) -> String {
    format!("{:?} {:?}", objective.indicator, objective.budgeting)
}

/// Takes up what was counted of objectives before, and says of which it cannot be.
pub(super) fn take_up(
    objectives: Vec<Objective>,
    sources: &Sources,
    now: Time,
) -> store::Result<(Vec<Followed>, Vec<String>)> {
    let mut kept = sources.store.objectives()?;
    let mut said = Vec::new();
    let followed = objectives.into_iter().map(|objective| {
        let objective = Arc::new(objective);
        let begun = |why: Option<String>, said: &mut Vec<String>| {
            said.extend(why.map(|why| format!("objective {} begins anew: {why}", objective.id)));
            let source = source(&objective, sources.spans.is_some());
            Followed::new(
                Arc::clone(&objective),
                Tracker::new(Arc::clone(&objective)),
                source,
                Counters::default(),
            )
        };
        match kept.remove(&objective.id) {
            None => begun(None, &mut said),
            Some(record) => match restore(&objective, record, sources.spans.is_some(), now) {
                Ok(one) => one,
                Err(why) => begun(Some(why), &mut said),
            },
        }
    });
    let followed = followed.collect();
    Ok((followed, said))
}

fn restore(
    objective: &Arc<Objective>,
    record: ObjectiveRecord,
    spans_come: bool,
    now: Time,
) -> Result<Followed, String> {
    let kept: Kept = serde_json::from_str(&record.state)
        .map_err(|error| format!("what was kept cannot be read: {error}"))?;
    if kept.indicator != indicator(objective) {
        return Err("it counts something else than before".to_owned());
    }
    let blocks = record.blocks.into_iter().map(|(index, bytes)| SavedBlock { index, bytes }).collect();
    let tracker = Tracker::restore(Arc::clone(objective), Saved { blocks, ..kept.saved }, now)
        .map_err(|error| error.to_string())?;
    // Spans may come now and did not before, or the other way round.
    let source = match kept.source {
        Source::Links | Source::LinksUntilSpans => source(objective, spans_come),
        source => source,
    };
    Ok(Followed::new(Arc::clone(objective), tracker, source, kept.counters))
}
