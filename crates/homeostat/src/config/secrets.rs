//! Which keys may refer to a secret by `${env:NAME}` or `${file:PATH}`: those whose value is one. Anywhere else a reference
//! would be taken for the value itself, and is refused.

use provider::secret;
use toml::{Table, Value};

/// Keys that are followed, by their owners, when they are used. Their files are named relative to the configuration.
const FOLLOWED: [&str; 8] = [
    "notify.webhook_url",
    "notify.authorization.credentials",
    "notify.basic_auth.password",
    "metrics.scrape.authorization.credentials",
    "metrics.scrape.basic_auth.password",
    "alertmanager.authorization.credentials",
    "alertmanager.basic_auth.password",
    "oidc.client_secret",
];

/// Refuses references where nobody follows them.
pub(super) fn check(written: &Table) -> Result<(), (String, String)> {
    of_table("", written)
}

fn of_table(above: &str, table: &Table) -> Result<(), (String, String)> {
    table.iter().try_for_each(|(name, value)| {
        let key = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        of_value(&key, value)
    })
}

fn of_value(key: &str, value: &Value) -> Result<(), (String, String)> {
    match value {
        Value::Table(table) => of_table(key, table),
        Value::Array(values) => values.iter().try_for_each(|value| of_value(key, value)),
        Value::String(text) if secret::refers(text) && !FOLLOWED.contains(&key) => {
            let why = format!("refers to a secret, which is followed in {} alone", FOLLOWED.join(", "));
            Err((key.to_owned(), why))
        }
        _ => Ok(()),
    }
}
