//! The whole trace at a glance: its rows from above, with what is on the page marked.

use std::collections::HashSet;
use std::ops::Range;

use maud::{Markup, html};
use telemetry::{StatusCode, Trace};

use super::units;
use crate::body::Query;

/// Bands the rows are put into: more could not be told apart.
const BANDS: usize = 64;
const BAND_HEIGHT: f64 = 1.5;

/// The picture. `rows` are the visible rows, `slice` those on the page, `path` those on the critical path.
pub(super) fn draw(
    trace: &Trace,
    rows: &[usize],
    slice: &Range<usize>,
    path: &HashSet<usize>,
    query: &Query,
) -> Markup {
    let per_band = rows.len().div_ceil(BANDS).max(1);
    let bands = rows.len().div_ceil(per_band);
    let height = bands as f64 * BAND_HEIGHT + 4.0;
    html! {
        svg class="minimap" viewBox={ "0 0 1000 " (height) } preserveAspectRatio="none" role="group"
            aria-label={ (units::grouped(rows.len())) " rows; rows " (slice.start + 1) " to " (slice.end) " are shown below" } {
            @if slice.len() < rows.len() {
                rect class="window" x="0" width="1000" y=(round(slice.start as f64 / per_band as f64 * BAND_HEIGHT + 1.0)) height=(round((slice.len() as f64 / per_band as f64 * BAND_HEIGHT).max(2.0))) {}
            }
            @for (band, members) in rows.chunks(per_band).enumerate() {
                @let (start, end) = reach(trace, members);
                @let failed = members.iter().any(|row| trace.spans()[*row].status == StatusCode::Error);
                @let class = if failed { "bad" } else if members.iter().any(|row| path.contains(row)) { "path" } else { "plain" };
                a href={ "?" (query.changed(&[("row", &(band * per_band).to_string())])) } tabindex="-1" data-part="waterfall" aria-label={ "Row " (band * per_band + 1) } {
                    rect class=(class) x=(round(start * 1000.0)) width=(round(((end - start) * 1000.0).max(2.0)))
                        y=(round(band as f64 * BAND_HEIGHT + 2.0)) height=(BAND_HEIGHT) {}
                }
            }
        }
    }
}

/// From the earliest start to the latest end of some rows, as shares of the trace.
fn reach(trace: &Trace, rows: &[usize]) -> (f64, f64) {
    let whole = trace.duration_nano().max(1) as f64;
    let share = |nano: u64| (nano - trace.start_unix_nano()) as f64 / whole;
    let spans = || rows.iter().map(|row| &trace.spans()[*row]);
    let start = spans().map(|span| span.start_unix_nano).min().unwrap_or(trace.start_unix_nano());
    let end = spans().map(telemetry::Span::end_unix_nano).max().unwrap_or(start);
    (share(start), share(end))
}

fn round(value: f64) -> String {
    format!("{value:.1}")
}
