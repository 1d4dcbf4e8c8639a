//! Repairs that no fault of the drill's matrix calls for, end to end: a fleet of real processes gets into
//! trouble by itself, and the loop chooses the strategy, runs it, and sees whether it held.
//!
//! What the drill's record does not cover waits for a person; the tests are that person, over the command
//! line.

mod cpu_limit;
mod crash_loop;
mod foretold;
mod load;
mod memory;

use serde_json::Value;

use crate::Test;
use crate::fleet::Fleet;

pub(crate) const TESTS: &[Test] = &[
    ("a_service_that_runs_out_of_memory_again_gets_a_higher_limit", memory::higher_limit),
    ("more_load_than_one_instance_serves_is_spread_over_more", load::spread),
    ("a_store_that_its_cpu_limit_throttles_under_load_gets_a_higher_one", cpu_limit::higher_limit),
    ("what_grows_is_restarted_before_it_is_over_its_bound", foretold::restarted_before),
    ("a_crash_loop_gets_an_instance_more_until_its_time_is_over", crash_loop::one_more),
];

/// Everything is on auto; a signal has `deadline` to come back. Waits are short, limits and confidence are the
/// defaults. What is slow because the machine is is no issue: none of these is about latency.
fn config(deadline: &str) -> String {
    format!(
        r#"
[thresholds]
latency_ms = 10000
[policy.limits]
cooldown = "1s"
[policy.verification]
deadline = "{deadline}"
hold = "3s"
[policy.lifting]
scale_back = "12s"
[policy.ladder]
default = "auto"
"#
    )
}

/// Lets everything run that waits for a person.
fn approve_what_waits(fleet: &Fleet) -> Result<(), String> {
    for plan in list(fleet, "remediations?status=awaiting_approval")? {
        fleet.run(&["approve", plan["id"].as_str().unwrap_or_default()]).done();
    }
    Ok(())
}

/// The repairs of an issue that were begun, oldest first.
fn begun(fleet: &Fleet, issue: &Value) -> Result<Vec<Value>, String> {
    let mut plans = list(fleet, "remediations")?;
    plans.retain(|plan| plan["issue_id"] == issue["id"] && !plan["started_at"].is_null());
    plans.reverse();
    Ok(plans)
}

/// The names of their strategies.
fn strategies(plans: &[Value]) -> Vec<&str> {
    plans.iter().filter_map(|plan| plan["action_type"].as_str()).collect()
}

/// The latest repair of an issue by a strategy, once it has its verdict.
fn verdict(fleet: &Fleet, issue: &Value, strategy: &str) -> Result<Value, String> {
    let plans = begun(fleet, issue)?;
    let plan = plans.iter().rfind(|plan| plan["action_type"] == strategy);
    let plan = plan.ok_or_else(|| format!("begun so far: {:?}", strategies(&plans)))?;
    if plan["outcome"].is_null() { Err(format!("no verdict yet: {plan}")) } else { Ok(plan.clone()) }
}

/// The latest issue of a type on a resource.
fn issue(fleet: &Fleet, kind: &str, resource: &str) -> Result<Value, String> {
    let issues = list(fleet, &format!("issues?type={kind}&resource={resource}"))?;
    issues.into_iter().next().ok_or_else(|| format!("no {kind} on {resource} yet"))
}

fn closed(fleet: &Fleet, kind: &str, resource: &str) -> Result<(), String> {
    let issue = issue(fleet, kind, resource)?;
    if issue["closed_at"].is_null() { Err(format!("still open: {issue}")) } else { Ok(()) }
}

fn service(fleet: &Fleet, name: &str) -> Result<Value, String> {
    fleet.get(&format!("/api/v3/self-healing/services/{name}"))
}

fn list(fleet: &Fleet, what: &str) -> Result<Vec<Value>, String> {
    let answer = fleet.get(&format!("/api/v3/self-healing/{what}"))?;
    answer.as_array().cloned().ok_or_else(|| format!("no list: {answer}"))
}
