//! Who may ask for a field: the one guard of the whole schema.
//!
//! In: the identity behind the operation and the permission that a field names. Out: yes, or the same refusal as REST
//! gives. Every field of the three roots names one; what lies below a root field needs nothing more.

use async_graphql::{Context, Guard};
use domain::{Identity, Permission};

use super::operation::Operation;
use crate::access::AccessError;
use crate::problem::Problem;

/// Lets a field through for whoever holds this.
pub(super) struct Needs(pub(super) Permission);

impl Guard for Needs {
    async fn check(&self, context: &Context<'_>) -> async_graphql::Result<()> {
        // Whoever forgot to say who asks lets nobody in.
        let Some(identity) = context.data_opt::<Identity>() else {
            return Err(Problem::from(AccessError::TokenMissing { permission: self.0 }).into());
        };
        if identity.may(self.0) {
            return Ok(());
        }
        let problem = Problem::from(AccessError::lacks(identity, self.0));
        if let Ok(operation) = Operation::of(context) {
            operation.refused(context.field().name(), &problem);
        }
        Err(problem.into())
    }
}
