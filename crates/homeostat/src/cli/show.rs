//! Commands that only show: status, issues, logs, health.
//!
//! In: answers of the running control plane. Out: tables for people or, with `--json`, what the API said; and the status to
//! exit with.

use domain::{Capabilities, Enforcement, ServiceName};
use serde_json::Value;

use super::config::print;
use super::{Exit, Failure, Global, Output};
use crate::client::{Client, ClientError};

/// What runs, and how it is.
pub(super) fn status(global: &Global, output: Output) -> Result<Exit, Failure> {
    let client = global.client()?;
    let services: Vec<Value> = client.get("/api/v3/self-healing/services")?;
    let health: Value = client.get("/api/v3/self-healing/health-score")?;
    let issues: Vec<Value> = client.get("/api/v3/self-healing/issues?limit=100")?;
    let capabilities: Capabilities = client.get("/api/v3/self-healing/capabilities")?;
    let faults: Vec<Value> = client.get("/api/v3/chaos/faults")?;
    let plans = plans_that_wait(&client)?;
    // Where no telemetry is kept there is nothing to say of it.
    let telemetry: Value = match client.get("/api/v3/observability/status") {
        Err(ClientError::Refused { .. }) => Value::Null,
        answer => answer?,
    };
    // One that has only started, or whose loop stands, answers this as a failure; what it says is the same.
    let troubles: Vec<Value> = match client.get::<Value>("/health") {
        Ok(health) => health["troubles"].as_array().cloned().unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let open: Vec<&Value> = issues.iter().filter(|issue| issue["closed_at"].is_null()).collect();
    if output.json {
        let whole = serde_json::json!({
            "address": client.address(), "health": health, "services": services, "issues": open,
            "faults": faults, "awaiting_approval": plans, "telemetry": telemetry, "troubles": troubles,
            "limits": { "cpu": capabilities.cpu_limit, "memory": capabilities.memory_limit },
        });
        print(&format!("{whole:#}\n"))?;
        return Ok(Exit::Done);
    }
    let score = health["overall_score"].as_u64().map_or("unknown".to_owned(), |score| score.to_string());
    let limits = limits_line(&capabilities);
    let intake = refused_line(&telemetry) + &trouble_line(&telemetry);
    let mut text = format!("{}  health {score}\n{limits}\n{intake}\n", client.address());
    let rows = services.iter().flat_map(service_rows).collect::<Vec<_>>();
    text.push_str(&table(&["SERVICE", "INSTANCE", "PHASE", "PID", "CPU", "MEMORY", "DISK"], &rows));
    let troubles: Vec<&Value> = troubles.iter().collect();
    section(&mut text, "needs a look", &troubles, |trouble| trouble.as_str().unwrap_or_default().to_owned());
    section(&mut text, "open issues", &open, |issue| {
        format!(
            "{} {} {}: {}",
            of(issue, "id"),
            of(issue, "severity"),
            of(issue, "resource"),
            of(issue, "description")
        )
    });
    let faults: Vec<&Value> = faults.iter().collect();
    section(&mut text, "faults we injected", &faults, |fault| {
        format!("{} until {}", of(fault, "description"), of(fault, "until"))
    });
    let plans: Vec<&Value> = plans.iter().collect();
    section(&mut text, "plans that wait for you", &plans, |plan| {
        format!("{}  {}", of(plan, "id"), of(plan, "description"))
    });
    print(&text)?;
    Ok(Exit::Done)
}

/// Plans that wait for a person, whatever they are for.
fn plans_that_wait(client: &Client) -> Result<Vec<Value>, ClientError> {
    const WAITING: &str = "/api/v3/self-healing/remediations?status=awaiting_approval";
    match client.get(&format!("{WAITING}&purpose=any")) {
        // A server of before this binary, as between the two steps of an upgrade, knows no purposes and lists what it knows.
        Err(ClientError::Refused { code, field: Some(field), .. })
            if code == "invalid_field" && field == "purpose" =>
        {
            client.get(WAITING)
        }
        answer => answer,
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

/// Issues, newest first.
pub(super) fn issues(global: &Global, limit: u32, output: Output) -> Result<Exit, Failure> {
    let client = global.client()?;
    let issues: Vec<Value> = client.get(&format!("/api/v3/self-healing/issues?limit={limit}"))?;
    if output.json {
        print(&format!("{:#}\n", Value::Array(issues)))?;
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = issues
        .iter()
        .map(|issue| {
            let state = if issue["closed_at"].is_null() { "open" } else { "closed" };
            vec![
                of(issue, "id").to_owned(),
                of(issue, "detected_at").to_owned(),
                state.to_owned(),
                of(issue, "severity").to_owned(),
                of(issue, "type").to_owned(),
                of(issue, "resource").to_owned(),
                of(issue, "description").to_owned(),
            ]
        })
        .collect();
    if rows.is_empty() {
        provider::say!("no issues so far");
        return Ok(Exit::Done);
    }
    print(&table(&["ID", "DETECTED", "STATE", "SEVERITY", "TYPE", "RESOURCE", "WHAT"], &rows))?;
    Ok(Exit::Done)
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
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread::JoinHandle;

    use serde_json::json;

    use super::*;

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

    /// Answers each request with what `answer` makes of its first line, and tells those lines when all were answered.
    fn server(requests: usize, answer: fn(&str) -> (u16, Value)) -> (Client, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            let serve = |stream: TcpStream| {
                let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
                let asked = lines.next().unwrap();
                lines.find(String::is_empty);
                let (status, body) = answer(&asked);
                let body = body.to_string();
                let head =
                    format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\nconnection: close", body.len());
                write!(&stream, "{head}\r\n\r\n{body}").unwrap();
                asked
            };
            listener.incoming().take(requests).map(|stream| serve(stream.unwrap())).collect()
        });
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        (Client::at(address, String::new(), agent), serving)
    }

    #[test]
    fn a_server_that_knows_no_purposes_is_asked_without_one() {
        let (client, serving) = server(2, |asked| match asked.contains("purpose") {
            true => (422, json!({"code": "invalid_field", "field": "purpose", "detail": "not known here"})),
            false => (200, json!([{"id": "1"}])),
        });
        assert_eq!(plans_that_wait(&client).unwrap(), [json!({"id": "1"})]);
        let asked = serving.join().unwrap();
        assert!(asked[0].contains("status=awaiting_approval&purpose=any"), "{asked:?}");
        assert!(asked[1].contains("status=awaiting_approval "), "{asked:?}");
    }

    #[test]
    fn what_else_a_server_refuses_is_no_reason_to_ask_again() {
        let (client, serving) = server(1, |_| {
            (422, json!({"code": "invalid_field", "field": "status", "detail": "not known here"}))
        });
        let refused = plans_that_wait(&client).unwrap_err();
        assert!(matches!(refused, ClientError::Refused { field: Some(field), .. } if field == "status"));
        assert_eq!(serving.join().unwrap().len(), 1);
    }
}
