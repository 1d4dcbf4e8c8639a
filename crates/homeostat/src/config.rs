//! The configuration: one TOML file, environment variables on top, defaults below.
//!
//! In: a path and the environment. Out: a checked [`Config`]. A key nobody knows, or a value out of range,
//! is named with its file and line, and the process does not start. Each crate owns its part.

use std::path::{Path, PathBuf};
use std::time::Duration;

use decide::detect::Thresholds;
use decide::plan::Policy;
use decide::plan::policy::Ladder;
use domain::units::show_duration;
use serde::{Deserialize, Serialize};
use store::Retention;
use written::{Written, line_of};

mod empty;
mod environment;
mod keys;
mod listening;
mod log;
mod metrics;
mod notify;
mod oidc;
mod peer;
mod proactive;
mod rules;
mod secrets;
mod slo;
mod telemetry;
mod written;

pub use environment::unfollowed;
pub use keys::{Takes, takes};
pub use listening::{Gateway, Tls};
pub use log::Log;
pub use metrics::{Metrics, Scrape};
pub use notify::Notify;
pub use oidc::Oidc;
pub use peer::{Authorization, BasicAuth, TlsConfig};
pub use proactive::Proactive;
pub use rules::{Alertmanager, Rules};
pub use slo::{Slo, SloError, read as read_objectives};
pub use telemetry::{Objects, Otlp, Telemetry};

const DAY_SECONDS: u64 = 86_400;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The web page and the API.
    pub gateway: Gateway,
    /// The certificate of what listens.
    pub tls: Tls,
    /// By whom people may sign in, beside their passwords.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc: Option<Oidc>,
    /// Where spans and logs come in.
    pub otlp: Otlp,
    /// How long spans and logs are kept, and which.
    pub telemetry: Telemetry,
    /// Series of numbers: which are taken, and how long they are kept.
    pub metrics: Metrics,
    /// Recording and alerting rules.
    pub rules: Rules,
    /// Who is told of alerts.
    pub alertmanager: Alertmanager,
    /// Service level objectives.
    pub slo: Slo,
    /// The loop.
    pub healing: Healing,
    /// Who is told what needs a person.
    pub notify: Notify,
    /// How long our own records are kept.
    pub retention: Records,
    /// What the server says of itself.
    pub log: Log,
    /// When something counts as wrong.
    pub thresholds: Thresholds,
    /// Whether issues are raised before they come to pass.
    pub proactive: Proactive,
    /// What may be repaired and disturbed, and how much of it.
    pub policy: Policy,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            gateway: Gateway::default(),
            tls: Tls::default(),
            oidc: None,
            otlp: Otlp::default(),
            telemetry: Telemetry::default(),
            metrics: Metrics::default(),
            rules: Rules::default(),
            alertmanager: Alertmanager::default(),
            slo: Slo::default(),
            healing: Healing::default(),
            notify: Notify::default(),
            retention: Records::default(),
            log: Log::default(),
            thresholds: Thresholds::default(),
            proactive: Proactive::default(),
            policy: Policy { ladder: Ladder::started_by_up(), ..Policy::default() },
        }
    }
}

/// The loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Healing {
    /// The master switch above the trust ladder, as it is when a data directory is first used
    /// (`AUTO_REMEDIATION_ENABLED`). Later the switch that people set counts.
    pub auto_remediation: bool,
    /// Plans are made and shown, never run (`DRY_RUN_MODE`).
    pub dry_run: bool,
    /// Whether outcomes change success rates (`LEARNING_MODE`).
    pub learning: bool,
    /// What detection and diagnosis are told: `spans`, what spans say beside probes and link proxies; `probes`, nothing
    /// of spans. Without `otlp.enabled` there are none to tell of.
    pub witness: Witness,
    /// Seconds between two full scans, 1 to 3600 (`SCAN_INTERVAL_SECONDS`).
    pub scan_interval_seconds: u64,
    /// Seconds between two stored health scores, 1 to 3600 (`HEALTH_CHECK_INTERVAL`).
    pub health_check_interval_seconds: u64,
}

impl Default for Healing {
    fn default() -> Self {
        Self {
            auto_remediation: true,
            dry_run: false,
            learning: true,
            witness: Witness::Spans,
            scan_interval_seconds: 30,
            health_check_interval_seconds: 60,
        }
    }
}

/// What the loop is told beside what probes and link proxies measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Witness {
    /// What spans say, as the second witness.
    Spans,
    /// Nothing of spans: probes and link proxies alone.
    Probes,
}

/// How long our own records are kept. What is open, waits or is owed is never removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Records {
    /// Days for issues with their diagnoses and plans with their journals and outcomes, after their end, and for
    /// experiments, after they were made; 1 to 3650, and no less than the longest window that repairs are counted over
    /// (`policy.limits`, and `policy.lifting.scale_back`).
    pub records_days: u64,
    /// Days for health scores, 1 to 3650.
    pub health_days: u64,
    /// Days for the audit trail, 1 to 36500; 0 for ever. Whole files of it are removed, once a signed checkpoint covers
    /// them, so that records are kept up to an eighth longer, at least a day; what is left verifies from there on.
    pub audit_days: u64,
}

