//! The schema: three roots with their bounds.

use async_graphql::Schema as Library;

use super::mutation::Mutation;
use super::query::Query;
use super::subscription::Subscription;

pub(super) type Schema = Library<Query, Mutation, Subscription>;

/// What an operation may cost: a field one, a list as often as its rows.
const COST_MAX: usize = 10_000;

/// Directives of one field.
const DIRECTIVES_MAX: usize = 4;

/// The schema.
pub(super) fn schema() -> Schema {
    Library::build(Query, Mutation, Subscription)
        .limit_complexity(COST_MAX)
        .limit_directives(DIRECTIVES_MAX)
        .finish()
}
