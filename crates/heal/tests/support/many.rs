//! Many runs on several threads, one report.
//!
//! In: which seeds, on how many threads, for how long. Out: the sums over the runs and every violation with
//! its seed, as JSON. A run knows nothing of the others, so neither their number nor their order changes it.

use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::storm::{Deaths, Report, run};

/// Which runs.
#[derive(Debug, Clone, Copy)]
pub struct Many {
    pub from: u64,
    pub runs: u64,
    pub threads: usize,
    /// No run begins later than this after the first.
    pub time: Duration,
    /// Between two lines of progress on stderr; `None`: none.
    pub progress: Option<Duration>,
}

/// What came of all of them.
#[derive(Default)]
struct Sums {
    runs: u64,
    /// Turns, repairs, approved, faults, troubles, storms, crashes.
    counts: [u64; 7],
    /// The highest any single run had of these.
    most: [u64; 7],
    virtual_seconds: f64,
    violations: Vec<(u64, Vec<String>)>,
    said: Duration,
}

const COUNTED: [&str; 7] = ["turns", "repairs", "approved", "faults", "troubles", "storms", "crashes"];

/// Runs the seeds from `from` on. Every other one is with deaths of the control plane.
pub fn many(asked: Many) -> Value {
    let began = Instant::now();
    let next = AtomicU64::new(asked.from);
    let end = asked.from.saturating_add(asked.runs);
    let sums = Mutex::new(Sums::default());
    let work = || {
        while began.elapsed() < asked.time {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            let deaths = if seed.is_multiple_of(2) { Deaths::None } else { Deaths::Some };
            // A panic is a violation like another: the seed has to be told, and the rest goes on.
            let report = catch_unwind(|| run(seed, deaths)).unwrap_or_else(|_| Report {
                violations: vec!["it panicked; the message is above".to_owned()],
                ..Report::default()
            });
            let mut sums = sums.lock().unwrap();
            sums.add(seed, report);
            if let Some(every) = asked.progress {
                sums.say(&asked, began.elapsed(), every);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..asked.threads {
            scope.spawn(work);
        }
    });
    sums.into_inner().unwrap().report(&asked, began.elapsed())
}

impl Sums {
    fn add(&mut self, seed: u64, report: Report) {
        let Report { turns, repairs, approved, faults, troubles, storms, crashes, .. } = report;
        let counts = [turns, repairs, approved, faults, troubles, storms, crashes].map(u64::from);
        for (index, count) in counts.into_iter().enumerate() {
            self.counts[index] += count;
            self.most[index] = self.most[index].max(count);
        }
        self.runs += 1;
        self.virtual_seconds += report.virtual_seconds;
        if !report.violations.is_empty() {
            eprintln!("seed {seed}: {}", report.violations.join("\n  "));
            self.violations.push((seed, report.violations));
        }
    }

    fn say(&mut self, asked: &Many, passed: Duration, every: Duration) {
        if passed < self.said + every {
            return;
        }
        self.said = passed;
        let rate = self.runs as f64 / passed.as_secs_f64();
        eprintln!(
            "{} of {} runs, {} violated something; {rate:.0} a second, about {:.0} s left",
            self.runs,
            asked.runs,
            self.violations.len(),
            (asked.runs - self.runs) as f64 / rate
        );
    }

    fn report(mut self, asked: &Many, wall: Duration) -> Value {
        self.violations.sort();
        let violations: Vec<Value> =
            self.violations.iter().map(|(seed, what)| json!({"seed": seed, "what": what})).collect();
        let cpu = cpu_seconds();
        let mut report = json!({
            "what": "the real loop over a fleet in memory on a virtual clock; checked from outside after every turn",
            "asked": asked.runs, "runs": self.runs, "from": asked.from,
            // Threads take the seeds in turn, so what was begun is without gaps.
            "to": asked.from + self.runs, "threads": asked.threads,
            "with_deaths_of_the_control_plane": "odd seeds",
            "violating_runs": violations.len(), "violations": violations,
            "virtual_seconds": self.virtual_seconds.round(),
            "wall_seconds": wall.as_secs_f64(), "cpu_seconds": cpu,
            "cpu_seconds_per_run": cpu / self.runs.max(1) as f64,
        });
        for (name, (sum, most)) in COUNTED.iter().zip(self.counts.iter().zip(self.most)) {
            report[*name] = json!(sum);
            report[format!("most_{name}_in_a_run")] = json!(most);
        }
        report
    }
}

/// What this process has used of the processors, user and system, by the kernel's count in clock ticks.
fn cpu_seconds() -> f64 {
    /// `USER_HZ`, which Linux fixes for every architecture it reports this way.
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in field 2 may hold spaces; utime and stime are the 12th and 13th after its closing bracket.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields = after_name.split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS_A_SECOND
}
