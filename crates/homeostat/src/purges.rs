//! Purges in the audit trail: what one removed is recorded also where its process ended half-way.
//!
//! In: the notes of purges that the database has ([`PurgeNote`]). Out: a record of each that the trail does not have yet. A note
//! that names archived traces was not finished: which of those are gone is looked up first.

use std::path::Path;

use audit::{Action, Audit, AuditError, Filter, NewRecord, Outcome, Via};
use store::{PurgeMode, PurgeNote, Store, StoreError, purge_told};

/// Where spans lie in a data directory.
pub(crate) const TELEMETRY: &str = "telemetry";

/// What a purge is called in the trail, by whichever way it was asked for.
pub(crate) const ACTION: Action = Action::new("records.purge");

/// Why it cannot be said that all of them are recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("what a purge removed is not known")]
    Store(#[from] StoreError),
    #[error("what a purge removed is not recorded")]
    Audit(#[from] AuditError),
    #[error("which archived traces a purge removed is not known")]
    Archive(#[from] std::io::Error),
}

/// Records the purges of an earlier process that nobody recorded. None may run meanwhile, and nobody has archived traces open
/// yet. What cannot be read is said and left: it keeps nobody from the others.
pub(crate) fn record_unrecorded(dir: &Path, store: &Store, trail: &Audit) -> Result<(), RecordError> {
    let unrecorded = store.unrecorded_purges()?;
    for error in &unrecorded.unreadable {
        log::error!("what a purge removed is not recorded: {}", act::in_full(error));
    }
    for mut note in unrecorded.notes {
        if !note.going.is_empty() {
            let gone = telemetry::archived_gone(&dir.join(TELEMETRY), &note.going)?;
            store.settle_purge(&mut note, gone)?;
        }
        if !is_recorded(trail, &note)? {
            trail.append(of(dir, &note))?;
        }
        store.purge_is_recorded(note.id)?;
    }
    Ok(())
}

/// Whether the process ended only after the record. Whoever sets the wall clock back moves records before what they are
/// about, so all are looked at; purges are few.
fn is_recorded(trail: &Audit, note: &PurgeNote) -> Result<bool, AuditError> {
    let named = note.id.named();
    let mut filter = Filter { action: Some(ACTION.as_str().to_owned()), ..Filter::default() };
    loop {
        let page = trail.query(&filter)?;
        for record in page.records {
            if record.detail.is_some_and(|detail| detail.starts_with(&named)) {
                return Ok(true);
            }
        }
        match page.next {
            Some(next) => filter.before = Some(next),
            None => return Ok(false),
        }
    }
}

fn of(dir: &Path, note: &PurgeNote) -> NewRecord {
    let (outcome, left) = match note.whole {
        true => (Outcome::Done, "nothing is left that was to go"),
        false => (Outcome::Failed, "it ended half-way, more may be left"),
    };
    let why = purge_told(note.age, &note.kinds, PurgeMode::Remove, note.removed);
    let detail = format!("{}; its process ended before it recorded it; {left}", note.id.named());
    NewRecord::new(note.who.as_str(), Via::Server, ACTION, dir.display().to_string(), outcome)
        .why(why)
        .detail(detail)
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::Arc;
    use std::time::Duration;

    use domain::{Clock, IdSource, Issue, IssueKind, Reason, Severity};
    use provider::clock::SystemClock;
    use store::{PurgeOrder, RecordKind};

    use super::*;

    #[test]
    fn a_purge_whose_process_ended_is_recorded_once_with_what_it_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::take_over(dir.path(), &SystemClock).unwrap();
        let trail = Audit::open(dir.path(), Arc::new(SystemClock)).unwrap();
        // The wall clock was set back since they were asked for.
        let now = SystemClock.now().plus(Duration::from_secs(3600));
        let old = now.minus(Store::PURGE_AGE_MIN * 2);
        let mut ids = IdSource::seeded(7);
        for _ in 0..250 {
            let issue = Issue {
                id: ids.next(old),
                kind: IssueKind::HighMemory,
                reason: Reason::Unspecified,
                resource: "instance/cart-0".parse().unwrap(),
                severity: Severity::High,
                description: "93 % of its memory limit".to_owned(),
                detected_at: old,
                last_seen: old,
                closed_at: Some(old),
                metrics: Default::default(),
                recurrences: 0,
            };
            store.save_issue(&issue).unwrap();
        }
        let mut purge = |stop: bool| {
            let (id, kinds) = (ids.next(now), vec![RecordKind::Issues]);
            let order = PurgeOrder { id, now, age: Store::PURGE_AGE_MIN, kinds, who: "ada".to_owned() };
            let flow = |_: &_| if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            (id, store.purge(&order, None, flow).unwrap().removed.issues)
        };
        // One stopped after its first transaction, one done; of neither did anybody say anything.
        let (first, second) = (purge(true), purge(false));
        assert!(first.1 > 0 && second.1 > 0 && first.1 + second.1 == 250, "{first:?} {second:?}");
        // And one that was recorded before its process ended.
        let recorded = NewRecord::new("ada", Via::CommandLine, ACTION, "x", Outcome::Done);
        trail.append(recorded.clone().detail(first.0.named())).unwrap();
        trail.append(recorded.detail("purge of another time")).unwrap();
        // And one that nobody can read.
        store.put_document("purge/torn", "{").unwrap();
        for _ in 0..2 {
            record_unrecorded(dir.path(), &store, &trail).unwrap();
            let page = trail.query(&Filter::default()).unwrap();
            assert_eq!(page.records.len(), 3, "{:?}", page.records);
            let told = &page.records[0];
            assert_eq!((told.who.as_str(), told.outcome), ("ada", Outcome::Done));
            let why = told.why.clone().unwrap_or_default();
            assert!(why.ends_with(&format!("{} issues removed", second.1)), "{why}");
        }
        let (third, _) = (ids.next(now), ());
        let half = PurgeNote {
            id: third,
            who: "ada".to_owned(),
            asked_us: now.wall_us,
            age: Store::PURGE_AGE_MIN,
            kinds: vec![RecordKind::Issues],
            removed: store::Pruned { issues: 3, ..Default::default() },
            going: Vec::new(),
            whole: false,
        };
        let record = of(dir.path(), &half);
        trail.append(record).unwrap();
        let newest = trail.query(&Filter::default()).unwrap().records.remove(0);
        assert_eq!(newest.outcome, Outcome::Failed);
        assert!(newest.detail.unwrap().contains("ended half-way"));
    }

    #[test]
    fn of_archived_traces_that_were_going_those_that_are_gone_are_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::take_over(dir.path(), &SystemClock).unwrap();
        let trail = Audit::open(dir.path(), Arc::new(SystemClock)).unwrap();
        let archive = dir.path().join(TELEMETRY).join("archive");
        std::fs::create_dir_all(&archive).unwrap();
        std::fs::write(archive.join("stays"), "").unwrap();
        let now = SystemClock.now();
        let note = PurgeNote {
            id: IdSource::seeded(7).next(now),
            who: "ada".to_owned(),
            asked_us: now.wall_us,
            age: Store::PURGE_AGE_MIN,
            kinds: vec![RecordKind::Traces],
            removed: store::Pruned { traces: 100, ..Default::default() },
            going: ["gone", "stays", "gone too"].map(str::to_owned).to_vec(),
            whole: false,
        };
        store.put_document(&format!("purge/{}", note.id), &serde_json::to_string(&note).unwrap()).unwrap();
        record_unrecorded(dir.path(), &store, &trail).unwrap();
        let told = trail.query(&Filter::default()).unwrap().records.remove(0);
        assert!(told.why.unwrap().ends_with(": 102 archived traces removed"));
        assert_eq!(store.unrecorded_purges().unwrap().notes, []);
    }
}
