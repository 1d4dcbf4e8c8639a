//! Commands that change something: up, down, heal, what is decided about plans, automation, pauses.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use domain::units::show_duration;
use domain::{Infrastructure, IssueId, PlanId, ServiceName};
use provider::Look;
use provider::ProcessProvider;
use serde_json::{Value, json};

use super::config::{load_lasting, print};
use super::infra::bring_up;
use super::{Exit, Failure, Global, Output, Switch, UpArgs};
use crate::client::{Client, endpoint_file};
use crate::receiving::with_endpoint;

/// How long a control plane may take to answer after its start.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long the services may take to become ready.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Between two looks.
const POLL: Duration = Duration::from_millis(50);

/// Bytes that a log needs at least: a page.
const ROOM_FOR_WORDS: u64 = 4096;

/// Brings up an Infrastructure and, where none runs, a control plane in the background.
pub(super) fn up(global: &Global, args: &UpArgs) -> Result<Exit, Failure> {
    // The control plane that it starts reads the file as well.
    input::check_lasting(&args.file).map_err(|error| Failure {
        exit: Exit::Usage,
        message: format!("cannot bring up {}: {error}", args.file.display()),
    })?;
    let infrastructure =
        provider::manifest::read(&args.file).map_err(|error| Failure::new(Exit::Usage, &error))?;
    let config = load_lasting(global)?;
    check_programs(&global.dir, &args.file, &infrastructure)?;
    durable::take_dir(&global.dir).map_err(|error| Failure {
        exit: Exit::Failed,
        message: format!("cannot use the data directory {}: {error}", global.dir.display()),
    })?;
    check_state(&global.dir)?;
    let keeper_ran = ProcessProvider::runs(&global.dir);
    let provider = ProcessProvider::open(&global.dir).map_err(|error| Failure::failed(&error))?;
    let is_up = || matches!(provider.infrastructure(), Ok(Some(_)));
    let was_up = is_up();
    let client = match Client::find(&global.dir).map_err(Failure::from) {
        // It brings the services up itself, once it knows where they send their telemetry.
        Err(failure) if failure.exit == Exit::NotRunning => start_control_plane(global, &args.file),
        Err(failure) => Err(failure),
        // What runs judges and records what is brought up beside it.
        Ok(client) if !was_up => bring_up(&client, &infrastructure).map(|()| client),
        Ok(client) => {
            let endpoint = std::fs::read_to_string(endpoint_file(&global.dir)).ok();
            let infrastructure = with_endpoint(&infrastructure, endpoint.as_deref());
            provider.up(&infrastructure).map(|()| client).map_err(|error| Failure::failed(&error))
        }
    };
    let client = client.inspect_err(|_| {
        // Services that nobody looks after would be half of what was asked for.
        if !was_up && is_up() {
            if let Err(error) = super::down::end(global, &config) {
                provider::say!("what was started is not ended: {}; run `homeostat down`", error.message);
            }
        } else if !was_up
            && !keeper_ran
            && let Err(error) = provider.shutdown()
        {
            provider::say!("the keeper is not ended: {error}; run `homeostat down`");
        }
    })?;
    if !is_up() {
        return Err(held(&client, &infrastructure.name));
    }
    wait_until_ready(&provider)?;
    print(&format!("{} is up: {}\n", infrastructure.name, client.shown_at()))?;
    Ok(Exit::Done)
}

/// Why a control plane runs and what it was started with is not up: the plan of that waits, or was refused.
fn held(client: &Client, name: &ServiceName) -> Failure {
    let path = "/api/v3/self-healing/remediations?purpose=operation&limit=1";
    let plans: Vec<Value> = client.get(path).unwrap_or_default();
    let plan = plans.first();
    let reasons: Vec<&str> = plan
        .and_then(|plan| plan["reasons"].as_array())
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let why = if reasons.is_empty() { "its log says why".to_owned() } else { reasons.join("; ") };
    let next = match plan {
        Some(plan) if plan["status"] == "awaiting_approval" => {
            format!(": homeostat approve {}", plan["id"].as_str().unwrap_or_default())
        }
        _ => String::new(),
    };
    let message = format!("the control plane runs, and {name} is not up: {why}{next}");
    Failure { exit: Exit::Refused, message }
}

