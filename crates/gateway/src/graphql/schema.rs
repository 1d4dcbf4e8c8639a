//! The schema: three roots with their bounds.

use async_graphql::Schema as Library;

use super::cost::Cost;
use super::mutation::Mutation;
use super::query::Query;
use super::subscription::Subscription;

pub(super) type Schema = Library<Query, Mutation, Subscription>;

/// The schema.
pub(super) fn schema() -> Schema {
    Library::build(Query, Mutation, Subscription).extension(Cost).finish()
}
