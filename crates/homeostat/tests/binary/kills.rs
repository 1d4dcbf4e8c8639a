//! `kill -9` of the control plane, the keeper or both at random instants, while faults and repairs run.
//!
//! In: a seed and numbers. Out: one JSON line a kill: what, when, how long until nothing was left behind, or
//! what was. One demo fleet is booted and taken from kill to kill; each kill's choices come from the seed and
//! its own number, so that a campaign can be run in parts and any kill again.

mod audit;
mod choice;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use domain::{Clock, Time};
use homeostat::demo_load::read_log;
use provider::clock::SystemClock;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Test;
use crate::fleet::Fleet;
use crate::processes::{self, Part};
use audit::left_behind;
use choice::{Choice, Pace, Victim};

pub(crate) const TESTS: &[Test] = &[("fifty_kills_at_random_instants_leave_nothing_behind", fifty)];

/// How long a killed fleet may take until nothing is left behind.
const LIMIT: Duration = Duration::from_secs(60);

/// How long after the last kill plans may wait for their verdict and measures to be lifted. A path on which requests were
/// turned away is held out for a minute after it is well, and is tried again where it was not: three times that, and the
/// verdicts.
const CALM_WITHIN: Duration = Duration::from_secs(3 * (60 + 20));

/// How long a kill that is to meet a repair waits for one.
const REPAIR_WITHIN: Duration = Duration::from_secs(6);

/// A recovery that takes longer is shown with what took so long.
const SLOW_MS: u64 = 5000;

/// When a request has ended at the latest, where any does.
const NEXT_LINE_WITHIN: Duration = Duration::from_secs(5);

/// Between two looks.
const POLL: Duration = Duration::from_millis(25);

/// Everything on auto, and limits for a fleet that is broken again and again. Confidence, failure rate and
/// repetition are guarded in tests of their own; here as many repairs as possible are to be under way, and a
/// measure that comes again and again is not held for longer each time: the end of the campaign waits for it.
const CONFIG: &str = r#"
[policy.ladder]
default = "auto"
[policy.limits]
per_resource = 100000
in_all = 100000
at_a_time = 5
confidence_min = 0
severity_min = "low"
failure_rate_max = 100
cooldown = "1s"
repeats_max = 100000
demote_after = 100000
recurrence_window = "60s"
[policy.verification]
deadline = "10s"
hold = "3s"
[policy.lifting]
too_early = "0s"
"#;

const SHOP: &str = include_str!("../../../../drills/shop.yaml");

/// Kills at random instants, one line of JSON each.
#[derive(Debug, Parser)]
#[command(name = "campaign")]
struct Arguments {
    /// How many kills.
    #[arg(long, default_value_t = 1000)]
    count: u32,
    /// The number of the first.
    #[arg(long, default_value_t = 0)]
    from: u32,
    /// Decides everything.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Lines are appended here; numbers that are there already are left out.
    #[arg(long, default_value = "crash.jsonl")]
    out: PathBuf,
}

/// One kill and what came of it.
#[derive(Debug, Serialize, Deserialize)]
struct Kill {
    seed: u64,
    number: u32,
    victim: Victim,
    /// The rows of the matrix that were injected, each with what became of the request.
    faults: Vec<(String, String)>,
    /// From the injection to the kill.
    after_ms: u64,
    /// Plans that had begun and not ended when it was killed.
    under_way: Vec<String>,
    /// How long nobody started the control plane again.
    down_ms: u64,
    /// From the start of the control plane, or the end of the keeper where that alone was killed, until nothing
    /// was left behind; null: not within the limit.
    recovered_ms: Option<u64>,
    /// Experiments that began only after the keeper was killed, and were ended by who asked for them.
    #[serde(default)]
    begun_late: usize,
    /// What was left behind at the limit.
    left_behind: Vec<String>,
    /// What was there last before nothing was left behind.
    last_seen: Vec<String>,
    /// Seconds, of those in which only the control plane was dead, without a request that was served; null
    /// where the question makes no sense.
    seconds_unserved: Option<u64>,
}

impl Kill {
    fn is_well(&self) -> bool {
        self.recovered_ms.is_some() && self.seconds_unserved.unwrap_or(0) == 0
    }
}

