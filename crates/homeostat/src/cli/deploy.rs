//! `homeostat deploy`: another version of a service, one instance after another.

use std::path::Path;
use std::time::{Duration, Instant};

use provider::secret;
use serde_json::{Map, Value, json};

use super::config::print;
use super::{DeployArgs, Exit, Failure, Global};
use crate::client::{Client, ClientError};

/// Between two looks at a plan.
const POLL: Duration = Duration::from_millis(100);

/// Deploys, or shows how it would, and waits until the rollout is over.
pub(super) fn run(global: &Global, args: &DeployArgs) -> Result<Exit, Failure> {
    if args.command.iter().flatten().next().is_some_and(|program| program.trim().is_empty()) {
        let message =
            "--command begins with an empty word; give a program, and then its arguments".to_owned();
        return Err(Failure { exit: Exit::Usage, message });
    }
    let command = args.command.clone().map(anchored).transpose()?;
    let client = global.client()?;
    let mut body = Map::new();
    body.insert("version".to_owned(), args.version.clone().into());
    body.insert("dry_run".to_owned(), args.dry_run.into());
    // A relative `${file:…}` means what it means here, and is followed elsewhere.
    let here = |value: &String| Value::from(secret::anchored(value, Path::new("")));
    let environment = args.environment.iter().map(|(name, value)| (name.clone(), here(value)));
    body.insert("environment".to_owned(), Value::Object(environment.collect()));
    if let Some(command) = command {
        body.insert("command".to_owned(), json!(command));
    }
    let path = format!("/api/v3/self-healing/deploy/{}", args.service);
    let mut answer: Value = client.post(&path, &Value::Object(body))?;
    let rollout = match args.dry_run {
        true => Rollout::of(&answer),
        false => {
            if !args.output.json {
                provider::say!("{}", answer["description"].as_str().unwrap_or_default());
            }
            let id = answer["id"].as_str().unwrap_or_default().to_owned();
            let (ended, plan) = await_plan(&client, &id, answer)?;
            answer = plan;
            ended
        }
    };
    if args.output.json {
        print(&format!("{answer:#}\n"))?;
    } else {
        print(&super::show::plan_text(&answer))?;
        if let Some(why) = answer["error_message"].as_str() {
            provider::say!("{why}");
        }
    }
    Ok(match rollout {
        _ if args.dry_run => Exit::Done,
        Rollout::Done => Exit::Done,
        Rollout::Failed => Exit::Failed,
        Rollout::Held => Exit::Refused,
    })
}

/// The command, with a program that is named from where the caller is named from the root.
fn anchored(mut command: Vec<String>) -> Result<Vec<String>, Failure> {
    if let Some(program) = command.first_mut().filter(|program| provider::program::is_relative(program)) {
        let here = std::env::current_dir().map_err(|error| Failure::failed(&error))?;
        *program = provider::program::anchored(program, &here);
    }
    Ok(command)
}

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rollout {
    /// Every instance runs it.
    Done,
    /// It was tried, and taken back as far as it got.
    Failed,
    /// It did not begin: the guard refuses it, or it waits.
    Held,
}

impl Rollout {
    fn of(plan: &Value) -> Self {
        match plan["status"].as_str() {
            Some("success") => Self::Done,
            Some("failed" | "rolled_back") => Self::Failed,
            _ => Self::Held,
        }
    }
}

/// What was begun goes on, whatever came of looking at it: a refusal of that look is no word of wrong arguments or of the guard.
pub(super) fn unwatched(begun: &str, error: ClientError) -> Failure {
    let needs = match &error {
        ClientError::Refused { code, .. } if code == "forbidden" => "; watching needs state:read",
        _ => "",
    };
    let Failure { exit, message } = error.into();
    let exit = if exit == Exit::NotRunning { exit } else { Exit::Failed };
    let message = format!("{begun} was begun, and how it ends is not known here: {message}{needs}");
    Failure { exit, message }
}

/// Waits until a plan has ended. One that has not begun within a few seconds, as `plan` shows it, is held.
///
/// # Errors
///
/// [`unwatched`].
pub(crate) fn await_plan(client: &Client, id: &str, plan: Value) -> Result<(Rollout, Value), Failure> {
    /// The loop takes a plan that was cleared at once.
    const BEGINS_WITHIN: Duration = Duration::from_secs(10);
    let asked = Instant::now();
    let mut plan = plan;
    loop {
        match plan["status"].as_str() {
            Some("in_progress") => {}
            Some("pending") if asked.elapsed() < BEGINS_WITHIN => {}
            _ => return Ok((Rollout::of(&plan), plan)),
        }
        std::thread::sleep(POLL);
        plan = client
            .get(&format!("/api/v3/self-healing/remediations/{id}"))
            .map_err(|error| unwatched(&format!("plan {id}"), error))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fixture::server;

    fn awaited(status: u16, code: &'static str) -> Failure {
        let (client, serving) =
            server(1, move |_| (status, json!({"code": code, "detail": "refused for a test"}), None));
        let failure = await_plan(&client, "7", json!({"status": "in_progress"})).unwrap_err();
        serving.join().unwrap();
        failure
    }

    #[test]
    fn what_was_begun_and_cannot_be_watched_is_never_said_to_be_nothing() {
        for (status, code) in [
            (403, "forbidden"),
            (401, "token_revoked"),
            (404, "not_found"),
            (409, "refused"),
            (429, "rate_limited"),
        ] {
            let failure = awaited(status, code);
            assert_eq!(failure.exit, Exit::Failed, "{code}");
            assert!(
                failure.message.starts_with("plan 7 was begun, and how it ends is not known"),
                "{failure:?}"
            );
            assert_eq!(
                failure.message.ends_with("watching needs state:read"),
                code == "forbidden",
                "{failure:?}"
            );
        }
    }
}
