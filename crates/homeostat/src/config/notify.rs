//! Who is told what needs a person.

use std::path::Path;

use provider::secret::{self, SecretError};
use serde::{Deserialize, Serialize};

/// Who is told what needs a person.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Notify {
    /// Where a JSON notice is posted, `http://…`. Such addresses are often secret: `${env:NAME}` and `${file:PATH}` stand for a
    /// variable of the environment and the text of a file, as a whole or as a part.
    pub webhook_url: Option<String>,
}

impl Notify {
    /// The address itself, to be used and forgotten; `None` where nobody is told.
    ///
    /// # Errors
    ///
    /// Where the secret it refers to is not to be had.
    pub fn url(&self) -> Result<Option<String>, SecretError> {
        self.webhook_url.as_deref().map(secret::reveal).transpose()
    }

    /// Whether the address may have changed although what is written did not.
    pub(crate) fn refers(&self) -> bool {
        self.webhook_url.as_deref().is_some_and(secret::refers)
    }

    /// Files are named relative to the configuration.
    pub(super) fn relative_to(&mut self, file: &Path) {
        let dir = file.parent().unwrap_or(Path::new(""));
        self.webhook_url = self.webhook_url.take().map(|url| secret::anchored(&url, dir));
    }

    pub(super) fn check(&self) -> Result<(), (String, String)> {
        match &self.webhook_url {
            Some(url) if !secret::refers(url) => check_url(url),
            _ => Ok(()),
        }
    }

    /// Whether the secret it refers to is to be had.
    pub(super) fn check_secret(&self) -> Result<(), (String, String)> {
        let url = self.url().map_err(|error| (KEY.to_owned(), error.said()))?;
        url.as_deref().map_or(Ok(()), check_url)
    }
}

const KEY: &str = "notify.webhook_url";

fn check_url(url: &str) -> Result<(), (String, String)> {
    if url.starts_with("http://") {
        return Ok(());
    }
    Err((KEY.to_owned(), "must start with http://; https is listed under \"Not yet\"".to_owned()))
}
