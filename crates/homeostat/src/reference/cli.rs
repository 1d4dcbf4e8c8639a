//! `docs/reference/cli.md`: every command with what it takes.

use std::fmt::Write as _;

use clap::{Arg, Command};

use super::{cell, check};
use crate::cli::command;

const PARITY: &str = "\n## What is changed over REST, by command\n\n\
    A command that changes something asks the server that runs, whose guard judges it and whose audit trail records it. Without \
    one there are `up` and `down`, which begin and end it, `chaos recover`, and `restore`, which is refused while one runs.\n\n\
    | endpoint | command |\n|---|---|\n";

/// By what somebody at a shell does what an endpoint does.
#[derive(Clone, Copy)]
enum By {
    Command(&'static str),
    /// By none, with why.
    Api(&'static str),
}

/// Every write of the REST API.
const WRITES: [(&str, By); 39] = {
    const OWN: By = By::Api("one's own account is kept on the page `/account`");
    const TOLD: By = By::Api("programs tell of it");
    [
        ("POST /api/v3/access/me/password", OWN),
        ("POST /api/v3/access/me/totp", OWN),
        ("POST /api/v3/access/me/totp/confirm", OWN),
        ("DELETE /api/v3/access/me/totp", OWN),
        ("DELETE /api/v3/access/me/passkeys/{id}", By::Command("users remove-passkey")),
        ("POST /api/v3/observability/archive/{id}", By::Command("archive add")),
        ("DELETE /api/v3/observability/archive/{id}", By::Command("archive remove")),
        ("POST /api/v3/audit/checkpoint", By::Api("one is signed by itself; `audit checkpoint` prints it")),
        ("POST /api/v3/audit/keys/rotate", By::Command("audit rotate-key")),
        ("POST /api/v3/self-healing/toggle-auto-remediation", By::Command("automation")),
        ("POST /api/v3/self-healing/deploy/{name}", By::Command("deploy")),
        ("POST /api/v3/observability/deployments", TOLD),
        ("POST /api/v3/chaos/emergency-stop", By::Command("chaos stop")),
        ("DELETE /api/v3/chaos/emergency-stop", By::Command("chaos resume")),
        ("POST /api/v3/observability/events", TOLD),
        ("POST /api/v3/chaos/experiment", By::Command("chaos inject")),
        ("DELETE /api/v3/chaos/experiment/{id}", By::Command("chaos abort")),
        ("POST /api/v3/infrastructures", By::Command("infra create")),
        ("DELETE /api/v3/infrastructures/{name}", By::Command("infra delete")),
        ("POST /api/v3/infrastructures/{name}/scale", By::Command("infra scale")),
        ("POST /api/v3/self-healing/manual-remediate/{id}", By::Command("heal")),
        ("POST /api/v3/self-healing/dry-run/{id}", By::Command("heal")),
        ("POST /api/v3/self-healing/pauses", By::Command("pause")),
        ("DELETE /api/v3/self-healing/pauses/{name}", By::Command("unpause")),
        ("POST /api/v3/server/purge", By::Command("purge")),
        ("POST /api/v3/self-healing/remediations/{id}/approve", By::Command("approve")),
        ("POST /api/v3/self-healing/remediations/{id}/reject", By::Command("reject")),
        ("POST /api/v3/self-healing/remediations/{id}/rollback", By::Command("rollback")),
        ("DELETE /api/v3/access/sessions", OWN),
        ("DELETE /api/v3/access/sessions/{id}", OWN),
        ("POST /api/v3/access/tokens", By::Command("token create")),
        ("DELETE /api/v3/access/tokens/{id}", By::Command("token revoke")),
        ("POST /api/v3/access/sign-in", By::Command("login")),
        ("POST /api/v3/observability/trace", TOLD),
        ("POST /api/v3/access/users", By::Command("users create")),
        ("PATCH /api/v3/access/users/{name}", By::Command("users roles")),
        ("DELETE /api/v3/access/users/{name}", By::Command("users remove")),
        ("DELETE /api/v3/access/users/{name}/totp", By::Command("users remove-totp")),
        ("DELETE /api/v3/access/passkeys/{id}", By::Command("users remove-passkey")),
    ]
};

fn page(mut whole: Command) -> String {
    whole.build();
    let mut text = "<!-- Made from the command line by `cargo xtask docs`; changes made here are lost. -->\n\n\
        # Command line\n\n\
        What is asked for goes to stdout, progress and prose to stderr. `--json` prints what programs read; an error is a \
        sentence on stderr with it, too, and the exit code says of which kind.\n\
        `homeostat completions SHELL` prints completions, `homeostat man DIR` writes these pages as manual pages.\n\n\
        ## Exit codes\n\n| code | meaning |\n|---|---|\n"
        .to_owned();
    let codes = whole.get_after_help().map(ToString::to_string).unwrap_or_default();
    for code in codes.trim_start_matches("Exit codes: ").trim_end_matches('.').split("; ") {
        let (number, meaning) = code.split_once(' ').unwrap_or((code, ""));
        let _ = writeln!(text, "| {number} | {meaning} |");
    }
    text.push_str("\n## Options of every command\n\n");
    let global: Vec<&Arg> = whole.get_arguments().filter(|argument| argument.is_global_set()).collect();
    arguments(&mut text, &global);
    text.push_str(PARITY);
    for (endpoint, by) in WRITES {
        let by = match by {
            By::Command(command) => {
                format!("[`homeostat {command}`](#homeostat-{})", command.replace(' ', "-"))
            }
            By::Api(why) => format!("the API alone: {why}"),
        };
        let _ = writeln!(text, "| `{endpoint}` | {by} |");
    }
    text.push_str("\n## All commands\n\n| command | what it does |\n|---|---|\n");
    let mut all = Vec::new();
    commands(&whole, "homeostat", &mut all);
    for (name, command) in &all {
        let _ = writeln!(text, "| [`{name}`](#{}) | {} |", name.replace(' ', "-"), cell(&about(command)));
    }
    for (name, command) in &all {
        of_command(&mut text, name, command);
    }
    text
}

/// Every command that is shown and does something by itself, with its whole name.
fn commands<'a>(command: &'a Command, name: &str, all: &mut Vec<(String, &'a Command)>) {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        let name = format!("{name} {}", sub.get_name());
        if !sub.is_subcommand_required_set() {
            all.push((name.clone(), sub));
        }
        commands(sub, &name, all);
    }
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn of_command(text: &mut String, name: &str, command: &Command) {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace("\n       ", "\n");
    let _ =
        write!(text, "\n## `{name}`\n\n{}.\n\n```text\n{usage}\n```\n", about(command).trim_end_matches('.'));
    let is_own = |argument: &&Arg| {
        !argument.is_global_set()
            && !argument.is_hide_set()
            && !["help", "version"].contains(&argument.get_id().as_str())
    };
    let own: Vec<&Arg> = command.get_arguments().filter(is_own).collect();
    if !own.is_empty() {
        text.push('\n');
        arguments(text, &own);
    }
}

fn arguments(text: &mut String, arguments: &[&Arg]) {
    text.push_str("| argument | meaning |\n|---|---|\n");
    for argument in arguments {
        let help =
            argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(
            text,
            "| `{}` | {}.{} |",
            name(argument),
            cell(help.trim_end_matches('.')),
            cell(&more(argument))
        );
    }
}

/// As it is typed.
fn name(argument: &Arg) -> String {
    let takes = argument.get_action().takes_values()
        && argument.get_num_args().is_none_or(|count| count.takes_values());
    let values = match argument.get_value_names() {
        Some(names) if takes => names.join(" "),
        _ => String::new(),
    };
    match (argument.get_long(), values.as_str()) {
        (Some(long), "") => format!("--{long}"),
        (Some(long), values) => format!("--{long} {values}"),
        (None, values) => values.to_owned(),
    }
}

/// What may stand there, what it is where nothing does, and by which variable it is set.
fn more(argument: &Arg) -> String {
    let mut text = String::new();
    let takes = argument.get_action().takes_values();
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| takes && !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !values.is_empty() {
        let _ = write!(text, " One of {}.", values.join(", "));
    }
    let default = match argument.get_id().as_str() {
        // Where it lies depends on who asks.
        "dir" => Some("$XDG_STATE_HOME/homeostat`, or else `~/.local/state/homeostat".to_owned()),
        _ => argument.get_default_values().first().map(|value| value.to_string_lossy().into_owned()),
    };
    if let Some(default) = default.filter(|_| takes) {
        let _ = write!(text, " Default: `{default}`.");
    }
    if let Some(variable) = argument.get_env() {
        let _ = write!(text, " Environment: `{}`.", variable.to_string_lossy());
    }
    text
}

#[test]
fn the_page_of_the_command_line_is_what_the_program_says() {
    check("cli.md", &page(command()));
}

/// `--help` is as wide as the terminal it is shown in; a page that is kept must not be.
#[test]
fn the_page_of_the_command_line_is_the_same_in_every_terminal() {
    assert_eq!(page(command().term_width(30)), page(command().term_width(300)));
}

#[test]
fn every_write_has_a_command_that_there_is_or_a_reason_to_have_none() {
    let rest = std::fs::read_to_string(super::root().join("docs/reference/rest.md")).unwrap();
    let listed = rest.lines().filter_map(|line| line.strip_prefix("| [`")?.split_once('`'));
    let listed: Vec<&str> =
        listed.map(|(endpoint, _)| endpoint).filter(|endpoint| !endpoint.starts_with("GET ")).collect();
    assert_eq!(listed, WRITES.map(|(endpoint, _)| endpoint));
    let (mut whole, mut all) = (command(), Vec::new());
    whole.build();
    commands(&whole, "homeostat", &mut all);
    for (endpoint, by) in WRITES {
        if let By::Command(name) = by {
            assert!(all.iter().any(|(one, _)| *one == format!("homeostat {name}")), "{endpoint}: {name}");
        }
    }
}
