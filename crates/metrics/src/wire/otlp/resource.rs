//! Who measured: the labels a resource gives its series, and `target_info`.

use std::borrow::Cow;
use std::sync::Arc;

use promql::Value;
use protowire::{Fault, Reader, keep, len};

use super::super::labels::Unfit;
use super::super::limits::Halt;
use super::super::{Cause, Tally};
use super::Decoder;
use super::value::{attribute, text};
use super::walk::{Label, Walk, translated};

/// Attributes of one resource. The busiest of Kubernetes have about 50.
const ATTRIBUTES: usize = 1024;

/// The attributes that say who it is. They become `job` and `instance`.
const SERVICE_NAME: &str = "service.name";
const SERVICE_NAMESPACE: &str = "service.namespace";
const SERVICE_INSTANCE: &str = "service.instance.id";

/// Between two samples of `target_info`, in nanoseconds: half of the five minutes that a query looks back.
const INFO_INTERVAL: u64 = 150_000_000_000;

/// Samples of `target_info` that one resource of one request gets at most, the latest ones: a request of more than four
/// hours of data points is a late delivery, or hostile.
const INFO_SAMPLES: u64 = 100;

/// A resource, read.
pub(super) struct Resource<'a> {
    /// `job` and `instance`, where it says them.
    pub(super) own: Vec<Label<'a>>,
    /// Attributes that all its series get.
    pub(super) promoted: Vec<Label<'a>>,
    /// All but those that say who it is.
    others: Vec<(&'a str, Cow<'a, str>)>,
}

/// Reads `KeyValue` messages; values are JSON or base64 of not much more than `value_bytes`.
pub(super) fn attributes<'a>(
    messages: &[&'a [u8]],
    value_bytes: usize,
) -> Result<Vec<(&'a str, Cow<'a, str>)>, Fault> {
    let read = |message: &&'a [u8]| {
        let (key, value) = attribute(message)?;
        Ok((key, text(value, value_bytes)?))
    };
    messages.iter().map(read).collect()
}

impl<'a> Resource<'a> {
    /// Reads a `Resource` message.
    pub(super) fn read(message: &'a [u8], decoder: &mut Decoder) -> Result<Self, Halt> {
        let mut all: Vec<(&'a str, Cow<'a, str>)> = Vec::new();
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag()? {
            if tag != len(1) {
                reader.skip(tag)?;
                continue;
            }
            let (key, value) = attribute(reader.bytes()?)?;
            keep(&mut all, ATTRIBUTES, (key, text(value, decoder.limits.value_bytes)?));
        }
        if all.len() > ATTRIBUTES {
            return Err(Halt::TooMuch { what: "attributes of a resource", limit: ATTRIBUTES });
        }
        let find = |key: &str| all.iter().find(|(known, _)| *known == key).map(|(_, value)| value.clone());
        let mut own: Vec<Label<'a>> = Vec::new();
        if let Some(name) = find(SERVICE_NAME) {
            let job = match find(SERVICE_NAMESPACE) {
                Some(namespace) => format!("{namespace}/{name}").into(),
                None => name,
            };
            own.push((Arc::from("job"), job));
        }
        own.extend(find(SERVICE_INSTANCE).map(|instance| (Arc::from("instance"), instance)));
        let mut promoted = Vec::new();
        for key in &decoder.config.promoted {
            if let (Some(value), Some(name)) = (find(key), decoder.labels.of(key)) {
                promoted.push((name, value));
            }
        }
        all.retain(|(key, _)| ![SERVICE_NAME, SERVICE_NAMESPACE, SERVICE_INSTANCE].contains(key));
        Ok(Self { own, promoted, others: all })
    }

    /// Writes `target_info` for the time from the first to the last data point, in nanoseconds since 1970.
    pub(super) fn info(self, walk: &mut Walk<'_>, (first, last): (u64, u64)) -> Result<(), Halt> {
        if self.others.is_empty() || self.own.is_empty() {
            return Ok(());
        }
        let Self { own, others, .. } = self;
        let labels = translated(walk.decoder, others).and_then(|mut base| {
            base.retain(|(label, _)| !own.iter().any(|(name, _)| name == label));
            base.extend(own);
            walk.series(&base, "target_info", None)
        });
        let labels = match labels {
            Ok(labels) => labels,
            Err(Unfit { cause, say }) => {
                walk.decoded.left.leave(cause, Tally::NONE, || format!("target_info: {say}"));
                return Ok(());
            }
        };
        let steps = ((last - first).div_ceil(INFO_INTERVAL)).min(INFO_SAMPLES - 1);
        for step in (0..=steps).rev() {
            let at = last.saturating_sub(step * INFO_INTERVAL).max(first);
            walk.push(labels.clone(), (at / 1_000_000) as i64, Value::Float(1.0));
        }
        walk.used.series += 1;
        walk.used.check(&walk.decoder.limits)
    }
}

/// Says that a data point has more attributes than labels are allowed.
pub(super) fn too_many(limit: usize) -> Unfit {
    Unfit { cause: Cause::TooManyLabels, say: format!("it has more than {limit} attributes") }
}
