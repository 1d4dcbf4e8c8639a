//! Tracing for Rust services: spans at tens of nanoseconds, W3C context in and out, adaptive sampling that
//! keeps every error and every slow request, OTLP to any receiver.
//!
//! ```no_run
//! use homeostat_tracer::{Kind, Tracer, span};
//! use std::time::Duration;
//!
//! let tracer = Tracer::builder("checkout").attribute("service.version", "1.4.2").build()?;
//! let _shutdown = tracer.shutdown_on_drop(Duration::from_secs(5));
//!
//! let request = tracer.root("POST /order").kind(Kind::Server).enter();
//! request.attribute("order.items", 3);
//! {
//!     let query = span("SELECT stock").kind(Kind::Client);
//!     query.attribute("db.system.name", "postgresql");
//! } // the query ends here
//! drop(request); // and the local trace here: now it is decided whether it is kept
//! # Ok::<(), homeostat_tracer::BuildError>(())
//! ```
//!
//! # Where things are
//!
//! | to | use |
//! |---|---|
//! | configure and start | [`Tracer::builder`], [`install`] |
//! | begin a local trace | [`Tracer::root`], [`root`] |
//! | record work on this thread | [`span`] |
//! | follow work to another thread or task | [`task`], [`task_of`], [`Context`], [`InSpan`] |
//! | read and write headers | [`propagation`], [`Baggage`] |
//! | choose what is kept | [`Sampler`], [`Adaptive`] |
//! | know what became of each span | [`Tracer::metrics`] |
//! | use it with `tracing`, tower, reqwest | the modules of these names, behind features |
//!
//! # Guarantees
//!
//! - Nothing here blocks a thread of the service: what does not fit into the queue's bound is dropped.
//! - Every recorded span is counted once as exported, failed or dropped, with the reason ([`Metrics`]).
//! - Memory is bounded: see [`Builder::queue_bytes`], [`DETAILS_MAX`], [`TEXT_BYTES_MAX`],
//!   [`OPEN_SPANS_MAX`].
//! - No byte of a header makes it panic, and malformed context begins a new trace.
//!
//! # What it deliberately does not do
//!
//! Metrics and logs; TLS without the feature `tls` (give a [`Transport`]); attributes with arrays; ending a span at another time than
//! now; sampling across services by anything but a trace's own randomness.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]

mod adapters;
mod baggage;
#[cfg(feature = "bench")]
pub mod bench;
mod buffer;
mod builder;
mod clock;
mod context;
mod counters;
mod export;
mod future;
mod ids;
mod join;
mod local;
pub mod propagation;
#[cfg(any(test, feature = "fuzz"))]
pub mod properties;
mod sampling;
mod shutdown;
mod span;
mod tracer;
mod value;

#[cfg(feature = "reqwest")]
pub use adapters::reqwest;
#[cfg(feature = "tower")]
pub use adapters::tower;
#[cfg(feature = "tracing")]
pub use adapters::tracing;
pub use baggage::{BAGGAGE_BYTES_MAX, BAGGAGE_MEMBERS_MAX, Baggage};
pub use buffer::{DETAILS_MAX, OPEN_SPANS_MAX, TEXT_BYTES_MAX};
pub use builder::{BuildError, Builder};
pub use context::Context;
pub use counters::{Metrics, REASONS, Reason};
pub use export::{Compression, Delivery, FlushError, Transport};
pub use future::{InSpan, Scoped, Traced};
pub use ids::{IdError, SpanId, TraceId};
pub use sampling::{Adaptive, Sampler};
pub use shutdown::ShutdownOnDrop;
pub use span::{Entered, LocalSpan, Span, SpanBuilder, span, task, task_of};
pub use tracer::{Tracer, install, installed, root};
pub use value::{Kind, Status, Value};
