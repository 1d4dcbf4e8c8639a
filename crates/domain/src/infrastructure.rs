//! A declared set of services that a provider brings up and keeps.
//!
//! These are the values; reading them from YAML with file, line and field is the provider's business.
//! [`Infrastructure::check`] finds what a parser cannot: references that lead nowhere, circles, limits
//! that contradict each other.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::deployment::Release;
use crate::resource::{LinkName, ServiceName};
use crate::restart::RestartPolicy;
use crate::units::{Bytes, Cores, Percent, duration_ms};

/// How careful one has to be. Guard rules read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Users depend on it.
    Production,
    /// A copy to try things on.
    Staging,
    /// Somebody's own.
    #[default]
    Dev,
}

/// A declared set of services.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Infrastructure {
    /// Its name, also in the names of what it makes on the machine.
    pub name: ServiceName,
    /// How careful one has to be.
    #[serde(default)]
    pub environment: Environment,
    /// What a declared CPU limit is.
    #[serde(default)]
    pub cpu_limits: CpuLimits,
    /// The services by name.
    pub services: BTreeMap<ServiceName, ServiceSpec>,
}

/// What the declared CPU limits of an Infrastructure are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CpuLimits {
    /// Quotas, wherever the provider can hold them.
    #[default]
    Held,
    /// The 100 % that use is judged by, and nothing that slows a service down, on every machine alike.
    Reference,
}

/// One declared service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// Program and arguments. A program without a slash is found by the `PATH` that the process gets, its own in
    /// `environment` or else the keeper's; a path is said from the root. `{homeostat}` is replaced by the path of the running binary, `{port}` by the
    /// instance's port, `{volume}` by its data directory, `{state}` by the keeper's directory, `{instance}` by
    /// its name.
    pub command: Vec<String>,
    /// What this is called, such as `1.4.0`; given to the processes as `service.version` in
    /// `OTEL_RESOURCE_ATTRIBUTES`, so that their spans say it. Default: none.
    #[serde(default)]
    pub version: Option<String>,
    /// How many instances; 1 to 100.
    #[serde(default = "one")]
    pub replicas: u32,
    /// Environment variables, on top of the few the keeper sets (`PORT`, `HOMEOSTAT_INSTANCE`,
    /// `HOMEOSTAT_VOLUME` and one `CALLEE_ADDRESS` per dependency, such as `CART_ADDRESS=127.0.0.1:4711`).
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Whether and how the service listens. `None`: it listens nowhere, gets no port and no probes.
    #[serde(default)]
    pub listens: Option<Protocol>,
    /// A fixed port on loopback at which the service as a whole answers, through the keeper's proxy.
    #[serde(default)]
    pub publish: Option<u16>,
    /// When an instance may get traffic. Default: its port accepts a connection.
    #[serde(default)]
    pub readiness: Option<Probe>,
    /// When an instance is considered hung. Default: none.
    #[serde(default)]
    pub liveness: Option<Probe>,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// Its data directory. `None`: it has none.
    #[serde(default)]
    pub volume: Option<VolumeSpec>,
    /// The services it calls.
    #[serde(default)]
    pub dependencies: Vec<ServiceName>,
    /// How it is asked to finish what it is doing before it is stopped.
    #[serde(default)]
    pub drain: Option<Hook>,
    /// How its caches are emptied.
    #[serde(default)]
    pub clear_caches: Option<Hook>,
    /// Where each instance shows its metrics in Prometheus' text format, such as `/metrics`. They are kept as series
    /// with the labels `job` (the service) and `instance`. Default: nowhere.
    #[serde(default)]
    pub metrics: Option<String>,
    /// How long a graceful stop may take before SIGKILL.
    #[serde(default = "default_stop_timeout", with = "duration_ms")]
    pub stop_timeout: Duration,
    /// The standing restart policy.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// Nothing is repaired or disturbed here, ever (hands-off label).
    #[serde(default)]
    pub hands_off: bool,
    /// Never a target of a fault; repairs go on.
    #[serde(default)]
    pub protected: bool,
    /// Thresholds that differ from the defaults.
    #[serde(default)]
    pub thresholds: ThresholdOverrides,
}

