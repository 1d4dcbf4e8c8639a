//! `homeostat chaos`: inject one fault, stop everything, take out what was left.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::{Subcommand, ValueEnum};
use domain::units::{parse_duration, show_duration};
use domain::{BurnBound, ExperimentId, PlanStatus, ResourceId};
use provider::clock::SystemClock;
use serde_json::{Map, Value, json};
use store::Store;

use super::config::{load, print};
use super::deploy::unwatched;
use super::{Exit, Failure, Global};
use crate::client::{Client, ClientError};
use crate::control_plane::{ControlPlane, EMERGENCY_FILE, OccupiedPort, StartError};

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum ChaosCommand {
    /// Inject one fault and wait until its effect is proven.
    Inject(InjectArgs),
    /// End one experiment, and take its faults out.
    Abort {
        /// Its id, from `homeostat chaos inject` or the page.
        experiment: ExperimentId,
    },
    /// Take every fault out at once; nothing is repaired or disturbed until `chaos resume`.
    Stop {
        /// Said in full, because it stops repairs too.
        #[arg(long, required = true)]
        emergency: bool,
    },
    /// Clear the emergency stop.
    Resume,
    /// Take out what a dead control plane left in, and settle what it was doing; starts nothing where nothing was left.
    Recover {
        /// How long a step is waited for that may still come to its effect; exit code 1 where one is under way then.
        #[arg(long, value_parser = parse_duration, default_value = "5m", allow_hyphen_values = true)]
        within: Duration,
    },
}

/// `chaos inject`.
#[derive(Debug, clap::Args)]
pub(crate) struct InjectArgs {
    /// Which fault.
    fault: FaultName,
    /// Where: instance/cart-0, volume/cart-0 or link/front->cart.
    #[arg(long)]
    target: ResourceId,
    /// For how long at most, 1s to 1h.
    #[arg(long = "for", value_parser = parse_duration, allow_hyphen_values = true)]
    time: Duration,
    /// cpu_stress, memory_stress, disk_fill: percent of the limit.
    #[arg(long, value_parser = percent, allow_hyphen_values = true)]
    percent: Option<f64>,
    /// memory_stress, disk_fill: the time in which it gets there, evenly, such as 2m; at once where it is left out.
    #[arg(long, value_parser = parse_duration, allow_hyphen_values = true)]
    ramp: Option<Duration>,
    /// disk_fill: which files.
    #[arg(long, value_enum)]
    class: Option<Files>,
    /// network_latency: such as 300ms.
    #[arg(long, value_parser = parse_duration, allow_hyphen_values = true)]
    delay: Option<Duration>,
    /// network_latency: plus or minus, such as 50ms.
    #[arg(long, value_parser = parse_duration, allow_hyphen_values = true)]
    jitter: Option<Duration>,
    /// api_throttling: requests a second, 1 to 100.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100), allow_negative_numbers = true)]
    rate: Option<u32>,
    /// Network faults: only the path to this instance, such as cart-0.
    #[arg(long, conflicts_with = "established")]
    backend: Option<String>,
    /// Network faults: only the connections open now.
    #[arg(long)]
    established: bool,
    /// cpu_stress, memory_stress: beside the instance instead of inside it; needs cgroups.
    #[arg(long)]
    host: bool,
    /// End it early where the error budget of this objective burns faster than this, such as api-requests=14.4.
    #[arg(long, value_name = "OBJECTIVE=BURN", value_parser = burn_bound)]
    abort_when: Option<BurnBound>,
}

fn burn_bound(text: &str) -> Result<BurnBound, String> {
    let parts =
        text.rsplit_once('=').and_then(|(objective, burn)| Some((objective, burn.parse::<f64>().ok()?)));
    let (objective, burn_rate) = parts
        .filter(|(objective, burn)| !objective.is_empty() && burn.is_finite() && *burn > 0.0)
        .ok_or_else(|| format!("{text:?} is no OBJECTIVE=BURN, such as api-requests=14.4"))?;
    Ok(BurnBound { objective: objective.to_owned(), burn_rate })
}

