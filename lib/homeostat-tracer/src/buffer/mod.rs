//! One thread's part of a local trace while it is being recorded.
//!
//! In: spans as they begin and end, and what is said of them. Out: a whole part, handed over when its first
//! span ends. A buffer is owned by exactly one place at a time: a span, the thread that has entered it, a
//! queue or an export thread; so nothing here is shared, locked or atomic.
//!
//! Records are compact: stamps are raw ticks, names and keys that live as long as the program are kept by
//! address, other text is copied into one byte arena. Spans are numbered as they begin, and their ids follow
//! from the numbers when somebody asks. What is said of them is one list for the whole part, each entry with
//! its span's number; an export thread puts it in order. So recording only ever appends.
//!
//! Deliberately absent: sorting, time conversion, protobuf. The export threads do that.

mod handover;
mod reading;
mod record;
mod saying;

use std::borrow::Cow;
use std::sync::Arc;

pub(crate) use self::reading::{Said, Saying, Spoken};
pub(crate) use self::record::{Outcome, Record, Text};

use self::record::{Entry, Event, Held, Link, NONE, What};
use crate::clock::ticks;
use crate::context::{Carried, Context};
use crate::ids::{self, SpanId, TraceId};
use crate::join::{Branch, Join};
use crate::sampling::Decision;
use crate::value::Kind;

/// Attributes a span, an event or a link may have, and events and links a span may have (the default of
/// OpenTelemetry's SDK specification). What is more is dropped and counted in the span.
pub const DETAILS_MAX: u16 = 128;

/// Bytes of one text; what is longer is cut at a character.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Spans that may be open at once in one part. More are refused and counted: a program that opens spans and
/// never ends them must not grow.
pub const OPEN_SPANS_MAX: usize = 4096;

/// What all spans of a local trace share.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    /// Which tracer it belongs to.
    pub(crate) tracer: u64,
    pub(crate) trace_id: TraceId,
    pub(crate) random: bool,
    pub(crate) randomness: Option<u64>,
    pub(crate) decision: Decision,
    /// The row of the root's operation, where the sampler keeps rows.
    pub(crate) operation: Option<u16>,
    pub(crate) carried: Option<Arc<Carried>>,
}

/// Whether a buffer holds the local root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The local root is in it: when that ends, the trace is decided.
    Root,
    /// Work of the trace on another thread or task: joins the root.
    Branch,
}

#[derive(Debug)]
pub(crate) struct Buffer {
    /// In the order in which they began, and so of their numbers.
    pub(crate) records: Vec<Record>,
    pub(crate) entries: Vec<Entry>,
    text: Vec<u8>,
    statics: Vec<&'static str>,
    events: Vec<Event>,
    links: Vec<Link>,
    /// Drawn for each part: its spans' ids follow from it, and guards know their part by it. Never zero.
    serial: u64,
    /// The number of a span less its place in `records`, but for the first `moved`. So the next span's number is
    /// this and the length of `records`.
    base: u32,
    /// Records that came from a part that was handed over while they were open.
    moved: u32,
    /// The innermost open span. The open ones are its line of parents.
    innermost: u32,
    /// Spans in that line,
    depth: u32,
    /// and those among them that ended before a span inside them.
    loose: u32,
    /// How many may be in it: [`OPEN_SPANS_MAX`], or none where the numbers have run out.
    depth_max: u32,
    serials: ids::Serials,
    /// The id of the first span's parent, zero for none, and whether it lies in another process.
    parent: u64,
    parent_is_remote: bool,
    /// Some span of it has failed.
    pub(crate) error: bool,
    pub(crate) part: Part,
    /// Spans not recorded because [`OPEN_SPANS_MAX`] were open.
    pub(crate) refused: u64,
    /// Made when a context first leaves this thread.
    pub(crate) join: Option<Arc<Join>>,
    /// The threshold of the final decision; what the exporter writes as `th`.
    pub(crate) weight: Option<u64>,
    pub(crate) trace: Trace,
}

