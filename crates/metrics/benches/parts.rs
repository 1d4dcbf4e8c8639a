//! Columns of numbers: bytes and time for each sample, by kind of series, beside what Gorilla would take.
//!
//! `cargo bench -p metrics --features bench --bench parts`. Bytes are printed before the times. Gorilla's are counted as its
//! paper says (Pelkonen et al., 2015, §4.1.2), not written.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use metrics::bench::{columns, put_floats, read_floats};

/// Two hours at a second.
const SECONDS: u32 = 7200;

fn parts(criterion: &mut Criterion) {
    let kinds = columns(SECONDS, 1);
    for (name, columns) in &kinds {
        let ours: usize = columns.iter().map(|column| put_floats(column).len()).sum();
        let gorilla: u64 = columns.iter().map(|column| gorilla_bits(column) / 8).sum();
        let samples = (columns.len() * SECONDS as usize) as f64;
        eprintln!(
            "{name:40} {:6.3} B a sample, Gorilla {:6.3}",
            ours as f64 / samples,
            gorilla as f64 / samples
        );
    }
    let mut group = criterion.benchmark_group("columns");
    group.throughput(Throughput::Elements(u64::from(SECONDS)));
    for (name, columns) in &kinds {
        let column = &columns[0];
        group.bench_with_input(BenchmarkId::new("put", name), column, |bencher, column| {
            bencher.iter(|| put_floats(column));
        });
        let bytes = put_floats(column);
        group.bench_with_input(BenchmarkId::new("read", name), &bytes, |bencher, bytes| {
            bencher.iter(|| read_floats(bytes, SECONDS as usize));
        });
    }
    group.finish();
}

/// Bits of a column as Gorilla writes it.
fn gorilla_bits(column: &[f64]) -> u64 {
    let mut bits = 64;
    let (mut leading, mut trailing) = (u32::MAX, 0);
    for two in column.windows(2) {
        let xor = two[0].to_bits() ^ two[1].to_bits();
        if xor == 0 {
            bits += 1;
        } else if leading != u32::MAX && xor.leading_zeros() >= leading && xor.trailing_zeros() >= trailing {
            bits += 2 + u64::from(64 - leading - trailing);
        } else {
            (leading, trailing) = (xor.leading_zeros().min(31), xor.trailing_zeros());
            bits += 2 + 5 + 6 + u64::from(64 - leading - trailing);
        }
    }
    bits
}

criterion_group!(benches, parts);
criterion_main!(benches);