/// A share; which ones are in range depends on the fault. What is no number could not be sent as JSON.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| format!("{text:?} is no number of percent, such as 90"))
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum FaultName {
    PodKill,
    PodDeletion,
    Pause,
    CpuStress,
    MemoryStress,
    DiskFill,
    NetworkLatency,
    NetworkPartition,
    ApiThrottling,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Files {
    Temporary,
    Logs,
    Cache,
    Data,
}

pub(super) fn run(global: &Global, command: &ChaosCommand) -> Result<Exit, Failure> {
    match command {
        ChaosCommand::Inject(args) => inject(global, args),
        ChaosCommand::Abort { experiment } => abort(global, *experiment),
        ChaosCommand::Stop { .. } => stop(global),
        ChaosCommand::Resume => resume(global),
        ChaosCommand::Recover { within } => recover(global, *within),
    }
}

/// Longer than any step of a fault may take to its effect.
const EFFECT_WITHIN: Duration = Duration::from_secs(120);

fn inject(global: &Global, args: &InjectArgs) -> Result<Exit, Failure> {
    let client = global.client()?;
    let name = value_name(&args.fault);
    let mut body = json!({
        "name": format!("{name} by hand"),
        "type": name,
        "target": { "resource": args.target.to_string() },
        "parameters": parameters(args),
        "duration_seconds": args.time.as_secs_f64(),
    });
    if let Some(bound) = &args.abort_when {
        body["abort_when"] = json!(bound);
    }
    let begun: Result<Value, ClientError> = client.post("/api/v3/chaos/experiment", &body);
    let mut experiment = begun.map_err(|error| match &error {
        // Nobody refused it: it was tried, and taken back.
        ClientError::Refused { code, .. } if code == "conflict" => Failure::failed(&error),
        _ => error.by_option(&SAID_BY).into(),
    })?;
    let id = experiment["id"].as_str().unwrap_or_default().to_owned();
    print(&format!("{id}\n"))?;
    let deadline = Instant::now() + EFFECT_WITHIN;
    while experiment["started_at"].is_null() {
        let state = experiment["status"].as_str().unwrap_or_default();
        if state != "running" || Instant::now() > deadline {
            let why = experiment["error"].as_str().unwrap_or("its effect is not proven yet");
            let message = format!("{name} on {}: {state}; {why}", args.target);
            return Err(Failure { exit: Exit::Failed, message });
        }
        std::thread::sleep(Duration::from_millis(250));
        experiment = client
            .get(&format!("/api/v3/chaos/experiment/{id}"))
            .map_err(|error| unwatched(&format!("experiment {id}"), error))?;
    }
    provider::say!("{name} is in effect on {}; it ends by itself", args.target);
    Ok(Exit::Done)
}

/// By which option each field of an experiment is said.
const SAID_BY: [(&str, &str); 11] = [
    ("duration_seconds", "--for"),
    ("target.resource", "--target"),
    ("parameters.load_percent", "--percent"),
    ("parameters.fill_percent", "--percent"),
    ("parameters.ramp_seconds", "--ramp"),
    ("parameters.class", "--class"),
    ("parameters.delay_ms", "--delay"),
    ("parameters.jitter_ms", "--jitter"),
    ("parameters.requests_per_second", "--rate"),
    ("parameters.attachment", "--host"),
    ("abort_when.burn_rate", "--abort-when"),
];

/// Only what was given is sent: what does not belong to the fault is then refused by name.
fn parameters(args: &InjectArgs) -> Map<String, Value> {
    let mut parameters = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            parameters.insert(name.to_owned(), value);
        }
    };
    let percent = if matches!(args.fault, FaultName::CpuStress) { "load_percent" } else { "fill_percent" };
    let millis = |time: Duration| json!(time.as_secs_f64() * 1000.0);
    set(percent, args.percent.map(Value::from));
    set("ramp_seconds", args.ramp.map(|ramp| json!(ramp.as_secs_f64())));
    set("class", args.class.as_ref().map(|class| value_name(class).into()));
    set("delay_ms", args.delay.map(millis));
    set("jitter_ms", args.jitter.map(millis));
    set("requests_per_second", args.rate.map(Value::from));
    let established = args.established.then(|| Value::from("established_connections"));
    let backend = args.backend.as_deref().map(Value::from);
    set("scope", established.or(backend));
    set("attachment", args.host.then(|| "host".into()));
    parameters
}

