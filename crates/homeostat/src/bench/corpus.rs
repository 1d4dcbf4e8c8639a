//! The benchmark's corpus: requests of 512 spans, encoded once and patched in place.
//!
//! ```text
//! template (encoded once) ──► ids, parents, unique text, times written at known places ──► next request
//! ```
//!
//! In: the number of a request and the time. Out: a standard `ExportTraceServiceRequest` in protobuf, as a Collector
//! would forward it: 51 traces of ten spans and one of two, grouped by service. No two requests share an id.
//!
//! A span's id is its running number, mixed by a function that can be turned around: whoever reads a span back knows
//! which request it came with, and nothing but numbers has to be remembered to count what was lost.

use protowire::{WireType, put_bytes, put_integer, put_tag, put_varint};

use super::shapes::{self, Call, Ending, SERVICES, Value};

/// Spans in a request.
pub(crate) const SPANS: usize = 512;

/// Traces in a request: 51 of ten spans, one of two.
const TRACES: usize = 52;

/// Room for the prefix of a gRPC message before the request.
pub(crate) const PREFIX: usize = 5;

/// What is written at the place of unique text until it is patched.
const BLANK: [u8; 16] = [b'0'; 16];

/// A request that can be patched, and where.
#[derive(Clone)]
pub(crate) struct Request {
    /// [`PREFIX`] bytes of gRPC framing, then the message.
    bytes: Vec<u8>,
    patches: std::sync::Arc<[Patch]>,
}

/// Where the values of one span stand, and what they are made from.
#[derive(Debug, Clone, Copy)]
struct Patch {
    trace_id: u32,
    span_id: u32,
    /// 0: a root.
    parent_id: u32,
    start: u32,
    end: u32,
    unique: u32,
    /// Numbers of the span, of its parent and of the first span of its trace, within the request.
    span: u16,
    parent: u16,
    first: u16,
    start_us: u32,
    duration_us: u32,
}

/// Encoded bytes with the places that are patched later.
#[derive(Debug, Clone, Default)]
struct Piece {
    bytes: Vec<u8>,
    patches: Vec<Patch>,
}

impl Piece {
    /// Appends a piece as a field of this one.
    fn nest(&mut self, number: u32, inner: &Self) {
        put_tag(&mut self.bytes, number, WireType::Bytes);
        put_varint(&mut self.bytes, inner.bytes.len() as u64);
        let shift = self.bytes.len() as u32;
        self.bytes.extend_from_slice(&inner.bytes);
        self.patches.extend(inner.patches.iter().map(|patch| patch.shifted(shift)));
    }
}

impl Patch {
    fn shifted(self, by: u32) -> Self {
        let Self { trace_id, span_id, parent_id, start, end, unique, .. } = self;
        let parent_id = if parent_id == 0 { 0 } else { parent_id + by };
        Self {
            trace_id: trace_id + by,
            span_id: span_id + by,
            parent_id,
            start: start + by,
            end: end + by,
            unique: unique + by,
            ..self
        }
    }
}

