//! `timeline` and `correlate`: what happened, and what of it belongs together.

use std::collections::HashMap;
use std::time::Duration;

use domain::units::show_duration;
use serde_json::Value;

use super::config::print;
use super::show::{of, table};
use super::traces::encode;
use super::{Exit, Failure, Global, Output, value};
use crate::client::ClientError;

/// `timeline`.
#[derive(Debug, clap::Args)]
pub(crate) struct TimelineArgs {
    /// How far back, such as 15m, 6h or 7d.
    #[arg(long, value_name = "TIME", default_value = "1h", conflicts_with = "from")]
    since: String,
    /// From this time on (RFC 3339), such as 2026-11-21T03:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Until this time (RFC 3339); default: now.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Only what concerns this service.
    #[arg(long, value_parser = value::name)]
    service: Option<String>,
    /// Only these lanes: issues, actions, faults, deployments, alerts, traces.
    #[arg(long, value_delimiter = ',', value_name = "LANE,…")]
    lanes: Vec<String>,
    #[command(flatten)]
    output: Output,
}

/// `correlate`.
#[derive(Debug, clap::Args)]
pub(crate) struct CorrelateArgs {
    /// The time that is of interest (RFC 3339), such as 2026-11-21T03:00:00Z; default: now.
    #[arg(long, value_name = "TIME")]
    around: Option<String>,
    /// How far before and after it is looked, such as 15m; at most 24h.
    #[arg(long, value_name = "TIME")]
    window: Option<String>,
    /// Only what has to do with this service, whom it needs and who needs it.
    #[arg(long, value_parser = value::name)]
    service: Option<String>,
    #[command(flatten)]
    output: Output,
}

fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let given = pairs.iter().filter_map(|(name, value)| Some(format!("{name}={}", encode((*value)?))));
    given.collect::<Vec<_>>().join("&")
}

/// What happened, newest first.
pub(super) fn timeline(global: &Global, args: &TimelineArgs) -> Result<Exit, Failure> {
    let client = global.client()?;
    let lanes = args.lanes.join(",");
    let query = query(&[
        ("within", Some(args.since.as_str()).filter(|_| args.from.is_none())),
        ("from", args.from.as_deref()),
        ("to", args.to.as_deref()),
        ("service", args.service.as_deref()),
        ("lanes", Some(lanes.as_str()).filter(|lanes| !lanes.is_empty())),
    ]);
    let answer: Result<Value, ClientError> = client.get(&format!("/api/v3/observability/timeline?{query}"));
    let answer = answer.map_err(|error| error.by_option(&[("within", "--since")]))?;
    if args.output.json {
        print(&format!("{answer:#}\n"))?;
        return Ok(Exit::Done);
    }
    let lanes = answer["lanes"].as_array();
    let mut events: Vec<&Value> =
        lanes.into_iter().flatten().filter_map(|lane| lane["events"].as_array()).flatten().collect();
    events.sort_by_key(|event| std::cmp::Reverse(of(event, "time")));
    if events.is_empty() {
        provider::say!("nothing happened in that time");
        return Ok(Exit::Done);
    }
    print(&table(&["TIME", "TYPE", "SERVICE", "LASTED", "WHAT"], &rows(&events)))?;
    Ok(Exit::Done)
}

fn rows(events: &[&Value]) -> Vec<Vec<String>> {
    let row = |event: &&Value| {
        vec![
            of(event, "time").to_owned(),
            of(event, "type").to_owned(),
            event["service"].as_str().unwrap_or("-").to_owned(),
            lasted(event),
            of(event, "title").to_owned(),
        ]
    };
    events.iter().map(row).collect()
}

/// `goes on`, how long it was, or `-` for what has no length.
fn lasted(event: &Value) -> String {
    let time = |field: &str| event[field].as_str()?.parse::<jiff::Timestamp>().ok();
    match (time("time"), time("end")) {
        (_, None) => "goes on".to_owned(),
        (Some(from), Some(to)) if to > from => {
            show_duration(Duration::try_from(to.duration_since(from)).unwrap_or_default())
        }
        _ => "-".to_owned(),
    }
}

