//! What is scraped, and what is known of it.

use std::collections::BTreeMap;
use std::time::Duration;

use outbound::{InTheClear, Peer};

use crate::wire::text::HonorLabels;

/// Something with a page of metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The label `job` of its series.
    pub job: String,
    /// Where its page is: `http://HOST:PORT/PATH`, or `https://…`.
    pub url: String,
    /// Whose certificates are believed, and what we prove ourselves by.
    pub peer: Peer,
    /// How often it is asked, at least 100 ms.
    pub interval: Duration,
    /// How long an answer may take, not longer than the interval.
    pub timeout: Duration,
    /// Further labels of its series. `instance` is `HOST:PORT` of the address where it is not among them.
    pub labels: BTreeMap<String, String>,
    /// Whether labels it exposes count before these.
    pub honor_labels: HonorLabels,
    /// Samples of one page; one with more fails.
    pub samples_max: usize,
    /// Bytes of one page, unpacked; one with more fails.
    pub page_bytes_max: usize,
}

impl Target {
    /// A target asked every 15 s for at most 10 s, as Prometheus' usual configuration has it, with at most 100,000 samples
    /// in at most 16 MiB: a large kube-state-metrics has about as many.
    pub fn new(job: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            job: job.into(),
            url: url.into(),
            peer: Peer::default(),
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
            labels: BTreeMap::new(),
            honor_labels: HonorLabels::No,
            samples_max: 100_000,
            page_bytes_max: 16 << 20,
        }
    }

    /// Whether it can be scraped.
    ///
    /// # Errors
    /// [`TargetError`], with what is wrong with it.
    pub fn check(&self) -> Result<(), TargetError> {
        labels(self).map(drop)
    }
}

/// Why something cannot be a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The address is none, or of a kind that cannot be asked.
    #[error("cannot scrape {url:?}: {why}; write http://HOST:PORT/PATH or https://HOST:PORT/PATH")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Credentials are for TLS, or for this machine.
    #[error("cannot scrape {url:?}: it {why}")]
    InTheClear {
        /// Which target.
        url: String,
        /// What is wrong with it.
        why: InTheClear,
    },
    /// The times do not go together.
    #[error(
        "cannot scrape {url:?} every {interval:?} for at most {timeout:?}: the interval is at least 100 ms, and the timeout not longer than it"
    )]
    Times {
        /// Of which target.
        url: String,
        /// How often.
        interval: Duration,
        /// For how long.
        timeout: Duration,
    },
    /// A label that cannot be one.
    #[error(
        "the target {url:?} has the label {label:?}: names begin with a letter or an underscore, and `__name__` and `job` are given"
    )]
    Label {
        /// Of which target.
        url: String,
        /// Which one.
        label: String,
    },
    /// Two targets with the same labels would write the same series.
    #[error("the targets {url:?} and {other:?} have the same labels; give one of them another `instance`")]
    Twice {
        /// The later one.
        url: String,
        /// The earlier one.
        other: String,
    },
}

/// Whether a target answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// It was not asked yet.
    #[default]
    Unknown,
    /// Its last page was taken.
    Up,
    /// Its last page failed.
    Down,
}

/// A target with what came of asking it last.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetState {
    /// What is asked.
    pub target: Target,
    /// Its labels, `job` and `instance` among them.
    pub labels: BTreeMap<String, String>,
    /// Whether it answers.
    pub health: Health,
    /// Why its last page failed, or why something of it was not stored.
    pub error: Option<String>,
    /// When it was asked last, milliseconds since 1970.
    pub asked_ms: Option<i64>,
    /// How long the last page took, from asking to having it decoded.
    pub took: Duration,
    /// Samples of its last page.
    pub samples: usize,
}

/// The labels of a target, and whether it can be one.
pub(super) fn labels(target: &Target) -> Result<BTreeMap<String, String>, TargetError> {
    let Target { job, url, peer, interval, timeout, labels, .. } = target;
    let address = |why| TargetError::Address { url: url.clone(), why };
    let parsed: ureq::http::Uri = url.parse().map_err(|_| address("it is no address"))?;
    let usual_port = match parsed.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return Err(address("it does not begin with http:// or https://")),
    };
    let authority = parsed.authority().ok_or_else(|| address("it names no host"))?;
    if authority.host().is_empty() || authority.as_str().contains('@') {
        return Err(address("it names no host, or a user, who is named beside it"));
    }
    peer.may_ask(&parsed).map_err(|why| TargetError::InTheClear { url: url.clone(), why })?;
    if *interval < Duration::from_millis(100) || *timeout > *interval || timeout.is_zero() {
        return Err(TargetError::Times { url: url.clone(), interval: *interval, timeout: *timeout });
    }
    let usable = |name: &str| {
        let mut characters = name.chars();
        characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
            && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !matches!(name, "__name__" | "job")
    };
    if let Some(label) = labels.keys().find(|name| !usable(name)) {
        return Err(TargetError::Label { url: url.clone(), label: label.clone() });
    }
    let mut all = labels.clone();
    all.insert("job".to_owned(), job.clone());
    let port = authority.port_u16().unwrap_or(usual_port);
    all.entry("instance".to_owned()).or_insert_with(|| format!("{}:{port}", authority.host()));
    Ok(all)
}
