//! A batch: rows of one signal in columns, open while requests are walked into it, read from a block later.
//!
//! Spans and log records share it. What only one of them has stays empty for the other and costs nothing on disk.

use std::sync::Arc;

use crate::column::{Attributes, Strings};
use crate::model::{Resource, Scope, Signal};
use crate::otlp;

/// More columns or shapes than this are forgotten between batches (see [`Attributes::clear`]).
const KNOWN_SHAPES: usize = 4096;

/// Rows in columns.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) signal: Signal,
    /// Trace of each row; zero for a log record outside of traces.
    pub(crate) trace: Vec<[u8; 16]>,
    /// Span of each row, big-endian; zero for a log record outside of spans.
    pub(crate) span: Vec<u64>,
    /// Parent span, zero for a root. Spans only.
    pub(crate) parent: Vec<u64>,
    /// Start of a span, time of a log record: nanoseconds since 1970.
    pub(crate) start: Vec<u64>,
    /// Duration of a span; time of observation of a log record.
    pub(crate) duration: Vec<u64>,
    /// Kind of a span, severity number of a log record.
    pub(crate) kind: Vec<u8>,
    /// Status code of a span.
    pub(crate) status: Vec<u8>,
    pub(crate) flags: Vec<u32>,
    /// Name of a span, event name of a log record.
    pub(crate) name: Strings,
    /// Status message of a span, severity text of a log record.
    pub(crate) message: Strings,
    /// W3C tracestate. Spans only.
    pub(crate) trace_state: Strings,
    /// Index into `origins`.
    pub(crate) origin: Vec<u32>,
    pub(crate) origins: Origins,
    /// The body of a log record is the value of the empty key, which OpenTelemetry forbids for attributes.
    pub(crate) attributes: Attributes,
    /// Rows from which something was left out, ascending, with how many attributes, events, links.
    pub(crate) dropped: Vec<(u32, [u32; 3])>,
    pub(crate) events: Events,
    pub(crate) links: Links,
    /// For each entry of `name`, the shape its last row had.
    pub(crate) expected_shapes: Vec<u32>,
}

/// Events of the spans of a batch, in the order of their rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Events {
    /// The span's row.
    pub(crate) row: Vec<u32>,
    /// Nanoseconds since 1970.
    pub(crate) time: Vec<u64>,
    pub(crate) name: Strings,
    pub(crate) attributes: Attributes,
    pub(crate) dropped: Vec<u32>,
}

/// Links of the spans of a batch, in the order of their rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Links {
    /// The span's row.
    pub(crate) row: Vec<u32>,
    pub(crate) trace: Vec<[u8; 16]>,
    pub(crate) span: Vec<u64>,
    pub(crate) trace_state: Strings,
    pub(crate) flags: Vec<u32>,
    pub(crate) attributes: Attributes,
    pub(crate) dropped: Vec<u32>,
}

/// The resources and scopes rows come from, each once: as the OTLP messages they came in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins {
    pub(crate) resources: Strings,
    pub(crate) scopes: Strings,
    /// Resource and scope of each origin.
    pub(crate) pairs: Vec<(u32, u32)>,
    /// Service of each resource.
    pub(crate) services: Vec<Arc<str>>,
}

impl Origins {
    /// The code of a resource given as OTLP message.
    pub(crate) fn resource(&mut self, message: &[u8]) -> u32 {
        let code = self.resources.intern(message);
        if code as usize == self.services.len() {
            self.services.push(otlp::service_name(message).into());
        }
        code
    }

    /// The code of a scope given as OTLP message.
    pub(crate) fn scope(&mut self, message: &[u8]) -> u32 {
        self.scopes.intern(message)
    }

    /// The origin made of the two.
    pub(crate) fn pair(&mut self, resource: u32, scope: u32) -> u32 {
        // The last pairs are the likeliest; a batch has few.
        match self.pairs.iter().rposition(|&pair| pair == (resource, scope)) {
            Some(index) => index as u32,
            None => {
                self.pairs.push((resource, scope));
                self.pairs.len() as u32 - 1
            }
        }
    }

    /// The service of `origin`.
    pub(crate) fn service(&self, origin: u32) -> &Arc<str> {
        &self.services[self.pairs[origin as usize].0 as usize]
    }

    /// The resource and scope of `origin`, read out.
    pub(crate) fn read(&self, origin: u32) -> (Resource, Scope) {
        let (resource, scope) = self.pairs[origin as usize];
        (otlp::resource(self.resources.entry(resource)), otlp::scope(self.scopes.entry(scope)))
    }

