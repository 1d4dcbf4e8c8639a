//! Names of environment variables that users of other tools already have (specification §9).
//!
//! In: which are set. Out: which key of the configuration one of them counts for, and what to write in place of those that
//! stand for something Homeostat does not do yet: they are said, not passed over.

/// Which key a variable sets whose value has a range.
const FIELDS: [(&str, &str); 3] = [
    ("SCAN_INTERVAL_SECONDS", "healing.scan_interval_seconds"),
    ("HEALTH_CHECK_INTERVAL", "healing.health_check_interval_seconds"),
    ("MAX_REMEDIATIONS_PER_HOUR", "policy.limits.in_all"),
];

/// What is not followed, and what there is instead.
const UNFOLLOWED: [(&str, &str); 5] = [
    ("KUBERNETES_URL", "only plain processes of this machine are kept"),
    (
        "PROMETHEUS_URL",
        "no other Prometheus is asked; scrape the targets by [[metrics.scrape]], or have it send by remote-write",
    ),
    ("OTEL_COLLECTOR_ENDPOINT", "nothing is passed on to a collector; have it send to the ports of [otlp]"),
    ("PAGERDUTY_API_KEY", "nobody is paged; notices go to notify.webhook_url, alerts to alertmanager.urls"),
    ("SLACK_WEBHOOK_URL", "no notice is written in Slack's form; notices go to notify.webhook_url as JSON"),
];

/// The variable that says what this key is.
pub(super) fn variable_of(field: &str, variable: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    FIELDS.iter().find(|(name, known)| *known == field && variable(name).is_some()).map(|(name, _)| *name)
}

/// A sentence for each variable that is set and not followed; values may be secrets and are not in it.
pub fn unfollowed(is_set: impl Fn(&str) -> bool) -> Vec<String> {
    let set = UNFOLLOWED.iter().filter(|(name, _)| is_set(name));
    set.map(|(name, instead)| format!("{name} is set and not followed: {instead}")).collect()
}
