//! `homeostat support-bundle`: what somebody who helps wants to see, in one archive without secrets.
//!
//! In: a data directory, its server running or not, and the configuration. Out: a tar in zstd with a text or JSON file for
//! each thing. What is secret is removed twice: where it stands (environments, URLs of the configuration), and by its value
//! wherever else it turns up.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use provider::secret;
use serde_json::{Value, json};

use super::config::{check_lasting, print};
use super::not_over::{Beyond, Found, open_issues, plans_that_are};
use super::{Exit, Failure, Global, Output};
use crate::client::{Client, ClientError, token_file};
use crate::config::FILE_BYTES_MAX;
use crate::control_socket::{Ask, ask};
use crate::unfinished::{MODE, Unfinished};

/// What stands where a secret was.
const REMOVED: &str = "[removed]";

/// Values shorter than this are removed where they stand alone: everywhere, they would remove half of every text.
const SHORTEST: usize = 6;

/// How many issues and plans.
const RECORDS: usize = 50;

/// `support-bundle`.
#[derive(Debug, Args)]
pub(crate) struct BundleArgs {
    /// The archive to write (tar in zstd); it must not be there.
    file: PathBuf,
}

pub(super) fn run(global: &Global, args: &BundleArgs) -> Result<Exit, Failure> {
    let shown = args.file.display();
    let exists = || Failure {
        exit: Exit::Usage,
        message: format!(
            "{shown} is there already, and a bundle is written over nothing; name another file, or remove this one"
        ),
    };
    if args.file.symlink_metadata().is_ok() {
        return Err(exists());
    }
    // It is read twice: for what is secret in it, and for the rest.
    check_lasting(global)?;
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(),
        _ => Failure { exit: Exit::Failed, message: format!("cannot write {shown}: {error}") },
    };
    // Made before anything is asked for: what cannot be written need not be gathered.
    let unfinished = Unfinished::beside(&args.file).map_err(failed)?;
    let target = unfinished.target().map_err(failed)?;
    let secrets = Secrets::of(global);
    let files = gather(global, &secrets);
    write(target, &files, &secrets).and_then(|()| unfinished.finish(&args.file)).map_err(failed)?;
    provider::say!(
        "{} holds {} files, without tokens, environments and what URLs hold beyond their host; look before you send it",
        args.file.display(),
        files.len()
    );
    Ok(Exit::Done)
}

/// Name and content of every file.
fn gather(global: &Global, secrets: &Secrets) -> Vec<(&'static str, String)> {
    let mut files = vec![
        ("version.json", pretty(&version())),
        ("platform.txt", platform()),
        ("configuration.toml", configuration(global)),
        ("sizes.txt", sizes(&global.dir)),
    ];
    let said = ask(&global.dir, Ask::LogLines {}).map(|answer| {
        let lines = answer["lines"].as_array().into_iter().flatten().filter_map(Value::as_str);
        lines.map(|line| format!("{line}\n")).collect()
    });
    files.push(("log.txt", said.unwrap_or_else(|failure| failure.message)));
    match Client::find(&global.dir) {
        Err(error) => files.push(("server.txt", error.to_string())),
        Ok(client) => {
            let get = |path: &str| match client.get::<Value>(path) {
                Ok(value) => pretty(&secrets.without_environments(value)),
                Err(error) => pretty(&json!({ "not_available": error.to_string() })),
            };
            files.push(("health.json", get("/health")));
            files.push(("capabilities.json", get("/api/v3/self-healing/capabilities")));
            files.push(("services.json", get("/api/v3/self-healing/services")));
            files.push(("telemetry.json", get("/api/v3/observability/status")));
            files.push(("issues.json", get(&format!("/api/v3/self-healing/issues?limit={RECORDS}"))));
            let not_over = |found: Result<Found, ClientError>| match found {
                Ok(Found { rows, beyond }) => {
                    let rows = secrets.without_environments(Value::Array(rows));
                    pretty(&json!({ "rows": rows, "more": beyond != Beyond::Nothing }))
                }
                Err(error) => pretty(&json!({ "not_available": error.to_string() })),
            };
            files.push(("open_issues.json", not_over(open_issues(&client))));
            files.push(("waiting_plans.json", not_over(plans_that_are(&client, "awaiting_approval"))));
            files.push(("plans.json", get(&format!("/api/v3/self-healing/remediations?limit={RECORDS}"))));
            files.push(("metrics.txt", client.text("/metrics").unwrap_or_else(|error| error.to_string())));
        }
    }
    files
}