impl Buffer {
    pub(crate) fn new(trace: Trace, part: Part) -> Box<Self> {
        Box::new(Self {
            records: Vec::with_capacity(32),
            entries: Vec::with_capacity(32),
            text: Vec::with_capacity(256),
            statics: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
            serial: 0,
            base: 0,
            moved: 0,
            innermost: NONE,
            depth: 0,
            loose: 0,
            depth_max: OPEN_SPANS_MAX as u32,
            serials: ids::Serials::new(),
            parent: 0,
            parent_is_remote: false,
            error: false,
            part,
            refused: 0,
            join: None,
            weight: None,
            trace,
        })
    }

    /// Makes a used buffer ready for another trace.
    pub(crate) fn renew(&mut self, trace: Trace, part: Part) {
        self.trace = trace;
        self.part = part;
        self.join = None;
        self.weight = None;
    }

    /// Forgets what was recorded and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.entries.clear();
        self.text.clear();
        self.statics.clear();
        self.events.clear();
        self.links.clear();
        self.error = false;
        self.refused = 0;
        self.join = None;
        self.trace.carried = None;
    }

    /// Whether it belongs to a trace that was discarded, which a root is not before it ends.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.part == Part::Branch && self.join.as_ref().is_some_and(|join| join.is_forgotten())
    }

    /// Tells the part of one trace from that of another, so that a guard that outlived its trace does nothing.
    #[inline]
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// Bytes it holds on to.
    pub(crate) fn bytes(&self) -> usize {
        self.records.len() * size_of::<Record>()
            + self.entries.len() * size_of::<Entry>()
            + self.text.len()
            + self.statics.len() * size_of::<&str>()
            + self.events.len() * size_of::<Event>()
            + self.links.len() * size_of::<Link>()
    }

    /// Bytes it would hold on to when empty.
    pub(crate) fn capacity(&self) -> usize {
        self.records.capacity() * size_of::<Record>()
            + self.entries.capacity() * size_of::<Entry>()
            + self.text.capacity()
            + self.statics.capacity() * size_of::<&str>()
            + self.events.capacity() * size_of::<Event>()
            + self.links.capacity() * size_of::<Link>()
    }

    /// Spans in it, refused ones included: what the counters call created.
    pub(crate) fn created(&self) -> u64 {
        self.records.len() as u64 + self.refused
    }

    /// Begins the first span.
    pub(crate) fn begin(&mut self, name: Cow<'static, str>, kind: Kind, parent: Option<&Context>) {
        let name = match name {
            Cow::Borrowed(name) => Text::Static(name),
            Cow::Owned(name) => self.hold_name(&name),
        };
        self.serial = self.serials.next();
        self.parent = parent.map_or(0, |parent| parent.span_id.get());
        self.parent_is_remote = parent.is_some_and(|parent| parent.remote);
        (self.base, self.moved) = (0, 0);
        (self.innermost, self.depth, self.loose) = (0, 1, 0);
        self.depth_max = OPEN_SPANS_MAX as u32;
        self.records.push(Record::open(0, NONE, name, kind, ticks()));
    }

    /// The number of the next span.
    #[inline]
    fn next(&self) -> u32 {
        self.base.wrapping_add(self.records.len() as u32)
    }

    /// Begins a child of the innermost open span; its number, or none where too many are open.
    pub(crate) fn child(&mut self, name: Text) -> Option<u32> {
        if self.depth >= self.depth_max {
            self.refused += 1;
            return None;
        }
        Some(self.open_child(name, ticks()))
    }

    /// [`Self::child`] where no memory is asked for and no span refused; none, and nothing done, where it would be.
    #[inline]
    pub(crate) fn child_swiftly(&mut self, name: Text, now: u64) -> Option<u32> {
        let easy = self.depth < self.depth_max && self.records.len() < self.records.capacity();
        easy.then(|| self.open_child(name, now))
    }

    #[inline]
    fn open_child(&mut self, name: Text, now: u64) -> u32 {
        let number = self.next();
        self.records.push(Record::open(number, self.innermost, name, Kind::Internal, now));
        self.innermost = number;
        self.depth += 1;
        number
    }

    /// Ends a span that [`Self::child`] began.
    pub(crate) fn end(&mut self, number: u32, now: u64) {
        let Some(place) = self.place(number) else { return };
        let record = &mut self.records[place];
        record.end = now;
        if number == self.innermost && self.loose == 0 {
            self.innermost = record.parent;
            self.depth -= 1;
        } else {
            self.end_out_of_order(number);
        }
    }

    /// [`Self::end`] where it is the innermost span's turn and nothing is to be handed over; whether that was so.
    #[inline]
    pub(crate) fn end_swiftly(&mut self, number: u32, now: u64) -> bool {
        if number != self.innermost || self.loose != 0 || self.may_be_long() {
            return false;
        }
        match self.records.get_mut(number.wrapping_sub(self.base) as usize) {
            Some(record) if record.number == number => {
                record.end = now;
                self.innermost = record.parent;
                self.depth -= 1;
                true
            }
            _ => false,
        }
    }

    /// A span that ends before one inside it stays in the line until that has ended as well.
    #[cold]
    fn end_out_of_order(&mut self, number: u32) {
        self.loose += 1;
        if number != self.innermost {
            return;
        }
        while let Some(place) = self.place(self.innermost)
            && self.records[place].end != 0
        {
            self.innermost = self.records[place].parent;
            self.depth -= 1;
            self.loose -= 1;
        }
    }

    /// Ends everything that is still open: the root has ended, and nothing outlives it.
    pub(crate) fn end_all(&mut self) {
        let now = ticks();
        while let Some(place) = self.place(self.innermost) {
            let record = &mut self.records[place];
            let (number, open) = (record.number, record.end == 0);
            self.innermost = record.parent;
            if open {
                record.end = now;
            }
            if open && number != 0 {
                let unfinished = Held::Bool(true);
                self.entries.push(Entry::valued(number, What::Attribute, "homeostat.unfinished", unfinished));
            }
        }
        (self.depth, self.loose) = (0, 0);
    }

    /// How long the first span took, in ticks.
    pub(crate) fn first_ticks(&self) -> u64 {
        self.records.first().map_or(0, |first| first.end.saturating_sub(first.start))
    }

    /// Where a span is recorded; none where it has been handed over.
    #[inline]
    fn place(&self, number: u32) -> Option<usize> {
        let place = number.wrapping_sub(self.base) as usize;
        match self.records.get(place) {
            Some(record) if record.number == number => Some(place),
            _ => self.place_of_moved(number),
        }
    }

    #[cold]
    fn place_of_moved(&self, number: u32) -> Option<usize> {
        let moved = self.records.get(..self.moved as usize)?;
        moved.binary_search_by_key(&number, |record| record.number).ok()
    }

    fn id_of(&self, number: u32) -> SpanId {
        ids::nth_span(self.serial, number)
    }

    /// A context at the innermost open span, without what a thread needs to join in.
    pub(crate) fn point(&self) -> Option<Context> {
        self.point_at(self.innermost)
    }

    fn point_at(&self, number: u32) -> Option<Context> {
        self.place(number)?;
        let Trace { trace_id, random, randomness, ref decision, ref carried, .. } = self.trace;
        Some(Context {
            trace_id,
            span_id: self.id_of(number),
            sampled: decision.sampled(),
            random,
            remote: false,
            undecided: decision.is_open(),
            threshold: decision.threshold().filter(|_| decision.sampled()),
            randomness,
            carried: carried.clone(),
            branch: None,
        })
    }

    /// A context at the innermost open span, from which another thread or task can join in.
    pub(crate) fn context(&mut self) -> Option<Context> {
        self.context_at(self.innermost)
    }

    /// A context at a span.
    pub(crate) fn context_at(&mut self, number: u32) -> Option<Context> {
        let mut context = self.point_at(number)?;
        let join = self.join.get_or_insert_with(|| Arc::new(Join::new(self.trace.tracer)));
        context.branch = Some(Branch { join: Arc::clone(join), trace: self.trace.clone() });
        Some(context)
    }
}
