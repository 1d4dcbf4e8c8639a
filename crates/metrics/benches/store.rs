//! The store under load, as `homeostat bench metrics` runs it, without the binary around it.
//!
//! `cargo bench -p metrics --features bench --bench store -- [SECONDS [MANY_SERIES]]`

use metrics::bench::{Plan, corpus, method, run};

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<u32>().ok());
    let dir = tempfile::Builder::new().prefix("bench-metrics-").tempdir_in(".").expect("a directory");
    let plan = Plan {
        dir: dir.path().to_owned(),
        targets: 4,
        seconds: numbers.next().unwrap_or(6 * 3600),
        senders: 4,
        queries: 20,
        many_series: numbers.next().unwrap_or(0),
        seed: 1,
    };
    println!("{}\n{}", method(&plan), corpus(&plan));
    match run(&plan) {
        Ok(figures) => println!("{figures:#?}"),
        Err(error) => println!("{error}"),
    }
}
