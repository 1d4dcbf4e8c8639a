//! Tiers: what is left of samples when time has gone by.
//!
//! | tier | what is kept | answers |
//! |---|---|---|
//! | raw | every sample | everything |
//! | minute, hour | of each minute or hour: the last sample; of a counter also the samples before and after each time it began anew; the samples around a stale marker; the first sample after a pause. Beside them: how many samples there were, their sum, least and greatest | see below |
//!
//! What is kept are samples as they came, at their own times: so a tier reads as a series does, only sparser. Value, rate
//! and increase of a counter between two kept samples are exactly what they were, since whatever lies between two kept
//! samples only rose. Averages, extremes and counts come from the columns beside them ([`Aggregate`]); windows that begin
//! and end with minutes (hours) are exact. A histogram keeps its last sample of each minute (hour) and those around a
//! reset: increases are exact.
//!
//! What is a counter, metadata says; where there is none, the name (`_total`, `_count`, `_sum`, `_bucket`). For other
//! series a fall is no new beginning: `increase` of what nobody called a counter may miss one within a minute.
//!
//! Tiers are there to be read faster, and to be kept longer. Where there are fewer than ten samples a minute neither is to be
//! had: one sample a minute with four columns beside it takes as much as all of them, and all of them are read fast enough.
//! So:
//!
//! - a flush whose series have so few, on average, writes the raw part alone. It answers for minutes and hours as well,
//!   thinned while it is read. Before retention lets go of it, what minutes and hours keep of it is written: a tier is there
//!   once the finer one is not. What is scraped every 15 s lies on disk once, not three times.
//! - a part of minutes (hours) keeps all samples of a series that has fewer than ten for each of its minutes (hours), and
//!   nothing beside them: they are thinned, and what stands beside is found, when they are asked for.
//!
//! A query takes the coarsest tier whose width is at most its `Select::step_ms`, and every sample where that is 0; for
//! times of which a tier no longer has anything, the next coarser one.

use promql::{Column, Histogram, Labels, METRIC_NAME, Sample, Samples, Value};

use crate::batch::{Kind, Metadata};

/// How fine samples are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// As they came.
    Raw,
    /// What is left of each minute.
    Minute,
    /// What is left of each hour.
    Hour,
}

impl Tier {
    /// All, finest first.
    pub const ALL: [Self; 3] = [Self::Raw, Self::Minute, Self::Hour];

    /// Milliseconds of which one sample is kept; 1 where all are.
    pub fn width_ms(self) -> i64 {
        match self {
            Self::Raw => 1,
            Self::Minute => 60_000,
            Self::Hour => 3_600_000,
        }
    }

    /// The tier for samples looked at so many milliseconds apart.
    pub(crate) fn for_step(step_ms: i64) -> Self {
        let fits = |tier: &Self| *tier == Self::Raw || tier.width_ms() <= step_ms;
        Self::ALL.into_iter().rev().find(fits).unwrap_or(Self::Raw)
    }

    /// In file names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Minute => "minute",
            Self::Hour => "hour",
        }
    }

    /// Its place among [`Tier::ALL`].
    pub(crate) fn place(self) -> usize {
        self as usize
    }
}

/// What can be asked of the samples of each minute or hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// How many there were, stale markers not counted.
    Count,
    /// Their sum.
    Sum,
    /// The least; a NaN only where there is nothing else.
    Min,
    /// The greatest; a NaN only where there is nothing else.
    Max,
}

/// Whether a fall of a series is a new beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    Counter,
    Other,
}

/// What a series is, by what is known of its metric, or by its name.
pub(crate) fn nature(labels: &Labels, kind: impl Fn(&str) -> Option<Metadata>) -> Nature {
    let name = labels.get(METRIC_NAME);
    let part = ["_bucket", "_count", "_sum"].iter().find_map(|part| name.strip_suffix(part));
    if let Some(kind) = kind(name).map(|known| known.kind).filter(|kind| *kind != Kind::Unknown) {
        return if kind == Kind::Counter { Nature::Counter } else { Nature::Other };
    }
    let family = part.and_then(kind).map(|known| known.kind);
    match family {
        Some(Kind::Histogram | Kind::Summary) => Nature::Counter,
        Some(Kind::GaugeHistogram) => Nature::Other,
        _ if part.is_some() || name.ends_with("_total") => Nature::Counter,
        _ => Nature::Other,
    }
}

