//! `homeostat demo deploy`: another version of the shop's catalogue, and what the loop makes of it.
//!
//! In: a demo that is up. Out: what was measured, as the control plane recorded it: when the regression was found, when
//! the rollback had every instance run what ran before, when that was verified. Times count from the moment the
//! deployment began; one that was not reached is a dash.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::{DemoDeployArgs, Exit, Failure, Global, Rollout, await_plan, print};
use crate::client::{Client, ClientError};

/// The service that is deployed, its good version and its bad one; see `demo_service/edition.rs`.
const SERVICE: &str = "catalogue";
const GOOD: &str = "1.1";
const BAD: &str = "2.0";

/// So long a bad version may take to be found, rolled back and verified.
const HEALED_WITHIN: Duration = Duration::from_secs(240);

/// So long a good version is watched: as long as a deployment counts as just made, and a little more.
const WATCHED: Duration = Duration::from_secs(75);

/// Between two looks.
const POLL: Duration = Duration::from_millis(250);

/// Deploys, watches and reports.
pub(crate) fn run(global: &Global, args: &DemoDeployArgs) -> Result<Exit, Failure> {
    let client = find(global)?;
    let version = if args.bad { BAD } else { GOOD };
    let path = format!("/api/v3/self-healing/deploy/{SERVICE}");
    let planned: Value = client.post(&path, &json!({ "version": version }))?;
    let id = planned["id"].as_str().unwrap_or_default().to_owned();
    provider::say!("{SERVICE} {version} is being deployed, one instance after another");
    let (rollout, plan) = await_plan(&client, &id, planned)?;
    if rollout != Rollout::Done {
        let reasons = plan["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let why = plan["error_message"].as_str().into_iter().chain(reasons).collect::<Vec<_>>().join("; ");
        let exit = if rollout == Rollout::Held { Exit::Refused } else { Exit::Failed };
        return Err(Failure { exit, message: format!("{SERVICE} {version} was not deployed: {why}") });
    }
    let mut story = Story::new(version, &id);
    let began = Instant::now();
    let limit = if args.bad { HEALED_WITHIN } else { WATCHED };
    loop {
        for line in story.look(&client)? {
            provider::say!("{line}");
        }
        if story.verified_after_s.is_some() || began.elapsed() > limit || crate::signals::ending() {
            break;
        }
        std::thread::sleep(POLL);
    }
    if args.output.json {
        let text = serde_json::to_string_pretty(&story).map_err(|error| Failure::failed(&error))?;
        print(&format!("{text}\n"))?;
    } else {
        print(&story.text(args.bad))?;
    }
    let healed = story.verified_after_s.is_some();
    let stays = story.rolled_back_after_s.is_none() && story.rollback.is_none();
    Ok(if if args.bad { healed } else { stays } { Exit::Done } else { Exit::Failed })
}

/// The demo of the data directory that was named, else the one that is up.
fn find(global: &Global) -> Result<Client, Failure> {
    let has_shop =
        |client: &Client| client.get::<Value>(&format!("/api/v3/self-healing/services/{SERVICE}")).is_ok();
    if let Ok(client) = Client::find(&global.dir)
        && has_shop(&client)
    {
        return Ok(client);
    }
    let dirs = super::directories().map_err(|error| Failure::failed(&error))?.into_iter();
    let mut up: Vec<(PathBuf, Client)> =
        dirs.filter_map(|dir| Some((dir.clone(), Client::find(&dir).ok()?))).collect();
    match up.len() {
        0 => Err(Failure {
            exit: Exit::NotRunning,
            message: "no demo is up; start one with `homeostat demo --no-drill`".to_owned(),
        }),
        1 => Ok(up.remove(0).1),
        _ => {
            let dirs: Vec<String> = up.iter().map(|(dir, _)| dir.display().to_string()).collect();
            let message = format!("several demos are up; name one with --dir: {}", dirs.join(", "));
            Err(Failure { exit: Exit::Usage, message })
        }
    }
}

/// What came of a deployment so far. Times are seconds since it began.
#[derive(Debug, Default, Serialize)]
struct Story {
    version: String,
    /// The plan that deployed it.
    plan: String,
    rolled_out_after_s: Option<f64>,
    detected_after_s: Option<f64>,
    /// What was found, in the loop's words.
    issue: Option<String>,
    cause: Option<String>,
    /// The plan that rolled it back.
    rollback: Option<String>,
    rolled_back_after_s: Option<f64>,
    verified_after_s: Option<f64>,
    outcome: Option<String>,
}

impl Story {
    fn new(version: &str, plan: &str) -> Self {
        Self { version: version.to_owned(), plan: plan.to_owned(), ..Self::default() }
    }

    /// Looks again; what is new, as lines for people.
    fn look(&mut self, client: &Client) -> Result<Vec<String>, ClientError> {
        let mut said = Vec::new();
        let deployments: Vec<Value> =
            client.get(&format!("/api/v3/observability/deployments?service={SERVICE}"))?;
        let ours = deployments.iter().find(|it| it["remediation_id"].as_str() == Some(&self.plan));
        let Some(ours) = ours else { return Ok(said) };
        let began = seconds(&ours["at"]).unwrap_or_default();
        let after = |time: &Value| seconds(time).map(|at| at - began);
        if self.rolled_out_after_s.is_none() {
            self.rolled_out_after_s = after(&ours["finished_at"]);
            said.extend(self.rolled_out_after_s.map(|s| format!("{s:5.1} s  every instance runs it")));
        }
        if self.rollback.is_none() {
            self.find_rollback(client, after, &mut said)?;
        }
        if let Some(rollback) = &self.rollback {
            let plan: Value = client.get(&format!("/api/v3/self-healing/remediations/{rollback}"))?;
            let back = deployments.iter().find(|it| it["rolls_back"] == ours["id"]);
            if self.rolled_back_after_s.is_none() {
                self.rolled_back_after_s = back.and_then(|back| after(&back["finished_at"]));
                let line = |s| format!("{s:5.1} s  rolled back: every instance runs what ran before");
                said.extend(self.rolled_back_after_s.map(line));
            }
            if came_to_nothing(&plan) {
                said.push(format!("         that came to nothing: {}", plan["error_message"]));
                self.rollback = None;
            } else if self.outcome.is_none() {
                self.outcome = plan["outcome"]["kind"].as_str().map(ToOwned::to_owned);
                if self.outcome.as_deref() == Some("healed") {
                    self.verified_after_s = after(&plan["outcome"]["verified_at"]);
                    let line = |s| format!("{s:5.1} s  verified: the signal was back in bounds, and it held");
                    said.extend(self.verified_after_s.map(line));
                }
            }
        }
        Ok(said)
    }

    /// The rollback that the loop planned for it, and the issue that led to it.
    fn find_rollback(
        &mut self,
        client: &Client,
        after: impl Fn(&Value) -> Option<f64>,
        said: &mut Vec<String>,
    ) -> Result<(), ClientError> {
        let plans: Vec<Value> = client
            .get(&format!("/api/v3/self-healing/remediations?resource=service%2F{SERVICE}&limit=20"))?;
        let newer = |plan: &&Value| after(&plan["created_at"]).is_some_and(|s| s > 0.0);
        let wanted = |plan: &&Value| plan["action_type"] == "rollback_deployment" && !came_to_nothing(plan);
        let Some(plan) = plans.iter().filter(newer).find(wanted) else {
            return Ok(());
        };
        self.rollback = plan["id"].as_str().map(ToOwned::to_owned);
        let evidence = plan["cause"]["evidence"][0]["text"].as_str();
        self.cause = evidence.map(ToOwned::to_owned);
        if let Some(issue) = plan["issue_id"].as_str() {
            let issue: Value = client.get(&format!("/api/v3/self-healing/issues/{issue}"))?;
            self.detected_after_s = after(&issue["detected_at"]);
            self.issue = issue["description"].as_str().map(ToOwned::to_owned);
        }
        if let (Some(s), Some(issue)) = (self.detected_after_s, &self.issue) {
            said.push(format!("{s:5.1} s  found: {issue}"));
        }
        said.extend(self.cause.as_ref().map(|cause| format!("         cause: {cause}")));
        said.push(format!("         {}", plan["description"].as_str().unwrap_or_default()));
        if plan["status"] == "awaiting_approval" {
            let id = self.rollback.as_deref().unwrap_or_default();
            said.push(format!("         it waits for a person: homeostat approve {id}"));
        }
        Ok(())
    }

    fn text(&self, bad: bool) -> String {
        let shown = |time: Option<f64>| time.map_or("-".to_owned(), |s| format!("{s:.1} s"));
        let mut text = format!(
            "{SERVICE} {}: rolled out after {}, detected after {}, rolled back after {}, verified after {}\n",
            self.version,
            shown(self.rolled_out_after_s),
            shown(self.detected_after_s),
            shown(self.rolled_back_after_s),
            shown(self.verified_after_s)
        );
        if !bad && self.rollback.is_none() {
            text.push_str(&format!("it stays: nothing got worse within {} s\n", WATCHED.as_secs()));
        }
        if bad && self.verified_after_s.is_none() {
            text.push_str(&format!("not healed within {} s\n", HEALED_WITHIN.as_secs()));
        }
        text
    }
}

/// Whether a plan ended without having done what it was for; the loop may make another one.
fn came_to_nothing(plan: &Value) -> bool {
    matches!(plan["status"].as_str(), Some("refused" | "failed" | "rolled_back"))
}

/// A time of the API as seconds since 1970.
fn seconds(time: &Value) -> Option<f64> {
    let stamp: jiff::Timestamp = time.as_str()?.parse().ok()?;
    Some(stamp.as_microsecond() as f64 / 1e6)
}
