//! The OTLP receivers over real sockets: what reaches the store, and what a client is told.
//!
//! The store is a script here, so that every refusal can be had; the real one has its own tests behind the binary.

mod grpc;
mod http;
mod metrics;
mod support;