impl ServiceSpec {
    /// What it declares to be run.
    pub fn release(&self) -> Release {
        Release {
            version: self.version.clone(),
            command: self.command.clone(),
            environment: self.environment.clone(),
        }
    }

    /// The same service, running something else.
    #[must_use]
    pub fn with_release(self, release: Release) -> Self {
        let Release { version, command, environment } = release;
        Self { version, command, environment, ..self }
    }
}

fn one() -> u32 {
    1
}

fn default_stop_timeout() -> Duration {
    Duration::from_secs(5)
}

/// What a service speaks; decides what its link proxies understand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1: the proxy balances and counts requests.
    Http,
    /// Bytes: the proxy balances and counts connections.
    Tcp,
}

/// How to ask an instance whether it is well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// `GET` this path, 200 to 399 is well. `None`: a TCP connection that is accepted is well.
    #[serde(default)]
    pub http: Option<String>,
    /// Time between two probes; at least 50 ms.
    #[serde(default = "default_probe_interval", with = "duration_ms")]
    pub interval: Duration,
    /// How long one probe may take.
    #[serde(default = "default_probe_timeout", with = "duration_ms")]
    pub timeout: Duration,
    /// How many failures in a row change the verdict.
    #[serde(default = "default_probe_failures")]
    pub failures: u32,
}

fn default_probe_interval() -> Duration {
    Duration::from_millis(500)
}

fn default_probe_timeout() -> Duration {
    Duration::from_millis(500)
}

fn default_probe_failures() -> u32 {
    3
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            http: None,
            interval: default_probe_interval(),
            timeout: default_probe_timeout(),
            failures: default_probe_failures(),
        }
    }
}

/// What an instance may use.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Processor share. It is the 100 % of `high_cpu`; held only where the provider has cgroups
    /// (`homeostat status` says so) and [`CpuLimits`] does not say otherwise.
    #[serde(default)]
    pub cpu: Option<Cores>,
    /// Resident memory of all processes of the instance together.
    #[serde(default)]
    pub memory: Option<Bytes>,
}

/// A data directory with a limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeSpec {
    /// The limit. Writing beyond it fails with `ENOSPC`.
    pub size: Bytes,
    /// Subdirectory of temporary files: may be removed when old.
    #[serde(default = "default_temporary")]
    pub temporary: String,
    /// Subdirectory of log files (`*.log`): may be rotated, compressed, then removed.
    #[serde(default = "default_logs")]
    pub logs: String,
    /// Subdirectory of cached files: may be removed; the service makes them again.
    #[serde(default = "default_cache")]
    pub cache: String,
}

fn default_temporary() -> String {
    "tmp".to_owned()
}
fn default_logs() -> String {
    "logs".to_owned()
}
fn default_cache() -> String {
    "cache".to_owned()
}

/// Something to run or to call at an instance. Exactly one of `http` and `command` is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// `POST` this path at the instance; 200 to 299 is done.
    #[serde(default)]
    pub http: Option<String>,
    /// Run this, with the instance's environment; exit status 0 is done.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// How long it may take.
    #[serde(default = "default_stop_timeout", with = "duration_ms")]
    pub timeout: Duration,
}

/// Thresholds of one service that differ from the defaults of the specification (H1).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThresholdOverrides {
    /// Percent of the CPU limit.
    #[serde(default)]
    pub cpu: Option<Percent>,
    /// Percent of the memory limit.
    #[serde(default)]
    pub memory: Option<Percent>,
    /// Percent of the volume's size.
    #[serde(default)]
    pub disk: Option<Percent>,
    /// p95 of a link to this service, in milliseconds.
    #[serde(default)]
    pub latency_ms: Option<f64>,
    /// Failed requests on a link to this service, in percent.
    #[serde(default)]
    pub error_rate: Option<Percent>,
}