    fn clear(&mut self) {
        self.resources.clear_dictionary();
        self.scopes.clear_dictionary();
        self.pairs.clear();
        self.services.clear();
    }
}

impl Batch {
    pub(crate) fn new(signal: Signal) -> Self {
        Self {
            signal,
            trace: Vec::new(),
            span: Vec::new(),
            parent: Vec::new(),
            start: Vec::new(),
            duration: Vec::new(),
            kind: Vec::new(),
            status: Vec::new(),
            flags: Vec::new(),
            name: Strings::default(),
            message: Strings::default(),
            trace_state: Strings::default(),
            origin: Vec::new(),
            origins: Origins::default(),
            attributes: Attributes::default(),
            dropped: Vec::new(),
            events: Events::default(),
            links: Links::default(),
            expected_shapes: Vec::new(),
        }
    }

    /// Rows.
    pub(crate) fn rows(&self) -> usize {
        self.trace.len()
    }

    /// Bytes held, roughly.
    pub(crate) fn weight(&self) -> usize {
        const ROW: usize = 16 + 8 + 8 + 8 + 8 + 1 + 1 + 4 + 4;
        const EVENT: usize = 4 + 8 + 4;
        const LINK: usize = 4 + 16 + 8 + 4 + 4;
        let texts = [
            &self.name,
            &self.message,
            &self.trace_state,
            &self.origins.resources,
            &self.origins.scopes,
            &self.events.name,
            &self.links.trace_state,
        ];
        ROW * self.rows()
            + EVENT * self.events.row.len()
            + LINK * self.links.row.len()
            + texts.iter().map(|column| column.weight()).sum::<usize>()
            + self.attributes.weight()
            + self.events.attributes.weight()
            + self.links.attributes.weight()
    }

    /// Earliest and latest start (or time), inclusive; `None` for an empty batch.
    pub(crate) fn start_range(&self) -> Option<(u64, u64)> {
        Some((*self.start.iter().min()?, *self.start.iter().max()?))
    }

    /// Takes back rows beyond the first `rows`, with all that belongs to them. The row under way must be complete.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.trace.truncate(rows);
        self.span.truncate(rows);
        self.parent.truncate(rows);
        self.start.truncate(rows);
        self.duration.truncate(rows);
        self.kind.truncate(rows);
        self.status.truncate(rows);
        self.flags.truncate(rows);
        self.name.truncate(rows);
        self.message.truncate(rows);
        self.trace_state.truncate(rows);
        self.origin.truncate(rows);
        self.attributes.truncate(rows);
        let first = rows as u32;
        self.dropped.truncate(self.dropped.partition_point(|&(row, _)| row < first));
        self.events.truncate(self.events.row.partition_point(|&row| row < first));
        self.links.truncate(self.links.row.partition_point(|&row| row < first));
    }

    /// Empties the batch for the next one and keeps its room and what it knows of its senders.
    pub(crate) fn clear(&mut self) {
        self.trace.clear();
        self.span.clear();
        self.parent.clear();
        self.start.clear();
        self.duration.clear();
        self.kind.clear();
        self.status.clear();
        self.flags.clear();
        self.name.clear_dictionary();
        self.message.clear_dictionary();
        self.trace_state.clear_dictionary();
        self.origin.clear();
        self.origins.clear();
        self.attributes.clear(KNOWN_SHAPES);
        self.dropped.clear();
        self.events.clear();
        self.links.clear();
        self.expected_shapes.clear();
    }
}

impl Events {
    pub(crate) fn truncate(&mut self, events: usize) {
        self.row.truncate(events);
        self.time.truncate(events);
        self.name.truncate(events);
        self.attributes.truncate(events);
        self.dropped.truncate(events);
    }

    fn clear(&mut self) {
        self.row.clear();
        self.time.clear();
        self.name.clear_dictionary();
        self.attributes.clear(KNOWN_SHAPES);
        self.dropped.clear();
    }
}

impl Links {
    pub(crate) fn truncate(&mut self, links: usize) {
        self.row.truncate(links);
        self.trace.truncate(links);
        self.span.truncate(links);
        self.trace_state.truncate(links);
        self.flags.truncate(links);
        self.attributes.truncate(links);
        self.dropped.truncate(links);
    }

    fn clear(&mut self) {
        self.row.clear();
        self.trace.clear();
        self.span.clear();
        self.trace_state.clear_dictionary();
        self.flags.clear();
        self.attributes.clear(KNOWN_SHAPES);
        self.dropped.clear();
    }
}
