//! The floors: a crate uses lower floors only, never its own or a higher one; and every member inherits
//! the workspace's lints.

use super::finding::Finding;
use super::manifest::{Dependency, DependencyKind, Manifest};
use super::tree::Tree;

/// The house, bottom to top (ARCHITECTURE.md). Crates that do not exist yet hold their place.
const FLOORS: [(&str, u8); 25] = [
    ("domain", 0),
    // Reads files, so that no pure crate may use it; `outbound` may.
    ("input", 0),
    ("protowire", 0),
    ("yaml", 0),
    ("decide", 1),
    ("promql", 1),
    ("slo", 1),
    // Beside the pure crates, so that none of them can use these and every higher floor can.
    ("outbound", 1),
    ("durable", 1),
    ("store", 2),
    ("audit", 2),
    ("provider", 2),
    ("telemetry", 2),
    ("metrics", 2),
    ("act", 3),
    ("observe", 3),
    ("alerting", 3),
    ("heal", 4),
    ("chaos", 4),
    ("incident", 4),
    ("aiops", 4),
    ("gateway", 5),
    ("homeostat", 6),
    // Chores stand above the house: they may use any of it, nothing may use them.
    ("xtask", 7),
    ("fuzz", 7),
];

/// In-memory engines and the virtual clock: used by tests of every floor, linked into nothing that ships.
const SIMULATION: &str = "sim";

/// What tests alone may use: also the server that stands across from our clients, which uses nothing of the house.
const FOR_TESTS: [&str; 2] = [SIMULATION, COUNTERPART];

/// The server of [`FOR_TESTS`].
const COUNTERPART: &str = "counterpart";

/// The tracing library, which other services link as well: it uses nothing of the house, and only what has a
/// runtime of its own uses it.
const TRACER: &str = "homeostat-tracer";

/// Comparisons with others' software: workspaces of their own, linked into nothing.
const BENCHES: &str = "benches/";

/// The lowest floor that may use [`TRACER`].
const TRACER_USERS: u8 = 5;

/// The feature by which `decide` lets simulation clear plans without the guard: never in what ships.
const SIMULATION_FEATURE: &str = "simulation";

/// Packages that would let I/O, a clock or a runtime into the pure crates.
const IMPURE: [&str; 16] = [
    "async-std",
    "axum",
    "futures",
    "http-body-util",
    "hyper",
    "hyper-util",
    "input",
    "libc",
    "mio",
    "nix",
    "reqwest",
    "rusqlite",
    "rustix",
    "sqlx",
    "tokio",
    "ureq",
];

/// Crates that do no I/O: floors 0 and 1, but for `input`, `outbound` and `durable`.
pub(crate) const PURE: [&str; 6] = ["domain", "protowire", "yaml", "decide", "promql", "slo"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.manifests().filter(|(path, _)| !path.starts_with(BENCHES)) {
        match Manifest::parse(text) {
            Ok(manifest) => check_manifest(path, &manifest, &mut findings),
            Err(error) => findings.push(Finding::error(path, 1, "manifest", error)),
        }
    }
    findings
}

fn check_manifest(path: &str, manifest: &Manifest, findings: &mut Vec<Finding>) {
    let name = crate_of(path);
    if !manifest.inherits_lints {
        let message = "does not inherit the workspace's lints; add `[lints]` with `workspace = true`";
        findings.push(Finding::error(path, 1, "lints", message));
    }
    let floor = floor_of(name);
    if floor.is_none() && !FOR_TESTS.contains(&name) && name != TRACER {
        let message =
            format!("{name} has no floor; give it one in xtask/src/tidy/floors.rs and in ARCHITECTURE.md");
        findings.push(Finding::error(path, 1, "floors", message));
    }
    for dependency in &manifest.dependencies {
        findings.extend(edge(path, name, floor, dependency));
        findings.extend(opened_lock(path, name, dependency));
        if PURE.contains(&name)
            && dependency.kind != DependencyKind::Dev
            && IMPURE.contains(&dependency.package.as_str())
        {
            let message = format!(
                "{name} is pure and cannot use {}; move what needs it to floor 2 or higher and hand in its result",
                dependency.package
            );
            findings.push(Finding::error(path, dependency.line, "pure", message));
        }
    }
}

