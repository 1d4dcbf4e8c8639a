//! A server elsewhere: `login`, `logout`, `whoami`, and what `--server` leads to.
//!
//! In: an address, a name and a password. Out: a token, kept in a file that its owner alone can read, in the user's
//! configuration directory. A token goes over TLS, or over plain HTTP to this machine, and nowhere else.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use durable::Access;
use outbound::Trust;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ureq::http::Uri;

use super::infra::{printed, word};
use super::password::{PasswordSource, line};
use super::{Exit, Failure, Global, Output, whole};
use crate::client::{Client, ClientError};

/// `login`.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The user's name.
    name: String,
    #[command(flatten)]
    password: PasswordSource,
    /// Ask for the code of an authenticator at once.
    #[arg(long)]
    code: bool,
}

/// What is kept of one server.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    token: String,
    token_id: String,
    /// The authority it was trusted by.
    ca: Option<PathBuf>,
}

fn usage(message: String) -> Failure {
    Failure { exit: Exit::Usage, message }
}

/// Speaks with a server elsewhere.
pub(super) fn remote(url: &str, ca: Option<&Path>) -> Result<Client, Failure> {
    let url = checked(url)?;
    let kept = kept_for(&url)?;
    let given = std::env::var("HOMEOSTAT_TOKEN").ok().filter(|token| !token.is_empty());
    let ca = ca.map(Path::to_owned).or_else(|| kept.as_ref().and_then(|kept| kept.ca.clone()));
    let token = given.or(kept.map(|kept| kept.token)).ok_or_else(|| {
        usage(format!(
            "no token is kept for {url}; run `homeostat login NAME --server {url}`, or set HOMEOSTAT_TOKEN"
        ))
    })?;
    Ok(Client::at(url, token, agent(ca.as_deref())?))
}

/// Speaks with a server elsewhere, as nobody.
pub(super) fn open_to_all(url: &str, ca: Option<&Path>) -> Result<Client, Failure> {
    let url = checked(url)?;
    let kept = kept_for(&url)?.and_then(|kept| kept.ca);
    Ok(Client::at(url, String::new(), agent(ca.or(kept.as_deref()))?))
}

/// The address as it is kept: without a slash at its end.
fn checked(url: &str) -> Result<String, Failure> {
    let url = url.trim_end_matches('/');
    let no_server = || usage(format!("{url:?} is no server; give https://HOST:PORT"));
    // Read as the client reads it: what stands before an @ is a name, and no host.
    let address: Uri = url.parse().map_err(|_| no_server())?;
    let is_whole =
        matches!(address.path(), "" | "/") && address.query().is_none() && !url.contains(['@', '#']);
    match address.scheme_str() {
        Some("http" | "https") if !is_whole || address.host().is_none() => Err(no_server()),
        Some("http" | "https") if outbound::is_private(&address) => Ok(url.to_owned()),
        Some("http") => Err(usage(format!("{url} would carry the token in the clear; use https://"))),
        _ => Err(no_server()),
    }
}

fn agent(ca: Option<&Path>) -> Result<ureq::Agent, Failure> {
    let trust = ca.map_or(Trust::Authorities, |path| Trust::File(path.to_owned()));
    let tls = trust.config().map_err(|error| usage(error.to_string()))?;
    Ok(outbound::agent(tls).timeout_global(Some(Duration::from_secs(60))).build().new_agent())
}

pub(super) fn login(global: &Global, args: &LoginArgs) -> Result<Exit, Failure> {
    let Some(url) = &global.server else {
        let why = "name the server: `homeostat login NAME --server https://HOST:PORT`; the one of the data directory \
                   needs no login";
        return Err(usage(why.to_owned()));
    };
    let (url, mut kept) = (checked(url)?, read()?);
    // Where the command is run from elsewhere later, the file is still found.
    let whole = |path: &PathBuf| {
        let why = |error| usage(format!("cannot use the certificates of {}: {error}", path.display()));
        fs::canonicalize(path).map_err(why)
    };
    let ca = global.ca.as_ref().map(whole).transpose()?;
    let client = Client::at(url.clone(), String::new(), agent(ca.as_deref())?);
    let password = args.password.present("password: ")?;
    let mut code = if args.code { Some(line("code: ")?) } else { None };
    let made: Value = loop {
        let body = json!({
            "name": args.name, "password": password, "code": code, "token_name": token_name(&args.name),
        });
        match client.post_unproven("/api/v3/access/sign-in", &body) {
            Err(ClientError::Refused { code: why, .. }) if why == "code_needed" && code.is_none() => {
                code = Some(line("code of the authenticator: ")?);
            }
            answer => break answer?,
        }
    };
    let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    kept.insert(url.clone(), Kept { token: text("token"), token_id: text("id"), ca });
    write(&kept)?;
    provider::say!("signed in at {url} as {} until {}", args.name, text("expires_at"));
    Ok(Exit::Done)
}

