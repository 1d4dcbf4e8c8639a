//! Which traces are kept.
//!
//! In: a parent's context, the root's operation, what the control loop says. Out: whether spans are recorded
//! at all, and whether the local trace is kept when its root ends. Probabilities are OpenTelemetry's
//! consistent ones: 56 bits of randomness, carried by the trace id or `rv`, against a threshold that travels
//! as `th`; two services at different rates keep nested sets of traces.

pub(crate) mod control;
pub(crate) mod operations;

pub use control::Adaptive;

use crate::context::Context;

/// One more than the largest randomness: a threshold that rejects everything.
pub(crate) const THRESHOLD_ALL: u64 = 1 << 56;

/// Which traces a tracer keeps.
#[derive(Debug, Clone)]
pub enum Sampler {
    /// Every trace, whatever the parent says.
    Always,
    /// None. Contexts are passed on.
    Never,
    /// This share of all traces, 0 to 1, decided when the root begins and whatever the parent says: a trace
    /// that is dropped is not recorded.
    Ratio(f64),
    /// What a remote parent decided; a trace without one is decided by this sampler.
    ParentBased(Box<Sampler>),
    /// 1 to 100 %, within a budget; see [`Adaptive`]. A trace that a remote parent has dropped for good is not
    /// recorded.
    Adaptive(Adaptive),
}

impl Sampler {
    /// What a remote parent decided; traces that begin here are decided by `root`.
    pub fn parent_based(root: Self) -> Self {
        Self::ParentBased(Box::new(root))
    }

    /// Adaptive sampling as it comes: 1 % of the CPU time of the process, rates from 1 to 100 %.
    pub fn adaptive() -> Self {
        Self::Adaptive(Adaptive::default())
    }

    /// The budget of the adaptive sampler, where one is asked.
    pub(crate) fn adaptive_budget(&self) -> Option<&Adaptive> {
        match self {
            Self::Adaptive(budget) => Some(budget),
            Self::ParentBased(root) => root.adaptive_budget(),
            Self::Always | Self::Never | Self::Ratio(_) => None,
        }
    }

    /// Decides for a local root. `operation_threshold` is asked only where the sampler is adaptive.
    #[inline]
    pub(crate) fn head(
        &self,
        parent: Option<&Context>,
        randomness: u64,
        operation_threshold: impl FnOnce() -> u64,
    ) -> Head {
        match self {
            Self::Always => Head::Record(Decision::Keep(Some(0))),
            Self::Never => Head::Drop,
            Self::Ratio(share) => {
                let threshold = threshold_of(*share);
                if randomness >= threshold {
                    Head::Record(Decision::Keep(Some(threshold)))
                } else {
                    Head::Drop
                }
            }
            Self::ParentBased(root) => match parent {
                // An adaptive root looks at parents itself.
                Some(_) if root.adaptive_budget().is_some() => {
                    root.head(parent, randomness, operation_threshold)
                }
                Some(parent) if parent.sampled => Head::Record(Decision::Keep(parent.threshold)),
                Some(_) => Head::Drop,
                None => root.head(None, randomness, operation_threshold),
            },
            Self::Adaptive(_) => adaptive_head(parent, randomness, operation_threshold),
        }
    }
}

/// A parent that has decided to drop is obeyed. One that has decided to keep leaves this service its own rate:
/// its budget is its own. One that is still undecided (ours) has not filtered anything yet, so this service's
/// threshold alone is the probability.
fn adaptive_head(
    parent: Option<&Context>,
    randomness: u64,
    operation_threshold: impl FnOnce() -> u64,
) -> Head {
    if parent.is_some_and(|parent| !parent.sampled && !parent.undecided) {
        return Head::Drop;
    }
    let threshold = operation_threshold();
    let weight = match parent {
        Some(parent) if !parent.undecided => parent.threshold.map(|theirs| theirs.max(threshold)),
        _ => Some(threshold),
    };
    Head::Record(Decision::Open { weight, sampled: Sampled::from(randomness >= threshold) })
}

