//! Reads an Infrastructure from YAML: our own, or a Compose file. Which of the two it is, its keys say.
//!
//! In: the text of a file. Out: an [`Infrastructure`] without a known fault, or every problem with file,
//! line, column and field. Unknown keys are refused. Nothing is started here.
//!
//! The text is read twice: once into the typed value, once into a tree of places, so that an error of the
//! parser (which knows the place) gets its field, and a violation of [`Infrastructure::check`] (which knows
//! the field) gets its place.

mod compose;

use std::path::{Path, PathBuf};

use domain::Infrastructure;
use serde_saphyr::options::NonFiniteFloatPolicy;
use yaml::{Node, Spanned, start};

use crate::{program, secret};
pub use yaml::Problem;

/// Largest file read: a declaration beyond this is a mistake, not a fleet.
const SIZE_MAX: u64 = 1024 * 1024;

/// Why no Infrastructure came out of a file.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file could not be read.
    #[error("cannot read {file}")]
    Unreadable {
        /// The file as it was named.
        file: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It does not describe an Infrastructure that can be brought up; one line for each problem.
    #[error("{}", .problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
    Wrong {
        /// At least one.
        problems: Vec<Problem>,
    },
}

/// Reads a file of at most 1 MiB. Programs and secrets that it names by relative paths are found from its directory, or from
/// that of this process where the text is fed in (`/dev/stdin`); what comes out names them from the root. Secrets have to be
/// there; what comes out holds the references.
///
/// # Errors
///
/// Where it cannot be read, or everything that is wrong in it.
pub fn read(path: &Path) -> Result<Infrastructure, ManifestError> {
    let file = path.display().to_string();
    let unreadable = |source| ManifestError::Unreadable { file: file.clone(), source };
    let text = input::read_to_string(path, SIZE_MAX).map_err(unreadable)?;
    let dir = directory_of(path).map_err(unreadable)?;
    let mut infrastructure = parse_beside(&file, &text, &dir)?;
    for value in infrastructure.services.values_mut().flat_map(|spec| spec.environment.values_mut()) {
        *value = secret::anchored(value, &dir);
    }
    let (services, places) = (&infrastructure.services, Places::of(&text));
    let of = |name: &domain::ServiceName, variable: &String, text: &String| {
        let message = secret::reveal(text).err()?.said();
        let field = format!("services.{name}.environment.{variable}");
        let (line, column) = places.of_field(&field);
        Some(Problem { file: file.clone(), line, column, field, message })
    };
    let variables =
        services.iter().flat_map(|(name, spec)| spec.environment.iter().map(move |one| (name, one)));
    let problems: Vec<_> =
        variables.filter_map(|(name, (variable, text))| of(name, variable, text)).collect();
    if problems.is_empty() { Ok(infrastructure) } else { Err(ManifestError::Wrong { problems }) }
}

/// The directory that a file stands in, from the root and without links: the same however the file was named, so that what
/// is read again equals what is up.
fn directory_of(path: &Path) -> std::io::Result<PathBuf> {
    let fed_in = ["/dev/stdin", "/dev/fd", "/proc"].iter().any(|other| path.starts_with(other));
    let dir = path.parent().filter(|dir| !fed_in && !dir.as_os_str().is_empty());
    dir.unwrap_or(Path::new(".")).canonicalize()
}

/// Reads text that stands in no directory; `file` is named in errors.
///
/// # Errors
///
/// Everything that is wrong in it, by place; programs that are named by relative paths are.
pub fn parse(file: &str, text: &str) -> Result<Infrastructure, ManifestError> {
    let infrastructure = parse_anywhere(file, text)?;
    let places = Places::of(text);
    let problem = |(name, field, program): (&domain::ServiceName, &str, &str)| {
        let field = format!("services.{name}.{field}");
        let (line, column) = places.of_field(&field);
        let message = format!("names the program {program}, {}", program::RELATIVE);
        Problem { file: file.to_owned(), line, column, field, message }
    };
    let services = infrastructure.services.iter();
    let programs = services
        .flat_map(|(name, spec)| program::of(spec).map(move |(field, program)| (name, field, program)));
    let problems: Vec<_> =
        programs.filter(|(_, _, program)| program::is_relative(program)).map(problem).collect();
    if problems.is_empty() { Ok(infrastructure) } else { Err(ManifestError::Wrong { problems }) }
}

