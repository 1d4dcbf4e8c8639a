//! A program without a runtime: a local trace, work on another thread, an error, and an orderly end.
//!
//! `cargo run -p homeostat-tracer --example sync`, with a receiver of OTLP on port 4318 (or without: then the
//! counters say so).

use std::time::Duration;

use homeostat_tracer::{Kind, Sampler, Tracer, span, task};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tracer = Tracer::builder("report")
        .attribute("service.version", env!("CARGO_PKG_VERSION"))
        .sampler(Sampler::Always)
        .build()?;
    {
        let job = tracer.root("nightly report").enter();
        job.attribute("report.rows", 3);
        // A branch: begun here, so that it is a child of the job; ended there.
        let sum = task("sum up");
        let worker = std::thread::spawn(move || {
            let sum = sum.enter();
            (1..=3).for_each(|row| drop(span(format!("row {row}"))));
            sum.event("done", &[("rows", 3.into())]);
        });
        let read = span("read prices").kind(Kind::Client);
        if let Err(error) = std::fs::read_to_string("/no/such/prices") {
            read.record_error(&error);
        }
        drop(read);
        worker.join().map_err(|_| "the worker panicked")?;
    }
    if let Err(error) = tracer.shutdown(Duration::from_secs(2)) {
        eprintln!("{error}");
    }
    print!("{}", tracer.metrics().prometheus());
    Ok(())
}
