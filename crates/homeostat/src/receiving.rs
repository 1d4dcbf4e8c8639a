//! The telemetry store behind its receivers, for as long as a control plane runs.
//!
//! In: the data directory, configured ports. Out: a store that fills, and the address services send to. Deliberately
//! absent: what is done with the spans; see `telemetry`.

use std::path::Path;
use std::sync::Arc;

use domain::Infrastructure;
use gateway::otlp::{Counts, OtlpReceivers, Protocol};
use telemetry::Telemetry;

use crate::allocator;
use crate::config::Config;
use crate::control_plane::{OccupiedPort, StartError};

/// Stands in a service's environment for the address of the OTLP receiver over HTTP.
const ENDPOINT: &str = "{otlp}";

/// A store that receives.
pub(crate) struct Receiving {
    telemetry: Telemetry,
    receivers: OtlpReceivers,
}

impl Receiving {
    /// Opens the store in the data directory and listens; `None` where `otlp.enabled` is false.
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

    /// The store.
    pub(crate) fn store(&self) -> &Telemetry {
        &self.telemetry
    }

    /// What came in and what was refused.
    pub(crate) fn counts(&self) -> Arc<Counts> {
        self.receivers.counts()
    }

    /// Where services send over HTTP, as OpenTelemetry's variable wants it.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.receivers.http_address().port())
    }

    /// Where telemetry is taken, for people.
    pub(crate) fn for_people(&self) -> String {
        let (grpc, http) = (self.receivers.grpc_address().port(), self.receivers.http_address().port());
        format!("gRPC on localhost:{grpc}, HTTP on localhost:{http}")
    }

    /// Takes no more requests, answers those under way, and closes the store.
    pub(crate) fn stop(self) {
        self.receivers.shutdown();
        self.telemetry.close();
    }
}

/// The Infrastructure with the receiver's address wherever an environment asks for it with `{otlp}`; where nothing
/// receives, such a variable is left out.
pub(crate) fn with_endpoint(infrastructure: &Infrastructure, endpoint: Option<&str>) -> Infrastructure {
    let mut infrastructure = infrastructure.clone();
    for service in infrastructure.services.values_mut() {
        match endpoint {
            Some(endpoint) => {
                service.environment.values_mut().for_each(|value| *value = value.replace(ENDPOINT, endpoint))
            }
            None => service.environment.retain(|_, value| !value.contains(ENDPOINT)),
        }
    }
    infrastructure
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLEET: &str =
        "name: f\nservices:\n  a:\n    command: [a]\n    environment: { OTLP: \"{otlp}/v1\", B: c }\n";

    fn environment(endpoint: Option<&str>) -> Vec<(String, String)> {
        let fleet = provider::manifest::parse("f.yaml", FLEET).expect("a fleet");
        let fleet = with_endpoint(&fleet, endpoint);
        fleet.services.into_values().flat_map(|service| service.environment).collect()
    }

    #[test]
    fn services_are_told_where_telemetry_is_received() {
        let told = environment(Some("http://127.0.0.1:1"));
        assert!(told.contains(&("OTLP".to_owned(), "http://127.0.0.1:1/v1".to_owned())), "{told:?}");
        assert_eq!(environment(None), [("B".to_owned(), "c".to_owned())]);
    }
}