impl Request {
    /// Encodes the template.
    pub(crate) fn template() -> Self {
        let mut request = Piece::default();
        for service in 0..SERVICES.len() {
            let mut scope_spans = Piece::default();
            let mut scope = Vec::new();
            put_bytes(&mut scope, 1, b"shop");
            put_bytes(&mut scope, 2, b"1.0.0");
            put_bytes(&mut scope_spans.bytes, 1, &scope);
            let mut first = 0;
            for trace in 0..TRACES {
                let calls = shapes::shape(trace);
                for (index, call) in calls.iter().enumerate().filter(|(_, call)| call.service == service) {
                    scope_spans.nest(2, &span(trace, first, calls, index, call));
                }
                first += calls.len();
            }
            let mut resource = Vec::new();
            for (key, value) in shapes::resource(service) {
                put_attribute(&mut resource, 1, key, &value);
            }
            let mut resource_spans = Piece::default();
            put_bytes(&mut resource_spans.bytes, 1, &resource);
            resource_spans.nest(2, &scope_spans);
            request.nest(1, &resource_spans);
        }
        let mut bytes = vec![0];
        bytes.extend_from_slice(&(request.bytes.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&request.bytes);
        let patches = request.patches.iter().map(|patch| patch.shifted(PREFIX as u32)).collect();
        Self { bytes, patches }
    }

    /// Makes it the request whose first span has this number, ending at about `now_unix_nano`.
    pub(crate) fn patch(&mut self, first_span: u64, now_unix_nano: u64) {
        let bytes = &mut self.bytes[..];
        for patch in self.patches.iter() {
            let trace = first_span + u64::from(patch.first);
            let number = first_span + u64::from(patch.span);
            let (high, low) = trace_id(trace);
            let seed = low;
            put(bytes, patch.trace_id, high.to_be_bytes());
            put(bytes, patch.trace_id + 8, low.to_be_bytes());
            put(bytes, patch.span_id, mix(number).to_be_bytes());
            if patch.parent_id != 0 {
                put(bytes, patch.parent_id, mix(first_span + u64::from(patch.parent)).to_be_bytes());
            }
            let scale = scale(seed);
            // In nanoseconds; the scale has 7 fractional bits.
            let stretched = |us: u32| u64::from(us) * scale * 1000 / 128;
            // The traces of a request began within the 16 ms before it.
            let began = now_unix_nano - stretched(50_000) - (seed >> 40 & 0xff) * 65_536;
            let start = began + stretched(patch.start_us);
            put(bytes, patch.start, start.to_le_bytes());
            put(bytes, patch.end, (start + stretched(patch.duration_us)).to_le_bytes());
            put(bytes, patch.unique, hex(mix(number ^ UNIQUE)));
        }
    }

    /// The message, in protobuf.
    pub(crate) fn message(&self) -> &[u8] {
        &self.bytes[PREFIX..]
    }

    /// The message behind the prefix of gRPC, to be sent and given back.
    pub(crate) fn take_frame(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Gives back what [`Self::take_frame`] took.
    pub(crate) fn put_frame(&mut self, frame: Vec<u8>) {
        self.bytes = frame;
    }
}

/// Encodes one span.
fn span(trace: usize, first: usize, calls: &[Call], index: usize, call: &Call) -> Piece {
    let ending = match shapes::ending(trace) {
        Ending::Failed if shapes::fails(calls, index) => Ending::Failed,
        _ => Ending::Good,
    };
    let mut bytes = Vec::new();
    let place = |bytes: &mut Vec<u8>, number, length: usize| {
        put_bytes(bytes, number, &vec![0; length]);
        (bytes.len() - length) as u32
    };
    let trace_id = place(&mut bytes, 1, 16);
    let span_id = place(&mut bytes, 2, 8);
    let parent_id = if call.parent.is_some() { place(&mut bytes, 4, 8) } else { 0 };
    put_bytes(&mut bytes, 5, call.name.as_bytes());
    put_integer(&mut bytes, 6, call.kind as u64);
    let time = |bytes: &mut Vec<u8>, number| {
        put_tag(bytes, number, WireType::Fixed64);
        bytes.extend_from_slice(&[0; 8]);
        (bytes.len() - 8) as u32
    };
    let start = time(&mut bytes, 7);
    let end = time(&mut bytes, 8);
    let mut unique = 0;
    for (key, value) in shapes::attributes(call, trace, ending) {
        put_attribute(&mut bytes, 9, key, &value);
        if value == Value::Unique {
            unique = (bytes.len() - BLANK.len()) as u32;
        }
    }
    if ending == Ending::Failed {
        // Status: a message, and the code for an error.
        put_bytes(&mut bytes, 15, b"\x12\x13service unavailable\x18\x02");
    }
    put_tag(&mut bytes, 16, WireType::Fixed32);
    // Sampled.
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    let patch = Patch {
        trace_id,
        span_id,
        parent_id,
        start,
        end,
        unique,
        span: (first + index) as u16,
        parent: (first + call.parent.unwrap_or_default()) as u16,
        first: first as u16,
        start_us: call.start_us as u32,
        duration_us: call.duration_us as u32,
    };
    Piece { bytes, patches: vec![patch] }
}

fn put_attribute(out: &mut Vec<u8>, number: u32, key: &str, value: &Value) {
    let mut any = Vec::new();
    match value {
        Value::Text(text) => put_bytes(&mut any, 1, text.as_bytes()),
        Value::Unique => put_bytes(&mut any, 1, &BLANK),
        Value::Integer(integer) => {
            put_tag(&mut any, 3, WireType::Varint);
            put_varint(&mut any, *integer);
        }
    }
    let mut attribute = Vec::new();
    put_bytes(&mut attribute, 1, key.as_bytes());
    put_bytes(&mut attribute, 2, &any);
    put_bytes(out, number, &attribute);
}

fn put<const N: usize>(bytes: &mut [u8], at: u32, value: [u8; N]) {
    let at = at as usize;
    bytes[at..at + N].copy_from_slice(&value);
}

const UNIQUE: u64 = 0x5851_f42d_4c95_7f2d;
const HIGH: u64 = 0x1405_7b7e_f767_814f;

/// The id of the trace whose first span has this number.
pub(crate) fn trace_id(first_span: u64) -> (u64, u64) {
    (mix(first_span ^ HIGH), mix(first_span.rotate_left(32)))
}

/// How long a trace takes, in 128ths of its shape: half to two and a half times; one in 64 takes eightfold of that.
fn scale(seed: u64) -> u64 {
    let usual = 64 + (seed & 0xff);
    if seed >> 8 & 0x3f == 0 { usual * 8 } else { usual }
}

/// The unique text of the span with this number.
pub(crate) fn unique(number: u64) -> String {
    String::from_utf8_lossy(&hex(mix(number ^ UNIQUE))).into_owned()
}

fn hex(value: u64) -> [u8; 16] {
    const PAIRS: [[u8; 2]; 256] = {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut pairs = [[0; 2]; 256];
        let mut byte = 0;
        while byte < 256 {
            pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
            byte += 1;
        }
        pairs
    };
    let mut text = [0; 16];
    for (pair, byte) in text.chunks_exact_mut(2).zip(value.to_be_bytes()) {
        pair.copy_from_slice(&PAIRS[usize::from(byte)]);
    }
    text
}

/// Spreads a number over 64 bits; the finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The number that [`mix`] spread.
pub(crate) fn unmix(mixed: u64) -> u64 {
    let number = (mixed ^ (mixed >> 31) ^ (mixed >> 62)).wrapping_mul(0x3196_42b2_d24d_8ec3);
    let number = (number ^ (number >> 27) ^ (number >> 54)).wrapping_mul(0x96de_1b17_3f11_9089);
    number ^ (number >> 30) ^ (number >> 60)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_mixed_number_is_found_again() {
        for number in (0..64).map(|bit| 1_u64 << bit).chain(0..1000).chain([u64::MAX]) {
            assert_eq!(unmix(mix(number)), number);
        }
    }

    #[test]
    fn a_request_has_512_spans_of_about_419_bytes() {
        let request = Request::template();
        assert_eq!(request.patches.len(), SPANS);
        let bytes = request.message().len() as f64 / SPANS as f64;
        assert!((414.0..424.0).contains(&bytes), "{bytes}");
    }

    /// Ids of each span, by number: (trace, span, parent).
    fn ids(request: &Request) -> BTreeMap<u16, [Vec<u8>; 3]> {
        let bytes = |at: u32, length: usize| request.bytes[at as usize..at as usize + length].to_vec();
        let parent =
            |patch: &Patch| if patch.parent_id == 0 { Vec::new() } else { bytes(patch.parent_id, 8) };
        let of = |patch: &Patch| [bytes(patch.trace_id, 16), bytes(patch.span_id, 8), parent(patch)];
        request.patches.iter().map(|patch| (patch.span, of(patch))).collect()
    }

    #[test]
    fn parents_are_in_the_same_trace_and_no_two_requests_share_an_id() {
        let mut request = Request::template();
        request.patch(1 << 40, 1_700_000_000_000_000_000);
        let first = ids(&request);
        assert_eq!(first.len(), SPANS);
        let trace_of: BTreeMap<_, _> = first.values().map(|[trace, span, _]| (span, trace)).collect();
        let roots = first.values().filter(|[.., parent]| parent.is_empty()).count();
        assert_eq!((roots, trace_of.len()), (TRACES, SPANS));
        for [trace, _, parent] in first.values().filter(|[.., parent]| !parent.is_empty()) {
            assert_eq!(trace_of.get(parent), Some(&trace));
        }
        request.patch((1 << 40) + SPANS as u64, 1_700_000_000_000_000_000);
        assert!(ids(&request).values().all(|[_, span, _]| !trace_of.contains_key(span)));
    }

    #[test]
    fn spans_lie_within_their_parents_and_before_now() {
        let now = 1_700_000_000_000_000_000;
        let mut request = Request::template();
        request.patch(7 << 32, now);
        let time = |at: u32| {
            let bytes = &request.bytes[at as usize..at as usize + 8];
            u64::from_le_bytes(bytes.try_into().unwrap())
        };
        let times: BTreeMap<_, _> =
            request.patches.iter().map(|patch| (patch.span, (time(patch.start), time(patch.end)))).collect();
        for patch in request.patches.iter() {
            let (start, end) = times[&patch.span];
            let (parent_start, parent_end) = times[&patch.parent];
            assert!(patch.parent_id == 0 || parent_start <= start && end <= parent_end, "{patch:?}");
            assert!(start < end && end <= now && now - start < 3_000_000_000, "{patch:?}");
        }
    }
}