/// `version`: for people, or with every format as JSON.
pub(super) fn show_version(output: Output) -> Result<Exit, Failure> {
    print(&match output.json {
        true => pretty(&version()),
        false => {
            let formats = crate::backup::formats();
            let lines = formats.iter().map(|(name, version)| format!("{name} {version}\n"));
            format!("homeostat {}\n{}", env!("CARGO_PKG_VERSION"), lines.collect::<String>())
        }
    })?;
    Ok(Exit::Done)
}

/// This binary and the formats it writes.
fn version() -> Value {
    json!({
        "homeostat": env!("CARGO_PKG_VERSION"),
        "debug_assertions": cfg!(debug_assertions),
        "object_storage": telemetry::ObjectStorage::BUILT_IN,
        "formats": crate::backup::formats(),
    })
}

fn platform() -> String {
    let mut text = String::new();
    for path in ["/proc/version", "/etc/os-release", "/proc/loadavg", "/proc/meminfo", "/proc/self/cgroup"] {
        let read = fs::read_to_string(path).unwrap_or_else(|error| format!("{error}\n"));
        text.push_str(&format!("== {path}\n{read}"));
    }
    let cores =
        std::thread::available_parallelism().map_or_else(|error| error.to_string(), |n| n.to_string());
    format!("{text}== processors: {cores}\n")
}

/// The file as it is written, each text that may be secret without what makes it so; comments are left out.
fn configuration(global: &Global) -> String {
    let Some(path) = &global.config else {
        return "# none was named: defaults and the environment\n".to_owned();
    };
    let read = input::read_to_string(path, FILE_BYTES_MAX).map_err(|error| error.to_string());
    let table = read.and_then(|text| text.parse::<toml::Table>().map_err(|error| error.message().to_owned()));
    match table {
        Err(why) => format!("# {}: {why}\n", path.display()),
        Ok(mut table) => {
            table.iter_mut().for_each(|(key, value)| remove_in(key, value));
            toml::to_string_pretty(&table).unwrap_or_else(|error| format!("# {error}\n"))
        }
    }
}

/// Whether a key says that its value is secret.
fn names_a_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["token", "secret", "password", "passwd", "credential", "authorization", "api_key", "access_key"]
        .iter()
        .any(|word| key.contains(word))
}

fn remove_in(key: &str, value: &mut toml::Value) {
    match value {
        toml::Value::Table(table) => table.iter_mut().for_each(|(key, value)| remove_in(key, value)),
        toml::Value::Array(values) => values.iter_mut().for_each(|value| remove_in(key, value)),
        value if names_a_secret(key) => *value = toml::Value::String(REMOVED.to_owned()),
        toml::Value::String(text) => {
            if let Some(shown) = host_only(text) {
                *text = shown;
            }
        }
        _ => {}
    }
}

/// A URL without user, password, path and query; `None` where it is none.
fn host_only(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let user = if host.len() < authority.len() { format!("{REMOVED}@") } else { String::new() };
    let path = if path.len() > 1 { format!("/{REMOVED}") } else { path.to_owned() };
    Some(format!("{scheme}://{user}{host}{path}"))
}

/// Every file of the data directory with its size, in bytes.
fn sizes(dir: &Path) -> String {
    fn below(dir: &Path, root: &Path, lines: &mut Vec<String>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
            let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            // What services keep in their volumes is theirs.
            if kind.is_dir() && shown != "keeper/volumes" {
                below(&path, root, lines);
            } else if let Ok(found) = entry.metadata() {
                lines.push(format!("{:>14} {shown}\n", found.len()));
            }
        }
    }
    let mut lines = Vec::new();
    below(dir, dir, &mut lines);
    lines.sort();
    lines.concat()
}

