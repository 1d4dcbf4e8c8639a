//! Times on pages: relative, with the absolute time on hover.
//!
//! On a loaded page the text is there without a script. In a live fragment it is left out: the script
//! fills it in and lets it count on, and the fragment's text stays equal while nothing happened, so that
//! nothing is sent.

use domain::Time;
use domain::units::show_duration;
use maud::{Markup, html};
use std::time::Duration;

/// How a page is being rendered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    /// Now.
    pub(crate) now: Time,
    /// Whether for a page or for a live fragment.
    pub(crate) form: Form,
}

/// See [`Stamp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Text is written out.
    Page,
    /// Text that changes with time alone is left to the script.
    Fragment,
}

impl Stamp {
    /// `40 s ago`.
    pub(crate) fn ago(self, time: Time) -> Markup {
        self.aged(time, "ago", || format!("{} ago", show_age(self.between(time, self.now))))
    }

    /// `40 s`: how long something has lasted.
    pub(crate) fn lasting(self, since: Time) -> Markup {
        self.aged(since, "for", || show_age(self.between(since, self.now)))
    }

    /// `12 s left`.
    pub(crate) fn left(self, until: Time) -> Markup {
        self.aged(until, "left", || format!("{} left", show_age(self.between(self.now, until))))
    }

    fn aged(self, time: Time, kind: &str, text: impl Fn() -> String) -> Markup {
        html! {
            time datetime=(time.rfc3339()) title=(absolute(time)) data-age=(kind) {
                @if self.form == Form::Page { (text()) }
            }
        }
    }

    /// On the wall clock: stamps may come from before a reboot.
    fn between(self, from: Time, to: Time) -> Duration {
        Duration::from_micros(u64::try_from(to.wall_us.saturating_sub(from.wall_us)).unwrap_or(0))
    }
}

/// The time from one stamp to another, as text; on the wall clock, see above.
pub(crate) fn took(from: Time, to: Time) -> String {
    show_duration(Duration::from_micros(u64::try_from(to.wall_us.saturating_sub(from.wall_us)).unwrap_or(0)))
}

/// `14:02:11 UTC`, with the date.
pub(crate) fn absolute(time: Time) -> String {
    let text = time.rfc3339();
    match text.split_once('T') {
        Some((date, rest)) if rest.len() >= 8 => format!("{} UTC, {date}", &rest[..8]),
        _ => text,
    }
}

/// `14:02:11`, or `14:02` on long axes.
pub(crate) fn clock_face(wall_us: i64, with_seconds: bool) -> String {
    let text = Time { boot_us: 0, wall_us }.rfc3339();
    text.get(11..if with_seconds { 19 } else { 16 }).unwrap_or("").to_owned()
}

/// `21 Nov 14:00`, or `21 Nov` at midnight: on axes of several days.
pub(crate) fn day_face(wall_us: i64) -> String {
    let Ok(stamp) = jiff::Timestamp::from_microsecond(wall_us) else { return String::new() };
    let time = stamp.to_zoned(jiff::tz::TimeZone::UTC);
    match (time.hour(), time.minute()) {
        (0, 0) => time.strftime("%-d %b").to_string(),
        _ => time.strftime("%-d %b %H:%M").to_string(),
    }
}

/// Whole units, the same as the script writes.
fn show_age(age: Duration) -> String {
    let s = age.as_secs();
    match s {
        0..120 => format!("{s} s"),
        120..7200 => format!("{} min", s / 60),
        7200..172_800 => format!("{} h", s / 3600),
        _ => format!("{} d", s / 86_400),
    }
}
