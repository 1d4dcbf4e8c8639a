//! What the loops do by themselves, for the audit trail: every plan that begins, ends, waits or is refused. And what keeps
//! the trail: its newest head in the store, and the removal of what is too old.
//!
//! In: the store's changes. Out: a record of each state that a plan came to, once. What people ask for is recorded by the
//! gateway, before it is answered; here stands what became of it, and what nobody asked for.
//!
//! A crash loses no record: the state that was recorded last is known by the trail itself, and what the store knows beyond
//! it is recorded at the next start.
//!
//! The head in the store is never ahead of the trail, so a crash between the two is no difference; a trail that is behind
//! it was put back to an older state.

mod asker;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use audit::{Action, Audit, Filter, NewRecord, Options, Outcome, Via};
use domain::{Actor, Clock, Intent, PlanId, PlanStatus};
use store::{PlanFilter, PlanPurpose, PlanRecord, Store, StoreError, Subscription, Topic};

pub(crate) use asker::{Asker, command_line, record};

/// Plans that are looked at when the server starts: those that could have moved since the last record.
const LATEST: usize = 200;

/// Plans whose last state is remembered; older ones are asked for of the trail.
const REMEMBERED: usize = 4_096;

/// The document of the store that holds the newest head of the trail, as a JSON string.
const HEAD: &str = "audit.head";

/// How long after a record, at most, the store knows the head that counts it.
const HEAD_EVERY: Duration = Duration::from_secs(10);

/// How often what is too old is looked for.
const RETENTION_EVERY: Duration = Duration::from_secs(3600);

const DAY: Duration = Duration::from_secs(86_400);

/// A file of records is closed after this share of the time they are kept.
const AGE_SHARE: u64 = 8;

/// How the trail is kept whose records stay so many days, 0 for ever, and whose newest head the store has.
pub(crate) fn options(store: &Store, days: u64) -> Result<Options, StoreError> {
    let anchor = store.document(HEAD)?.as_deref().map(note_of);
    Ok(Options { segment_age: segment_age(days), anchor, ..Options::default() })
}

/// How old a file of records becomes whose records stay so many days.
fn segment_age(days: u64) -> Duration {
    let longest = Options::default().segment_age;
    match u32::try_from(days / AGE_SHARE).unwrap_or(u32::MAX) {
        _ if days == 0 => longest,
        share => longest.min(DAY * share.max(1)),
    }
}

/// The newest head that the database of a data directory has, beside whoever has it open.
pub(crate) fn kept_head(dir: &Path) -> Result<Option<String>, StoreError> {
    Ok(store::backup::document(dir, HEAD)?.as_deref().map(note_of))
}

/// Has the database know the newest head of a trail, whatever head it knew before.
pub(crate) fn keep_head(store: &Store, trail: &Audit) -> Result<(), String> {
    trail.head().map_or(Ok(()), |head| put_head(store, &head.note))
}

fn put_head(store: &Store, note: &str) -> Result<(), String> {
    let text = serde_json::to_string(note).map_err(|error| error.to_string())?;
    store.put_document(HEAD, &text).map_err(|error| error.to_string())
}

/// What is no JSON string is no note either, and is refused as such.
fn note_of(document: &str) -> String {
    serde_json::from_str(document).unwrap_or_else(|_| document.to_owned())
}

/// Watches plans, and keeps the trail, for as long as it lives.
pub(crate) struct Auditing {
    changed: Sender<Option<PlanId>>,
    thread: Option<JoinHandle<()>>,
    _subscription: Subscription,
}

