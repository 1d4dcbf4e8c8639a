//! The other side of what is sent over TLS, for tests: an authority made on the spot, and a server on loopback that has a
//! certificate of it.
//!
//! In: the names a certificate is for, and what to answer to each request. Out: the authority's certificate as a client is
//! given it, an address, and every request as it came.
//!
//! And the harm that comes to files: a table of a database is taken away.
//!
//! It is linked into nothing that ships, and panics where a machine does not let it work.

mod authority;
mod database;
mod server;

pub use authority::{Authority, Issued};
pub use database::take_table_away;
pub use server::{Request, Server, answer};
