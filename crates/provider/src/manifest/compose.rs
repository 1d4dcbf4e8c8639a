//! Reads an Infrastructure from a Compose file.
//!
//! In: the tree of a text. Out: an Infrastructure, or every key that means something a process of this machine cannot
//! have, with its place and what to write instead. Nothing is dropped in silence.
//!
//! What Compose says in its own words is taken over: command, environment, ports, replicas, limits, dependencies,
//! health checks over HTTP, named volumes of a stated size. What it has no words for stands under `x-homeostat`, with
//! the names of our own files. A container's port says nothing here: every instance listens at the port it is given
//! (`{port}`, `PORT`), and what is published leads there.

mod plain;
mod service;

use std::collections::BTreeMap;

use domain::Infrastructure;
use serde_json::{Map, Value, json};
use yaml::{Node, Spanned, start};

use crate::secret;
use service::Reader;

/// Line and column, counted from 1.
type Place = (u64, u64);

/// Keys that only a Compose file has at its top.
const TOP: [&str; 7] = ["version", "volumes", "networks", "configs", "secrets", "include", "x-homeostat"];

/// Keys that only a Compose file has in a service.
const OF_SERVICE: [&str; 14] = [
    "image",
    "build",
    "ports",
    "expose",
    "depends_on",
    "deploy",
    "healthcheck",
    "volumes",
    "networks",
    "scale",
    "env_file",
    "container_name",
    "entrypoint",
    "x-homeostat",
];

/// Keys that only our own files have in a service.
const OWN: [&str; 9] = [
    "replicas",
    "listens",
    "publish",
    "dependencies",
    "readiness",
    "liveness",
    "limits",
    "volume",
    "hands_off",
];

/// What is wrong, where, and the field it is about.
pub(super) type Fault = (Place, String, String);

/// Whether a text is a Compose file: it has keys that only those have, and none that only ours have.
pub(super) fn is_compose(root: &Node) -> bool {
    let services = || root.get("services").into_iter().flat_map(|services| services.value.entries());
    let has = |names: &[&str]| {
        services()
            .any(|(_, of)| of.value.entries().iter().any(|(key, _)| names.contains(&key.value.as_str())))
    };
    let own = has(&OWN);
    let in_words = services()
        .any(|(_, of)| of.value.get("command").is_some_and(|command| matches!(command.value, Node::Text(_))));
    let at_top = root.entries().iter().any(|(key, _)| TOP.contains(&key.value.as_str()));
    !own && (at_top || in_words || has(&OF_SERVICE))
}

/// Reads one.
pub(super) fn read(root: &Node) -> Result<Infrastructure, Vec<Fault>> {
    let mut reading = Reading { faults: Vec::new(), volumes: BTreeMap::new(), places: BTreeMap::new() };
    let infrastructure = reading.root(root);
    let Some(infrastructure) = infrastructure.filter(|_| reading.faults.is_empty()) else {
        return Err(reading.faults);
    };
    let violated = infrastructure.check();
    let faults: Vec<Fault> = violated
        .into_iter()
        .map(|violation| {
            let message = mute_callee(&infrastructure, &violation.field).unwrap_or(violation.message);
            let (at, field) = reading.written_as(&violation.field);
            (at, field, message)
        })
        .collect();
    if faults.is_empty() { Ok(infrastructure) } else { Err(faults) }
}

/// What to do about a dependency on a service that listens nowhere, in the words of Compose, which asks for no port there.
fn mute_callee(infrastructure: &Infrastructure, field: &str) -> Option<String> {
    let (name, index) = field.strip_prefix("services.")?.split_once(".dependencies[")?;
    let caller = infrastructure.services.iter().find(|(known, _)| known.as_str() == name)?.1;
    let callee = caller.dependencies.get(index.strip_suffix(']')?.parse::<usize>().ok()?)?;
    infrastructure.services.get(callee).is_some_and(|spec| spec.listens.is_none()).then(|| {
        format!(
            "{callee} says no port that could be called; give {callee} `expose: [PORT]` or `ports` (each of its instances has \
             to listen at the port that is in its variable PORT, whatever number stands there), or remove it here"
        )
    })
}

/// What was read so far.
struct Reading {
    faults: Vec<Fault>,
    /// Sizes of named volumes, as our files state them.
    volumes: BTreeMap<String, Value>,
    /// Where the fields of the Infrastructure come from, and by which path they stand in the file.
    places: BTreeMap<String, (Place, String)>,
}

impl Reading {
    fn fault(&mut self, at: Place, field: &str, message: impl Into<String>) {
        self.faults.push((at, field.to_owned(), message.into()));
    }

    /// Notes where a field of ours stands.
    fn stands(&mut self, own: impl Into<String>, at: Place, written: &str) {
        self.places.insert(own.into(), (at, written.to_owned()));
    }

    /// The place of a field of ours, or of the nearest around it, with the path by which it stands in the file.
    fn written_as(&self, own: &str) -> (Place, String) {
        let mut known = own;
        loop {
            if let Some((place, written)) = self.places.get(known) {
                return (*place, format!("{written}{}", &own[known.len()..]));
            }
            match known.rfind(['.', '[']) {
                Some(end) => known = &known[..end],
                None => return ((1, 1), own.to_owned()),
            }
        }
    }

