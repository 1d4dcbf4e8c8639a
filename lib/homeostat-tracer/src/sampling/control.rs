//! The control loop of adaptive sampling: once a second, from what was seen to what is kept.
//!
//! In: what the last second cost and how many spans each operation recorded. Out: a share for each operation.
//! A pure step over a small state, so that a virtual clock drives it in tests.
//!
//! The budget is CPU time. What recording costs is spent whatever the rate, because spans are recorded always
//! and decided when the local root ends; what is left buys exported spans, at the price measured while
//! exporting. The budget is shared by filling up: an operation that needs less than an equal share keeps
//! everything, and what it leaves goes to the others. So a rare operation is not starved by a busy one.

use std::time::Duration;

use super::operations::Load;

/// The budget of adaptive sampling.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adaptive {
    /// The share of the process's CPU time that tracing may take, 0 to 1: recording, encoding and sending.
    pub overhead: f64,
    /// The most spans to export in a second, where that is to be limited as well. Failed and slow traces count
    /// against it and are kept beyond it.
    pub spans_per_second: Option<f64>,
    /// The least share of an operation's traces that is kept.
    pub rate_min: f64,
    /// The greatest share of an operation's traces that is kept.
    pub rate_max: f64,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self { overhead: 0.01, spans_per_second: None, rate_min: 0.01, rate_max: 1.0 }
    }
}

/// What an exported span costs before anything was measured: encoding and sending, in seconds of CPU.
const COST_ASSUMED: f64 = 2e-6;

/// How much a new measurement of the cost counts.
const COST_GAIN: f64 = 0.3;

/// Exported spans needed for a measurement of the cost.
const COST_SPANS_MIN: u64 = 100;

/// How much a new second counts for the load. Rising load is believed sooner than falling load: exceeding a
/// budget is worse than keeping too little. After five seconds at most 0.35^5 = 0.5 % of a step is left.
const RISE_GAIN: f64 = 0.8;
const FALL_GAIN: f64 = 0.65;

/// CPU time of a process is taken to be at least this share of a core: 1 % of nothing is nothing, and an idle
/// service can afford its few traces.
const CPU_SHARE_MIN: f64 = 0.05;

/// What was seen since the last step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) elapsed: Duration,
    /// CPU time of the whole process.
    pub(crate) process_cpu: Duration,
    /// CPU time spent recording, in the service's own threads.
    pub(crate) recording: Duration,
    /// CPU time of the export threads.
    pub(crate) exporting: Duration,
    /// Spans these threads handled.
    pub(crate) exported: u64,
    /// By operation; the length may grow from step to step.
    pub(crate) loads: Vec<Load>,
}

#[derive(Debug)]
pub(crate) struct Control {
    budget: Adaptive,
    cost: f64,
    /// Spans a second subject to the rate, by operation.
    rates: Vec<Smoothed>,
    always: Smoothed,
    cpu: Smoothed,
}

/// A moving mean that starts at its first value.
#[derive(Debug, Clone, Copy, Default)]
struct Smoothed(Option<f64>);

impl Smoothed {
    fn push(&mut self, value: f64) -> f64 {
        let next =
            self.0.map_or(value, |old| old + (value - old) * if value > old { RISE_GAIN } else { FALL_GAIN });
        self.0 = Some(next);
        next
    }
}

impl Control {
    pub(crate) fn new(budget: Adaptive) -> Self {
        let smoothed = Smoothed::default();
        Self { budget, cost: COST_ASSUMED, rates: Vec::new(), always: smoothed, cpu: smoothed }
    }

    /// The share of traces to keep, by operation.
    pub(crate) fn step(&mut self, seen: &Seen) -> Vec<f64> {
        let seconds = seen.elapsed.as_secs_f64().max(1e-3);
        if seen.exported >= COST_SPANS_MIN {
            let measured = seen.exporting.as_secs_f64() / seen.exported as f64;
            self.cost += (measured - self.cost) * COST_GAIN;
        }
        self.rates.resize(seen.loads.len().max(self.rates.len()), Smoothed::default());
        let always: u64 = seen.loads.iter().map(|load| load.always).sum();
        let always = self.always.push(always as f64 / seconds);
        let loads: Vec<f64> = self
            .rates
            .iter_mut()
            .zip(&seen.loads)
            .map(|(rate, load)| rate.push(load.spans.saturating_sub(load.always) as f64 / seconds))
            .collect();
        let affordable = (self.affordable(seen, seconds) - always).max(0.0);
        self.shares(&loads, affordable)
    }

    /// Spans a second that the budget pays for.
    fn affordable(&mut self, seen: &Seen, seconds: f64) -> f64 {
        let cpu = self.cpu.push(seen.process_cpu.as_secs_f64() / seconds).max(CPU_SHARE_MIN);
        let left = self.budget.overhead * cpu - seen.recording.as_secs_f64() / seconds;
        let by_time = left.max(0.0) / self.cost.max(1e-9);
        self.budget.spans_per_second.map_or(by_time, |most| most.min(by_time))
    }

