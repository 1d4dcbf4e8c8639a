//! The configuration: one TOML file, environment variables on top, defaults below.
//!
//! In: a path and the environment. Out: a checked [`Config`]. A key nobody knows, or a value out of range,
//! is named with its file and line, and the process does not start. Each crate owns its part.

use std::path::{Path, PathBuf};
use std::time::Duration;

use decide::detect::Thresholds;
use decide::plan::Policy;
use decide::plan::policy::Ladder;
use serde::{Deserialize, Serialize};
use store::Retention;

mod telemetry;

pub use telemetry::{Objects, Otlp, Telemetry};

const DAY_SECONDS: u64 = 86_400;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The web page and the API.
    pub gateway: Gateway,
    /// Where spans and logs come in.
    pub otlp: Otlp,
    /// How long spans and logs are kept, and which.
    pub telemetry: Telemetry,
    /// The loop.
    pub healing: Healing,
    /// Who is told what needs a person.
    pub notify: Notify,
    /// How long our own records are kept.
    pub retention: Records,
    /// When something counts as wrong.
    pub thresholds: Thresholds,
    /// What may be repaired and disturbed, and how much of it.
    pub policy: Policy,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            gateway: Gateway::default(),
            otlp: Otlp::default(),
            telemetry: Telemetry::default(),
            healing: Healing::default(),
            notify: Notify::default(),
            retention: Records::default(),
            thresholds: Thresholds::default(),
            policy: Policy { ladder: Ladder::started_by_up(), ..Policy::default() },
        }
    }
}

/// The web page and the API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// 1 to 65535, on 127.0.0.1.
    pub port: u16,
}

impl Default for Gateway {
    fn default() -> Self {
        Self { port: 4000 }
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

/// Who is told what needs a person.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Notify {
    /// Where a JSON notice is posted, `http://…`.
    pub webhook_url: Option<String>,
}

/// How long our own records are kept. What is open, waits or is owed is never removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Records {
    /// Days for issues with their diagnoses and plans with their journals and outcomes, after their end, and for
    /// experiments, after they were made; 1 to 3650.
    pub records_days: u64,
    /// Days for health scores, 1 to 3650.
    pub health_days: u64,
}

