//! A gateway that is served for one test, and requests to it as bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use audit::Audit;
use chaos::drill::Archive;
use domain::{Clock, Time};
use gateway::access::AccessConfig;
use gateway::otlp::{OtlpConfig, OtlpReceivers};
use gateway::{Gateway, GatewayConfig, GatewayError, Listening, RequestRates, ScrapeTargets, serve};
use homeostat_tracer::Tracer;
use metrics::{Batch, Metrics, SourceName};
use observe::objectives::{Answers, Objectives};
use promql::rules::RuleStates;
use serde_json::Value;
use store::Store;
use telemetry::Telemetry;

use super::{Fleet, MachineClock};

pub(crate) const TOKEN: &str = "a-token-for-the-tests-only";
const DOCUMENT: &str = "/api/v3/openapi.json";
pub(crate) const HEALING: &str = "/api/v3/self-healing";

pub(crate) struct Server {
    pub(crate) gateway: Gateway,
    pub(crate) fleet: Arc<Fleet>,
    /// Where telemetry is kept, if it is.
    _dir: Option<tempfile::TempDir>,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

pub(crate) fn start(scene: fn(&Fleet)) -> Server {
    serve_with(scene, Kept::default())
}

/// One that traces what it is asked.
pub(crate) fn start_traced(scene: fn(&Fleet), tracer: Tracer) -> Server {
    serve_with(scene, Kept { tracer: Some(tracer), ..Kept::default() })
}

/// With an empty telemetry store and receivers before it.
pub(crate) fn start_receiving() -> (Server, OtlpReceivers) {
    let dir = tempfile::tempdir().unwrap();
    let telemetry = Telemetry::open(telemetry::Config::new(dir.path())).unwrap();
    let ports = OtlpConfig { grpc_port: 0, http_port: 0, receivers: 1, ..OtlpConfig::default() };
    let receivers = OtlpReceivers::start(&ports, || telemetry.intake()).unwrap();
    let (store, clock) = (Store::in_memory().unwrap(), Arc::new(MachineClock::start()));
    let fleet = Arc::new(Fleet::new(store.clone(), clock.clone()));
    let config =
        GatewayConfig { otlp: Some(receivers.running()), telemetry: Some(telemetry), ..config(clock) };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = serve(listener, store, fleet.clone(), config).unwrap();
    (Server { gateway, fleet, _dir: Some(dir) }, receivers)
}

/// With a telemetry store in a directory of its own, which ends with the server.
pub(crate) fn start_with_telemetry(scene: fn(&Fleet)) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let telemetry = Telemetry::open(telemetry::Config::new(dir.path())).unwrap();
    Server { _dir: Some(dir), ..serve_with(scene, Kept::of(telemetry)) }
}

/// With a telemetry store that refuses everything once something is on its disk.
pub(crate) fn start_with_backlog() -> Server {
    let dir = tempfile::tempdir().unwrap();
    let config = telemetry::Config { backlog_bytes_max: 0, ..telemetry::Config::new(dir.path()) };
    let telemetry = Telemetry::open(config).unwrap();
    Server { _dir: Some(dir), ..serve_with(super::scene::calm, Kept::of(telemetry)) }
}

/// With a telemetry store that holds a scene of traces.
pub(crate) fn start_with_traces(traces: fn(&Telemetry, u64)) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let telemetry = Telemetry::open(telemetry::Config::new(dir.path())).unwrap();
    traces(&telemetry, MachineClock::start().now().wall_us as u64 * 1000);
    Server { _dir: Some(dir), ..serve_with(super::scene::calm, Kept::of(telemetry)) }
}

/// With objectives, and what counts the gateway's own answers.
pub(crate) fn start_with_objectives(
    scene: fn(&Fleet),
    objectives: fn(&Store, Time, Answers) -> Arc<Objectives>,
) -> (Server, Arc<Objectives>, Arc<dyn Clock>) {
    let store = Store::in_memory().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(MachineClock::start());
    let fleet = Arc::new(Fleet::new(store.clone(), Arc::clone(&clock)));
    scene(&fleet);
    let answers = Answers::default();
    let objectives = objectives(&store, clock.now(), answers.clone());
    let config =
        GatewayConfig { objectives: Some(Arc::clone(&objectives)), answers, ..config(Arc::clone(&clock)) };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = serve(listener, store, fleet.clone(), config).unwrap();
    (Server { gateway, fleet, _dir: None }, objectives, clock)
}

