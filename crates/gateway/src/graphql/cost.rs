//! What an operation may cost: a field one, a list as often as the rows that are asked for.
//!
//! In: what the library counted while it validated the operation. Out: the operation, or a refusal by our own code that says
//! how much was asked for; the library's own bound says neither.

use std::sync::Arc;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextValidation};
use async_graphql::{ServerError, ValidationResult, async_trait};

use super::refusal::error;
use crate::problem::{Code, Problem};

/// The most that is taken.
const COST_MAX: usize = 10_000;

/// Bounds it, for every operation of a schema.
pub(super) struct Cost;

impl ExtensionFactory for Cost {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait::async_trait]
impl Extension for Cost {
    async fn validation(
        &self,
        context: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        let counted = next.run(context).await?;
        if counted.complexity <= COST_MAX {
            return Ok(counted);
        }
        Err(vec![error(Problem::new(
            Code::QueryTooComplex,
            format!(
                "the operation costs {}, at most {COST_MAX} is taken: each row of a list counts as often as it is asked for; \
                 ask for fewer rows by `first`, or for lists one after another",
                counted.complexity
            ),
        ))])
    }
}
