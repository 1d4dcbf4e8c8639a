//! Who is told what needs a person.

use std::path::Path;

use gateway::{Receiver, WebhookError};
use provider::secret::{self, SecretError};
use serde::{Deserialize, Serialize};

use super::peer::{self, Authorization, BasicAuth, Tables, TlsConfig};

/// Who is told what needs a person; nobody without `webhook_url`, which the other keys need.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Notify {
    /// Where a JSON notice is posted, `https://…` or `http://…`. Such addresses are often secret: `${env:NAME}` and
    /// `${file:PATH}` stand for a variable of the environment and the text of a file, as a whole or as a part.
    pub webhook_url: Option<String>,
    /// Whom to believe at `https://`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<TlsConfig>,
    /// A token that is sent along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// A name and a password that are sent along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
}

impl Notify {
    /// The same as the sender takes it, with the address itself, to be used and forgotten; `None` where nobody is told.
    ///
    /// # Errors
    ///
    /// Where the secret it refers to is not to be had.
    pub fn receiver(&self) -> Result<Option<Receiver>, SecretError> {
        let url = self.webhook_url.as_deref().map(secret::reveal).transpose()?;
        Ok(url.map(|url| Receiver { url, peer: self.tables().peer() }))
    }

    /// Whether what is used may have changed although what is written did not.
    pub(crate) fn refers(&self) -> bool {
        self.webhook_url.as_deref().is_some_and(secret::refers) || self.tls_config.is_some()
    }

    /// Files are named relative to the configuration.
    pub(super) fn relative_to(&mut self, file: &Path) {
        let dir = file.parent().unwrap_or(Path::new(""));
        self.webhook_url = self.webhook_url.take().map(|url| secret::anchored(&url, dir));
        peer::anchor(dir, &mut self.tls_config, &mut self.authorization, &mut self.basic_auth);
    }

    pub(super) fn check(&self) -> Result<(), (String, String)> {
        self.tables().check()?;
        if let (None, Some(table)) = (&self.webhook_url, self.tables().first()) {
            let why =
                "is for the address in notify.webhook_url, and there is none; write that, or leave this out";
            return Err((format!("notify.{table}"), why.to_owned()));
        }
        match &self.webhook_url {
            Some(url) if !secret::refers(url) => {
                check(&Receiver { url: url.clone(), peer: self.tables().peer() })
            }
            _ => Ok(()),
        }
    }

    /// Whether what it refers to is to be had.
    pub(super) fn check_files(&self) -> Result<(), (String, String)> {
        let receiver = self.receiver().map_err(|error| (KEY.to_owned(), error.said()))?;
        receiver.as_ref().map_or(Ok(()), check)?;
        self.tables().check_files()
    }

    fn tables(&self) -> Tables<'_> {
        Tables {
            within: "notify",
            tls_config: self.tls_config.as_ref(),
            authorization: self.authorization.as_ref(),
            basic_auth: self.basic_auth.as_ref(),
        }
    }
}

const KEY: &str = "notify.webhook_url";

fn check(receiver: &Receiver) -> Result<(), (String, String)> {
    let why = match receiver.check() {
        Ok(()) => return Ok(()),
        Err(WebhookError::InTheClear(why)) => why.to_string(),
        Err(_) => "must be https://HOST[:PORT]/PATH or http://HOST[:PORT]/PATH".to_owned(),
    };
    Err((KEY.to_owned(), why))
}
