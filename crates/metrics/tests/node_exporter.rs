//! The scraper before a real node-exporter (Debian's package), in both formats it speaks.
//!
//! Skipped, and said to be, where the package is not installed: `./test` installs it.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use domain::{Clock, Time};
use metrics::scrape::{Config, Health, Scraper, Target};
use metrics::{Admission, Appending, Batch, Kind, MetricSink};
use promql::{Labels, Value};

/// How long an effect may take before the test fails.
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Recorder(Mutex<Vec<Batch>>);

impl MetricSink for Recorder {
    fn append(&self, _: &str, batch: Batch) -> Appending {
        self.0.lock().expect("no test panics with it").push(batch);
        Box::pin(std::future::ready(Ok(Admission::default())))
    }
}

struct Clocks(Instant);

impl Clock for Clocks {
    fn now(&self) -> Time {
        let us = self.0.elapsed().as_micros() as u64;
        Time { boot_us: us, wall_us: 1_760_000_000_000_000 + us as i64 }
    }

    fn wait(&self, _: Duration) {
        unreachable!("a scraper waits for targets, not for time");
    }
}

/// Ends with the test.
struct Exporter(Child);

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_node_exporter_is_read_to_its_last_line() {
    let free =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let started = Command::new("prometheus-node-exporter")
        .arg(format!("--web.listen-address={free}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let exporter = match started {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: no node-exporter");
            return;
        }
        started => Exporter(started.expect("it is installed")),
    };
    let recorder = Arc::new(Recorder::default());
    let sink: Arc<dyn MetricSink> = Arc::clone(&recorder) as _;
    let scraper =
        Scraper::start(&Config::default(), sink, Arc::new(Clocks(Instant::now()))).expect("threads");
    // An exporter on a busy machine takes more than a second for its page.
    let often = Duration::from_secs(5);
    let target = Target::new("node", format!("http://{free}/metrics"));
    scraper.set_targets(vec![Target { interval: often, timeout: often, ..target }]).expect("a target");
    let began = Instant::now();
    let state = loop {
        let state = scraper.targets().remove(0);
        if state.health == Health::Up {
            break state;
        }
        assert!(began.elapsed() < DEADLINE, "{state:?}");
        std::thread::sleep(Duration::from_millis(20));
    };
    scraper.shutdown();
    drop(exporter);
    assert_eq!(state.error, None, "nothing of a real page is left out");
    assert!(state.samples > 200, "{}", state.samples);
    let batches = std::mem::take(&mut *recorder.0.lock().expect("no test panics with it"));
    let page = batches.iter().find(|batch| batch.series.len() > 200).expect("the page that was up");
    let values: HashMap<&Labels, &Value> =
        page.series.iter().map(|(labels, samples)| (labels, &samples[0].value)).collect();
    let one = |name: &str| {
        let found = values.iter().find(|(labels, _)| labels.get("__name__") == name);
        match found {
            Some((labels, Value::Float(value))) => ((*labels).clone(), *value),
            other => panic!("{name}: {other:?}"),
        }
    };
    let (labels, load) = one("node_load1");
    assert_eq!((labels.get("job"), labels.get("instance")), ("node", &*free.to_string()));
    assert!(load >= 0.0);
    assert!(one("node_memory_MemTotal_bytes").1 > 1e6);
    let cpus = values.keys().filter(|labels| labels.get("__name__") == "node_cpu_seconds_total");
    assert!(cpus.clone().count() >= 8, "a row for each mode of each core");
    assert!(cpus.into_iter().all(|labels| !labels.get("mode").is_empty() && !labels.get("cpu").is_empty()));
    assert!(
        values
            .keys()
            .any(|labels| labels.get("__name__") == "go_gc_duration_seconds"
                && labels.get("quantile") == "1.0")
    );
    let kinds: HashMap<&str, Kind> =
        page.metadata.iter().map(|(name, known)| (&**name, known.kind)).collect();
    assert_eq!(kinds.get("node_load1"), Some(&Kind::Gauge));
    assert!(kinds.contains_key("node_cpu_seconds_total") || kinds.contains_key("node_cpu_seconds"));
    assert!(page.metadata.iter().any(|(_, known)| known.help.contains("memory")));
    assert_eq!(one("up").1, 1.0);
    assert_eq!(one("scrape_samples_scraped").1, state.samples as f64);
}