/// What is wrong with one dependency on a member of the workspace.
fn edge(path: &str, name: &str, floor: Option<u8>, dependency: &Dependency) -> Option<Finding> {
    let target = dependency.package.as_str();
    if FOR_TESTS.contains(&target) {
        return (dependency.kind != DependencyKind::Dev).then(|| {
            let message = format!("{target} is for tests; move it to `[dev-dependencies]`");
            Finding::error(path, dependency.line, "floors", message)
        });
    }
    if target == TRACER && name != TRACER && floor.is_none_or(|own| own < TRACER_USERS) {
        let message = format!(
            "{name} uses {TRACER}, which is for the floors that answer requests, {TRACER_USERS} and higher; \
             hand in what is to be recorded"
        );
        return Some(Finding::error(path, dependency.line, "floors", message));
    }
    if name == COUNTERPART && floor_of(target).is_some() {
        let message = format!("{COUNTERPART} uses {target}; tests of every floor use it, so it uses none");
        return Some(Finding::error(path, dependency.line, "floors", message));
    }
    if name == TRACER && floor_of(target).is_some() {
        let message =
            format!("{TRACER} uses {target}; other services link it, so it uses nothing of the house");
        return Some(Finding::error(path, dependency.line, "floors", message));
    }
    let (own, other) = (floor?, floor_of(target)?);
    (other >= own).then(|| {
        let message = format!(
            "{name} (floor {own}) uses {target} (floor {other}); use lower floors only: \
             move the shared type down, or let the two meet through the store"
        );
        Finding::error(path, dependency.line, "floors", message)
    })
}

/// The guard's lock opened for something that ships.
fn opened_lock(path: &str, name: &str, dependency: &Dependency) -> Option<Finding> {
    let opened = dependency.features.iter().any(|feature| feature == SIMULATION_FEATURE);
    (opened && name != SIMULATION && dependency.kind != DependencyKind::Dev).then(|| {
        let message = format!(
            "{name} switches on `{SIMULATION_FEATURE}` of {}, which clears plans without the guard; \
             leave that to sim and to `[dev-dependencies]`",
            dependency.package
        );
        Finding::error(path, dependency.line, "lock", message)
    })
}

fn floor_of(name: &str) -> Option<u8> {
    FLOORS.iter().find(|(known, _)| *known == name).map(|(_, floor)| *floor)
}

