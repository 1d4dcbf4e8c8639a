//! REST, GraphQL and web pages; owns all wire shapes.
//!
//! In: bound listeners, the [`store::Store`], the spans and log records of a [`telemetry::Telemetry`], the series
//! of a [`metrics::Metrics`], and the running loops behind [`Control`]. Out: HTTP from a thread of its own ([`serve`]), and [`Notice`]s to one webhook
//! ([`Webhook`]).
//!
//! Everything that is stored is read from the store; everything that is live or changes the world goes
//! through [`Control`]. The gateway decides nothing: no guard, no policy, no thresholds.
//!
//! Beside it, OTLP in by gRPC and HTTP on ports of their own ([`otlp`]).

#![allow(
    clippy::missing_errors_doc,
    reason = "`Control` and `Access` say once what all their methods fail with"
)]

pub mod access;
mod api;
mod asker;
mod auditing;
mod baseline;
mod body;
mod cited;
mod conditional;
mod control;
mod deed;
mod endpoint;
mod graphql;
mod guard;
mod happenings;
mod idempotency;
mod jaeger;
mod listen;
mod live;
mod notify;
mod openapi;
pub mod otlp;
mod overwritten;
mod page;
mod phrases;
mod pieces;
mod problem;
mod prometheus;
#[cfg(any(test, feature = "fuzz"))]
pub mod properties;
mod purging;
mod rates;
#[cfg(test)]
mod reference;
mod routes;
mod schema_text;
mod security;
mod serve;
mod shapes;
mod span_time;
mod standing;
mod tls;

/// The addresses of pages that a permission lets see, as the router reads them.
pub fn pages() -> impl Iterator<Item = &'static str> {
    let shown = page::PATHS.into_iter().filter(|(_, access)| matches!(access, endpoint::Access::Needs(_)));
    shown.map(|(path, _)| path)
}

/// Every address that shows a page, as the router reads it: for what visits them all. Not among them: what leads on to
/// another site, and what scripts ask for.
pub fn page_table() -> impl Iterator<Item = &'static str> {
    page::PATHS.into_iter().map(|(path, _)| path).filter(|path| page::is_shown(path))
}

/// Who may ask an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// Anybody.
    Anybody,
    /// Whoever proved who they are.
    SignedIn,
    /// Whoever holds this.
    Holder(domain::Permission),
}

/// One address of the API as its routes are made from it: for documents, and for tests of who may what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The method.
    pub method: String,
    /// With its placeholder in braces.
    pub path: String,
    /// Who may ask.
    pub asks: Asks,
    /// Whether it may change something, and so asks for proof whoever may read.
    pub writes: bool,
}

/// Every address of the API, ours and of the APIs of others that are answered.
pub fn addresses() -> Vec<Address> {
    let address = |endpoint: &endpoint::Endpoint, path: &str| Address {
        method: endpoint.method.to_string(),
        path: path.to_owned(),
        asks: match endpoint.access {
            endpoint::Access::Open => Asks::Anybody,
            endpoint::Access::SignedIn => Asks::SignedIn,
            endpoint::Access::Needs(permission) => Asks::Holder(permission),
        },
        writes: endpoint.effect == endpoint::Effect::Writes,
    };
    let all = routes::endpoints();
    all.iter().flat_map(|endpoint| endpoint.paths().map(|path| address(endpoint, path))).collect()
}

/// Every address that forms of pages are sent to, with its placeholder in braces: for tests of what is recorded.
pub fn forms() -> Vec<&'static str> {
    page::ACTIONS.iter().map(|action| action.path).collect()
}

/// The name under which the control plane sends its own spans.
pub const OWN_SERVICE: &str = "homeostat";

pub use cited::cited_traces;
pub use control::{
    Automation, Control, ControlError, DeployRequest, ExperimentRequest, Planned, RunMode, RunningFault,
    SafetyLevel, StrategyRate, Target,
};
pub use graphql::schema_text as graphql_schema;
pub use listen::{ConnectionLimits, Listening, is_loopback};
pub use notify::{Notice, Receiver, Webhook, WebhookCounts, WebhookError};
pub use problem::{Listed, NOTHING_AT};
pub use prometheus::ScrapeTargets;
pub use purging::PurgeableTraces;
pub use rates::RequestRates;
pub use serve::{Gateway, GatewayConfig, GatewayError, serve};
pub use tls::{
    CertificateFacts, Concern, ENDS_SOON, Reload, SelfSigned, SelfSignedError, Tls, TlsError, TlsFiles,
    TlsNotice, TlsWatch, choose_provider, self_signed,
};