fn fifty() {
    let mut campaign = Campaign::boot(1, Pace::Brisk);
    let mut kills: Vec<Kill> = Vec::new();
    while kills.len() < 50 && kills.last().is_none_or(|kill| kill.recovered_ms.is_some()) {
        let kill = campaign.kill(kills.len() as u32);
        println!("{}", line(&kill));
        kills.push(kill);
    }
    println!("{}", summary(&kills));
    let unwell: Vec<&Kill> = kills.iter().filter(|kill| !kill.is_well()).collect();
    let open = if unwell.is_empty() { campaign.calm() } else { Vec::new() };
    if !unwell.is_empty() || !open.is_empty() {
        evidence(&campaign, &Path::new(env!("CARGO_TARGET_TMPDIR")).join("kills"), "fifty");
    }
    assert!(unwell.is_empty(), "{unwell:#?}");
    assert!(open.is_empty(), "after the last kill: {open:#?}");
}

/// `campaign …`: what `cargo xtask crash` runs.
pub(crate) fn campaign(arguments: Vec<String>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop)).unwrap();
        signal_hook::flag::register(signal, Arc::clone(&stop)).unwrap();
    }
    let done = earlier(&arguments.out);
    let is_done =
        |number: &u32| done.iter().any(|kill| kill.seed == arguments.seed && kill.number == *number);
    let numbers = (arguments.from..).take(arguments.count as usize).filter(|number| !is_done(number));
    let mut out = std::fs::File::options().create(true).append(true).open(&arguments.out).unwrap();
    let mut running: Option<Campaign> = None;
    for number in numbers.take_while(|_| !stop.load(Ordering::Relaxed)) {
        let campaign = running.get_or_insert_with(|| Campaign::boot(arguments.seed, Pace::Full));
        let kill = campaign.kill(number);
        writeln!(out, "{}", serde_json::to_string(&kill).unwrap()).unwrap();
        eprintln!("{}", line(&kill));
        if !kill.is_well() {
            evidence(campaign, &arguments.out, &number.to_string());
        }
        if kill.recovered_ms.is_none() {
            // What is left of one kill is not to be counted with the next.
            running = None;
        }
    }
    let open = running.as_ref().map(Campaign::calm).unwrap_or_default();
    open.iter().for_each(|what| eprintln!("     after the last kill: {what}"));
    if let (false, Some(campaign)) = (open.is_empty(), &running) {
        evidence(campaign, &arguments.out, "end");
    }
    drop(running);
    let all = earlier(&arguments.out);
    println!("{}", summary(&all));
    if open.is_empty() && all.iter().all(Kill::is_well) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Keeps what may say why something was left behind.
fn evidence(campaign: &Campaign, beside: &Path, of: &str) {
    let to = PathBuf::from(format!("{}.{}-{of}", beside.display(), campaign.seed));
    match campaign.fleet.keep_evidence(&to) {
        Ok(()) => eprintln!("       evidence in {}", to.display()),
        Err(error) => eprintln!("       no evidence: {error}"),
    }
}

/// The kills in a file; a line that was cut short is left out, and so its kill is done again.
fn earlier(path: &Path) -> Vec<Kill> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn line(kill: &Kill) -> String {
    let faults: Vec<&str> = kill.faults.iter().map(|(name, _)| name.as_str()).collect();
    let recovered =
        kill.recovered_ms.map_or("NOT RECOVERED".to_owned(), |ms| format!("recovered in {ms} ms"));
    let mut text = format!(
        "{:>4} {:<13} {:>4} ms after {}: {recovered}",
        kill.number,
        kill.victim.to_string(),
        kill.after_ms,
        faults.join(" and ")
    );
    if kill.seconds_unserved.unwrap_or(0) > 0 {
        text.push_str("; TRAFFIC STOPPED");
    }
    if kill.recovered_ms.is_some_and(|ms| ms > SLOW_MS) {
        kill.last_seen.iter().for_each(|seen| text.push_str(&format!("\n       until then: {seen}")));
    }
    kill.left_behind.iter().for_each(|left| text.push_str(&format!("\n       left behind: {left}")));
    text
}