/// Says in lists of tokens whose it is and from where; the time makes it the only one.
fn token_name(user: &str) -> String {
    let host: String = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .chars()
        .filter(|sign| !sign.is_control())
        .take(20)
        .collect();
    let user: String = user.chars().take(20).collect();
    format!("{user} at {host} {}", jiff::Timestamp::now().as_millisecond())
}

pub(super) fn logout(global: &Global) -> Result<Exit, Failure> {
    let Some(url) = &global.server else {
        return Err(usage("name the server to sign out of with --server URL".to_owned()));
    };
    let (url, mut kept) = (checked(url)?, read()?);
    let Some(one) = kept.remove(&url) else {
        return Err(usage(format!("no token is kept for {url}")));
    };
    let client = Client::at(url.clone(), one.token, agent(one.ca.as_deref())?);
    let ended = client.delete::<Value>(&format!("/api/v3/access/tokens/{}", one.token_id));
    match ended {
        // What is revoked or expired already is over.
        Ok(_) | Err(ClientError::Refused { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    write(&kept)?;
    provider::say!("signed out of {url}");
    Ok(Exit::Done)
}

pub(super) fn whoami(global: &Global, output: Output) -> Result<Exit, Failure> {
    let me: Value = global.client()?.get("/api/v3/access/me")?;
    if output.json {
        return printed(&format!("{me:#}\n"));
    }
    let list = |name: &str| {
        let names: Vec<String> = me[name].as_array().into_iter().flatten().map(word).collect();
        names.join(", ")
    };
    printed(&format!(
        "{} (user: {})\nroles: {}\nmay: {}\n",
        word(&me["name"]),
        word(&me["user"]),
        list("roles"),
        list("permissions")
    ))
}

/// `$XDG_CONFIG_HOME/homeostat`, else `~/.config/homeostat`.
fn file() -> Result<PathBuf, Failure> {
    let dir = whole("XDG_CONFIG_HOME", "").or_else(|| whole("HOME", ".config"));
    let dir = dir.ok_or_else(|| usage("set HOME: tokens are kept in its .config/homeostat".to_owned()))?;
    Ok(dir.join("homeostat/servers.json"))
}

/// What is kept of a server. Where there is no place to keep anything, as in a container without HOME, nothing is.
fn kept_for(url: &str) -> Result<Option<Kept>, Failure> {
    match file() {
        Ok(_) => Ok(read()?.remove(url)),
        Err(_) => Ok(None),
    }
}

fn read() -> Result<BTreeMap<String, Kept>, Failure> {
    let path = file()?;
    let unreadable = |why: &dyn std::fmt::Display| usage(format!("cannot read {}: {why}", path.display()));
    match input::read(&path, 1 << 20) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(unreadable(&error)),
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| unreadable(&error)),
    }
}

/// Whole or not at all, and its owner's alone from the first byte on.
fn write(kept: &BTreeMap<String, Kept>) -> Result<(), Failure> {
    let path = file()?;
    let text = serde_json::to_vec_pretty(kept).map_err(|error| Failure::failed(&error))?;
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let written = || -> std::io::Result<()> {
        if let Some(dir) = path.parent() {
            durable::make_dir(dir, Access::Owner)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        durable::rename(&beside, &path)
    };
    written().map_err(|error| {
        // It has its name, or nobody needs the tokens in it.
        let _ = fs::remove_file(&beside);
        let message = format!("cannot keep the token in {}: {error}", path.display());
        Failure { exit: Exit::Failed, message }
    })
}

#[cfg(test)]
mod tests {
    use super::checked;

    #[test]
    fn a_token_goes_over_tls_or_to_this_machine_and_to_no_host_that_only_looks_like_it() {
        for url in [
            "https://homeostat.example:4000",
            "http://localhost:4000",
            "http://127.0.0.1",
            "http://[::1]:4000/",
        ] {
            assert!(checked(url).is_ok(), "{url}");
        }
        for url in [
            "http://homeostat.example:4000",
            "http://localhost:4000@evil.example",
            "https://localhost@evil.example",
            "http://localhost.evil.example",
            "https://homeostat.example/path",
            "https://homeostat.example?a=b",
            "ftp://localhost",
            "localhost:4000",
            "",
        ] {
            assert!(checked(url).is_err(), "{url}");
        }
    }
}