impl Default for Records {
    fn default() -> Self {
        let Retention { records, health } = Retention::default();
        Self {
            records_days: records.as_secs() / DAY_SECONDS,
            health_days: health.as_secs() / DAY_SECONDS,
            audit_days: 0,
        }
    }
}

impl Records {
    /// The same as the store takes it.
    pub fn retention(&self) -> Retention {
        let days = |days: u64| Duration::from_secs(days.saturating_mul(DAY_SECONDS));
        Retention { records: days(self.records_days), health: days(self.health_days) }
    }
}

/// Why the process does not start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file is no configuration.
    #[error("{}:{line}: {why}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A value is out of range.
    #[error("{origin}: {field} {why}")]
    OutOfRange {
        /// The file, with the line where the field is written, or the environment.
        origin: String,
        /// Which field.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// An environment variable cannot be read.
    #[error("environment variable {name} is {value:?}; write {expected}")]
    Variable {
        /// Which one.
        name: &'static str,
        /// What it is.
        value: String,
        /// What is expected.
        expected: &'static str,
    },
}

/// The longest configuration, in bytes.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;

impl Config {
    /// Reads the file, if one is given, and the environment.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], with file and line, or the name of the variable.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_with(path, |name| std::env::var(name).ok())
    }

    fn load_with(
        path: Option<&Path>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let text = match path {
            Some(path) => input::read_to_string(path, FILE_BYTES_MAX)
                .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?,
            None => String::new(),
        };
        let config = Self::parse(path, &text, variable)?;
        config.check_secrets().map_err(|wrong| out_of_range(path, &text, wrong))?;
        Ok(config)
    }

    /// Reads the text of a file, which `path` names in errors. Secrets that it refers to are not looked for.
    pub(crate) fn parse(
        path: Option<&Path>,
        text: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        if let Some(path) = path {
            config = toml::from_str(text).map_err(|error| malformed(path, text, &error))?;
            config.rules.relative_to(path);
            config.tls.relative_to(path);
            config.notify.relative_to(path);
            config.metrics.relative_to(path);
            config.alertmanager.relative_to(path);
            config.slo.relative_to(path);
            config.telemetry.relative_to(path);
            if let Some(oidc) = &mut config.oidc {
                oidc.relative_to(path);
            }
        }
        // A ladder nobody wrote down is that of a fleet started here; the policy's own default is for fleets
        // that were found running.
        let written = Written::read(text);
        if !written.has("policy.ladder") {
            config.policy.ladder = Ladder::started_by_up();
        }
        config.apply_environment(&variable)?;
        let checked =
            secrets::check(&written).and_then(|()| config.check()).and_then(|()| empty::check(&written));
        checked.map_err(|(field, why)| match environment::variable_of(&field, &variable) {
            Some(name) => {
                ConfigError::OutOfRange { origin: format!("environment variable {name}"), field, why }
            }
            None => out_of_range(path, text, (field, why)),
        })?;
        Ok(config)
    }

    /// The names users of other tools already have (specification §9).
    fn apply_environment(&mut self, variable: impl Fn(&str) -> Option<String>) -> Result<(), ConfigError> {
        fn read<T: std::str::FromStr>(
            target: &mut T,
            name: &'static str,
            value: Option<String>,
            expected: &'static str,
        ) -> Result<(), ConfigError> {
            let Some(value) = value else { return Ok(()) };
            *target = value.trim().parse().map_err(|_| ConfigError::Variable { name, value, expected })?;
            Ok(())
        }
        const ALERTMANAGER: &str = "ALERTMANAGER_URL";
        self.alertmanager
            .apply(variable(ALERTMANAGER))
            .map_err(|(value, expected)| ConfigError::Variable { name: ALERTMANAGER, value, expected })?;
        const SWITCH: &str = "true or false";
        const NUMBER: &str = "a whole number";
        let healing = &mut self.healing;
        let switch = |target: &mut bool, name| read(target, name, variable(name), SWITCH);
        switch(&mut healing.auto_remediation, "AUTO_REMEDIATION_ENABLED")?;
        switch(&mut healing.dry_run, "DRY_RUN_MODE")?;
        switch(&mut healing.learning, "LEARNING_MODE")?;
        read(
            &mut healing.scan_interval_seconds,
            "SCAN_INTERVAL_SECONDS",
            variable("SCAN_INTERVAL_SECONDS"),
            NUMBER,
        )?;
        read(
            &mut healing.health_check_interval_seconds,
            "HEALTH_CHECK_INTERVAL",
            variable("HEALTH_CHECK_INTERVAL"),
            NUMBER,
        )?;
        read(
            &mut self.policy.limits.in_all,
            "MAX_REMEDIATIONS_PER_HOUR",
            variable("MAX_REMEDIATIONS_PER_HOUR"),
            NUMBER,
        )
    }

    fn check(&self) -> Result<(), (String, String)> {
        self.oidc.as_ref().map_or(Ok(()), Oidc::check)?;
        for (field, seconds) in [
            ("healing.scan_interval_seconds", self.healing.scan_interval_seconds),
            ("healing.health_check_interval_seconds", self.healing.health_check_interval_seconds),
        ] {
            if !(1..=3600).contains(&seconds) {
                return Err((field.to_owned(), format!("is {seconds}, must be 1 to 3600")));
            }
        }
        for (field, days) in [
            ("retention.records_days", self.retention.records_days),
            ("retention.health_days", self.retention.health_days),
        ] {
            if !(1..=3650).contains(&days) {
                return Err((field.to_owned(), format!("is {days}, must be 1 to 3650")));
            }
        }
        self.check_windows()?;
        if self.retention.audit_days > 36_500 {
            let why = format!("is {}, must be 0 to 36500", self.retention.audit_days);
            return Err(("retention.audit_days".to_owned(), why));
        }
        self.tls.check()?;
        self.gateway.check(&self.tls)?;
        self.otlp.check(&self.tls)?;
        self.telemetry.check()?;
        self.metrics.check()?;
        self.rules.check(self.metrics.enabled)?;
        self.alertmanager.check()?;
        self.proactive.check()?;
        self.notify.check()?;
        if let Some((field, why)) = self.thresholds.check().into_iter().next() {
            return Err((format!("thresholds.{field}"), why));
        }
        if let Some((field, why)) = self.policy.check().into_iter().next() {
            return Err((format!("policy.{field}"), why));
        }
        Ok(())
    }

    /// Whether records stay as long as they are counted over: what is removed lifts a limit.
    fn check_windows(&self) -> Result<(), (String, String)> {
        let Policy { limits, lifting, .. } = &self.policy;
        let windows = [
            ("policy.limits.rate_window", limits.rate_window),
            ("policy.limits.failure_window", limits.failure_window),
            ("policy.limits.repeat_window", limits.repeat_window),
            ("policy.limits.recurrence_window", limits.recurrence_window),
            // What is scaled back is remembered for as long as it may recur.
            ("policy.lifting.scale_back", lifting.scale_back.saturating_add(limits.recurrence_window)),
        ];
        let kept = self.retention.retention().records;
        let Some((key, window)) = windows.into_iter().max_by_key(|(_, window)| *window) else {
            return Ok(());
        };
        if window <= kept {
            return Ok(());
        }
        let why = format!(
            "is {}, must be at least {}: repairs are counted over {}, by {key}; keep records longer, or make that shorter",
            self.retention.records_days,
            window.as_secs().div_ceil(DAY_SECONDS),
            show_duration(window),
        );
        Err(("retention.records_days".to_owned(), why))
    }

    /// Whether every secret that is referred to is to be had, and every file of certificates to believe.
    fn check_secrets(&self) -> Result<(), (String, String)> {
        self.notify.check_files()?;
        self.metrics.check_files()?;
        self.alertmanager.check_files()?;
        self.oidc.as_ref().map_or(Ok(()), Oidc::check_secret)
    }

    /// The file that says every default, with what each part is for.
    pub fn written_out() -> String {
        let body = keys::annotate(&toml::to_string_pretty(&Self::default()).unwrap_or_default());
        format!(
            "# Homeostat's configuration, with every default. A key that is left out keeps its default.\n\
             # Durations are milliseconds, or text with a unit such as \"30s\"; shares are percent.\n\
             # Read at start: homeostat serve --config FILE, or HOMEOSTAT_CONFIG. `homeostat reload` and SIGHUP read it again:\n\
             # a key marked live takes effect then, one marked restart with the next start.\n\n{body}"
        )
    }
}

/// What no configuration can be read from, at its place and with its key where it has one.
fn malformed(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map(|span| span.start);
    let key = at.and_then(|at| Written::read(text).key_at(at)).map(|key| format!("{key}: "));
    ConfigError::Malformed {
        path: path.to_owned(),
        line: at.map_or(1, |at| line_of(text, at)),
        why: format!("{}{}", key.unwrap_or_default(), error.message()),
    }
}

/// What is wrong with a field, at the place where it is written.
fn out_of_range(path: Option<&Path>, text: &str, (field, why): (String, String)) -> ConfigError {
    let origin = match (path, Written::read(text).line(&field)) {
        (Some(path), Some(line)) => format!("{}:{line}", path.display()),
        (Some(path), None) => format!("{} and the environment", path.display()),
        (None, _) => "the environment".to_owned(),
    };
    ConfigError::OutOfRange { origin, field, why }
}

#[cfg(test)]
mod tests;