fn summary(kills: &[Kill]) -> String {
    let mut text = format!("{} kills", kills.len());
    for victim in Victim::ALL {
        let of: Vec<&Kill> = kills.iter().filter(|kill| kill.victim == victim).collect();
        let mut times: Vec<u64> = of.iter().filter_map(|kill| kill.recovered_ms).collect();
        times.sort_unstable();
        let at = |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
        text.push_str(&format!(
            "\n  {:<13} {:>4}, nothing left behind after p50 {} ms, p95 {} ms, at most {} ms",
            victim.to_string(),
            of.len(),
            at(50).copied().unwrap_or(0),
            at(95).copied().unwrap_or(0),
            times.last().copied().unwrap_or(0)
        ));
    }
    let met = |what: &dyn Fn(&str) -> bool| {
        kills.iter().filter(|kill| kill.under_way.iter().any(|plan| what(plan))).count()
    };
    text.push_str(&format!(
        "\n  met the steps of a repair: {}; its verification: {}; a fault being put in force: {}; one in force: {}",
        met(&|plan| plan.starts_with("remediation") && plan.ends_with("in_progress")),
        met(&|plan| plan.starts_with("remediation") && plan.ends_with("verifying")),
        met(&|plan| plan.starts_with("experiment")),
        kills.iter().filter(|kill| kill.faults.iter().any(|(_, became)| became == "in force")).count()
    ));
    let alone = kills.iter().filter(|kill| kill.seconds_unserved.is_some()).count();
    let unserved = kills.iter().filter(|kill| kill.seconds_unserved.unwrap_or(0) > 0).count();
    let left = kills.iter().filter(|kill| kill.recovered_ms.is_none()).count();
    text.push_str(&format!(
        "\n  left something behind: {left}; traffic stopped: {unserved} of {alone} with only the control plane dead"
    ));
    text
}

/// What came of waiting.
struct Settled {
    /// How long it took until the last thing was seen that should not have been there; `None`: the limit.
    recovered: Option<Duration>,
    /// What was seen last.
    seen: Vec<String>,
    /// Experiments that began only after the kill, and were ended.
    late: BTreeSet<String>,
}

/// One booted fleet under load.
struct Campaign {
    fleet: Fleet,
    seed: u64,
    pace: Pace,
    requests: PathBuf,
}

impl Campaign {
    fn boot(seed: u64, pace: Pace) -> Self {
        let mut fleet = Fleet::new(CONFIG);
        let file = fleet.write("fleet.yaml", SHOP);
        fleet.run(&["up", file.to_str().unwrap()]).done();
        // From here on the control plane is a child of this process, as it is after every kill.
        processes::kill(fleet.the(&Part::ControlPlane));
        fleet.serve();
        let requests = fleet.dir.join("keeper/requests.log");
        let campaign = Self { fleet, seed, pace, requests };
        let now = SystemClock.now();
        let settled = campaign.settle(now, None);
        assert!(settled.recovered.is_some(), "the fleet does not come up: {:?}", settled.seen);
        campaign
    }

    /// Injects, kills, starts again, and waits until nothing is left behind.
    fn kill(&mut self, number: u32) -> Kill {
        let choice = Choice::of(self.seed, number, self.pace);
        let began_at = SystemClock.now();
        let (injected, under_way, spare, killed_at) = std::thread::scope(|threads| {
            let fleet = &self.fleet;
            let asked: Vec<_> = choice
                .faults
                .iter()
                .map(|(_, body)| threads.spawn(move || fleet.post("/api/v3/chaos/experiment", body)))
                .collect();
            if choice.repairs_first {
                self.wait_for_a_repair();
            }
            std::thread::sleep(choice.after);
            let under_way = audit::under_way(&self.fleet).unwrap_or_default();
            let spare = audit::has_spare(&self.fleet, &choice.stopped).unwrap_or(false);
            let killed_at = SystemClock.now();
            self.strike(choice.victim);
            let answers: Vec<_> = asked.into_iter().map(|thread| thread.join().unwrap()).collect();
            (answers, under_way, spare, killed_at)
        });
        let after_ms = millis(Duration::from_micros(killed_at.boot_us - began_at.boot_us));
        let alone = choice.victim == Victim::ControlPlane;
        if choice.victim != Victim::Keeper {
            std::thread::sleep(choice.down);
        }
        let unserved = (alone && spare).then(|| self.seconds_unserved(killed_at, SystemClock.now()));
        // A dead keeper is started by the next call of the control plane that lives on.
        let restarted_at = if choice.victim == Victim::Keeper { killed_at } else { SystemClock.now() };
        if choice.victim != Victim::Keeper {
            self.fleet.serve();
        }
        // A request that was under way when the keeper died is put in force by the next one. With the control plane dies
        // who asked: what its successor finds in force, it has to end by itself.
        let late = (choice.victim == Victim::Keeper).then_some(killed_at);
        let settled = self.settle(restarted_at, late);
        Kill {
            seed: self.seed,
            number,
            victim: choice.victim,
            faults: choice
                .faults
                .iter()
                .map(|(name, _)| name.clone())
                .zip(injected.iter().map(became))
                .collect(),
            after_ms,
            under_way,
            down_ms: if choice.victim == Victim::Keeper { 0 } else { millis(choice.down) },
            recovered_ms: settled.recovered.map(millis),
            begun_late: settled.late.len(),
            left_behind: if settled.recovered.is_none() { settled.seen.clone() } else { Vec::new() },
            last_seen: settled.seen,
            seconds_unserved: unserved,
        }
    }

