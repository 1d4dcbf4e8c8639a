//! Which keys may refer to a secret by `${env:NAME}` or `${file:PATH}`: those whose value is one. Anywhere else a reference
//! would be taken for the value itself, and is refused.

use provider::secret;

use super::written::Written;

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
pub(super) fn check(written: &Written<'_>) -> Result<(), (String, String)> {
    let not_followed = written
        .texts()
        .into_iter()
        .find(|text| secret::refers(text.value) && !FOLLOWED.contains(&text.key.as_str()));
    match not_followed {
        Some(text) => {
            let why = format!("refers to a secret, which is followed in {} alone", FOLLOWED.join(", "));
            Err((text.field, why))
        }
        None => Ok(()),
    }
}
