//! The traces of the benchmark's corpus: which calls a visit to a small shop makes, with what on each span.
//!
//! Values: tables of operations in, attribute lists out. What differs from trace to trace (ids, times, durations) is
//! written by [`super::corpus`].

/// A call of a trace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    /// Index into [`SERVICES`].
    pub(crate) service: usize,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Index of the calling span in its shape; `None` for the root.
    pub(crate) parent: Option<usize>,
    /// Begin after the root's, in microseconds.
    pub(crate) start_us: u64,
    /// In microseconds.
    pub(crate) duration_us: u64,
    pub(crate) subject: Subject,
}

/// Span kinds, with their numbers in OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
    Producer = 4,
}

/// What a call is about; decides its attributes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subject {
    Http { method: &'static str, route: &'static str },
    Database { operation: &'static str, table: &'static str },
    Queue { topic: &'static str },
}

/// A value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Integer(u64),
    /// 16 hexadecimal digits, different on every span.
    Unique,
}

/// How a trace ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Good,
    /// The last call to another service fails, and with it all that led there.
    Failed,
}

const USER_AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0",
    "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 Safari/18.5",
    "Mozilla/5.0 (Windows NT 10.0) Chrome/138.0.0.0",
    "curl/8.14.1",
];

pub(crate) const SERVICES: [&str; 6] = ["front", "cart", "catalogue", "orders", "payments", "search"];

const fn http(
    service: usize,
    kind: Kind,
    parent: Option<usize>,
    (start_us, duration_us): (u64, u64),
    method: &'static str,
    (name, route): (&'static str, &'static str),
) -> Call {
    Call { service, name, kind, parent, start_us, duration_us, subject: Subject::Http { method, route } }
}

const fn database(
    service: usize,
    parent: usize,
    (start_us, duration_us): (u64, u64),
    name: &'static str,
    operation: &'static str,
    table: &'static str,
) -> Call {
    let subject = Subject::Database { operation, table };
    Call { service, name, kind: Kind::Client, parent: Some(parent), start_us, duration_us, subject }
}

use Kind::{Client, Internal, Producer, Server};

/// An order: ten spans in three services.
const CHECKOUT: [Call; 10] = [
    http(0, Server, None, (0, 48_000), "POST", ("POST /checkout", "/checkout")),
    http(0, Client, Some(0), (900, 6_000), "GET", ("GET cart", "/cart/{visitor}")),
    http(1, Server, Some(1), (1_300, 5_100), "GET", ("GET /cart/{visitor}", "/cart/{visitor}")),
    database(1, 2, (1_900, 3_700), "SELECT cart_lines", "SELECT", "cart_lines"),
    http(0, Client, Some(0), (7_600, 39_000), "POST", ("POST orders", "/orders")),
    http(3, Server, Some(4), (8_100, 38_000), "POST", ("POST /orders", "/orders")),
    database(3, 5, (8_900, 7_200), "INSERT orders", "INSERT", "orders"),
    http(3, Client, Some(5), (16_800, 24_000), "POST", ("POST payments", "/payments")),
    http(4, Server, Some(7), (17_300, 23_000), "POST", ("POST /payments", "/payments")),
    Call {
        service: 3,
        name: "publish order-placed",
        kind: Producer,
        parent: Some(5),
        start_us: 42_000,
        duration_us: 2_900,
        subject: Subject::Queue { topic: "order-placed" },
    },
];

/// A look at a page: ten spans in three services.
const BROWSE: [Call; 10] = [
    http(0, Server, None, (0, 21_000), "GET", ("GET /", "/")),
    http(0, Internal, Some(0), (300, 20_000), "GET", ("render page", "/")),
    http(0, Client, Some(1), (700, 9_000), "GET", ("GET catalogue", "/articles")),
    http(2, Server, Some(2), (1_100, 8_300), "GET", ("GET /articles", "/articles")),
    database(2, 3, (1_500, 2_600), "SELECT articles", "SELECT", "articles"),
    database(2, 3, (4_400, 1_900), "SELECT prices", "SELECT", "prices"),
    database(2, 3, (6_500, 2_400), "SELECT stock", "SELECT", "stock"),
    http(0, Client, Some(1), (10_100, 8_000), "GET", ("GET search", "/suggestions")),
    http(5, Server, Some(7), (10_500, 7_200), "GET", ("GET /suggestions", "/suggestions")),
    database(5, 8, (11_100, 5_900), "SELECT terms", "SELECT", "terms"),
];