impl Default for Records {
    fn default() -> Self {
        let Retention { records, health } = Retention::default();
        Self { records_days: records.as_secs() / DAY_SECONDS, health_days: health.as_secs() / DAY_SECONDS }
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
            Some(path) => std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?,
            None => String::new(),
        };
        Self::parse(path, &text, variable)
    }

    /// Reads the text of a file, which `path` names in errors.
    pub(crate) fn parse(
        path: Option<&Path>,
        text: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        if let Some(path) = path {
            config = toml::from_str(text).map_err(|error| ConfigError::Malformed {
                path: path.to_owned(),
                line: error.span().map_or(1, |span| line_of(text, span.start)),
                why: error.message().to_owned(),
            })?;
        }
        // A ladder nobody wrote down is that of a fleet started here; the policy's own default is for fleets
        // that were found running.
        let written: toml::Table = toml::from_str(text).unwrap_or_default();
        if written.get("policy").and_then(|policy| policy.get("ladder")).is_none() {
            config.policy.ladder = Ladder::started_by_up();
        }
        config.apply_environment(variable)?;
        config.check().map_err(|(field, why)| {
            let key = field.rsplit('.').next().unwrap_or(&field).to_owned();
            let origin = match (path, text.find(&key)) {
                (Some(path), Some(at)) => format!("{}:{}", path.display(), line_of(text, at)),
                (Some(path), None) => format!("{} and the environment", path.display()),
                (None, _) => "the environment".to_owned(),
            };
            ConfigError::OutOfRange { origin, field, why }
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
        if self.gateway.port == 0 {
            return Err(("gateway.port".to_owned(), "is 0, must be 1 to 65535".to_owned()));
        }
        self.otlp.check()?;
        self.telemetry.check()?;
        if self.notify.webhook_url.as_deref().is_some_and(|url| !url.starts_with("http://")) {
            let why = "must start with http://; https is listed under \"Not yet\"".to_owned();
            return Err(("notify.webhook_url".to_owned(), why));
        }
        if let Some((field, why)) = self.thresholds.check().into_iter().next() {
            return Err((format!("thresholds.{field}"), why));
        }
        if let Some((field, why)) = self.policy.check().into_iter().next() {
            return Err((format!("policy.{field}"), why));
        }
        Ok(())
    }

    /// The file that says every default, with what each part is for.
    pub fn written_out() -> String {
        let body = toml::to_string_pretty(&Self::default()).unwrap_or_default();
        format!(
            "# Homeostat's configuration, with every default. A key that is left out keeps its default.\n\
             # Durations are milliseconds, or text with a unit such as \"30s\"; shares are percent.\n\
             # Read at start: homeostat serve --config FILE, or HOMEOSTAT_CONFIG.\n\n{body}"
        )
    }
}

/// The line of a byte offset, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    text[..offset.min(text.len())].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop_assert, prop_oneof, proptest};
    use proptest::sample::Index;

    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config::load_with(Some(file.path()), |_| None)
            .map_err(|error| error.to_string().replace(&file.path().display().to_string(), "homeostat.toml"))
    }

    #[test]
    fn what_init_writes_reads_back_as_the_defaults() {
        assert_eq!(load(&Config::written_out()), Ok(Config::default()));
    }

    #[test]
    fn restarts_are_automatic_and_the_rest_asks_unless_a_ladder_is_written_down() {
        let ladder = load("[policy.limits]\nat_a_time = 3\n").unwrap().policy.ladder;
        assert_eq!(ladder, Ladder::started_by_up());
        let ladder = load("[policy.ladder]\ndefault = \"observe\"\n").unwrap().policy.ladder;
        assert_eq!(ladder.default, decide::plan::policy::Rung::Observe);
    }

    #[test]
    fn half_of_what_may_be_on_disk_may_wait_for_compaction_unless_it_is_written_down() {
        let of = |text: &str| load(text).unwrap().telemetry.store(Path::new("dir")).backlog_bytes_max;
        assert_eq!(of(""), 5 << 30);
        assert_eq!(of("[telemetry]\nretention_mib = 300\n"), 150 << 20);
        assert_eq!(of("[telemetry]\nbacklog_mib = 128\n"), 128 << 20);
        for (field, value, least) in [("backlog_mib", 127, 128), ("retention_mib", 255, 256)] {
            let error = load(&format!("[telemetry]\n{field} = {value}\n")).unwrap_err();
            let says =
                [format!("telemetry.{field}"), format!("must be {least} to"), "room for two".to_owned()];
            assert!(says.iter().all(|says| error.contains(says)), "{error}");
        }
    }

    /// Both programs are asked: one that can do it, and one that was built without.
    #[test]
    fn a_bucket_is_taken_or_refused_by_field_and_never_in_silence() {
        let of = |more: &str| load(&format!("[telemetry.objects]\nurl = \"s3://spans/a\"\n{more}"));
        let loaded = of("endpoint = \"http://localhost:9000\"\n");
        assert_eq!(loaded.is_ok(), ::telemetry::ObjectStorage::BUILT_IN);
        match loaded {
            Ok(config) => {
                let objects = config.telemetry.store(Path::new("dir")).objects.unwrap();
                assert_eq!(objects.after, Duration::from_secs(24 * 3600));
                assert_eq!(objects.endpoint.as_deref(), Some("http://localhost:9000"));
            }
            Err(error) => {
                assert!(error.starts_with("homeostat.toml:2: telemetry.objects.url "), "{error}");
                assert!(error.contains("--features object-storage"), "{error}");
            }
        }
        for (more, field, says) in [
            ("after_hours = 0\n", "after_hours", "must be 1 to 167"),
            ("after_hours = 168\n", "after_hours", "telemetry.retention_days"),
            ("endpoint = \"localhost:9000\"\n", "endpoint", "https://HOST:PORT"),
            ("region = \"Frankfurt am Main\"\n", "region", "must be a region"),
        ] {
            let error = of(more).unwrap_err();
            assert!(error.starts_with(&format!("homeostat.toml:3: telemetry.objects.{field} ")), "{error}");
            assert!(error.contains(says), "{error}");
        }
        let error = load("[telemetry.objects]\nurl = \"https://spans\"\n").unwrap_err();
        assert!(error.starts_with("homeostat.toml:2: telemetry.objects.url is \"https://spans\""), "{error}");
        assert!(load("[telemetry.objects]\nbucket = \"spans\"\n").unwrap_err().contains("bucket"));
    }

    #[test]
    fn records_are_kept_as_long_as_is_written_down() {
        assert_eq!(Config::default().retention.retention(), Retention::default());
        let kept = load("[retention]\nrecords_days = 7\n").unwrap().retention.retention();
        assert_eq!(kept, Retention { records: Duration::from_secs(7 * 86_400), ..Retention::default() });
    }

    #[test]
    fn a_key_nobody_knows_is_named_with_its_line() {
        let error = load("[healing]\ndry_run = true\nscan_intervall_seconds = 3\n").unwrap_err();
        assert!(
            error.starts_with("homeostat.toml:3: ") && error.contains("scan_intervall_seconds"),
            "{error}"
        );
    }

    #[test]
    fn a_value_out_of_range_is_named_with_its_line() {
        let error = load("[healing]\n\nscan_interval_seconds = 0\n").unwrap_err();
        assert_eq!(error, "homeostat.toml:3: healing.scan_interval_seconds is 0, must be 1 to 3600");
        let error = load("[retention]\nhealth_days = 0\n").unwrap_err();
        assert_eq!(error, "homeostat.toml:2: retention.health_days is 0, must be 1 to 3650");
    }

    #[test]
    fn limits_of_otlp_that_contradict_each_other_are_named() {
        let error = load("[otlp]\nmessage_bytes_max = 2000\nin_flight_bytes_max = 1000\n").unwrap_err();
        assert_eq!(error, "homeostat.toml:3: otlp.in_flight_bytes_max is 1000, must be 2000 to 1073741824");
        let receivers = load("[otlp]\nhttp_port = 14318\nbody_seconds = 5\n").unwrap().otlp.receivers();
        assert_eq!((receivers.http_port, receivers.limits.body_time), (14_318, Duration::from_secs(5)));
        assert_eq!(Otlp::default().receivers(), gateway::otlp::OtlpConfig::default());
    }

    #[test]
    fn a_threshold_that_is_never_or_always_exceeded_is_refused() {
        for value in ["nan", "inf", "0.0", "-5.0"] {
            let error = load(&format!("[thresholds]\nerror_rate = {value}\n")).unwrap_err();
            assert!(error.starts_with("homeostat.toml:2: thresholds.error_rate "), "{error}");
        }
    }

    #[test]
    fn the_environment_wins_over_the_file_and_is_named_when_it_is_wrong() {
        let set = |name: &str| (name == "DRY_RUN_MODE").then(|| "true".to_owned());
        assert!(Config::load_with(None, set).unwrap().healing.dry_run);
        let wrong = |name: &str| (name == "SCAN_INTERVAL_SECONDS").then(|| "often".to_owned());
        let error = Config::load_with(None, wrong).unwrap_err().to_string();
        assert!(error.contains("SCAN_INTERVAL_SECONDS") && error.contains("a whole number"), "{error}");
    }

    /// A key of the file as it is written out, with another value.
    fn changed() -> impl Strategy<Value = String> {
        (any::<Index>(), prop_oneof!["-?[0-9]{1,20}", "[0-9.e+-]{1,10}", "true|nan|inf|\"\"|\\[\\]", ".*"])
            .prop_map(|(at, value)| {
                let text = Config::written_out();
                let keys: Vec<usize> =
                    text.lines().enumerate().filter(|(_, l)| l.contains(" = ")).map(|(n, _)| n).collect();
                let wanted = keys[at.index(keys.len())];
                let change = |(n, line): (usize, &str)| match line.split_once(" = ") {
                    Some((key, _)) if n == wanted => format!("{} = {value}", key.trim_start_matches("# ")),
                    _ => line.to_owned(),
                };
                text.lines().enumerate().map(change).collect::<Vec<_>>().join("\n")
            })
    }

    proptest! {
        /// Whatever is in the file: it is read, or refused with file and line.
        #[test]
        fn no_file_panics(text in prop_oneof![any::<String>(), changed()]) {
            if let Err(error) = load(&text) {
                prop_assert!(error.contains("homeostat.toml"), "{error}");
            }
        }

        #[test]
        fn no_environment_panics(value in ".*") {
            let _ = Config::load_with(None, |_| Some(value.clone()));
        }
    }
}
