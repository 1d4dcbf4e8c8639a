//! `homeostat slo`: objectives as they stand, and files of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::Value;
use slo::prometheus::{Provenance, RuleFile};

use super::config::print;
use super::show::table;
use super::{Exit, Failure, Global, Output, value};
use crate::config::read_objectives;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum SloCommand {
    /// Every objective, the one with the least of its budget left first.
    List(Output),
    /// One objective: budget, burn by window, alerts.
    Show {
        /// Its id, from `homeostat slo list`.
        #[arg(value_parser = value::name)]
        id: String,
        #[command(flatten)]
        output: Output,
    },
    /// Read files of objectives (OpenSLO v1, Sloth, Pyrra) together and say what is wrong; needs no control plane.
    Check {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
    /// Print Prometheus rules for the objectives of files, as Sloth writes them; needs no control plane.
    ExportRules {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

pub(super) fn run(global: &Global, command: &SloCommand) -> Result<Exit, Failure> {
    match command {
        SloCommand::List(output) => list(global, *output),
        SloCommand::Show { id, output } => show(global, id, *output),
        SloCommand::Check { files, output } => check(files, *output),
        SloCommand::ExportRules { files } => export(files),
    }
}

fn list(global: &Global, output: Output) -> Result<Exit, Failure> {
    let mut slos: Vec<Value> = global.client()?.get("/api/v3/observability/slos")?;
    if output.json {
        print(&format!("{:#}\n", Value::Array(slos)))?;
        return Ok(Exit::Done);
    }
    let left = |slo: &Value| match slo["status"].as_str() {
        Some("unknown") => f64::INFINITY,
        _ => slo["error_budget"]["remaining_percent"].as_f64().unwrap_or(f64::INFINITY),
    };
    slos.sort_by(|a, b| left(a).total_cmp(&left(b)));
    let rows: Vec<Vec<String>> = slos.iter().map(row).collect();
    print(&table(
        &["STATUS", "OBJECTIVE", "TARGET", "CURRENT", "BUDGET LEFT", "BURN 1H", "MEASURED"],
        &rows,
    ))?;
    Ok(Exit::Done)
}

fn row(slo: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let known = slo["status"] != "unknown";
    let left = slo["error_budget"]["remaining_percent"].as_f64().filter(|_| known);
    let hour = slo["burn_rates"].as_array().into_iter().flatten().find(|burn| burn["window"] == "1h");
    vec![
        text(&slo["status"]),
        text(&slo["id"]),
        percent(slo["target"].as_f64(), 3),
        percent(slo["current"].as_f64(), 3),
        percent(left, 1),
        hour.and_then(|burn| burn["rate"].as_f64()).map_or("-".to_owned(), |rate| format!("{rate:.1}x")),
        percent(slo["coverage"].as_f64(), 1),
    ]
}

fn percent(value: Option<f64>, places: usize) -> String {
    let Some(value) = value else { return "-".to_owned() };
    let text = format!("{value:.places$}");
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

fn show(global: &Global, id: &str, output: Output) -> Result<Exit, Failure> {
    let path = format!("/api/v3/observability/slo/{}", in_path(id));
    let slo: Value = global.client()?.get(&path)?;
    if output.json {
        print(&format!("{slo:#}\n"))?;
        return Ok(Exit::Done);
    }
    let text = |name: &str| slo[name].as_str().unwrap_or_default().to_owned();
    let budget = &slo["error_budget"];
    let lasts = match (slo["budget_lasts"].as_str(), slo["budget_lasts_minutes"].as_u64()) {
        (Some("in"), Some(minutes)) => format!("used up in {minutes} min if it goes on like this"),
        (Some("never"), _) => "lasts".to_owned(),
        (Some("exhausted"), _) => "used up".to_owned(),
        _ => "nothing was measured lately".to_owned(),
    };
    let mut shown = format!(
        "{}  {}\n{}\ntarget {} in {} d, current {} ({} of {} bad), {} measured, counted from {}\nbudget {} left of {:.1} min, {lasts}\n\n",
        text("id"),
        text("status"),
        text("description"),
        percent(slo["target"].as_f64(), 3),
        slo["window_days"].as_f64().unwrap_or(0.0),
        percent(slo["current"].as_f64(), 3),
        slo["events"]["bad"].as_f64().unwrap_or(0.0),
        slo["events"]["total"].as_f64().unwrap_or(0.0),
        percent(slo["coverage"].as_f64(), 1),
        text("counted_from"),
        percent(budget["remaining_percent"].as_f64(), 1),
        budget["total_minutes"].as_f64().unwrap_or(0.0),
    );
    let rows: Vec<Vec<String>> = slo["burn_rates"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|burn| {
            let rate = |name: &str| burn[name].as_f64().map_or("-".to_owned(), |rate| format!("{rate:.1}x"));
            let of = |name: &str| burn[name].as_str().unwrap_or_default().to_owned();
            vec![of("window"), rate("rate"), rate("threshold"), of("severity")]
        })
        .collect();
    shown.push_str(&table(&["WINDOW", "BURN", "TOO FAST ABOVE", "THEN"], &rows));
    for alert in slo["alerts_firing"].as_array().into_iter().flatten() {
        shown.push_str(&format!("\n{} fires", alert.as_str().unwrap_or_default()));
    }
    print(&format!("{}\n", shown.trim_end()))?;
    Ok(Exit::Done)
}

/// A text as a part of an address.
fn in_path(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

fn check(files: &[PathBuf], output: Output) -> Result<Exit, Failure> {
    let objectives = read_objectives(files, None).map_err(|error| Failure::new(Exit::Usage, &error))?;
    if output.json {
        let ids: Vec<Value> = objectives
            .iter()
            .map(|one| serde_json::json!({ "id": one.id, "service": one.service, "target": one.target.percent() }))
            .collect();
        print(&format!("{:#}\n", Value::Array(ids)))?;
    } else {
        let lines: Vec<String> = objectives
            .iter()
            .map(|one| format!("{}  {} in {}\n", one.id, percent(Some(one.target.percent()), 3), one.period))
            .collect();
        print(&lines.concat())?;
    }
    Ok(Exit::Done)
}

fn export(files: &[PathBuf]) -> Result<Exit, Failure> {
    let objectives = read_objectives(files, None).map_err(|error| Failure::new(Exit::Usage, &error))?;
    let provenance = Provenance {
        mode: "homeostat".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        labels: BTreeMap::new(),
    };
    let rules = RuleFile::of(&objectives, &provenance).map_err(|error| Failure::new(Exit::Usage, &error))?;
    print(&rules.to_yaml())?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_any_letters_is_a_part_of_an_address() {
        assert_eq!(in_path("cart-answers"), "cart-answers");
        assert_eq!(in_path("a/b c"), "a%2Fb%20c");
    }

    #[test]
    fn shares_are_shown_without_empty_places() {
        assert_eq!(
            [percent(Some(99.9), 3), percent(Some(-20.0), 1), percent(None, 1)],
            ["99.9 %", "-20 %", "-"]
        );
    }
}
