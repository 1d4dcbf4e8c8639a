//! Commands that only show: status, issues, logs, health.
//!
//! In: answers of the running control plane. Out: tables for people or, with `--json`, what the API said; and the status to
//! exit with.

use domain::{Capabilities, Enforcement, ServiceName};
use serde_json::Value;

use super::config::print;
use super::not_over::{Beyond, Found, open_issues, plans_that_are};
use super::{Exit, Failure, Global, Output};
use crate::client::ClientError;

/// Rows of a list that `status` shows; how many more there are is said.
const SHOWN: usize = 100;

/// Whether an issue is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum State {
    /// Not over.
    Open,
    /// Over.
    Closed,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// What runs, and how it is.
pub(super) fn status(global: &Global, output: Output) -> Result<Exit, Failure> {
    let client = global.client()?;
    let services: Vec<Value> = client.get("/api/v3/self-healing/services")?;
    let health: Value = client.get("/api/v3/self-healing/health-score")?;
    let open = open_issues(&client)?;
    let capabilities: Capabilities = client.get("/api/v3/self-healing/capabilities")?;
    let faults: Vec<Value> = client.get("/api/v3/chaos/faults")?;
    let plans = plans_that_are(&client, "awaiting_approval")?;
    let working = plans_that_are(&client, "in_progress")?;
    // Where no telemetry is kept there is nothing to say of it.
    let telemetry: Value = match client.get("/api/v3/observability/status") {
        Err(ClientError::Refused { .. } | ClientError::OtherVersion { .. }) => Value::Null,
        answer => answer?,
    };
    // One that has only started, or whose loop stands, answers this as a failure; what it says is the same.
    let troubles: Vec<Value> = match client.get::<Value>("/health") {
        Ok(health) => health["troubles"].as_array().cloned().unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    if output.json {
        let whole = serde_json::json!({
            "address": client.address(), "page": client.shown_at(), "health": health, "services": services, "issues": open.rows,
            "faults": faults, "awaiting_approval": plans.rows, "in_progress": working.rows,
            "more": {
                "issues": open.beyond != Beyond::Nothing, "awaiting_approval": plans.beyond != Beyond::Nothing,
                "in_progress": working.beyond != Beyond::Nothing,
            },
            "telemetry": telemetry, "troubles": troubles,
            "limits": { "cpu": capabilities.cpu_limit, "memory": capabilities.memory_limit },
        });
        print(&format!("{whole:#}\n"))?;
        return Ok(Exit::Done);
    }
    let score = health["overall_score"].as_u64().map_or("unknown".to_owned(), |score| score.to_string());
    let limits = limits_line(&capabilities);
    let intake = refused_line(&telemetry) + &trouble_line(&telemetry);
    let mut text = format!("{}  health {score}\n{limits}\n{intake}\n", client.shown_at());
    let rows = services.iter().flat_map(service_rows).collect::<Vec<_>>();
    text.push_str(&table(&["SERVICE", "INSTANCE", "PHASE", "PID", "CPU", "MEMORY", "DISK"], &rows));
    let troubles: Vec<&Value> = troubles.iter().collect();
    section(&mut text, "needs a look", &troubles, |trouble| trouble.as_str().unwrap_or_default().to_owned());
    part(&mut text, "open issues", (&open, "homeostat issues --state open"), |issue| {
        format!(
            "{} {} {}: {}",
            of(issue, "id"),
            of(issue, "severity"),
            of(issue, "resource"),
            of(issue, "description")
        )
    });
    let faults: Vec<&Value> = faults.iter().collect();
    section(&mut text, "faults we injected", &faults, fault_line);
    let remediations = format!("{}/remediations", client.shown_at());
    part(&mut text, "plans that run", (&working, &remediations), |plan| {
        format!("{}  {}", of(plan, "id"), of(plan, "description"))
    });
    let approvals = format!("{}/approvals", client.shown_at());
    part(&mut text, "plans that wait for you", (&plans, &approvals), |plan| {
        format!("{}  {}", of(plan, "id"), of(plan, "description"))
    });
    print(&text)?;
    Ok(Exit::Done)
}

/// A fault with what ends it early: the experiment's id, for `homeostat chaos abort`.
fn fault_line(fault: &Value) -> String {
    let line = format!("{}: {} until {}", of(fault, "target"), of(fault, "description"), of(fault, "until"));
    match fault["experiment_id"].as_str() {
        Some(experiment) => format!("{experiment}  {line}"),
        None => line,
    }
}

/// What holds the services to their limits.
fn limits_line(capabilities: &Capabilities) -> String {
    let held = |by: &Enforcement| match by {
        Enforcement::Kernel(how) => format!("held by {how}"),
        Enforcement::Supervision => "held by supervision".to_owned(),
        Enforcement::Unavailable(why) => format!("not held ({why})"),
    };
    format!("limits: memory {}, CPU {}", held(&capabilities.memory_limit), held(&capabilities.cpu_limit))
}

/// That spans and logs are refused, while they are.
fn refused_line(telemetry: &Value) -> String {
    match telemetry["backlog_bytes"].as_u64().filter(|_| telemetry["intake"] == "refused") {
        Some(bytes) => {
            format!("telemetry: spans and logs are refused because {} MiB wait for compaction\n", bytes >> 20)
        }
        None => String::new(),
    }
}

/// Why nothing is moved to object storage, while that is so.
fn trouble_line(telemetry: &Value) -> String {
    let trouble = telemetry["moved"]["trouble"].as_str();
    trouble.map_or(String::new(), |why| format!("telemetry: old spans and logs are not moved: {why}\n"))
}

/// Issues, newest first; only those in this state where one is given.
pub(super) fn issues(
    global: &Global,
    state: Option<State>,
    limit: u32,
    output: Output,
) -> Result<Exit, Failure> {
    let client = global.client()?;
    let mut path = format!("/api/v3/self-healing/issues?limit={limit}");
    if let Some(state) = state {
        path.push_str(&format!("&state={}", state.name()));
    }
    let (issues, older) = client.page(&path).map_err(|error| error.by_option(&[("state", "--state")]))?;
    if output.json {
        print(&format!("{:#}\n", Value::Array(issues)))?;
    } else if issues.is_empty() {
        let none =
            state.map_or("no issues so far".to_owned(), |state| format!("no issue is {}", state.name()));
        provider::say!("{none}");
    } else {
        let rows: Vec<Vec<String>> = issues.iter().map(issue_row).collect();
        print(&table(&["ID", "DETECTED", "STATE", "SEVERITY", "TYPE", "RESOURCE", "WHAT"], &rows))?;
    }
    if older.is_some() {
        provider::say!("there are older ones; --limit says how many are listed");
    }
    Ok(Exit::Done)
}

fn issue_row(issue: &Value) -> Vec<String> {
    let state = if issue["closed_at"].is_null() { State::Open } else { State::Closed };
    let of = |field: &str| of(issue, field).to_owned();
    vec![
        of("id"),
        of("detected_at"),
        state.name().to_owned(),
        of("severity"),
        of("type"),
        of("resource"),
        of("description"),
    ]
}

/// The captured output of a service.
pub(super) fn logs(global: &Global, service: &ServiceName, lines: usize) -> Result<Exit, Failure> {
    let client = global.client()?;
    let logs: Vec<String> =
        client.get(&format!("/api/v3/self-healing/services/{service}/logs?lines={lines}"))?;
    for line in logs {
        print(&format!("{line}\n"))?;
    }
    Ok(Exit::Done)
}

/// Whether the control plane answers.
pub(super) fn health(global: &Global, output: Output) -> Result<Exit, Failure> {
    let answer: Value = global.client_of_anybody()?.get("/health")?;
    if output.json {
        print(&format!("{answer:#}\n"))?;
    } else {
        print(&format!("{}\n", of(&answer, "status")))?;
    }
    Ok(Exit::Done)
}

/// A plan as text: what, why, the steps with their undo, and what stands in its way.
pub(super) fn plan_text(plan: &Value) -> String {
    let mut text = format!("{}\nexpected: {}\n", of(plan, "description"), of(plan, "expected_effect"));
    if let Some(cause) = plan["cause"].as_object() {
        let confidence = cause["confidence"].as_f64().unwrap_or_default();
        text.push_str(&format!(
            "cause: {} at {}, confidence {confidence:.0} %\n",
            cause["class"].as_str().unwrap_or_default(),
            cause["resource"].as_str().unwrap_or_default()
        ));
    }
    for step in plan["steps"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "step {}: {} (undo: {}){}\n",
            step["index"],
            of(step, "action"),
            of(step, "undo"),
            step["state"].as_str().map(|state| format!(": {state}")).unwrap_or_default()
        ));
    }
    for reason in plan["reasons"].as_array().into_iter().flatten() {
        text.push_str(&format!("in the way: {}\n", reason.as_str().unwrap_or_default()));
    }
    text.push_str(&format!("status: {}\n", of(plan, "status")));
    if let Some(why) = plan["error_message"].as_str() {
        text.push_str(&format!("why: {why}\n"));
    }
    text
}

