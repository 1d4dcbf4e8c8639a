//! The demo fleet for real: every service its own process, wired to each other directly, without the keeper.
//!
//! What must hold whoever supervises them: a checkout goes all the way, an open breaker costs a part of the
//! page and nothing else, what was acknowledged survives the end of a process, a full volume is an error
//! and not the end, and the request log holds what was sent.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use homeostat::demo_load::{RequestCounts, read_log};

/// Far above what anything here takes, also on a machine that compiles at the same time.
const PATIENCE: Duration = Duration::from_secs(30);
const CARD: &str = "4242424242424242";

#[test]
fn a_checkout_goes_from_the_page_to_the_database() {
    let shop = Shop::start();
    let page = get(shop.front(), "/?q=copper+kettle&cart=c1");
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.contains("copper kettle"), "{page:?}");
    let added = post(shop.front(), "/cart/add", "cart=c1&product=7");
    assert!(added.status == 200 && added.body.contains("7x1"), "{added:?}");

    let order = checkout(shop.front()).acknowledged();
    let row = get(shop.front(), &format!("/orders/{order}"));
    assert!(row.body.contains("\"payment\":\"paid\""), "{row:?}");
    let cart = get(shop.front(), "/?cart=c1");
    assert!(cart.body.contains("It is empty."), "the order did not empty the cart: {cart:?}");
    let ledger = std::fs::read_to_string(shop.volume("payments").join("ledger/ledger.log")).unwrap();
    assert!(ledger.contains(&order), "{ledger}");
    let log = std::fs::read_to_string(shop.volume("front").join("logs/access.log")).unwrap();
    assert!(log.contains("POST /checkout 200"), "{log}");
}

#[test]
fn a_card_that_is_none_is_refused_and_no_failure_of_the_shop() {
    let shop = Shop::start();
    let refused = post(shop.front(), "/checkout", "cart=c1&items=3x1&card=4242424242424241");
    assert_eq!(refused.status, 402, "{refused:?}");
    assert_eq!(refused.order, None);
}

#[test]
fn an_open_breaker_costs_a_part_of_the_page_and_other_failures_the_page() {
    let switch = Switch::start();
    let shop = Shop::start_with(|shop| {
        for callee in ["catalogue", "cart", "payments"] {
            shop.link(callee, &switch);
        }
    });
    checkout(shop.front()).acknowledged();

    switch.turn(State::BreakerOpen);
    let page = get(shop.front(), "/?q=lamp&cart=c1");
    assert_eq!((page.status, page.degraded.as_deref()), (200, Some("catalogue,cart")), "{page:?}");
    let pending = checkout(shop.front());
    assert_eq!(pending.degraded.as_deref(), Some("orders"), "{pending:?}");
    let order = pending.acknowledged();
    let path = format!("/orders/{order}");
    assert!(get(shop.front(), &path).body.contains("\"payment\":\"pending\""));

    switch.turn(State::Broken);
    let page = get(shop.front(), "/?q=lamp&cart=c1");
    assert_eq!((page.status, page.degraded.as_deref()), (502, None), "{page:?}");

    switch.turn(State::Passing);
    until("the pending payment is charged", || {
        get(shop.front(), &path).body.contains("\"payment\":\"paid\"")
    });
}

#[test]
fn what_is_acknowledged_while_the_database_is_away_survives_the_end_of_the_process() {
    let switch = Switch::start();
    let mut shop = Shop::start_with(|shop| shop.link("database", &switch));
    get(shop.front(), "/?q=lamp");

    switch.turn(State::BreakerOpen);
    let page = get(shop.front(), "/?q=lamp&cart=c2");
    assert_eq!((page.status, page.degraded.as_deref()), (200, Some("cart")), "{page:?}");
    assert_eq!(post(shop.front(), "/cart/add", "cart=c2&product=9").status, 200);
    let order = checkout(shop.front()).acknowledged();
    for name in ["orders", "cart"] {
        shop.kill(name);
        shop.restart(name);
    }

    switch.turn(State::Passing);
    until("the order is in the database, and paid", || {
        get(shop.front(), &format!("/orders/{order}")).body.contains("\"payment\":\"paid\"")
    });
    until("the line is in the cart", || get(shop.front(), "/?cart=c2").body.contains("9x1"));
}