/// One thing wrong with an Infrastructure that reads well by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field, as a path: `services.cart.dependencies[1]`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl Infrastructure {
    /// All links: one for each dependency, caller to callee.
    pub fn links(&self) -> impl Iterator<Item = LinkName> + '_ {
        self.services.iter().flat_map(|(name, spec)| {
            spec.dependencies.iter().map(|to| LinkName { from: name.clone(), to: to.clone() })
        })
    }

    /// The services that call `service`, directly.
    pub fn dependents<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = &'a ServiceName> + 'a {
        self.services.iter().filter(|(_, spec)| spec.dependencies.contains(service)).map(|(name, _)| name)
    }

    /// Everything wrong with it, empty when it can be brought up.
    pub fn check(&self) -> Vec<Violation> {
        let mut found = Violations::default();
        if self.services.is_empty() {
            found.add("services", "no service is declared; declare at least one");
        }
        for (name, spec) in &self.services {
            let at = format!("services.{name}");
            if name.as_str() == LinkName::OUTSIDE {
                found.add(&at, "`outside` names the callers of published services; choose another name");
            }
            check_running(spec, &at, &mut found);
            check_probes(spec, &at, &mut found);
            check_limits(spec, &at, &mut found);
            check_thresholds(&spec.thresholds, &at, &mut found);
            self.check_dependencies(name, spec, &at, &mut found);
        }
        self.check_published(&mut found);
        if let Some(service) = self.on_a_circle() {
            found.add(
                &format!("services.{service}.dependencies"),
                format!("{service} depends on itself through others; break the circle"),
            );
        }
        found.0
    }

    fn check_dependencies(&self, name: &ServiceName, spec: &ServiceSpec, at: &str, found: &mut Violations) {
        for (index, to) in spec.dependencies.iter().enumerate() {
            let field = format!("{at}.dependencies[{index}]");
            match self.services.get(to) {
                None => found.add(&field, format!("no service is named {to}")),
                Some(callee) if callee.listens.is_none() => found
                    .add(&field, format!("{to} listens nowhere; give it `listens: http` or `listens: tcp`")),
                Some(_) if to == name => found.add(&field, "a service cannot depend on itself"),
                Some(_) if spec.dependencies[..index].contains(to) => {
                    found.add(&field, format!("{to} is named twice"));
                }
                Some(_) => {}
            }
        }
    }

    fn check_published(&self, found: &mut Violations) {
        let mut published: BTreeMap<u16, &ServiceName> = BTreeMap::new();
        for (name, spec) in &self.services {
            let Some(port) = spec.publish else { continue };
            let field = format!("services.{name}.publish");
            if spec.listens.is_none() {
                found.add(&field, "needs `listens: http` or `listens: tcp`");
            }
            if port == 0 {
                found.add(&field, "is 0, must be 1 to 65535");
            }
            if let Some(other) = published.insert(port, name) {
                found.add(&field, format!("port {port} is published by {other} already"));
            }
        }
    }

    /// A service that is on a dependency circle, if there is one.
    fn on_a_circle(&self) -> Option<&ServiceName> {
        self.services.keys().find(|start| {
            let mut open = vec![*start];
            let mut seen = std::collections::BTreeSet::new();
            while let Some(service) = open.pop() {
                let Some(spec) = self.services.get(service) else { continue };
                for next in spec.dependencies.iter().filter(|next| *next != service) {
                    if next == *start {
                        return true;
                    }
                    if seen.insert(next) {
                        open.push(next);
                    }
                }
            }
            false
        })
    }
}

#[derive(Default)]
struct Violations(Vec<Violation>);

impl Violations {
    fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(Violation { field: field.to_owned(), message: message.into() });
    }
}

const TOO_SMALL: &str = "is below 1 MiB; sizes are written with their unit, such as 64MiB";

