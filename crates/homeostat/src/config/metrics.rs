//! What of the configuration concerns series of numbers: which are taken, from where, and how long they are kept.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain::Clock;
use metrics::scrape::Target;
use metrics::wire::text::HonorLabels;
use metrics::{Limits, Retention};
use provider::clock::SystemClock;
use serde::{Deserialize, Serialize};

use super::DAY_SECONDS;
use super::peer::{self, Authorization, BasicAuth, Tables, TlsConfig};

/// Series of numbers. They come as OTLP and as Prometheus' remote-write at the ports of `[otlp]`, from what is scraped, and
/// from the fleet itself. Samples are kept as they came, then one of each minute, then one of each hour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Whether any are kept.
    pub enabled: bool,
    /// Seconds between two samples of the fleet's own series (processor, memory, requests), 1 to 30.
    pub fleet_seconds: u64,
    /// Seconds between two samples of Homeostat's own metrics, and of services that say in their Infrastructure where
    /// theirs are, 1 to 3600.
    pub scrape_seconds: u64,
    /// Days that samples are kept as they came, 1 to 3650.
    pub raw_days: u64,
    /// MiB of these on disk, 64 to 16777216; beyond, the oldest go.
    pub raw_mib: u64,
    /// Days that one sample of each minute is kept, 1 to 3650.
    pub minute_days: u64,
    /// MiB of these on disk, 64 to 16777216.
    pub minute_mib: u64,
    /// Days that one sample of each hour is kept, 1 to 36500.
    pub hour_days: u64,
    /// MiB of these on disk, 64 to 16777216.
    pub hour_mib: u64,
    /// Active series of one source, 1 to 100000000; more are refused and counted.
    pub source_series_max: u64,
    /// Active series of all sources, 1 to 100000000.
    pub series_max: u64,
    /// What is scraped beside the fleet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scrape: Vec<Scrape>,
}

/// A page in Prometheus' text format or OpenMetrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scrape {
    /// The label `job` of its series.
    pub job: String,
    /// `http://HOST:PORT/PATH`, or `https://…`.
    pub url: String,
    /// Whom to believe at `https://`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<TlsConfig>,
    /// A token that it asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// A name and a password that it asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// How often it is asked, in seconds, 1 to 3600.
    #[serde(default = "scrape_interval")]
    pub interval_seconds: u64,
    /// How long an answer may take, in seconds, at most the interval.
    #[serde(default = "scrape_timeout")]
    pub timeout_seconds: u64,
    /// Further labels of its series.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Whether labels it exposes count before `job`, `instance` and these.
    #[serde(default)]
    pub honor_labels: bool,
    /// Most samples of a page; one with more fails.
    #[serde(default = "scrape_samples")]
    pub samples_max: usize,
}

fn scrape_interval() -> u64 {
    15
}

fn scrape_timeout() -> u64 {
    10
}

fn scrape_samples() -> usize {
    Target::new("", "").samples_max
}

impl Scrape {
    fn tables(&self) -> Tables<'_> {
        Tables {
            within: "metrics.scrape",
            tls_config: self.tls_config.as_ref(),
            authorization: self.authorization.as_ref(),
            basic_auth: self.basic_auth.as_ref(),
        }
    }

    /// The same as the scraper takes it.
    fn target(&self) -> Target {
        Target {
            interval: Duration::from_secs(self.interval_seconds),
            timeout: Duration::from_secs(self.timeout_seconds.min(self.interval_seconds)),
            labels: self.labels.clone(),
            honor_labels: if self.honor_labels { HonorLabels::Yes } else { HonorLabels::No },
            samples_max: self.samples_max,
            peer: self.tables().peer(),
            ..Target::new(&self.job, &self.url)
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let store = metrics::Config::new("", Arc::new(SystemClock));
        let (days, mib) =
            (|kept: Retention| kept.age.as_secs() / DAY_SECONDS, |kept: Retention| kept.bytes >> 20);
        Self {
            enabled: true,
            fleet_seconds: 1,
            scrape_seconds: 15,
            raw_days: days(store.raw),
            raw_mib: mib(store.raw),
            minute_days: days(store.minute),
            minute_mib: mib(store.minute),
            hour_days: days(store.hour),
            hour_mib: mib(store.hour),
            source_series_max: store.limits.source_series_max,
            series_max: store.limits.series_max,
            scrape: Vec::new(),
        }
    }
}

