//! The picture: one horizontal axis, a lane each for issues, actions, faults and more, drawn as SVG.
//!
//! In: items with a beginning and an end. Out: markup. Positions are percentages, so that the picture
//! fits every width without a script. Items that overlap in time get rows of their own, at most [`ROWS`];
//! what does not fit is counted in words, never silently left out.

use maud::{Markup, html};

use crate::page::marks::{self, Meaning};
use crate::page::time::{clock_face, day_face};

/// Rows of one lane. More would push the rest of the page out of sight in a storm.
const ROWS: usize = 4;

const ROW_HEIGHT: usize = 20;
const BAR_HEIGHT: usize = 12;

/// The narrowest bar in percent of the width: an event without length must stay visible and clickable, and
/// hold its mark.
const BAR_WIDTH_MIN: f64 = 1.3;

/// The width of a label's character in percent: 7.2 px on a lane of 800 px.
const LABEL_WIDTH: f64 = 0.9;

/// The same on a lane of 560 px. What only has room on wide pages is shown on them only.
const LABEL_WIDTH_NARROW: f64 = 1.3;

/// The axis moves in steps of 1/300 of the window, so that live pages do not change every second.
const STEPS: i64 = 300;

/// One thing on the time line.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) begin_us: i64,
    /// `None`: still going on.
    pub(crate) end_us: Option<i64>,
    pub(crate) meaning: Meaning,
    /// Beside the bar, where there is room.
    pub(crate) label: String,
    /// On hover, and for screen readers.
    pub(crate) title: String,
    pub(crate) href: String,
    /// Things of the same group are shown together on hover.
    pub(crate) group: String,
}

/// One lane.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    pub(crate) name: &'static str,
    pub(crate) items: Vec<Item>,
}

/// The windows people can choose, in seconds, with their names.
pub(crate) const WINDOWS: [(&str, i64); 5] =
    [("15 min", 900), ("1 h", 3600), ("6 h", 21_600), ("24 h", 86_400), ("7 days", 604_800)];

/// The axis: wall clock microseconds of its two ends, and of now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    pub(crate) begin_us: i64,
    pub(crate) end_us: i64,
    pub(crate) now_us: i64,
}

impl Axis {
    /// The last `seconds`, with a little room on the right for what goes on.
    pub(crate) fn last(seconds: i64, now_us: i64) -> Self {
        let width_us = seconds * 1_000_000;
        let step_us = width_us / STEPS;
        let now_us = now_us.div_euclid(step_us) * step_us + step_us;
        Self { begin_us: now_us - width_us, end_us: now_us + width_us / 50, now_us }
    }

    /// From before `begin_us` to after `end_us`, for one issue.
    pub(crate) fn around(begin_us: i64, end_us: i64, now_us: i64) -> Self {
        let width_us = (end_us - begin_us).max(10_000_000);
        let margin_us = width_us / 10;
        Self { begin_us: begin_us - margin_us, end_us: begin_us + width_us + margin_us, now_us }
    }

    /// Exactly from one time to another.
    pub(crate) fn exact(begin_us: i64, end_us: i64, now_us: i64) -> Self {
        Self { begin_us, end_us: end_us.max(begin_us + 1_000_000), now_us }
    }

    /// Both ends in milliseconds, for the script that selects a part.
    pub(crate) fn ends_ms(self) -> String {
        format!("{} {}", self.begin_us.div_euclid(1000), self.end_us.div_euclid(1000))
    }

    pub(super) fn percent(self, us: i64) -> f64 {
        ((us - self.begin_us) as f64 / (self.end_us - self.begin_us) as f64 * 100.0).clamp(0.0, 100.0)
    }

    fn holds(self, item: &Item) -> bool {
        item.begin_us <= self.end_us && item.end_us.unwrap_or(self.now_us) >= self.begin_us
    }

    /// Round times on the axis, about six.
    fn ticks(self) -> Vec<i64> {
        const STEPS_S: [i64; 18] = [
            1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 172_800,
            432_000,
        ];
        let width_us = self.end_us - self.begin_us;
        let step_us = STEPS_S
            .iter()
            .map(|s| s * 1_000_000)
            .find(|step| width_us / step <= 7)
            .unwrap_or(432_000_000_000);
        let first = self.begin_us.div_euclid(step_us) * step_us + step_us;
        (0..8).map(|n| first + n * step_us).take_while(|us| *us < self.end_us).collect()
    }
}