#[test]
fn killing_orders_and_the_database_loses_no_acknowledged_order() {
    let mut shop = Shop::start();
    let stop = Arc::new(AtomicBool::new(false));
    let buyers: Vec<_> = (0..3)
        .map(|_| {
            let (front, stop) = (shop.front(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut orders = BTreeSet::new();
                while !stop.load(Ordering::Relaxed) {
                    orders.extend(checkout(front).order);
                }
                orders
            })
        })
        .collect();
    for victim in ["orders", "database", "orders", "database"] {
        let sent = shop.answered("front");
        until("orders are placed", || shop.answered("front") > sent + 5);
        shop.kill(victim);
        shop.restart(victim);
    }
    stop.store(true, Ordering::Relaxed);
    let acknowledged: BTreeSet<String> = buyers.into_iter().flat_map(|buyer| buyer.join().unwrap()).collect();
    assert!(acknowledged.len() > 10, "only {} orders", acknowledged.len());
    for order in &acknowledged {
        let row = get(shop.front(), &format!("/orders/{order}"));
        assert_eq!(row.status, 200, "{order} is lost: {row:?}");
    }
}

#[test]
fn a_full_volume_is_an_error_and_not_the_end() {
    let mut shop = Shop::start_with(|shop| shop.limit("database", 2));
    let mut failure = None;
    for number in 0..4000 {
        let added = post(shop.front(), "/cart/add", &format!("cart=full-{number}&product=1"));
        if added.status != 200 {
            failure = Some(added);
            break;
        }
        let many: Vec<String> = (1..=50).map(|product| format!("{product}x1")).collect();
        let placed = post(shop.front(), "/checkout", &format!("cart=c&items={}&card={CARD}", many.join(",")));
        if placed.status != 200 {
            failure = Some(placed);
            break;
        }
    }
    let failure = failure.expect("the volume never filled up");
    assert_eq!(failure.status, 502, "{failure:?}");
    let direct = post(
        shop.port("database"),
        "/query",
        r#"{"statement":"add_to_cart","parameters":{"line":"l","cart":"c","item":{"product":1,"quantity":1}}}"#,
    );
    assert!([500, 507].contains(&direct.status), "{direct:?}");
    let read = post(shop.port("database"), "/query", r#"{"statement":"products"}"#);
    assert_eq!(read.status, 200, "reading needs no space: {read:?}");
    assert!(shop.is_alive("database"));
    assert_eq!(get(shop.port("database"), "/ready").status, 200);
}

#[test]
fn drained_it_is_not_ready_but_serves_who_still_comes_and_ends_in_peace() {
    let mut shop = Shop::start();
    let payments = shop.port("payments");
    assert_eq!(post(payments, "/drain", "").status, 200);
    assert_eq!(get(payments, "/ready").status, 503);
    assert_eq!(get(payments, "/live").status, 200);
    checkout(shop.front()).acknowledged();
    assert!(get(payments, "/metrics").body.contains("shop_requests_total"));
    assert_eq!(shop.terminate("payments"), Some(0));
}

#[test]
fn slow_queries_are_logged() {
    let shop = Shop::start_with(|shop| shop.set("database", "SLOW_QUERY_MS", "0"));
    checkout(shop.front()).acknowledged();
    let log = std::fs::read_to_string(shop.volume("database").join("logs/slow.log")).unwrap();
    assert!(log.lines().any(|line| line.ends_with(" place_order")), "{log}");
}

#[test]
fn caches_are_files_and_are_cleared_on_demand() {
    let shop = Shop::start();
    let cache = shop.volume("catalogue").join("cache");
    assert_eq!(get(shop.front(), "/?q=lamp").status, 200);
    assert!(std::fs::read_dir(&cache).unwrap().count() > 0);
    assert_eq!(post(shop.port("catalogue"), "/caches/clear", "").status, 200);
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 0);
    assert_eq!(get(shop.front(), "/?q=lamp").status, 200);
}

