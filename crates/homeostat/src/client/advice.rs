//! What the command line says of a refusal: the API's sentence, and what to do about it from a shell.
//!
//! In: a problem's stable code, its sentence, and which list has what there is. Out: the sentence for people. An API's reader is
//! told of headers and addresses; one who sits at a shell is told of commands.

use std::path::Path;

use gateway::Listed;
use store::HolderKind;

use super::OWN_VERSION;

/// What goes with a sentence of the API.
enum Advice {
    /// What to do, behind the sentence.
    Added(&'static str),
    /// Another sentence: that of the API is about how a request is to be made.
    Instead(&'static str),
}

/// The whole sentence.
pub(super) fn said(code: &str, detail: &str, listed: Option<Listed>) -> String {
    if let Some(listed) = listed {
        return format!("{detail}; {}", by(listed));
    }
    match of(code) {
        Some(Advice::Added(what)) => format!("{detail}; {what}"),
        Some(Advice::Instead(sentence)) => sentence.to_owned(),
        None => detail.to_owned(),
    }
}

/// Who lists it: a command, or a page where no command does.
fn by(listed: Listed) -> &'static str {
    match listed {
        Listed::Archive => "`homeostat archive list` lists what there is",
        Listed::Infrastructures => "`homeostat infra list` lists what there is",
        Listed::Issues => "`homeostat issues` lists what there is",
        Listed::Items => "`homeostat infra items` lists what there is",
        Listed::Objectives => "`homeostat slo list` lists what there is",
        Listed::Services => "`homeostat status` lists what there is",
        Listed::Tokens => "`homeostat token list` lists what there is",
        Listed::Traces => "`homeostat traces` lists what there is",
        Listed::Users => "`homeostat users list` lists what there is",
        Listed::Remediations => {
            "`homeostat status` lists those that wait, and the page /remediations all of them"
        }
        Listed::Experiments => {
            "`homeostat chaos inject` prints the id of one, and the page /experiments lists all of them"
        }
        Listed::Drills => "the page /drills lists what there is",
    }
}

/// By the stable code, where the sentence alone would leave somebody at a shell without a next step.
fn of(code: &str) -> Option<Advice> {
    Some(match code {
        "token_missing" => Advice::Instead(
            "the server has to know who asks; run `homeostat login NAME --server URL`, or set HOMEOSTAT_TOKEN beside --server",
        ),
        "wrong_token" => Advice::Instead(
            "the token is none of this server's; run `homeostat login NAME --server URL`, or set HOMEOSTAT_TOKEN to a token that \
             `homeostat token create` printed there",
        ),
        "token_expired" | "token_revoked" => Advice::Added(
            "sign in with `homeostat login NAME --server URL`, or set HOMEOSTAT_TOKEN to a new one of `homeostat token create`",
        ),
        "refused" => Advice::Added("`homeostat status` shows what is at work, and what waits"),
        "forbidden" => Advice::Added("`homeostat whoami` says what this token may"),
        "code_needed" => Advice::Instead(
            "this user has a second factor; run `homeostat login` with --code, and give what the authenticator shows or a recovery code",
        ),
        _ => return None,
    })
}

/// Of a server that does not know what this program asks for. On this machine, services run on while it is restarted.
pub(super) fn of_another_version(address: &str, server: &str, path: &str, dir: Option<&Path>) -> String {
    let relation = match server == OWN_VERSION {
        true => "the same by its number, and yet of another build".to_owned(),
        false => format!("this program is homeostat {OWN_VERSION}"),
    };
    let what = match dir {
        Some(dir) => {
            let holder = store::holder(dir).ok().flatten();
            let server = holder.filter(|holder| holder.kind == HolderKind::ControlPlane);
            let end =
                server.map_or("end it".to_owned(), |server| format!("end it with `kill {}`", server.pid));
            format!(
                "{end} and start this one with `homeostat serve --dir {}` (services run on meanwhile), or ask with the program \
                 that runs there",
                dir.display()
            )
        }
        None => "ask with the program of its version, or have the server upgraded and restarted".to_owned(),
    };
    format!("the server at {address} is homeostat {server} and has no {path}; {relation}: {what}")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Whether there is a command of this name, such as `slo list`.
    fn is_known(name: &str) -> bool {
        let whole = crate::cli::Cli::command();
        name.split(' ').try_fold(&whole, |above, word| above.find_subcommand(word)).is_some()
    }

    #[test]
    fn what_is_not_there_is_listed_by_a_command_that_there_is() {
        for listed in Listed::ALL {
            let said = said("not_found", "there is none", Some(listed));
            assert!(said.starts_with("there is none; ") && !said.contains("/api/"), "{said}");
            for command in said.split('`').skip(1).step_by(2) {
                assert!(command.strip_prefix("homeostat ").is_some_and(is_known), "{command}");
            }
        }
        assert_eq!(said("not_found", "there is none", None), "there is none");
    }

    #[test]
    fn who_is_not_known_is_told_of_commands_and_of_no_header() {
        let sent = "sign in, or send `Authorization: Bearer TOKEN`";
        for code in ["token_missing", "wrong_token"] {
            let said = said(code, sent, None);
            assert!(said.contains("homeostat login") && !said.contains("Authorization"), "{code}: {said}");
        }
        let said = said("token_expired", "the token ci expired at noon", None);
        assert!(said.starts_with("the token ci expired at noon; sign in with `homeostat login"), "{said}");
    }

    #[test]
    fn a_server_of_this_machine_is_ended_and_started_anew() {
        let dir = tempfile::tempdir().unwrap();
        let said = of_another_version("http://127.0.0.1:4000", "9.9.9", "/api/v3/new", Some(dir.path()));
        let start = format!("`homeostat serve --dir {}`", dir.path().display());
        assert!(said.contains(&start) && said.contains("services run on"), "{said}");
    }

    /// An answer to a code that no server gives would never be read.
    #[test]
    fn every_code_with_advice_is_in_the_reference() {
        let reference = include_str!("../../../../docs/reference/errors.md");
        for code in [
            "token_missing",
            "wrong_token",
            "token_expired",
            "token_revoked",
            "refused",
            "forbidden",
            "code_needed",
        ] {
            assert!(of(code).is_some() && reference.contains(&format!("## `{code}`")), "{code}");
        }
    }
}
