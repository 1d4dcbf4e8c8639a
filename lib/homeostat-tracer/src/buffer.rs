//! One thread's part of a local trace while it is being recorded.
//!
//! In: spans as they begin and end, and what is said of them. Out: a whole part, handed over when its first
//! span ends. A buffer is owned by exactly one place at a time: a span, the thread that has entered it, a
//! queue or an export thread; so nothing here is shared, locked or atomic.
//!
//! Records are compact: stamps are raw ticks, names and keys that live as long as the program are kept by
//! address, other text is copied into one byte arena. Attributes, events and links of all spans share one
//! list, chained per span by index, so that a span without them costs one record and nothing else.
//!
//! Deliberately absent: sorting, time conversion, protobuf. The export threads do that.

use std::borrow::Cow;
use std::sync::Arc;

use crate::clock::ticks;
use crate::context::{Carried, Context};
use crate::ids::{self, SpanId, TraceId};
use crate::join::{Branch, Join};
use crate::sampling::Decision;
use crate::value::{Kind, Status, Value};

/// Attributes a span, an event or a link may have, and events and links a span may have (the default of
/// OpenTelemetry's SDK specification). What is more is dropped and counted in the span.
pub const DETAILS_MAX: u16 = 128;

/// Bytes of one text; what is longer is cut at a character.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Spans that may be open at once in one part. More are refused and counted: a program that opens spans and
/// never ends them must not grow.
pub const OPEN_SPANS_MAX: usize = 4096;

/// A part of this many spans or details, or bytes of text, hands over what has ended without waiting for its
/// root: 4,096 records are 300 KiB.
const FLUSH_RECORDS: usize = 4096;
const FLUSH_ENTRIES: usize = 8192;
const FLUSH_TEXT_BYTES: usize = 512 * 1024;

/// Marks a slot whose span has ended, and the end of a chain.
const NONE: u32 = u32::MAX;

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
    pub(crate) trace: Trace,
    pub(crate) part: Part,
    pub(crate) records: Vec<Record>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) text: Vec<u8>,
    /// Makes the ids of its spans.
    ids: ids::Spans,
    /// Where the open spans are in `records`, innermost last.
    open: Vec<u32>,
    /// Some span of it has failed.
    pub(crate) error: bool,
    /// Spans not recorded because [`OPEN_SPANS_MAX`] were open.
    pub(crate) refused: u64,
    /// Made when a context first leaves this thread.
    pub(crate) join: Option<Arc<Join>>,
    /// The threshold of the final decision; what the exporter writes as `th`.
    pub(crate) weight: Option<u64>,
}

/// A span as recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub(crate) id: SpanId,
    /// Zero for none.
    pub(crate) parent: u64,
    pub(crate) start: u64,
    /// Zero while it is open.
    pub(crate) end: u64,
    pub(crate) name: Text,
    first: u32,
    last: u32,
    pub(crate) kind: Kind,
    pub(crate) outcome: Outcome,
    /// Whether the parent lies in another process.
    pub(crate) parent_is_remote: bool,
    attributes: u8,
    events: u8,
    links: u8,
    pub(crate) dropped_attributes: u16,
    pub(crate) dropped_events: u16,
    pub(crate) dropped_links: u16,
}

/// A status without its message, which is an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Unset,
    Ok,
    Error,
}

/// Text by address or in the arena.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Text {
    Static(&'static str),
    Held { at: u32, length: u32 },
}

/// A value as recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Held {
    Text(Text),
    Bool(bool),
    I64(i64),
    F64(f64),
}

/// Something said of a span.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    next: u32,
    pub(crate) body: Body,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Body {
    Attribute {
        key: &'static str,
        value: Held,
    },
    Event {
        name: Text,
        at: u64,
        dropped: u16,
    },
    Link {
        trace: [u64; 2],
        span: u64,
        sampled: bool,
        dropped: u16,
    },
    /// Belongs to the event or link before it in the chain.
    Detail {
        key: &'static str,
        value: Held,
    },
    Message(Text),
}

