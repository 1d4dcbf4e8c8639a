//! Where the gateway listens, who may connect, and how long a client may take for each part of a request.
//!
//! ```text
//! listener ─► place (in all, for each address) ─► handshake ─► HTTP/2 or HTTP/1.1 ─► entry: Host, Origin ─► router
//! local ────► place ───────────────────────────────────────► HTTP/1.1 ────────────► entry ───────────────►   │
//! ```
//!
//! In: bound listeners, a certificate, limits. Out: requests for the router; connections that are too many, too slow or
//! not what they should be are closed. Beyond loopback nothing is served without TLS, and nothing to who proves nothing.
//!
//! With TLS there is a second listener, plain and on loopback alone ([`Listening::local`]), for programs of this machine:
//! the command line, and the scraper of our own `/metrics`. The certificate names other hosts than `localhost`.

mod connection;
mod entry;
pub(crate) mod handshake;
mod hosts;
mod patient;
pub(crate) mod places;
mod rated;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use domain::access::AnonymousReads;
use tokio::sync::watch;

use crate::serve::GatewayError;
use crate::tls::{Speaks, Tls};
use connection::Way;
pub(crate) use entry::{NamedAs, Peer};
use hosts::{Hosts, Scheme};

/// Streams a client reset before we took them, and streams we reset for its errors: more is an attack (CVE-2023-44487,
/// CVE-2025-8671), and ends the connection.
pub(crate) const RESET_STREAMS: usize = 20;
pub(crate) const ERROR_STREAMS: usize = 64;

/// Where a gateway listens, and for whom.
#[derive(Debug)]
pub struct Listening {
    /// Bound; may be beyond loopback.
    pub listener: TcpListener,
    /// Bound to loopback: plain HTTP for programs of this machine. Only where `tls` is set; `listener` serves them else.
    pub local: Option<TcpListener>,
    /// With it `listener` speaks TLS and nothing else.
    pub tls: Option<Tls>,
    /// Names people use beside those of the certificate: what a proxy in front is called. `*.` stands for one label.
    pub hosts: Vec<String>,
    /// Whether who proves nothing may read.
    pub anonymous: AnonymousReads,
    /// What `listener` bears.
    pub limits: ConnectionLimits,
}

/// Loopback without TLS, as at first use.
impl From<TcpListener> for Listening {
    fn from(listener: TcpListener) -> Self {
        Self {
            listener,
            local: None,
            tls: None,
            hosts: Vec::new(),
            anonymous: AnonymousReads::Allowed,
            limits: ConnectionLimits::local(),
        }
    }
}

/// What clients may take. Who takes more is answered with an error where HTTP has one, and its connection is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Open connections; more wait in the kernel's queue. A browser keeps six, each open page one more.
    pub in_all: usize,
    /// Of them from one address (of IPv6: one network of 64 bits, which is what one customer has); more are closed.
    pub per_address: usize,
    /// For the TLS handshake.
    pub handshake_time: Duration,
    /// For the head of a request, and between two requests of HTTP/1.1.
    pub head_time: Duration,
    /// Between two requests of HTTP/2.
    pub idle_time: Duration,
    /// The largest head of a request, in bytes.
    pub head_bytes: usize,
    /// What a body may take whatever its length.
    pub body_time: Duration,
    /// And beyond that: how many bytes of it must come in a second on average.
    pub body_bytes_per_second: u64,
    /// How long a client may take none of an answer that waits for it.
    pub stall_time: Duration,
    /// Requests at a time in one connection of HTTP/2.
    pub streams: u32,
}

impl ConnectionLimits {
    /// On loopback: one person's programs and browser.
    pub fn local() -> Self {
        Self { per_address: usize::MAX, ..Self::exposed() }
    }

    /// Beyond loopback.
    pub fn exposed() -> Self {
        Self {
            in_all: 4_096,
            per_address: 64,
            handshake_time: Duration::from_secs(10),
            head_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(60),
            head_bytes: 32 << 10,
            body_time: Duration::from_secs(5),
            body_bytes_per_second: 1 << 10,
            stall_time: Duration::from_secs(30),
            streams: 64,
        }
    }
}

/// Whether this address can be reached from this machine alone.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// A server's ways in, registered with the runtime that serves them.
pub(crate) struct Ways {
    door: Way,
    local: Option<Way>,
    pub(crate) address: SocketAddr,
    pub(crate) local_address: SocketAddr,
}

impl Listening {
    /// Whether it may be listened so.
    ///
    /// # Errors
    ///
    /// [`GatewayError::ExposedWithoutTls`], [`GatewayError::ExposedToAnybody`].
    pub fn check(&self) -> Result<(), GatewayError> {
        let address = address_of(&self.listener)?;
        if !is_loopback(address.ip()) {
            if self.tls.is_none() {
                return Err(GatewayError::ExposedWithoutTls { address });
            }
            if self.anonymous == AnonymousReads::Allowed {
                return Err(GatewayError::ExposedToAnybody { address });
            }
        }
        let local = self.local.as_ref().map(address_of).transpose()?;
        match local.filter(|local| !is_loopback(local.ip())) {
            Some(address) => Err(GatewayError::ExposedWithoutTls { address }),
            None => Ok(()),
        }
    }

    /// Checks it, and makes what serves it. Must be called inside the runtime.
    pub(crate) fn ways(self) -> Result<Ways, GatewayError> {
        self.check()?;
        let Self { listener, local, tls, hosts, limits, .. } = self;
        let address = address_of(&listener)?;
        let port = address.port();
        let (local, local_address) = match local.filter(|_| tls.is_some()) {
            Some(listener) => {
                let address = address_of(&listener)?;
                let hosts = Hosts::of(address, Scheme::Http, None, Vec::new());
                (Some(Way::new(listener, None, Some(hosts), port, ConnectionLimits::local())?), address)
            }
            None => (None, address),
        };
        let door = match tls {
            Some(tls) => {
                let config = tls.server_config(Speaks::Http);
                let hosts = Hosts::of(address, Scheme::Https, Some(tls), hosts);
                Way::new(listener, Some(config), Some(hosts), port, limits)?
            }
            None => Way::new(listener, None, None, port, limits)?,
        };
        Ok(Ways { door, local, address, local_address })
    }
}

fn address_of(listener: &TcpListener) -> Result<SocketAddr, GatewayError> {
    let failed = |source| GatewayError::Start { step: "reading the listener's address", source };
    listener.local_addr().map_err(failed)
}

impl Ways {
    /// Serves until it is told to stop, and lets what is under way finish for `shutdown_time`.
    pub(crate) async fn serve(
        self,
        router: Router,
        stopping: watch::Receiver<bool>,
        shutdown_time: Duration,
    ) {
        let door = connection::accept(Arc::new(self.door), router.clone(), stopping.clone(), shutdown_time);
        let local = async {
            if let Some(local) = self.local {
                connection::accept(Arc::new(local), router, stopping, shutdown_time).await;
            }
        };
        tokio::join!(door, local);
    }
}