#[test]
fn the_load_goes_on_while_the_shop_is_away() {
    let mut shop = Shop::start();
    let log = shop.directory.path().join("requests.log");
    let mut load = Load::start(shop.front(), &log);
    let served = || counts(&log).requests - counts(&log).failed;
    until("requests are served", || served() >= 50);
    let failed = counts(&log).failed;
    shop.kill("front");
    until("requests fail while the front is away", || counts(&log).failed >= failed + 20);
    shop.restart("front");
    let before = served();
    until("requests are served again", || served() >= before + 50);
    load.terminate();
}

#[test]
fn every_request_sent_is_one_line_in_the_log_and_failed_if_its_answer_was() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let front = listener.local_addr().unwrap().port();
    let answered = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&answered);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let count = Arc::clone(&count);
            std::thread::spawn(move || answer_some_with_500(stream, &count));
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("requests.log");
    let mut load = Load::start(front, &log);
    until("three hundred requests are sent", || counts(&log).requests >= 300);
    load.terminate();

    let (all, sent) = (counts(&log), answered.load(Ordering::SeqCst));
    assert_eq!((all.requests, all.failed), (sent, sent / 5));
    assert!(all.p50 > Some(Duration::ZERO) && all.p50 <= all.p95, "{all:?}");
    let lines = std::fs::read_to_string(&log).unwrap();
    assert_eq!(lines.lines().count() as u64, sent);
    assert!(lines.lines().all(|line| line.split(',').count() == 6), "{lines}");
}

#[test]
fn an_occupied_port_and_a_missing_setting_are_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let directory = tempfile::tempdir().unwrap();
    let run = |port: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_homeostat"))
            .args(["demo-service", "payments"])
            .env("HOMEOSTAT_INSTANCE", "payments-0")
            .env("HOMEOSTAT_VOLUME", directory.path())
            .env("PORT", port)
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run(&port).contains(&format!("cannot listen on 127.0.0.1:{port}")));
    assert!(run("").contains("environment variable PORT is not set"));
    assert!(run("many").contains("PORT is \"many\""));
}

#[test]
fn the_fleet_file_can_be_brought_up() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../drills/shop.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let shop: domain::Infrastructure = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(shop.check(), []);
    let replicas: Vec<(&str, u32)> =
        shop.services.iter().map(|(name, spec)| (name.as_str(), spec.replicas)).collect();
    let expected = [
        ("cart", 2),
        ("catalogue", 2),
        ("database", 1),
        ("front", 2),
        ("load", 1),
        ("orders", 2),
        ("payments", 2),
    ];
    assert_eq!(replicas, expected);
}

/// One instance of each service.
struct Shop {
    directory: tempfile::TempDir,
    services: Vec<Service>,
}

struct Service {
    name: &'static str,
    port: u16,
    environment: Vec<(String, String)>,
    /// Holds its volume to so many MiB: on a tmpfs of its own where user namespaces are allowed, else by a
    /// limit on the size of each file.
    limit_mib: Option<u64>,
    child: Option<Child>,
}

impl Shop {
    fn start() -> Self {
        Self::start_with(|_| {})
    }

    fn start_with(adjust: impl FnOnce(&mut Self)) -> Self {
        let mut shop = Self { directory: tempfile::tempdir().unwrap(), services: Vec::new() };
        let names = ["database", "payments", "orders", "cart", "catalogue", "front"];
        for name in names {
            let environment = shop
                .services
                .iter()
                .map(|callee| (address_of(callee.name), format!("127.0.0.1:{}", callee.port)))
                .collect();
            let port = free_port();
            shop.services.push(Service { name, port, environment, limit_mib: None, child: None });
        }
        adjust(&mut shop);
        for name in names {
            shop.restart(name);
        }
        shop
    }

