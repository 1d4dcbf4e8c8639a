//! One service of a Compose file.
//!
//! In: the tree of a service with the places of its words. Out: the same service in the words of our own files. What has no
//! meaning here, or would mean something else, goes to the faults of the [`Reading`] with its place and what to write instead.

use domain::Bytes;
use serde_json::{Map, Value, json};
use yaml::{Node, Spanned, start};

use super::{Place, Reading, plain};

/// What of our own files may stand under `x-homeostat` of a service.
const EXTENSION: [&str; 17] = [
    "version",
    "listens",
    "publish",
    "readiness",
    "liveness",
    "limits",
    "volume",
    "dependencies",
    "drain",
    "clear_caches",
    "metrics",
    "restart",
    "hands_off",
    "protected",
    "thresholds",
    "replicas",
    "stop_timeout",
];

/// Reads one service into the words of our own files.
pub(super) struct Reader<'a> {
    pub(super) reading: &'a mut Reading,
    pub(super) name: String,
    pub(super) of: Map<String, Value>,
}

impl Reader<'_> {
    pub(super) fn read(mut self, tree: &Node, at: Place) -> Map<String, Value> {
        let mut words = Vec::new();
        for (key, value) in tree.entries() {
            let field = format!("services.{}.{}", self.name, key.value);
            match key.value.as_str() {
                "command" => words.extend(self.words(value, &field)),
                "entrypoint" => {
                    let first = self.words(value, &field);
                    words.splice(0..0, first);
                }
                "environment" => self.environment(value, &field),
                "ports" => self.ports(value, &field),
                "expose" => drop(self.of.entry("listens").or_insert(json!("tcp"))),
                "scale" => self.replicas(value, &field),
                "deploy" => self.deploy(value, &field),
                "cpus" => self.cpus(value, &field),
                "mem_limit" => self.memory(value, &field),
                "depends_on" => self.depends_on(value, &field),
                "healthcheck" => self.health_check(value, &field),
                "volumes" => self.volumes(value, &field),
                "stop_grace_period" => {
                    self.set(start(key), &field, "stop_timeout", plain::json(&value.value))
                }
                "restart" => self.restart(value, &field),
                "image" => self.image(value, &field),
                other if other.starts_with("x-") => {}
                other => self.reading.fault(start(key), &field, unknown(other)),
            }
        }
        if words.is_empty() {
            let what = if tree.get("image").is_some() || tree.get("build").is_some() {
                "is missing; no image is run here, name the program on this machine: `command: [program, argument]`"
            } else {
                "is missing; name the program to run: `command: [program, argument]`"
            };
            self.reading.fault(at, &format!("services.{}.command", self.name), what);
        }
        self.of.insert("command".to_owned(), words.into());
        if let Some(extension) = tree.get("x-homeostat") {
            self.extension(extension);
        }
        self.of
    }

    /// What stands under `x-homeostat` wins where Compose only let it be guessed.
    fn extension(&mut self, extension: &Spanned<Node>) {
        if extension.value.get("listens").is_some() {
            self.of.remove("listens");
        }
        let field = format!("services.{}.x-homeostat", self.name);
        self.reading.extension(extension, &field, &EXTENSION, &mut self.of);
    }

    /// Takes over a value: `written` is the path by which it stands in the file, `name` what it is called in our own.
    fn set(&mut self, at: Place, written: &str, name: &str, value: Value) {
        self.reading.stands(format!("services.{}.{name}", self.name), at, written);
        if let Some(before) = self.of.insert(name.to_owned(), value.clone())
            && before != value
        {
            self.reading.fault(at, written, TWICE);
        }
    }

    fn fault(&mut self, at: Place, field: &str, message: impl Into<String>) {
        self.reading.fault(at, field, message);
    }

    /// A command as a list, or as a line that is split as a shell would, without a shell.
    fn words(&mut self, value: &Spanned<Node>, field: &str) -> Vec<String> {
        self.reading.stands(format!("services.{}.command", self.name), start(value), field);
        match &value.value {
            Node::List(items) => items.iter().map(|item| self.reading.plain(item, field)).collect(),
            Node::Text(line) => {
                let line = self.reading.literal(line, start(value), field);
                let words = shlex::split(&line);
                if words.is_none() {
                    self.fault(start(value), field, "has a quote that does not end");
                }
                words.unwrap_or_default()
            }
            _ => {
                self.fault(start(value), field, "must be a line or a list, such as [program, argument]");
                Vec::new()
            }
        }
    }

    fn environment(&mut self, value: &Spanned<Node>, field: &str) {
        const UNSET: &str =
            "has no value; Compose takes it from its own environment, here it is written down";
        let mut of = Map::new();
        match &value.value {
            Node::Map(entries) => {
                for (key, value) in entries {
                    let field = format!("{field}.{}", key.value);
                    let own = format!("services.{}.environment.{}", self.name, key.value);
                    self.reading.stands(own, start(key), &field);
                    if matches!(value.value, Node::Null) {
                        self.fault(start(key), &field, UNSET);
                    } else {
                        of.insert(key.value.clone(), self.reading.plain(value, &field).into());
                    }
                }
            }
            Node::List(items) => {
                for item in items {
                    let text = self.reading.plain(item, field);
                    match text.split_once('=') {
                        Some((name, value)) => {
                            let own = format!("services.{}.environment.{name}", self.name);
                            self.reading.stands(own, start(item), &format!("{field}.{name}"));
                            of.insert(name.to_owned(), value.into());
                        }
                        None => self.fault(start(item), field, format!("{text} {UNSET}: `{text}=value`")),
                    }
                }
            }
            _ => self.fault(start(value), field, "must be variables by name, or a list of `NAME=value`"),
        }
        self.set(start(value), field, "environment", of.into());
    }

    fn ports(&mut self, value: &Spanned<Node>, field: &str) {
        let Node::List(items) = &value.value else {
            return self.fault(start(value), field, "must be a list, such as [\"8080:80\"]");
        };
        if let Some(second) = items.get(1) {
            self.fault(start(second), field, "is the second; one port is published for each service");
        }
        let Some(item) = items.first() else { return };
        self.of.entry("listens").or_insert(json!("tcp"));
        let published = match &item.value {
            Node::Map(entries) => {
                let other = entries.iter().find(|(key, of)| match key.value.as_str() {
                    "target" | "published" => false,
                    "protocol" => plain::text(&of.value).as_deref() != Some("tcp"),
                    "host_ip" => plain::text(&of.value).as_deref() != Some("127.0.0.1"),
                    _ => true,
                });
                if let Some((key, _)) = other {
                    let what = format!("{} cannot be had; ports are TCP on loopback", key.value);
                    self.fault(start(key), field, what);
                }
                item.value.get("published").and_then(|of| plain::text(&of.value))
            }
            _ => self.short_port(item, field),
        };
        match published.map(|text| (text.parse::<u16>(), text)) {
            Some((Ok(port), _)) => self.set(start(item), field, "publish", json!(port)),
            Some((Err(_), text)) => {
                self.fault(start(item), field, format!("{text:?} is no port from 1 to 65535"));
            }
            None => self.fault(
                start(item),
                field,
                "names no port on this machine; write it in front, as \"8080:80\", or use `expose`",
            ),
        }
    }

    /// `8080:80`, with loopback's address in front or `/tcp` behind.
    fn short_port(&mut self, item: &Spanned<Node>, field: &str) -> Option<String> {
        let text = self.reading.plain(item, field);
        let parts: Vec<&str> = text.strip_suffix("/tcp").unwrap_or(&text).split(':').collect();
        match parts[..] {
            [published, _] | ["127.0.0.1" | "localhost", published, _] => Some(published.to_owned()),
            [_] => None,
            _ => {
                self.fault(
                    start(item),
                    field,
                    format!("{text} cannot be had; ports are published on 127.0.0.1"),
                );
                None
            }
        }
    }

    fn replicas(&mut self, value: &Spanned<Node>, field: &str) {
        let count = match value.value {
            Node::Integer(count) => u64::try_from(count).ok(),
            _ => None,
        };
        match count {
            Some(count) => self.set(start(value), field, "replicas", json!(count)),
            None => self.fault(start(value), field, "must be a whole number from 1 to 100"),
        }
    }

    fn deploy(&mut self, value: &Spanned<Node>, field: &str) {
        for (key, value) in value.value.entries() {
            let path = format!("{field}.{}", key.value);
            match (key.value.as_str(), plain::text(&value.value).as_deref()) {
                ("replicas", _) => self.replicas(value, &path),
                ("mode", Some("replicated")) => {}
                ("resources", _) => self.resources(value, &path),
                _ => {
                    self.fault(start(key), &path, "cannot be had here; `replicas` and `resources.limits` can")
                }
            }
        }
    }

    fn resources(&mut self, value: &Spanned<Node>, field: &str) {
        for (key, value) in value.value.entries() {
            let path = format!("{field}.{}", key.value);
            if key.value != "limits" {
                self.fault(start(key), &path, "cannot be had here; nothing is reserved, state `limits`");
                continue;
            }
            for (key, value) in value.value.entries() {
                let path = format!("{path}.{}", key.value);
                match key.value.as_str() {
                    "cpus" => self.cpus(value, &path),
                    "memory" => self.memory(value, &path),
                    _ => self.fault(start(key), &path, "cannot be held here; `cpus` and `memory` can"),
                }
            }
        }
    }

    fn cpus(&mut self, value: &Spanned<Node>, field: &str) {
        let cores = plain::text(&value.value).and_then(|text| text.parse::<f64>().ok());
        match cores.filter(|cores| cores.is_finite()) {
            Some(cores) => self.limit(start(value), field, "cpu", json!(cores)),
            None => self.fault(start(value), field, "must be a number of cores, such as \"0.5\""),
        }
    }

    fn memory(&mut self, value: &Spanned<Node>, field: &str) {
        match plain::text(&value.value).as_deref().and_then(bytes) {
            Some(size) => self.limit(start(value), field, "memory", json!(size.0.to_string())),
            None => self.fault(start(value), field, "must be a size, such as 64m or 1g"),
        }
    }

    fn limit(&mut self, at: Place, written: &str, name: &str, value: Value) {
        self.reading.stands(format!("services.{}.limits.{name}", self.name), at, written);
        let limits = self.of.entry("limits").or_insert_with(|| json!({}));
        let before = limits.as_object_mut().and_then(|limits| limits.insert(name.to_owned(), value.clone()));
        if before.is_some_and(|before| before != value) {
            self.fault(at, written, TWICE);
        }
    }

    fn depends_on(&mut self, value: &Spanned<Node>, field: &str) {
        let mut names = Vec::new();
        let dependencies = format!("services.{}.dependencies", self.name);
        let own = |index: usize| format!("{dependencies}[{index}]");
        match &value.value {
            Node::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.reading.stands(own(index), start(item), &format!("{field}[{index}]"));
                    names.push(self.reading.plain(item, field));
                }
            }
            Node::Map(entries) => {
                for (index, (key, value)) in entries.iter().enumerate() {
                    self.reading.stands(own(index), start(key), &format!("{field}.{}", key.value));
                    names.push(key.value.clone());
                    for (rule, of) in value.value.entries() {
                        let fine = matches!(
                            (rule.value.as_str(), plain::text(&of.value).as_deref()),
                            ("condition", Some("service_started" | "service_healthy"))
                                | ("required", Some("true"))
                                | ("restart", Some("false"))
                        );
                        if !fine {
                            let path = format!("{field}.{}.{}", key.value, rule.value);
                            let what = "cannot be had; all services start at once, and a caller has to bear that one it calls is not there yet";
                            self.fault(start(rule), &path, what);
                        }
                    }
                }
            }
            _ => self.fault(start(value), field, "must be a list of services"),
        }
        self.set(start(value), field, "dependencies", names.into());
    }

    fn health_check(&mut self, value: &Spanned<Node>, field: &str) {
        let disabled = value.value.get("disable").is_some_and(|of| plain::json(&of.value) == json!(true));
        let none = value.value.get("test").is_some_and(|of| plain::json(&of.value) == json!(["NONE"]));
        if disabled || none {
            return;
        }
        let mut probe = Map::new();
        for (key, value) in value.value.entries() {
            let path = format!("{field}.{}", key.value);
            match key.value.as_str() {
                "test" => match http_check(&value.value) {
                    Some(path) => drop(probe.insert("http".to_owned(), path.into())),
                    None => self.fault(start(value), &path, NO_HTTP_CHECK),
                },
                "interval" => drop(probe.insert("interval".to_owned(), plain::json(&value.value))),
                "timeout" => drop(probe.insert("timeout".to_owned(), plain::json(&value.value))),
                "retries" => drop(probe.insert("failures".to_owned(), plain::json(&value.value))),
                "disable" => {}
                _ => self.fault(
                    start(key),
                    &path,
                    "cannot be had; an instance counts as starting until it was ready once. Remove it",
                ),
            }
        }
        if probe.contains_key("http") {
            self.of.insert("listens".to_owned(), json!("http"));
        }
        self.set(start(value), field, "readiness", probe.into());
    }

    fn volumes(&mut self, value: &Spanned<Node>, field: &str) {
        let Node::List(items) = &value.value else {
            return self.fault(start(value), field, "must be a list, such as [\"data:/data\"]");
        };
        if let Some(second) = items.get(1) {
            self.fault(start(second), field, "is the second; an instance has one volume");
        }
        let Some(item) = items.first() else { return };
        let (source, plain) = match &item.value {
            Node::Map(entries) => {
                let known = |key: &str| ["type", "source", "target"].contains(&key);
                let plain = entries.iter().all(|(key, _)| known(&key.value));
                (item.value.get("source").and_then(|of| plain::text(&of.value)), plain)
            }
            _ => {
                let text = self.reading.plain(item, field);
                let source = text.split_once(':').map(|(source, _)| source.to_owned());
                (source, text.matches(':').count() == 1)
            }
        };
        let size = source.as_ref().and_then(|source| self.reading.volumes.get(source)).cloned();
        match size {
            Some(size) if plain => self.set(start(item), field, "volume", json!({ "size": size })),
            _ => self.fault(start(item), field, NO_VOLUME),
        }
    }

    fn restart(&mut self, value: &Spanned<Node>, field: &str) {
        if !matches!(plain::text(&value.value).as_deref(), Some("always" | "unless-stopped")) {
            self.fault(
                start(value),
                field,
                "cannot be had; what ends is always started again: write `always`",
            );
        }
    }

    /// No image is run; its tag is the version of what the command names.
    fn image(&mut self, value: &Spanned<Node>, field: &str) {
        let image = self.reading.plain(value, field);
        let name = image.rsplit('/').next().unwrap_or_default();
        if let Some((_, tag)) = name.split('@').next().and_then(|name| name.split_once(':')) {
            self.set(start(value), field, "version", json!(tag));
        }
    }
}