fn value_name<T: ValueEnum>(value: &T) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Through the API; where that does not answer, through the file that the control plane looks for.
fn stop(global: &Global) -> Result<Exit, Failure> {
    let ask = |client: Client| client.post::<Value>("/api/v3/chaos/emergency-stop", &json!({}));
    if global.server.is_some() {
        return stopped(&ask(global.client()?)?);
    }
    match Client::find(&global.dir).and_then(ask) {
        Ok(answer) => return stopped(&answer),
        Err(ClientError::NotRunning { .. } | ClientError::Unreachable { .. }) if global.dir.exists() => {
            let file = global.dir.join(EMERGENCY_FILE);
            durable::replace(&file, b"", durable::Access::Everybody)
                .map_err(|error| Failure::failed(&error))?;
            provider::say!(
                "no control plane answers; wrote {}, which stops the next one at its start",
                file.display()
            );
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Exit::Done)
}

fn stopped(answer: &Value) -> Result<Exit, Failure> {
    print(&format!("{} faults taken out\n", answer["faults_removed"]))?;
    provider::say!("nothing is repaired or disturbed until `homeostat chaos resume`");
    Ok(Exit::Done)
}

fn abort(global: &Global, experiment: ExperimentId) -> Result<Exit, Failure> {
    let ended: Value = global.client()?.delete(&format!("/api/v3/chaos/experiment/{experiment}"))?;
    provider::say!("experiment {experiment} is {}", ended["status"].as_str().unwrap_or("ended"));
    Ok(Exit::Done)
}

fn resume(global: &Global) -> Result<Exit, Failure> {
    let file = global.dir.join(EMERGENCY_FILE);
    if global.server.is_none() && file.exists() {
        std::fs::remove_file(&file).map_err(|error| Failure::failed(&error))?;
    }
    let client = global.client()?;
    let _: Value = client.delete("/api/v3/chaos/emergency-stop")?;
    provider::say!("the emergency stop is cleared");
    Ok(Exit::Done)
}

/// A control plane settles what a dead one left; with one running, or where nothing was left, there is nothing to do.
fn recover(global: &Global, within: Duration) -> Result<Exit, Failure> {
    if Client::find(&global.dir).is_ok() {
        provider::say!("a control plane is running; it settles what an earlier one left");
        return Ok(Exit::Done);
    }
    if !global.dir.join("keeper").exists() {
        return Err(ClientError::NotRunning { dir: global.dir.clone() }.into());
    }
    let config = load(global)?;
    if !is_anything_left(&global.dir).map_err(|error| Failure::failed(&error))? {
        print("0 faults taken out, 0 plans settled\n")?;
        provider::say!("nothing was left behind in {}; nothing was started", global.dir.display());
        return Ok(Exit::Done);
    }
    let plane = ControlPlane::start(&global.dir, &config, OccupiedPort::TakeAnother, None)
        .map_err(|error| Failure::failed(&error))?;
    let recovered = &plane.recovered;
    if plane.is_settling() {
        provider::say!(
            "waiting for {} plans whose last step may still come to its effect",
            recovered.awaited()
        );
    }
    let deadline = Instant::now() + within;
    while plane.is_settling() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    let left = under_way(&plane)?;
    let settled = recovered.plans.len().saturating_sub(left.len());
    print(&format!("{} faults taken out, {settled} plans settled\n", recovered.faults_taken_out))?;
    plane.stop();
    if left.is_empty() {
        return Ok(Exit::Done);
    }
    let message = format!(
        "after {} still under way: {}; run `homeostat chaos recover` again, or `homeostat serve`, which goes on looking after it",
        show_duration(within),
        left.join(", ")
    );
    Err(Failure { exit: Exit::Failed, message })
}

/// Whether an earlier control plane left anything to settle, by what it wrote down: nothing is started to find out.
fn is_anything_left(dir: &Path) -> Result<bool, StartError> {
    let store = Store::take_over(dir, &SystemClock)?;
    Ok(act::is_anything_left(&store)?)
}

/// The plans of an earlier control plane that have no ending yet, each with what it does.
fn under_way(plane: &ControlPlane) -> Result<Vec<String>, Failure> {
    if !plane.is_settling() {
        return Ok(Vec::new());
    }
    let unfinished = plane.store.unfinished_plans().map_err(|error| Failure::failed(&error))?;
    let in_progress = unfinished.into_iter().filter(|record| record.status == PlanStatus::InProgress);
    Ok(in_progress.map(|record| format!("plan {} ({})", record.plan.id, record.plan.summary)).collect())
}
