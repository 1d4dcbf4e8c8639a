//! Recording and alerting rules, as Prometheus has them.
//!
//! ```text
//! files ──read_all──► RuleGroup ──evaluate──► Evaluated: samples to store, alerts that changed, Progress
//!                                   ▲  ▲                                                          │
//!             World: engine, series ┘  └──────────────── the next time ───────────────────────────┘
//! ```
//!
//! In: files; then, as often as the groups say, a time and series. Out: what rules record, which alerts are pending or fire,
//! and how rules stand, to whoever shows it ([`RuleStates`]).
//!
//! Deliberately absent: a clock, storage, and whoever is told of alerts.

mod alert;
mod file;
mod group;
mod overlay;
mod restore;
mod state;
mod template;
#[cfg(test)]
mod tests;

pub use alert::{ALERT_NAME, Alert, Phase};
pub use file::{Purpose, Rule, RuleFiles, RuleGroup, read_all};
pub use group::{Beginning, Evaluated, Progress, World, evaluate};
pub use state::{ActiveAlert, ActivePhase, GroupState, Health, RuleKind, RuleState, RuleStates};
pub use template::{Template, TemplateError};
pub use yaml::{FILE_BYTES_MAX, FileError, Problem};

/// The path under which a Prometheus shows an expression as a table.
pub fn table_link(expression: &str) -> String {
    template::link(expression, 1)
}

/// What a template says of an alert without labels.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn expanded(template: &Template, world: &World<'_>) -> String {
    let ask = |query: &str| {
        let expression = world.engine.parse(query).map_err(|error| error.to_string())?;
        let answer = world.engine.instant(&expression, 0, world.source, &world.limits);
        match answer.map_err(|error| error.to_string())?.value {
            crate::Answered::Vector(points) => Ok(points),
            _ => Err("no vector".to_owned()),
        }
    };
    let (labels, value) = (crate::Labels::default(), crate::Value::Float(1.5));
    let given = template::Given {
        labels: &labels,
        value: &value,
        external_labels: world.external_labels,
        external_url: world.external_url,
        at_ms: 0,
        ask: &ask,
    };
    template.expand(&given)
}