    fn root(&mut self, root: &Node) -> Option<Infrastructure> {
        let mut of = Map::new();
        if let Some(volumes) = root.get("volumes") {
            self.named_volumes(&volumes.value);
        }
        for (key, value) in root.entries() {
            let (at, name) = (start(key), key.value.as_str());
            match name {
                // It has had no meaning since Compose 2.
                "version" | "volumes" => {}
                "name" => drop(of.insert("name".to_owned(), self.plain(value, name).into())),
                "services" => {
                    self.stands(name, at, name);
                    let services = self.services(value);
                    of.insert("services".to_owned(), services.into());
                }
                "x-homeostat" => self.extension(value, name, &["environment", "cpu_limits"], &mut of),
                other if other.starts_with("x-") => {}
                "networks" => self.fault(
                    at,
                    name,
                    "services of this machine reach each other over loopback links; remove it, `depends_on` says who calls whom",
                ),
                "secrets" | "configs" => {
                    self.fault(at, name, "is not read; let the command read the file it needs, and remove this")
                }
                _ => self.fault(at, name, "is not known here; remove it"),
            }
        }
        if !of.contains_key("name") {
            self.fault(
                (1, 1),
                "name",
                "is missing; Compose takes the name of the directory, here it is written down: `name: shop`",
            );
        }
        if !of.contains_key("services") {
            self.fault((1, 1), "services", "is missing; declare at least one");
        }
        if !self.faults.is_empty() {
            return None;
        }
        serde_json::from_value(of.into()).map_err(|error| self.fault((1, 1), "", error.to_string())).ok()
    }

    fn services(&mut self, services: &Spanned<Node>) -> Map<String, Value> {
        let mut of = Map::new();
        if !matches!(services.value, Node::Map(_)) {
            self.fault(start(services), "services", "must be services by name");
        }
        for (key, value) in services.value.entries() {
            let (at, name) = (start(key), &key.value);
            let field = format!("services.{name}");
            self.stands(field.as_str(), at, &field);
            if let Err(error) = domain::ServiceName::new(name.as_str()) {
                self.fault(at, &field, error.to_string());
                continue;
            }
            if !matches!(value.value, Node::Map(_)) {
                self.fault(start(value), &field, "must be fields, each in a line of its own as `key: value`");
                continue;
            }
            let spec = Reader { reading: self, name: name.clone(), of: Map::new() }.read(&value.value, at);
            if let Err(error) = serde_json::from_value::<domain::ServiceSpec>(spec.clone().into()) {
                let from = value.value.get("x-homeostat").map_or(at, start);
                self.fault(from, &format!("{field}.x-homeostat"), error.to_string());
            }
            of.insert(name.clone(), spec.into());
        }
        of
    }

    /// The volumes at the top: each states its size, which is its limit here.
    fn named_volumes(&mut self, volumes: &Node) {
        for (key, value) in volumes.entries() {
            let field = format!("volumes.{}", key.value);
            let size = value.value.get("x-homeostat").and_then(|of| of.value.get("size"));
            let known = value
                .value
                .entries()
                .iter()
                .all(|(key, _)| key.value == "x-homeostat" || key.value == "name");
            match size.and_then(|size| plain::text(&size.value)) {
                Some(size) if known => drop(self.volumes.insert(key.value.clone(), json!(size))),
                _ => self.fault(
                    start(key),
                    &field,
                    "needs a size and nothing else: `x-homeostat: { size: 64MiB }`; a volume here has a limit that holds, and no driver",
                ),
            }
        }
    }

    /// Takes over what stands under `x-homeostat` where it has these names and Compose did not say it.
    fn extension(&mut self, value: &Spanned<Node>, field: &str, names: &[&str], of: &mut Map<String, Value>) {
        if !matches!(value.value, Node::Map(_)) {
            return self.fault(
                start(value),
                field,
                "must be fields, each in a line of its own as `key: value`",
            );
        }
        for (key, value) in value.value.entries() {
            let (at, path) = (start(key), format!("{field}.{}", key.value));
            let own = path.replace(".x-homeostat.", ".");
            if !names.contains(&key.value.as_str()) {
                self.fault(at, &path, format!("is not known here; there are {}", names.join(", ")));
            } else if of.insert(key.value.clone(), plain::json(&value.value)).is_some() {
                self.fault(at, &path, "is said by a key of Compose already; say it once");
            } else {
                self.stands(own, at, &path);
            }
        }
    }

    /// A text in which nothing is left to be filled in. `$$` is `$`, as in Compose.
    fn plain(&mut self, value: &Spanned<Node>, field: &str) -> String {
        let Some(text) = plain::text(&value.value) else {
            self.fault(start(value), field, "must be text");
            return String::new();
        };
        self.literal(&text, start(value), field)
    }

    fn literal(&mut self, text: &str, at: Place, field: &str) -> String {
        // References to secrets are followed where an environment is given to a process, and nowhere else.
        let without = match field.contains(".environment") {
            true => secret::without(text),
            false => text.to_owned(),
        };
        let without = without.replace("$$", "");
        let variable = |(index, _): (usize, &str)| {
            without[index + 1..]
                .starts_with(|next: char| next == '{' || next == '_' || next.is_ascii_alphabetic())
        };
        if without.match_indices('$').any(variable) {
            self.fault(
                at,
                field,
                "holds a variable, which nobody fills in here; write its value, or `$$` for a dollar sign",
            );
        }
        unescaped(text, field)
    }
}

/// `$$` is `$`; before a brace it stays in an environment, where secrets are referred to by `${` and `$${` is no reference.
fn unescaped(text: &str, field: &str) -> String {
    match field.contains(".environment") {
        true => text.split("$${").map(|part| part.replace("$$", "$")).collect::<Vec<_>>().join("$${"),
        false => text.replace("$$", "$"),
    }
}

#[cfg(test)]
mod tests;