fn service_rows(service: &Value) -> Vec<Vec<String>> {
    let instances = service["instances"].as_array();
    instances
        .into_iter()
        .flatten()
        .map(|instance| {
            let mib =
                |field: &str| instance[field].as_f64().map(|bytes| format!("{:.1} MiB", bytes / 1_048_576.0));
            let disk = match (instance["disk_used_bytes"].as_f64(), instance["disk_size_bytes"].as_f64()) {
                (Some(used), Some(size)) if size > 0.0 => format!("{:.0} %", used / size * 100.0),
                _ => "-".to_owned(),
            };
            let cpu = instance["cpu_cores"].as_f64().map(|cores| format!("{cores:.2}"));
            vec![
                of(service, "service").to_owned(),
                of(instance, "instance").to_owned(),
                of(instance, "phase").to_owned(),
                instance["pid"].as_u64().map_or("-".to_owned(), |pid| pid.to_string()),
                cpu.unwrap_or_else(|| "-".to_owned()),
                mib("memory_bytes").unwrap_or_else(|| "-".to_owned()),
                disk,
            ]
        })
        .collect()
}

fn section(text: &mut String, title: &str, items: &[&Value], line: impl Fn(&Value) -> String) {
    if items.is_empty() {
        return;
    }
    text.push_str(&format!("\n{title}\n"));
    for item in items {
        text.push_str(&format!("  {}\n", line(item)));
    }
}

