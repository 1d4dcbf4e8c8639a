//! Durations over time, a mark for each trace: circles, and squares for those with errors.
//!
//! Across, positions are percentages, so that the picture fits every width. Durations are on a logarithmic axis: what is
//! ten times slower stands the same step higher wherever it is.

use maud::{Markup, html};
use telemetry::TraceSummary;

use super::units;
use crate::page::marks::{self, Meaning};
use crate::page::time::clock_face;

const HEIGHT: f64 = 168.0;
/// Above the highest and below the lowest mark.
const MARGIN: f64 = 14.0;

/// The picture; nothing where there are fewer than two traces, of which a table says all.
pub(super) fn draw(traces: &[TraceSummary]) -> Markup {
    let (Some(first), Some(last)) = (
        traces.iter().map(|trace| trace.start_unix_nano).min(),
        traces.iter().map(|trace| trace.start_unix_nano).max(),
    ) else {
        return html! {};
    };
    if traces.len() < 2 {
        return html! {};
    }
    let axis = LogAxis::over(traces.iter().map(|trace| trace.duration_nano));
    let width = (last - first).max(1) as f64;
    // A little room left and right: a mark stands whole inside.
    let across = |nano: u64| 0.015 + 0.97 * (nano - first) as f64 / width;
    let errors = traces.iter().filter(|trace| trace.errors > 0).count();
    html! {
        figure class="scatter" {
            figcaption class="quiet" {
                "Duration over time, a mark for each trace"
                @if errors > 0 { "; a square has errors" }
            }
            div class="plot" {
                svg class="scale" height=(HEIGHT) aria-hidden="true" {
                    @for nano in axis.ticks() { text x="100%" y=(axis.y(nano) + 4.0) { (units::duration(nano)) } }
                }
                svg height=(HEIGHT) role="group" aria-label={ (traces.len()) " traces by time and duration" } {
                    @for nano in axis.ticks() { @let y = format!("{:.1}", axis.y(nano)); line class="grid" x1="0" x2="100%" y1=(y) y2=(y) {} }
                    // Those with errors are drawn last, so that nothing hides them.
                    @for trace in traces.iter().filter(|trace| trace.errors == 0) { (point(trace, &units::at(across(trace.start_unix_nano)), axis.y(trace.duration_nano))) }
                    @for trace in traces.iter().filter(|trace| trace.errors > 0) { (point(trace, &units::at(across(trace.start_unix_nano)), axis.y(trace.duration_nano))) }
                }
            }
            div class="ends quiet" aria-hidden="true" {
                span { (clock_face((first / 1000) as i64, true)) } span { (clock_face((last / 1000) as i64, true)) " UTC" }
            }
        }
    }
}

fn point(trace: &TraceSummary, x: &str, y: f64) -> Markup {
    let failed = match trace.errors {
        0 => String::new(),
        n => format!(", {}", crate::page::sentence::count(n, "error", "errors")),
    };
    let title = format!(
        "{}: {}, {}{failed}",
        trace.root_service,
        trace.root_operation,
        units::duration(trace.duration_nano)
    );
    html! {
        a class={ "item " @if trace.errors > 0 { "bad" } @else { "plain" } } href={ "/traces/" (trace.trace_id) } aria-label=(title) {
            title { (title) }
            @if trace.errors > 0 {
                g transform="translate(-6 -6)" { (marks::shape_at(Meaning::Bad, x, y as usize)) }
            } @else {
                circle cx=(x) cy=(format!("{y:.1}")) r="4" {}
            }
        }
    }
}

/// A logarithmic axis of durations, upwards.
#[derive(Debug, Clone, Copy)]
struct LogAxis {
    low: f64,
    high: f64,
}

impl LogAxis {
    fn over(nanos: impl Iterator<Item = u64> + Clone) -> Self {
        let low = nanos.clone().min().unwrap_or(1).max(1) as f64;
        let high = nanos.max().unwrap_or(1).max(1) as f64;
        // At least a factor of four, or a few equal durations would look like wide differences.
        let room = ((4.0 * low / high).max(1.0)).sqrt();
        Self { low: (low / room).ln(), high: (high * room).ln() }
    }

    fn y(self, nano: u64) -> f64 {
        let share = ((nano.max(1) as f64).ln() - self.low) / (self.high - self.low).max(1e-9);
        HEIGHT - MARGIN - share.clamp(0.0, 1.0) * (HEIGHT - 2.0 * MARGIN)
    }

    fn ticks(self) -> Vec<u64> {
        ticks(self.low, self.high)
    }
}

/// Round durations between two logarithms of nanoseconds, at most about six.
pub(super) fn ticks(low: f64, high: f64) -> Vec<u64> {
    let inside = |nano: &u64| (low..=high).contains(&(*nano as f64).ln());
    let of = |steps: &[u64]| -> Vec<u64> {
        (0..14)
            .flat_map(|power| steps.iter().map(move |step| step * 10u64.pow(power)))
            .filter(inside)
            .collect()
    };
    [&[1, 2, 5][..], &[1, 3], &[1]]
        .into_iter()
        .map(of)
        .find(|ticks| ticks.len() <= 6)
        .unwrap_or_else(|| of(&[1]).into_iter().step_by(2).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_times_slower_is_the_same_step_higher_everywhere() {
        let axis = LogAxis::over([1_000u64, 10_000_000].into_iter());
        let step = |nano: u64| axis.y(nano) - axis.y(nano * 10);
        assert!(step(1_000) > 1.0 && (step(1_000) - step(1_000_000)).abs() < 1e-6);
    }

    #[test]
    fn an_axis_has_a_few_ticks_inside_it() {
        for (low, high) in [(5, 5), (400_000_000, 412_000_000), (1, 100_000_000_000), (0, 0)] {
            let axis = LogAxis::over([low, high].into_iter());
            let ticks = axis.ticks();
            assert!((1..=7).contains(&ticks.len()), "{low}–{high}: {ticks:?}");
            assert!(ticks.iter().all(|tick| (0.0..=HEIGHT).contains(&axis.y(*tick))));
        }
    }
}
