//! Receivers beyond loopback: TLS, and a token with every request.
//!
//! Who asks is proven by whoever knows tokens ([`Authorize`]); nothing here does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use tokio_rustls::TlsAcceptor;

use super::counts::{Protocol, Reason};
use super::refused::Refused;
use crate::listen::places::Places;
use crate::tls::{Speaks, Tls};

/// Decides by the head of a request whether it may send telemetry (`telemetry:write`).
pub type Authorize = Arc<dyn Fn(&HeaderMap) -> Result<(), Denied> + Send + Sync>;

/// Why somebody may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// Which of the two.
    pub denial: Denial,
    /// What is missing and what to do, for people.
    pub message: String,
}

/// Whether it is unknown who asks, or known and not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// No proof, or none that holds: status 401, `UNAUTHENTICATED`.
    Unauthenticated,
    /// Proven, and without the permission: status 403, `PERMISSION_DENIED`.
    Forbidden,
}

impl From<Denied> for Refused {
    fn from(denied: Denied) -> Self {
        let reason = match denied.denial {
            Denial::Unauthenticated => Reason::Unauthenticated,
            Denial::Forbidden => Reason::Forbidden,
        };
        Self::new(reason, denied.message)
    }
}

/// What receivers need that listen beyond loopback.
#[derive(Clone)]
pub struct Exposure {
    /// The certificate.
    pub tls: Tls,
    /// Who may send.
    pub authorize: Authorize,
    /// Open connections of each protocol from one address; more are closed. Default 64.
    pub per_address: usize,
    /// How long a client may take for the TLS handshake. Default 10 s.
    pub handshake_time: Duration,
}

impl Exposure {
    /// With the default limits.
    pub fn new(tls: Tls, authorize: Authorize) -> Self {
        Self { tls, authorize, per_address: 64, handshake_time: Duration::from_secs(10) }
    }
}

/// The same, as a receiver thread uses it.
#[derive(Clone)]
pub(super) struct Gate {
    grpc: TlsAcceptor,
    http: TlsAcceptor,
    pub(super) authorize: Authorize,
    pub(super) handshake_time: Duration,
}

impl Gate {
    pub(super) fn of(exposure: &Exposure) -> Self {
        Self {
            grpc: exposure.tls.server_config(Speaks::Http2).into(),
            http: exposure.tls.server_config(Speaks::Http1).into(),
            authorize: Arc::clone(&exposure.authorize),
            handshake_time: exposure.handshake_time,
        }
    }

    pub(super) fn acceptor(&self, protocol: Protocol) -> &TlsAcceptor {
        match protocol {
            Protocol::Grpc => &self.grpc,
            Protocol::Http => &self.http,
        }
    }
}

/// How the connections of one listener are met.
#[derive(Clone)]
pub(super) enum Manner {
    /// On loopback: as they are.
    Open,
    /// TLS and a token, and so many from one address.
    Guarded(Places),
}

impl Manner {
    /// The place of a connection among those of its address; `None` where there is none.
    pub(super) fn place(&self, peer: SocketAddr) -> Option<Option<crate::listen::places::Place>> {
        match self {
            Self::Open => Some(None),
            Self::Guarded(places) => places.take(peer.ip()).map(Some),
        }
    }
}
