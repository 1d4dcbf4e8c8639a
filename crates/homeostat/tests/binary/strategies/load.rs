//! More visitors than one instance has processor time for: others are started beside it, and serve.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{approve_what_waits, begun, closed, config, issue, service, strategies, verdict};
use crate::fleet::{BINARY, Fleet, agent, until};
use crate::port::free_port;

/// Visitors a second before the rush.
const USUAL: f64 = 10.0;

/// So long the visitors come as usual: their rate is what a rise is told by, and a start costs processor time.
const SETTLE: Duration = Duration::from_secs(6);

/// What an instance of the front may use, in cores.
const LIMIT: f64 = 0.1;

/// The rush begins with as many as bring the front to this share of its limit, well below the threshold.
const FIRST_SHARE: f64 = 0.6;

/// Between two groups of visitors. Detection judges an average over 3 s.
const NEXT_GROUP: Duration = Duration::from_secs(5);

/// Each group is this share of those who are there already, so that none comes unnoticed far above the limit.
const GROUP: f64 = 0.3;

/// The demo shop with one of each; the front keeps nothing of its own, so there may be more of it.
fn shop(port: u16, scratch: &str) -> String {
    let service = |name: &str, callees: &str| {
        format!(
            r#"  {name}:
    command: ["{{homeostat}}", demo-service, {name}]
    listens: http
    dependencies: [{callees}]
    readiness: {{ http: /ready, interval: 100ms }}
    volume: {{ size: 16MiB }}
"#
        )
    };
    let behind = [
        service("catalogue", "database"),
        service("cart", "database"),
        service("orders", "database, payments"),
        service("payments", ""),
        service("database", ""),
    ];
    format!(
        r#"name: shop
services:
  front:
    command: ["{{homeostat}}", demo-service, front]
    listens: http
    publish: {port}
    dependencies: [catalogue, cart, orders]
    readiness: {{ http: /ready, interval: 100ms }}
    environment: {{ HOMEOSTAT_VOLUME: {scratch} }}
    limits: {{ cpu: {LIMIT} }}
{}"#,
        behind.concat()
    )
}

pub(super) fn spread() {
    let scratch = tempfile::tempdir().unwrap();
    let port = free_port();
    // What fails because the machine is slow is no issue either: a breaker would keep the visitors from the front.
    let tolerant = config("15s").replace("latency_ms = 10000", "latency_ms = 10000\nerror_rate = 90");
    let fleet = Fleet::up(&tolerant, &shop(port, scratch.path().to_str().unwrap()));
    let mut visitors = Visitors { port, log: scratch.path().join("requests.log"), groups: Vec::new() };
    visitors.come(USUAL);
    let began = Instant::now();
    until("the shop is visited as usual", || {
        if began.elapsed() >= SETTLE { Ok(()) } else { Err("too soon".to_owned()) }
    });

    // What a visitor costs depends on how the front was compiled.
    let used = until("its use is measured", || {
        let front = service(&fleet, "front")?;
        front["instances"][0]["cpu_cores"].as_f64().ok_or_else(|| front.to_string())
    });
    let mut rate = USUAL;
    let mut more = (USUAL * FIRST_SHARE * LIMIT / used - USUAL).max(USUAL);
    println!("{USUAL} visitors a second use {used:.3} cores; {more:.0} more come first");
    let mut next = Instant::now();
    let seen = until("the front is short of processor time", || {
        if Instant::now() >= next {
            visitors.come(more);
            rate += more;
            more = rate * GROUP;
            next = Instant::now() + NEXT_GROUP;
        }
        issue(&fleet, "high_cpu", "instance/front-0")
    });
    assert_eq!(seen["reason"], "load", "{seen:#}");

    let repair = until("it is healed", || {
        approve_what_waits(&fleet)?;
        let repair = verdict(&fleet, &seen, "scale_horizontally")?;
        // A number by measure may be too few for visitors who came while it was measured; then it is the most.
        if repair["outcome"]["kind"] == "healed" { Ok(repair) } else { Err(repair.to_string()) }
    });
    assert_eq!(repair["cause"]["class"], "cpu_exhausted", "{repair:#}");
    assert_eq!(repair["lift_after_seconds"], 12.0, "{repair:#}");
    let tried = begun(&fleet, &seen).unwrap();
    assert!(strategies(&tried).iter().all(|strategy| *strategy == "scale_horizontally"), "{tried:#?}");
    serve_their_share(&fleet);
    until("the issue is over", || closed(&fleet, "high_cpu", "instance/front-0"));
}

/// Every instance answers at least half of its equal share of the visitors who come now.
fn serve_their_share(fleet: &Fleet) {
    let front = service(fleet, "front").unwrap();
    let ports: Vec<u16> = front["instances"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|instance| u16::try_from(instance["port"].as_u64()?).ok())
        .collect();
    assert!((2..=4).contains(&ports.len()), "one to three are added: {front:#}");
    let before: Vec<u64> = ports.iter().map(|port| answered(*port)).collect();
    let since = || ports.iter().zip(&before).map(|(port, before)| answered(*port) - before);
    until("a hundred visitors were served", || {
        let all: u64 = since().sum();
        if all >= 100 { Ok(()) } else { Err(format!("{all} so far")) }
    });
    let each: Vec<u64> = since().collect();
    let least = each.iter().sum::<u64>() / ports.len() as u64 / 2;
    assert!(each.iter().all(|answered| *answered >= least), "answered by each: {each:?}");
}

/// How many requests an instance says it answered since it started.
fn answered(port: u16) -> u64 {
    let mut response = agent().get(format!("http://127.0.0.1:{port}/metrics")).call().unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    let line = text.lines().find(|line| line.starts_with("shop_requests_total{")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Groups of visitors, each a load generator of its own.
struct Visitors {
    port: u16,
    log: std::path::PathBuf,
    groups: Vec<Child>,
}

impl Visitors {
    /// So many more a second.
    fn come(&mut self, rate: f64) {
        assert!(TcpStream::connect(("127.0.0.1", self.port)).is_ok(), "the front is not published");
        let log = self.log.with_extension(self.groups.len().to_string());
        let group = Command::new(BINARY)
            .args(["demo-load", "--rate", &rate.to_string(), "--seed", "7", "--log"])
            .arg(log)
            .env("FRONT_ADDRESS", format!("127.0.0.1:{}", self.port))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.groups.push(group);
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        for group in &mut self.groups {
            let _ = group.kill();
            let _ = group.wait();
        }
    }
}