impl Auditing {
    /// Records what is missing, then whatever changes. Records stay `days`, 0 for ever; that may change meanwhile.
    pub(crate) fn start(
        audit: &Audit,
        store: &Store,
        clock: Arc<dyn Clock>,
        days: Arc<AtomicU64>,
    ) -> std::io::Result<Self> {
        let (changed, changes) = mpsc::channel::<Option<PlanId>>();
        let subscription = store.subscribe({
            let changed = changed.clone();
            move |change| {
                if let (Topic::Plans, Ok(id)) = (change.topic, change.id.parse()) {
                    // Nobody listens any more when the server ends.
                    let _ = changed.send(Some(id));
                }
            }
        });
        let mut writer = Writer { audit: audit.clone(), store: store.clone(), written: BTreeMap::new() };
        let mut keeper = Keeper::new(audit.clone(), store.clone(), clock, days);
        let thread = std::thread::Builder::new().name("auditing".to_owned()).spawn(move || {
            writer.catch_up();
            loop {
                match changes.recv_timeout(keeper.tick()) {
                    Ok(Some(id)) => writer.look_at(id),
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(None) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            keeper.keep_head();
        })?;
        Ok(Self { changed, thread: Some(thread), _subscription: subscription })
    }

    /// Records what came until now, and ends.
    pub(crate) fn stop(mut self) {
        let _ = self.changed.send(None);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
    }
}

/// Keeps the newest head in the store, and no record for longer than it should be.
struct Keeper {
    audit: Audit,
    store: Store,
    clock: Arc<dyn Clock>,
    days: Arc<AtomicU64>,
    /// What the days were when they were looked at last.
    days_known: Option<u64>,
    /// How many records the head counts that the store has.
    kept: u64,
    head_due: Instant,
    retention_due: Instant,
}

impl Keeper {
    fn new(audit: Audit, store: Store, clock: Arc<dyn Clock>, days: Arc<AtomicU64>) -> Self {
        let now = Instant::now();
        Self { audit, store, clock, days, days_known: None, kept: 0, head_due: now, retention_due: now }
    }

    /// Does what is due. Returns how long until there is something to do again.
    fn tick(&mut self) -> Duration {
        let now = Instant::now();
        let days = self.days.load(Ordering::Relaxed);
        if self.days_known.replace(days) != Some(days) {
            self.audit.set_segment_age(segment_age(days));
            self.retention_due = now;
        }
        if now >= self.retention_due {
            self.remove_old(days);
            self.retention_due = Instant::now() + RETENTION_EVERY;
        }
        if now >= self.head_due {
            self.keep_head();
            self.head_due = Instant::now() + HEAD_EVERY;
        }
        self.head_due.min(self.retention_due).saturating_duration_since(Instant::now())
    }

    fn keep_head(&mut self) {
        let Some(head) = self.audit.head().filter(|head| head.checkpoint.size > self.kept) else { return };
        match put_head(&self.store, &head.note) {
            Ok(()) => self.kept = head.checkpoint.size,
            Err(error) => log::warn!("the head of the audit trail is not kept in the database: {error}"),
        }
    }

    fn remove_old(&self, days: u64) {
        let Some(age) =
            i64::try_from(DAY.as_micros()).ok().and_then(|day| day.checked_mul(days.cast_signed()))
        else {
            return;
        };
        if age == 0 {
            // Kept for ever from now on; what is no part of the log any more still goes.
            if let Err(error) = self.audit.finish_removal() {
                log::error!("what was left of audit records that are over is not removed: {error}");
            }
            return;
        }
        match self.audit.remove_before(self.clock.now().wall_us.saturating_sub(age)) {
            Ok(None) => {}
            Ok(Some(removed)) => log::info!(
                "audit records {} to {} were removed: they are older than retention.audit_days, {days}",
                removed.first,
                removed.until - 1
            ),
            Err(error) => log::error!("old audit records are not removed: {error}"),
        }
    }
}

struct Writer {
    audit: Audit,
    store: Store,
    /// The state of each plan that was recorded last.
    written: BTreeMap<PlanId, PlanStatus>,
}

impl Writer {
    fn catch_up(&mut self) {
        match self.store.plans(&PlanFilter { limit: LATEST, ..PlanFilter::default() }) {
            Ok(records) => records.iter().rev().for_each(|record| self.write(record)),
            Err(error) => log::error!("what plans came to is not recorded: {error}"),
        }
    }

    fn look_at(&mut self, id: PlanId) {
        match self.store.plan(id) {
            Ok(Some(record)) => self.write(&record),
            Ok(None) => {}
            Err(error) => log::error!("what plan {id} came to is not recorded: {error}"),
        }
    }

    fn write(&mut self, record: &PlanRecord) {
        let (id, status) = (record.plan.id, record.status);
        // A plan that waits for its turn has done nothing, and one whose signal is watched is under way.
        if matches!(status, PlanStatus::Pending | PlanStatus::Verifying) {
            return;
        }
        if self.written.get(&id) == Some(&status) || self.is_recorded(record) || self.is_too_old(record) {
            return;
        }
        match self.audit.append(of(record)) {
            Ok(_) => {
                self.written.insert(id, status);
                if self.written.len() > REMEMBERED {
                    // Ids sort by the time they were made.
                    self.written.pop_first();
                }
            }
            Err(error) => log::error!("what plan {id} came to is not recorded: {error}"),
        }
    }

    /// Whether the trail has this state of the plan.
    fn is_recorded(&self, record: &PlanRecord) -> bool {
        if self.written.contains_key(&record.plan.id) {
            return false;
        }
        let action = Some(action(record).as_str().to_owned());
        let filter = Filter { plan: Some(record.plan.id), action, limit: 1, ..Filter::default() };
        self.audit.query(&filter).is_ok_and(|page| !page.records.is_empty())
    }
}

impl Writer {
    /// Whether the record of this state may have been removed because its time had come.
    fn is_too_old(&self, record: &PlanRecord) -> bool {
        let last =
            [record.started_at, record.completed_at].into_iter().flatten().max_by_key(|time| time.wall_us);
        let last = last.map_or(record.plan.created_at.wall_us, |time| time.wall_us);
        let first = self.audit.status().first;
        first > 0 && self.audit.record(first).is_ok_and(|begin| last < begin.time_us)
    }
}

/// What kind of plan came to which state: `remediation.success`.
fn action(record: &PlanRecord) -> Action {
    const UNNAMED: Action = Action::new("plan.changed");
    let name = format!("{}.{}", PlanPurpose::of(&record.plan).name(), record.status.name());
    Action::try_from(name).unwrap_or(UNNAMED)
}

fn of(record: &PlanRecord) -> NewRecord {
    let plan = &record.plan;
    let who = match &plan.requested_by {
        Actor::Healing => "healing",
        Actor::Chaos => "chaos",
        Actor::Operator(name) => name,
    };
    let outcome = match record.status {
        PlanStatus::Refused => Outcome::Refused,
        PlanStatus::Failed | PlanStatus::RolledBack => Outcome::Failed,
        _ => Outcome::Done,
    };
    let target = plan.steps.first().map(|step| step.action.resource().to_string()).unwrap_or_default();
    let new = NewRecord::new(who, Via::Loop, action(record), target, outcome).plan(plan.id);
    let new = match &plan.intent {
        Intent::Remediation { issue, cause, .. } => {
            new.why(format!("issue {issue}: {} of {}", cause.class.name(), cause.resource))
        }
        _ => new,
    };
    let mut detail = vec![plan.summary.clone()];
    detail.extend(record.error.clone());
    detail.extend(record.reasons.iter().cloned());
    new.detail(detail.join("; "))
}

#[cfg(test)]
mod tests {
    use domain::{IdSource, ServiceName, Time};
    use provider::clock::SystemClock;

    use super::*;

    fn plan(ids: &mut IdSource, now: Time) -> domain::Plan {
        let service: ServiceName = "cart".parse().unwrap();
        domain::Plan {
            id: ids.next(now),
            intent: Intent::Operation { why: "asked for".to_owned() },
            requested_by: Actor::Operator("ada".to_owned()),
            summary: "two instances of cart".to_owned(),
            expected_effect: "cart answers".to_owned(),
            steps: vec![domain::Step {
                action: domain::Action::SetReplicas { service, replicas: 2 },
                undo: domain::Undo::Exact,
                timeout: std::time::Duration::from_secs(1),
            }],
            verify: None,
            blast_radius: Vec::new(),
            lift_after: None,
            created_at: now,
        }
    }

    #[test]
    fn every_state_of_a_plan_is_recorded_once_also_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::take_over(dir.path(), &SystemClock).unwrap();
        let (now, mut ids) = (SystemClock.now(), IdSource::seeded(7));
        let plan = plan(&mut ids, now);
        let actions = |audit: &Audit| -> Vec<String> {
            let page = audit.query(&Filter { plan: Some(plan.id), ..Filter::default() }).unwrap();
            page.records.iter().rev().map(|record| record.action.as_str().to_owned()).collect()
        };
        let audit = Audit::open(dir.path(), Arc::new(SystemClock)).unwrap();
        let start = || Auditing::start(&audit, &store, Arc::new(SystemClock), Arc::default()).unwrap();
        let auditing = start();
        store.add_plan(&plan, PlanStatus::AwaitingApproval, &[]).unwrap();
        auditing.stop();
        assert_eq!(actions(&audit), ["operation.awaiting_approval"]);
        // Nobody watches while this happens.
        store.reject(plan.id, "bob", now).unwrap();
        for _ in 0..2 {
            start().stop();
            assert_eq!(actions(&audit), ["operation.awaiting_approval", "operation.refused"]);
        }
    }

    #[test]
    fn the_store_knows_the_head_so_that_a_trail_put_back_is_not_taken_for_the_newest() {
        const NOTED: Action = Action::new("test.noted");
        let (dir, old) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = Store::take_over(dir.path(), &SystemClock).unwrap();
        let open = || Audit::open_with(dir.path(), Arc::new(SystemClock), options(&store, 0).unwrap());
        let noted = || NewRecord::new("ada", Via::Server, NOTED, "cart", Outcome::Done);
        let audit = open().unwrap();
        audit.append(noted()).unwrap();
        drop(audit);
        assert!(audit::backup::copy(dir.path(), old.path()).unwrap());
        let audit = open().unwrap();
        audit.append(noted()).unwrap();
        Auditing::start(&audit, &store, Arc::new(SystemClock), Arc::default()).unwrap().stop();
        assert_eq!(kept_head(dir.path()).unwrap(), audit.head().map(|head| head.note));
        drop(audit);
        drop(open().unwrap());
        std::fs::remove_dir_all(dir.path().join("audit")).unwrap();
        std::fs::rename(old.path().join("audit"), dir.path().join("audit")).unwrap();
        let error = open().unwrap_err();
        assert!(error.to_string().contains("an older one was put in its place"), "{error}");
    }

    #[test]
    fn what_is_older_than_it_should_be_is_removed_and_not_recorded_anew() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::take_over(dir.path(), &SystemClock).unwrap();
        let now = SystemClock.now();
        let long_ago = now.minus(Duration::from_secs(40 * 86_400));
        let clock = Arc::new(Standing(AtomicU64::new(long_ago.wall_us as u64)));
        let small = Options { segment_bytes: 1, ..options(&store, 30).unwrap() };
        assert_eq!(small.segment_age, DAY * 3);
        let audit = Audit::open_with(dir.path(), clock.clone(), small).unwrap();
        let plan = plan(&mut IdSource::seeded(7), long_ago);
        store.add_plan(&plan, PlanStatus::AwaitingApproval, &[]).unwrap();
        let days = Arc::new(AtomicU64::new(0));
        let start = || Auditing::start(&audit, &store, clock.clone(), Arc::clone(&days)).unwrap();
        start().stop();
        clock.0.store(now.wall_us as u64, Ordering::Relaxed);
        start().stop();
        assert_eq!((audit.status().first, audit.status().size), (0, 1), "0 days are for ever");
        days.store(30, Ordering::Relaxed);
        audit
            .append(NewRecord::new("ada", Via::Server, Action::new("test.noted"), "cart", Outcome::Done))
            .unwrap();
        for _ in 0..2 {
            start().stop();
            assert_eq!((audit.status().first, audit.status().size), (1, 3));
            assert_eq!(audit.record(2).unwrap().action.as_str(), "audit.removed");
        }
        assert!(audit::verify(dir.path(), &audit::Trusted::default()).unwrap().holds());
    }

