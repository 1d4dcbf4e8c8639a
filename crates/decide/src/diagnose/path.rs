//! What speaks for a fault of a link, and for one of its callee that only its requests show.
//!
//! | pattern | class |
//! |---|---|
//! | `link_slow+one_backend_check_slow+callee_probe_fast`, `link_slow+all_backend_checks_slow+callee_probe_fast`, `check_slow+requests_usual`, `link_slow+check_slow+callee_probe_unknown` | path_slow |
//! | `link_slow+old_connections_slow+new_connections_fast`, `link_slow+old_connections_slow+checks_fast`, `link_slow+some_connections_slow+checks_fast` | path_slow |
//! | `one_backend_check_failing+callee_probe_passing`, `all_backend_checks_failing+callee_probe_passing` | path_broken |
//! | `one_backend_throttled`, `all_backends_throttled` | throttled |
//! | `link_slow+checks_fast+calls_fast` | service_slow |
//! | `requests_failing+checks_passing+calls_well` | service_failing |

use std::time::Duration;

use domain::snapshot::{BackendState, BreakerState};
use domain::{
    CauseClass, EvidenceItem, InstanceName, IssueKind, LinkName, LinkState, Reason, ResourceId, units,
};

use super::{Candidate, Symptom, seen};
use crate::detect::{Thresholds, View, traffic};

/// One link under suspicion.
#[derive(Clone, Copy)]
struct Suspect<'a> {
    name: &'a LinkName,
    link: &'a LinkState,
    symptom: Symptom,
    bounds: Thresholds,
    view: View<'a>,
}

pub(super) fn candidates(
    name: &LinkName,
    link: &LinkState,
    symptom: Symptom,
    view: View<'_>,
) -> Vec<Candidate> {
    let bounds = view.thresholds.at(&ResourceId::Link(name.clone()), view.snapshot);
    let suspect = Suspect { name, link, symptom, bounds, view };
    let on_the_path = [suspect.slow_path(), suspect.stale(), suspect.broken(), suspect.throttled()];
    let mut found: Vec<Candidate> = on_the_path.into_iter().flatten().collect();
    if found.is_empty() {
        found.extend(suspect.service_slow());
        found.extend(suspect.service_failing());
    }
    found
}

/// Whether a link passes trouble up to its caller, or could: slower than twice its usual, beyond its
/// bounds, refusing, or losing its own checks.
pub(super) fn troubled(name: &LinkName, link: &LinkState, view: View<'_>) -> bool {
    let bounds = view.thresholds.at(&ResourceId::Link(name.clone()), view.snapshot);
    let usual = link.before.p95_ms.unwrap_or(0.0);
    // 20 ms on top, since twice of next to nothing is noise.
    let slow = link.recent.p95_ms.is_some_and(|p95| p95 > bounds.latency_ms || p95 > 2.0 * usual + 20.0);
    let failing = link.recent.error_ratio().is_some_and(|ratio| ratio > bounds.error_rate.ratio());
    let refusing = link.recent.rejected > 0 || link.breaker != BreakerState::Closed;
    let checks = link.backends.values().any(|backend| {
        backend.path_check_failures > 0 || traffic::check_slow(backend, bounds.latency_ms) == Some(true)
    });
    slow || failing || refusing || checks
}

