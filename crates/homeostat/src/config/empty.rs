//! Texts with nothing in them: a path, an address or a name that is empty stands for nothing, and would be taken for the folder
//! of the configuration or for a name that nobody has.

use super::written::Written;

/// Tables whose values are anybody's texts.
const FREE: [&str; 2] = ["rules.external_labels.", "metrics.scrape.labels."];

/// Refuses the first text that is empty.
pub(super) fn check(written: &Written<'_>) -> Result<(), (String, String)> {
    let is_free = |key: &str| FREE.iter().any(|free| key.starts_with(free));
    let empty = written.texts().into_iter().find(|text| text.value.trim().is_empty() && !is_free(&text.key));
    match empty {
        Some(text) => Err((text.field, format!("is empty; write {}, or leave it out", expected(&text.key)))),
        None => Ok(()),
    }
}

/// What belongs there, by the last word of the key.
fn expected(key: &str) -> &'static str {
    match key.rsplit('.').next().unwrap_or(key) {
        "ca_file" | "credentials_file" | "client_secret_file" | "certificate" | "key" | "files" => {
            "the path of a file"
        }
        "webhook_url" | "url" | "urls" | "issuer" | "endpoint" => "an address, such as https://HOST:PORT",
        "credentials" | "password" | "client_secret" => {
            "a reference to the secret, ${env:NAME} or ${file:PATH}"
        }
        _ => "what it is to be",
    }
}
