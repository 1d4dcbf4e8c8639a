//! `homeostat infra`: Infrastructures and configuration items, asked of the running control plane.
//!
//! In: names, files, numbers. Out: tables, or the API's JSON as it came. Every change goes through plan and guard: what
//! waits for an approval is said, with the command that gives it.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use domain::cmdb::ItemKind;
use domain::{ResourceId, ServiceName};
use serde_json::{Value, json};

use super::config::print;
use super::deploy::{Rollout, await_plan};
use super::show::{plan_text, table};
use super::{Exit, Failure, Global, Output};
use crate::client::Client;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum InfraCommand {
    /// What is up.
    List(Output),
    /// One Infrastructure, as it was declared.
    Show {
        /// Its name.
        name: ServiceName,
        #[command(flatten)]
        output: Output,
    },
    /// Bring one up, all or nothing: our YAML or a Compose file. One is up at a time.
    Create {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// Take one down with its volumes. Waits for an approval unless policy says otherwise.
    Delete {
        /// Its name.
        name: ServiceName,
        #[command(flatten)]
        how: How,
    },
    /// Run so many instances of a service, until somebody asks for another number.
    Scale {
        /// Which service.
        service: ServiceName,
        /// How many.
        #[arg(value_parser = clap::value_parser!(u32).range(1..=100), allow_negative_numbers = true)]
        replicas: u32,
        #[command(flatten)]
        how: How,
    },
    /// Configuration items: what there is and was; what changed last first.
    Items(ItemsArgs),
    /// Every change of an item, with who made it and why; newest first.
    History {
        /// Which, such as service/cart, instance/cart-0 or link/front->cart.
        item: ResourceId,
        #[command(flatten)]
        output: Output,
    },
}

/// How something is changed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct How {
    /// Show the plan and its expected effect; change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
}

/// `infra items`.
#[derive(Debug, Args)]
pub(crate) struct ItemsArgs {
    /// Only of this kind: infrastructure, service, instance, volume, link or node.
    #[arg(long, value_parser = kind)]
    kind: Option<ItemKind>,
    /// Only those of this service.
    #[arg(long)]
    service: Option<ServiceName>,
    /// Only those that changed since: RFC 3339, such as 2026-01-31T12:00:00Z.
    #[arg(long)]
    since: Option<String>,
    /// At most this many.
    #[arg(long, default_value_t = 100, allow_negative_numbers = true)]
    limit: u32,
    #[command(flatten)]
    output: Output,
}

fn kind(name: &str) -> Result<ItemKind, String> {
    let names = || ItemKind::ALL.map(ItemKind::name).join(", ");
    ItemKind::named(name).ok_or_else(|| format!("there are {}", names()))
}

pub(super) fn run(global: &Global, command: &InfraCommand) -> Result<Exit, Failure> {
    match command {
        InfraCommand::List(output) => list(global, *output),
        InfraCommand::Show { name, output } => show(global, name, *output),
        InfraCommand::Create { file, how } => create(global, file, *how),
        InfraCommand::Delete { name, how } => {
            let client = global.client()?;
            let path = format!("/api/v3/infrastructures/{name}?dry_run={}", how.dry_run);
            let plan = client.delete(&path)?;
            follow(&client, plan, *how)
        }
        InfraCommand::Scale { service, replicas, how } => scale(global, service, *replicas, *how),
        InfraCommand::Items(args) => items(global, args),
        InfraCommand::History { item, output } => history(global, item, *output),
    }
}

fn list(global: &Global, output: Output) -> Result<Exit, Failure> {
    let all: Vec<Value> = global.client()?.get("/api/v3/infrastructures")?;
    if output.json {
        return printed(&format!("{:#}\n", Value::Array(all)));
    }
    let mut rows = Vec::new();
    for one in &all {
        let services = match &one["services"] {
            Value::Object(services) => services.len().to_string(),
            Value::Array(services) => services.len().to_string(),
            other => word(other),
        };
        rows.push(vec![word(&one["name"]), word(&one["environment"]), services]);
    }
    printed(&table(&["NAME", "ENVIRONMENT", "SERVICES"], &rows))
}

fn show(global: &Global, name: &ServiceName, output: Output) -> Result<Exit, Failure> {
    let one: Value = global.client()?.get(&format!("/api/v3/infrastructures/{name}"))?;
    if output.json {
        return printed(&format!("{one:#}\n"));
    }
    let mut text = String::new();
    for (field, value) in one.as_object().into_iter().flatten() {
        text.push_str(&format!("{field}: {}\n", word(value)));
    }
    printed(&text)
}

/// Reads the file here first, so that what is wrong in it is told with its name; the control plane reads it again.
fn create(global: &Global, file: &Path, how: How) -> Result<Exit, Failure> {
    let definition = definition(file)?;
    let client = global.client()?;
    let body = json!({ "definition": definition, "dry_run": how.dry_run });
    let plan = client.post("/api/v3/infrastructures", &body)?;
    follow(&client, plan, how)
}

