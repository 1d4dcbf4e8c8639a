//! Histograms with boundaries of their own, as the classic series of Prometheus: `_bucket`, `_sum`, `_count`.

use std::borrow::Cow;
use std::cmp::Ordering;

use promql::Labels;
use protowire::{Fault, Reader, fixed64, keep, len, varint};

use super::super::Cause;
use super::super::labels::Unfit;
use super::resource::{attributes, too_many};
use super::walk::{Flags, Metric, Taken, Walk, at_ms, recorded};

/// A `HistogramDataPoint`.
#[derive(Default)]
struct Point<'a> {
    attributes: Vec<&'a [u8]>,
    time: u64,
    count: u64,
    sum: Option<f64>,
    counts: Vec<u64>,
    bounds: Vec<f64>,
    exemplars: Vec<&'a [u8]>,
    flags: Flags,
}

impl Walk<'_> {
    /// A data point of a histogram.
    pub(super) fn histogram(&mut self, metric: &Metric<'_>, message: &[u8], time: &mut u64) -> Taken {
        let limits = self.decoder.limits;
        let point = Point::read(message, limits.labels, limits.buckets, limits.exemplars)?;
        if point.attributes.len() > limits.labels {
            return Ok(Err(too_many(limits.labels)));
        }
        if let Err(unfit) = point.check(limits.buckets) {
            return Ok(Err(unfit));
        }
        let attributes = attributes(&point.attributes, limits.value_bytes)?;
        let at_ms = match at_ms(point.time) {
            Ok(at_ms) => at_ms,
            Err(unfit) => return Ok(Err(unfit)),
        };
        *time = point.time;
        match self.histogram_series(metric, attributes, &point, at_ms) {
            Err(unfit) => Ok(Err(unfit)),
            Ok(buckets) => {
                self.exemplars(&buckets, &point.exemplars, at_ms)?;
                Ok(Ok(()))
            }
        }
    }

    /// Takes the series of a point; answers those of the buckets with their boundaries, rising.
    fn histogram_series<'a>(
        &mut self,
        metric: &'a Metric<'a>,
        attributes: Vec<(&'a str, Cow<'a, str>)>,
        point: &Point<'_>,
        at_ms: i64,
    ) -> Result<Vec<(f64, Labels)>, Unfit> {
        let base = self.base(metric, attributes)?;
        let Metric { name, .. } = metric;
        // A sum is left out where observations may be negative.
        if let Some(sum) = point.sum {
            let labels = self.series(&base, &format!("{name}_sum"), None)?;
            self.push(labels, at_ms, recorded(sum, point.flags));
        }
        let labels = self.series(&base, &format!("{name}_count"), None)?;
        self.push(labels, at_ms, recorded(point.count as f64, point.flags));
        let bucket = format!("{name}_bucket");
        let mut buckets = Vec::with_capacity(point.bounds.len() + 1);
        let mut cumulative = 0u64;
        for (bound, count) in point.bounds.iter().zip(&point.counts) {
            cumulative = cumulative.saturating_add(*count);
            let labels = self.series(&base, &bucket, Some(("le", &bound.to_string())))?;
            self.push(labels.clone(), at_ms, recorded(cumulative as f64, point.flags));
            buckets.push((*bound, labels));
        }
        let labels = self.series(&base, &bucket, Some(("le", "+Inf")))?;
        self.push(labels.clone(), at_ms, recorded(point.count as f64, point.flags));
        buckets.push((f64::INFINITY, labels));
        Ok(buckets)
    }
}

impl<'a> Point<'a> {
    fn read(message: &'a [u8], labels: usize, buckets: usize, exemplars: usize) -> Result<Self, Fault> {
        const TIME: u32 = fixed64(3);
        const COUNT: u32 = fixed64(4);
        const SUM: u32 = fixed64(5);
        const COUNTS: u32 = len(6);
        const COUNT_OF_BUCKET: u32 = fixed64(6);
        const BOUNDS: u32 = len(7);
        const BOUND: u32 = fixed64(7);
        const EXEMPLAR: u32 = len(8);
        const ATTRIBUTE: u32 = len(9);
        const FLAGS: u32 = varint(10);
        let mut point = Self::default();
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag()? {
            match tag {
                TIME => point.time = reader.fixed64()?,
                COUNT => point.count = reader.fixed64()?,
                SUM => point.sum = Some(reader.double()?),
                COUNTS => reader.packed(&mut point.counts, buckets, Reader::fixed64)?,
                COUNT_OF_BUCKET => keep(&mut point.counts, buckets, reader.fixed64()?),
                BOUNDS => reader.packed(&mut point.bounds, buckets, Reader::double)?,
                BOUND => keep(&mut point.bounds, buckets, reader.double()?),
                EXEMPLAR => keep(&mut point.exemplars, exemplars, reader.bytes()?),
                ATTRIBUTE => keep(&mut point.attributes, labels, reader.bytes()?),
                FLAGS => point.flags = Flags::read(&mut reader)?,
                _ => reader.skip(tag)?,
            }
        }
        Ok(point)
    }

    /// Whether boundaries and counts belong together.
    fn check(&self, most: usize) -> Result<(), Unfit> {
        let unfit = |say| Err(Unfit { cause: Cause::BadBuckets, say });
        let Self { counts, bounds, .. } = self;
        if counts.len().max(bounds.len()) > most {
            return unfit(format!("it has more than {most} buckets"));
        }
        if !counts.is_empty() && counts.len() != bounds.len() + 1 || counts.is_empty() && !bounds.is_empty() {
            return unfit(format!("{} counts do not go with {} boundaries", counts.len(), bounds.len()));
        }
        let falls = |pair: &&[f64]| pair[0].partial_cmp(&pair[1]) != Some(Ordering::Less);
        if let Some(pair) = bounds.windows(2).find(falls) {
            return unfit(format!("its boundaries do not rise from {} to {}", pair[0], pair[1]));
        }
        match bounds.iter().find(|bound| !bound.is_finite()) {
            Some(bound) => unfit(format!("{bound} is one of its boundaries")),
            None => Ok(()),
        }
    }
}
