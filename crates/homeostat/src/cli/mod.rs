//! The command line: what a person types. Data goes to stdout, progress and prose to stderr.
//!
//! In: arguments. Out: an [`Exit`]. Every command that changes something asks the running control plane
//! over its API (see [`crate::client`]); only `up`, `serve` and `demo` start one.

mod access;
mod archive;
mod audit;
mod backup;
mod chaos;
mod config;
mod deploy;
mod down;
mod exit;
mod here;
mod infra;
mod manual;
mod not_over;
mod operate;
mod password;
mod purge;
mod rules;
mod running;
mod server;
mod set_aside;
mod show;
mod slo;
mod support;
mod timeline;
mod tls;
mod traces;
mod value;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use clap::Parser;
use clap::{Args, Subcommand};
use domain::units::parse_duration;
use domain::{IssueId, PlanId, ServiceName};

use crate::client::Client;

pub(crate) use config::{load as load_config, load_lasting as load_lasting_config, print};
pub(crate) use deploy::{Rollout, await_plan};
pub use exit::{Exit, Failure};
#[cfg(test)]
pub(crate) use manual::command;
pub(crate) use operate::{check_programs, wait_until_ready};

/// Keeps a running system in balance: observes, detects, diagnoses, heals, verifies, and disturbs on
/// purpose to prove it.
#[derive(Debug, Parser)]
#[command(name = "homeostat", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 it was tried and failed, or how it ended is not known, or a check found something \
                          wrong; 2 wrong arguments or a wrong file, nothing was done; 3 no control plane is running; \
                          4 refused by the guard, or waits for approval.";

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The data directory. One control plane and one keeper per directory.
    #[arg(long, global = true, env = "HOMEOSTAT_DIR", default_value_os_t = default_dir())]
    pub(crate) dir: PathBuf,
    /// The configuration file (TOML); `homeostat config init` writes one.
    #[arg(long, global = true, env = "HOMEOSTAT_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Ask this server, such as https://homeostat.example:4000, instead of the one of the data directory; with the token of
    /// HOMEOSTAT_TOKEN, or that of `homeostat login`.
    #[arg(long, global = true, env = "HOMEOSTAT_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Trust certificates of this authority (PEM) instead of the usual ones, with --server.
    #[arg(long, global = true, env = "HOMEOSTAT_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

impl Global {
    /// The control plane that is asked: that of `--server`, else that of the data directory.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        match &self.server {
            Some(url) => server::remote(url, self.ca.as_deref()),
            None => Ok(Client::find(&self.dir)?),
        }
    }

    /// The same, for what everybody may ask: without a token.
    pub(crate) fn client_of_anybody(&self) -> Result<Client, Failure> {
        match &self.server {
            Some(url) => server::open_to_all(url, self.ca.as_deref()),
            None => Ok(Client::find_for_anybody(&self.dir)?),
        }
    }
}

