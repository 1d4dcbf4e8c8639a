//! What speaks for a deployment: exactly this service got worse when it began to run something else.
//!
//! | pattern | class |
//! |---|---|
//! | `just_deployed+errors_rose`, `just_deployed+slow_requests_rose` | bad_deployment |
//! | `deployed_lately+errors_rose`, `deployed_lately+slow_requests_rose` | bad_deployment |
//!
//! Three things have to come together: the issue was first seen after the deployment began, the callers of the service
//! count more bad requests since than chance would bring about ([`chance`], one-sided), and nothing the service
//! calls explains them. Within a minute of the rollout's end that outranks what else is seen, except a path whose
//! own checks are in trouble or that turns requests away, and one instance that hangs, ended or has no room. Later it
//! is one of several explanations, above those that say no more than "the callee fails".
//!
//! Never suspected: a rollback, and a deployment that was rolled back before.

use std::time::Duration;

use domain::snapshot::Lately;
use domain::{CallCounts, CauseClass, Deployment, Issue, ResourceId, ServiceName, units};

use super::{Candidate, Symptom, seen};
use crate::detect::View;

/// An issue that is first seen so long after a rollout at most began with it.
const JUST: Duration = Duration::from_secs(60);

/// Fewer requests since tell nothing.
const REQUESTS_MIN: u64 = 20;

/// The rise of bad requests must be less likely than this by chance. It is asked at every look of an open issue, so
/// it is stricter than one question would need.
const CHANCE_MAX: f64 = 1e-4;

/// The share of slow requests from which a 95th percentile is slow.
const SLOW_SHARE: f64 = 0.05;

/// The deployment of a service as the cause of an issue, where it is suspect.
pub(super) fn candidate(
    service: &ServiceName,
    issue: &Issue,
    symptom: Symptom,
    view: View<'_>,
) -> Option<Candidate> {
    let Lately { deployment, since } = suspect(service, view)?;
    if !issue.detected_at.reached(deployment.at) || explained_below(service, symptom, view) {
        return None;
    }
    let before = deployment.before?;
    let bounds = view.thresholds.at(&ResourceId::Service(service.clone()), view.snapshot);
    let (share_min, what) = match symptom {
        Symptom::Failing => (bounds.error_rate.ratio(), "failed"),
        Symptom::Slow => (SLOW_SHARE, "were slow"),
        Symptom::Own(_) => return None,
    };
    let bad = |counts: &CallCounts| if symptom == Symptom::Slow { counts.slow } else { counts.errors };
    let share = bad(since) as f64 / since.requests.max(1) as f64;
    let by_chance = chance((bad(&before), before.requests), (bad(since), since.requests));
    if since.requests < REQUESTS_MIN || share <= share_min || by_chance > CHANCE_MAX {
        return None;
    }
    let over = deployment.finished_at.unwrap_or(deployment.at);
    let just = issue.detected_at.since(over) <= JUST;
    let text = format!(
        "{} {} before: {} of {} requests {what} since, {} of {} in the minute before it",
        told(deployment),
        units::show_duration(issue.detected_at.since(deployment.at)),
        bad(since),
        since.requests,
        bad(&before),
        before.requests,
    );
    Some(Candidate {
        resource: ResourceId::Service(service.clone()),
        class: CauseClass::BadDeployment,
        pattern: match (just, symptom == Symptom::Slow) {
            (true, false) => "just_deployed+errors_rose",
            (true, true) => "just_deployed+slow_requests_rose",
            (false, false) => "deployed_lately+errors_rose",
            (false, true) => "deployed_lately+slow_requests_rose",
        },
        score: if just { 0.97 } else { 0.5 },
        evidence: vec![seen(ResourceId::Service(service.clone()), text)],
    })
}

/// How strong a suspicion is left beside what is seen of the path to the service, and of one instance: all run the
/// release.
pub(super) fn beside(candidate: Candidate, others: &[Candidate]) -> Candidate {
    use CauseClass::{DiskExhausted, PathBroken, PathSlow, ProcessEnded, ProcessHangs, Throttled};
    let explains = |other: &Candidate| {
        let on_the_path = matches!(other.class, PathSlow | PathBroken | Throttled);
        let of_one_instance = matches!(other.class, ProcessHangs | ProcessEnded | DiskExhausted);
        (on_the_path || of_one_instance) && other.score >= 0.9
    };
    let score = if others.iter().any(explains) { candidate.score.min(0.5) } else { candidate.score };
    Candidate { score, ..candidate }
}

/// The deployment a service runs by, unless that is a rollback.
fn suspect<'a>(service: &ServiceName, view: View<'a>) -> Option<&'a Lately> {
    let of_service = |lately: &&Lately| lately.deployment.service == *service;
    let last = view.snapshot.deployments.iter().rfind(of_service)?;
    let id = Some(last.deployment.id);
    let taken_back = view.snapshot.deployments.iter().any(|other| other.deployment.rolls_back == id);
    (last.deployment.rolls_back.is_none() && !taken_back).then_some(last)
}

