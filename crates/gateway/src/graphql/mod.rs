//! GraphQL: the state, what can be changed, and what happens, as one schema.
//!
//! In: operations over HTTP ([`http`]) and over a WebSocket ([`socket`]). Out: answers from the same store, loops and
//! permissions as REST, with the same codes of errors. Each field of a root names the permission it asks for
//! ([`permission`]); a document is bounded before it is validated ([`bounds`]).
//!
//! To add a type: a file in [`types`] and the field that leads to it. Deliberately absent: what no engine stands behind,
//! such as predictions, and batches of operations.

mod bounds;
mod cost;
mod feed;
mod graphiql;
mod http;
mod mutation;
mod operation;
mod page;
mod permission;
mod query;
mod refusal;
mod scalars;
mod schema;
mod socket;
mod subscription;
#[cfg(test)]
mod tests;
mod types;

use std::sync::Arc;

use axum::http::Method;
use axum::routing::get;
use domain::Permission;
use tokio::sync::Semaphore;

use crate::endpoint::{Access, Endpoint};

/// The API whose addresses these are: described by its own introspection.
pub(crate) const API: &str = "GraphQL";

/// Operations that run at a time, a quarter of the threads there are for calls that block.
const TURNS: usize = 4;

/// What is shared by all operations.
pub(crate) struct GraphQl {
    schema: schema::Schema,
    turns: Arc<Semaphore>,
    sockets: Arc<Semaphore>,
    feeds: feed::Feeds,
}

impl GraphQl {
    pub(crate) fn new() -> Self {
        Self {
            schema: schema::schema(),
            turns: Arc::new(Semaphore::new(TURNS)),
            sockets: Arc::new(Semaphore::new(socket::SOCKETS)),
            feeds: feed::Feeds::default(),
        }
    }

    /// Waits until every WebSocket has ended.
    pub(crate) async fn sockets_ended(&self) {
        let all = u32::try_from(socket::SOCKETS).unwrap_or(u32::MAX);
        // An error says that the permits are no longer given, and then there are none.
        let _ = self.sockets.acquire_many(all).await;
    }

    /// WebSockets that are open.
    pub(crate) fn open_sockets(&self) -> usize {
        socket::SOCKETS - self.sockets.available_permits()
    }
}

/// Its endpoints. Whoever may read the state reaches them; each field then asks for its own permission.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let read = Permission::StateRead;
    let both = get(http::answer).post(http::answer);
    vec![
        Endpoint::foreign(Method::POST, read, "/graphql", API, "graphql.operation", both).may_change(),
        Endpoint::foreign(Method::GET, read, "/graphiql", API, "graphql.page", get(graphiql::page)),
        Endpoint::foreign(
            Method::GET,
            Access::Open,
            "/assets/graphiql/{name}",
            API,
            "graphql.asset",
            get(graphiql::asset),
        ),
        // A client may say who it is in its first message alone, and may read nothing before.
        Endpoint::foreign(Method::GET, Access::Open, "/graphql/ws", API, "graphql.socket", get(socket::open)),
    ]
}

pub(crate) use http::is_mutation;

/// The schema in its own language, as `docs/reference/schema.graphql` has it.
pub fn schema_text() -> String {
    schema::schema().sdl()
}