/// A health probe: two spans in one service.
const PROBE: [Call; 2] = [
    http(0, Server, None, (0, 900), "GET", ("GET /health", "/health")),
    database(0, 0, (200, 500), "SELECT 1", "SELECT", "none"),
];

/// The calls of the trace with this number; the traces 0 to 50 fill a request, and 51 is the short one at its end.
pub(crate) fn shape(trace: usize) -> &'static [Call] {
    match trace {
        51.. => &PROBE,
        _ if trace.is_multiple_of(3) => &CHECKOUT,
        _ => &BROWSE,
    }
}

/// One trace in 25 fails: 2 to 4 % of requests do in a shop that is not well, and errors are what is searched for.
pub(crate) fn ending(trace: usize) -> Ending {
    if trace % 25 == 12 { Ending::Failed } else { Ending::Good }
}

/// Whether a call of a failed trace carries the error: the last call to another service and its callers.
pub(crate) fn fails(calls: &[Call], call: usize) -> bool {
    let Some(last) = calls.iter().rposition(|call| call.kind == Server) else { return false };
    let mut at = Some(last);
    while let Some(index) = at {
        if index == call {
            return true;
        }
        at = calls[index].parent;
    }
    false
}

/// The 8 attributes of a service's resource.
pub(crate) fn resource(service: usize) -> [(&'static str, Value); 8] {
    let name = SERVICES[service];
    [
        ("service.name", text(name)),
        ("service.namespace", text("shop")),
        ("service.version", text(&format!("2.{service}.1"))),
        ("service.instance.id", text(&format!("{name}-0"))),
        ("deployment.environment.name", text("production")),
        ("host.name", text(&format!("node-{}", service % 3))),
        ("telemetry.sdk.language", text("rust")),
        ("telemetry.sdk.name", text("opentelemetry")),
    ]
}

/// The 10 attributes of a span: 7 texts, one of them unique, and 3 integers.
pub(crate) fn attributes(call: &Call, trace: usize, ending: Ending) -> [(&'static str, Value); 10] {
    let address = format!("{}.shop.svc.cluster.local", SERVICES[(call.service + trace) % SERVICES.len()]);
    let port = Value::Integer(8000 + call.service as u64);
    let thread = Value::Integer(1 + (trace as u64 * 7) % 16);
    match call.subject {
        Subject::Http { method, route } => [
            ("http.request.method", text(method)),
            ("http.route", text(route)),
            ("url.scheme", text("http")),
            ("server.address", text(&address)),
            ("user.tier", text(["guest", "member", "gold"][trace % 3])),
            ("user_agent.original", text(USER_AGENTS[trace % USER_AGENTS.len()])),
            ("request.id", Value::Unique),
            ("http.response.status_code", Value::Integer(if ending == Ending::Failed { 503 } else { 200 })),
            ("server.port", port),
            ("thread.id", thread),
        ],
        Subject::Database { operation, table } => [
            ("db.system.name", text("postgresql")),
            ("db.namespace", text("shop")),
            ("db.operation.name", text(operation)),
            ("db.collection.name", text(table)),
            ("server.address", text("db-0.shop.svc.cluster.local")),
            ("db.query.text", text(&format!("{operation} on {table} where id = $1 and shop = $2"))),
            ("request.id", Value::Unique),
            ("db.response.returned_rows", Value::Integer((trace as u64 * 13) % 50)),
            ("server.port", port),
            ("thread.id", thread),
        ],
        Subject::Queue { topic } => [
            ("messaging.system", text("kafka")),
            ("messaging.destination.name", text(topic)),
            ("messaging.operation.name", text("publish")),
            ("messaging.client.id", text(&address)),
            ("server.address", text("broker-0.shop.svc.cluster.local")),
            ("network.transport", text("tcp")),
            ("request.id", Value::Unique),
            ("messaging.batch.message_count", Value::Integer(1 + trace as u64 % 4)),
            ("server.port", port),
            ("thread.id", thread),
        ],
    }
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}
