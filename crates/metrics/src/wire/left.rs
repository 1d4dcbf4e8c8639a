//! What was left out of a message that was taken, and why; and why a message was not taken at all.

use std::fmt;

/// How many complaints are kept in words; the rest is only counted.
const TOLD: usize = 5;

/// Why something was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A series without `__name__`.
    NoName,
    /// A label whose name is empty.
    EmptyLabelName,
    /// A label that is there twice.
    DuplicateLabel,
    /// Text that is not UTF-8.
    NotUtf8,
    /// More labels than a series may have.
    TooManyLabels,
    /// The name or the value of a label is longer than it may be.
    LabelTooLong,
    /// An index of a label that is not in the table of symbols, or a name without a value.
    Reference,
    /// A sample older than the one before it in the same series.
    OutOfOrder,
    /// A sample at the same time as the one before it, with another value.
    DuplicateTime,
    /// Floats and histograms in one series of one message.
    MixedKinds,
    /// A native histogram that contradicts itself.
    BadHistogram,
    /// An exemplar without a time.
    ExemplarWithoutTime,
    /// An exemplar whose labels are longer than 128 characters together.
    ExemplarTooLong,
    /// Metadata of a metric without a name, or of a kind that does not exist.
    BadMetadata,
    /// A sum or histogram of delta temporality.
    Delta,
    /// A sum or histogram that does not say its temporality.
    NoTemporality,
    /// A metric of a kind that is not known, or with no data.
    UnknownKind,
    /// A data point without a value.
    NoValue,
    /// A data point without a time.
    NoTime,
    /// A name of which nothing is left once it is written as Prometheus writes names.
    UnusableName,
    /// A histogram whose boundaries and counts do not fit, or do not rise.
    BadBuckets,
    /// An exponential histogram coarser than native histograms can be.
    TooCoarse,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 22] = [
        Self::NoName,
        Self::EmptyLabelName,
        Self::DuplicateLabel,
        Self::NotUtf8,
        Self::TooManyLabels,
        Self::LabelTooLong,
        Self::Reference,
        Self::OutOfOrder,
        Self::DuplicateTime,
        Self::MixedKinds,
        Self::BadHistogram,
        Self::ExemplarWithoutTime,
        Self::ExemplarTooLong,
        Self::BadMetadata,
        Self::Delta,
        Self::NoTemporality,
        Self::UnknownKind,
        Self::NoValue,
        Self::NoTime,
        Self::UnusableName,
        Self::BadBuckets,
        Self::TooCoarse,
    ];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoName => "no_name",
            Self::EmptyLabelName => "empty_label_name",
            Self::DuplicateLabel => "duplicate_label",
            Self::NotUtf8 => "not_utf8",
            Self::TooManyLabels => "too_many_labels",
            Self::LabelTooLong => "label_too_long",
            Self::Reference => "reference",
            Self::OutOfOrder => "out_of_order",
            Self::DuplicateTime => "duplicate_time",
            Self::MixedKinds => "mixed_kinds",
            Self::BadHistogram => "bad_histogram",
            Self::ExemplarWithoutTime => "exemplar_without_time",
            Self::ExemplarTooLong => "exemplar_too_long",
            Self::BadMetadata => "bad_metadata",
            Self::Delta => "delta",
            Self::NoTemporality => "no_temporality",
            Self::UnknownKind => "unknown_kind",
            Self::NoValue => "no_value",
            Self::NoTime => "no_time",
            Self::UnusableName => "unusable_name",
            Self::BadBuckets => "bad_buckets",
            Self::TooCoarse => "too_coarse",
        }
    }
}

/// So many of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Samples that are numbers.
    pub samples: u64,
    /// Samples that are native histograms.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
    /// Entries of metadata.
    pub metadata: u64,
    /// Data points of OTLP, of whatever kind: one becomes several samples.
    pub points: u64,
}

impl Tally {
    /// One sample that is a number.
    pub(crate) const SAMPLE: Self = Self { samples: 1, ..Self::NONE };
    /// One native histogram.
    pub(crate) const HISTOGRAM: Self = Self { histograms: 1, ..Self::NONE };
    /// One exemplar.
    pub(crate) const EXEMPLAR: Self = Self { exemplars: 1, ..Self::NONE };
    /// One entry of metadata.
    pub(crate) const METADATA: Self = Self { metadata: 1, ..Self::NONE };
    /// Nothing.
    pub(crate) const NONE: Self = Self { samples: 0, histograms: 0, exemplars: 0, metadata: 0, points: 0 };

    /// So many data points.
    pub(crate) const fn points(points: u64) -> Self {
        Self { points, ..Self::NONE }
    }

    fn all(&self) -> u64 {
        self.samples + self.histograms + self.exemplars + self.metadata + self.points
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.samples += other.samples;
        self.histograms += other.histograms;
        self.exemplars += other.exemplars;
        self.metadata += other.metadata;
        self.points += other.points;
    }
}

/// What was left out of a message that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Left {
    /// So much of each.
    pub tally: Tally,
    /// Help texts that were cut.
    pub helps_cut: u64,
    causes: [u64; Cause::ALL.len()],
    told: Vec<String>,
}

impl Left {
    /// Whether all of the message was taken. A help text that was cut is told apart.
    pub fn is_empty(&self) -> bool {
        self.causes.iter().all(|&count| count == 0)
    }

    /// How many elements were left out for one cause. A series in which nothing was sent counts once.
    pub fn count(&self, cause: Cause) -> u64 {
        self.causes[cause as usize]
    }

    /// The first complaints in words, at most five, each with its place in the message.
    pub fn told(&self) -> &[String] {
        &self.told
    }

    /// Leaves something out. `say` puts in words what was wrong and where.
    #[cold]
    pub(crate) fn leave(&mut self, cause: Cause, what: Tally, say: impl FnOnce() -> String) {
        self.tally += what;
        self.causes[cause as usize] += what.all().max(1);
        if self.told.len() < TOLD {
            self.told.push(say());
        }
    }
}

/// For people: how much of what was left out, and the first reasons.
impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { samples, histograms, exemplars, metadata, points } = self.tally;
        let counts = [
            (samples, "samples"),
            (histograms, "histograms"),
            (exemplars, "exemplars"),
            (metadata, "entries of metadata"),
            (points, "data points"),
        ];
        let mut first = true;
        for (count, name) in counts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{}{count} {name}", if first { "" } else { ", " })?;
            first = false;
        }
        f.write_str(if first { "series without data were left out" } else { " left out" })?;
        for (at, complaint) in self.told.iter().enumerate() {
            write!(f, "{}{complaint}", if at == 0 { ": " } else { "; " })?;
        }
        let complaints = self.causes.iter().sum::<u64>();
        if complaints > self.told.len() as u64 && self.told.len() == TOLD {
            f.write_str("; and more")?;
        }
        Ok(())
    }
}

/// Nothing of a message was taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is no such message.
    #[error("the message is malformed at byte {offset}: {what}")]
    Malformed {
        /// Where, in bytes from the beginning of the unpacked message.
        offset: usize,
        /// What was found.
        what: &'static str,
    },
    /// It is not packed as it says.
    #[error("the body is not snappy in its block format: {0}")]
    Packing(String),
    /// More than one message may hold.
    #[error("the message has more than {limit} {what}; send less at a time")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// So many are taken.
        limit: usize,
    },
}
