//! The messages of OTLP 1.9 with their fields: names in JSON, numbers and types in protobuf.

use self::Kind::{Bool, Bytes, Double, Fixed32, Fixed64, Id, Integer, Nested, Signed, Text, Zigzag};
use self::Repeat::{Many, Once, Packed};
use crate::otlp::signal::Signal;

/// A message type.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) fields: &'static [Field],
}

/// A field of a message type.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) repeat: Repeat,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Bool,
    Text,
    /// Bytes in base64.
    Bytes,
    /// A trace or span id: bytes in hexadecimal.
    Id,
    /// `uint32`, `uint64` and enumerations.
    Integer,
    /// `int64`.
    Signed,
    /// `sint32`.
    Zigzag,
    /// `fixed64` and `sfixed64`.
    Fixed64,
    Fixed32,
    Double,
    Nested(&'static Message),
}

/// How often a field comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Once,
    /// A JSON array; each element is a field of its own.
    Many,
    /// A JSON array of numbers; all of them are one field.
    Packed,
}

/// The request of a signal.
pub(super) fn request(signal: Signal) -> &'static Message {
    match signal {
        Signal::Traces => &TRACES,
        Signal::Logs => &LOGS,
        Signal::Metrics => &METRICS,
    }
}

const fn one(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, repeat: Once }
}

const fn many(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, repeat: Many }
}

const fn packed(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, repeat: Packed }
}

const fn attributes(number: u32) -> Field {
    many("attributes", number, Nested(&KEY_VALUE))
}

const fn dropped_attributes(number: u32) -> Field {
    one("droppedAttributesCount", number, Integer)
}

const RESOURCE_FIELD: Field = one("resource", 1, Nested(&RESOURCE));
const SCOPE_FIELD: Field = one("scope", 1, Nested(&SCOPE));
const SCHEMA_URL: Field = one("schemaUrl", 3, Text);
const START: Field = one("startTimeUnixNano", 2, Fixed64);
const TIME: Field = one("timeUnixNano", 3, Fixed64);

static TRACES: Message = Message { fields: &[many("resourceSpans", 1, Nested(&RESOURCE_SPANS))] };
static LOGS: Message = Message { fields: &[many("resourceLogs", 1, Nested(&RESOURCE_LOGS))] };
static METRICS: Message = Message { fields: &[many("resourceMetrics", 1, Nested(&RESOURCE_METRICS))] };

static RESOURCE: Message =
    Message { fields: &[attributes(1), dropped_attributes(2), many("entityRefs", 3, Nested(&ENTITY_REF))] };
static ENTITY_REF: Message = Message {
    fields: &[
        one("schemaUrl", 1, Text),
        one("type", 2, Text),
        many("idKeys", 3, Text),
        many("descriptionKeys", 4, Text),
    ],
};
static SCOPE: Message = Message {
    fields: &[one("name", 1, Text), one("version", 2, Text), attributes(3), dropped_attributes(4)],
};
static KEY_VALUE: Message = Message { fields: &[one("key", 1, Text), one("value", 2, Nested(&ANY_VALUE))] };
static ANY_VALUE: Message = Message {
    fields: &[
        one("stringValue", 1, Text),
        one("boolValue", 2, Bool),
        one("intValue", 3, Signed),
        one("doubleValue", 4, Double),
        one("arrayValue", 5, Nested(&ARRAY_VALUE)),
        one("kvlistValue", 6, Nested(&KEY_VALUE_LIST)),
        one("bytesValue", 7, Bytes),
    ],
};
static ARRAY_VALUE: Message = Message { fields: &[many("values", 1, Nested(&ANY_VALUE))] };
static KEY_VALUE_LIST: Message = Message { fields: &[many("values", 1, Nested(&KEY_VALUE))] };

static RESOURCE_SPANS: Message =
    Message { fields: &[RESOURCE_FIELD, many("scopeSpans", 2, Nested(&SCOPE_SPANS)), SCHEMA_URL] };
static SCOPE_SPANS: Message = Message { fields: &[SCOPE_FIELD, many("spans", 2, Nested(&SPAN)), SCHEMA_URL] };
static SPAN: Message = Message {
    fields: &[
        one("traceId", 1, Id),
        one("spanId", 2, Id),
        one("traceState", 3, Text),
        one("parentSpanId", 4, Id),
        one("name", 5, Text),
        one("kind", 6, Integer),
        one("startTimeUnixNano", 7, Fixed64),
        one("endTimeUnixNano", 8, Fixed64),
        attributes(9),
        dropped_attributes(10),
        many("events", 11, Nested(&EVENT)),
        one("droppedEventsCount", 12, Integer),
        many("links", 13, Nested(&LINK)),
        one("droppedLinksCount", 14, Integer),
        one("status", 15, Nested(&STATUS)),
        one("flags", 16, Fixed32),
    ],
};
static EVENT: Message = Message {
    fields: &[one("timeUnixNano", 1, Fixed64), one("name", 2, Text), attributes(3), dropped_attributes(4)],
};
static LINK: Message = Message {
    fields: &[
        one("traceId", 1, Id),
        one("spanId", 2, Id),
        one("traceState", 3, Text),
        attributes(4),
        dropped_attributes(5),
        one("flags", 6, Fixed32),
    ],
};
static STATUS: Message = Message { fields: &[one("message", 2, Text), one("code", 3, Integer)] };

