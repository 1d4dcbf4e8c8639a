//! What the store of series holds, took in and left out.

use metrics::{Counters, Metrics, Status, Tier};

use super::{Exposition, escaped};

/// Writes it.
pub(super) fn write(text: &mut Exposition<'_>, store: &Metrics) {
    counted(text, store.counters());
    held(text, &store.status());
}

fn counted(text: &mut Exposition<'_>, counts: &Counters) {
    text.counter("metrics_samples_total", "samples taken in", counts.accepted.get());
    let refused = [
        ("repeated", &counts.repeated),
        ("duplicate", &counts.duplicate),
        ("too_old", &counts.too_old),
        ("ahead", &counts.ahead),
        ("over_limit", &counts.over_limit),
        ("malformed", &counts.malformed),
    ];
    let refused = refused.map(|(reason, counter)| (format!("reason=\"{reason}\""), counter.get() as f64));
    text.counters("metrics_samples_refused_total", "samples left out, by reason", &refused);
    for (name, help, counter) in [
        ("metrics_exemplars_refused_total", "exemplars left out", &counts.exemplars_refused),
        ("metrics_metadata_refused_total", "descriptions left out by a limit", &counts.metadata_refused),
        ("metrics_batches_overloaded_total", "batches refused: too much waited", &counts.overloaded),
        ("metrics_batches_backlogged_total", "batches refused: blocks were behind", &counts.backlogged),
        ("metrics_batches_disk_refused_total", "batches the disk did not take", &counts.disk_refused),
        ("metrics_commits_total", "group commits", &counts.commits),
        ("metrics_log_bytes_total", "bytes written to the log", &counts.log_bytes),
        ("metrics_flushes_total", "times that memory became blocks", &counts.flushes),
        ("metrics_flush_failures_total", "times that it should have", &counts.flush_failures),
        ("metrics_merges_total", "times that several blocks became one", &counts.merges),
        ("metrics_retired_blocks_total", "blocks that were too old or too much", &counts.retired),
    ] {
        text.counter(name, help, counter.get());
    }
}

fn held(text: &mut Exposition<'_>, status: &Status) {
    for (name, help, value) in [
        ("metrics_active_series", "series that got a sample of late", status.series as f64),
        ("metrics_active_series_limit", "from so many on new ones are refused", status.series_max as f64),
        ("metrics_head_bytes", "bytes of samples in memory", status.head_bytes as f64),
        ("metrics_exemplars", "exemplars in memory", status.exemplars as f64),
        (
            "metrics_damaged_files",
            "files that could not be read and were set aside",
            status.damaged.len() as f64,
        ),
    ] {
        text.gauge(name, help, &[("", value)]);
    }
    let of_sources = |value: fn(&metrics::SourceStatus) -> u64| -> Vec<(String, f64)> {
        let one = |source: &metrics::SourceStatus| {
            (format!("source=\"{}\"", escaped(source.name.as_str())), value(source) as f64)
        };
        status.sources.iter().map(one).collect()
    };
    let help = "active series, by who sent them first";
    text.gauge("metrics_source_active_series", help, &of_sources(|source| source.series));
    let help = "samples taken in, by source";
    text.counters("metrics_source_samples_total", help, &of_sources(|source| source.accepted));
    let help = "samples of series beyond the limit, by source";
    text.counters("metrics_source_over_limit_total", help, &of_sources(|source| source.over_limit));
    let tiers = |value: fn(&metrics::TierStatus) -> u64| -> Vec<(String, f64)> {
        let tiers = status.tiers.iter();
        tiers.map(|tier| (format!("tier=\"{}\"", word(tier.tier)), value(tier) as f64)).collect()
    };
    text.gauge("metrics_stored_bytes", "bytes of blocks, by tier", &tiers(|tier| tier.bytes));
    text.gauge("metrics_stored_samples", "samples in blocks, by tier", &tiers(|tier| tier.samples));
}

fn word(tier: Tier) -> &'static str {
    match tier {
        Tier::Raw => "raw",
        Tier::Minute => "minute",
        Tier::Hour => "hour",
    }
}
