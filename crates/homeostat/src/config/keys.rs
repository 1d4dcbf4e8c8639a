//! When a change of each key takes effect. One table, for the file `homeostat config init` writes, for `homeostat reload`
//! and for the reference.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use toml::Value;

use super::Config;

/// When a change takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Takes {
    /// With `homeostat reload`, or SIGHUP.
    Live,
    /// With the next start.
    Restart,
    /// When a data directory is first used; later the switch that people set counts.
    FirstUse,
}

/// By the beginning of a key; the longest that fits counts.
const TABLE: &[(&str, Takes)] = &[
    ("gateway", Takes::Restart),
    ("gateway.requests_per_second", Takes::Live),
    ("gateway.anonymous_requests_per_second", Takes::Live),
    ("otlp", Takes::Restart),
    ("telemetry", Takes::Restart),
    ("metrics", Takes::Restart),
    // Which files there are is read at start; what is in them, with every reload.
    ("rules", Takes::Restart),
    ("alertmanager", Takes::Restart),
    ("slo", Takes::Restart),
    ("healing.auto_remediation", Takes::FirstUse),
    ("healing.dry_run", Takes::Live),
    ("healing.learning", Takes::Live),
    ("healing.witness", Takes::Restart),
    ("healing.scan_interval_seconds", Takes::Live),
    ("healing.health_check_interval_seconds", Takes::Live),
    ("notify", Takes::Live),
    ("retention", Takes::Live),
    ("thresholds", Takes::Live),
    ("proactive", Takes::Restart),
    ("policy", Takes::Live),
    ("log", Takes::Live),
];

/// When a change of `key`, such as `policy.limits.at_a_time`, takes effect.
pub fn takes(key: &str) -> Takes {
    let fits =
        |known: &str| key.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let known = TABLE.iter().filter(|(known, _)| fits(known)).max_by_key(|(known, _)| known.len());
    // A test holds the table against every key there is; the cautious answer for one it would miss.
    known.map_or(Takes::Restart, |(_, takes)| *takes)
}

impl Config {
    /// Every value by its key; what is not set is not there.
    pub(crate) fn values(&self) -> BTreeMap<String, Value> {
        let mut found = BTreeMap::new();
        if let Ok(Value::Table(table)) = Value::try_from(self) {
            flatten("", table, &mut found);
        }
        found
    }

    /// The value of a key that says what the loop may do and when, as it is written; no secret is among those.
    pub(crate) fn rule(&self, key: &str) -> Option<String> {
        let open =
            ["policy.", "healing.", "thresholds.", "retention."].iter().any(|part| key.starts_with(part));
        open.then(|| self.values().get(key).map(ToString::to_string)).flatten()
    }

    /// The keys that have another value in `other`.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let (ours, theirs) = (self.values(), other.values());
        let keys: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        keys.into_iter().filter(|key| ours.get(*key) != theirs.get(*key)).cloned().collect()
    }
}

fn flatten(above: &str, table: toml::Table, into: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        let key = if above.is_empty() { name } else { format!("{above}.{name}") };
        match value {
            Value::Table(table) => flatten(&key, table, into),
            value => drop(into.insert(key, value)),
        }
    }
}

/// A written configuration with a word behind every key: when a change takes effect.
pub(super) fn annotate(text: &str) -> String {
    let mut section = String::new();
    let mut out = String::new();
    for line in text.lines() {
        let header = line.strip_prefix('[').and_then(|line| line.strip_suffix(']'));
        if let Some(header) = header.filter(|header| !header.starts_with('[')) {
            section = header.to_owned();
        }
        out.push_str(line);
        // Lines within a value, such as those of a list, have no key.
        if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with([' ', '#'])) {
            let key = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
            out.push_str(match takes(&key) {
                Takes::Live => "  # live",
                Takes::Restart => "  # restart",
                Takes::FirstUse => "  # first use of a data directory",
            });
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_the_table_and_the_table_names_no_other() {
        let mut keys: Vec<String> = Config::default().values().into_keys().collect();
        keys.push("notify.webhook_url".to_owned());
        let fits = |key: &str, known: &str| key == known || key.starts_with(&format!("{known}."));
        for key in &keys {
            assert!(TABLE.iter().any(|(known, _)| fits(key, known)), "{key} is not in the table");
        }
        for (known, _) in TABLE {
            assert!(keys.iter().any(|key| fits(key, known)), "{known} is no key");
        }
    }

    #[test]
    fn each_key_that_is_written_out_says_when_it_takes_effect() {
        let text = Config::written_out();
        assert!(text.contains("port = 4000  # restart\n"), "{text}");
        assert!(text.contains("error_rate = 1.0  # live\n"), "{text}");
        assert!(text.contains("auto_remediation = true  # first use"), "{text}");
    }

    #[test]
    fn a_difference_is_named_by_its_key() {
        let mut other = Config::default();
        other.policy.limits.at_a_time += 1;
        other.notify.webhook_url = Some("http://relay".to_owned());
        let keys = ["notify.webhook_url", "policy.limits.at_a_time"].map(str::to_owned);
        assert_eq!(Config::default().differences(&other), keys);
        assert_eq!(Config::default().differences(&Config::default()), Vec::<String>::new());
    }
}