static RESOURCE_LOGS: Message =
    Message { fields: &[RESOURCE_FIELD, many("scopeLogs", 2, Nested(&SCOPE_LOGS)), SCHEMA_URL] };
static SCOPE_LOGS: Message =
    Message { fields: &[SCOPE_FIELD, many("logRecords", 2, Nested(&LOG_RECORD)), SCHEMA_URL] };
static LOG_RECORD: Message = Message {
    fields: &[
        one("timeUnixNano", 1, Fixed64),
        one("severityNumber", 2, Integer),
        one("severityText", 3, Text),
        one("body", 5, Nested(&ANY_VALUE)),
        attributes(6),
        dropped_attributes(7),
        one("flags", 8, Fixed32),
        one("traceId", 9, Id),
        one("spanId", 10, Id),
        one("observedTimeUnixNano", 11, Fixed64),
        one("eventName", 12, Text),
    ],
};

static RESOURCE_METRICS: Message =
    Message { fields: &[RESOURCE_FIELD, many("scopeMetrics", 2, Nested(&SCOPE_METRICS)), SCHEMA_URL] };
static SCOPE_METRICS: Message =
    Message { fields: &[SCOPE_FIELD, many("metrics", 2, Nested(&METRIC)), SCHEMA_URL] };
static METRIC: Message = Message {
    fields: &[
        one("name", 1, Text),
        one("description", 2, Text),
        one("unit", 3, Text),
        one("gauge", 5, Nested(&GAUGE)),
        one("sum", 7, Nested(&SUM)),
        one("histogram", 9, Nested(&HISTOGRAM)),
        one("exponentialHistogram", 10, Nested(&EXPONENTIAL_HISTOGRAM)),
        one("summary", 11, Nested(&SUMMARY)),
        many("metadata", 12, Nested(&KEY_VALUE)),
    ],
};
const TEMPORALITY: Field = one("aggregationTemporality", 2, Integer);
static GAUGE: Message = Message { fields: &[many("dataPoints", 1, Nested(&NUMBER_POINT))] };
static SUM: Message = Message {
    fields: &[many("dataPoints", 1, Nested(&NUMBER_POINT)), TEMPORALITY, one("isMonotonic", 3, Bool)],
};
static HISTOGRAM: Message =
    Message { fields: &[many("dataPoints", 1, Nested(&HISTOGRAM_POINT)), TEMPORALITY] };
static EXPONENTIAL_HISTOGRAM: Message =
    Message { fields: &[many("dataPoints", 1, Nested(&EXPONENTIAL_POINT)), TEMPORALITY] };
static SUMMARY: Message = Message { fields: &[many("dataPoints", 1, Nested(&SUMMARY_POINT))] };
static NUMBER_POINT: Message = Message {
    fields: &[
        START,
        TIME,
        one("asDouble", 4, Double),
        many("exemplars", 5, Nested(&EXEMPLAR)),
        one("asInt", 6, Fixed64),
        attributes(7),
        one("flags", 8, Integer),
    ],
};
static HISTOGRAM_POINT: Message = Message {
    fields: &[
        START,
        TIME,
        one("count", 4, Fixed64),
        one("sum", 5, Double),
        packed("bucketCounts", 6, Fixed64),
        packed("explicitBounds", 7, Double),
        many("exemplars", 8, Nested(&EXEMPLAR)),
        attributes(9),
        one("flags", 10, Integer),
        one("min", 11, Double),
        one("max", 12, Double),
    ],
};
static EXPONENTIAL_POINT: Message = Message {
    fields: &[
        attributes(1),
        START,
        TIME,
        one("count", 4, Fixed64),
        one("sum", 5, Double),
        one("scale", 6, Zigzag),
        one("zeroCount", 7, Fixed64),
        one("positive", 8, Nested(&BUCKETS)),
        one("negative", 9, Nested(&BUCKETS)),
        one("flags", 10, Integer),
        many("exemplars", 11, Nested(&EXEMPLAR)),
        one("min", 12, Double),
        one("max", 13, Double),
        one("zeroThreshold", 14, Double),
    ],
};
static BUCKETS: Message = Message { fields: &[one("offset", 1, Zigzag), packed("bucketCounts", 2, Integer)] };
static SUMMARY_POINT: Message = Message {
    fields: &[
        START,
        TIME,
        one("count", 4, Fixed64),
        one("sum", 5, Double),
        many("quantileValues", 6, Nested(&QUANTILE)),
        attributes(7),
        one("flags", 8, Integer),
    ],
};
static QUANTILE: Message = Message { fields: &[one("quantile", 1, Double), one("value", 2, Double)] };
static EXEMPLAR: Message = Message {
    fields: &[
        one("timeUnixNano", 2, Fixed64),
        one("asDouble", 3, Double),
        one("spanId", 4, Id),
        one("traceId", 5, Id),
        one("asInt", 6, Fixed64),
        many("filteredAttributes", 7, Nested(&KEY_VALUE)),
    ],
};