fn check_running(spec: &ServiceSpec, at: &str, found: &mut Violations) {
    if let Some(fault) = Release::command_fault(&spec.command) {
        found.add(&format!("{at}.command"), fault);
    }
    for (name, value) in &spec.environment {
        if let Some(message) = Release::variable_fault(name, value) {
            found.add(&format!("{at}.environment.{name}"), message);
        }
    }
    if let Some(fault) = spec.version.as_deref().and_then(Release::version_fault) {
        found.add(&format!("{at}.version"), fault);
    }
    if !(1..=100).contains(&spec.replicas) {
        found.add(&format!("{at}.replicas"), format!("is {}, must be 1 to 100", spec.replicas));
    }
    if let Some(path) = &spec.metrics {
        if spec.listens != Some(Protocol::Http) {
            found.add(&format!("{at}.metrics"), "needs `listens: http`");
        }
        if !is_path(path) {
            found.add(&format!("{at}.metrics"), NO_PATH);
        }
    }
    for (field, hook) in [("drain", &spec.drain), ("clear_caches", &spec.clear_caches)] {
        let Some(hook) = hook else { continue };
        if hook.http.is_some() == hook.command.is_some() {
            found.add(&format!("{at}.{field}"), "set exactly one of `http` and `command`");
        }
        if hook.http.is_some() && spec.listens != Some(Protocol::Http) {
            found.add(&format!("{at}.{field}.http"), "needs `listens: http`");
        }
        if hook.http.as_deref().is_some_and(|path| !is_path(path)) {
            found.add(&format!("{at}.{field}.http"), NO_PATH);
        }
        if hook.command.as_ref().is_some_and(|command| command.first().is_none_or(String::is_empty)) {
            found.add(&format!("{at}.{field}.command"), "is empty; name the program to run");
        }
    }
}

fn check_probes(spec: &ServiceSpec, at: &str, found: &mut Violations) {
    for (field, probe) in [("readiness", &spec.readiness), ("liveness", &spec.liveness)] {
        let Some(probe) = probe else { continue };
        let at = format!("{at}.{field}");
        if spec.listens.is_none() {
            found.add(&at, "needs `listens: http` or `listens: tcp`");
        }
        if probe.interval < Duration::from_millis(50) {
            found.add(&format!("{at}.interval"), "is below 50ms");
        }
        if probe.timeout.is_zero() {
            found.add(&format!("{at}.timeout"), "is 0, a probe needs time to answer");
        }
        if probe.failures == 0 {
            found.add(&format!("{at}.failures"), "is 0, must be at least 1");
        }
        if probe.http.as_deref().is_some_and(|path| !is_path(path)) {
            found.add(&format!("{at}.http"), NO_PATH);
        }
    }
}

const NO_PATH: &str = "is no path; start it with / and write blanks and letters beyond ASCII as %20";

/// Whether it can stand in the first line of a request as it is.
fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic() && c != '#')
}

fn check_thresholds(thresholds: &ThresholdOverrides, at: &str, found: &mut Violations) {
    let percent = |share: Option<Percent>| share.map(|share| share.0);
    for (field, value, most) in [
        ("cpu", percent(thresholds.cpu), f64::MAX),
        ("memory", percent(thresholds.memory), f64::MAX),
        ("disk", percent(thresholds.disk), 100.0),
        ("latency_ms", thresholds.latency_ms, f64::MAX),
        ("error_rate", percent(thresholds.error_rate), 100.0),
    ] {
        let Some(value) = value else { continue };
        let range = if most == f64::MAX { "above 0" } else { "above 0, at most 100" };
        if !(value > 0.0 && value <= most) {
            found.add(&format!("{at}.thresholds.{field}"), format!("is {value}, must be {range}"));
        }
    }
}

fn check_limits(spec: &ServiceSpec, at: &str, found: &mut Violations) {
    if spec.limits.cpu.is_some_and(|cores| !cores.0.is_finite() || cores.0 <= 0.0) {
        found.add(&format!("{at}.limits.cpu"), "must be a number of cores above 0");
    }
    if spec.limits.memory.is_some_and(|limit| limit < Bytes::mib(1)) {
        found.add(&format!("{at}.limits.memory"), TOO_SMALL);
    }
    let Some(volume) = &spec.volume else { return };
    if volume.size < Bytes::mib(1) {
        found.add(&format!("{at}.volume.size"), TOO_SMALL);
    }
    for (field, dir) in [("temporary", &volume.temporary), ("logs", &volume.logs), ("cache", &volume.cache)] {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if dir.is_empty() || dir.starts_with('.') || !dir.chars().all(plain) {
            found.add(&format!("{at}.volume.{field}"), format!("{dir:?} is no plain directory name"));
        }
    }
}
