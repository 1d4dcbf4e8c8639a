//! The tracer: where local roots begin and where ended parts of traces go.
//!
//! In: names and parents. Out: parts of traces, pushed into this thread's queue, which export threads empty.
//! A thread meets a tracer through a *lane* of its own: the sending half of the queue, spare buffers, and what
//! it remembers of operations. So the path of a span takes no lock and shares no cache line with other
//! threads, except for a few counters once per local root.
//!
//! Deliberately absent: a way for a service thread to wait. What does not fit is dropped and counted.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use crate::buffer::{Buffer, Part, Trace};
use crate::context::Context;
use crate::counters::{Counters, Metrics, REASONS, Reason};
use crate::export::collector::{Collector, LaneEnd};
use crate::export::{self, FlushError};
use crate::ids;
use crate::join::{Brought, Kept, Parts};
use crate::local::Active;
use crate::sampling::operations::Operations;
use crate::sampling::{Decision, Head, Sampled, Sampler};
use crate::shutdown::ShutdownOnDrop;
use crate::span::SpanBuilder;
use crate::value::Kind;

/// Parts of traces a thread's queue holds; a place costs 8 bytes.
const LANE_PARTS: usize = 4096;

/// Used buffers a thread keeps.
const SPARE_BUFFERS: usize = 64;

/// Parts after which the export threads are woken without waiting for their interval. Woken more often, they send smaller
/// requests, and a service that makes roots as fast as it can runs ahead of them.
const WAKE_PARTS: u32 = 512;

/// Names of operations a thread remembers; then it forgets them all and asks again.
const REMEMBERED_NAMES: usize = 1024;

/// Records the local traces of one service and exports them. Cheap to clone; all clones are one tracer.
#[derive(Debug, Clone)]
pub struct Tracer {
    pub(crate) inner: Arc<Inner>,
}

/// What the clones and the export threads share.
#[derive(Debug)]
pub(crate) struct Inner {
    /// Tells this tracer's lanes from those of others on the same thread.
    pub(crate) key: u64,
    pub(crate) sampler: Sampler,
    pub(crate) counters: Counters,
    pub(crate) queued_bytes: AtomicUsize,
    pub(crate) queued_bytes_max: usize,
    pub(crate) closed: AtomicBool,
    pub(crate) operations: Operations,
    pub(crate) collector: Collector,
    pub(crate) figures: Mutex<export::Figures>,
    pub(crate) costs: export::Costs,
}

static KEYS: AtomicU64 = AtomicU64::new(1);
static TRACERS: Mutex<Vec<(u64, Weak<Inner>)>> = Mutex::new(Vec::new());
static GLOBAL: OnceLock<Tracer> = OnceLock::new();

thread_local! {
    static LANES: RefCell<Vec<Lane>> = const { RefCell::new(Vec::new()) };
}

/// Makes `tracer` the one that [`root`] and adapters without a tracer of their own use. The first call wins;
/// a later one gets its tracer back.
///
/// # Errors
///
/// The tracer, where another one was installed before.
pub fn install(tracer: Tracer) -> Result<(), Tracer> {
    GLOBAL.set(tracer)
}

/// The tracer given to [`install`].
pub fn installed() -> Option<&'static Tracer> {
    GLOBAL.get()
}

/// A local root of the installed tracer; nothing is recorded where none is.
pub fn root(name: impl Into<Cow<'static, str>>) -> SpanBuilder {
    SpanBuilder::new(installed().cloned(), name.into())
}

impl Tracer {
    pub(crate) fn start(inner: Inner) -> Self {
        let inner = Arc::new(inner);
        let mut tracers = TRACERS.lock().unwrap_or_else(PoisonError::into_inner);
        tracers.retain(|(_, tracer)| tracer.strong_count() > 0);
        tracers.push((inner.key, Arc::downgrade(&inner)));
        Self { inner }
    }

    /// A key no other tracer of this process has.
    pub(crate) fn next_key() -> u64 {
        KEYS.fetch_add(1, Ordering::Relaxed)
    }

    /// A local root: give it a kind and a parent, then start it.
    pub fn root(&self, name: impl Into<Cow<'static, str>>) -> SpanBuilder {
        SpanBuilder::new(Some(self.clone()), name.into())
    }

    /// Its own figures.
    pub fn metrics(&self) -> Metrics {
        let counters = &self.inner.counters;
        if self.inner.closed.load(Ordering::Relaxed) {
            self.inner.collector.sweep(&self.inner);
        }
        // What settles a span is read before what creates one, so that no span is settled and not created.
        let exported = counters.exported.load(Ordering::Acquire);
        let failed = counters.failed.load(Ordering::Acquire);
        let dropped = REASONS.map(|reason| counters.dropped(reason));
        let figures = self.inner.figures.lock().unwrap_or_else(PoisonError::into_inner);
        Metrics {
            created: counters.created.load(Ordering::Acquire),
            exported,
            failed,
            dropped,
            overhead: self.inner.recording() + figures.exporting(),
            sampling_rate: figures.sampling_rate,
            queued_bytes: self.inner.queued_bytes.load(Ordering::Relaxed),
            last_failure: figures.last_failure.clone(),
        }
    }

