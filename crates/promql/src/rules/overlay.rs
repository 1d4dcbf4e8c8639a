//! A source with samples laid over it that are not stored yet: what earlier rules of a group recorded is there for later
//! ones.

use std::collections::BTreeMap;

use crate::series::hand_over;
use crate::{Labels, Sample, Select, Series, Source, SourceError, StartedSeries, Take};

/// Series of a source, and newer samples.
pub(super) struct Overlay<'a> {
    below: &'a dyn Source,
    /// One sample of each, at the time of the evaluation.
    over: BTreeMap<Labels, Sample>,
}

impl<'a> Overlay<'a> {
    pub(super) fn new(below: &'a dyn Source) -> Self {
        Self { below, over: BTreeMap::new() }
    }

    /// Of two of the same series the first counts, as in the store.
    pub(super) fn extend(&mut self, samples: &[(Labels, Sample)]) {
        for (labels, sample) in samples {
            self.over.entry(labels.clone()).or_insert_with(|| sample.clone());
        }
    }

    fn matching(&self, select: &Select) -> Result<Vec<(&Labels, &Sample)>, SourceError> {
        let compiled = |matcher: &crate::Matcher| {
            matcher.compiled().map_err(|error| SourceError::Unreadable(error.to_string()))
        };
        let matchers = select.matchers.iter().map(compiled).collect::<Result<Vec<_>, _>>()?;
        let within = |sample: &Sample| (select.from_ms..=select.to_ms).contains(&sample.at_ms);
        let found = self.over.iter().filter(|(labels, sample)| {
            within(sample) && matchers.iter().all(|matcher| matcher.matches_labels(labels))
        });
        Ok(found.collect())
    }
}

impl Source for Overlay<'_> {
    fn select(&self, select: &Select) -> Result<Vec<Series>, SourceError> {
        let mut series = self.below.select(select)?;
        for (labels, sample) in self.matching(select)? {
            let at = series.partition_point(|known| known.labels < *labels);
            match series.get_mut(at).filter(|known| known.labels == *labels) {
                Some(known) => put(&mut known.samples, sample),
                None => series.insert(at, Series { labels: labels.clone(), samples: vec![sample.clone()] }),
            }
        }
        Ok(series)
    }

    fn each(&self, select: &Select, take: &Take<'_>) -> Result<(), SourceError> {
        if self.matching(select)?.is_empty() {
            return self.below.each(select, take);
        }
        hand_over(self.select(select)?, take);
        Ok(())
    }

    fn select_started(&self, select: &Select) -> Result<Vec<StartedSeries>, SourceError> {
        let mut started = self.below.select_started(select)?;
        for (labels, sample) in self.matching(select)? {
            let at = started.partition_point(|known| known.series.labels < *labels);
            match started.get_mut(at).filter(|known| known.series.labels == *labels) {
                Some(known) => {
                    put(&mut known.series.samples, sample);
                    // What was laid over says nothing of when it began.
                    if !known.starts_ms.is_empty() {
                        known.starts_ms.resize(known.series.samples.len(), 0);
                    }
                }
                None => {
                    let series = Series { labels: labels.clone(), samples: vec![sample.clone()] };
                    started.insert(at, StartedSeries { series, starts_ms: Vec::new() });
                }
            }
        }
        Ok(started)
    }
}

/// Behind the others; what is stored of a time stays.
fn put(samples: &mut Vec<Sample>, sample: &Sample) {
    let at = samples.partition_point(|known| known.at_ms < sample.at_ms);
    if samples.get(at).is_none_or(|known| known.at_ms != sample.at_ms) {
        samples.insert(at, sample.clone());
    }
}
