//! The command line's side of the API: finds the running control plane of a data directory, and speaks
//! HTTP with it.
//!
//! In: a data directory. Out: JSON values, or a sentence for people. The command line never goes around the
//! API, so that what it asks for passes the same guard as everything else.

mod advice;
#[cfg(test)]
pub(crate) mod fixture;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway::{Listed, NOTHING_AT};
use serde::de::DeserializeOwned;

/// No answer is longer than this, in bytes: a trace of 100,000 spans has about 100 MB as JSON.
const ANSWER_MAX: u64 = 256 << 20;

/// Neither an address nor a token is longer, in bytes.
const FOUND_BYTES_MAX: u64 = 4 << 10;

/// The version of this program.
const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where the running control plane of a data directory says where programs of this machine find it: plain HTTP on loopback,
/// also where it speaks TLS to others.
pub fn address_file(dir: &Path) -> PathBuf {
    dir.join("address")
}

/// Where it says where people find its page; absent where that is the address for programs.
pub(crate) fn page_file(dir: &Path) -> PathBuf {
    dir.join("page-address")
}

/// Where it says at which address services send their telemetry over HTTP; absent where it takes none.
pub fn endpoint_file(dir: &Path) -> PathBuf {
    dir.join("otlp-endpoint")
}

/// Where the token that every write needs is kept, readable by its owner alone.
pub fn token_file(dir: &Path) -> PathBuf {
    dir.join("token")
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing runs there.
    #[error("no control plane runs in {}; start one with `homeostat up FILE` or `homeostat serve`", dir.display())]
    NotRunning {
        /// The data directory.
        dir: PathBuf,
    },
    /// It does not answer.
    #[error("the control plane at {address} does not answer")]
    Unreachable {
        /// Where it should listen.
        address: String,
        /// What happened.
        #[source]
        source: Box<ureq::Error>,
    },
    /// It answered with a problem.
    #[error("{}", advice::said(code, detail, *listed))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The stable code of the problem.
        code: String,
        /// What was wrong and what to do, as its API says it.
        detail: String,
        /// The part of the request at fault.
        field: Option<String>,
        /// Where what there is is listed, where something is not there.
        listed: Option<Listed>,
    },
    /// It does not know what is asked for, or says it in another way: it is of another version.
    #[error("{}", advice::of_another_version(address, server, path, dir.as_deref()))]
    OtherVersion {
        /// Where it listens.
        address: String,
        /// What was asked.
        path: String,
        /// The version it says it is.
        server: String,
        /// The data directory it runs on, where it is on this machine.
        dir: Option<PathBuf>,
    },
    /// A file of the data directory is somebody else's.
    #[error(
        "cannot read {}; run this as who runs the control plane, or name it with --server and a token of your own", path.display()
    )]
    Closed {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It answered something else.
    #[error("what {address} answers to {path} cannot be read: {why}; is it a homeostat?")]
    Unreadable {
        /// Where it listens.
        address: String,
        /// What was asked.
        path: String,
        /// What is wrong with the answer.
        why: String,
    },
}

impl ClientError {
    /// The same, with the option before it by which the field at fault was said; `options` has a field with its option each.
    pub(crate) fn by_option(mut self, options: &[(&str, &str)]) -> Self {
        if let Self::Refused { detail, field: Some(field), .. } = &mut self
            && let Some((_, option)) = options.iter().find(|(name, _)| name == field)
        {
            *detail = format!("{option}: {detail}");
        }
        self
    }
}

/// What stands in a small file of a data directory.
fn found(dir: &Path, path: PathBuf) -> Result<String, ClientError> {
    match input::read_to_string(&path, FOUND_BYTES_MAX) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(source) if source.kind() == ErrorKind::PermissionDenied => {
            Err(ClientError::Closed { path, source })
        }
        Err(_) => Err(ClientError::NotRunning { dir: dir.to_owned() }),
    }
}

/// Speaks with one control plane.
pub struct Client {
    address: String,
    /// Where people find it, where that is elsewhere.
    page: Option<String>,
    token: String,
    /// The data directory it was found by.
    dir: Option<PathBuf>,
    agent: ureq::Agent,
}

impl Client {
    /// Finds the control plane of `dir`.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotRunning`] where none has written its address, [`ClientError::Closed`] where that is not for us.
    pub fn find(dir: &Path) -> Result<Self, ClientError> {
        Self::found(dir, found(dir, token_file(dir))?)
    }

    /// The same for what everybody may ask: without the token where that is not for us.
    pub(crate) fn find_for_anybody(dir: &Path) -> Result<Self, ClientError> {
        Self::found(dir, found(dir, token_file(dir)).unwrap_or_default())
    }

