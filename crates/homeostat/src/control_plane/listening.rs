//! Where the gateway listens, from the configuration.
//!
//! In: the configuration. Out: bound listeners, the certificate and who watches its files; or why not, before anything
//! else was started.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use gateway::{Concern, ConnectionLimits, Listening, Tls, TlsNotice, TlsWatch, is_loopback};
use provider::clock::SystemClock;

use super::{OccupiedPort, StartError};
use crate::config::Config;

/// Between two looks at the files of the certificate.
const WATCH: Duration = Duration::from_secs(5);

/// What is bound.
pub(super) struct Bound {
    pub(super) listening: Listening,
    pub(super) tls: Option<Tls>,
    /// Where people find it: `http://localhost:4000`, or `https://` and a name of the certificate.
    pub(super) address: String,
    pub(super) watch: Option<TlsWatch>,
}

/// Binds what the configuration says.
pub(super) fn bind(config: &Config, occupied: OccupiedPort) -> Result<Bound, StartError> {
    let tls = match config.tls.files() {
        Some(files) => Some(Tls::open(files, Arc::new(SystemClock))?),
        None => None,
    };
    let listener = bind_one(config.gateway.address(), occupied)?;
    let address = listener
        .local_addr()
        .map_err(|source| StartError::Port { address: config.gateway.address(), source })?;
    let local = match &tls {
        Some(_) => Some(bind_one(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0), OccupiedPort::Refuse)?),
        None => None,
    };
    let limits =
        if is_loopback(address.ip()) { ConnectionLimits::local() } else { ConnectionLimits::exposed() };
    let listening = Listening {
        listener,
        local,
        tls: tls.clone(),
        hosts: config.gateway.hosts.clone(),
        anonymous: config.gateway.anonymous_reads(),
        limits,
    };
    listening.check()?;
    let watch = match &tls {
        Some(tls) => {
            let watch = tls.watch(WATCH, say);
            Some(watch.map_err(StartError::Thread)?)
        }
        None => None,
    };
    let address = match &tls {
        Some(tls) => format!("https://{}:{}", name(config, tls), address.port()),
        None => format!("http://localhost:{}", address.port()),
    };
    Ok(Bound { listening, tls, address, watch })
}

fn say(notice: TlsNotice) {
    match notice {
        TlsNotice::Taken(said) => log::info!("{said}"),
        TlsNotice::Broken(said) => log::error!("{said}"),
        TlsNotice::Concern(concern @ Concern::EndsSoon { .. }) => log::warn!("{concern}"),
        TlsNotice::Concern(concern) => log::error!("{concern}"),
    }
}

/// By which name people should ask for it.
fn name(config: &Config, tls: &Tls) -> String {
    let names = tls.facts().names;
    let name = config.gateway.hosts.iter().chain(&names).find(|name| !name.starts_with("*."));
    match name {
        Some(name) if name.contains(':') => format!("[{name}]"),
        Some(name) => name.clone(),
        None => "localhost".to_owned(),
    }
}

fn bind_one(address: SocketAddr, occupied: OccupiedPort) -> Result<TcpListener, StartError> {
    let bind = |address| TcpListener::bind(address).map_err(|source| StartError::Port { address, source });
    match (bind(address), occupied) {
        (Err(_), OccupiedPort::TakeAnother) => bind(SocketAddr::new(address.ip(), 0)),
        (bound, _) => bound,
    }
}