/// A list with at most [`SHOWN`] of its rows, and where the others are.
fn part(text: &mut String, title: &str, (found, others): (&Found, &str), line: impl Fn(&Value) -> String) {
    let rest = found.rest(SHOWN, others);
    if found.rows.is_empty() && rest.is_none() {
        return;
    }
    text.push_str(&format!("\n{title}\n"));
    for row in found.rows.iter().take(SHOWN) {
        text.push_str(&format!("  {}\n", line(row)));
    }
    if let Some(rest) = rest {
        text.push_str(&format!("  {rest}\n"));
    }
}

pub(super) fn of<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or("-")
}

/// Aligned columns, two blanks apart.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    std::iter::once(line(&header)).chain(rows.iter().map(|row| line(row))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::fixture::{Said, server};

    #[test]
    fn refused_intake_is_one_line_and_open_intake_none() {
        let of = |intake: &str| {
            refused_line(&serde_json::json!({"intake": intake, "backlog_bytes": 300_u64 << 20}))
        };
        assert_eq!(
            of("refused"),
            "telemetry: spans and logs are refused because 300 MiB wait for compaction\n"
        );
        assert_eq!((of("open"), refused_line(&serde_json::Value::Null)), (String::new(), String::new()));
    }

    #[test]
    fn storage_that_takes_nothing_is_one_line_and_one_that_does_none() {
        let of =
            |moved: serde_json::Value| trouble_line(&serde_json::json!({"intake": "open", "moved": moved}));
        assert_eq!(
            of(serde_json::json!({"url": "s3://spans/p", "trouble": "s3://spans/p: it did not answer: x"})),
            "telemetry: old spans and logs are not moved: s3://spans/p: it did not answer: x\n"
        );
        let well = [serde_json::json!({"url": "s3://spans/p", "trouble": null}), serde_json::Value::Null];
        assert_eq!(well.map(of), ["", ""]);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["cart".to_owned(), "1".to_owned()], vec!["a".to_owned(), "22".to_owned()]];
        assert_eq!(table(&["NAME", "N"], &rows), "NAME  N\ncart  1\na     22\n");
    }

    #[test]
    fn what_holds_the_limits_is_said_and_why_something_is_not_held() {
        let mut capabilities = Capabilities {
            provider: "processes".to_owned(),
            cpu_limit: Enforcement::Kernel("cgroup v2".to_owned()),
            memory_limit: Enforcement::Kernel("cgroup v2".to_owned()),
            volumes: Enforcement::Supervision,
            host_stress: Enforcement::Supervision,
            links: Enforcement::Supervision,
        };
        assert_eq!(limits_line(&capabilities), "limits: memory held by cgroup v2, CPU held by cgroup v2");
        capabilities.cpu_limit = Enforcement::Unavailable("run as root".to_owned());
        capabilities.memory_limit = Enforcement::Supervision;
        let expected = "limits: memory held by supervision, CPU not held (run as root)";
        assert_eq!(limits_line(&capabilities), expected);
    }

    #[test]
    fn what_is_not_shown_of_a_list_is_counted_and_nothing_at_all_is_no_heading() {
        let shown = |rows: usize, beyond: Beyond| {
            let rows = (0..rows).map(|n| serde_json::json!(n)).collect();
            let mut text = String::new();
            part(&mut text, "open issues", (&Found { rows, beyond }, "homeostat issues"), Value::to_string);
            text
        };
        assert_eq!(shown(0, Beyond::Nothing), "");
        assert_eq!(shown(2, Beyond::Nothing), "\nopen issues\n  0\n  1\n");
        let many = shown(SHOWN + 23, Beyond::Nothing);
        assert_eq!(many.lines().count(), 2 + SHOWN + 1);
        assert!(many.ends_with("  99\n  and 23 more: homeostat issues\n"), "{many}");
        assert!(shown(SHOWN + 23, Beyond::Older).ends_with("  and more than 23 more: homeostat issues\n"));
        assert!(shown(0, Beyond::Unknown).starts_with("\nopen issues\n  and maybe older ones"));
    }

    #[test]
    fn a_fault_is_told_with_its_target_and_the_experiment_that_is_aborted_to_end_it() {
        let mut fault = json!({
            "target": "instance/cart-0", "description": "pause for 60 s", "until": "2026-11-22T18:26:18Z",
            "experiment_id": "01a20481-64b9-7196-91c0-1f9c21c44757",
        });
        let line = "instance/cart-0: pause for 60 s until 2026-11-22T18:26:18Z";
        assert_eq!(fault_line(&fault), format!("01a20481-64b9-7196-91c0-1f9c21c44757  {line}"));
        fault["experiment_id"] = Value::Null;
        assert_eq!(fault_line(&fault), line);
    }

    fn nothing_there(version: &'static str) -> impl Fn(&str) -> Said {
        move |asked| match asked.contains("/health") {
            true => (503, json!({"status": "starting", "version": version}), None),
            false => (404, json!({"code": "not_found", "detail": "there is nothing at /api/v3/new"}), None),
        }
    }

    #[test]
    fn an_address_that_a_server_has_not_is_told_as_its_version_and_not_as_a_wrong_request() {
        let (client, _serving) = server(2, nothing_there("0.0.7"));
        let said = Failure::from(client.get::<Value>("/api/v3/new?limit=1").unwrap_err());
        assert_eq!(said.exit, Exit::Failed);
        let own = concat!("this program is homeostat ", env!("CARGO_PKG_VERSION"));
        for words in ["is homeostat 0.0.7 and has no /api/v3/new;", own, "have the server upgraded"] {
            assert!(said.message.contains(words), "{words}: {}", said.message);
        }
        assert!(!said.message.contains("there is nothing"), "{}", said.message);
        let (client, _serving) = server(2, nothing_there(env!("CARGO_PKG_VERSION")));
        let said = client.post::<Value>("/api/v3/new", &json!({})).unwrap_err().to_string();
        assert!(said.contains("of another build"), "{said}");
    }

    /// What is not there is no sign of another version: the server has a list of what there is.
    #[test]
    fn what_a_server_has_none_of_is_told_as_it_says_it() {
        let (client, serving) = server(1, |_| {
            (
                404,
                json!({"code": "not_found", "detail": "there is no issue 7", "listed_at": "/api/v3/self-healing/issues"}),
                None,
            )
        });
        let said = client.get::<Value>("/api/v3/self-healing/issues/7").unwrap_err().to_string();
        assert!(said.starts_with("there is no issue 7; ") && said.contains("homeostat issues"), "{said}");
        assert_eq!(serving.join().unwrap().len(), 1);
    }
}