/// The crate a file belongs to: the directory under `crates/` or `lib/`, or the top directory.
pub(crate) fn crate_of(path: &str) -> &str {
    let inner = path.strip_prefix("crates/").or_else(|| path.strip_prefix("lib/")).unwrap_or(path);
    inner.split('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::super::tree::tree_of;
    use super::*;

    /// The findings on one manifest with these lines after its lints.
    fn found(crate_name: &str, rest: &str) -> Vec<(usize, &'static str)> {
        let path = format!("crates/{crate_name}/Cargo.toml");
        let text = format!("[lints]\nworkspace = true\n{rest}");
        check(&tree_of(&[(&path, &text)])).iter().map(|finding| (finding.line, finding.rule)).collect()
    }

    #[test]
    fn a_lower_floor_may_be_used() {
        assert_eq!(found("heal", "[dependencies]\nact.workspace = true\ndomain.workspace = true\n"), []);
    }

    #[test]
    fn a_higher_floor_and_the_own_floor_are_found_at_their_line() {
        assert_eq!(
            found("store", "[dependencies]\ndomain.workspace = true\nheal.workspace = true\n"),
            [(5, "floors")]
        );
        assert_eq!(found("heal", "[dependencies]\nchaos.workspace = true\n"), [(4, "floors")]);
        assert_eq!(found("heal", "[dev-dependencies]\ngateway.workspace = true\n"), [(4, "floors")]);
    }

    #[test]
    fn a_renamed_dependency_does_not_hide() {
        let rest = "[dependencies]\nfriend = { package = \"homeostat\", path = \"../homeostat\" }\n";
        assert_eq!(found("act", rest), [(4, "floors")]);
    }

    #[test]
    fn nothing_may_use_the_chores() {
        assert_eq!(
            found("homeostat", "[dependencies]\nxtask = { path = \"../../xtask\" }\n"),
            [(4, "floors")]
        );
    }

    #[test]
    fn the_tracer_uses_nothing_of_the_house_and_serves_its_top_only() {
        let using = "[dependencies]\nhomeostat-tracer.workspace = true\n";
        assert_eq!(found("gateway", using), []);
        assert_eq!(found("homeostat", using), []);
        assert_eq!(found("heal", using), [(4, "floors")]);
        assert_eq!(found("sim", using), [(4, "floors")]);
        let path = "lib/homeostat-tracer/Cargo.toml";
        let lints = "[lints]\nworkspace = true\n";
        let text = format!("{lints}[dependencies]\nureq.workspace = true\ndomain.workspace = true\n");
        let lines: Vec<_> = check(&tree_of(&[(path, &text)])).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [5]);
    }

    #[test]
    fn simulation_is_for_tests_only() {
        assert_eq!(found("domain", "[dev-dependencies]\nsim.workspace = true\n"), []);
        assert_eq!(found("heal", "[dependencies]\nsim.workspace = true\n"), [(4, "floors")]);
        assert_eq!(found("sim", "[dependencies]\nheal.workspace = true\n"), []);
        assert_eq!(found("metrics", "[dev-dependencies]\ncounterpart.workspace = true\n"), []);
        assert_eq!(found("metrics", "[dependencies]\ncounterpart.workspace = true\n"), [(4, "floors")]);
        assert_eq!(found("counterpart", "[dependencies]\ndomain.workspace = true\n"), [(4, "floors")]);
    }

    #[test]
    fn only_tests_and_simulation_may_pass_the_guard_by() {
        let edge = "decide = { workspace = true, features = [\"simulation\"] }\n";
        assert_eq!(found("act", &format!("[dependencies]\n{edge}")), [(4, "lock")]);
        assert_eq!(found("act", &format!("[dev-dependencies]\n{edge}")), []);
        assert_eq!(found("sim", &format!("[dependencies]\n{edge}")), []);
        assert_eq!(found("act", "[dependencies]\ndecide.workspace = true\n"), []);
    }

    #[test]
    fn a_pure_crate_has_no_runtime_in_its_manifest() {
        assert_eq!(found("decide", "[dependencies]\ntokio.workspace = true\n"), [(4, "pure")]);
        assert_eq!(found("domain", "[target.'cfg(unix)'.dependencies]\nlibc = \"0.2\"\n"), [(4, "pure")]);
        assert_eq!(found("provider", "[dependencies]\ntokio.workspace = true\n"), []);
        assert_eq!(found("outbound", "[dependencies]\nureq.workspace = true\n"), []);
        assert_eq!(found("decide", "[dependencies]\noutbound.workspace = true\n"), [(4, "floors")]);
        assert_eq!(found("slo", "[dependencies]\ninput.workspace = true\n"), [(4, "pure")]);
        assert_eq!(found("outbound", "[dependencies]\ninput.workspace = true\n"), []);
        assert_eq!(found("decide", "[dependencies]\ndurable.workspace = true\n"), [(4, "floors")]);
    }

    #[test]
    fn a_crate_without_a_floor_and_one_without_lints_are_found() {
        assert_eq!(found("novelty", ""), [(1, "floors")]);
        let findings = check(&tree_of(&[("crates/act/Cargo.toml", "[package]\nname = \"act\"\n")]));
        assert_eq!(findings.iter().map(|finding| finding.rule).collect::<Vec<_>>(), ["lints"]);
    }
}
