//! `docs/reference/configuration.md`: every key with its default and meaning, and what the environment may say.
//!
//! In: the sources that declare the configuration, for keys and their meaning; the configuration itself, for defaults.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use domain::Strategy;
use domain::units::show_duration;
use toml::Value;

use super::source::{Field, Type, types};
use super::{cell, check, root};
use crate::config::{Config, Objects, Oidc, Takes, takes};

/// Where parts of the configuration are declared outside this crate.
const OTHER_SOURCES: [&str; 5] = [
    include_str!("../logging.rs"),
    include_str!("../../../decide/src/detect/thresholds.rs"),
    include_str!("../../../decide/src/plan/policy.rs"),
    include_str!("../../../domain/src/issue.rs"),
    include_str!("../../../domain/src/volume.rs"),
];

/// What has no default in a file with nothing in it: entries of lists, and a table that is there only where it is written.
const ENTRIES: &str = "[[metrics.scrape]]\njob = \"\"\nurl = \"http://localhost/\"\n";

/// Variables with what they set; those of the configuration must be all that it reads.
const VARIABLES: [(&str, &str); 8] = [
    ("AUTO_REMEDIATION_ENABLED", "`healing.auto_remediation`"),
    ("DRY_RUN_MODE", "`healing.dry_run`"),
    ("LEARNING_MODE", "`healing.learning`"),
    ("SCAN_INTERVAL_SECONDS", "`healing.scan_interval_seconds`"),
    ("HEALTH_CHECK_INTERVAL", "`healing.health_check_interval_seconds`"),
    ("MAX_REMEDIATIONS_PER_HOUR", "`policy.limits.in_all`"),
    ("ALERTMANAGER_URL", "`alertmanager.urls`, several with commas between them"),
    ("XDG_STATE_HOME", "where the data directory lies, if `HOMEOSTAT_DIR` and `--dir` say nothing"),
];

const OTHER_VARIABLES: [(&str, &str); 7] = [
    ("HOMEOSTAT_DIR", "the data directory, as `--dir`"),
    ("HOMEOSTAT_CONFIG", "the configuration file, as `--config`"),
    (
        "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN",
        "who may use the bucket of `[telemetry.objects]`",
    ),
    ("AWS_SHARED_CREDENTIALS_FILE, AWS_PROFILE", "the same from a file"),
    ("AWS_REGION", "`telemetry.objects.region` where nothing is said"),
    (
        "AWS_CA_BUNDLE",
        "authorities that are believed of the bucket's server instead of those of this machine",
    ),
    (
        "SSL_CERT_FILE, SSL_CERT_DIR",
        "authorities that are believed where no `ca_file` is given, in PEM, instead of this machine's store",
    ),
];

fn page() -> String {
    let own = own_sources();
    let sources: Vec<&str> = own.iter().map(String::as_str).chain(OTHER_SOURCES).collect();
    let known = types(&sources);
    let mut defaults = Value::try_from(Config::default()).unwrap();
    let scrape: Config = toml::from_str(ENTRIES).unwrap();
    let objects: Objects = toml::from_str("url = \"\"\n").unwrap();
    let oidc: Oidc = toml::from_str("issuer = \"\"\nclient_id = \"\"\nroles = {}\n").unwrap();
    defaults.as_table_mut().unwrap().insert("oidc".to_owned(), Value::try_from(oidc).unwrap());
    for (within, key, value) in [
        ("metrics", "scrape", Value::try_from(scrape.metrics.scrape).unwrap()),
        ("telemetry", "objects", Value::try_from(objects).unwrap()),
    ] {
        defaults[within].as_table_mut().unwrap().insert(key.to_owned(), value);
    }
    let mut text = INTRODUCTION.to_owned();
    of_type(&mut text, "", "Config", &known, Some(&defaults));
    text.push_str("\n## Environment variables\n\nWhat they say counts before the file.\n\n| variable | sets |\n|---|---|\n");
    for (name, sets) in VARIABLES.iter().chain(&OTHER_VARIABLES) {
        let _ = writeln!(text, "| `{}` | {sets} |", name.replace(", ", "`, `"));
    }
    text
}