/// Says what of a file's services cannot run on this machine before anything is started: the file is wrong then.
pub(crate) fn check_programs(
    dir: &Path,
    file: &Path,
    infrastructure: &Infrastructure,
) -> Result<(), Failure> {
    match ProcessProvider::in_the_way(dir, infrastructure) {
        Ok(Some(why)) => Err(Failure { exit: Exit::Usage, message: format!("{}: {why}", file.display()) }),
        // A keeper that does not say is told about by what comes next.
        Ok(None) | Err(_) => Ok(()),
    }
}

/// Says that no control plane could run here before a service is started that it would look after.
fn check_state(dir: &std::path::Path) -> Result<(), Failure> {
    match store::Store::open(dir) {
        // One runs: it has opened it.
        Ok(_) | Err(store::StoreError::Locked { .. }) => Ok(()),
        Err(error) => Err(Failure::failed(&error)),
    }
}

/// Whether there is no room left even for the sentence that says so.
fn is_full(dir: &Path) -> bool {
    rustix::fs::statvfs(dir).is_ok_and(|about| about.f_bavail.saturating_mul(about.f_frsize) < ROOM_FOR_WORDS)
}

/// Starts `homeostat serve` as a process of its own that outlives this one. It brings up what the file says.
fn start_control_plane(global: &Global, infrastructure: &Path) -> Result<Client, Failure> {
    let failed = |error: std::io::Error| Failure::failed(&error);
    // As it was named: what it says of its directory is the same for both of us then.
    let infrastructure = std::path::absolute(infrastructure).map_err(failed)?;
    let log_path = global.dir.join("control-plane.log");
    let log = std::fs::OpenOptions::new().create(true).append(true).open(&log_path).map_err(failed)?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.arg("serve").arg("--any-port").arg("--dir").arg(&global.dir);
    command.arg("--infrastructure").arg(infrastructure);
    if let Some(config) = &global.config {
        command.arg("--config").arg(config);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    crate::detach::in_session_of_its_own(&mut command);
    let mut child = command.spawn().map_err(failed)?;
    let began = Instant::now();
    loop {
        if let Ok(client) = Client::find(&global.dir) {
            return Ok(client);
        }
        if let Some(status) = child.try_wait().map_err(failed)? {
            let said = std::fs::read_to_string(&log_path).unwrap_or_default();
            let last = said.lines().last().unwrap_or_else(|| match is_full(&global.dir) {
                true => "the disk of the data directory is full; free some space and try again",
                false => "it said nothing",
            });
            let last = last.strip_prefix("homeostat: ").unwrap_or(last);
            let message =
                format!("{last} (the control plane ended with {status}; see {})", log_path.display());
            return Err(Failure { exit: Exit::Failed, message });
        }
        if began.elapsed() > START_LIMIT {
            return Err(Failure {
                exit: Exit::Failed,
                message: format!(
                    "the control plane does not answer after {}; see {}",
                    show_duration(START_LIMIT),
                    log_path.display()
                ),
            });
        }
        std::thread::sleep(POLL);
    }
}

/// Waits until every declared instance is ready, and says which is not where it takes too long.
pub(crate) fn wait_until_ready(provider: &ProcessProvider) -> Result<(), Failure> {
    use domain::snapshot::Phase;
    let began = Instant::now();
    loop {
        let sample = provider.sample().map_err(|error| Failure::failed(&error))?;
        let missing: Vec<String> = sample
            .services
            .iter()
            .filter_map(|(name, service)| {
                let ready =
                    service.instances.values().filter(|instance| instance.phase == Phase::Ready).count();
                (ready < service.replicas as usize).then(|| format!("{name} {ready} of {}", service.replicas))
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        if crate::signals::ending() {
            let message = format!("asked to end before everything was ready: {}", missing.join(", "));
            return Err(Failure { exit: Exit::Failed, message });
        }
        if began.elapsed() > READY_LIMIT {
            return Err(Failure {
                exit: Exit::Failed,
                message: format!(
                    "not ready after {}: {}; `homeostat logs SERVICE` says why",
                    show_duration(READY_LIMIT),
                    missing.join(", ")
                ),
            });
        }
        std::thread::sleep(POLL);
    }
}

/// Repairs an issue, or shows how it would.
pub(super) fn heal(global: &Global, issue: IssueId, dry_run: bool, output: Output) -> Result<Exit, Failure> {
    let client = global.client()?;
    let operation = if dry_run { "dry-run" } else { "manual-remediate" };
    let answer: Value = client.post(&format!("/api/v3/self-healing/{operation}/{issue}"), &json!({}))?;
    if output.json {
        print(&format!("{answer:#}\n"))?;
    } else {
        print(&super::show::plan_text(&answer))?;
    }
    let refused = matches!(answer["status"].as_str(), Some("refused" | "pending" | "awaiting_approval"));
    Ok(if refused && !dry_run { Exit::Refused } else { Exit::Done })
}

/// Lets a waiting plan run.
pub(super) fn approve(global: &Global, plan: PlanId) -> Result<Exit, Failure> {
    let client = global.client()?;
    let _: Value = client.post(&format!("/api/v3/self-healing/remediations/{plan}/approve"), &json!({}))?;
    provider::say!("approved; it runs as soon as the guard clears it");
    Ok(Exit::Done)
}

/// Ends a waiting plan.
pub(super) fn reject(global: &Global, plan: PlanId) -> Result<Exit, Failure> {
    let _: Value =
        global.client()?.post(&format!("/api/v3/self-healing/remediations/{plan}/reject"), &json!({}))?;
    provider::say!("rejected; nothing of it was done");
    Ok(Exit::Done)
}

/// Takes a finished plan back.
pub(super) fn roll_back(global: &Global, plan: PlanId) -> Result<Exit, Failure> {
    let path = format!("/api/v3/self-healing/remediations/{plan}/rollback");
    let answer: Value = global.client()?.post(&path, &json!({}))?;
    print(&super::show::plan_text(&answer))?;
    Ok(Exit::Done)
}

/// Switches automatic repair, or says how it is.
pub(super) fn automation(global: &Global, switch: Option<Switch>) -> Result<Exit, Failure> {
    let (client, path) = (global.client()?, "/api/v3/self-healing/toggle-auto-remediation");
    let answer: Value = match switch {
        Some(switch) => client.post(path, &json!({ "enabled": switch == Switch::On }))?,
        None => client.get(path)?,
    };
    print(&format!("{}\n", answer["message"].as_str().unwrap_or_default()))?;
    Ok(Exit::Done)
}

/// Ends a pause.
pub(super) fn unpause(global: &Global, service: &ServiceName) -> Result<Exit, Failure> {
    let _: Value = global.client()?.delete(&format!("/api/v3/self-healing/pauses/{service}"))?;
    provider::say!("{service} is looked after again");
    Ok(Exit::Done)
}

/// Hands off a service for a while.
pub(super) fn pause(global: &Global, service: &ServiceName, time: Duration) -> Result<Exit, Failure> {
    let client = global.client()?;
    let body = json!({ "service": service, "for": format!("{}ms", time.as_millis()) });
    let _: Value = client.post("/api/v3/self-healing/pauses", &body)?;
    provider::say!("nothing is repaired or disturbed at {service} for {}", show_duration(time));
    Ok(Exit::Done)
}