/// Reads text that stands in the directory `dir`, which is said from the root: programs named by relative paths are found
/// there. `file` is named in errors.
///
/// # Errors
///
/// Everything that is wrong in it, by place.
pub fn parse_beside(file: &str, text: &str, dir: &Path) -> Result<Infrastructure, ManifestError> {
    let mut infrastructure = parse_anywhere(file, text)?;
    infrastructure.services.values_mut().for_each(|spec| program::anchor_all(spec, dir));
    Ok(infrastructure)
}

fn parse_anywhere(file: &str, text: &str) -> Result<Infrastructure, ManifestError> {
    if let Some(read) = of_compose(file, text) {
        return read;
    }
    let places = Places::of(text);
    let problem = |line, column, field: String, message| Problem {
        file: file.to_owned(),
        line,
        column,
        field,
        message,
    };
    let infrastructure: Infrastructure = serde_saphyr::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        let field = places.field_at(line, column);
        ManifestError::Wrong { problems: vec![problem(line, column, field, plain_message(&error))] }
    })?;
    let violations = infrastructure.check().into_iter().map(|violation| (violation.field, violation.message));
    let problems: Vec<_> = violations
        .chain(misplaced(&infrastructure))
        .map(|(field, message)| {
            let (line, column) = places.of_field(&field);
            problem(line, column, field, message)
        })
        .collect();
    if problems.is_empty() { Ok(infrastructure) } else { Err(ManifestError::Wrong { problems }) }
}

/// Commands that refer to a secret, which would stand in every list of processes.
fn misplaced(infrastructure: &Infrastructure) -> impl Iterator<Item = (String, String)> {
    let refer = infrastructure
        .services
        .iter()
        .filter(|(_, spec)| spec.command.iter().any(|word| secret::refers(word)));
    refer.map(|(name, _)| {
        let message = "refers to a secret, which a list of processes would show; give it in `environment`";
        (format!("services.{name}.command"), message.to_owned())
    })
}

/// What a Compose file declares; `None` where the text is none.
fn of_compose(file: &str, text: &str) -> Option<Result<Infrastructure, ManifestError>> {
    let root = serde_saphyr::from_str::<Node>(text).ok().filter(compose::is_compose)?;
    Some(compose::read(&root).map_err(|faults| {
        let problem = |((line, column), field, message)| Problem {
            file: file.to_owned(),
            line,
            column,
            field,
            message,
        };
        ManifestError::Wrong { problems: faults.into_iter().map(problem).collect() }
    }))
}

/// The parser's message, in words that say what to write where there are some.
fn plain_message(error: &serde_saphyr::Error) -> String {
    let text = yaml::plain_message(error);
    let plain = PLAIN.iter().find(|(parsers, _)| *parsers == text).map(|(_, plain)| (*plain).to_owned());
    plain.unwrap_or(text)
}

/// The parser's words for a value of the wrong type, and those that say what to write.
const PLAIN: [(&str, &str); 9] = [
    ("invalid u16", "must be a whole number from 0 to 65535"),
    ("invalid u32", "must be a whole number from 0 to 4294967295"),
    ("invalid floating point", "must be a number, such as 0.5"),
    ("invalid boolean", "must be true or false"),
    ("expected sequence start", "must be a list, such as [a, b]"),
    ("expected mapping start", "must be fields, each in a line of its own as `key: value`"),
    ("expected string scalar", "must be text"),
    (
        "cannot deserialize null into string; use Option<String>",
        "has no value; write one, or \"\" for an empty one",
    ),
    ("unexpected end of input", "the file ends too early, or is empty"),
];