    /// Puts `switch` between `callee` and its callers.
    fn link(&mut self, callee: &'static str, switch: &Switch) {
        let listener = switch.add(self.port(callee));
        self.set_all(&address_of(callee), &listener);
    }

    fn set_all(&mut self, name: &str, value: &str) {
        for service in &mut self.services {
            for (_, old) in service.environment.iter_mut().filter(|(known, _)| known == name) {
                value.clone_into(old);
            }
        }
    }

    fn set(&mut self, service: &str, name: &str, value: &str) {
        self.service_mut(service).environment.push((name.to_owned(), value.to_owned()));
    }

    fn limit(&mut self, service: &str, mib: u64) {
        self.service_mut(service).limit_mib = Some(mib);
    }

    /// Starts a service and waits until it is ready.
    fn restart(&mut self, name: &str) {
        let volume = self.volume(name);
        std::fs::create_dir_all(&volume).unwrap();
        let service = self.service_mut(name);
        let binary = env!("CARGO_BIN_EXE_homeostat");
        let mut command = match service.limit_mib {
            None => Command::new(binary),
            Some(mib) => {
                let script = if user_namespaces_allowed() {
                    format!("mount -t tmpfs -o size={mib}m tmpfs \"$HOMEOSTAT_VOLUME\" && exec \"$0\" \"$@\"")
                } else {
                    format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", mib * 1024)
                };
                let mut command = Command::new(if user_namespaces_allowed() { "unshare" } else { "bash" });
                if user_namespaces_allowed() {
                    command.args(["-Urm", "bash"]);
                }
                command.args(["-c", &script, binary]);
                command
            }
        };
        command
            .args(["demo-service", name])
            .env("PORT", service.port.to_string())
            .env("HOMEOSTAT_INSTANCE", format!("{name}-0"))
            .env("HOMEOSTAT_VOLUME", &volume)
            .envs(service.environment.iter().cloned())
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        service.child = Some(command.process_group(0).spawn().unwrap());
        let port = service.port;
        until(&format!("{name} is ready"), || get(port, "/ready").status == 200);
    }

    /// SIGKILL.
    fn kill(&mut self, name: &str) {
        self.service_mut(name).kill();
    }

    /// SIGTERM; the exit status.
    fn terminate(&mut self, name: &str) -> Option<i32> {
        let mut child = self.service_mut(name).child.take().unwrap();
        terminate(&mut child)
    }

