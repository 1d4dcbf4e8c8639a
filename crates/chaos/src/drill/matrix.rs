//! The fault matrix: which fault on which target, and what is expected to come of it.
//!
//! In: YAML under `drills/`. Out: rows. What a row expects is read by the scorer alone; the loop never sees
//! it.

use domain::{CauseClass, Fault, IssueKind, OutcomeKind, Reason, ResourceId, Strategy};
use serde::{Deserialize, Serialize};

/// The rows of a drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// In the order in which a drill without a seed takes them.
    pub rows: Vec<Row>,
}

/// One kind of run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name, unique in the matrix.
    pub name: String,
    /// What is injected. Its duration is longer than a run may take, so that a repair is never credited
    /// with the fault's own end.
    pub fault: Fault,
    /// What is expected.
    pub expect: Expect,
    /// Whether the short drill includes it.
    #[serde(default)]
    pub short: Selection,
    /// Whether the demo includes it.
    #[serde(default)]
    pub demo: Selection,
}

/// Whether a row belongs to a smaller selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Selection {
    /// It does not.
    #[default]
    Excluded,
    /// It does.
    Included,
}

/// What is expected of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The type of the issue that names the fault.
    pub issue: IssueKind,
    /// Its reason.
    pub reason: Reason,
    /// Where the true cause is, and of what class.
    pub cause: TrueCause,
    /// The strategy that repairs it; `None`: the keeper's standing restart does.
    pub strategy: Option<Strategy>,
    /// The verdict.
    pub outcome: OutcomeKind,
}

/// The cause a run injects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrueCause {
    /// Where.
    pub resource: ResourceId,
    /// Of what class.
    pub class: CauseClass,
}

/// Why a matrix cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MatrixError {
    /// It cannot be read.
    #[error("{name}: {why}")]
    Unreadable {
        /// Which file.
        name: String,
        /// With line and column.
        why: String,
    },
    /// A row cannot be run.
    #[error("{name}: row {row}: {field} {why}")]
    Row {
        /// Which file.
        name: String,
        /// Which row.
        row: String,
        /// Which field.
        field: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Matrix {
    /// Reads a matrix; `name` is the file's, for errors.
    ///
    /// # Errors
    ///
    /// [`MatrixError`], naming the line or the row and the field.
    pub fn parse(name: &str, yaml: &str) -> Result<Self, MatrixError> {
        let matrix: Self = serde_saphyr::from_str(yaml)
            .map_err(|error| MatrixError::Unreadable { name: name.to_owned(), why: error.to_string() })?;
        let mut names = std::collections::BTreeSet::new();
        for row in &matrix.rows {
            let error = |field: &str, why: String| MatrixError::Row {
                name: name.to_owned(),
                row: row.name.clone(),
                field: field.to_owned(),
                why,
            };
            if !names.insert(&row.name) {
                return Err(error("name", "is used twice".to_owned()));
            }
            if let Some((field, why)) = row.fault.check().into_iter().next() {
                return Err(error(&format!("fault.{field}"), why));
            }
        }
        Ok(matrix)
    }

    /// The matrix that ships with Homeostat, for the demo fleet.
    ///
    /// # Errors
    ///
    /// [`MatrixError`] where the shipped file is broken, which a test rules out.
    pub fn shipped() -> Result<Self, MatrixError> {
        Self::parse("drills/matrix.yaml", include_str!("../../../../drills/matrix.yaml"))
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn the_shipped_matrix_reads_and_has_eight_short_and_three_demo_rows() {
        let matrix = Matrix::shipped().unwrap();
        let count = |pick: fn(&Row) -> Selection| {
            matrix.rows.iter().filter(|row| pick(row) == Selection::Included).count()
        };
        assert_eq!((count(|row| row.short), count(|row| row.demo)), (8, 3));
    }

    #[test]
    fn a_fault_out_of_range_is_named_with_its_row_and_field() {
        let yaml = "rows:\n- name: late\n  fault: {target: link/front->cart, duration: 60s, kind: {network_latency: {delay: 9s, jitter: 0ms, scope: all}}}\n  expect: {issue: network_latency, reason: all_backends, cause: {resource: link/front->cart, class: path_slow}, strategy: circuit_break_dependency, outcome: mitigated}\n";
        let error = Matrix::parse("m.yaml", yaml).unwrap_err().to_string();
        assert!(error.contains("late") && error.contains("fault.delay"), "{error}");
    }
}