    /// Waits until everything that had ended when it was called is exported or given up, at most `deadline`.
    ///
    /// # Errors
    ///
    /// [`FlushError`] where the deadline came first.
    pub fn flush(&self, deadline: Duration) -> Result<(), FlushError> {
        self.inner.collector.flush(deadline)
    }

    /// Takes no more spans, flushes for at most `deadline`, and ends the export threads. What is left then is
    /// counted as dropped, [`Reason::Closed`]. A second call only waits.
    ///
    /// # Errors
    ///
    /// [`FlushError`] where the deadline came first.
    pub fn shutdown(&self, deadline: Duration) -> Result<(), FlushError> {
        self.inner.closed.store(true, Ordering::SeqCst);
        self.inner.collector.close(deadline)
    }

    /// Shuts the tracer down when the guard is dropped, waiting at most `deadline`: for the end of `main`.
    #[must_use = "the tracer is shut down when the guard is dropped"]
    pub fn shutdown_on_drop(&self, deadline: Duration) -> ShutdownOnDrop {
        ShutdownOnDrop::new(self.clone(), deadline)
    }
}

impl Inner {
    /// Begins a local root or, where the parent is recorded by this tracer in this process, a branch of its
    /// trace.
    pub(crate) fn begin(&self, name: Cow<'static, str>, kind: Kind, parent: Option<&Context>) -> Active {
        if let Some(context) = parent
            && let Some(branch) = &context.branch
            && branch.trace.tracer == self.key
        {
            let trace = Trace { carried: context.carried.clone(), ..branch.trace.clone() };
            let mut buffer = self.buffer(trace, Part::Branch);
            buffer.join = Some(Arc::clone(&branch.join));
            buffer.begin(name, kind, parent);
            return Active::Recording(buffer);
        }
        self.begin_root(name, kind, parent)
    }

    fn begin_root(&self, name: Cow<'static, str>, kind: Kind, parent: Option<&Context>) -> Active {
        let trace_id = parent.map_or_else(ids::trace_id, |parent| parent.trace_id);
        let randomness = parent.map_or_else(|| trace_id.randomness(), Context::randomness);
        let mut operation = None;
        let head = if self.closed.load(Ordering::Relaxed) {
            Head::Drop
        } else {
            self.sampler.head(parent, randomness, || {
                let number = self.operation(&name);
                operation = Some(number);
                self.operations.row(number).threshold.load(Ordering::Relaxed)
            })
        };
        let Head::Record(decision) = head else { return passed_on(trace_id, parent) };
        let trace = Trace {
            tracer: self.key,
            trace_id,
            random: parent.is_none_or(|parent| parent.random),
            randomness: parent.and_then(|parent| parent.randomness),
            decision,
            operation,
            carried: parent.and_then(|parent| parent.carried.clone()),
        };
        let mut buffer = self.buffer(trace, Part::Root);
        buffer.begin(name, kind, parent);
        Active::Recording(buffer)
    }

    /// A used buffer of this thread, or a new one.
    fn buffer(&self, trace: Trace, part: Part) -> Box<Buffer> {
        let spare = with_lane(self.key, Lane::spare).flatten();
        let Some(mut buffer) = spare else { return Buffer::new(trace, part) };
        buffer.renew(trace, part);
        buffer
    }

    fn operation(&self, name: &str) -> u16 {
        let remembered = with_lane(self.key, |lane| lane.operation(name));
        remembered.unwrap_or_else(|| self.operations.number_of(name))
    }

    /// CPU time that recording has taken so far.
    pub(crate) fn recording(&self) -> Duration {
        let spans = self.counters.created.load(Ordering::Relaxed) as f64;
        let entries = self.counters.entries.load(Ordering::Relaxed) as f64;
        Duration::from_secs_f64((spans * self.costs.span_ns + entries * self.costs.entry_ns) * 1e-9)
    }
}

/// The context that goes on where a trace is not recorded: a new parent id, and not sampled.
fn passed_on(trace_id: ids::TraceId, parent: Option<&Context>) -> Active {
    Active::Passive(Box::new(Context {
        trace_id,
        span_id: ids::span_id(),
        sampled: false,
        random: parent.is_none_or(|parent| parent.random),
        remote: false,
        undecided: false,
        threshold: None,
        randomness: parent.and_then(|parent| parent.randomness),
        carried: parent.and_then(|parent| parent.carried.clone()),
        branch: None,
    }))
}

