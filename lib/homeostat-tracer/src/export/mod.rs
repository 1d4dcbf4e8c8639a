//! From parts of traces to a receiver, on plain threads.
//!
//! In: the queues. Out: OTLP over HTTP, counters, and once a second new sampling rates. Four threads send, a
//! fifth keeps time. Memory is bounded: the queue by its bytes, and on its way at most one batch for each
//! sender and one at the desk.

#[cfg(feature = "tls")]
mod authorities;
pub(crate) mod collector;
pub(crate) mod http;
pub(crate) mod otlp;

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

pub use self::http::{Compression, Delivery, Transport};

use self::collector::Batch;
use self::otlp::Envelope;
use crate::buffer::{Buffer, Part, Trace};
use crate::clock::{Calibration, ticks};
use crate::counters::Reason;
use crate::local::{self, Active};
use crate::sampling::control::{Control, Seen};
use crate::sampling::operations::{History, Load};
use crate::sampling::{Decision, threshold_of};
use crate::tracer::Inner;
use crate::{Value, ids, span};

/// A used buffer that holds on to more than this is freed: one long trace must not be paid for ever.
pub(crate) const SPARE_BYTES_MAX: usize = 64 * 1024;

/// How often rates, clocks and costs are looked at.
const CONTROL_INTERVAL: Duration = Duration::from_secs(1);

/// How long a batch is tried, and the waits between: doubled from the first to the longest, with up to half
/// more so that services do not come back in step.
const RETRY_FOR: Duration = Duration::from_secs(30);
const RETRY_WAIT_FIRST: Duration = Duration::from_millis(250);
const RETRY_WAIT_LONGEST: Duration = Duration::from_secs(8);

/// Not everything was exported in the time given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the deadline passed with {batches} requests on their way; the counters say what became of each span"
)]
pub struct FlushError {
    /// Requests without an answer.
    pub batches: usize,
}

/// What the threads measure.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) clock: Calibration,
    /// CPU time of each of our threads.
    cpu: Vec<Duration>,
    /// Spans encoded.
    encoded: u64,
    pub(crate) sampling_rate: f64,
    pub(crate) last_failure: Option<String>,
}

impl Figures {
    pub(crate) fn new(threads: usize) -> Self {
        let cpu = vec![Duration::ZERO; threads + 1];
        Self { clock: Calibration::measure(), cpu, encoded: 0, sampling_rate: 1.0, last_failure: None }
    }

    /// CPU time of our threads.
    pub(crate) fn exporting(&self) -> Duration {
        self.cpu.iter().sum()
    }
}

/// What recording costs on this machine, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Costs {
    /// A span from begin to end.
    pub(crate) span_ns: f64,
    /// An attribute with a text.
    pub(crate) entry_ns: f64,
}

impl Costs {
    /// Records a trace that goes nowhere: 500 spans, and 5 attributes on every tenth. The best of several
    /// rounds, since everything that disturbs makes it slower.
    pub(crate) fn measure(clock: &Calibration) -> Self {
        const ROUNDS: usize = 5;
        const SPANS: u64 = 500;
        let trace = Trace {
            tracer: 0,
            trace_id: ids::trace_id(),
            random: true,
            randomness: None,
            decision: Decision::Keep(None),
            operation: None,
            carried: None,
        };
        let mut buffer = Buffer::new(trace, Part::Root);
        let (mut span_ticks, mut entry_ticks) = (u64::MAX, u64::MAX);
        for _ in 0..ROUNDS {
            buffer.clear();
            buffer.begin("cost".into(), crate::Kind::Internal, None);
            let before = local::swap(Active::Recording(buffer));
            let from = ticks();
            (0..SPANS).for_each(|_| drop(span("cost")));
            let between = ticks();
            for _ in 0..SPANS / 5 {
                let span = span("cost");
                (0..5).for_each(|_| span.attribute("cost", Value::Text("some text")));
            }
            let to = ticks();
            let Active::Recording(used) = local::swap(before) else { break };
            buffer = used;
            span_ticks = span_ticks.min(between - from);
            entry_ticks = entry_ticks.min((to - between).saturating_sub((between - from) / 5));
        }
        let each = |ticks: u64| clock.nanos(ticks) as f64 / SPANS as f64;
        Self { span_ns: each(span_ticks), entry_ns: each(entry_ticks) }
    }
}

/// Starts the threads. They end when the tracer is shut down.
pub(crate) fn start(
    inner: &Arc<Inner>,
    threads: usize,
    transport: Arc<dyn Transport>,
    envelope: Envelope,
) -> std::io::Result<()> {
    let envelope = Arc::new(envelope);
    for number in 0..threads {
        let (inner, transport, envelope) = (Arc::clone(inner), Arc::clone(&transport), Arc::clone(&envelope));
        std::thread::Builder::new()
            .name(format!("tracer-{number}"))
            .spawn(move || export(&inner, number, &*transport, &envelope))?;
    }
    let inner = Arc::clone(inner);
    std::thread::Builder::new().name("tracer-control".into()).spawn(move || control(&inner, threads))?;
    Ok(())
}