impl Metrics {
    /// The same as the store in `dir` takes it.
    pub fn store(&self, dir: &Path, clock: Arc<dyn Clock>) -> metrics::Config {
        let kept = |days: u64, mib: u64| Retention {
            age: Duration::from_secs(days * DAY_SECONDS),
            bytes: mib << 20,
        };
        let limits = Limits {
            source_series_max: self.source_series_max,
            series_max: self.series_max,
            ..Limits::default()
        };
        metrics::Config {
            limits,
            raw: kept(self.raw_days, self.raw_mib),
            minute: kept(self.minute_days, self.minute_mib),
            hour: kept(self.hour_days, self.hour_mib),
            ..metrics::Config::new(dir, clock)
        }
    }

    /// What is scraped beside the fleet.
    pub fn targets(&self) -> Vec<Target> {
        self.scrape.iter().map(Scrape::target).collect()
    }

    /// Files are named relative to the configuration.
    pub(super) fn relative_to(&mut self, file: &Path) {
        let dir = file.parent().unwrap_or(Path::new(""));
        for Scrape { tls_config, authorization, basic_auth, .. } in &mut self.scrape {
            peer::anchor(dir, tls_config, authorization, basic_auth);
        }
    }

    /// Whether what it refers to is to be had.
    pub(super) fn check_files(&self) -> Result<(), (String, String)> {
        self.each_scraped(|scrape| scrape.tables().check_files())
    }

    pub(super) fn check(&self) -> Result<(), (String, String)> {
        const SERIES: u64 = 100_000_000;
        for (field, value, low, high) in [
            ("fleet_seconds", self.fleet_seconds, 1, 30),
            ("scrape_seconds", self.scrape_seconds, 1, 3600),
            ("raw_days", self.raw_days, 1, 3650),
            ("raw_mib", self.raw_mib, 64, 16 << 20),
            ("minute_days", self.minute_days, 1, 3650),
            ("minute_mib", self.minute_mib, 64, 16 << 20),
            ("hour_days", self.hour_days, 1, 36_500),
            ("hour_mib", self.hour_mib, 64, 16 << 20),
            ("source_series_max", self.source_series_max, 1, SERIES),
            ("series_max", self.series_max, 1, SERIES),
        ] {
            if !(low..=high).contains(&value) {
                return Err((format!("metrics.{field}"), format!("is {value}, must be {low} to {high}")));
            }
        }
        self.each_scraped(|scrape| {
            if !(1..=3600).contains(&scrape.interval_seconds) {
                let why = format!("is {}, must be 1 to 3600", scrape.interval_seconds);
                return Err(("metrics.scrape.interval_seconds".to_owned(), why));
            }
            scrape.tables().check()?;
            scrape.target().check().map_err(|error| ("metrics.scrape.url".to_owned(), error.to_string()))
        })
    }

    /// Looks at one after another; what is wrong names which of them it is.
    fn each_scraped(
        &self,
        look: impl Fn(&Scrape) -> Result<(), (String, String)>,
    ) -> Result<(), (String, String)> {
        for (index, scrape) in self.scrape.iter().enumerate() {
            look(scrape).map_err(|(field, why)| {
                let field = field.replacen("metrics.scrape", &format!("metrics.scrape[{index}]"), 1);
                (field, format!("of the job {:?} {why}", scrape.job))
            })?;
        }
        Ok(())
    }
}