/// So many samples of a window are worth being made one.
const DENSE: u64 = 10;

/// The coarsest tier for which raw samples are to answer, written together; of each series how many there are, when the
/// first and the last is. It is the coarsest of all, or none but their own.
pub(crate) fn through(series: impl Iterator<Item = (usize, i64, i64)>) -> Tier {
    let minute_of = |at_ms: i64| at_ms.div_euclid(Tier::Minute.width_ms());
    let (mut samples, mut minutes) = (0, 0);
    for (count, first_ms, last_ms) in series {
        samples += count as u64;
        minutes += minute_of(last_ms).abs_diff(minute_of(first_ms)) + 1;
    }
    if samples < DENSE * minutes { Tier::Hour } else { Tier::Raw }
}

/// What has to stand beside samples of a tier; none where all samples are to stay, because there are few of them. Given are
/// all there were, sorted.
pub(crate) fn beside(samples: &[Sample], tier: Tier) -> Option<Windows> {
    if tier == Tier::Raw {
        return None;
    }
    let (mut windows, mut end_ms) = (0, i64::MIN);
    for sample in samples {
        if sample.at_ms >= end_ms {
            windows += 1;
            end_ms = begin_of(sample.at_ms, tier.width_ms()).saturating_add(tier.width_ms());
        }
    }
    (samples.len() as u64 >= DENSE * windows && windows > 0).then(|| Windows::of(samples, tier))
}

/// What a tier keeps of sorted samples.
pub(crate) fn thinned(samples: &[Sample], tier: Tier, nature: Nature) -> Vec<Sample> {
    places(samples, tier, nature).into_iter().map(|at| samples[at].clone()).collect()
}

fn places(samples: &[Sample], tier: Tier, nature: Nature) -> Vec<usize> {
    let marks = |before: usize, after: usize| {
        let (before, after) = (&samples[before].value, &samples[after].value);
        before.is_stale() || after.is_stale() || began_anew(before, after, nature)
    };
    kept(samples.len(), |at| samples[at].at_ms, marks, tier)
}

/// Keeps of sorted samples what a tier keeps.
pub(crate) fn thin(samples: &mut Vec<Sample>, tier: Tier, nature: Nature) {
    if tier == Tier::Raw {
        return;
    }
    let kept = places(samples, tier, nature);
    for (to, at) in kept.iter().enumerate() {
        samples.swap(to, *at);
    }
    samples.truncate(kept.len());
}

/// Keeps of sorted samples in columns what a tier keeps.
pub(crate) fn thin_columns(samples: &mut Samples, tier: Tier, nature: Nature) {
    if tier == Tier::Raw {
        return;
    }
    if !samples.histograms.is_empty() {
        // Both kinds tell of each other.
        let mut all = samples.to_vec();
        thin(&mut all, tier, nature);
        samples.clear();
        all.into_iter().for_each(|sample| samples.push(sample));
        return;
    }
    let Column { times, values } = &mut samples.floats;
    let stale = |at: usize| promql::is_stale(values[at]);
    let marks = |before: usize, after: usize| {
        stale(before) || stale(after) || (nature == Nature::Counter && values[after] < values[before])
    };
    let kept = kept(times.len(), |at| times[at], marks, tier);
    for (to, at) in kept.iter().enumerate() {
        times[to] = times[*at];
        values[to] = values[*at];
    }
    times.truncate(kept.len());
    values.truncate(kept.len());
}