/// A part has ended.
pub(crate) fn finish(mut part: Box<Buffer>) {
    part.end_all();
    let key = part.trace.tracer;
    let mut held = Some(part);
    with_lane(key, |lane| {
        if let Some(part) = held.take() {
            lane.finish(part);
        }
    });
    if let Some(part) = held {
        abandon(key, vec![part]);
    }
}

/// A span has ended and, where it is a local root, is not to be kept.
pub(crate) fn discard(active: Active) {
    let Active::Recording(mut part) = active else { return };
    if !matches!(part.part, Part::Root) {
        return finish(part);
    }
    part.end_all();
    let key = part.trace.tracer;
    let mut held = Some(part);
    with_lane(key, |lane| {
        if let Some(part) = held.take() {
            lane.discard(part);
        }
    });
    if let Some(part) = held {
        abandon(key, vec![part]);
    }
}

/// What has ended in a part that goes on is handed over: it has grown long. Decided by what is known so far.
pub(crate) fn finish_ended(part: &mut Box<Buffer>) {
    let key = part.trace.tracer;
    let spare = with_lane(key, Lane::spare).flatten();
    let rest = spare.unwrap_or_else(|| Buffer::new(part.trace.clone(), part.part));
    let mut ended = std::mem::replace(part, rest);
    ended.leave_open_to(part);
    let mut held = Some(ended);
    with_lane(key, |lane| {
        if let Some(ended) = held.take() {
            let kept = if ended.is_forgotten() { Kept::Forgotten } else { lane.keeps(&ended) };
            lane.settle(ended, kept);
        }
    });
    if let Some(ended) = held {
        abandon(key, vec![ended]);
    }
}

/// Counts parts that nobody can hand over any more.
pub(crate) fn abandon(key: u64, parts: Parts) {
    let Some(inner) = find(key) else { return };
    for part in parts {
        inner.counters.created.fetch_add(part.created(), Ordering::Relaxed);
        inner.counters.drop_spans(Reason::Closed, part.created());
    }
}

pub(crate) fn find(key: u64) -> Option<Arc<Inner>> {
    let tracers = TRACERS.lock().unwrap_or_else(PoisonError::into_inner);
    tracers.iter().find(|(known, _)| *known == key).and_then(|(_, inner)| inner.upgrade())
}

/// Looks at this thread's lane to a tracer, made when first needed. None where the thread is being torn down,
/// a lane is in use further up, or the tracer is gone.
#[inline]
fn with_lane<R>(key: u64, look: impl FnOnce(&mut Lane) -> R) -> Option<R> {
    LANES
        .try_with(|lanes| {
            let mut lanes = lanes.try_borrow_mut().ok()?;
            if let Some(lane) = lanes.iter_mut().find(|lane| lane.inner.key == key) {
                return Some(look(lane));
            }
            lanes.retain(|lane| !lane.inner.closed.load(Ordering::Relaxed));
            lanes.push(Lane::open(find(key)?));
            lanes.last_mut().map(look)
        })
        .ok()
        .flatten()
}

/// One thread's way to one tracer.
struct Lane {
    inner: Arc<Inner>,
    queue: rtrb::Producer<Box<Buffer>>,
    /// Used buffers that come back.
    returned: rtrb::Consumer<Box<Buffer>>,
    spare: Parts,
    names: HashMap<Box<str>, u16>,
    /// The operation asked for last: most threads serve the same one many times in a row.
    last: Option<(Box<str>, u16)>,
    pushed: u32,
}

impl Lane {
    fn open(inner: Arc<Inner>) -> Self {
        let (queue, parts) = rtrb::RingBuffer::new(LANE_PARTS);
        let (used, returned) = rtrb::RingBuffer::new(SPARE_BUFFERS);
        inner.collector.adopt(LaneEnd { parts, used });
        let (spare, names) = (Vec::new(), HashMap::new());
        Self { inner, queue, returned, spare, names, last: None, pushed: 0 }
    }

    #[inline]
    fn spare(&mut self) -> Option<Box<Buffer>> {
        self.spare.pop().or_else(|| self.returned.pop().ok())
    }

    fn operation(&mut self, name: &str) -> u16 {
        if let Some((last, number)) = &self.last
            && **last == *name
        {
            return *number;
        }
        let number = match self.names.get(name) {
            Some(number) => *number,
            None => {
                if self.names.len() >= REMEMBERED_NAMES {
                    self.names.clear();
                }
                let number = self.inner.operations.number_of(name);
                self.names.insert(name.into(), number);
                number
            }
        };
        self.last = Some((name.into(), number));
        number
    }