fn export(inner: &Inner, number: usize, transport: &dyn Transport, envelope: &Envelope) {
    let clock = || inner.figures.lock().unwrap_or_else(PoisonError::into_inner).clock;
    let mut used = Batch::default();
    while let Some(mut batch) = inner.collector.next_batch(inner, clock, envelope.room(), used) {
        deliver(inner, transport, envelope, &mut batch);
        inner.collector.sent(&batch);
        let mut figures = inner.figures.lock().unwrap_or_else(PoisonError::into_inner);
        figures.cpu[number] = cpu(ClockId::ThreadCPUTime);
        figures.encoded += batch.count;
        used = batch;
    }
    inner.collector.thread_ended();
}

/// Sends a batch, again and again within its limits, and counts what became of it.
fn deliver(inner: &Inner, transport: &dyn Transport, envelope: &Envelope, batch: &mut Batch) {
    let counters = &inner.counters;
    let request = envelope.request(&mut batch.spans);
    let (started, mut wait) = (Instant::now(), RETRY_WAIT_FIRST);
    loop {
        if inner.collector.is_over() {
            return counters.drop_spans(Reason::Closed, batch.count);
        }
        match transport.send(request) {
            Delivery::Accepted { rejected } => {
                let rejected = rejected.min(batch.count);
                counters.exported.fetch_add(batch.count - rejected, Ordering::Release);
                counters.failed.fetch_add(rejected, Ordering::Release);
                if rejected > 0 {
                    inner.failed(format!("the receiver refused {rejected} of {} spans", batch.count));
                }
                return;
            }
            Delivery::Refused(reason) => {
                counters.failed.fetch_add(batch.count, Ordering::Release);
                return inner.failed(reason);
            }
            Delivery::Retry { after, reason } => {
                let next = after.unwrap_or_else(|| wait.mul_f64(1.0 + jitter()));
                wait = (wait * 2).min(RETRY_WAIT_LONGEST);
                inner.failed(reason);
                if started.elapsed() + next > RETRY_FOR || !inner.collector.may_retry_after(next) {
                    counters.failed.fetch_add(batch.count, Ordering::Release);
                    return;
                }
            }
        }
    }
}

/// 0 to one half, from the randomness of a span id.
fn jitter() -> f64 {
    (ids::span_id().get() >> 40) as f64 / (1_u64 << 25) as f64
}

impl Inner {
    fn failed(&self, reason: String) {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).last_failure = Some(reason);
    }
}

/// CPU time of this thread or process.
fn cpu(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// What the control thread saw last.
struct Last {
    at: Instant,
    process: Duration,
    recording: Duration,
    exporting: Duration,
    encoded: u64,
    created: u64,
    unsampled: u64,
}

impl Last {
    fn look(inner: &Inner) -> Self {
        let figures = inner.figures.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            at: Instant::now(),
            process: cpu(ClockId::ProcessCPUTime),
            recording: inner.recording(),
            exporting: figures.exporting(),
            encoded: figures.encoded,
            unsampled: inner.counters.dropped(Reason::Unsampled),
            created: inner.counters.created.load(Ordering::Relaxed),
        }
    }
}

/// Once a second: measures the clock again, looks at what tracing cost, and sets the rates.
fn control(inner: &Inner, own: usize) {
    let mut control = inner.sampler.adaptive_budget().map(|budget| Control::new(*budget));
    let mut histories: Vec<History> = Vec::new();
    let mut last = Last::look(inner);
    while !inner.collector.closes_within(CONTROL_INTERVAL) {
        let now = Last::look(inner);
        {
            let mut figures = inner.figures.lock().unwrap_or_else(PoisonError::into_inner);
            figures.clock.renew();
            figures.cpu[own] = cpu(ClockId::ThreadCPUTime);
            let (created, unsampled) = (now.created - last.created, now.unsampled - last.unsampled);
            if created > 0 {
                figures.sampling_rate = 1.0 - unsampled.min(created) as f64 / created as f64;
            }
        }
        if let Some(control) = &mut control {
            let shares = control.step(&seen(inner, &last, &now, &mut histories));
            for (number, row) in inner.operations.rows() {
                let share = shares.get(number).copied().unwrap_or(1.0);
                row.threshold.store(threshold_of(share), Ordering::Relaxed);
            }
        }
        last = now;
    }
}

fn seen(inner: &Inner, last: &Last, now: &Last, histories: &mut Vec<History>) -> Seen {
    let mut loads: Vec<Load> = Vec::new();
    for (number, row) in inner.operations.rows() {
        loads.resize(number + 1, Load::default());
        histories.resize(histories.len().max(number + 1), History::default());
        loads[number] = row.take_load();
        row.learn_slow(&mut histories[number]);
    }
    Seen {
        elapsed: now.at - last.at,
        process_cpu: now.process.saturating_sub(last.process),
        recording: now.recording.saturating_sub(last.recording),
        exporting: now.exporting.saturating_sub(last.exporting),
        exported: now.encoded - last.encoded,
        loads,
    }
}