impl Suspect<'_> {
    fn resource(&self) -> ResourceId {
        ResourceId::Link(self.name.clone())
    }

    /// How long an instance's own probe took, which does not pass through the link; `None` where it has
    /// none, or does not answer it.
    fn own_probe(&self, name: &InstanceName) -> Option<Duration> {
        let state = self.view.snapshot.instance(name)?;
        if traffic::answers_itself(state, self.view.snapshot) != Some(true) {
            return None;
        }
        let probes = [state.liveness, state.readiness];
        probes.iter().flatten().filter_map(|probe| probe.last_took).max()
    }

    /// Instances whose checks through the path are slow although they answer their own probe at once.
    fn slow_path(&self) -> Option<Candidate> {
        let limit = self.bounds.latency_ms;
        let mut known_fast = true;
        let mut slow: Vec<(&InstanceName, &BackendState, String)> = Vec::new();
        for (name, backend) in &self.link.backends {
            let Some((check, text)) = slow_check(backend, limit) else { continue };
            match self.own_probe(name) {
                Some(took) if took * 2 < check => slow.push((name, backend, text)),
                // It answers its own probe as late: the path adds nothing.
                Some(_) => {}
                None if self.probe_unknown(name) => {
                    known_fast = false;
                    slow.push((name, backend, text));
                }
                None => {}
            }
        }
        if slow.is_empty() {
            return None;
        }
        // Requests that are well in spite of a slow check make it one slow check.
        let confirmed = slow
            .iter()
            .any(|(_, backend, _)| traffic::mostly_slow(&backend.recent, limit / 2.0, 2) != Some(false));
        let one = slow.len() < self.link.backends.len();
        let (pattern, score) = match (confirmed, known_fast, one) {
            (false, ..) => ("check_slow+requests_usual", 0.3),
            (_, false, _) => ("link_slow+check_slow+callee_probe_unknown", 0.6),
            (.., true) => ("link_slow+one_backend_check_slow+callee_probe_fast", 0.93),
            (.., false) => ("link_slow+all_backend_checks_slow+callee_probe_fast", 0.93),
        };
        let evidence = slow.iter().map(|(name, _, text)| {
            let own =
                self.own_probe(name).map_or("nothing fresh is known of its own probes".to_owned(), |took| {
                    format!("it answers its own probe in {}", units::show_duration(took))
                });
            seen(ResourceId::Instance((*name).clone()), format!("{text} while {own}"))
        });
        let evidence = evidence.chain([self.requests_say()]).collect();
        Some(self.candidate(CauseClass::PathSlow, pattern, score * self.fits(Symptom::Slow), evidence))
    }

    /// Old connections slow while new ones are well.
    fn stale(&self) -> Option<Candidate> {
        let reason = traffic::scope(IssueKind::NetworkLatency, self.name, self.view.snapshot, &self.bounds);
        if reason != Reason::StaleConnections {
            return None;
        }
        if traffic::connections_apart(self.link, self.bounds.latency_ms) {
            return Some(self.some_connections_slow());
        }
        let old = self.link.old_connections.p50_ms?;
        let (pattern, score, new) = match self.link.new_connections.p50_ms {
            Some(new) => (
                "link_slow+old_connections_slow+new_connections_fast",
                0.9,
                format!("those on connections younger than 5 s take {new:.0} ms"),
            ),
            None => (
                "link_slow+old_connections_slow+checks_fast",
                0.7,
                "the checks of every path, on new connections, are fast".to_owned(),
            ),
        };
        let text = format!("requests on connections older than 5 s take {old:.0} ms, {new}");
        let evidence = vec![seen(self.resource(), text)];
        Some(self.candidate(CauseClass::PathSlow, pattern, score * self.fits(Symptom::Slow), evidence))
    }

    /// Every exchange is slow on some connections and fast on others.
    fn some_connections_slow(&self) -> Candidate {
        let limit = self.bounds.latency_ms;
        let floors: Vec<f64> =
            self.link.backends.values().flat_map(|backend| backend.connection_floors_ms.clone()).collect();
        let slow = floors.iter().filter(|floor| **floor > limit).count();
        let fastest = floors.iter().copied().fold(f64::INFINITY, f64::min);
        let text = format!(
            "on {slow} of {} connections every request takes more than {limit:.0} ms, on others {fastest:.0} ms",
            floors.len()
        );
        let evidence = vec![seen(self.resource(), text)];
        let pattern = "link_slow+some_connections_slow+checks_fast";
        self.candidate(CauseClass::PathSlow, pattern, 0.92 * self.fits(Symptom::Slow), evidence)
    }

    /// Instances whose checks through the path fail although they run and answer their own probes.
    fn broken(&self) -> Option<Candidate> {
        let broken: Vec<(&InstanceName, &BackendState)> = self
            .link
            .backends
            .iter()
            .filter(|(name, backend)| {
                traffic::path_broken(name, backend, self.view.snapshot, self.bounds.latency_ms, 1)
            })
            .collect();
        // One failed check may be luck, and of a process that just began to hang no probe has failed yet.
        let sure = broken.iter().any(|(name, backend)| {
            let well = self.own_probe(name).is_some() || self.has_no_probe(name);
            well && backend.path_check_failures >= traffic::PATH_FAILURES_MIN
        });
        let pattern = match broken.len() {
            0 => return None,
            n if n < self.link.backends.len() => "one_backend_check_failing+callee_probe_passing",
            _ => "all_backend_checks_failing+callee_probe_passing",
        };
        let evidence = broken.iter().map(|(name, backend)| {
            let own = self.own_probe(name).map_or("it runs and is ready".to_owned(), |took| {
                format!("it answers its own probe in {}", units::show_duration(took))
            });
            let failures = backend.path_check_failures;
            let text = format!("{failures} checks of its path in a row failed while {own}");
            seen(ResourceId::Instance((*name).clone()), text)
        });
        let evidence = evidence.chain([self.requests_say()]).collect();
        let score = if sure { 0.93 } else { 0.55 };
        Some(self.candidate(CauseClass::PathBroken, pattern, score * self.fits(Symptom::Failing), evidence))
    }

    /// Requests turned away because of their rate, by the callee and not by something it calls.
    fn throttled(&self) -> Option<Candidate> {
        let recent = &self.link.recent;
        if recent.throttled < 3 || recent.throttled * 2 <= recent.errors {
            return None;
        }
        let below = self
            .view
            .snapshot
            .links
            .iter()
            .any(|(call, link)| call.from == self.name.to && link.recent.throttled >= 3);
        let who: Vec<(&InstanceName, &BackendState)> =
            self.link.backends.iter().filter(|(_, backend)| backend.recent.throttled > 0).collect();
        let one = !who.is_empty() && who.len() < self.link.backends.len();
        let pattern = if one { "one_backend_throttled" } else { "all_backends_throttled" };
        let score = if below { 0.3 } else { 0.94 };
        let evidence = who.iter().map(|(name, backend)| {
            let (throttled, all) = (backend.recent.throttled, backend.recent.requests);
            let text = format!("answers {throttled} of {all} requests with 429");
            seen(ResourceId::Instance((*name).clone()), text)
        });
        let evidence = evidence.chain([self.requests_say()]).collect();
        Some(self.candidate(CauseClass::Throttled, pattern, score * self.fits(Symptom::Failing), evidence))
    }

    /// The callee is slow, its path and what it calls are not: the excess is its own.
    fn service_slow(&self) -> Option<Candidate> {
        let p50 = self.link.recent.p50_ms?;
        let p95 = self.link.recent.p95_ms?;
        let called = traffic::callee_explains(self.name, self.link, self.view.snapshot, &self.bounds);
        if p95 <= self.bounds.latency_ms || called {
            return None;
        }
        let text = format!(
            "requests take {p50:.0} ms (p95 {p95:.0} ms), while no check of the path and no call of {} is slow",
            self.name.to
        );
        let evidence = vec![seen(self.resource(), text)];
        let resource = self.callee(IssueKind::NetworkLatency);
        let score = 0.45 * self.fits(Symptom::Slow);
        Some(Candidate {
            resource,
            class: CauseClass::ServiceSlow,
            pattern: "link_slow+checks_fast+calls_fast",
            score,
            evidence,
        })
    }

    /// The callee answers with errors, its path and what it calls are well.
    fn service_failing(&self) -> Option<Candidate> {
        let recent = &self.link.recent;
        let failing = recent.error_ratio().is_some_and(|ratio| ratio > self.bounds.error_rate.ratio());
        let calls = self.view.snapshot.links.iter().filter(|(call, _)| call.from == self.name.to);
        let called = calls.into_iter().any(|(_, link)| link.recent.errors > 0);
        if !failing || called {
            return None;
        }
        let text = format!(
            "{} of {} requests fail, while no check of the path and no call of {} fails",
            recent.errors, recent.requests, self.name.to
        );
        let evidence = vec![seen(self.resource(), text)];
        let resource = self.callee(IssueKind::ErrorRate);
        let score = 0.45 * self.fits(Symptom::Failing);
        Some(Candidate {
            resource,
            class: CauseClass::ServiceFailing,
            pattern: "requests_failing+checks_passing+calls_well",
            score,
            evidence,
        })
    }

    /// The one instance in trouble, or else the service.
    fn callee(&self, kind: IssueKind) -> ResourceId {
        let bad = traffic::backends_in_trouble(kind, self.name, self.view.snapshot, &self.view.thresholds);
        match bad.as_slice() {
            [one] => ResourceId::Instance(one.clone()),
            _ => ResourceId::Service(self.name.to.clone()),
        }
    }

    /// Whether nothing fresh is known of an instance's own probes, and nothing bad.
    fn probe_unknown(&self, name: &InstanceName) -> bool {
        let state = self.view.snapshot.instance(name);
        state.is_some_and(|state| traffic::answers_itself(state, self.view.snapshot).is_none())
    }

    fn has_no_probe(&self, name: &InstanceName) -> bool {
        let state = self.view.snapshot.instance(name);
        state.is_some_and(|state| state.liveness.is_none() && state.readiness.is_none())
    }

    /// What the requests themselves show, beside what the checks show.
    fn requests_say(&self) -> EvidenceItem {
        let recent = &self.link.recent;
        let late = recent.p95_ms.map_or(String::new(), |p95| format!(", 95 % within {p95:.0} ms"));
        let text = format!(
            "{} of {} requests failed in the last {} s{late}",
            recent.errors, recent.requests, recent.seconds
        );
        seen(self.resource(), text)
    }

    /// Slow paths explain slow requests, and by time-outs failing ones; the other way round likewise, less
    /// well.
    fn fits(&self, explains: Symptom) -> f64 {
        if self.symptom == explains { 1.0 } else { 0.75 }
    }

    fn candidate(
        &self,
        class: CauseClass,
        pattern: &'static str,
        score: f64,
        evidence: Vec<EvidenceItem>,
    ) -> Candidate {
        Candidate { resource: self.resource(), class, pattern, score, evidence }
    }
}

/// How long a check of a path took and what to say of it, where it was slow. Where checks give up, the
/// requests that were answered say how slow.
fn slow_check(backend: &BackendState, limit_ms: f64) -> Option<(Duration, String)> {
    if backend.path_check_failures > 0 && traffic::answered_late(backend, limit_ms) {
        let p50 = backend.recent.p50_ms?;
        let text = format!("checks of its path give up and its requests take {p50:.0} ms");
        return Some((Duration::from_secs_f64((p50 / 1e3).clamp(0.0, 3600.0)), text));
    }
    let check = backend.path_check.filter(|_| traffic::check_slow(backend, limit_ms) == Some(true))?;
    Some((check, format!("the check of its path takes {}", units::show_duration(check))))
}