const TWICE: &str = "is said twice, and not the same; say it once";

const NO_HTTP_CHECK: &str = "is a command in a container, which is not run here; a check by curl or wget of one address on \
    localhost is read, others are stated as `x-homeostat: { readiness: { http: /path } }`";

const NO_VOLUME: &str = "is no named volume of a stated size; directories of the machine are not mounted. Declare `volumes: { data: \
    { x-homeostat: { size: 64MiB } } }` at the top and mount `data:/data`; the process finds it at `{volume}`";

/// What to do about a key that a process of this machine cannot have.
fn unknown(key: &str) -> &'static str {
    match key {
        "build" => "is not done here; build the program and name it in `command`",
        "networks" | "network_mode" | "links" | "dns" | "extra_hosts" | "hostname" => {
            "cannot be had; services reach each other over loopback links, `depends_on` says who calls whom. Remove it"
        }
        "privileged" | "cap_add" | "cap_drop" | "user" | "security_opt" | "devices" | "pid" | "ipc" => {
            "cannot be had; a service runs as who runs homeostat, with its rights. Remove it"
        }
        "secrets" | "configs" => "is not read; let the command read the file it needs, and remove this",
        "env_file" => "is not read; write the variables under `environment`",
        "working_dir" => "cannot be had; name files by their whole path, or let the command change there",
        "extends" | "profiles" => "is not known here; write the services out",
        "logging" => "cannot be had; output is captured and rotated by itself. Remove it",
        _ => "is not known here; remove it, or say what is meant under `x-homeostat`",
    }
}

