//! What tracing costs on this machine, as one line of JSON: `cargo run --release --example cost --features bench`.

fn main() -> Result<(), homeostat_tracer::BuildError> {
    println!("{}", homeostat_tracer::bench::measure()?.json());
    Ok(())
}