/// What belongs together around a time, and what changed before.
pub(super) fn correlate(global: &Global, args: &CorrelateArgs) -> Result<Exit, Failure> {
    let client = global.client()?;
    let query = query(&[
        ("around", args.around.as_deref()),
        ("window", args.window.as_deref()),
        ("service", args.service.as_deref()),
    ]);
    let answer: Value = client.get(&format!("/api/v3/observability/correlate?{query}"))?;
    let text = if args.output.json { format!("{answer:#}\n") } else { told(&answer) };
    print(&text)?;
    Ok(Exit::Done)
}

fn told(answer: &Value) -> String {
    let events: HashMap<&str, &Value> =
        answer["events"].as_array().into_iter().flatten().map(|event| (of(event, "id"), event)).collect();
    let mut text = format!(
        "from {} to {}: {} events\n",
        of(&answer["window"], "from"),
        of(&answer["window"], "to"),
        events.len()
    );
    let patterns = answer["patterns"].as_array().map_or(&[][..], Vec::as_slice);
    if patterns.is_empty() {
        text.push_str("no pattern was found\n");
    }
    for pattern in patterns {
        let confidence = pattern["confidence"].as_f64().unwrap_or_default();
        text.push_str(&format!("\n{} ({confidence:.0} % sure)\n", of(pattern, "sentence")));
        let strings = |field: &str| -> Vec<String> {
            pattern[field]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        strings("evidence").iter().for_each(|clause| text.push_str(&format!("  because  {clause}\n")));
        for event in strings("events").iter().filter_map(|id| events.get(id.as_str())) {
            text.push_str(&format!(
                "  {:<8} {}  {}\n",
                of(event, "type"),
                of(event, "time"),
                of(event, "title")
            ));
        }
        text.push_str(&format!("  affects  {}\n", strings("affected_services").join(", ")));
    }
    let changes = answer["changes"].as_array().map_or(&[][..], Vec::as_slice);
    let known = changes.iter().filter_map(|change| Some((change, *events.get(of(change, "id"))?)));
    let rows: Vec<Vec<String>> = known
        .map(|(change, event)| {
            let before = Duration::try_from_secs_f64(change["seconds_before"].as_f64().unwrap_or_default());
            vec![
                format!("{} before", show_duration(before.unwrap_or_default())),
                change["distance"].as_u64().map_or("-".to_owned(), |calls| calls.to_string()),
                of(event, "type").to_owned(),
                of(event, "title").to_owned(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(&["CHANGED", "CALLS AWAY", "TYPE", "WHAT"], &rows));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_belongs_together_is_told_with_its_evidence_and_its_events() {
        let event = |id: &str, kind: &str, title: &str| {
            json!({"id": id, "type": kind, "time": "2026-11-21T03:00:00.000Z", "title": title, "service": "cart",
                   "end": "2026-11-21T03:00:09.000Z"})
        };
        let answer = json!({
            "window": {"from": "a", "to": "b"},
            "events": [event("1", "deployment", "cart runs 2.0.0"), event("2", "issue", "33 % fail")],
            "patterns": [{"sentence": "cart is worse since cart 2.0.0", "confidence": 96.4, "events": ["1", "2"],
                          "evidence": ["cart's errors rose from 0 % to 33 %"], "affected_services": ["cart", "front"]}],
            "changes": [{"id": "1", "seconds_before": 400.0, "distance": 0}],
        });
        let text = told(&answer);
        for line in [
            "cart is worse since cart 2.0.0 (96 % sure)",
            "  because  cart's errors rose from 0 % to 33 %",
            "  issue    2026-11-21T03:00:00.000Z  33 % fail",
            "  affects  cart, front",
            "6.7 min before",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert_eq!(lasted(&event("1", "issue", "x")), "9.0 s");
        assert_eq!(lasted(&json!({"time": "2026-11-21T03:00:00Z", "end": null})), "goes on");
    }

    #[test]
    fn only_what_was_given_is_asked_for() {
        assert_eq!(query(&[("a", None), ("b", Some("x y"))]), "b=x%20y");
    }
}
