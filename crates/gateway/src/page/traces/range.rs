//! From when to when: a choice of lengths up to now, or two exact times in the address.

use std::ops::RangeInclusive;

use maud::{Markup, html};

use super::units;
use crate::body::{Query, encode};
use crate::page::time::absolute;
use crate::page::view::View;
use crate::problem::Problem;

/// The choices, in seconds, with their names.
const CHOICES: [(&str, i64); 6] = [
    ("15 min", 900),
    ("hour", 3600),
    ("6 h", 21_600),
    ("24 h", 86_400),
    ("7 days", 604_800),
    ("30 days", 2_592_000),
];

/// What is looked at where nothing was chosen.
const DEFAULT_SECONDS: i64 = 3600;

/// Nanoseconds that senders' clocks may be ahead.
const AHEAD: u64 = 60_000_000_000;

/// A range of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::page) struct Range {
    /// Nanoseconds since 1970.
    pub(in crate::page) nano: RangeInclusive<u64>,
    /// Whether both ends were given.
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The last so many seconds.
    Last(i64),
    Exact,
}

impl Range {
    /// Reads `within`, or `from` and `to`.
    pub(in crate::page) fn read(view: &View, query: &Query) -> Result<Self, Problem> {
        let now = nano(view.stamp.now.wall_us);
        let time = |name| {
            query.read(name, crate::api::time, || "an RFC 3339 time, such as 2026-11-21T03:00:00Z".to_owned())
        };
        let (from, to) = (time("from")?, time("to")?);
        if from.is_some() || to.is_some() {
            let from = from.map_or(0, |time| nano(time.wall_us));
            let to = to.map_or(now, |time| nano(time.wall_us).saturating_add(999));
            if from > to {
                return Err(Problem::field("from", "`from` lies after `to`; swap them"));
            }
            return Ok(Self { nano: from..=to, kind: Kind::Exact });
        }
        let seconds = query.read(
            "within",
            |text| text.parse::<i64>().ok().filter(|s| (1..=31_536_000).contains(s)),
            || "seconds, at most a year".to_owned(),
        )?;
        let seconds = seconds.unwrap_or(DEFAULT_SECONDS);
        // What was taken in while the page was being asked for belongs to it; senders' clocks may be ahead a little.
        let end = now.saturating_add(AHEAD);
        let start = now.saturating_sub(seconds as u64 * 1_000_000_000);
        Ok(Self { nano: start..=end, kind: Kind::Last(seconds) })
    }

    /// `in the last hour`, or both times.
    pub(in crate::page) fn words(&self) -> String {
        match self.kind {
            Kind::Last(seconds) => {
                let name = CHOICES.iter().find(|(_, choice)| *choice == seconds);
                format!(
                    "in the last {}",
                    name.map_or_else(|| format!("{seconds} s"), |(name, _)| (*name).to_owned())
                )
            }
            Kind::Exact => {
                let end = |nano: u64| absolute(units::time(nano));
                format!("from {} to {}", end(*self.nano.start()), end(*self.nano.end()))
            }
        }
    }

    /// Its beginning and end as a part of an address.
    pub(in crate::page) fn exact(start: u64, end: u64) -> [(&'static str, String); 2] {
        [("from", units::stamp(start)), ("to", units::stamp(end))]
    }

    /// Where it ends for people: now, or the time that was given; nanoseconds since 1970.
    pub(in crate::page) fn now_or_end(&self) -> u64 {
        match self.kind {
            Kind::Last(_) => self.nano.end().saturating_sub(AHEAD),
            Kind::Exact => *self.nano.end(),
        }
    }

    /// Whether it ends now, whenever the page is looked at.
    pub(in crate::page) fn is_last(&self) -> bool {
        matches!(self.kind, Kind::Last(_))
    }

    /// Seconds it is long, up to now.
    pub(in crate::page) fn seconds(&self) -> f64 {
        match self.kind {
            Kind::Last(seconds) => seconds as f64,
            Kind::Exact => (self.nano.end() - self.nano.start()) as f64 / 1e9,
        }
    }

    /// The same range in the address of another page.
    pub(in crate::page) fn address(&self) -> String {
        match self.kind {
            Kind::Last(seconds) => format!("within={seconds}"),
            Kind::Exact => {
                let ends = Self::exact(*self.nano.start(), *self.nano.end());
                ends.map(|(name, value)| format!("{name}={}", encode(&value))).join("&")
            }
        }
    }

    /// The fields of a form.
    pub(in crate::page) fn fields(&self) -> Markup {
        html! {
            @match self.kind {
                Kind::Exact => {
                    label { "From" input type="text" class="mono" name="from" value=(units::stamp(*self.nano.start())); }
                    label { "To" input type="text" class="mono" name="to" value=(units::stamp(*self.nano.end())); }
                },
                Kind::Last(chosen) => {
                    label { "Time"
                        select name="within" {
                            @for (name, seconds) in CHOICES { option value=(seconds) selected[seconds == chosen] { "last " (name) } }
                            @if !CHOICES.iter().any(|(_, seconds)| *seconds == chosen) { option value=(chosen) selected { "last " (chosen) " s" } }
                        }
                    }
                },
            }
        }
    }
}

fn nano(wall_us: i64) -> u64 {
    u64::try_from(wall_us).unwrap_or(0).saturating_mul(1000)
}