/// Whether something the service calls is in the same trouble.
fn explained_below(service: &ServiceName, symptom: Symptom, view: View<'_>) -> bool {
    let mut calls = view.snapshot.links.iter().filter(|(call, _)| call.from == *service);
    calls.any(|(call, link)| {
        let bounds = view.thresholds.at(&ResourceId::Link(call.clone()), view.snapshot);
        match symptom {
            Symptom::Slow => link.recent.p95_ms.is_some_and(|p95| p95 > bounds.latency_ms),
            _ => link.recent.error_ratio().is_some_and(|ratio| ratio > bounds.error_rate.ratio()),
        }
    })
}

fn told(Deployment { version, previous_version, .. }: &Deployment) -> String {
    match (version, previous_version) {
        (Some(version), Some(before)) => format!("version {version} was deployed in place of {before},"),
        (Some(version), None) => format!("version {version} was deployed"),
        (None, _) => "another release was deployed".to_owned(),
    }
}

/// How likely it is that at least so many of the bad requests fall into the second sample by chance, were the two
/// alike: Fisher's exact test, one-sided, over (bad, all) of each. Between 0 and 1.
///
/// R. A. Fisher, *Statistical Methods for Research Workers*, §21.02: the tail of the hypergeometric distribution.
pub(super) fn chance(before: (u64, u64), since: (u64, u64)) -> f64 {
    let (bad, all) = (before.0 + since.0, before.1 + since.1);
    let well = all - bad.min(all);
    let most = bad.min(since.1);
    // Sums of logarithms: where nearly all was bad before, the first terms are smaller than any number.
    let mut term =
        ln_choose(bad, since.0) + ln_choose(well, since.1.saturating_sub(since.0)) - ln_choose(all, since.1);
    let mut sum = f64::NEG_INFINITY;
    for k in since.0..=most {
        sum = ln_add(sum, term);
        // Those left of the well ones when one more of the second sample is bad.
        let room = (well + k + 1).saturating_sub(since.1) as f64;
        let step = ((bad - k) as f64 * (since.1 - k) as f64 / ((k + 1) as f64 * room.max(1.0))).ln();
        if step < 0.0 && term + step < sum + NEGLIGIBLE {
            break;
        }
        term += step;
    }
    sum.exp().clamp(0.0, 1.0)
}

/// The logarithm of a share of a sum that adds nothing to it, 1e-12.
const NEGLIGIBLE: f64 = -27.6;

/// The logarithm of the sum of two numbers, from theirs.
fn ln_add(one: f64, other: f64) -> f64 {
    let (more, less) = if one > other { (one, other) } else { (other, one) };
    if less == f64::NEG_INFINITY { more } else { more + (less - more).exp().ln_1p() }
}

fn ln_choose(n: u64, k: u64) -> f64 {
    if k > n { f64::NEG_INFINITY } else { ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k) }
}

/// Stirling's series from 16 on, to better than 1e-9.
fn ln_factorial(n: u64) -> f64 {
    if n < 16 {
        return (2..=n).map(|k| (k as f64).ln()).sum();
    }
    let x = n as f64;
    x * x.ln() - x + 0.5 * (std::f64::consts::TAU * x).ln() + 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::chance;

    #[test]
    fn chance_is_what_the_tables_say() {
        // Fisher's tea: 3 of 4 and 4 of 4 guessed right.
        assert!((chance((1, 4), (3, 4)) - 17.0 / 70.0).abs() < 1e-9);
        assert!((chance((0, 4), (4, 4)) - 1.0 / 70.0).abs() < 1e-9);
        // scipy.stats.hypergeom.sf(59, 1040, 61, 200)
        assert!(chance((1, 840), (60, 200)) < 1e-30);
        // All was bad before: that fewer are since is no sign against the deployment.
        assert!(chance((793, 793), (464, 1714)) > 1.0 - 1e-6);
    }

    proptest! {
        #[test]
        fn chance_is_a_probability_and_falls_with_every_bad_request_more(
            before in 0u64..2000, bad_before in 0u64..2000, since in 1u64..2000, bad in 0u64..2000,
        ) {
            let (bad_before, bad) = (bad_before.min(before), bad.min(since));
            let p = chance((bad_before, before), (bad, since));
            prop_assert!((0.0..=1.0).contains(&p), "{p}");
            if bad == 0 {
                prop_assert!(p > 1.0 - 1e-6, "{p}");
            }
            if bad < since {
                // As exact as sums of logarithms of thousands are.
                prop_assert!(chance((bad_before, before), (bad + 1, since)) <= p + 1e-6);
            }
        }
    }
}