/// How the answer is printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Output {
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How something is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Switch {
    /// As far as the trust ladder allows.
    On,
    /// Nothing is repaired by itself; standing restarts go on.
    Off,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring up a fleet of real processes under load, break it, watch it heal, print what was measured.
    ///
    /// The fleet and its data lie in a directory of their own beneath TMPDIR, which is removed at the end; `--dir` names the demo
    /// that `demo deploy` means.
    Demo(DemoArgs),
    /// Run the control plane in the foreground, for what runs in the data directory.
    Serve(ServeArgs),
    /// Inject every fault of a matrix into the demo fleet and measure detection, diagnosis and repair.
    Drill(DrillArgs),
    /// Bring up the services of an Infrastructure file and keep them; starts the control plane.
    Up(UpArgs),
    /// Take down the services, by a plan, and end the keeper and the control plane of the data directory.
    Down,
    /// What runs, and how it is.
    Status(Output),
    /// What is wrong, or was.
    Issues {
        /// Only those that are open, or only those that are over; both where it is left out.
        #[arg(long)]
        state: Option<show::State>,
        /// At most this many, newest first.
        #[arg(long, default_value_t = 20, allow_negative_numbers = true)]
        limit: u32,
        #[command(flatten)]
        output: Output,
    },
    /// Repair an issue now.
    Heal {
        /// Its id, from `homeostat issues`.
        issue: IssueId,
        /// Show the plan and its expected effect; change nothing.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Let a service run another version, one instance after another.
    Deploy(DeployArgs),
    /// Whole Infrastructures, and what is configured: bring up, take down, scale, look up.
    #[command(subcommand)]
    Infra(infra::InfraCommand),
    /// Let a plan run that waits for a person.
    Approve {
        /// Its id, from `homeostat status`.
        plan: PlanId,
    },
    /// End a plan that waits for a person, or what somebody asked for and waits for its turn.
    Reject {
        /// Its id, from `homeostat status`.
        plan: PlanId,
    },
    /// Take a finished plan back.
    Rollback {
        /// Its id.
        plan: PlanId,
    },
    /// Whether repairs run by themselves; with `on` or `off` it is switched.
    Automation {
        /// How it is to be.
        #[arg(value_enum)]
        switch: Option<Switch>,
    },
    /// Repair and disturb nothing at a service for a while.
    Pause {
        /// Which service.
        service: ServiceName,
        /// How long, such as 30m or 1h.
        #[arg(long = "for", value_parser = parse_duration, default_value = "1h", allow_hyphen_values = true)]
        time: Duration,
    },
    /// End a pause.
    Unpause {
        /// Which service.
        service: ServiceName,
    },
    /// The captured output of a service.
    Logs {
        /// Which service.
        service: ServiceName,
        /// At most this many lines of each instance.
        #[arg(long, default_value_t = 100, allow_negative_numbers = true)]
        lines: usize,
    },
    /// Traces that were received, newest first.
    Traces(traces::TracesArgs),
    /// One trace as a waterfall: who called whom, for how long, and what decided how long it took.
    Trace {
        /// Its id, from `homeostat traces`.
        id: telemetry::TraceId,
        #[command(flatten)]
        output: Output,
    },
    /// Traces kept beyond retention and sampling.
    #[command(subcommand)]
    Archive(archive::ArchiveCommand),
    /// What happened: issues, repairs, faults, deployments, alerts, traces that stand out; newest first.
    Timeline(timeline::TimelineArgs),
    /// What belongs together around a time, and what changed before, with the evidence.
    Correlate(timeline::CorrelateArgs),
    /// Service level objectives: what is promised, and what is left of the error budgets.
    #[command(subcommand)]
    Slo(slo::SloCommand),
    /// Disturb on purpose.
    #[command(subcommand)]
    Chaos(chaos::ChaosCommand),
    /// Measure, and try what must not lose anything.
    #[command(subcommand)]
    Bench(crate::bench::BenchCommand),
    /// Write or check the configuration.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Verify, prove and export the audit trail, which needs no control plane; list records.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Users: who may sign in, and as what.
    #[command(subcommand)]
    Users(access::UsersCommand),
    /// Tokens, by which programs ask.
    #[command(subcommand)]
    Token(access::TokenCommand),
    /// Sign in at the server of --server; its token is kept for later commands.
    Login(server::LoginArgs),
    /// End the token that `login` made, and forget it.
    Logout,
    /// Who one is to the server, and what one may.
    Whoami(Output),
    /// Check recording and alerting rules.
    #[command(subcommand)]
    Rules(rules::RulesCommand),
    /// Make a certificate.
    #[command(subcommand)]
    Tls(tls::TlsCommand),
    /// Have the running server read its configuration again, and say what took effect.
    Reload(Output),
    /// Have the running server say more or less in its log.
    LogLevel(running::LogLevelArgs),
    /// Write what somebody who helps wants to see to one archive, without secrets.
    SupportBundle(support::BundleArgs),
    /// The version of this program, and of every format it writes.
    Version(Output),
    /// Write the data directory to one file, consistent while everything runs.
    Backup(backup::BackupArgs),
    /// Make the data directory what a backup holds; services are not running then.
    Restore(backup::RestoreArgs),
    /// Remove own records that are over and old; says what would go, and removes it with --yes.
    Purge(purge::PurgeArgs),
    /// Whether the control plane answers; for health checks of containers and services.
    Health(Output),
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write a manual page for each command.
    Man {
        /// Where to, such as ~/.local/share/man/man1; made where it is not there.
        #[arg(value_name = "DIR")]
        to: PathBuf,
    },
    /// One service of the demo fleet.
    #[command(hide = true)]
    DemoService {
        /// Which service.
        name: crate::demo_service::Role,
        /// The version it was deployed as, where it has several.
        #[arg(long)]
        release: Option<String>,
    },
    /// The load generator of the demo fleet.
    #[command(hide = true)]
    DemoLoad(crate::demo_load::LoadArgs),
    /// The server that a benchmark measures.
    #[command(hide = true)]
    BenchServer(crate::bench::ServerArgs),
}

/// `deploy`.
#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    /// Which service.
    pub(crate) service: ServiceName,
    /// What it is called, such as 1.4.0; spans of the service carry it as `service.version`.
    #[arg(long, value_parser = value::version)]
    pub(crate) version: String,
    /// An environment variable to set, as NAME=VALUE; may be repeated, the others stay.
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = value::variable)]
    pub(crate) environment: Vec<(String, String)>,
    /// Program and arguments, to the end of the line; a relative program is found from here. Default: as they are.
    #[arg(long, num_args = 1.., allow_hyphen_values = true, value_name = "WORD")]
    pub(crate) command: Option<Vec<String>>,
    /// Show the plan; change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// What can be done with a demo that is up.
