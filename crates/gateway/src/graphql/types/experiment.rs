//! Faults that were injected on purpose.

use async_graphql::{ID, Object};
use serde_json::{Map, Value};
use store::ExperimentRecord;

use crate::graphql::scalars::DateTime;
use crate::shapes;

/// Faults and targets, with what came of it.
pub(in crate::graphql) struct Experiment {
    pub(in crate::graphql) record: ExperimentRecord,
    document: Map<String, Value>,
}

impl From<ExperimentRecord> for Experiment {
    fn from(record: ExperimentRecord) -> Self {
        let document = shapes::document(&record);
        Self { record, document }
    }
}

impl Experiment {
    fn text(&self, field: &str) -> Option<&str> {
        self.document.get(field)?.as_str()
    }

    fn number(&self, field: &str) -> Option<f64> {
        self.document.get(field)?.as_f64()
    }
}

/// Faults and targets, with what came of it. What is not known is null.
#[Object]
impl Experiment {
    /// Its id.
    async fn id(&self) -> ID {
        ID(self.record.id.to_string())
    }

    /// What people call it.
    async fn name(&self) -> Option<&str> {
        self.text("name")
    }

    /// What is injected.
    async fn r#type(&self) -> Option<&str> {
        self.text("type")
    }

    /// Where it is in its life.
    async fn status(&self) -> &str {
        self.record.status.name()
    }

    /// How much harm it may do.
    async fn severity(&self) -> Option<&str> {
        self.text("severity")
    }

    /// How careful one has to be.
    async fn safety_level(&self) -> Option<&str> {
        self.text("safety_level")
    }

    /// For how long at most.
    async fn duration_seconds(&self) -> Option<f64> {
        self.number("duration_seconds")
    }

    /// How long recovery took.
    async fn recovery_time_seconds(&self) -> Option<f64> {
        self.number("recovery_time_seconds")
    }

    /// Whether what was expected held.
    async fn passed(&self) -> Option<bool> {
        self.document.get("passed")?.as_bool()
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        DateTime(self.record.created_at)
    }

    /// When it began, as RFC 3339 has it.
    async fn started_at(&self) -> Option<DateTime> {
        crate::api::time(self.text("started_at")?).map(DateTime)
    }

    /// When it ended.
    async fn completed_at(&self) -> Option<DateTime> {
        crate::api::time(self.text("completed_at")?).map(DateTime)
    }
}