    fn found(dir: &Path, token: String) -> Result<Self, ClientError> {
        let address = found(dir, address_file(dir))?;
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(60)))
            .http_status_as_error(false)
            // It is on this machine, and the token is not for a proxy.
            .proxy(None)
            .build()
            .new_agent();
        // Behind the address, which is written last.
        let page = found(dir, page_file(dir)).ok();
        let client = Self { address, page, token, dir: Some(dir.to_owned()), agent };
        match client.get::<serde_json::Value>("/health") {
            Err(ClientError::Unreachable { .. }) => Err(ClientError::NotRunning { dir: dir.to_owned() }),
            _ => Ok(client),
        }
    }

    /// Speaks with a control plane elsewhere, over an agent that trusts whom it should.
    pub(crate) fn at(address: String, token: String, agent: ureq::Agent) -> Self {
        Self { address, page: None, token, dir: None, agent }
    }

    /// Where people find the page, as `https://…` where the control plane speaks TLS.
    pub fn shown_at(&self) -> &str {
        self.page.as_deref().unwrap_or(&self.address)
    }

    /// Where the control plane listens, as `http://…`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Reads; with the token, since reading may need one too.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.answer(path, self.asked(path))
    }

    /// Reads a page of a list; with the path of the next one, where there is one.
    pub fn page(&self, path: &str) -> Result<(Vec<serde_json::Value>, Option<String>), ClientError> {
        let sent = self.asked(path);
        let link = sent.as_ref().ok().and_then(|response| response.headers().get("link"));
        let next = link.and_then(|link| next_page(link.to_str().ok()?));
        Ok((self.answer(path, sent)?, next))
    }

    fn asked(&self, path: &str) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let mut request = self.agent.get(format!("{}{path}", self.address));
        if !self.token.is_empty() {
            request = request.header("Authorization", format!("Bearer {}", self.token));
        }
        request.call()
    }

    /// Reads what is no JSON.
    pub fn text(&self, path: &str) -> Result<String, ClientError> {
        let unreachable =
            |source| ClientError::Unreachable { address: self.address.clone(), source: Box::new(source) };
        let mut response = self.agent.get(format!("{}{path}", self.address)).call().map_err(unreachable)?;
        response.body_mut().with_config().limit(ANSWER_MAX).read_to_string().map_err(unreachable)
    }

    /// Changes something; needs the token, which the data directory holds.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &serde_json::Value) -> Result<T, ClientError> {
        let sent = self
            .agent
            .post(format!("{}{path}", self.address))
            .header("Authorization", format!("Bearer {}", self.token))
            .send_json(body);
        self.answer(path, sent)
    }

    /// Changes part of something.
    pub fn patch<T: DeserializeOwned>(&self, path: &str, body: &serde_json::Value) -> Result<T, ClientError> {
        let sent = self
            .agent
            .patch(format!("{}{path}", self.address))
            .header("Authorization", format!("Bearer {}", self.token))
            .send_json(body);
        self.answer(path, sent)
    }

    /// Sends what proves itself: signing in, which needs no token and must not carry one that is over.
    pub(crate) fn post_unproven<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<T, ClientError> {
        let sent = self.agent.post(format!("{}{path}", self.address)).send_json(body);
        self.answer(path, sent)
    }

    /// Takes something back.
    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let sent = self
            .agent
            .delete(format!("{}{path}", self.address))
            .header("Authorization", format!("Bearer {}", self.token))
            .call();
        self.answer(path, sent)
    }

    /// The version that the server says it is; `None` where it says none.
    fn version(&self) -> Option<String> {
        // One that has only started says it with a failure.
        let mut response = self.agent.get(format!("{}/health", self.address)).call().ok()?;
        let text = response.body_mut().with_config().limit(ANSWER_MAX).read_to_string().ok()?;
        let health: serde_json::Value = serde_json::from_str(&text).ok()?;
        health["version"].as_str().map(str::to_owned)
    }

    fn other_version(&self, path: &str, server: String) -> ClientError {
        ClientError::OtherVersion {
            address: self.address.clone(),
            path: path.split('?').next().unwrap_or(path).to_owned(),
            server,
            dir: self.dir.clone(),
        }
    }

    fn answer<T: DeserializeOwned>(
        &self,
        path: &str,
        sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, ClientError> {
        let unreachable =
            |source| ClientError::Unreachable { address: self.address.clone(), source: Box::new(source) };
        let mut response = sent.map_err(unreachable)?;
        let status = response.status().as_u16();
        let text =
            response.body_mut().with_config().limit(ANSWER_MAX).read_to_string().map_err(unreachable)?;
        let unlike = |why: &dyn std::fmt::Display| ClientError::Unreadable {
            address: self.address.clone(),
            path: path.to_owned(),
            why: format!("status {status}, {why}"),
        };
        let unreadable = |why: serde_json::Error| unlike(&why);
        if (200..300).contains(&status) {
            let text = if text.trim().is_empty() { "null" } else { &text };
            return serde_json::from_str(text).map_err(|why| match self.version() {
                Some(server) if server != OWN_VERSION => self.other_version(path, server),
                _ => unreadable(why),
            });
        }
        let problem: serde_json::Value = serde_json::from_str(&text).map_err(unreadable)?;
        let given = |name: &str| problem[name].as_str().map(str::to_owned);
        let (Some(code), Some(detail)) = (given("code"), given("detail")) else {
            return Err(unlike(&"without a problem document"));
        };
        // Nobody types addresses here: what this program asks for, a server of its version has.
        let is_unknown = (code == "not_found" && detail.starts_with(NOTHING_AT)) || code == "wrong_method";
        if is_unknown && let Some(server) = self.version() {
            return Err(self.other_version(path, server));
        }
        Err(ClientError::Refused {
            status,
            code,
            detail,
            field: given("field"),
            listed: problem["listed_at"].as_str().and_then(Listed::at),
        })
    }
}

/// The path of the next page, as a `Link` header of a control plane has it.
fn next_page(link: &str) -> Option<String> {
    let path = link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"")?;
    path.starts_with('/').then(|| path.to_owned())
}
