//! What the keeper's links say of a second: requests that ended in it, and how many were bad.
//!
//! In: seconds of links, and which links and limit are asked for. Out: counts by second and link. Seconds that a link does
//! not have had no requests.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use domain::LinkName;
use provider::sample::LinkSample;
use slo::Counts;

/// Which requests are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted<'a> {
    /// The caller; any where it is `None`.
    pub(super) from: Option<&'a str>,
    /// The callee; any where it is `None`.
    pub(super) to: Option<&'a str>,
    /// From this duration on a request is bad.
    pub(super) slow_from: Option<Duration>,
}

impl Wanted<'_> {
    fn matches(&self, name: &LinkName) -> bool {
        self.from.is_none_or(|from| from == name.from.as_str())
            && self.to.is_none_or(|to| to == name.to.as_str())
    }
}

/// What was counted in seconds since boot, by second and link; `None` where no link matches.
pub(super) type SecondCounts<'a> = Option<BTreeMap<u64, Vec<(&'a LinkName, Counts)>>>;

/// Counts requests of seconds. An answer that failed is bad, and one that may have been too slow; one that was both may
/// count twice, but never for more than there were.
pub(super) fn second_counts<'a>(
    links: &'a BTreeMap<LinkName, LinkSample>,
    wanted: &Wanted<'_>,
    seconds: Range<u64>,
) -> SecondCounts<'a> {
    let mut found: SecondCounts<'a> = None;
    for (name, link) in links.iter().filter(|(name, _)| wanted.matches(name)) {
        let found = found.get_or_insert_default();
        let from = link.seconds.partition_point(|second| second.second < seconds.start);
        for second in link.seconds.range(from..).take_while(|second| second.second < seconds.end) {
            let (mut total, mut bad) = (second.rejected, second.rejected);
            for counts in &second.counts {
                total += counts.requests;
                let slow = wanted.slow_from.map_or(0, |limit| counts.latency.slower(limit));
                bad += (counts.errors + slow).min(counts.requests);
            }
            found.entry(second.second).or_default().push((name, Counts::of_bad(bad, total)));
        }
    }
    found
}