/// What is known when a local root begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Head {
    /// Its spans are recorded.
    Record(Decision),
    /// They are not; the context goes on.
    Drop,
}

/// What a probability said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sampled {
    Yes,
    No,
}

impl From<bool> for Sampled {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

/// What was decided of a trace that is being recorded. Thresholds are absent where the probability is unknown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Decision {
    /// It is kept.
    Keep(Option<u64>),
    /// The root's end decides: kept where sampled, failed or slow.
    Open { weight: Option<u64>, sampled: Sampled },
}

impl Decision {
    /// What the `sampled` flag of an outgoing header says.
    #[inline]
    pub(crate) fn sampled(self) -> bool {
        matches!(self, Self::Keep(_) | Self::Open { sampled: Sampled::Yes, .. })
    }

    /// The threshold behind it.
    #[inline]
    pub(crate) fn threshold(self) -> Option<u64> {
        match self {
            Self::Keep(threshold) | Self::Open { weight: threshold, .. } => threshold,
        }
    }

    #[inline]
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Open { .. })
    }
}

/// The threshold that keeps this share: randomness at or above it is kept.
pub(crate) fn threshold_of(share: f64) -> u64 {
    if share >= 1.0 {
        return 0;
    }
    if share.is_nan() || share <= 0.0 {
        return THRESHOLD_ALL;
    }
    ((1.0 - share) * THRESHOLD_ALL as f64).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids;

    fn parent(sampled: bool, undecided: bool, threshold: Option<u64>) -> Context {
        let mut context = Context::remote(ids::trace_id(), ids::span_id(), sampled);
        (context.undecided, context.threshold) = (undecided, threshold);
        context
    }

    #[test]
    fn a_share_is_kept_and_a_smaller_share_is_part_of_it() {
        let kept = |share: f64, id: &ids::TraceId| id.randomness() >= threshold_of(share);
        let ids: Vec<_> = (0..20_000).map(|_| ids::trace_id()).collect();
        let tenth = ids.iter().filter(|id| kept(0.1, id)).count();
        assert!((1_800..2_200).contains(&tenth), "{tenth}");
        assert!(ids.iter().filter(|id| kept(0.1, id)).all(|id| kept(0.5, id)));
        assert!(ids.iter().all(|id| kept(1.0, id) && !kept(0.0, id)));
    }

    #[test]
    fn parents_are_obeyed_where_the_sampler_says_so() {
        let sampler = Sampler::parent_based(Sampler::Never);
        assert_eq!(sampler.head(None, 0, || 0), Head::Drop);
        assert_eq!(sampler.head(Some(&parent(false, false, None)), 0, || 0), Head::Drop);
        let kept = sampler.head(Some(&parent(true, false, Some(7))), 0, || 0);
        assert_eq!(kept, Head::Record(Decision::Keep(Some(7))));
        assert_eq!(
            Sampler::Always.head(Some(&parent(false, false, None)), 0, || 0),
            Head::Record(Decision::Keep(Some(0)))
        );
    }

    #[test]
    fn adaptive_obeys_a_drop_but_not_one_that_is_still_open() {
        let sampler = Sampler::adaptive();
        assert_eq!(sampler.head(Some(&parent(false, false, None)), 9, || 5), Head::Drop);
        let open = |weight, sampled| Head::Record(Decision::Open { weight, sampled });
        assert_eq!(sampler.head(Some(&parent(false, true, None)), 9, || 5), open(Some(5), Sampled::Yes));
        assert_eq!(sampler.head(Some(&parent(true, true, Some(8))), 4, || 5), open(Some(5), Sampled::No));
        assert_eq!(sampler.head(Some(&parent(true, false, Some(8))), 9, || 5), open(Some(8), Sampled::Yes));
        assert_eq!(sampler.head(Some(&parent(true, false, None)), 9, || 5), open(None, Sampled::Yes));
        assert_eq!(sampler.head(None, 4, || 5), open(Some(5), Sampled::No));
    }
}
