//! OpenSLO v1 (github.com/OpenSLO/OpenSLO): SLO, SLI, Service, DataSource, AlertPolicy, AlertCondition and
//! AlertNotificationTarget, each by itself or, where the specification allows it, inside what uses it.
//!
//! Sources are of two types: `Prometheus`, with a `query`, and `Homeostat`, which counts exactly:
//!
//! ```yaml
//! metricSource:
//!   type: Homeostat
//!   spec:
//!     events: requests        # spans, requests, remediations or gateway (our own answers)
//!     from: outside           # of requests: from, to; of spans: service, operation, role (server, client, database)
//!     outcome: good           # in `good` and `bad`, not in `total`; of a thresholdMetric `measure: duration_seconds`
//! ```
//!
//! Left open by the specification and decided here: without `timeWindow` the period is 30 days; an SLO of several
//! objectives is one of each, named `NAME-0`, `NAME-1`; an SLO without alert policies has the alerts of the burn table.
//! `op` of a burn condition: the specification's own examples write `lte` for "exceeds", and an alert while nothing burns
//! is of no use, so `lt` is read as `gt` and `lte` as `gte`. Refused: calendar-aligned windows, composite SLOs, months,
//! quarters and years.

mod alerts;
mod objectives;
mod sources;

use std::collections::BTreeMap;

use super::{Fields, Place, Value};
use crate::minutes::Minutes;
use crate::objective::{Objective, PERIOD_MAX, PERIOD_MIN};

use alerts::{Condition, Policy};
use sources::Sli;

/// Every object of the files that are read together.
#[derive(Default)]
pub(super) struct Objects<'a> {
    all: Vec<Object<'a>>,
}

struct Object<'a> {
    kind: Kind,
    name: String,
    labels: BTreeMap<String, String>,
    place: Place<'a>,
    /// `None` of a Service only, which has nothing to say.
    spec: Option<Value<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Slo,
    Sli,
    Service,
    DataSource,
    AlertPolicy,
    AlertCondition,
    AlertNotificationTarget,
}

const KINDS: [(&str, Kind); 7] = [
    ("SLO", Kind::Slo),
    ("SLI", Kind::Sli),
    ("Service", Kind::Service),
    ("DataSource", Kind::DataSource),
    ("AlertPolicy", Kind::AlertPolicy),
    ("AlertCondition", Kind::AlertCondition),
    ("AlertNotificationTarget", Kind::AlertNotificationTarget),
];