    #[test]
    fn days_that_change_while_it_runs_close_files_sooner_and_remove_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::take_over(dir.path(), &SystemClock).unwrap();
        let day_us = DAY.as_micros() as u64;
        let clock = Arc::new(Standing(AtomicU64::new(100 * day_us)));
        let audit = Audit::open_with(dir.path(), clock.clone(), options(&store, 0).unwrap()).unwrap();
        let noted = || NewRecord::new("ada", Via::Server, Action::new("test.noted"), "cart", Outcome::Done);
        let days = Arc::new(AtomicU64::new(0));
        let mut keeper = Keeper::new(audit.clone(), store, clock.clone(), Arc::clone(&days));
        keeper.tick();
        audit.append(noted()).unwrap();
        clock.0.store(110 * day_us, Ordering::Relaxed);
        audit.append(noted()).unwrap();
        // As a reload does. A file is closed after three days now, and what is older than thirty goes.
        days.store(30, Ordering::Relaxed);
        keeper.tick();
        audit.append(noted()).unwrap();
        assert_eq!(audit.status().first, 0);
        clock.0.store(145 * day_us, Ordering::Relaxed);
        days.store(31, Ordering::Relaxed);
        keeper.tick();
        assert_eq!(audit.status().first, 2, "the two of the first file are gone");
    }

    #[test]
    fn what_could_not_be_removed_goes_later_also_when_all_is_kept_by_then() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::take_over(dir.path(), &SystemClock).unwrap();
        let day_us = DAY.as_micros() as u64;
        let clock = Arc::new(Standing(AtomicU64::new(100 * day_us)));
        let small = Options { segment_bytes: 1, ..options(&store, 30).unwrap() };
        let audit = Audit::open_with(dir.path(), clock.clone(), small).unwrap();
        let noted = || NewRecord::new("ada", Via::Server, Action::new("test.noted"), "cart", Outcome::Done);
        for _ in 0..3 {
            audit.append(noted()).unwrap();
        }
        clock.0.store(145 * day_us, Ordering::Relaxed);
        let files = dir.path().join("audit/log").read_dir().unwrap().map(|file| file.unwrap().path());
        let oldest = files.min().unwrap();
        // In the way of the file that takes the place of the checkpoints.
        let in_the_way = dir.path().join("audit/checkpoints.new");
        std::fs::create_dir(&in_the_way).unwrap();
        let days = Arc::new(AtomicU64::new(30));
        let mut keeper = Keeper::new(audit.clone(), store, clock, Arc::clone(&days));
        keeper.tick();
        assert!(audit.status().first > 0 && oldest.exists(), "signed away, and still there");
        days.store(0, Ordering::Relaxed);
        keeper.tick();
        assert!(oldest.exists());
        std::fs::remove_dir(&in_the_way).unwrap();
        keeper.retention_due = Instant::now();
        keeper.tick();
        assert!(!oldest.exists());
        assert!(audit::verify(dir.path(), &audit::Trusted::default()).unwrap().holds());
    }

    /// A wall clock that stands where it is put.
    struct Standing(AtomicU64);

    impl Clock for Standing {
        fn now(&self) -> Time {
            Time { boot_us: 0, wall_us: self.0.load(Ordering::Relaxed) as i64 }
        }

        fn wait(&self, _: Duration) {}
    }
}
