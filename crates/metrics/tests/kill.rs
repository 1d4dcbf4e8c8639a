//! Killed at any instant, the store has what it acknowledged.
//!
//! The test starts itself as a child that appends and says what was acknowledged, kills it (SIGKILL) after so many answers
//! as a seed decides, opens the store and looks for all of it; again and again on the same directory, so that recoveries
//! are recovered from, too.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, Time};
use metrics::{Aggregate, Batch, Config, Metrics, SourceName};
use promql::{Labels, Sample, Select, Source, Value};

/// Says to the child in which directory it is to work, and from which second on.
const DIR: &str = "METRICS_KILL_DIR";
const FROM: &str = "METRICS_KILL_FROM";

const BEGIN_MS: i64 = 1_700_000_040_000;
const SERIES: i64 = 40;
const KILLS: u64 = 12;

/// It stands still: samples are within an hour.
struct Still;

impl Clock for Still {
    fn now(&self) -> Time {
        Time { boot_us: 1_000_000_000, wall_us: (BEGIN_MS + 3_600_000) * 1000 }
    }

    fn wait(&self, _: Duration) {}
}

fn open(dir: &Path) -> Metrics {
    // Blocks are written and merged many times in a life.
    Metrics::open(Config {
        head_bytes: 20_000,
        ahead: Duration::from_secs(86_400),
        ..Config::new(dir, Arc::new(Still))
    })
    .expect("a store opens")
}

fn value(series: i64, second: i64) -> f64 {
    (series * 1000 + second * second) as f64 / 10.0
}

/// No test of its own: what the test below starts.
#[test]
fn child() {
    let (Ok(dir), Ok(from)) = (std::env::var(DIR), std::env::var(FROM)) else { return };
    let store = open(Path::new(&dir));
    let from: i64 = from.parse().expect("a second");
    let mut second = from;
    loop {
        let series = (0..SERIES).map(|number| {
            let labels = Labels::new([("__name__", "m".to_owned()), ("number", number.to_string())]);
            let sample =
                Sample { at_ms: BEGIN_MS + second * 1000, value: Value::Float(value(number, second)) };
            (labels, vec![sample])
        });
        let batch = Batch { series: series.collect(), ..Batch::default() };
        match store.append(&SourceName::new("child"), batch) {
            Ok(admission) => assert_eq!(admission.accepted, SERIES as u64, "{admission:?}"),
            Err(metrics::Refusal::Backlog { .. }) => {
                // Told by the refusal where the disk does not take them.
                let _ = store.flush();
                continue;
            }
            Err(refusal @ metrics::Refusal::Disk { .. }) => {
                println!("{refusal}");
                continue;
            }
            Err(refusal) => panic!("{refusal}"),
        }
        // The parent ends first only when it failed.
        if writeln!(std::io::stdout(), "acknowledged {second}").is_err() {
            return;
        }
        second += 1;
    }
}

/// Lets a child live for so many answers; answers the last second it acknowledged.
fn live_and_die(dir: &Path, from: i64, answers: u64) -> i64 {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(FROM, from.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut last = from - 1;
    let mut lines = BufReader::new(child.stdout.take().expect("its answers")).lines();
    let mut heard = 0;
    while heard < answers {
        let line = lines.next().expect("the child lives").expect("a line");
        if let Some((_, second)) = line.split_once("acknowledged ") {
            last = second.parse().expect("a second");
            heard += 1;
        }
    }
    child.kill().expect("killed");
    // What it said before it died counts, too.
    for line in lines.map_while(Result::ok) {
        if let Some(second) = line.split_once("acknowledged ").and_then(|(_, second)| second.parse().ok()) {
            last = second;
        }
    }
    child.wait().expect("dead");
    last
}

#[test]
fn what_was_acknowledged_is_there_after_each_kill() {
    let dir = tempfile::TempDir::new().expect("a directory");
    let dir: PathBuf = dir.path().join("store");
    let mut next = 0;
    let mut blocks = 0;
    for kill in 0..KILLS {
        // Any instants will do, the same each time; some before the first block of a life, some behind many.
        let answers = 1 + (kill * 7919 + 13) % 400;
        let last = live_and_die(&dir, next, answers);
        let store = open(&dir);
        let select = Select { matchers: Vec::new(), from_ms: i64::MIN, to_ms: i64::MAX, step_ms: 0 };
        let found = store.select(&select).expect("readable");
        assert_eq!(found.len() as i64, SERIES);
        for series in &found {
            let number: i64 = series.labels.get("number").parse().expect("a number");
            assert!(series.samples.len() as i64 > last, "kill {kill}: {} of {last}", series.samples.len());
            for (second, sample) in series.samples.iter().enumerate() {
                let wanted = Sample {
                    at_ms: BEGIN_MS + second as i64 * 1000,
                    value: Value::Float(value(number, second as i64)),
                };
                assert_eq!(*sample, wanted, "kill {kill}");
            }
        }
        // A second of which not all was acknowledged is there as a whole or not at all; tiers count each sample once.
        let seconds = found[0].samples.len();
        assert!(found.iter().all(|series| series.samples.len() == seconds));
        let counted =
            store.aggregates(&Select { step_ms: 60_000, ..select }, Aggregate::Count).expect("readable");
        for series in counted {
            let total: f64 = series
                .samples
                .iter()
                .map(|sample| match &sample.value {
                    Value::Float(count) => *count,
                    Value::Histogram(_) => 0.0,
                })
                .sum();
            assert_eq!(total, seconds as f64, "kill {kill}");
        }
        next = seconds as i64;
        blocks = store.status().tiers[0].blocks;
    }
    assert!(blocks > 0, "no life was long enough for a block");
}

/// A child whose files may not grow beyond 32 KiB: what the log cannot take is refused with the reason, and taken when it
/// is sent again; nothing acknowledged is lost, nothing refused is there twice.
#[test]
fn what_the_disk_does_not_take_is_refused_and_taken_later() {
    let dir = tempfile::TempDir::new().expect("a directory");
    let dir: PathBuf = dir.path().join("store");
    let exe = std::env::current_exe().expect("this test");
    // The shell's unit is 512 bytes. Ignored, the signal becomes an error of the write.
    let mut child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" --exact child --nocapture --test-threads=1"])
        .arg(exe)
        .env(DIR, &dir)
        .env(FROM, "0")
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut lines = BufReader::new(child.stdout.take().expect("its answers")).lines();
    let (mut last, mut refused) = (-1, 0);
    while refused < 3 || last < 10 {
        let line = lines.next().expect("the child lives").expect("a line");
        refused += u64::from(line.contains("the disk did not take it: File too large"));
        if let Some((_, second)) = line.split_once("acknowledged ") {
            last = second.parse().expect("a second");
        }
    }
    child.kill().expect("killed");
    child.wait().expect("dead");
    let store = open(&dir);
    let select = Select { matchers: Vec::new(), from_ms: i64::MIN, to_ms: i64::MAX, step_ms: 0 };
    let found = store.select(&select).expect("readable");
    assert_eq!(found.len() as i64, SERIES);
    for series in found {
        assert!(series.samples.len() as i64 > last);
        let times = series.samples.iter().enumerate();
        assert!(times.into_iter().all(|(second, sample)| sample.at_ms == BEGIN_MS + second as i64 * 1000));
    }
}
