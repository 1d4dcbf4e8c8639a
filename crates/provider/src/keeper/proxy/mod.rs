//! The smallest proxy that keeps the contract of a link: forwards bytes to the ready backends in turn.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::infrastructure::Protocol;
use domain::{Clock, FaultKind, InstanceName, LinkName, StepToken, Time};
use tokio::net::{TcpListener, TcpStream};

use crate::sample::{BackendSample, LinkSample};

/// What a link is to do.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// What the callee speaks.
    pub protocol: Protocol,
    /// The instances behind the link.
    pub backends: Vec<Backend>,
    /// The breaker is held open by a plan.
    pub held_open: bool,
    /// The network faults in force.
    pub faults: Vec<LinkFault>,
    /// The path of HTTP health checks through the link.
    pub check_path: Option<String>,
}

/// One instance behind a link.
#[derive(Debug, Clone)]
pub struct Backend {
    /// Which.
    pub instance: InstanceName,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it may get traffic.
    pub ready: bool,
    /// Taken out by a plan.
    pub ejected: bool,
}

/// A network fault on a link.
#[derive(Debug, Clone)]
pub struct LinkFault {
    /// The step that injected it.
    pub token: StepToken,
    /// One of the network kinds.
    pub kind: FaultKind,
    /// Since when.
    pub since: Time,
}

/// A running link.
pub struct LinkProxy {
    address: SocketAddr,
    config: Arc<Mutex<LinkConfig>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl LinkProxy {
    /// Listens.
    pub async fn bind(
        _name: LinkName,
        listen: SocketAddr,
        config: LinkConfig,
        _clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let config = Arc::new(Mutex::new(config));
        let shared = Arc::clone(&config);
        let accepting = tokio::spawn(async move {
            let mut turn = 0usize;
            while let Ok((mut client, _)) = listener.accept().await {
                let target = {
                    let config = shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    let open: Vec<_> = config.backends.iter().filter(|b| b.ready && !b.ejected).collect();
                    turn += 1;
                    (!open.is_empty() && !config.held_open).then(|| open[turn % open.len()].address)
                };
                let Some(target) = target else { continue };
                tokio::spawn(async move {
                    if let Ok(mut backend) = TcpStream::connect(target).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut backend).await;
                    }
                });
            }
        });
        Ok(Self { address, config, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes a new configuration.
    pub fn configure(&self, config: LinkConfig) {
        *self.config.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = config;
    }

    /// What it counted.
    pub fn sample(&self) -> LinkSample {
        let config = self.config.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let backend = |b: &Backend| {
            (b.instance.clone(), BackendSample { ejected: b.ejected, ..BackendSample::default() })
        };
        LinkSample { backends: config.backends.iter().map(backend).collect(), ..LinkSample::default() }
    }

    /// Closes connections.
    pub fn reset_connections(&self) -> usize {
        0
    }

    /// Stops.
    pub async fn shutdown(self, _grace: Duration) {
        self.accepting.abort();
    }
}
