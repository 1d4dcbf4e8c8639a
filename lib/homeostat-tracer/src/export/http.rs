//! OTLP over HTTP: one request, and what its answer means.
//!
//! In: an encoded request. Out: a [`Delivery`]. Blocking, because it runs on threads of its own; so no runtime
//! is dragged into the service. TLS is a feature, `tls`, because it would be most of the library's weight: without
//! it, give the tracer a [`Transport`] over the client the service already has, or send to an agent on this
//! machine. A certificate that is not believed is no connection, and nothing is sent in the clear instead.

use std::time::Duration;

use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;

use super::otlp;

/// How long a request may take in all.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read; a partial success is a few.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Takes encoded requests to a receiver. Called from the export threads, one call per thread at a time; may
/// block.
pub trait Transport: Send + Sync {
    /// Sends an OTLP `ExportTraceServiceRequest` in protobuf.
    fn send(&self, request: &[u8]) -> Delivery;
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Taken, except for so many spans.
    Accepted {
        /// Spans the receiver refused (OTLP's partial success).
        rejected: u64,
    },
    /// Not taken now: 429, 502, 503, 504 or no connection.
    Retry {
        /// How long the receiver asked to wait.
        after: Option<Duration>,
        /// What happened.
        reason: String,
    },
    /// Not taken, and sending it again is of no use.
    Refused(String),
}

/// Whether requests are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Sent as they are: the receiver is near.
    #[default]
    None,
    /// gzip at its fastest level.
    #[cfg(feature = "gzip")]
    Gzip,
}

pub(crate) struct Http {
    agent: ureq::Agent,
    endpoint: String,
    headers: Vec<(String, String)>,
    compression: Compression,
}

impl Http {
    pub(crate) fn new(
        config: ConfigBuilder<AgentScope>,
        endpoint: String,
        headers: Vec<(String, String)>,
        compression: Compression,
    ) -> Self {
        // A proxy's own loopback is another machine, and reads what goes to it in the clear.
        let config = if is_this_machine(&endpoint) { config.proxy(None) } else { config };
        Self { agent: config.build().into(), endpoint, headers, compression }
    }
}

/// Whether an endpoint is meant for this machine.
fn is_this_machine(endpoint: &str) -> bool {
    let address = endpoint.parse::<ureq::http::Uri>();
    address.is_ok_and(|address| matches!(address.host(), Some("localhost" | "127.0.0.1" | "[::1]")))
}

/// A client that follows no redirect and takes any status for an answer.
pub(crate) fn config() -> ConfigBuilder<AgentScope> {
    ureq::Agent::config_builder()
        .timeout_global(Some(REQUEST_TIMEOUT))
        .http_status_as_error(false)
        .max_redirects(0)
}

/// Believes the authorities whose certificates these are, in PEM, and no others; those of this machine where there are none.
/// The error is what is wrong with them.
#[cfg(feature = "tls")]
pub(crate) fn trust(authorities: Option<&[u8]>) -> Result<ureq::tls::TlsConfig, String> {
    use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    let Some(pem) = authorities else {
        return Ok(config.root_certs(super::authorities::believed()?).build());
    };
    let mut certificates = Vec::new();
    for item in parse_pem(pem) {
        if let PemItem::Certificate(one) = item.map_err(|error| error.to_string())? {
            // The client passes over what it cannot read, and would then believe nobody.
            rustls::RootCertStore::empty()
                .add(one.der().into())
                .map_err(|error| format!("certificate {}: {error}", certificates.len() + 1))?;
            certificates.push(one);
        }
    }
    if certificates.is_empty() {
        return Err("there is no certificate in PEM form in them".to_owned());
    }
    Ok(config.root_certs(RootCerts::new_with_certs(&certificates)).build())
}

impl Transport for Http {
    fn send(&self, request: &[u8]) -> Delivery {
        let mut post = self.agent.post(&self.endpoint).header("content-type", "application/x-protobuf");
        for (name, value) in &self.headers {
            post = post.header(name, value);
        }
        let answer = match self.compression {
            Compression::None => post.send(request),
            #[cfg(feature = "gzip")]
            Compression::Gzip => match packed(request) {
                Ok(packed) => post.header("content-encoding", "gzip").send(&packed[..]),
                Err(error) => return Delivery::Refused(format!("cannot pack the request: {error}")),
            },
        };
        match answer {
            Ok(answer) => read(answer),
            Err(error) => Delivery::Retry { after: None, reason: format!("{}: {error}", self.endpoint) },
        }
    }
}

#[cfg(feature = "gzip")]
fn packed(request: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::io::Write;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(request)?;
    packer.finish()
}

fn read(mut answer: ureq::http::Response<ureq::Body>) -> Delivery {
    let status = answer.status().as_u16();
    let wait = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let after = wait.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec().unwrap_or_default();
    match status {
        200..=299 => Delivery::Accepted { rejected: otlp::rejected_spans(&body) },
        429 | 502 | 503 | 504 => Delivery::Retry { after, reason: format!("the receiver answered {status}") },
        _ => {
            let said: String = String::from_utf8_lossy(&body).chars().take(200).collect();
            Delivery::Refused(format!("the receiver answered {status}: {said}"))
        }
    }
}
