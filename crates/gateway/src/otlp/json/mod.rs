//! OTLP in JSON, turned into protobuf in one pass, so that the store has one form to read.
//!
//! In: text from outside. Out: the same request in protobuf. Fields come from tables ([`schema`]); unknown ones are
//! passed over, as the specification asks. Ids are hexadecimal, other bytes base64, 64-bit integers strings or
//! numbers, enumerations numbers, names in lowerCamelCase only.
//!
//! Deliberately absent: speed. JSON is for browsers, shells and tests; what sends much sends protobuf.

mod schema;
mod transcode;

pub(crate) use transcode::transcode;
