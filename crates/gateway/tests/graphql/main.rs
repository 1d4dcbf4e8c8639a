//! GraphQL over real HTTP and WebSockets: a served gateway, an in-memory store.

#[path = "../support/mod.rs"]
mod support;

mod foreign;
mod graphiql;
mod limits;
mod mutations;
mod queries;
mod schema;
mod socket;

/// A definition that can be brought up.
const SHOP: &str = "
name: shop
services:
  cart:
    command: [cart]
    replicas: 2
    environment: { PASSWORD: canary-4711 }
";
