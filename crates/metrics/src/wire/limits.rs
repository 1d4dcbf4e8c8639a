//! How much one request or page may hold.

use protowire::Fault;

use super::Unreadable;

/// Bounds on what a sender can make a decoder hold. What passes one is refused and counted, the label set or the whole
/// request; nothing is shortened but help texts, which are counted too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message after unpacking. A message that is larger is refused whole. Default 16 MiB: Prometheus sends
    /// 2,000 samples at a time, about 0.5 MiB; VictoriaMetrics' agents at most 8 MiB.
    pub message_bytes: usize,
    /// Series of one message. One that has more is refused whole. Default 200,000: as many as 16 MiB can hold of 80
    /// bytes each.
    pub series: usize,
    /// Samples of one message, floats and histograms together. One that has more is refused whole. Default 1,000,000.
    pub samples: usize,
    /// Exemplars of one message. One that has more is refused whole. Default 200,000.
    pub exemplars: usize,
    /// Entries of metadata of one message. One that has more is refused whole. Default 50,000.
    pub metadata: usize,
    /// Texts in the table of symbols of one message (remote-write 2). One that has more is refused whole. Default 500,000.
    pub symbols: usize,
    /// Labels of one series, its name included. A series with more is refused. Default 64: Kubernetes' busiest metrics
    /// have about 30.
    pub labels: usize,
    /// Bytes of the name of a label. A series with a longer one is refused. Default 256.
    pub name_bytes: usize,
    /// Bytes of the value of a label. A series with a longer one is refused. Default 4,096.
    pub value_bytes: usize,
    /// Buckets of one native histogram, and its spans. One with more is refused. Default 4,096: schema 8 has 256 for
    /// each power of two, and clients stop at 160.
    pub buckets: usize,
    /// Bytes of a help text. A longer one is cut. Default 4,096.
    pub help_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 16 << 20,
            series: 200_000,
            samples: 1_000_000,
            exemplars: 200_000,
            metadata: 50_000,
            symbols: 500_000,
            labels: 64,
            name_bytes: 256,
            value_bytes: 4096,
            buckets: 4096,
            help_bytes: 4096,
        }
    }
}

/// Characters the labels of an exemplar may have together, names and values (OpenMetrics 1.0, "Exemplars").
pub(crate) const EXEMPLAR_CHARACTERS: usize = 128;

/// What a message has had of what it may have.
#[derive(Debug, Default)]
pub(crate) struct Used {
    pub(crate) series: usize,
    pub(crate) samples: usize,
    pub(crate) exemplars: usize,
    pub(crate) metadata: usize,
}

impl Used {
    /// Ends the walk where a limit was passed.
    #[inline]
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), Halt> {
        let all = [
            ("series", self.series, limits.series),
            ("samples", self.samples, limits.samples),
            ("exemplars", self.exemplars, limits.exemplars),
            ("entries of metadata", self.metadata, limits.metadata),
        ];
        match all.into_iter().find(|(_, used, limit)| used > limit) {
            None => Ok(()),
            Some((what, _, limit)) => Err(Halt::TooMuch { what, limit }),
        }
    }
}

/// Why a walk ends before the message does.
#[derive(Debug)]
pub(crate) enum Halt {
    Fault(Fault),
    TooMuch { what: &'static str, limit: usize },
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Halt {
    /// The same, for whoever sent `message`.
    pub(crate) fn in_message(self, message: &[u8]) -> Unreadable {
        match self {
            Self::Fault(fault) => {
                Unreadable::Malformed { offset: fault.offset_in(message), what: fault.what }
            }
            Self::TooMuch { what, limit } => Unreadable::TooMuch { what, limit },
        }
    }
}