/// What must not be in the bundle, by its value.
struct Secrets(BTreeSet<String>);

impl Secrets {
    fn of(global: &Global) -> Self {
        let mut found = BTreeSet::new();
        if let Ok(token) = fs::read_to_string(token_file(&global.dir)) {
            found.insert(token.trim().to_owned());
        }
        let table = fs::read(global.dir.join(provider::backup::FILE)).unwrap_or_default();
        if let Ok(table) = serde_json::from_slice::<Value>(&table) {
            environments(&table, &mut found);
        }
        let text = global.config.as_ref().and_then(|path| input::read_to_string(path, FILE_BYTES_MAX).ok());
        if let Some(table) = text.and_then(|text| text.parse::<toml::Table>().ok()) {
            table.iter().for_each(|(key, value)| in_configuration(key, value, &mut found));
        }
        // What a reference leads to is as secret as what is written out; where it leads nowhere, there is nothing to hide.
        let below = global.config.as_ref().and_then(|path| path.parent()).unwrap_or(Path::new(""));
        let referred = found.iter().filter(|text| secret::refers(text));
        let revealed: Vec<String> =
            referred.filter_map(|text| secret::reveal(&secret::anchored(text, below)).ok()).collect();
        found.extend(revealed);
        found.retain(|secret| secret.len() >= SHORTEST);
        Self(found)
    }

    /// A text without any of them.
    fn removed_from(&self, text: &str) -> String {
        // The longest first: one may be a part of another.
        let mut secrets: Vec<&String> = self.0.iter().collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), REMOVED))
    }

    /// A value in which every environment has names alone.
    fn without_environments(&self, mut value: Value) -> Value {
        fn clear(value: &mut Value) {
            match value {
                Value::Object(map) => {
                    for (key, value) in map {
                        match value {
                            Value::Object(inner) if is_environment(key) => {
                                inner.values_mut().for_each(|value| *value = REMOVED.into());
                            }
                            value if is_environment(key) && !value.is_null() => *value = REMOVED.into(),
                            value => clear(value),
                        }
                    }
                }
                Value::Array(values) => values.iter_mut().for_each(clear),
                _ => {}
            }
        }
        clear(&mut value);
        value
    }
}

fn is_environment(key: &str) -> bool {
    matches!(key, "environment" | "env")
}

/// The values of every environment in a JSON value.
fn environments(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if let (true, Value::Object(inner)) = (is_environment(key), value) {
                    found.extend(inner.values().filter_map(Value::as_str).map(str::to_owned));
                }
                environments(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| environments(value, found)),
        _ => {}
    }
}

/// What of a configuration's values is secret: those whose key says so, and what URLs hold beyond their host.
fn in_configuration(key: &str, value: &toml::Value, found: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            table.iter().for_each(|(key, value)| in_configuration(key, value, found))
        }
        toml::Value::Array(values) => values.iter().for_each(|value| in_configuration(key, value, found)),
        toml::Value::String(text) if names_a_secret(key) => drop(found.insert(text.clone())),
        toml::Value::String(text) => {
            let Some((_, rest)) = text.split_once("://") else { return };
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            if let Some((user, _)) = authority.rsplit_once('@') {
                found.insert(user.to_owned());
                found.extend(user.split(':').map(str::to_owned));
            }
            found.insert(path.to_owned());
        }
        _ => {}
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Writes the archive; what is secret by its value goes from every file.
fn write(target: fs::File, files: &[(&'static str, String)], secrets: &Secrets) -> io::Result<()> {
    let mut tar = tar::Builder::new(zstd::Encoder::new(target, 3)?);
    for (name, text) in files {
        let text = secrets.removed_from(text);
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(MODE);
        tar.append_data(&mut header, format!("homeostat-support/{name}"), text.as_bytes())?;
    }
    let mut target = tar.into_inner()?.finish()?;
    target.flush()?;
    target.sync_all()
}