/// The places of the samples that a tier keeps, of so many: their times, and whether something happened between two
/// neighbours for which both are kept.
fn kept(
    count: usize,
    at_ms: impl Fn(usize) -> i64,
    marks: impl Fn(usize, usize) -> bool,
    tier: Tier,
) -> Vec<usize> {
    let mut kept = Vec::new();
    if count == 0 {
        return kept;
    }
    let width_ms = tier.width_ms();
    let mut end_ms = begin_of(at_ms(0), width_ms).saturating_add(width_ms);
    let (mut first, mut marked) = (true, false);
    for at in 0..count {
        let (mut last, mut marks_next, mut next_first) = (true, false, false);
        if at + 1 < count {
            let next_ms = at_ms(at + 1);
            last = next_ms >= end_ms;
            marks_next = marks(at, at + 1);
            if last {
                let begin_ms = begin_of(next_ms, width_ms);
                next_first = begin_ms > end_ms;
                end_ms = begin_ms.saturating_add(width_ms);
            }
        }
        if last || first || marked || marks_next {
            kept.push(at);
        }
        (first, marked) = (next_first, marks_next);
    }
    kept
}

/// When the window begins that a time is in. Windows are counted from 1970.
fn begin_of(at_ms: i64, width_ms: i64) -> i64 {
    at_ms.div_euclid(width_ms).saturating_mul(width_ms)
}

/// Whether a counter began anew between two values.
fn began_anew(before: &Value, after: &Value, nature: Nature) -> bool {
    match (before, after) {
        (Value::Float(before), Value::Float(after)) => nature == Nature::Counter && after < before,
        (Value::Histogram(before), Value::Histogram(after)) => histogram_began_anew(before, after),
        _ => true,
    }
}

fn histogram_began_anew(before: &Histogram, after: &Histogram) -> bool {
    use promql::CounterReset;
    match after.reset {
        CounterReset::Gauge => false,
        CounterReset::Reset => true,
        CounterReset::Unknown | CounterReset::NotReset => {
            after.count < before.count
                || after.schema != before.schema
                || after.zero_count < before.zero_count
        }
    }
}

/// What is kept of the numbers of each window beside samples.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Windows {
    /// When each begins.
    pub(crate) times: Vec<i64>,
    pub(crate) counts: Vec<f64>,
    pub(crate) sums: Vec<f64>,
    pub(crate) mins: Vec<f64>,
    pub(crate) maxs: Vec<f64>,
}

impl Windows {
    /// Of sorted samples. Histograms and stale markers do not count.
    pub(crate) fn of(samples: &[Sample], tier: Tier) -> Self {
        let number = |sample: &Sample| match sample.value {
            Value::Float(value) => Some((sample.at_ms, value)),
            Value::Histogram(_) => None,
        };
        Self::of_numbers(samples.iter().filter_map(number), tier)
    }

    /// Of a column of numbers.
    pub(crate) fn of_floats(floats: &Column<f64>, tier: Tier) -> Self {
        Self::of_numbers(floats.times.iter().copied().zip(floats.values.iter().copied()), tier)
    }

    /// Of numbers sorted by time.
    fn of_numbers(numbers: impl Iterator<Item = (i64, f64)>, tier: Tier) -> Self {
        let mut windows = Self::default();
        let width_ms = tier.width_ms();
        let mut begin_ms = i64::MIN;
        for (at_ms, value) in numbers.filter(|(_, value)| !promql::is_stale(*value)) {
            if begin_ms == i64::MIN || at_ms - begin_ms >= width_ms {
                begin_ms = begin_of(at_ms, width_ms);
            }
            windows.add(begin_ms, [1.0, value, value, value]);
        }
        windows
    }

    /// Adds the count, sum, least and greatest of some samples to a window; windows come in order of time.
    pub(crate) fn add(&mut self, begin_ms: i64, [count, sum, min, max]: [f64; 4]) {
        if self.times.last() != Some(&begin_ms) {
            self.times.push(begin_ms);
            self.counts.push(count);
            self.sums.push(sum);
            self.mins.push(min);
            self.maxs.push(max);
            return;
        }
        let at = self.times.len() - 1;
        self.counts[at] += count;
        self.sums[at] += sum;
        // `min` and `max` of floating-point numbers leave NaNs out.
        self.mins[at] = self.mins[at].min(min);
        self.maxs[at] = self.maxs[at].max(max);
    }