#[derive(Debug, Subcommand)]
pub(crate) enum DemoCommand {
    /// Deploy another version of the shop's catalogue into the demo that runs, and watch what comes of it.
    Deploy(DemoDeployArgs),
}

/// `demo deploy`.
#[derive(Debug, Args)]
pub(crate) struct DemoDeployArgs {
    /// The version with a defect: it is to be found, rolled back and verified. Without this a good version is deployed,
    /// which is to stay.
    #[arg(long)]
    pub(crate) bad: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `demo`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DemoArgs {
    #[command(subcommand)]
    pub(crate) command: Option<DemoCommand>,
    /// Leave when the report is printed; the fleet is taken down and its data removed.
    #[arg(long)]
    pub(crate) exit: bool,
    /// Only bring the fleet up.
    #[arg(long, conflicts_with = "exit")]
    pub(crate) no_drill: bool,
    /// The gateway's port, instead of the configured one; another free one is taken where it is occupied.
    #[arg(long)]
    pub(crate) port: Option<u16>,
}

/// `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Take another free port where the configured one is occupied, instead of refusing to start.
    #[arg(long)]
    pub(crate) any_port: bool,
    /// Bring up this Infrastructure first (our YAML, or a Compose file); without it what is up already is looked after.
    #[arg(long, value_name = "FILE")]
    pub(crate) infrastructure: Option<PathBuf>,
}

/// `up`.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// The Infrastructure file: our YAML, or a Compose file.
    pub(crate) file: PathBuf,
}

/// `drill`.
#[derive(Debug, Args)]
pub(crate) struct DrillArgs {
    /// Eight runs, within 240 s.
    #[arg(long, conflicts_with_all = ["full", "count"])]
    pub(crate) short: bool,
    /// At least 100 runs and 10 quiet minutes.
    #[arg(long, conflicts_with = "count")]
    pub(crate) full: bool,
    /// Decides the order of the rows.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The number of the first run; with `--seed` and `--count` a long drill is run in parts.
    #[arg(long, default_value_t = 0)]
    pub(crate) from: u32,
    /// How many runs.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    pub(crate) count: Option<u32>,
    /// Only rows whose name contains this.
    #[arg(long)]
    pub(crate) only: Option<String>,
    /// What the loop is told: with `spans` what they say beside probes and link proxies, with `probes` nothing of them.
    /// The same seed can so be run both ways; requests are counted by spans in both. Default: as configured.
    #[arg(long, value_name = "WITNESS")]
    pub(crate) witness: Option<crate::config::Witness>,
    /// Measure nothing: print two reports, written with `--json`, side by side.
    #[arg(long, num_args = 2, value_names = ["A.json", "B.json"],
        conflicts_with_all = ["short", "full", "seed", "from", "count", "only", "witness", "train", "json", "report"])]
    pub(crate) compare: Option<Vec<PathBuf>>,
    /// Let diagnoses of any confidence act, and add to this file how often each pattern of evidence was right.
    #[arg(long)]
    pub(crate) train: Option<PathBuf>,
    /// Write the runs and the summary here as JSON; runs of an earlier part of the same seed stay.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the report here: Markdown for `.md`, HTML for `.html`. May be given twice.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Vec<PathBuf>,
}

/// Begins to say what is logged; `serve` says it as configured.
pub fn begin_log() {
    crate::logging::begin();
}