/// A gateway that keeps nothing beside the store and asks nobody to sign in.
pub(crate) fn config(clock: Arc<dyn Clock>) -> GatewayConfig {
    GatewayConfig {
        access: AccessConfig::default(),
        audit: None,
        drills: None,
        token: TOKEN.to_owned(),
        token_file: None,
        clock,
        otlp: None,
        telemetry: None,
        metrics: None,
        rules: None,
        targets: None,
        tracer: None,
        objectives: None,
        answers: Answers::default(),
        rates: RequestRates::default(),
    }
}

/// Opens objectives over a store, at a time.
pub(crate) type OpenObjectives = fn(&Store, Time, Answers) -> Arc<Objectives>;

/// What a gateway is given beside the fleet.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) telemetry: Option<Telemetry>,
    pub(crate) metrics: Option<Metrics>,
    pub(crate) rules: Option<Arc<dyn RuleStates>>,
    pub(crate) targets: Option<Arc<dyn ScrapeTargets>>,
    pub(crate) tracer: Option<Tracer>,
    pub(crate) access: AccessConfig,
    pub(crate) audit: Option<Audit>,
    pub(crate) drills: Option<Archive>,
    pub(crate) objectives: Option<OpenObjectives>,
    pub(crate) rates: RequestRates,
    /// One in memory, where none is given.
    pub(crate) store: Option<Store>,
}

impl Kept {
    fn of(telemetry: Telemetry) -> Self {
        Self { telemetry: Some(telemetry), ..Self::default() }
    }
}

/// With a store of series in a directory of its own, which ends with the server, and what else is given.
pub(crate) fn start_with_metrics(batch: Batch, kept: Kept) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(MachineClock::start());
    let metrics = Metrics::open(metrics::Config::new(dir.path().join("metrics"), clock)).unwrap();
    let admission = metrics.append(&SourceName::new("test"), batch).unwrap();
    assert_eq!(admission.refused.total(), 0, "{admission:?}");
    let server = serve_with(super::scene::calm, Kept { metrics: Some(metrics), ..kept });
    Server { _dir: Some(dir), ..server }
}

/// With a fleet in a state, and a telemetry store that holds a scene of traces.
pub(crate) fn start_with_both(scene: fn(&Fleet), traces: fn(&Telemetry, u64)) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let telemetry = Telemetry::open(telemetry::Config::new(dir.path())).unwrap();
    traces(&telemetry, MachineClock::start().now().wall_us as u64 * 1000);
    Server { _dir: Some(dir), ..serve_with(scene, Kept::of(telemetry)) }
}

pub(crate) fn serve_with(scene: fn(&Fleet), kept: Kept) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    serve_on(listener.into(), scene, kept).unwrap()
}

/// On listeners of the test's own.
pub(crate) fn serve_on(listening: Listening, scene: fn(&Fleet), kept: Kept) -> Result<Server, GatewayError> {
    let mut kept = kept;
    let store = kept.store.take().unwrap_or_else(|| Store::in_memory().unwrap());
    let clock: Arc<dyn Clock> = Arc::new(MachineClock::start());
    let fleet = Arc::new(Fleet::new(store.clone(), Arc::clone(&clock)));
    scene(&fleet);
    let Kept {
        telemetry,
        metrics,
        rules,
        targets,
        tracer,
        access,
        audit,
        objectives,
        drills,
        rates,
        store: _,
    } = kept;
    let answers = Answers::default();
    let objectives = objectives.map(|open| open(&store, clock.now(), answers.clone()));
    let config = GatewayConfig {
        audit,
        drills,
        access,
        telemetry,
        metrics,
        rules,
        targets,
        tracer,
        objectives,
        answers,
        rates,
        ..config(clock)
    };
    Ok(Server { gateway: serve(listening, store, fleet.clone(), config)?, fleet, _dir: None })
}

impl Server {
    /// One that a test served itself.
    #[allow(dead_code, reason = "one test serves its own")]
    pub(crate) fn of(gateway: Gateway, fleet: Arc<Fleet>) -> Self {
        Self { gateway, fleet, _dir: None }
    }

    /// With a directory that ends with it.
    pub(crate) fn keeping(self, dir: tempfile::TempDir) -> Self {
        Self { _dir: Some(dir), ..self }
    }

    /// That directory.
    pub(crate) fn directory(&self) -> &std::path::Path {
        self._dir.as_ref().expect("this server keeps a directory").path()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://localhost:{}", self.address().port())
    }