impl Kind {
    fn name(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

/// Objects others refer to by name; `None` where one is wrong, which was told.
struct Named<T>(Kind, BTreeMap<String, Option<T>>);

impl<T> Named<T> {
    /// What a value names. `None` where there is no such object, or it is wrong itself.
    fn find(&self, name: &Value<'_>) -> Option<&T> {
        let text = name.words()?;
        let found = self.1.get(text);
        if found.is_none() {
            name.place.refuse(format_args!("names no {} of these files: {text:?}", self.0.name()));
        }
        found?.as_ref()
    }
}

impl<'a> Objects<'a> {
    /// Takes a document in. What is wrong with its head is told here, the rest by [`Self::objectives`].
    pub(super) fn add(&mut self, fields: Fields<'a>) {
        let kind = fields.required("kind").and_then(|value| {
            let text = value.text()?;
            let known = KINDS.iter().find(|(name, _)| *name == text).map(|(_, kind)| *kind);
            if known.is_none() {
                let names = KINDS.map(|(name, _)| name).join(", ");
                value.place.refuse(format_args!("is {text:?}; one of {names} was expected"));
            }
            known
        });
        let metadata = fields.required("metadata").and_then(|metadata| metadata_of(&metadata));
        let spec =
            if kind == Some(Kind::Service) { fields.optional("spec") } else { fields.required("spec") };
        let place = fields.place.clone();
        fields.end();
        let (Some(kind), Some((name, labels))) = (kind, metadata) else { return };
        if self.all.iter().any(|known| known.kind == kind && known.name == name) {
            place.refuse(format_args!("is the second {} named {name:?}", kind.name()));
        }
        self.all.push(Object { kind, name, labels, place, spec });
    }

    /// The objectives of every SLO.
    pub(super) fn objectives(self) -> Vec<(Objective, Place<'a>)> {
        let data_sources = self.named(Kind::DataSource, sources::data_source);
        let slis = self.named(Kind::Sli, |object| sources::sli(object.spec.as_ref()?, &data_sources));
        let conditions =
            self.named(Kind::AlertCondition, |object| alerts::condition(&object.name, object.spec.as_ref()?));
        let targets = self.named(Kind::AlertNotificationTarget, alerts::target);
        let policies = self
            .named(Kind::AlertPolicy, |object| alerts::policy(object.spec.as_ref()?, &conditions, &targets));
        let services = self.named(Kind::Service, |object| {
            let Some(spec) = &object.spec else { return Some(()) };
            let fields = spec.fields()?;
            fields.optional("description").and_then(|description| description.text());
            fields.end();
            Some(())
        });
        let book = Book { data_sources, slis, conditions, targets, policies, services };
        let slos = self.all.iter().filter(|object| object.kind == Kind::Slo);
        slos.flat_map(|slo| {
            objectives::of(slo, &book).into_iter().map(|objective| (objective, slo.place.clone()))
        })
        .collect()
    }

    fn named<T>(&self, kind: Kind, read: impl Fn(&Object<'a>) -> Option<T>) -> Named<T> {
        let objects = self.all.iter().filter(|object| object.kind == kind);
        Named(kind, objects.map(|object| (object.name.clone(), read(object))).collect())
    }
}

/// Everything an SLO may refer to.
struct Book<'a> {
    data_sources: Named<sources::SourceType>,
    slis: Named<Sli<'a>>,
    conditions: Named<Condition>,
    targets: Named<String>,
    policies: Named<Policy>,
    services: Named<()>,
}

/// The name and the labels; a label of several values has them separated by commas.
fn metadata_of(metadata: &Value<'_>) -> Option<(String, BTreeMap<String, String>)> {
    let fields = metadata.fields()?;
    let name = fields.required("name").and_then(|name| name.words());
    fields.optional("displayName").and_then(|name| name.text());
    fields.optional("annotations").and_then(|annotations| annotations.map_of_texts());
    let mut labels = BTreeMap::new();
    if let Some(all) = fields.optional("labels").and_then(|labels| labels.fields()) {
        for name in all.names() {
            let Some(value) = all.optional(name) else { continue };
            let text = match value.node() {
                yaml::Node::List(_) => value.texts().map(|texts| texts.join(",")),
                _ => value.text().map(str::to_owned),
            };
            labels.insert(name.to_owned(), text.unwrap_or_default());
        }
    }
    fields.end();
    Some((name?.to_owned(), labels))
}

/// A period that can be counted.
pub(super) fn period(value: &Value<'_>, period: Minutes) -> Option<Minutes> {
    if !(PERIOD_MIN..=PERIOD_MAX).contains(&period) {
        value.place.refuse(format_args!("is {period}, must be {PERIOD_MIN} to {PERIOD_MAX}"));
        return None;
    }
    Some(period)
}

/// A duration in OpenSLO's shorthand.
fn shorthand(value: &Value<'_>) -> Option<Minutes> {
    Minutes::from_openslo(value.words()?).map_err(|error| value.place.refuse(error)).ok()
}

/// `lte`, `gte`, `lt` or `gt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Lte,
    Gte,
    Lt,
    Gt,
}

fn op(value: &Value<'_>) -> Option<Op> {
    match value.text()? {
        "lte" => Some(Op::Lte),
        "gte" => Some(Op::Gte),
        "lt" => Some(Op::Lt),
        "gt" => Some(Op::Gt),
        other => {
            value.place.refuse(format_args!("is {other:?}; lte, gte, lt or gt was expected"));
            None
        }
    }
}