/// The lanes over one axis.
/// `first` stands above them.
pub(crate) fn draw(axis: Axis, first: &Markup, lanes: &[Lane]) -> Markup {
    let ticks = axis.ticks();
    let width_us = axis.end_us - axis.begin_us;
    let face = |us: i64| match width_us {
        ..600_000_000 => clock_face(us, true),
        600_000_000..172_800_000_000 => clock_face(us, false),
        _ => day_face(us),
    };
    html! {
        (first)
        @for lane in lanes { (draw_lane(axis, lane, &ticks)) }
        div class="lane axis" aria-hidden="true" {
            span { "UTC" }
            svg height="20" {
                @for tick in &ticks {
                    text x={ (percent(axis.percent(*tick))) } y="14" { (face(*tick)) }
                }
            }
        }
    }
}

fn draw_lane(axis: Axis, lane: &Lane, ticks: &[i64]) -> Markup {
    let (rows, unplaced) = place(axis, &lane.items);
    let height = rows.len().max(1) * ROW_HEIGHT + 8;
    html! {
        div class="lane" {
            span {
                (lane.name)
                @if unplaced > 0 { " +" (unplaced) }
            }
            svg height=(height) role="group" aria-label={ (lane.name) ": " (lane.items.len()) } {
                @for tick in ticks {
                    line class="grid" x1=(percent(axis.percent(*tick))) x2=(percent(axis.percent(*tick))) y1="0" y2=(height) {}
                }
                @if axis.now_us < axis.end_us {
                    line class="now" x1=(percent(axis.percent(axis.now_us))) x2=(percent(axis.percent(axis.now_us))) y1="0" y2=(height) {}
                }
                @for (row, items) in rows.iter().enumerate() {
                    @for (place, item) in items.iter().enumerate() {
                        @let before = place.checked_sub(1).and_then(|place| items.get(place));
                        (draw_item(axis, item, row, before.copied(), items.get(place + 1).copied()))
                    }
                }
            }
        }
    }
}

fn draw_item(axis: Axis, item: &Item, row: usize, before: Option<&Item>, next: Option<&Item>) -> Markup {
    let (x, end) = span(axis, item);
    let y = row * ROW_HEIGHT + 4 + (ROW_HEIGHT - BAR_HEIGHT) / 2;
    let open = if item.end_us.is_none() { " open" } else { "" };
    html! {
        a class={ "item " (item.meaning.class()) (open) } href=(item.href) data-group=(item.group)
            data-key={ (item.href) "@" (item.begin_us) } {
            title { (item.title) }
            rect x=(percent(x)) width=(percent(end - x)) y=(y) height=(BAR_HEIGHT) {}
            (marks::shape_at(item.meaning, &percent(x), y))
            @let place = |width| label_place(axis, item, before, next, width);
            @if let Some(chosen) = place(LABEL_WIDTH) {
                @let wide = (place(LABEL_WIDTH_NARROW) != Some(chosen)).then_some("wide-only");
                @let (anchor, dx) = match chosen {
                    LabelPlace::After => (end, 6),
                    LabelPlace::Before => (x, -6),
                    LabelPlace::Inside => (x, 16),
                };
                text class=[wide] text-anchor=[(chosen == LabelPlace::Before).then_some("end")]
                    x=(percent(anchor)) dx=(dx) y=(y + BAR_HEIGHT - 2) { (item.label) }
            }
        }
    }
}

/// Where a label stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LabelPlace {
    After,
    Before,
    Inside,
}

/// Where there is room for an item's label; `None`: nowhere, then the title on hover has to do.
fn label_place(
    axis: Axis,
    item: &Item,
    before: Option<&Item>,
    next: Option<&Item>,
    width: f64,
) -> Option<LabelPlace> {
    let (x, end) = span(axis, item);
    let needed = item.label.chars().count() as f64 * width + 2.0;
    let left = before.map_or(0.0, |before| span(axis, before).1);
    let right = next.map_or(100.0, |next| span(axis, next).0);
    // The label of the item before may stand in the same gap, after it.
    let left = left + before.map_or(0.0, |before| before.label.chars().count() as f64 * width + 2.0);
    if right - end > needed {
        Some(LabelPlace::After)
    } else if end - x > needed && item.end_us.is_none() {
        Some(LabelPlace::Inside)
    } else if x - left > needed {
        Some(LabelPlace::Before)
    } else {
        None
    }
}