/// Runs a command.
pub fn run(cli: Cli) -> Result<Exit, Failure> {
    let Cli { mut global, command } = cli;
    // What stands in it is relative to it, whatever is read when.
    global.config = global.config.map(|path| match path == Path::new(input::STDIN) {
        true => path,
        false => std::path::absolute(&path).unwrap_or(path),
    });
    crate::platform::check(&command)?;
    here::check(&global, &command)?;
    match command {
        Command::Demo(DemoArgs { command: Some(DemoCommand::Deploy(args)), .. }) => {
            crate::demo::deploy::run(&global, &args)
        }
        Command::Demo(args) => crate::demo::run(&global, &args),
        Command::Serve(args) => crate::serve::run(&global, &args),
        Command::Drill(args) => crate::drill::run(&global, &args),
        Command::Up(args) => operate::up(&global, &args),
        Command::Down => down::run(&global),
        Command::Status(output) => show::status(&global, output),
        Command::Issues { state, limit, output } => show::issues(&global, state, limit, output),
        Command::Heal { issue, dry_run, output } => operate::heal(&global, issue, dry_run, output),
        Command::Deploy(args) => deploy::run(&global, &args),
        Command::Infra(command) => infra::run(&global, &command),
        Command::Approve { plan } => operate::approve(&global, plan),
        Command::Reject { plan } => operate::reject(&global, plan),
        Command::Rollback { plan } => operate::roll_back(&global, plan),
        Command::Automation { switch } => operate::automation(&global, switch),
        Command::Unpause { service } => operate::unpause(&global, &service),
        Command::Pause { service, time } => operate::pause(&global, &service, time),
        Command::Logs { service, lines } => show::logs(&global, &service, lines),
        Command::Traces(args) => traces::list(&global, &args),
        Command::Trace { id, output } => traces::show(&global, id, output),
        Command::Archive(command) => archive::run(&global, &command),
        Command::Timeline(args) => timeline::timeline(&global, &args),
        Command::Correlate(args) => timeline::correlate(&global, &args),
        Command::Slo(command) => slo::run(&global, &command),
        Command::Chaos(command) => chaos::run(&global, &command),
        Command::Bench(command) => crate::bench::run(&global, &command),
        Command::BenchServer(args) => crate::bench::serve(&args),
        Command::Config(command) => config::run(&global, &command),
        Command::Audit(command) => audit::run(&global, &command),
        Command::Users(command) => access::users(&global, &command),
        Command::Token(command) => access::tokens(&global, &command),
        Command::Login(args) => server::login(&global, &args),
        Command::Logout => server::logout(&global),
        Command::Whoami(output) => server::whoami(&global, output),
        Command::Rules(command) => rules::run(&command),
        Command::Tls(command) => tls::run(&global, &command),
        Command::Reload(output) => running::reload(&global, output),
        Command::LogLevel(args) => running::log_level(&global, &args),
        Command::SupportBundle(args) => support::run(&global, &args),
        Command::Version(output) => support::show_version(output),
        Command::Backup(args) => backup::backup(&global, &args),
        Command::Restore(args) => backup::restore(&global, &args),
        Command::Purge(args) => purge::run(&global, &args),
        Command::Health(output) => show::health(&global, output),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { to } => manual::pages(&to),
        Command::DemoService { name, release } => crate::demo_service::run(name, release.as_deref())
            .map_err(|error| Failure::failed(&error))
            .map(|()| Exit::Done),
        Command::DemoLoad(args) => {
            crate::demo_load::run(&args).map_err(|error| Failure::failed(&error)).map(|()| Exit::Done)
        }
    }
}

/// `$XDG_STATE_HOME/homeostat`, else `~/.local/state/homeostat`, else, for a user without a home, a directory of this user's
/// in `/tmp`.
fn default_dir() -> PathBuf {
    let own = || std::env::temp_dir().join(format!("homeostat-{}", rustix::process::geteuid().as_raw()));
    whole("XDG_STATE_HOME", "")
        .or_else(|| whole("HOME", ".local/state"))
        .map_or_else(own, |state| state.join("homeostat"))
}

/// A folder below one that the environment names. Where that is empty or not named from the root, it would be another one in
/// each working directory.
fn whole(variable: &str, below: &str) -> Option<PathBuf> {
    let dir = std::env::var_os(variable).map(PathBuf::from).filter(|dir| dir.is_absolute())?;
    Some(dir.join(below))
}
