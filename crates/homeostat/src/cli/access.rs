//! `homeostat users`, `homeostat token`, `homeostat audit list`: who may sign in and ask, and what they did.
//!
//! In: names and roles. Out: tables, or the API's JSON as it came. A token that was made is printed once, alone on stdout.

use std::time::Duration;

use clap::{Args, Subcommand};
use domain::units::parse_duration;
use domain::{Permission, Role};
use serde_json::{Map, Value, json};

use super::audit::ListArgs;
use super::infra::{encoded, printed, word};
use super::password::PasswordSource;
use super::show::table;
use super::{Exit, Failure, Global, Output, value};
use crate::client::Client;

/// What to do with users.
#[derive(Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// Who there is.
    List(Output),
    /// Make a user. Its password is asked for, or read from stdin or a file.
    Create(CreateUser),
    /// Give a user other roles: all it is to have.
    Roles {
        /// Whom.
        #[arg(value_parser = value::name)]
        name: String,
        /// viewer, operator, approver, admin.
        #[arg(required = true)]
        roles: Vec<Role>,
    },
    /// Shut a user out, with its sessions and tokens.
    Disable {
        /// Whom.
        #[arg(value_parser = value::name)]
        name: String,
    },
    /// Let a user in again.
    Enable {
        /// Whom.
        #[arg(value_parser = value::name)]
        name: String,
    },
    /// Give a user another password, which ends its sessions. Its tokens go on.
    Password {
        /// Whom.
        #[arg(value_parser = value::name)]
        name: String,
        /// Second factor, recovery codes and passkeys go, too: for an account that somebody else may have got into.
        #[arg(long)]
        forget_factors: bool,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Take the second factor from a user who lost it, with its recovery codes.
    RemoveTotp {
        /// Whose.
        #[arg(value_parser = value::name)]
        name: String,
    },
    /// The passkeys of a user. They are made in a browser, on the page of one's account.
    Passkeys {
        /// Whose. Default: one's own.
        #[arg(value_parser = value::name)]
        name: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Remove a passkey, which signs in no more.
    RemovePasskey {
        /// Its name or its id.
        #[arg(value_parser = value::name)]
        passkey: String,
        /// Whose. Default: one's own.
        #[arg(long = "of", value_name = "NAME", value_parser = value::name)]
        user: Option<String>,
    },
    /// Shut a user out for good: its tokens are revoked, password, second factor and passkeys go; the name stays taken.
    Remove {
        /// Whom.
        #[arg(value_parser = value::name)]
        name: String,
    },
}

/// `users create`.
#[derive(Debug, Args)]
pub(crate) struct CreateUser {
    /// Lower-case letters, digits and . _ @ + -
    name: String,
    /// viewer, operator, approver or admin; may be repeated.
    #[arg(long = "role", required = true, value_name = "ROLE")]
    roles: Vec<Role>,
    /// What people call it.
    #[arg(long, default_value = "")]
    display_name: String,
    /// It signs in by an OpenID provider alone.
    #[arg(long, conflicts_with = "password_file")]
    no_password: bool,
    #[command(flatten)]
    password: PasswordSource,
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// One's own, or all for who manages access.
    List(Output),
    /// Make a token, and print it: it is shown this once.
    Create(CreateToken),
    /// End a token.
    Revoke {
        /// Its name or its id.
        #[arg(value_parser = value::name)]
        token: String,
    },
}

/// `token create`.
#[derive(Debug, Args)]
pub(crate) struct CreateToken {
    /// What it is recorded by; no other token has or had it.
    name: String,
    /// viewer, operator, approver or admin; may be repeated. Default: one's own.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<Role>,
    /// What of that it may, such as telemetry:write; may be repeated. Default: all of it.
    #[arg(long = "scope", value_name = "PERMISSION")]
    scope: Vec<Permission>,
    /// Whose it is to be. Default: one's own.
    #[arg(long)]
    owner: Option<String>,
    /// When it ends, such as 90d. Default: never.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    expires_in: Option<Duration>,
    #[command(flatten)]
    output: Output,
}

pub(super) fn users(global: &Global, command: &UsersCommand) -> Result<Exit, Failure> {
    let changed = |name: &str, change: &Value| -> Result<Exit, Failure> {
        let user: Value = global.client()?.patch(&user_path(name), change)?;
        said(&user)
    };
    match command {
        UsersCommand::List(output) => list_users(global, *output),
        UsersCommand::Create(args) => create_user(global, args),
        UsersCommand::Roles { name, roles } => changed(name, &json!({ "roles": roles })),
        UsersCommand::Disable { name } => changed(name, &json!({ "disabled": true })),
        UsersCommand::Enable { name } => changed(name, &json!({ "disabled": false })),
        UsersCommand::Password { name, forget_factors, password } => {
            let factors = if *forget_factors { "forget" } else { "keep" };
            changed(name, &json!({ "password": password.chosen("new password: ")?, "factors": factors }))
        }
        UsersCommand::Passkeys { name, output } => list_passkeys(global, name.as_deref(), *output),
        UsersCommand::RemovePasskey { passkey, user } => remove_passkey(global, passkey, user.as_deref()),
        UsersCommand::RemoveTotp { name } => {
            let user: Value = global.client()?.delete(&format!("{}/totp", user_path(name)))?;
            said(&user)
        }
        UsersCommand::Remove { name } => {
            let user: Value = global.client()?.delete(&user_path(name))?;
            said(&user)
        }
    }
}

fn user_path(name: &str) -> String {
    format!("/api/v3/access/users/{}", encoded(name))
}

fn said(user: &Value) -> Result<Exit, Failure> {
    let state = if user["disabled"] == true { "disabled" } else { "enabled" };
    provider::say!("{}: {}, {state}", word(&user["name"]), names(&user["roles"]));
    Ok(Exit::Done)
}

fn names(list: &Value) -> String {
    match list.as_array() {
        Some(list) => list.iter().map(word).collect::<Vec<_>>().join(", "),
        None => "-".to_owned(),
    }
}

fn list_users(global: &Global, output: Output) -> Result<Exit, Failure> {
    let users: Vec<Value> = global.client()?.get("/api/v3/access/users")?;
    if output.json {
        return printed(&format!("{:#}\n", Value::Array(users)));
    }
    let row = |user: &Value| {
        let is = |name: &str| if user[name] == true { "yes" } else { "no" }.to_owned();
        vec![
            word(&user["name"]),
            names(&user["roles"]),
            is("disabled"),
            is("has_totp"),
            word(&user["signed_in_at"]),
        ]
    };
    let rows: Vec<_> = users.iter().map(row).collect();
    printed(&table(&["NAME", "ROLES", "DISABLED", "TOTP", "SIGNED IN"], &rows))
}

/// The passkeys of a user, or one's own.
fn passkeys(client: &Client, of: Option<&str>) -> Result<Vec<Value>, Failure> {
    let path = match of {
        Some(name) => format!("{}/passkeys", user_path(name)),
        None => "/api/v3/access/me/passkeys".to_owned(),
    };
    Ok(client.get(&path)?)
}

fn list_passkeys(global: &Global, of: Option<&str>, output: Output) -> Result<Exit, Failure> {
    let passkeys = passkeys(&global.client()?, of)?;
    if output.json {
        return printed(&format!("{:#}\n", Value::Array(passkeys)));
    }
    let row = |passkey: &Value| {
        ["name", "host", "created_at", "used_at", "id"].map(|field| word(&passkey[field])).to_vec()
    };
    let rows: Vec<_> = passkeys.iter().map(row).collect();
    printed(&table(&["NAME", "HOST", "MADE", "USED", "ID"], &rows))
}

fn remove_passkey(global: &Global, named: &str, of: Option<&str>) -> Result<Exit, Failure> {
    let client = global.client()?;
    let all = passkeys(&client, of)?;
    let found = all.iter().find(|passkey| passkey["name"] == named || passkey["id"] == named);
    let Some(id) = found.and_then(|passkey| passkey["id"].as_str()) else {
        let whose = of.map_or(String::new(), |name| format!(" {name}"));
        let message = format!("there is no passkey {named:?}; `homeostat users passkeys{whose}` lists them");
        return Err(Failure { exit: Exit::Usage, message });
    };
    let path = if of.is_some() { "/api/v3/access/passkeys" } else { "/api/v3/access/me/passkeys" };
    let left: Vec<Value> = client.delete(&format!("{path}/{id}"))?;
    provider::say!("{named} is removed; {} left", left.len());
    Ok(Exit::Done)
}

fn create_user(global: &Global, args: &CreateUser) -> Result<Exit, Failure> {
    let client = global.client()?;
    let password = match args.no_password {
        true => None,
        false => Some(args.password.chosen("password: ")?),
    };
    let body = json!({
        "name": args.name, "display_name": args.display_name, "roles": args.roles, "password": password,
    });
    let user: Value = client.post("/api/v3/access/users", &body)?;
    said(&user)
}

pub(super) fn tokens(global: &Global, command: &TokenCommand) -> Result<Exit, Failure> {
    match command {
        TokenCommand::List(output) => list_tokens(global, *output),
        TokenCommand::Create(args) => create_token(global, args),
        TokenCommand::Revoke { token } => revoke_token(global, token),
    }
}

fn list_tokens(global: &Global, output: Output) -> Result<Exit, Failure> {
    let tokens: Vec<Value> = global.client()?.get("/api/v3/access/tokens")?;
    if output.json {
        return printed(&format!("{:#}\n", Value::Array(tokens)));
    }
    let row = |token: &Value| {
        let [name, owner, expires, revoked, used] =
            ["name", "owner", "expires_at", "revoked_at", "used_at"].map(|field| word(&token[field]));
        vec![name, owner, names(&token["roles"]), names(&token["scope"]), expires, revoked, used]
    };
    let rows: Vec<_> = tokens.iter().map(row).collect();
    printed(&table(&["NAME", "OWNER", "ROLES", "SCOPE", "EXPIRES", "REVOKED", "USED"], &rows))
}

fn create_token(global: &Global, args: &CreateToken) -> Result<Exit, Failure> {
    let mut body = Map::new();
    body.insert("name".to_owned(), json!(args.name));
    body.insert("owner".to_owned(), json!(args.owner));
    if !args.roles.is_empty() {
        body.insert("roles".to_owned(), json!(args.roles));
    }
    if !args.scope.is_empty() {
        let scope: Vec<&str> = args.scope.iter().map(|permission| permission.name()).collect();
        body.insert("scope".to_owned(), json!(scope));
    }
    if let Some(time) = args.expires_in {
        let time = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let end = jiff::Timestamp::now().as_microsecond().saturating_add(time);
        let end = jiff::Timestamp::from_microsecond(end).map_err(|error| Failure::failed(&error))?;
        body.insert("expires_at".to_owned(), json!(end.to_string()));
    }
    let made: Value = global.client()?.post("/api/v3/access/tokens", &Value::Object(body))?;
    if args.output.json {
        return printed(&format!("{made:#}\n"));
    }
    provider::say!("keep it: it is not shown again");
    printed(&format!("{}\n", word(&made["token"])))
}

fn revoke_token(global: &Global, named: &str) -> Result<Exit, Failure> {
    let client = global.client()?;
    let tokens: Vec<Value> = client.get("/api/v3/access/tokens")?;
    let found = tokens.iter().find(|token| token["name"] == named || token["id"] == named);
    let Some(id) = found.and_then(|token| token["id"].as_str()) else {
        let message = format!("there is no token {named:?}; `homeostat token list` lists them");
        return Err(Failure { exit: Exit::Usage, message });
    };
    let token: Value = client.delete(&format!("/api/v3/access/tokens/{id}"))?;
    provider::say!("{} is revoked", word(&token["name"]));
    // A server of before says nothing of it.
    for ended in token["ended_with_it"].as_array().into_iter().flatten() {
        provider::say!("{}, which it made, ended with it", word(ended));
    }
    Ok(Exit::Done)
}

/// `audit list`.
pub(super) fn audit_records(global: &Global, args: &ListArgs) -> Result<Exit, Failure> {
    let mut path = format!("/api/v3/audit/records?limit={}", args.limit);
    let (who, action, outcome, since) = (&args.who, &args.action, &args.outcome, &args.since);
    for (name, value) in [("who", who), ("action", action), ("outcome", outcome), ("since", since)] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", encoded(value)));
        }
    }
    let records: Vec<Value> = global.client()?.get(&path)?;
    if args.output.json {
        return printed(&format!("{:#}\n", Value::Array(records)));
    }
    let fields = ["time", "who", "action", "target", "outcome", "detail"];
    let rows: Vec<_> =
        records.iter().map(|record| fields.map(|field| word(&record[field])).to_vec()).collect();
    printed(&table(&["TIME", "WHO", "ACTION", "TARGET", "OUTCOME", "DETAIL"], &rows))
}