/// The path of a check by curl or wget of one address on this machine.
fn http_check(test: &Node) -> Option<String> {
    const PLAIN: [&str; 12] =
        ["-f", "-s", "-S", "-q", "-fs", "-sf", "-fsS", "-sSf", "--fail", "--silent", "--spider", "--quiet"];
    let words: Vec<String> = match test {
        Node::List(items) => items.iter().map(|item| plain::text(&item.value)).collect::<Option<_>>()?,
        other => vec!["CMD-SHELL".to_owned(), plain::text(other)?],
    };
    let words = match words.split_first()? {
        (first, rest) if first == "CMD" => rest.to_vec(),
        (first, [line]) if first == "CMD-SHELL" => {
            let line = line.trim();
            shlex::split(line.strip_suffix("|| exit 1").unwrap_or(line))?
        }
        _ => return None,
    };
    let (program, arguments) = words.split_first()?;
    let (mut addresses, options): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|word| word.starts_with("http://"));
    let known = ["curl", "wget"].contains(&program.as_str())
        && options.iter().all(|option| PLAIN.contains(&option.as_str()));
    let address = addresses.pop().filter(|_| known && addresses.is_empty())?;
    let rest = address.strip_prefix("http://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.split(':').next()?;
    ["localhost", "127.0.0.1"].contains(&host).then(|| format!("/{path}"))
}

/// A size as Compose writes it: `64m`, `1g`, `512kb`, in powers of 1024.
fn bytes(text: &str) -> Option<Bytes> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift).map(Bytes)
}