    fn shares(&self, loads: &[f64], affordable: f64) -> Vec<f64> {
        let mut order: Vec<usize> = (0..loads.len()).collect();
        order.sort_by(|a, b| loads[*a].total_cmp(&loads[*b]));
        let mut shares = vec![self.budget.rate_max; loads.len()];
        let mut left = affordable;
        for (place, operation) in order.iter().enumerate() {
            let load = loads[*operation];
            let equal = left / (loads.len() - place) as f64;
            let given = load.min(equal);
            left -= given;
            if load > 0.0 {
                let least = self.budget.rate_min.min(self.budget.rate_max);
                shares[*operation] = (given / load).clamp(least, self.budget.rate_max);
            }
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service under a virtual clock: what it records is given, what it exports follows from the shares.
    struct Service {
        control: Control,
        shares: Vec<f64>,
    }

    /// A span's cost in this world, in seconds of CPU.
    const RECORDING: f64 = 60e-9;
    const EXPORTING: f64 = 1.3e-6;

    impl Service {
        fn new(budget: Adaptive) -> Self {
            Self { control: Control::new(budget), shares: Vec::new() }
        }

        /// One second of this load; exported spans a second, and the share of CPU time that tracing took.
        fn second(&mut self, loads: &[f64], cpu: f64) -> (f64, f64) {
            self.shares.resize(loads.len(), 1.0);
            let exported: f64 = loads.iter().zip(&self.shares).map(|(load, share)| load * share).sum();
            let recording = loads.iter().sum::<f64>() * RECORDING;
            let tracing = recording + exported * EXPORTING;
            let seen = Seen {
                elapsed: Duration::from_secs(1),
                process_cpu: Duration::from_secs_f64(cpu),
                recording: Duration::from_secs_f64(recording),
                exporting: Duration::from_secs_f64(exported * EXPORTING),
                exported: exported as u64,
                loads: loads.iter().map(|load| Load { spans: *load as u64, always: 0 }).collect(),
            };
            self.shares = self.control.step(&seen);
            (exported, tracing / cpu)
        }
    }

    #[test]
    fn overhead_settles_within_five_seconds_of_a_tenfold_step_up_and_down() {
        let mut service = Service::new(Adaptive::default());
        let (low, high) = ([2_000.0, 8_000.0, 30.0], [20_000.0, 80_000.0, 300.0]);
        (0..20).for_each(|_| {
            service.second(&low, 1.0);
        });
        for (loads, cpu) in [(&high, 1.8), (&low, 1.0), (&high, 1.8)] {
            (0..5).for_each(|_| {
                service.second(loads, cpu);
            });
            for second in 5..15 {
                let (_, overhead) = service.second(loads, cpu);
                assert!((0.0085..0.0115).contains(&overhead), "second {second}: {overhead}");
            }
            assert_eq!(service.shares[2], 1.0, "a rare operation is kept whole");
            assert!(service.shares.iter().all(|share| (0.01..=1.0).contains(share)), "{:?}", service.shares);
        }
    }

    #[test]
    fn exported_spans_settle_at_their_limit() {
        let budget = Adaptive { spans_per_second: Some(1_000.0), overhead: 1.0, ..Adaptive::default() };
        let mut service = Service::new(budget);
        (0..10).for_each(|_| {
            service.second(&[1_000.0, 4_000.0], 1.0);
        });
        (0..5).for_each(|_| {
            service.second(&[10_000.0, 40_000.0], 1.0);
        });
        let (exported, _) = service.second(&[10_000.0, 40_000.0], 1.0);
        assert!((950.0..1_050.0).contains(&exported), "{exported}");
    }

    #[test]
    fn rates_stay_between_one_and_a_hundred_percent() {
        let mut service = Service::new(Adaptive::default());
        (0..20).for_each(|_| {
            service.second(&[50_000_000.0, 0.0], 1.0);
        });
        assert_eq!(service.shares, [0.01, 1.0]);
        (0..20).for_each(|_| {
            service.second(&[10.0, 0.0], 1.0);
        });
        assert_eq!(service.shares, [1.0, 1.0]);
    }

    #[test]
    fn what_is_kept_always_is_paid_from_the_same_budget() {
        let budget = Adaptive { spans_per_second: Some(1_000.0), overhead: 1.0, ..Adaptive::default() };
        let mut control = Control::new(budget);
        let seen = |always| Seen {
            elapsed: Duration::from_secs(1),
            process_cpu: Duration::from_secs(1),
            loads: vec![Load { spans: 10_000, always }],
            ..Seen::default()
        };
        let without = control.step(&seen(0))[0];
        (0..10).for_each(|_| {
            control.step(&seen(500));
        });
        let with = control.step(&seen(500))[0];
        assert!((without - 0.1).abs() < 0.001 && with < 0.06, "{without} {with}");
    }
}
