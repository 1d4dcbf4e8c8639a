//! Telemetry of the control plane: the store in the data directory, behind its OTLP receivers.
//!
//! In: the configuration. Out: spans and logs on disk, until it is stopped. Receivers end first, so that who was
//! promised an answer gets one.

use std::path::Path;
use std::sync::Arc;

use gateway::otlp::{Counts, OtlpReceivers, Protocol};
use telemetry::Telemetry;

use crate::allocator;
use crate::config::Config;
use crate::control_plane::{OccupiedPort, StartError};

/// The telemetry store behind its receivers.
pub(crate) struct Receiving {
    telemetry: Telemetry,
    receivers: OtlpReceivers,
}

impl Receiving {
    /// Opens the store in the data directory and listens.
    pub(crate) fn start(
        dir: &Path,
        config: &Config,
        occupied: OccupiedPort,
    ) -> Result<Option<Self>, StartError> {
        if !config.otlp.enabled {
            return Ok(None);
        }
        allocator::keep_freed_memory();
        let telemetry = Telemetry::open(telemetry::Config::new(dir.join("telemetry")))?;
        let mut ports = config.otlp.receivers();
        let receivers = loop {
            match OtlpReceivers::start(&ports, || telemetry.intake()) {
                Err(error) if occupied == OccupiedPort::TakeAnother => match error.occupied() {
                    Some(Protocol::Grpc) => ports.grpc_port = 0,
                    Some(Protocol::Http) => ports.http_port = 0,
                    None => return Err(error.into()),
                },
                started => break started?,
            }
        };
        Ok(Some(Self { telemetry, receivers }))
    }

    /// Takes no more requests, answers those under way, and closes the store.
    pub(crate) fn stop(self) {
        self.receivers.shutdown();
        self.telemetry.close();
    }

    /// Where telemetry is taken, for people.
    pub(crate) fn addresses(&self) -> String {
        let (grpc, http) = (self.receivers.grpc_address().port(), self.receivers.http_address().port());
        format!("gRPC on localhost:{grpc}, HTTP on localhost:{http}")
    }

    /// What came in and what was refused.
    pub(crate) fn counts(&self) -> Arc<Counts> {
        self.receivers.counts()
    }
}