    /// Puts windows of several together, those of one time into one.
    pub(crate) fn merged(parts: &[Self]) -> Self {
        let mut places: Vec<(i64, usize, usize)> = Vec::new();
        for (part, windows) in parts.iter().enumerate() {
            places.extend(windows.times.iter().enumerate().map(|(at, begin_ms)| (*begin_ms, part, at)));
        }
        places.sort_unstable();
        let mut merged = Self::default();
        for (begin_ms, part, at) in places {
            let of = &parts[part];
            merged.add(begin_ms, [of.counts[at], of.sums[at], of.mins[at], of.maxs[at]]);
        }
        merged
    }

    /// One of the columns.
    pub(crate) fn column(&self, aggregate: Aggregate) -> &[f64] {
        match aggregate {
            Aggregate::Count => &self.counts,
            Aggregate::Sum => &self.sums,
            Aggregate::Min => &self.mins,
            Aggregate::Max => &self.maxs,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn samples(values: &[(i64, f64)]) -> Vec<Sample> {
        values.iter().map(|(at_ms, value)| Sample { at_ms: *at_ms, value: Value::Float(*value) }).collect()
    }

    fn kept(values: &[(i64, f64)], nature: Nature) -> Vec<i64> {
        let mut samples = samples(values);
        thin(&mut samples, Tier::Minute, nature);
        samples.iter().map(|sample| sample.at_ms).collect()
    }

    /// How much a counter rose, as PromQL counts it.
    fn rise(samples: &[Sample]) -> f64 {
        let value = |sample: &Sample| match sample.value {
            Value::Float(value) => value,
            Value::Histogram(_) => f64::NAN,
        };
        samples
            .windows(2)
            .map(|two| {
                let (before, after) = (value(&two[0]), value(&two[1]));
                if after < before { after } else { after - before }
            })
            .sum()
    }

    proptest! {
        #[test]
        fn a_counter_rises_by_as_much_as_before(steps in vec((1i64..40_000, 0u32..100, 0u8..10), 1..200)) {
            let (mut at_ms, mut count) = (0, 0u32);
            let all: Vec<(i64, f64)> = steps.into_iter().map(|(step_ms, by, anew)| {
                at_ms += step_ms;
                count = if anew == 0 { by } else { count + by };
                (at_ms, f64::from(count))
            }).collect();
            let all = samples(&all);
            for tier in [Tier::Minute, Tier::Hour] {
                let mut left = all.clone();
                thin(&mut left, tier, Nature::Counter);
                prop_assert_eq!(rise(&left), rise(&all));
                prop_assert_eq!(left.last(), all.last());
                let mut again = left.clone();
                thin(&mut again, tier, Nature::Counter);
                prop_assert_eq!(again, left);
            }
        }

        #[test]
        fn columns_are_thinned_as_samples_are(
            steps in vec((1i64..40_000, prop_oneof![4 => (0u32..100).prop_map(Some), 1 => Just(None)]), 0..100),
        ) {
            let stale = f64::from_bits(promql::STALE_BITS);
            let mut at_ms = 0;
            let all: Vec<(i64, f64)> = steps.into_iter().map(|(step_ms, value)| {
                at_ms += step_ms;
                (at_ms, value.map_or(stale, f64::from))
            }).collect();
            for nature in [Nature::Counter, Nature::Other] {
                let mut columns = Samples::default();
                all.iter().for_each(|(at_ms, value)| columns.floats.push(*at_ms, *value));
                thin_columns(&mut columns, Tier::Minute, nature);
                let mut wanted = samples(&all);
                thin(&mut wanted, Tier::Minute, nature);
                prop_assert_eq!(format!("{:?}", columns.to_vec()), format!("{wanted:?}"));
            }
        }

        #[test]
        fn windows_merged_are_the_windows_of_all(
            values in vec((0i64..300_000, -50i32..50), 1..100),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut values: Vec<(i64, f64)> = values.into_iter().map(|(at, v)| (at, v.into())).collect();
            let (a, b) = values.split_at(cut.index(values.len()));
            let parts = [a, b].map(|part| {
                let mut part = samples(part);
                part.sort_by_key(|sample| sample.at_ms);
                Windows::of(&part, Tier::Minute)
            });
            values.sort_by_key(|(at_ms, _)| *at_ms);
            prop_assert_eq!(Windows::merged(&parts), Windows::of(&samples(&values), Tier::Minute));
        }
    }

    #[test]
    fn a_gauge_keeps_its_last_sample_of_each_minute_and_its_first() {
        let gauge = [(0, 5.0), (10_000, 4.0), (20_000, 3.0), (70_000, 2.0), (80_000, 1.0)];
        assert_eq!(kept(&gauge, Nature::Other), [0, 20_000, 80_000]);
        assert_eq!(kept(&gauge, Nature::Counter), [0, 10_000, 20_000, 70_000, 80_000]);
    }

    #[test]
    fn an_end_and_what_is_around_it_are_kept() {
        let stale = f64::from_bits(0x7ff0_0000_0000_0002);
        let ends =
            [(0, 1.0), (1000, 1.0), (2000, 1.0), (3000, stale), (9000, 1.0), (10_000, 1.0), (11_000, 1.0)];
        assert_eq!(kept(&ends, Nature::Other), [0, 2000, 3000, 9000, 11_000]);
    }

    #[test]
    fn tiers_are_worth_it_where_they_make_one_of_ten() {
        let scraped_every = |step_s: i64| {
            let count = 7200 / step_s;
            through(std::iter::repeat_n((count as usize, 0, (count - 1) * step_s * 1000), 3))
        };
        let tiers = [1, 6, 7, 30, 360].map(scraped_every);
        assert_eq!(tiers, [Tier::Raw, Tier::Raw, Tier::Hour, Tier::Hour, Tier::Hour]);
        // On average: most are scraped each second.
        let (often, seldom) = ((7200, 0, 7_199_000), (240, 0, 7_170_000));
        assert_eq!(through([often, seldom, seldom].into_iter()), Tier::Raw);
        assert_eq!(
            through([often, seldom, seldom, seldom, seldom, seldom, seldom, seldom].into_iter()),
            Tier::Hour
        );
    }

    #[test]
    fn a_series_with_few_samples_keeps_all_of_them() {
        let every = |step_s: i64| {
            let all: Vec<(i64, f64)> = (0..3600 / step_s).map(|at| (at * step_s * 1000, at as f64)).collect();
            samples(&all)
        };
        assert_eq!([7, 30, 600].map(|step_s| beside(&every(step_s), Tier::Minute)), [None, None, None]);
        assert_eq!(beside(&every(5), Tier::Minute), Some(Windows::of(&every(5), Tier::Minute)));
        assert_eq!(beside(&every(5), Tier::Raw), None);
        assert_eq!(beside(&[], Tier::Hour), None);
    }

    #[test]
    fn the_step_chooses_the_tier() {
        let tiers = [0, 1000, 59_999, 60_000, 3_599_999, 3_600_000].map(Tier::for_step);
        assert_eq!(tiers, [Tier::Raw, Tier::Raw, Tier::Raw, Tier::Minute, Tier::Minute, Tier::Hour]);
    }

    #[test]
    fn a_counter_is_what_metadata_or_its_name_says() {
        let of = |name: &str, kind: Option<(&str, Kind)>| {
            let labels = Labels::new([(METRIC_NAME, name)]);
            nature(&labels, |asked| {
                let known = kind.filter(|(name, _)| *name == asked);
                known.map(|(_, kind)| Metadata { kind, ..Metadata::default() })
            })
        };
        assert_eq!(of("a_total", None), Nature::Counter);
        assert_eq!(of("a_bytes", None), Nature::Other);
        assert_eq!(of("a_bytes", Some(("a_bytes", Kind::Counter))), Nature::Counter);
        assert_eq!(of("a_total", Some(("a_total", Kind::Gauge))), Nature::Other);
        assert_eq!(of("a_bucket", Some(("a", Kind::GaugeHistogram))), Nature::Other);
        assert_eq!(of("a_bucket", Some(("a", Kind::Histogram))), Nature::Counter);
    }
}