    fn is_alive(&mut self, name: &str) -> bool {
        self.service_mut(name).child.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    fn front(&self) -> u16 {
        self.port("front")
    }

    fn port(&self, name: &str) -> u16 {
        self.services.iter().find(|service| service.name == name).unwrap().port
    }

    fn volume(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// How many requests a service says it answered since it started.
    fn answered(&self, name: &str) -> u64 {
        let metrics = get(self.port(name), "/metrics").body;
        let line = metrics.lines().find(|line| line.starts_with("shop_requests_total{")).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    fn service_mut(&mut self, name: &str) -> &mut Service {
        self.services.iter_mut().find(|service| service.name == name).unwrap()
    }
}

impl Service {
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The load generator.
struct Load(Child);

impl Load {
    fn start(front: u16, log: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_homeostat"))
            .args(["demo-load", "--rate", "50", "--seed", "7", "--log"])
            .arg(log)
            .env("FRONT_ADDRESS", format!("127.0.0.1:{front}"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn terminate(&mut self) {
        assert_eq!(terminate(&mut self.0), Some(0));
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A stand-in for link proxies, with the one thing about them the services know: what an open breaker says.
struct Switch {
    state: Arc<AtomicU64>,
}

#[derive(Clone, Copy)]
enum State {
    Passing = 0,
    BreakerOpen = 1,
    Broken = 2,
}

impl Switch {
    fn start() -> Self {
        Self { state: Arc::default() }
    }

    fn turn(&self, state: State) {
        self.state.store(state as u64, Ordering::SeqCst);
    }

    /// Listens in front of `callee` and gives the address.
    fn add(&self, callee: u16) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::clone(&self.state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                std::thread::spawn(move || pass_requests(stream, callee, &state));
            }
        });
        address
    }
}

/// Answers the requests of one connection, each by what the switch is turned to when it comes.
fn pass_requests(mut caller: TcpStream, callee: u16, state: &AtomicU64) -> Option<()> {
    while let Some(request) = read_message(&mut caller) {
        match state.load(Ordering::SeqCst) {
            0 => {
                let mut backend = TcpStream::connect(("127.0.0.1", callee)).ok()?;
                backend.write_all(&request).ok()?;
                caller.write_all(&read_message(&mut backend)?).ok()?;
            }
            1 => caller
                .write_all(
                    b"HTTP/1.1 503 Service Unavailable\r\nx-homeostat-breaker: open\r\n\
                      content-length: 0\r\n\r\n",
                )
                .ok()?,
            _ => return None,
        }
    }
    None
}

/// Serves one connection: each request counts, and every fifth is answered with 500.
fn answer_some_with_500(mut caller: TcpStream, count: &AtomicU64) -> Option<()> {
    while read_message(&mut caller).is_some() {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        let status = if number.is_multiple_of(5) { "500 Internal Server Error" } else { "200 OK" };
        let answer = format!("HTTP/1.1 {status}\r\nx-shop-order: o\r\ncontent-length: 0\r\n\r\n");
        caller.write_all(answer.as_bytes()).ok()?;
    }
    None
}

/// One HTTP message with a content length, whole; `None` at the end of the connection.
fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let mut part = [0; 4096];
    loop {
        if let Some(head) = message.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&message[..head]).to_lowercase();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
                .unwrap_or(0);
            if message.len() >= head + 4 + length {
                return Some(message);
            }
        }
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return None,
            Ok(count) => message.extend_from_slice(&part[..count]),
        }
    }
}

/// An answer; status 0 where there was none.
#[derive(Debug)]
struct Seen {
    status: u16,
    degraded: Option<String>,
    order: Option<String>,
    body: String,
}

impl Seen {
    #[track_caller]
    fn acknowledged(self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.order.expect("no order was acknowledged")
    }
}

fn checkout(front: u16) -> Seen {
    post(front, "/checkout", &format!("cart=c1&items=7x1,3x2&card={CARD}"))
}

fn get(port: u16, path: &str) -> Seen {
    seen(agent().get(format!("http://127.0.0.1:{port}{path}")).call())
}

fn post(port: u16, path: &str, body: &str) -> Seen {
    seen(agent().post(format!("http://127.0.0.1:{port}{path}")).send(body))
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        .build();
    config.into()
}

fn seen(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Seen {
    let Ok(mut response) = answer else {
        return Seen { status: 0, degraded: None, order: None, body: String::new() };
    };
    let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    Seen {
        status: response.status().as_u16(),
        degraded: header("x-shop-degraded"),
        order: header("x-shop-order"),
        body: response.body_mut().read_to_string().unwrap_or_default(),
    }
}

fn counts(log: &Path) -> RequestCounts {
    let at = |boot_us| domain::Time { boot_us, wall_us: 0 };
    read_log(log, at(0), at(u64::MAX)).unwrap()
}

#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "not within {} s: {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn terminate(child: &mut Child) -> Option<i32> {
    let pid = i32::try_from(child.id()).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    child.wait().unwrap().code()
}

fn user_namespaces_allowed() -> bool {
    static ALLOWED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ALLOWED.get_or_init(|| {
        let tried = Command::new("unshare")
            .args(["-Urm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    })
}

fn address_of(service: &str) -> String {
    format!("{}_ADDRESS", service.to_uppercase())
}

/// A port nobody listens on, below those the kernel gives to outgoing connections, so that none of the many
/// connections here takes it while its service is down.
fn free_port() -> u16 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // Runs of this test at the same time begin at different places.
    let first = u64::from(std::process::id()) * 131;
    std::iter::repeat_with(|| 10_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 22_000)
        .map(|port| u16::try_from(port).unwrap())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}