/// The sources of this crate that declare it.
fn own_sources() -> Vec<String> {
    let at = root().join("crates/homeostat/src");
    let parts = std::fs::read_dir(at.join("config")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = parts.filter(|path| !path.ends_with("tests.rs") && path.is_file()).collect();
    files.sort();
    files.push(at.join("config.rs"));
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

const INTRODUCTION: &str = "<!-- Made from the configuration by `cargo xtask docs`; changes made here are lost. -->

# Configuration

One TOML file: `homeostat config init` prints one with every default, `homeostat config check` says what is wrong with one. It
is named by `--config` or `HOMEOSTAT_CONFIG`; without one every default counts. A key that is left out keeps its default, a key
that nobody knows and a value out of range are refused with file and line, and nothing starts.

Durations are milliseconds, or text with a unit such as `\"30s\"`; shares are percent.

What is in force *at a reload* is taken over by `homeostat reload` or SIGHUP, which say of each key that changed whether it took
effect; a file with anything wrong in it changes nothing. The rest waits for a restart of the control plane, during which services
run on.
";

/// When a change of a key takes effect, as `homeostat reload` will say.
fn in_force(path: &str, name: &str) -> &'static str {
    let table = path.trim_matches(|letter| letter == '[' || letter == ']');
    let key = if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") };
    match takes(&key) {
        Takes::Live => "at a reload",
        Takes::Restart => "after a restart",
        Takes::FirstUse => "where a data directory is first used",
    }
}

/// A table of the file: its own keys, then the tables within it.
fn of_type(
    text: &mut String,
    path: &str,
    name: &str,
    known: &BTreeMap<String, Type>,
    defaults: Option<&Value>,
) {
    let Type { says, fields, .. } = &known[name];
    let is_table = |field: &&Field| table_of(&field.kind, known).is_some();
    let keys: Vec<&Field> = fields.iter().filter(|field| !is_table(field)).collect();
    if !path.is_empty() {
        let _ = write!(text, "\n## `{path}`\n\n{}\n", says.replace("[`", "`").replace("`]", "`"));
    }
    if !keys.is_empty() {
        text.push_str("\n| key | value | default | in force | meaning |\n|---|---|---|---|---|\n");
    }
    for field in keys {
        let default = defaults.and_then(|defaults| defaults.get(&field.name));
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            field.name,
            kind(&field.kind, known),
            shown(field, default),
            in_force(path, &field.name),
            cell(&field.says)
        );
    }
    for field in fields {
        let Some((of, is_list)) = table_of(&field.kind, known) else { continue };
        let inner = path.trim_matches(|letter| letter == '[' || letter == ']');
        let inner = if inner.is_empty() { field.name.clone() } else { format!("{inner}.{}", field.name) };
        let inner = if is_list { format!("[[{inner}]]") } else { format!("[{inner}]") };
        let default = defaults.and_then(|defaults| defaults.get(&field.name));
        // What stands in a list by default is told of the list; only what an entry leaves out is told of the entry.
        let entry = default
            .filter(|_| !is_list || ENTRIES.contains(&inner))
            .map(|value| value.get(0).unwrap_or(value));
        of_type(text, &inner, of, known, entry);
        if let Some(Value::Array(entries)) = default.filter(|_| entry.is_none()) {
            let entries: Vec<String> = entries.iter().map(|entry| format!("`{entry}`")).collect();
            let _ = writeln!(text, "\nBy default: {}.", entries.join(", "));
        }
    }
}

