//! What spans say of the cause: which service's own time grew, and which fails although nothing it calls fails.
//!
//! | pattern | class |
//! |---|---|
//! | `traced_own_time_grew` | service_slow |
//! | `traced_errors_of_its_own` | service_failing |
//!
//! First of all this is told: beside the ranked causes, as evidence with traces to look at. It ranks only where what
//! proxies and probes measured names no cause at all, since no drill has recorded yet how often these patterns are
//! right (decision record 7).

use std::collections::BTreeSet;

use domain::{CauseClass, EvidenceItem, Issue, LinkName, ResourceId, ServiceName, TracedCalls};

use super::{Candidate, Symptom, seen};
use crate::detect::View;

/// A service's own time has grown where it is at least this many times the usual, and
const GROWN: f64 = 2.0;

/// at least this much longer, in milliseconds: twice of next to nothing is noise.
const GROWN_MS: f64 = 20.0;

/// Failed calls that a service must answer for itself.
const OWN_ERRORS_MIN: u64 = 5;

/// The strength of the best of these candidates: as that of a proxied link which only its requests speak against.
const STRENGTH: f64 = 0.45;

/// One thing spans say.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Testimony {
    service: ServiceName,
    class: CauseClass,
    /// How much of the symptom is this service's own: milliseconds, or errors.
    share: f64,
    text: String,
}

/// Whether spans tell of trouble on a link that no proxy measures.
pub(super) fn troubled(link: &LinkName, view: View<'_>) -> bool {
    let resource = ResourceId::Link(link.clone());
    let Some(calls) = view.snapshot.traced_alone(&resource) else { return false };
    let bounds = view.thresholds.at(&resource, view.snapshot);
    calls.recent.p95_ms.is_some_and(|p95| p95 > bounds.latency_ms)
        || calls.recent.error_ratio().is_some_and(|ratio| ratio > bounds.error_rate.ratio())
}

/// What tells that a caller depends on a callee where nothing else does.
pub(super) fn called(link: &LinkName, view: View<'_>) -> Option<EvidenceItem> {
    let resource = ResourceId::Link(link.clone());
    let calls = view.snapshot.traced_alone(&resource)?;
    let (from, to, requests) = (&link.from, &link.to, calls.recent.requests);
    Some(seen(resource, format!("spans say: {from} calls {to}, {requests} times lately")))
}

/// What spans say of a slow or failing issue, the greatest share first. Nothing where none come.
pub(super) fn testimony(issue: &Issue, view: View<'_>) -> Vec<Testimony> {
    let start = match &issue.resource {
        ResourceId::Link(link) => &link.to,
        ResourceId::Service(service) => service,
        ResourceId::Instance(_)
        | ResourceId::Volume(_)
        | ResourceId::Node(_)
        | ResourceId::Infrastructure(_) => return Vec::new(),
    };
    let mut all: Vec<Testimony> = reached(start, view)
        .into_iter()
        .filter_map(|service| {
            let calls = view.snapshot.traces.services.get(service)?;
            match Symptom::of(issue.kind) {
                Symptom::Slow => grown(service, calls),
                Symptom::Failing => fails_itself(service, calls, view),
                Symptom::Own(_) => None,
            }
        })
        .collect();
    all.sort_by(|a, b| b.share.total_cmp(&a.share));
    all
}

/// A service and all that it calls, directly or through others, as spans saw it.
fn reached<'a>(start: &'a ServiceName, view: View<'a>) -> BTreeSet<&'a ServiceName> {
    let mut reached = BTreeSet::from([start]);
    let mut open = vec![start];
    while let Some(caller) = open.pop() {
        let calls = view.snapshot.traces.links.keys().filter(|link| link.from == *caller);
        open.extend(calls.map(|link| &link.to).filter(|callee| reached.insert(callee)));
    }
    reached
}

fn grown(service: &ServiceName, calls: &TracedCalls) -> Option<Testimony> {
    let (now, before) = (calls.own_ms?, calls.own_ms_before?);
    let more = now - before;
    (now >= GROWN * before && more >= GROWN_MS).then(|| Testimony {
        service: service.clone(),
        class: CauseClass::ServiceSlow,
        share: more,
        text: format!(
            "spans say: {service} itself takes {now:.0} ms a call, {before:.0} ms before{}",
            look_at(calls)
        ),
    })
}

fn fails_itself(service: &ServiceName, calls: &TracedCalls, view: View<'_>) -> Option<Testimony> {
    let limit = view.thresholds.at(&ResourceId::Service(service.clone()), view.snapshot).error_rate;
    let own = calls.own_errors;
    let ratio = own as f64 / calls.recent.requests.max(1) as f64;
    (own >= OWN_ERRORS_MIN && ratio > limit.ratio()).then(|| Testimony {
        service: service.clone(),
        class: CauseClass::ServiceFailing,
        share: own as f64,
        text: format!(
            "spans say: {own} of {} calls fail in {service} itself, no failing call to another explains them{}",
            calls.recent.requests,
            look_at(calls)
        ),
    })
}

fn look_at(calls: &TracedCalls) -> String {
    if calls.exemplars.is_empty() {
        return String::new();
    }
    format!(" (traces {})", calls.exemplars.join(", "))
}

/// The services spans accuse, as candidates: for where nothing else was found.
pub(super) fn candidates(testimony: &[Testimony]) -> Vec<Candidate> {
    let most = testimony.first().map_or(1.0, |first| first.share);
    let accused = testimony.iter().map(|said| Candidate {
        resource: ResourceId::Service(said.service.clone()),
        class: said.class,
        pattern: match said.class {
            CauseClass::ServiceFailing => "traced_errors_of_its_own",
            _ => "traced_own_time_grew",
        },
        score: STRENGTH * said.share / most,
        evidence: vec![item(said)],
    });
    accused.collect()
}

/// Puts what spans say beside the causes it is about, and what is about none of them beside the first.
pub(super) fn tell(testimony: &[Testimony], ranked: &mut [Candidate]) {
    for said in testimony {
        let about = ranked.iter().position(|candidate| candidate.resource.service() == Some(&said.service));
        if let Some(candidate) = ranked.get_mut(about.unwrap_or(0)) {
            let item = item(said);
            if !candidate.evidence.contains(&item) {
                candidate.evidence.push(item);
            }
        }
    }
}

fn item(said: &Testimony) -> EvidenceItem {
    seen(ResourceId::Service(said.service.clone()), said.text.clone())
}