/// What a file declares, in words that mean the same elsewhere: the server does not know where the file lies.
fn definition(file: &Path) -> Result<String, Failure> {
    let read = provider::manifest::read(file).map_err(|error| Failure::new(Exit::Usage, &error))?;
    // JSON is YAML.
    serde_json::to_string(&read).map_err(|error| Failure::failed(&error))
}

/// Has the server bring up what a file declares, and waits for that.
pub(super) fn bring_up(client: &Client, file: &Path) -> Result<(), Failure> {
    let plan: Value = client.post("/api/v3/infrastructures", &json!({ "definition": definition(file)? }))?;
    let id = plan["id"].as_str().unwrap_or_default().to_owned();
    let (exit, why) = match await_plan(client, &id, plan)? {
        (Rollout::Done, _) => return Ok(()),
        (Rollout::Failed, plan) => (Exit::Failed, plan["error_message"].as_str().map(str::to_owned)),
        (Rollout::Held, _) => (Exit::Refused, Some(format!("it waits: homeostat approve {id}"))),
    };
    Err(Failure { exit, message: why.unwrap_or_else(|| "it was not brought up".to_owned()) })
}

/// The Infrastructure of a service is the one that is up.
fn scale(global: &Global, service: &ServiceName, replicas: u32, how: How) -> Result<Exit, Failure> {
    let client = global.client()?;
    let all: Vec<Value> = client.get("/api/v3/infrastructures")?;
    let Some(name) = all.first().and_then(|one| one["name"].as_str()) else {
        let message = "nothing is up; `homeostat infra create FILE` brings something up".to_owned();
        return Err(Failure { exit: Exit::Usage, message });
    };
    let body = json!({ "service": service, "replicas": replicas, "dry_run": how.dry_run });
    let plan = client.post(&format!("/api/v3/infrastructures/{name}/scale"), &body)?;
    follow(&client, plan, how)
}

/// Waits until a plan has ended, or says what it waits for.
fn follow(client: &Client, plan: Value, how: How) -> Result<Exit, Failure> {
    let id = plan["id"].as_str().unwrap_or_default().to_owned();
    let (ended, plan) = match how.dry_run {
        true => (Rollout::Done, plan),
        false => await_plan(client, &id, plan)?,
    };
    if how.output.json {
        print(&format!("{plan:#}\n"))?;
    } else {
        print(&plan_text(&plan))?;
        if let Some(why) = plan["error_message"].as_str() {
            provider::say!("{why}");
        }
    }
    if plan["status"] == "awaiting_approval" && !how.dry_run {
        provider::say!("it waits for an approval: homeostat approve {id}");
    }
    Ok(match ended {
        Rollout::Done => Exit::Done,
        Rollout::Failed => Exit::Failed,
        Rollout::Held => Exit::Refused,
    })
}

fn items(global: &Global, args: &ItemsArgs) -> Result<Exit, Failure> {
    let mut path = format!("/api/v3/cmdb/items?limit={}", args.limit);
    let kind = args.kind.map(|kind| kind.name().to_owned());
    let service = args.service.as_ref().map(ToString::to_string);
    for (name, value) in [("kind", kind), ("service", service), ("since", args.since.clone())] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", encoded(&value)));
        }
    }
    let items: Vec<Value> = global.client()?.get(&path)?;
    if args.output.json {
        return printed(&format!("{:#}\n", Value::Array(items)));
    }
    let mut rows = Vec::new();
    for item in &items {
        let fields = ["id", "version", "last_changed", "gone_at"];
        rows.push(fields.map(|field| word(&item[field])).to_vec());
    }
    printed(&table(&["ITEM", "VERSION", "CHANGED", "GONE"], &rows))
}

fn history(global: &Global, item: &ResourceId, output: Output) -> Result<Exit, Failure> {
    let path = format!("/api/v3/cmdb/items/{}/history", encoded(&item.to_string()));
    let changes: Vec<Value> = global.client()?.get(&path)?;
    if output.json {
        return printed(&format!("{:#}\n", Value::Array(changes)));
    }
    let mut text = String::new();
    for change in &changes {
        let [version, at, kind, who, why] =
            ["version", "at", "kind", "who", "why"].map(|field| word(&change[field]));
        text.push_str(&format!("{version}  {at}  {kind}  by {who}: {why}\n"));
        for (name, one) in change["attributes"].as_object().into_iter().flatten() {
            text.push_str(&format!("    {name}: {} -> {}\n", word(&one["before"]), word(&one["after"])));
        }
    }
    printed(&text)
}

pub(super) fn printed(text: &str) -> Result<Exit, Failure> {
    print(text)?;
    Ok(Exit::Done)
}

/// A value in one line.
pub(super) fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Text as it may stand in a path or a query.
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_one_part_of_a_path() {
        assert_eq!(encoded("link/front->cart"), "link%2Ffront-%3Ecart");
        assert_eq!(encoded("service/cart-1.a_b~"), "service%2Fcart-1.a_b~");
    }

    #[test]
    fn a_kind_that_is_none_is_told_those_there_are() {
        assert_eq!(kind("volume"), Ok(ItemKind::Volume));
        assert!(kind("planet").unwrap_err().contains("service"));
    }
}