impl Buffer {
    pub(crate) fn new(trace: Trace, part: Part) -> Box<Self> {
        Box::new(Self {
            trace,
            part,
            records: Vec::with_capacity(32),
            entries: Vec::with_capacity(32),
            text: Vec::with_capacity(256),
            open: Vec::with_capacity(16),
            ids: ids::Spans::new(),
            error: false,
            refused: 0,
            join: None,
            weight: None,
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
        self.open.clear();
        self.error = false;
        self.refused = 0;
        self.join = None;
        self.trace.carried = None;
    }

    /// Tells the part of one trace from that of another, so that a guard that outlived its trace does nothing.
    pub(crate) fn serial(&self) -> u64 {
        self.records.first().map_or(0, |first| first.id.get())
    }

    /// Bytes it holds on to.
    pub(crate) fn bytes(&self) -> usize {
        self.records.len() * size_of::<Record>() + self.entries.len() * size_of::<Entry>() + self.text.len()
    }

    /// Bytes it would hold on to when empty.
    pub(crate) fn capacity(&self) -> usize {
        self.records.capacity() * size_of::<Record>()
            + self.entries.capacity() * size_of::<Entry>()
            + self.text.capacity()
    }

    /// Spans in it, refused ones included: what the counters call created.
    pub(crate) fn created(&self) -> u64 {
        self.records.len() as u64 + self.refused
    }

    /// Begins the first span.
    pub(crate) fn begin(&mut self, name: Cow<'static, str>, kind: Kind, parent: Option<&Context>) {
        let name = self.hold_name(name);
        let parent_id = parent.map_or(0, |parent| parent.span_id.get());
        let mut record = Record::open(self.ids.next(), name, kind, parent_id);
        record.parent_is_remote = parent.is_some_and(|parent| parent.remote);
        self.open.push(0);
        self.records.push(record);
    }

    /// Begins a child of the innermost open span; its slot, or none where too many are open.
    #[inline]
    pub(crate) fn child(&mut self, name: Cow<'static, str>) -> Option<u32> {
        let innermost = self.open.last()?;
        if self.open.len() >= OPEN_SPANS_MAX {
            self.refused += 1;
            return None;
        }
        let parent = self.records[*innermost as usize].id.get();
        let name = self.hold_name(name);
        let slot = self.open.len() as u32;
        self.open.push(self.records.len() as u32);
        self.records.push(Record::open(self.ids.next(), name, Kind::Internal, parent));
        Some(slot)
    }

    /// Ends the span in `slot`.
    #[inline]
    pub(crate) fn end(&mut self, slot: u32) {
        let Some(index) = self.open.get_mut(slot as usize) else { return };
        let ended = std::mem::replace(index, NONE);
        if let Some(record) = self.records.get_mut(ended as usize) {
            record.end = ticks();
        }
        while self.open.last() == Some(&NONE) {
            self.open.pop();
        }
    }

    /// Ends everything that is still open: the root has ended, and nothing outlives it.
    pub(crate) fn end_all(&mut self) {
        let now = ticks();
        while let Some(index) = self.open.pop() {
            if index == NONE {
                continue;
            }
            if index != 0 {
                self.add(index, Body::Attribute { key: "homeostat.unfinished", value: Held::Bool(true) });
            }
            self.records[index as usize].end = now;
        }
    }

    /// How long the first span took, in ticks.
    pub(crate) fn first_ticks(&self) -> u64 {
        self.records.first().map_or(0, |first| first.end.saturating_sub(first.start))
    }

    /// Whether so much has ended that it is handed over before the root ends.
    #[inline]
    pub(crate) fn is_long(&self) -> bool {
        self.records.len() >= FLUSH_RECORDS + self.open.len()
            || self.entries.len() >= FLUSH_ENTRIES + usize::from(DETAILS_MAX) * self.open.len()
            || self.text.len() >= FLUSH_TEXT_BYTES + TEXT_BYTES_MAX * self.open.len()
    }

    /// Moves the open spans with all that was said of them into `rest`, which becomes the trace's buffer, and
    /// leaves the ended ones here.
    pub(crate) fn leave_open_to(&mut self, rest: &mut Self) {
        rest.renew(self.trace.clone(), self.part);
        rest.error = self.error;
        rest.join = self.join.clone();
        for slot in 0..self.open.len() {
            let index = self.open[slot];
            if index == NONE {
                rest.open.push(NONE);
                continue;
            }
            let record = self.records[index as usize];
            let moved = rest.records.len() as u32;
            rest.open.push(moved);
            let name = rest.take_text(self, record.name);
            rest.records.push(Record { name, first: NONE, last: NONE, ..record });
            for body in self.said_of(&record).copied().collect::<Vec<_>>() {
                let body = rest.take_body(self, body);
                rest.add(moved, body);
            }
        }
        self.open.clear();
        self.records.retain(|record| record.end != 0);
    }

    fn take_text(&mut self, from: &Self, text: Text) -> Text {
        match text {
            Text::Static(_) => text,
            Text::Held { .. } => self.hold_bytes(from.bytes_of(&text)),
        }
    }

    fn take_held(&mut self, from: &Self, value: Held) -> Held {
        match value {
            Held::Text(text) => Held::Text(self.take_text(from, text)),
            other => other,
        }
    }

    fn take_body(&mut self, from: &Self, body: Body) -> Body {
        match body {
            Body::Attribute { key, value } => Body::Attribute { key, value: self.take_held(from, value) },
            Body::Detail { key, value } => Body::Detail { key, value: self.take_held(from, value) },
            Body::Event { name, at, dropped } => {
                Body::Event { name: self.take_text(from, name), at, dropped }
            }
            Body::Message(text) => Body::Message(self.take_text(from, text)),
            Body::Link { .. } => body,
        }
    }

    fn hold_bytes(&mut self, bytes: &[u8]) -> Text {
        let at = self.text.len() as u32;
        self.text.extend_from_slice(bytes);
        Text::Held { at, length: bytes.len() as u32 }
    }

    fn hold(&mut self, text: &str) -> Text {
        let most = text.floor_char_boundary(TEXT_BYTES_MAX);
        self.hold_bytes(&text.as_bytes()[..most])
    }

    #[inline]
    fn hold_name(&mut self, name: Cow<'static, str>) -> Text {
        match name {
            Cow::Borrowed(name) => Text::Static(name),
            Cow::Owned(name) => self.hold(&name),
        }
    }

    #[inline]
    fn hold_value(&mut self, value: Value<'_>) -> Held {
        match value {
            Value::Text(text) => Held::Text(self.hold(text)),
            Value::Static(text) => Held::Text(Text::Static(text)),
            Value::Bool(value) => Held::Bool(value),
            Value::I64(value) => Held::I64(value),
            Value::F64(value) => Held::F64(value),
        }
    }

    /// The bytes of a text of this buffer.
    pub(crate) fn bytes_of<'a>(&'a self, text: &'a Text) -> &'a [u8] {
        match text {
            Text::Static(text) => &text.as_bytes()[..text.floor_char_boundary(TEXT_BYTES_MAX)],
            Text::Held { at, length } => {
                self.text.get(*at as usize..(*at + *length) as usize).unwrap_or_default()
            }
        }
    }

    /// What was said of a span, in order.
    pub(crate) fn said_of(&self, record: &Record) -> impl Iterator<Item = &Body> {
        let mut at = record.first;
        std::iter::from_fn(move || {
            let entry = self.entries.get(at as usize)?;
            at = entry.next;
            Some(&entry.body)
        })
    }

    #[inline]
    fn add(&mut self, index: u32, body: Body) {
        let at = self.entries.len() as u32;
        let record = &mut self.records[index as usize];
        if record.first == NONE {
            record.first = at;
        } else {
            self.entries[record.last as usize].next = at;
        }
        record.last = at;
        self.entries.push(Entry { next: NONE, body });
    }

    /// Where the open span of `slot` is recorded.
    #[inline]
    fn index(&self, slot: u32) -> Option<u32> {
        self.open.get(slot as usize).copied().filter(|index| *index != NONE)
    }

    #[inline]
    pub(crate) fn attribute(&mut self, slot: u32, key: &'static str, value: Value<'_>) {
        let Some(index) = self.index(slot) else { return };
        let record = &mut self.records[index as usize];
        if u16::from(record.attributes) >= DETAILS_MAX {
            record.dropped_attributes = record.dropped_attributes.saturating_add(1);
            return;
        }
        record.attributes += 1;
        let value = self.hold_value(value);
        self.add(index, Body::Attribute { key, value });
    }

    /// Several at once: the span is looked up, and the chain walked to its end, once.
    #[inline]
    pub(crate) fn attributes(&mut self, slot: u32, attributes: &[(&'static str, Value<'_>)]) {
        let Some(index) = self.index(slot) else { return };
        let record = &mut self.records[index as usize];
        let room = usize::from(DETAILS_MAX).saturating_sub(usize::from(record.attributes));
        let taken = attributes.len().min(room);
        let dropped = u16::try_from(attributes.len() - taken).unwrap_or(u16::MAX);
        record.dropped_attributes = record.dropped_attributes.saturating_add(dropped);
        let Some(last) = taken.checked_sub(1) else { return };
        record.attributes += taken as u8;
        let from = self.entries.len() as u32;
        if record.first == NONE {
            record.first = from;
        } else {
            self.entries[record.last as usize].next = from;
        }
        record.last = from + last as u32;
        self.entries.reserve(taken);
        for (place, (key, value)) in attributes[..taken].iter().enumerate() {
            let value = self.hold_value(*value);
            let next = if place == last { NONE } else { from + place as u32 + 1 };
            self.entries.push(Entry { next, body: Body::Attribute { key, value } });
        }
    }

    pub(crate) fn event(&mut self, slot: u32, name: &str, attributes: &[(&'static str, Value<'_>)]) {
        let Some(index) = self.index(slot) else { return };
        let record = &mut self.records[index as usize];
        if u16::from(record.events) >= DETAILS_MAX {
            record.dropped_events = record.dropped_events.saturating_add(1);
            return;
        }
        record.events += 1;
        let name = self.hold(name);
        let dropped = over_limit(attributes);
        self.add(index, Body::Event { name, at: ticks(), dropped });
        self.details(index, attributes);
    }

    pub(crate) fn link(&mut self, slot: u32, to: &Context, attributes: &[(&'static str, Value<'_>)]) {
        let Some(index) = self.index(slot) else { return };
        let record = &mut self.records[index as usize];
        if u16::from(record.links) >= DETAILS_MAX {
            record.dropped_links = record.dropped_links.saturating_add(1);
            return;
        }
        record.links += 1;
        let id = to.trace_id.get();
        let trace = [(id >> 64) as u64, id as u64];
        let dropped = over_limit(attributes);
        self.add(index, Body::Link { trace, span: to.span_id.get(), sampled: to.sampled, dropped });
        self.details(index, attributes);
    }

    fn details(&mut self, index: u32, attributes: &[(&'static str, Value<'_>)]) {
        for (key, value) in attributes.iter().take(usize::from(DETAILS_MAX)) {
            let value = self.hold_value(*value);
            self.add(index, Body::Detail { key, value });
        }
    }

    pub(crate) fn status(&mut self, slot: u32, status: Status<'_>) {
        let Some(index) = self.index(slot) else { return };
        let outcome = match status {
            Status::Unset => Outcome::Unset,
            Status::Ok => Outcome::Ok,
            Status::Error(message) => {
                self.error = true;
                let said = self.said_of(&self.records[index as usize]);
                let messages = said.filter(|body| matches!(body, Body::Message(_))).count();
                if !message.is_empty() && messages < usize::from(DETAILS_MAX) {
                    let message = self.hold(message);
                    self.add(index, Body::Message(message));
                }
                Outcome::Error
            }
        };
        self.records[index as usize].outcome = outcome;
    }

    pub(crate) fn kind(&mut self, slot: u32, kind: Kind) {
        if let Some(index) = self.index(slot) {
            self.records[index as usize].kind = kind;
        }
    }

    pub(crate) fn rename(&mut self, slot: u32, name: Cow<'static, str>) {
        let Some(index) = self.index(slot) else { return };
        self.records[index as usize].name = self.hold_name(name);
    }

    /// A context at the innermost open span, without what a thread needs to join in.
    pub(crate) fn point(&self) -> Option<Context> {
        self.point_at(self.open.len().checked_sub(1)? as u32)
    }

    fn point_at(&self, slot: u32) -> Option<Context> {
        let record = &self.records[self.index(slot)? as usize];
        let Trace { trace_id, random, randomness, ref decision, ref carried, .. } = self.trace;
        Some(Context {
            trace_id,
            span_id: record.id,
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
        self.context_at(self.open.len().checked_sub(1)? as u32)
    }

    /// A context at the span in `slot`.
    pub(crate) fn context_at(&mut self, slot: u32) -> Option<Context> {
        let mut context = self.point_at(slot)?;
        let join = self.join.get_or_insert_with(|| Arc::new(Join::new(self.trace.tracer)));
        context.branch = Some(Branch { join: Arc::clone(join), trace: self.trace.clone() });
        Some(context)
    }
}

/// How many of `attributes` are too many.
fn over_limit(attributes: &[(&'static str, Value<'_>)]) -> u16 {
    u16::try_from(attributes.len().saturating_sub(usize::from(DETAILS_MAX))).unwrap_or(u16::MAX)
}

impl Record {
    #[inline]
    fn open(id: SpanId, name: Text, kind: Kind, parent: u64) -> Self {
        Self {
            id,
            parent,
            start: ticks(),
            end: 0,
            name,
            first: NONE,
            last: NONE,
            kind,
            outcome: Outcome::Unset,
            parent_is_remote: false,
            attributes: 0,
            events: 0,
            links: 0,
            dropped_attributes: 0,
            dropped_events: 0,
            dropped_links: 0,
        }
    }
}