    /// One request by whoever has this token, or by nobody.
    pub(crate) fn ask(&self, bearer: Option<&str>, method: &str, path: &str, body: &str) -> Reply {
        let (host, bearer) = (self.host(), bearer.map(|token| format!("Bearer {token}")));
        let mut headers = vec![("host", host.as_str()), ("content-type", "application/json")];
        headers.extend(bearer.as_ref().map(|bearer| ("authorization", bearer.as_str())));
        self.raw(method, path, &headers, body)
    }

    /// A token of the data directory's: its secret and its id.
    pub(crate) fn token(&self, body: Value) -> (String, String) {
        let made = self.post("/api/v3/access/tokens", body);
        assert_eq!(made.status, 201, "{}", made.body);
        let made = made.json();
        (made["token"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned())
    }

    /// One request with exactly these headers besides `Connection` and `Content-Length`.
    pub(crate) fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        // A refused body is answered before it was read to its end, which may break this write.
        let _ = stream.write_all(format!("{head}\r\n{body}").as_bytes());
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) =
            text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {method} {path}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let reply = Reply { status, head: head.to_owned(), body: unchunked(head, body) };
        if reply.header("content-type") == Some("application/problem+json") && path != DOCUMENT {
            Self::check_code(method, path, &reply);
        }
        reply
    }

    /// Every refusal has a code that the document lists for its operation.
    fn check_code(method: &str, path: &str, reply: &Reply) {
        static DOCUMENTED: OnceLock<Value> = OnceLock::new();
        // Of a server of its own: some tests count what theirs was asked.
        let document = DOCUMENTED.get_or_init(|| start(super::scene::calm).get(DOCUMENT).json());
        let asked: Vec<&str> = path.split('?').next().unwrap_or(path).split('/').collect();
        let fits = |template: &str| {
            let parts: Vec<&str> = template.split('/').collect();
            parts.len() == asked.len()
                && parts.iter().zip(&asked).all(|(part, asked)| part.starts_with('{') || part == asked)
        };
        let operations = document["paths"].as_object().unwrap();
        let known = operations.iter().filter(|(template, _)| fits(template));
        // The most definite address is the one that answers.
        let operation = known.min_by_key(|(template, _)| template.matches('{').count());
        let operation = operation.and_then(|(_, methods)| methods.get(method.to_lowercase()));
        let Some(operation) = operation else { return };
        let schema = "content/application~1problem+json/schema/allOf/1/properties/code/enum";
        let listed = operation.pointer(&format!("/responses/{}/{schema}", reply.status));
        let code = &reply.json()["code"];
        let is_listed = listed.is_some_and(|codes| codes.as_array().unwrap().contains(code));
        assert!(
            is_listed,
            "{method} {path} refuses with {code}, which the document does not list: {listed:?}"
        );
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.raw("GET", path, &[("host", &self.host())], "")
    }

    pub(crate) fn host(&self) -> String {
        format!("localhost:{}", self.address().port())
    }

    /// A write as a program sends it.
    pub(crate) fn write(&self, method: &str, path: &str, body: &str) -> Reply {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [
            ("host", self.host()),
            ("authorization", bearer),
            ("content-type", "application/json".to_owned()),
        ];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.raw(method, path, &headers, body)
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Reply {
        self.write("POST", path, &body.to_string())
    }

    /// Signs the page in and gives its cookie.
    pub(crate) fn cookie(&self) -> String {
        let headers = [
            ("host", self.host()),
            ("origin", self.origin()),
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
        ];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let reply = self.raw("POST", "/login", &headers, &format!("token={TOKEN}&next=%2Fissues"));
        assert_eq!((reply.status, reply.header("location")), (303, Some("/issues")));
        let cookie = reply.header("set-cookie").unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        cookie.split(';').next().unwrap().to_owned()
    }

    /// A form as the signed-in page sends it.
    pub(crate) fn submit(&self, path: &str, form: &str, cookie: &str) -> Reply {
        let (host, origin) = (self.host(), self.origin());
        let headers = [
            ("host", host.as_str()),
            ("origin", origin.as_str()),
            ("cookie", cookie),
            ("sec-fetch-site", "same-origin"),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        self.raw("POST", path, &headers, form)
    }

    pub(crate) fn first(&self, list: &str) -> String {
        self.get(&format!("{HEALING}/{list}")).json()[0]["id"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn unchunked(head: &str, body: &str) -> String {
    if !head.contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let (mut rest, mut whole) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    whole
}

pub(crate) fn assert_problem(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.status, status, "{}", reply.body);
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{}", reply.head);
    let problem = reply.json();
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["status"], status);
    assert!(problem["detail"].as_str().unwrap().len() > 10, "{problem}");
}