/// Where every field of a text begins, in the order of the text.
#[derive(Default)]
struct Places(Vec<Place>);

struct Place {
    field: String,
    key: (u64, u64),
    value: (u64, u64),
}

impl Places {
    /// Empty where the text is no YAML at all.
    fn of(text: &str) -> Self {
        let mut places = Self::default();
        // What is no finite number is refused by its field, which then has to be found.
        let options = serde_saphyr::options! { non_finite_float_policy: NonFiniteFloatPolicy::PassThrough };
        if let Ok(root) = serde_saphyr::from_str_with_options::<Spanned<Node>>(text, options) {
            places.walk(String::new(), &root.value);
        }
        places
    }

    fn walk(&mut self, at: String, node: &Node) {
        let dot = if at.is_empty() { "" } else { "." };
        match node {
            Node::Map(entries) => {
                for (key, value) in entries {
                    self.add(format!("{at}{dot}{}", key.value), start(key), value);
                }
            }
            Node::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.add(format!("{at}[{index}]"), start(item), item);
                }
            }
            Node::Null | Node::Bool(_) | Node::Integer(_) | Node::Float(_) | Node::Text(_) => {}
        }
    }

    fn add(&mut self, field: String, key: (u64, u64), value: &Spanned<Node>) {
        self.0.push(Place { field: field.clone(), key, value: start(value) });
        self.walk(field, &value.value);
    }

    /// The place of a field, or of the nearest field around it that is there.
    fn of_field(&self, field: &str) -> (u64, u64) {
        let mut field = field;
        loop {
            if let Some(place) = self.0.iter().find(|place| place.field == field) {
                return place.key;
            }
            match field.rfind(['.', '[']) {
                Some(end) => field = &field[..end],
                None => return (1, 1),
            }
        }
    }

    /// The innermost field whose key or value begins at a place, or is the last to begin before it on
    /// its line.
    fn field_at(&self, line: u64, column: u64) -> String {
        let at = (line, column);
        let exact = self.0.iter().rev().find(|place| place.key == at || place.value == at);
        let before = || self.0.iter().rev().find(|place| place.key.0 == line && place.key <= at);
        exact.or_else(before).map(|place| place.field.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    const GOOD: &str = "name: shop\nservices:\n  cart:\n    command: [cart, \"{port}\"]\n    listens: http\n    limits: {memory: 64MiB}\n    stop_timeout: 2s\n";

    fn problems(text: &str) -> Vec<String> {
        match parse("fleet.yaml", text) {
            Err(ManifestError::Wrong { problems }) => problems.iter().map(Problem::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_good_file_reads() {
        let fleet = parse("fleet.yaml", GOOD).unwrap();
        let cart = &fleet.services.values().next().unwrap();
        assert_eq!(cart.limits.memory, Some(domain::Bytes::mib(64)));
        assert_eq!(cart.stop_timeout, std::time::Duration::from_secs(2));
    }

    #[test]
    fn a_secret_is_referred_to_in_an_environment_alone_and_has_to_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("fleet.yaml");
        let read = |key: &str, more: &str| {
            let text = GOOD.replace("2s", &format!("2s\n    environment:\n      KEY: \"{key}\"")) + more;
            std::fs::write(&file, text).unwrap();
            super::read(&file)
        };
        let refused = read("${file:key}", "").unwrap_err().to_string();
        assert!(refused.contains("fleet.yaml:9:7: services.cart.environment.KEY: cannot read "), "{refused}");
        std::fs::write(dir.path().join("key"), "canary").unwrap();
        for compose in ["", "  db:\n    command: [db]\n"] {
            let fleet = read("a${file:key}", compose).unwrap();
            let cart = fleet.services.values().next().unwrap();
            assert_eq!(cart.environment["KEY"], format!("a${{file:{}/key}}", dir.path().display()));
        }
        let text = GOOD.replace("cart, \"{port}\"", "cart, \"${env:KEY}\"");
        assert!(problems(&text)[0].starts_with("fleet.yaml:4:5: services.cart.command: refers"), "{text}");
        let compose = "name: shop\nservices:\n  cart:\n    command: cart --now\n    environment:\n      - KEY=${file:key}\n";
        std::fs::write(&file, compose).unwrap();
        let fleet = super::read(&file).unwrap();
        let whole = format!("${{file:{}/key}}", dir.path().display());
        assert_eq!(fleet.services.values().next().unwrap().environment["KEY"], whole);
        std::fs::write(&file, compose.replace("--now", "${env:KEY}")).unwrap();
        assert!(super::read(&file).unwrap_err().to_string().contains("holds a variable"));
    }

    #[test]
    fn a_relative_program_is_found_beside_the_file_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        std::fs::create_dir(home.join("etc")).unwrap();
        std::os::unix::fs::symlink(home.join("etc"), home.join("link")).unwrap();
        let own = GOOD.replace("[cart,", "[./cart,") + "    drain: {command: [bin/drain, now]}\n";
        let compose = "name: shop\nservices:\n  cart:\n    command: ./cart 1\n    x-homeostat:\n      drain: {command: [bin/drain, now]}\n";
        for text in [own.as_str(), compose] {
            std::fs::write(home.join("etc/shop.yaml"), text).unwrap();
            let fleet = super::read(&home.join("etc/shop.yaml")).unwrap();
            let cart = fleet.services.values().next().unwrap();
            assert_eq!(cart.command[0], format!("{}/etc/cart", home.display()));
            let drain = cart.drain.as_ref().unwrap().command.as_ref().unwrap();
            assert_eq!(drain[0], format!("{}/etc/bin/drain", home.display()));
            // However the file is named, it declares the same.
            for name in ["link/shop.yaml", "etc/../link/shop.yaml"] {
                assert_eq!(super::read(&home.join(name)).unwrap(), fleet, "{name}");
            }
            // What is sent to a server says it from the root, and is the same there.
            assert_eq!(parse("definition", &serde_json::to_string(&fleet).unwrap()).unwrap(), fleet);
        }
        let found = problems(&own);
        assert!(
            found[0].starts_with("fleet.yaml:4:5: services.cart.command: names the program ./cart,"),
            "{found:?}"
        );
        assert!(found[1].starts_with("fleet.yaml:8:13: services.cart.drain.command: "), "{found:?}");
        assert_eq!(directory_of(Path::new("/dev/stdin")).unwrap(), std::env::current_dir().unwrap());
        assert_eq!(directory_of(Path::new("shop.yaml")).unwrap(), std::env::current_dir().unwrap());
    }

    #[test]
    fn a_variable_that_homeostat_sets_is_refused_at_its_place() {
        let own = format!("{GOOD}    environment:\n      A: b\n      HOMEOSTAT_WORKER: mine\n");
        let list = "name: s\nservices:\n  cart:\n    image: x\n    command: cart\n    environment:\n      - A=b\n      - HOMEOSTAT_KEEPER=/x\n";
        let map = list.replace("- A=b", "A: b").replace("- HOMEOSTAT_KEEPER=", "HOMEOSTAT_INSTANCE: ");
        for (text, place) in [
            (own.as_str(), "10:7: services.cart.environment.HOMEOSTAT_WORKER"),
            (list, "8:9: services.cart.environment.HOMEOSTAT_KEEPER"),
            (map.as_str(), "8:7: services.cart.environment.HOMEOSTAT_INSTANCE"),
        ] {
            let found = problems(text);
            assert!(found[0].starts_with(&format!("fleet.yaml:{place}: is set by Homeostat")), "{found:?}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_at_its_place() {
        let found = problems(&GOOD.replace("    listens", "    lisstens"));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("fleet.yaml:5:5: services.cart.lisstens: "), "{found:?}");
        assert!(found[0].contains("lisstens"), "{found:?}");
    }

    #[test]
    fn a_value_of_the_wrong_type_says_what_was_expected() {
        let found = problems(&GOOD.replace("64MiB", "lots"));
        assert!(found[0].starts_with("fleet.yaml:6:22: services.cart.limits.memory: "), "{found:?}");
        assert!(found[0].contains("a size, such as 64MiB"), "{found:?}");
        let found = problems(&GOOD.replace("stop_timeout: 2s", "replicas: two"));
        assert!(found[0].starts_with("fleet.yaml:7:15: services.cart.replicas: "), "{found:?}");
    }

    #[test]
    fn a_violation_gets_the_place_of_its_field_and_all_are_told() {
        let text = GOOD.replace("2s", "2s\n    replicas: 0\n    dependencies:\n      - nobody");
        assert_eq!(
            problems(&text),
            [
                "fleet.yaml:8:5: services.cart.replicas: is 0, must be 1 to 100",
                "fleet.yaml:10:9: services.cart.dependencies[0]: no service is named nobody",
            ]
        );
    }

    #[test]
    fn values_that_would_be_lost_or_never_hold_are_refused_at_their_place() {
        for (line, field, words) in [
            ("publish: 0", "publish", "must be 1 to 65535"),
            ("limits: {cpu: .inf}", "limits.cpu", "must be a number of cores above 0"),
            ("limits: {cpu: .nan}", "limits.cpu", "must be a number of cores above 0"),
            ("limits: {memory: 99999999999999999999GiB}", "limits.memory", "as a size"),
            ("thresholds: {cpu: .nan}", "thresholds.cpu", "above 0"),
            ("thresholds: {error_rate: 101}", "thresholds.error_rate", "at most 100"),
            ("stop_timeout: 99999999999d", "stop_timeout", "as a duration"),
            ("stop_timeout: 0.1ms", "stop_timeout", "below 1ms"),
            ("liveness: {http: \"/a b\"}", "liveness.http", "is no path"),
            ("metrics: metrics", "metrics", "is no path"),
            ("drain: {http: \"/a\\r\\nHost: b\"}", "drain.http", "is no path"),
            ("environment: {\"A=B\": c}", "environment.A=B", "is no environment variable"),
        ] {
            let text =
                format!("name: s\nservices:\n  web:\n    command: [web]\n    listens: http\n    {line}\n");
            let found = problems(&text);
            let at = format!("services.web.{field}: ");
            assert!(found[0].starts_with("fleet.yaml:6:"), "{found:?}");
            assert!(found[0].contains(&at) && found[0].contains(words), "{words:?} of {at:?} in {found:?}");
        }
    }

    #[test]
    fn the_wrong_type_is_said_in_plain_words() {
        for (line, words) in [
            ("replicas: -1", "must be a whole number"),
            ("replicas: 5000000000", "must be a whole number"),
            ("hands_off: maybe", "must be true or false"),
            ("dependencies: database", "must be a list"),
            ("limits: 5", "must be fields"),
            ("limits: {cpu: much}", "must be a number"),
            ("environment: {D: null}", "has no value"),
            ("environment: {D: }", "has no value"),
        ] {
            let found = problems(&format!("name: s\nservices:\n  web:\n    command: [web]\n    {line}\n"));
            assert!(
                found[0].starts_with("fleet.yaml:5:") && found[0].contains(words),
                "{words:?} in {found:?}"
            );
        }
    }

    /// 9^6 list entries in 300 bytes: refused by the parser's own limits, and soon.
    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "a: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..7 {
            let alias = format!("*a{}", level - 1);
            text += &format!("b{level}: &a{level} [{}]\n", [alias.as_str(); 9].join(", "));
        }
        assert_eq!(problems(&text).len(), 1);
    }

    #[test]
    fn a_missing_field_names_the_service() {
        let found = problems("name: shop\nservices:\n  cart:\n    listens: http\n");
        assert!(found[0].contains("services.cart") && found[0].contains("command"), "{found:?}");
    }

    #[test]
    fn broken_yaml_is_refused_with_its_line() {
        let found = problems("name: shop\nservices: [\n");
        assert!(found[0].starts_with("fleet.yaml:"), "{found:?}");
    }
}
