//! Alerts to Alertmanagers, by their API v2.
//!
//! In: alerts that fire or were resolved, from the runner, never blocking it. Out: requests, from one thread for each
//! Alertmanager: they know nothing of each other, and one that does not answer does not hold up the others. What waits is
//! bounded; of the same alert only the newest waits.

mod queue;
mod send;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use domain::{Clock, Time};
use outbound::{InTheClear, Peer, TrustError};
use promql::Labels;
use serde::Serialize;

use send::Endpoint;

use crate::{Say, counters};

/// Where an Alertmanager is: `https://HOST:PORT` or `http://HOST:PORT`, with a path where it is served under one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

/// An address that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is none.
    #[error("{0:?} is no address of an Alertmanager; write https://HOST:PORT or http://HOST:PORT")]
    Malformed(String),
    /// Credentials are for TLS, or for this machine.
    #[error("{0:?} {1}")]
    InTheClear(String, InTheClear),
}

impl Address {
    /// Reads one.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let malformed = || AddressError::Malformed(text.to_owned());
        let trimmed = text.trim().trim_end_matches('/');
        let (scheme, rest) = trimmed.split_once("://").ok_or_else(malformed)?;
        let host = rest.split('/').next().unwrap_or_default();
        // Who writes a password into an address finds it in logs.
        if host.is_empty()
            || host.contains(['@', ' '])
            || rest.contains(char::is_control)
            || rest.contains(['?', '#'])
        {
            return Err(malformed());
        }
        match scheme {
            "http" | "https" => Ok(Self(trimmed.to_owned())),
            _ => Err(malformed()),
        }
    }

    /// Whether what proves us may be sent there.
    ///
    /// # Errors
    /// Where others could read it.
    pub fn may_be_asked(&self, peer: &Peer) -> Result<(), AddressError> {
        let address = self.0.parse().map_err(|_| AddressError::Malformed(self.0.clone()))?;
        peer.may_ask(&address).map_err(|why| AddressError::InTheClear(self.0.clone(), why))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why none is told.
#[derive(Debug, thiserror::Error)]
pub enum AlertmanagerError {
    /// One of them cannot be.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Whom to believe is not to be had.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The machine gives no thread.
    #[error("cannot start a thread")]
    Thread(#[from] io::Error),
}

/// An alert as Alertmanager takes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Notification {
    pub(crate) labels: Labels,
    pub(crate) annotations: BTreeMap<String, String>,
    /// Milliseconds since 1970.
    pub(crate) starts_at_ms: i64,
    /// When it is over unless it is told again; where it was resolved, when.
    pub(crate) ends_at_ms: i64,
    pub(crate) generator_url: Arc<str>,
}

/// The same, written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    labels: BTreeMap<&'a str, &'a str>,
    annotations: &'a BTreeMap<String, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
}

impl Notification {
    fn written(&self) -> Written<'_> {
        let stamp = |ms: i64| Time { boot_us: 0, wall_us: ms.saturating_mul(1000) }.rfc3339();
        Written {
            labels: self.labels.iter().collect(),
            annotations: &self.annotations,
            starts_at: stamp(self.starts_at_ms),
            ends_at: stamp(self.ends_at_ms),
            generator_url: &self.generator_url,
        }
    }
}

/// How it goes with one Alertmanager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointState {
    /// Where it is.
    pub address: Address,
    /// Alerts it took; one that is told again counts again.
    pub sent: u64,
    /// Tries that failed.
    pub failures: u64,
    /// Alerts given up: it refused them, or too many waited.
    pub dropped: u64,
    /// Alerts that wait.
    pub waiting: u64,
    /// Why the last try failed; `None` where it did not.
    pub trouble: Option<String>,
}

/// How it goes with each, in Prometheus' text format.
pub(crate) fn write_to(states: &[EndpointState], out: &mut String) {
    if states.is_empty() {
        return;
    }
    type Read = fn(&EndpointState) -> u64;
    let all: [(&str, &str, &str, Read); 4] = [
        ("alertmanager_alerts_sent_total", "counter", "alerts an Alertmanager took", |state| state.sent),
        ("alertmanager_send_failures_total", "counter", "tries to send that failed", |state| state.failures),
        ("alertmanager_alerts_dropped_total", "counter", "alerts given up", |state| state.dropped),
        ("alertmanager_alerts_waiting", "gauge", "alerts that wait to be sent", |state| state.waiting),
    ];
    for (name, kind, help, read) in all {
        counters::head(out, name, kind, help);
        for state in states {
            // Writing to a String does not fail; an address has neither quotes nor line ends that parsed.
            let address = state.address.0.replace('\\', "\\\\").replace('"', "\\\"");
            let _ = writeln!(out, "{name}{{alertmanager=\"{address}\"}} {}", read(state));
        }
    }
}

/// Alertmanagers that are told of alerts. Dropping it tries what waits once more, then stops.
pub struct Alertmanager {
    endpoints: Vec<Arc<Endpoint>>,
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Alertmanager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.states()).finish()
    }
}

impl Alertmanager {
    /// Starts a thread for each. What `peer` says holds for all of them; `say` is told why one cannot be told, once for
    /// each reason.
    ///
    /// # Errors
    /// Where what proves us would go to one in the clear, whom to believe is not to be had, or the machine gives no thread.
    pub fn start(
        addresses: Vec<Address>,
        peer: &Peer,
        clock: &Arc<dyn Clock>,
        say: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, AlertmanagerError> {
        let say: Arc<Say> = Arc::new(say);
        let mut started = Self { endpoints: Vec::new(), threads: Vec::new() };
        for address in addresses {
            address.may_be_asked(peer)?;
            let endpoint =
                Arc::new(Endpoint::new(address, peer.clone(), Arc::clone(clock), Arc::clone(&say))?);
            let running = Arc::clone(&endpoint);
            let thread = std::thread::Builder::new().name("alertmanager".to_owned());
            started.threads.push(thread.spawn(move || running.run())?);
            started.endpoints.push(endpoint);
        }
        Ok(started)
    }

    /// How it goes with each.
    pub fn states(&self) -> Vec<EndpointState> {
        self.endpoints.iter().map(|endpoint| endpoint.state()).collect()
    }

    /// Hands alerts in, to be sent to all.
    pub(crate) fn send(&self, notifications: &[Notification]) {
        for endpoint in self.endpoints.iter().filter(|_| !notifications.is_empty()) {
            endpoint.add(notifications);
        }
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        for endpoint in &self.endpoints {
            endpoint.stop();
        }
        for thread in self.threads.drain(..) {
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, AddressError};

    #[test]
    fn an_address_is_read_or_refused_with_what_was_expected() {
        for (text, shown) in [
            ("http://localhost:9093", "http://localhost:9093"),
            ("http://localhost:9093/", "http://localhost:9093"),
            (" http://host/alertmanager/ ", "http://host/alertmanager"),
            ("https://host:9093", "https://host:9093"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), shown);
        }
        for text in ["localhost:9093", "ftp://host", "http://", "http://a@b", "http://host?x=1", ""] {
            assert_eq!(Address::parse(text), Err(AddressError::Malformed(text.to_owned())), "{text}");
        }
    }
}