    fn strike(&self, victim: Victim) {
        let all = self.fleet.processes();
        let of = |part: Part| all.iter().filter(move |one| one.part == part).map(|one| one.pid);
        let pids: Vec<u32> = match victim {
            Victim::ControlPlane => of(Part::ControlPlane).collect(),
            Victim::Keeper => of(Part::Keeper).collect(),
            Victim::Both => of(Part::ControlPlane).chain(of(Part::Keeper)).collect(),
        };
        pids.iter().for_each(|pid| processes::signal(*pid, rustix::process::Signal::KILL));
        pids.iter().for_each(|pid| processes::kill(*pid));
    }

    /// Waits for a repair that has begun; not every fault needs one.
    fn wait_for_a_repair(&self) {
        let deadline = Instant::now() + REPAIR_WITHIN;
        while Instant::now() < deadline && !audit::repairs(&self.fleet).unwrap_or(false) {
            std::thread::sleep(POLL);
        }
    }

    /// Looks until nothing is left behind and users are served, or the limit is reached. Experiments that begin after
    /// `late_after` are not left behind, and last longer than the limit unless who asked for them ends them.
    fn settle(&self, from: Time, late_after: Option<Time>) -> Settled {
        let mut last_bad = from;
        let mut seen = Vec::new();
        let mut late = BTreeSet::new();
        loop {
            let begun = late_after.map(|killed_at| audit::begun_after(&self.fleet, killed_at));
            for experiment in begun.and_then(Result::ok).unwrap_or_default() {
                // It may have ended since.
                let _ = self.fleet.delete(&format!("/api/v3/chaos/experiment/{experiment}"));
                late.insert(experiment);
            }
            let mut left = left_behind(&self.fleet);
            let mut at = SystemClock.now();
            if left.is_empty() {
                match audit::served(&self.requests, from) {
                    Ok(()) => return Settled { recovered: Some(last_bad.since(from)), seen, late },
                    Err(audit::Unserved::NotLongEnough) => {}
                    Err(audit::Unserved::Failing { last, what }) => {
                        at = last;
                        left.push(what);
                    }
                }
            }
            if !left.is_empty() {
                last_bad.boot_us = last_bad.boot_us.max(at.boot_us);
                seen = left;
            }
            if SystemClock.now().since(from) > LIMIT {
                return Settled { recovered: None, seen, late };
            }
            std::thread::sleep(POLL);
        }
    }

    /// Whole seconds of a span in which requests ended and none was served. One in which none ended says nothing: the
    /// machine stood still, and who asks with it. Where all of them are so, nobody was served at all.
    fn seconds_unserved(&self, from: Time, to: Time) -> u64 {
        // Lines are in the order in which requests ended: one that ended later says that those before are there.
        // None comes where nobody is served at all any more.
        let deadline = Instant::now() + NEXT_LINE_WITHIN;
        while read_log(&self.requests, to, SystemClock.now()).unwrap().requests == 0
            && Instant::now() < deadline
        {
            std::thread::sleep(POLL);
        }
        let second = Duration::from_secs(1);
        let mut at = from;
        let (mut empty, mut failing, mut seconds) = (0, 0, 0);
        while at.plus(second).boot_us <= to.boot_us {
            let counts = read_log(&self.requests, at, at.plus(second)).unwrap();
            seconds += 1;
            empty += u64::from(counts.requests == 0);
            failing += u64::from(counts.requests > 0 && counts.requests == counts.failed);
            at = at.plus(second);
        }
        if empty == seconds { seconds } else { failing }
    }

    /// The end: every plan has its verdict, no measure is in force. Gives what still is.
    fn calm(&self) -> Vec<String> {
        let deadline = Instant::now() + CALM_WITHIN;
        loop {
            let open = audit::unfinished(&self.fleet).unwrap_or_else(|why| vec![why]);
            if open.is_empty() || Instant::now() > deadline {
                return open;
            }
            std::thread::sleep(POLL);
        }
    }
}

/// What became of a request to inject.
fn became(answer: &Result<Value, String>) -> String {
    match answer {
        Ok(_) => "in force".to_owned(),
        Err(why) => why.clone(),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
