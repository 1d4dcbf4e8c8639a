//! The telemetry store behind its receivers, for as long as a control plane runs.
//!
//! In: the data directory, configured ports. Out: a store that fills, and the address services send to. Deliberately
//! absent: what is done with the spans; see `telemetry`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain::{Infrastructure, Permission};
use gateway::Tls;
use gateway::access::Access;
use gateway::otlp::{Denial, Denied, Exposure, OtlpReceivers, Protocol, Running};
use homeostat_tracer::Tracer;
use hyper::HeaderMap;
use telemetry::{DamagedTrace, Telemetry};

use crate::allocator;
use crate::config::Config;
use crate::control_plane::{OccupiedPort, StartError};

/// Stands in a service's environment for the address of the OTLP receiver over HTTP.
const ENDPOINT: &str = "{otlp}";

/// Bytes of own spans that may wait: people and scripts ask a few times a second.
const QUEUE_BYTES: usize = 256 << 10;

/// What a stop waits for the last own spans.
const FLUSH_LIMIT: Duration = Duration::from_millis(200);

/// Says which archived traces cannot be read. Whoever opened them says it: the next to do so finds them set aside.
pub(crate) fn say_damaged(traces: &[DamagedTrace]) {
    for damaged in traces {
        let (path, why) = (damaged.path.display(), &damaged.why);
        log::error!("an archived trace is left out: {why}; what is left of it is kept as {path}");
    }
}

/// A store that receives.
pub(crate) struct Receiving {
    telemetry: Telemetry,
    receivers: OtlpReceivers,
    /// Sends the spans of this process to its own receivers, as any service would.
    tracer: Option<Tracer>,
}

impl Receiving {
    /// Opens the store in the data directory and listens; `None` where `otlp.enabled` is false. Metrics go to `series`,
    /// and are refused where there is no such store. Beyond loopback it takes an `exposure`.
    pub(crate) fn start(
        dir: &Path,
        config: &Config,
        occupied: OccupiedPort,
        series: Option<&metrics::Metrics>,
        exposure: Option<&Exposure>,
    ) -> Result<Option<Self>, StartError> {
        if !config.otlp.enabled {
            return Ok(None);
        }
        allocator::keep_freed_memory();
        let telemetry = Telemetry::open(config.telemetry.store(&dir.join(crate::purges::TELEMETRY)))?;
        for damaged in telemetry.damaged() {
            log::error!(
                "the spans in {} are left out: {}; its files are kept with .damaged behind their names",
                damaged.index.with_extension("*").display(),
                damaged.why
            );
        }
        say_damaged(telemetry.damaged_traces());
        let mut ports = config.otlp.receivers();
        let series = series.map(|series| gateway::otlp::Metrics {
            sink: Arc::new(series.clone()),
            limits: metrics::wire::Limits::default(),
            otlp: metrics::wire::otlp::Config::default(),
        });
        let receivers = loop {
            let intake = || telemetry.intake();
            let exposure = exposure.filter(|_| !gateway::is_loopback(ports.listen));
            let started = match (exposure, series.clone()) {
                (Some(exposure), series) => OtlpReceivers::start_exposed(&ports, intake, series, exposure),
                (None, Some(series)) => OtlpReceivers::start_with_metrics(&ports, intake, series),
                (None, None) => OtlpReceivers::start(&ports, intake),
            };
            match started {
                Err(error) if occupied == OccupiedPort::TakeAnother => match error.occupied() {
                    Some(Protocol::Grpc) => ports.grpc_port = 0,
                    Some(Protocol::Http) => ports.http_port = 0,
                    None => return Err(error.into()),
                },
                started => break started?,
            }
        };
        let mut receiving = Self { telemetry, receivers, tracer: None };
        let built = Tracer::builder(gateway::OWN_SERVICE)
            .attribute("service.version", env!("CARGO_PKG_VERSION"))
            .endpoint(format!("{}/v1/traces", receiving.endpoint()))
            .threads(1)
            .queue_bytes(QUEUE_BYTES)
            .build();
        match built {
            Ok(tracer) => receiving.tracer = Some(tracer),
            Err(error) => log::warn!("the control plane itself is not traced: {error}"),
        }
        Ok(Some(receiving))
    }

    /// The store.
    pub(crate) fn store(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Its ports, and what came in and what was refused.
    pub(crate) fn running(&self) -> Running {
        self.receivers.running()
    }

    /// Where services send over HTTP, as OpenTelemetry's variable wants it.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.receivers.local_http_address().port())
    }

    /// Where telemetry is taken, for people.
    pub(crate) fn for_people(&self) -> String {
        let (grpc, http) = (self.receivers.grpc_address(), self.receivers.http_address());
        if gateway::is_loopback(grpc.ip()) {
            return format!("gRPC on localhost:{}, HTTP on localhost:{}", grpc.port(), http.port());
        }
        let local = self.receivers.local_http_address().port();
        format!(
            "gRPC on {grpc}, HTTP on {http}, both with TLS and a token; HTTP on localhost:{local} without"
        )
    }

    /// Traces this process.
    pub(crate) fn tracer(&self) -> Option<Tracer> {
        self.tracer.clone()
    }

    /// Takes no more requests, answers those under way, and closes the store.
    pub(crate) fn stop(self) {
        if let Some(tracer) = &self.tracer {
            // What does not get through is counted by the tracer, and nobody is left to read it.
            let _ = tracer.shutdown(FLUSH_LIMIT);
        }
        self.receivers.shutdown();
        self.telemetry.close();
    }
}

/// What it takes to receive beyond loopback: the certificate, and with every request a token that may send telemetry.
pub(crate) fn exposure(tls: Option<&Tls>, access: Access) -> Option<Exposure> {
    let authorize = move |headers: &HeaderMap| {
        let denied = |denial, message: String| Denied { denial, message };
        match access.bearer(headers) {
            Ok(identity) if identity.may(Permission::TelemetryWrite) => Ok(()),
            Ok(identity) => {
                let message =
                    format!("{} lacks the permission {}", identity.name, Permission::TelemetryWrite);
                Err(denied(Denial::Forbidden, message))
            }
            Err(error) => Err(denied(Denial::Unauthenticated, error.to_string())),
        }
    };
    tls.map(|tls| Exposure::new(tls.clone(), Arc::new(authorize)))
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