    fn finish(&mut self, part: Box<Buffer>) {
        match (part.part, part.trace.decision) {
            (Part::Root, _) => self.finish_root(part),
            (Part::Branch, Decision::Keep(_)) if part.is_forgotten() => self.settle(part, Kept::Forgotten),
            (Part::Branch, Decision::Keep(_)) => self.settle(part, Kept::Yes),
            (Part::Branch, Decision::Open { .. }) => self.finish_branch(part),
        }
    }

    /// The local root has ended: its trace is decided here.
    fn finish_root(&mut self, mut root: Box<Buffer>) {
        let slow = match root.trace.operation {
            Some(number) => self.inner.operations.row(number).ended(root.first_ticks()),
            None => false,
        };
        // A slow root keeps its trace as an error does: whatever the rate, and so with a weight of one.
        root.error |= slow;
        let Some(join) = root.join.take() else {
            let kept = self.keeps(&root);
            return self.settle(root, kept);
        };
        let (parts, kept) = join.decide(|failed| {
            root.error |= failed;
            self.keeps(&root)
        });
        for mut part in parts {
            part.error |= root.error;
            self.settle(part, kept);
        }
        self.settle(root, kept);
    }

    /// The local root has ended: its trace is forgotten here, whatever happened in it.
    fn discard(&mut self, mut root: Box<Buffer>) {
        let parts = root.join.take().map(|join| join.decide(|_| Kept::Forgotten).0).unwrap_or_default();
        parts.into_iter().for_each(|part| self.settle(part, Kept::Forgotten));
        self.settle(root, Kept::Forgotten);
    }

    fn finish_branch(&mut self, mut part: Box<Buffer>) {
        let Some(join) = part.join.take() else { return self.settle(part, Kept::Yes) };
        match join.bring(part) {
            Brought::Waits => {}
            Brought::Decided(part, Kept::No) if part.error => self.settle(part, Kept::Yes),
            Brought::Decided(part, kept) => self.settle(part, kept),
            Brought::Full(part) => {
                let kept = self.keeps(&part);
                self.settle(part, kept);
            }
        }
    }

    /// What is decided of a part by what is known of it.
    fn keeps(&self, part: &Buffer) -> Kept {
        match part.trace.decision {
            Decision::Keep(_) | Decision::Open { sampled: Sampled::Yes, .. } => Kept::Yes,
            Decision::Open { sampled: Sampled::No, .. } if part.error => Kept::Yes,
            Decision::Open { sampled: Sampled::No, .. } => Kept::No,
        }
    }

    /// Counts a part and hands it over, or forgets it.
    fn settle(&mut self, mut part: Box<Buffer>, kept: Kept) {
        let (spans, counters) = (part.records.len() as u64, &self.inner.counters);
        counters.created.fetch_add(part.created(), Ordering::Relaxed);
        if !part.entries.is_empty() {
            counters.entries.fetch_add(part.entries.len() as u64, Ordering::Relaxed);
        }
        counters.drop_spans(Reason::OpenSpans, part.refused);
        let always = kept != Kept::Forgotten && part.error && part.trace.decision.is_open();
        if let Some(number) = part.trace.operation {
            let row = self.inner.operations.row(number);
            if always { row.kept_always(spans) } else { row.recorded(spans) }
        }
        if kept != Kept::Yes {
            counters.drop_spans(Reason::Unsampled, spans);
            self.keep_spare(part);
            return;
        }
        part.weight = if always { Some(0) } else { part.trace.decision.threshold() };
        self.hand_over(part);
    }

    fn hand_over(&mut self, part: Box<Buffer>) {
        let (bytes, spans) = (part.bytes(), part.records.len() as u64);
        let inner = &*self.inner;
        if inner.closed.load(Ordering::Relaxed) {
            inner.counters.drop_spans(Reason::Closed, spans);
            return;
        }
        let queued = inner.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let pushed = if queued > inner.queued_bytes_max { Err(part) } else { self.push(part) };
        if let Err(part) = pushed {
            let inner = &*self.inner;
            inner.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            inner.counters.drop_spans(Reason::QueueFull, spans);
            self.keep_spare(part);
            self.inner.collector.wake();
            return;
        }
        self.pushed += 1;
        if self.pushed.is_multiple_of(WAKE_PARTS) || queued > self.inner.queued_bytes_max / 4 {
            self.inner.collector.wake();
        }
    }

    fn push(&mut self, part: Box<Buffer>) -> Result<(), Box<Buffer>> {
        self.queue.push(part).map_err(|rtrb::PushError::Full(part)| part)
    }

    fn keep_spare(&mut self, mut buffer: Box<Buffer>) {
        if self.spare.len() < SPARE_BUFFERS && buffer.capacity() <= export::SPARE_BYTES_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}
