//! What of the configuration concerns rules, and who is told of alerts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alerting::{Address, AddressError, Settings};
use outbound::Peer;
use serde::{Deserialize, Serialize};

use super::peer::{self, Authorization, BasicAuth, Tables, TlsConfig};

/// Recording and alerting rules in Prometheus' file format. They are read at start, and again on SIGHUP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Files, relative to this one; a `*` in the last part of a path stands for anything.
    pub files: Vec<PathBuf>,
    /// Seconds between two evaluations of a group that says none, 1 to 3600.
    pub evaluation_interval_seconds: u64,
    /// Labels that every alert gets which does not have them, and `$externalLabels` of templates.
    pub external_labels: BTreeMap<String, String>,
}

/// Alertmanagers that are told of alerts; none without `urls`, which the other keys need.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alertmanager {
    /// `https://HOST:PORT` or `http://HOST:PORT` of each (`ALERTMANAGER_URL`, several with commas between them).
    pub urls: Vec<String>,
    /// Whom to believe at `https://`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<TlsConfig>,
    /// A token that each of them is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// A name and a password that each of them is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { files: Vec::new(), evaluation_interval_seconds: 60, external_labels: BTreeMap::new() }
    }
}

impl Rules {
    /// The same as the crate that evaluates them takes it.
    pub fn settings(&self, external_url: String) -> Settings {
        Settings {
            files: self.files.clone(),
            interval: Duration::from_secs(self.evaluation_interval_seconds),
            external_labels: self.external_labels.clone(),
            external_url,
            ..Settings::default()
        }
    }

    /// Files of a configuration are named as seen from where that is.
    pub(super) fn relative_to(&mut self, configuration: &Path) {
        let Some(folder) = configuration.parent() else { return };
        for file in &mut self.files {
            *file = folder.join(&*file);
        }
    }

    pub(super) fn check(&self, series_are_kept: bool) -> Result<(), (String, String)> {
        let seconds = self.evaluation_interval_seconds;
        if !(1..=3600).contains(&seconds) {
            let why = format!("is {seconds}, must be 1 to 3600");
            return Err(("rules.evaluation_interval_seconds".to_owned(), why));
        }
        if !self.files.is_empty() && !series_are_kept {
            let why = "names rules, which need series; set metrics.enabled = true".to_owned();
            return Err(("rules.files".to_owned(), why));
        }
        Ok(())
    }
}

impl Alertmanager {
    /// Where they are.
    ///
    /// # Errors
    /// Where one is no address.
    pub fn addresses(&self) -> Result<Vec<Address>, AddressError> {
        self.urls.iter().map(|url| Address::parse(url)).collect()
    }

    /// Whom to believe, and what we prove ourselves by, for all of them.
    pub fn peer(&self) -> Peer {
        self.tables().peer()
    }

    fn tables(&self) -> Tables<'_> {
        Tables {
            within: "alertmanager",
            tls_config: self.tls_config.as_ref(),
            authorization: self.authorization.as_ref(),
            basic_auth: self.basic_auth.as_ref(),
        }
    }

    /// Files are named relative to the configuration.
    pub(super) fn relative_to(&mut self, file: &Path) {
        let dir = file.parent().unwrap_or(Path::new(""));
        peer::anchor(dir, &mut self.tls_config, &mut self.authorization, &mut self.basic_auth);
    }

    /// Whether what it refers to is to be had.
    pub(super) fn check_files(&self) -> Result<(), (String, String)> {
        self.tables().check_files()
    }

    pub(super) fn apply(&mut self, variable: Option<String>) -> Result<(), (String, &'static str)> {
        let Some(value) = variable else { return Ok(()) };
        let urls: Vec<String> =
            value.split(',').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned).collect();
        if urls.iter().any(|url| Address::parse(url).is_err()) {
            return Err((value, "https://HOST:PORT or http://HOST:PORT, several with commas between them"));
        }
        self.urls = urls;
        Ok(())
    }

    pub(super) fn check(&self) -> Result<(), (String, String)> {
        self.tables().check()?;
        if let (true, Some(table)) = (self.urls.is_empty(), self.tables().first()) {
            let why = "is for the addresses in alertmanager.urls, and there are none; write those, or leave this out";
            return Err((format!("alertmanager.{table}"), why.to_owned()));
        }
        let peer = self.peer();
        let all = self.addresses().and_then(|all| all.iter().try_for_each(|one| one.may_be_asked(&peer)));
        all.map_err(|error| ("alertmanager.urls".to_owned(), error.to_string()))
    }
}