/// The struct that a field is a table of, or a list of tables.
fn table_of<'a>(kind: &'a str, known: &BTreeMap<String, Type>) -> Option<(&'a str, bool)> {
    let bare = kind.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>')).unwrap_or(kind);
    // The one list that is declared as a type of its own.
    let bare = if bare == "Deletions" { "Vec<NamedDeletion>" } else { bare };
    let (name, is_list) = match bare.strip_prefix("Vec<").and_then(|rest| rest.strip_suffix('>')) {
        Some(name) => (name, true),
        None => (bare, false),
    };
    let is_struct = known.get(name).is_some_and(|known| !known.fields.is_empty());
    is_struct.then_some((name, is_list))
}

fn kind(name: &str, known: &BTreeMap<String, Type>) -> String {
    let inner = |outer: &str| name.strip_prefix(outer).and_then(|rest| rest.strip_suffix('>'));
    if let Some(of) = inner("Option<") {
        return kind(of, known);
    }
    if let Some(of) = inner("Vec<").or_else(|| inner("BTreeSet<")) {
        return format!("list of {}", kind(of, known));
    }
    match name {
        "bool" => "`true` or `false`".to_owned(),
        "u16" | "u32" | "u64" | "usize" => "whole number".to_owned(),
        "f64" => "number".to_owned(),
        "Percent" => "percent".to_owned(),
        "Duration" => "duration".to_owned(),
        "String" => "text".to_owned(),
        "PathBuf" => "path".to_owned(),
        "SocketAddr" => "address and port".to_owned(),
        "IpAddr" => "address".to_owned(),
        "BTreeMap<String, Role>" => "table of roles".to_owned(),
        "ServiceName" => "name of a service".to_owned(),
        "BTreeMap<String, String>" => "table of texts".to_owned(),
        "Strategy" => {
            let names: Vec<String> =
                Strategy::ALL.iter().map(|strategy| format!("`{}`", strategy.name())).collect();
            format!("one of {}", names.join(", "))
        }
        other => {
            let variants =
                &known.get(other).unwrap_or_else(|| panic!("{other} is not read from any source")).variants;
            assert!(!variants.is_empty(), "{other} has no variants");
            variants.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        }
    }
}

fn shown(field: &Field, default: Option<&Value>) -> String {
    match default {
        _ if !field.has_default && !field.kind.starts_with("Option<") => "must be given".to_owned(),
        None => "–".to_owned(),
        Some(value) if field.kind == "Duration" => {
            let ms = value.as_integer().unwrap_or_default().unsigned_abs();
            format!("`{ms}` ({})", show_duration(Duration::from_millis(ms)))
        }
        Some(Value::Table(table)) if table.is_empty() => "empty".to_owned(),
        Some(value) => format!("`{value}`"),
    }
}

#[test]
fn the_page_of_the_configuration_is_what_the_program_reads() {
    check("configuration.md", &page());
}

/// Every key of the file that `config init` writes is on the page, with a meaning.
#[test]
fn every_key_is_on_the_page_with_a_meaning() {
    let page = page();
    for line in Config::written_out().lines() {
        match line.split_once(" = ") {
            Some((key, _)) if !line.starts_with('#') => {
                assert!(page.contains(&format!("| `{key}` |")), "{key}")
            }
            _ if line.starts_with('[') && line != "[rules.external_labels]" => {
                assert!(page.contains(&format!("## `{line}`")), "{line}");
            }
            _ => {}
        }
    }
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        assert!(!line.ends_with("|  |"), "a key without a meaning: {line}");
    }
}

/// The variables the configuration reads are those of the page.
#[test]
fn every_variable_is_on_the_page() {
    let is_variable =
        |text: &&str| text.contains('_') && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let sources = own_sources();
    let read: BTreeSet<&str> =
        sources.last().unwrap().split('"').skip(1).step_by(2).filter(is_variable).collect();
    let named: BTreeSet<&str> =
        VARIABLES.iter().map(|(name, _)| *name).filter(|name| *name != "XDG_STATE_HOME").collect();
    assert_eq!(read, named);
}
