//! Why a control plane does not start, told to whoever started it.

use std::net::SocketAddr;
use std::path::PathBuf;

use provider::ProviderError;

/// Why a control plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("cannot use the data directory {}", dir.display())]
    Directory {
        /// Which.
        dir: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The audit trail is not as it was written, or cannot be written.
    #[error(
        "the audit trail cannot be used; `homeostat audit verify` says more, and `homeostat audit set-aside` begins a new one where it is lost"
    )]
    Audit(#[source] audit::AuditError),
    /// The state in it cannot be used.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// There is no key to seal what people sign in with.
    #[error(transparent)]
    AccessKey(#[from] gateway::access::KeyFileError),
    /// A secret that the configuration refers to is gone since it was read.
    #[error("a secret that the configuration refers to is not to be had")]
    Secret(#[from] provider::secret::SecretError),
    /// The keeper cannot be reached or started.
    #[error("cannot start or reach the keeper")]
    Provider(#[from] ProviderError),
    /// What a predecessor left cannot be settled.
    #[error("cannot settle what an earlier control plane left behind")]
    Recover(#[from] act::ActError),
    /// What it is started with cannot be brought up.
    #[error(transparent)]
    BringUp(heal::OperateError),
    /// What it is started with did not come up; none of it stays.
    #[error("{name} was not brought up: {why}")]
    NotUp {
        /// Which Infrastructure.
        name: domain::ServiceName,
        /// Why not.
        why: String,
    },
    /// What is up cannot be taken down by a plan.
    #[error("what is up cannot be taken down by a plan")]
    TakeDown(#[source] heal::OperateError),
    /// Its verdicts cannot be written.
    #[error("cannot conclude what an earlier control plane left behind")]
    Conclude(#[from] heal::TurnError),
    /// The port is occupied, or the address is none of this machine.
    #[error(
        "{address} is occupied or may not be listened on; stop what listens there, set gateway.port or gateway.listen, or pass --any-port"
    )]
    Port {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error("cannot listen with TLS")]
    Tls(#[from] gateway::TlsError),
    /// The gateway does not start.
    #[error("cannot start the gateway")]
    Gateway(#[from] gateway::GatewayError),
    /// Telemetry that was stored cannot be used.
    #[error("cannot use the telemetry in the data directory")]
    Telemetry(#[from] telemetry::OpenError),
    /// Series that were stored cannot be used.
    #[error(
        "cannot use the series in the data directory; move DIR/metrics away, or set metrics.enabled = false"
    )]
    Metrics(#[from] metrics::OpenError),
    /// What is to be scraped cannot be.
    #[error("cannot scrape what [[metrics.scrape]] says")]
    Scrape(#[from] metrics::scrape::TargetError),
    /// The configured rules cannot be evaluated.
    #[error(transparent)]
    Rules(#[from] alerting::StartError),
    /// An Alertmanager cannot be told.
    #[error(transparent)]
    Alertmanager(#[from] alerting::AlertmanagerError),
    /// The configured objectives cannot be evaluated.
    #[error(transparent)]
    Slo(#[from] crate::config::SloError),
    /// What objectives counted cannot be taken up.
    #[error(transparent)]
    Objectives(#[from] observe::objectives::ObjectivesError),
    /// The OTLP receivers do not start.
    #[error("cannot receive telemetry; pass --any-port to take free ports, or set otlp.enabled = false")]
    Otlp(#[from] gateway::otlp::OtlpError),
    /// The webhook does not start.
    #[error("cannot start the webhook")]
    Webhook(#[from] gateway::WebhookError),
    /// The machine gives no thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// The token is no text.
    #[error(
        "the token file {} is no UTF-8 text; put the token back into it, or remove the file, and a new one is made",
        path.display()
    )]
    TokenText {
        /// Its file.
        path: PathBuf,
    },
    /// The token is there and cannot be read.
    #[error("cannot read the token {}; make it readable, or remove what is there, and a new one is made", path.display())]
    TokenRead {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The machine gives no randomness for the token.
    #[error("cannot make the token {}; remove what is there, and one is made", path.display())]
    Token {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}
