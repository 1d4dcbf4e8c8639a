//! What of the configuration concerns service level objectives: which there are.

use std::path::{Path, PathBuf};

use promql::{Engine, Options};
use serde::{Deserialize, Serialize};
use slo::{FileError, Indicator, Objective, Promql};

/// The objectives every installation begins with.
const BUILT_IN: &str = include_str!("../../../../drills/slos.yaml");

/// The name of their file in errors.
const BUILT_IN_NAME: &str = "the built-in objectives";

/// Service level objectives: what is promised, and counted every second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Slo {
    /// Whether the five built-in ones are evaluated: `homeostat slo list` shows them.
    pub built_in: bool,
    /// Files with more, relative to this one: OpenSLO v1, Sloth or Pyrra. Read together, all of them or none.
    pub files: Vec<PathBuf>,
}

impl Default for Slo {
    fn default() -> Self {
        Self { built_in: true, files: Vec::new() }
    }
}

/// Why objectives cannot be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum SloError {
    /// A file cannot be read.
    #[error("cannot read the objectives in {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Something is wrong in files.
    #[error("nothing of the objectives was loaded:\n{0}")]
    Wrong(FileError),
    /// A budget for each value of a label.
    #[error(
        "objective {objective} has a budget for each value of {labels}, which is not evaluated yet; leave `grouping` out, or write an objective for each value"
    )]
    Grouped {
        /// Which.
        objective: String,
        /// The labels.
        labels: String,
    },
}

impl Slo {
    /// Files of a configuration are named as seen from where that is.
    pub(super) fn relative_to(&mut self, configuration: &Path) {
        let Some(folder) = configuration.parent() else { return };
        for file in &mut self.files {
            *file = folder.join(&*file);
        }
    }

    /// Every objective, or everything that is wrong.
    pub fn objectives(&self) -> Result<Vec<Objective>, SloError> {
        let objectives = read(&self.files, if self.built_in { Some(BUILT_IN) } else { None })?;
        match objectives.iter().find_map(grouping) {
            Some((objective, labels)) => Err(SloError::Grouped { objective, labels }),
            None => Ok(objectives),
        }
    }
}

fn grouping(objective: &Objective) -> Option<(String, String)> {
    match &objective.indicator {
        Indicator::Promql(Promql::Good { grouping, .. } | Promql::Bad { grouping, .. })
            if !grouping.is_empty() =>
        {
            Some((objective.id.clone(), grouping.join(", ")))
        }
        _ => None,
    }
}

/// Reads files, with `first` before them; every expression must be PromQL.
pub fn read<P: AsRef<Path>>(files: &[P], first: Option<&str>) -> Result<Vec<Objective>, SloError> {
    let mut texts: Vec<(String, Vec<u8>)> =
        first.map(|text| (BUILT_IN_NAME.to_owned(), text.as_bytes().to_vec())).into_iter().collect();
    for path in files {
        let path = path.as_ref();
        let bytes = input::read(path, slo::FILE_BYTES_MAX as u64)
            .map_err(|source| SloError::Unreadable { path: path.to_owned(), source })?;
        texts.push((path.display().to_string(), bytes));
    }
    let named: Vec<(&str, &[u8])> = texts.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
    let engine = Engine::new(Options::default());
    let check = |query: &str| engine.parse(query).map(drop).map_err(|error| error.to_string());
    slo::read_checked(&named, &check).map_err(SloError::Wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<Vec<Objective>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let slo = Slo { built_in: true, files: vec![file.path().to_owned()] };
        slo.objectives()
            .map_err(|error| error.to_string().replace(&file.path().display().to_string(), "slos.yaml"))
    }

    #[test]
    fn the_built_in_five_are_read_and_more_join_them() {
        let ids: Vec<String> =
            Slo::default().objectives().unwrap().into_iter().map(|objective| objective.id).collect();
        assert_eq!(
            ids,
            [
                "gateway-availability",
                "api-requests",
                "database-queries",
                "fleet-errors",
                "homeostat-self-healing"
            ]
        );
        let sloth = "version: prometheus/v1\nservice: cart\nslos:\n  - name: answers\n    objective: 99.9\n    sli:\n      events:\n        error_query: sum(rate(errors_total[{{.window}}]))\n        total_query: sum(rate(requests_total[{{.window}}]))\n    alerting: {name: CartBurns}\n";
        assert_eq!(with(sloth).unwrap().len(), 6);
    }

    #[test]
    fn what_is_no_promql_is_named_with_its_place_and_nothing_is_loaded() {
        let sloth = "version: prometheus/v1\nservice: cart\nslos:\n  - name: answers\n    objective: 99.9\n    sli:\n      events:\n        error_query: sum(rate(errors_total[{{.window}}])) +\n        total_query: sum(rate(requests_total[{{.window}}]))\n    alerting: {name: CartBurns}\n";
        let error = with(sloth).unwrap_err();
        assert!(error.contains("slos.yaml:8:"), "{error}");
        assert!(error.contains("error_query"), "{error}");
    }
}