/// Puts items into rows so that none overlaps within a row; the newest keep their place when rows run out.
fn place(axis: Axis, items: &[Item]) -> (Vec<Vec<&Item>>, usize) {
    let mut shown: Vec<&Item> = items.iter().filter(|item| axis.holds(item)).collect();
    shown.sort_by_key(|item| item.begin_us);
    let mut rows: Vec<Vec<&Item>> = Vec::new();
    let mut unplaced = 0;
    for item in shown {
        let begin = span(axis, item).0;
        let free = rows.iter().position(|row| row.last().is_none_or(|last| span(axis, last).1 + 0.2 < begin));
        match free {
            Some(row) => rows[row].push(item),
            None if rows.len() < ROWS => rows.push(vec![item]),
            None => unplaced += 1,
        }
    }
    (rows, unplaced)
}

/// Where a bar begins and ends, in percent.
fn span(axis: Axis, item: &Item) -> (f64, f64) {
    let begin = axis.percent(item.begin_us);
    let end = axis.percent(item.end_us.unwrap_or(axis.now_us));
    if end - begin >= BAR_WIDTH_MIN {
        return (begin, end);
    }
    let begin = begin.min(100.0 - BAR_WIDTH_MIN);
    (begin, begin + BAR_WIDTH_MIN)
}

pub(super) fn percent(value: f64) -> String {
    format!("{value:.2}%")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_US: i64 = 1_700_000_000_000_000;

    fn item(begin_s: i64, end_s: Option<i64>) -> Item {
        Item {
            begin_us: NOW_US + begin_s * 1_000_000,
            end_us: end_s.map(|s| NOW_US + s * 1_000_000),
            meaning: Meaning::Bad,
            label: "pod_crash".to_owned(),
            title: "cart-0 ended".to_owned(),
            href: format!("/issues/{begin_s}"),
            group: "a".to_owned(),
        }
    }

    #[test]
    fn things_at_the_same_time_get_rows_of_their_own() {
        let axis = Axis::last(900, NOW_US);
        let items = [item(-100, Some(-50)), item(-80, None), item(-20, Some(-10))];
        let (rows, unplaced) = place(axis, &items);
        assert_eq!((rows.len(), unplaced), (2, 0));
        assert_eq!(rows[0].len(), 2, "the third fits behind the first");
    }

    #[test]
    fn a_label_stands_where_there_is_room() {
        let axis = Axis::last(900, NOW_US);
        let (early, late, long) = (item(-600, Some(-590)), item(-12, None), item(-400, None));
        assert_eq!(label_place(axis, &early, None, Some(&late), LABEL_WIDTH), Some(LabelPlace::After));
        assert_eq!(label_place(axis, &late, Some(&early), None, LABEL_WIDTH), Some(LabelPlace::Before));
        assert_eq!(label_place(axis, &long, None, None, LABEL_WIDTH), Some(LabelPlace::Inside));
        let (one, two) = (item(-600, Some(-590)), item(-580, Some(-570)));
        assert_eq!(label_place(axis, &one, Some(&two), Some(&two), LABEL_WIDTH), None);
    }

    #[test]
    fn what_does_not_fit_is_counted_and_what_is_outside_is_not_shown() {
        let axis = Axis::last(900, NOW_US);
        let mut items = vec![item(-100, None); ROWS + 3];
        items.push(item(-5000, Some(-4000)));
        let lane = Lane { name: "issues", items };
        let text = draw_lane(axis, &lane, &[]).into_string();
        assert!(text.contains("+3"), "{text}");
        assert!(!text.contains("/issues/-5000"));
    }

    #[test]
    fn the_axis_stands_still_between_its_steps() {
        let (a, b) = (Axis::last(900, NOW_US + 100_000), Axis::last(900, NOW_US + 900_000));
        assert_eq!((a.begin_us, a.end_us), (b.begin_us, b.end_us));
        assert!(a.now_us >= NOW_US);
    }

    #[test]
    fn an_event_without_length_can_be_seen_and_stays_inside() {
        let axis = Axis::around(NOW_US, NOW_US, NOW_US);
        let (begin, end) = span(axis, &Item { begin_us: axis.end_us, ..item(0, Some(0)) });
        assert!(end - begin >= BAR_WIDTH_MIN - 1e-9 && end <= 100.0 + 1e-9);
    }

    #[test]
    fn every_window_has_a_few_round_ticks() {
        for (name, seconds) in WINDOWS {
            let ticks = Axis::last(seconds, NOW_US).ticks();
            assert!((3..=8).contains(&ticks.len()), "{name}: {}", ticks.len());
        }
    }
}
