//! `/timeline`: everything that happened, lane by lane, with what belongs together.
//!
//! The address carries the window (`within`, or `from` and `to`), the service and the lanes, so that what is seen can be
//! sent to somebody. Every step of zooming is a link; a script lets one draw and roll instead.

use std::collections::{BTreeMap, BTreeSet};

use decide::correlate::{Correlation, Span};
use domain::units::show_duration;
use domain::{Happening, HappeningKind, Lane};
use maud::{Markup, html};
use serde_json::json;
use std::time::Duration;

use super::draw::{self, Axis, WINDOWS};
use super::{ALWAYS, budget, lanes, selectable, told};
use crate::api;
use crate::body::Query;
use crate::happenings::{self, time};
use crate::page::list::{Column, Filter, List, Listed, Source, folded};
use crate::page::marks::{mark, of_bearing};
use crate::page::sentence::{capital, count};
use crate::page::time::{Stamp, absolute};
use crate::page::view::View;
use crate::page::{Page, Section, Update, in_place};
use crate::problem::Problem;
use crate::serve::App;

/// What is looked at where nothing was chosen.
const SECONDS: i64 = WINDOWS[1].1;

/// What services were asked is known for a day: nothing is worked out over more.
const CORRELATED_US_MAX: i64 = 86_400_000_000;

/// From a second to a month.
const WIDTH_US: std::ops::RangeInclusive<i64> = 1_000_000..=31 * 86_400_000_000;

/// A pattern surer than this is the first sentence of the page.
const SURE_PERCENT: f64 = 50.0;

/// What is looked at.
struct Window {
    axis: Axis,
    /// The last so many seconds; `None` where both ends were given.
    last: Option<i64>,
}

impl Window {
    fn read(view: &View, query: &Query) -> Result<Self, Problem> {
        let now_us = view.stamp.now.wall_us;
        let time = |name| {
            query.read(name, api::time, || "an RFC 3339 time, such as 2026-11-21T03:00:00Z".to_owned())
        };
        let (from, to) = (time("from")?, time("to")?);
        if from.is_none() && to.is_none() {
            let read = |text: &str| text.parse::<i64>().ok().filter(|s| (60..=2_678_400).contains(s));
            let seconds = query.read("within", read, || "seconds, from 60 to 2678400".to_owned())?;
            let seconds = seconds.unwrap_or(SECONDS);
            return Ok(Self { axis: Axis::last(seconds, now_us), last: Some(seconds) });
        }
        let to_us = to.map_or(now_us, |time| time.wall_us);
        let from_us = from.map_or(to_us - SECONDS * 1_000_000, |time| time.wall_us);
        if !WIDTH_US.contains(&to_us.saturating_sub(from_us)) {
            return Err(Problem::field("from", "`from` must lie a second to 31 days before `to`"));
        }
        Ok(Self { axis: Axis::exact(from_us, to_us, now_us), last: None })
    }

    fn span(&self) -> Span {
        Span { from_us: self.axis.begin_us, to_us: self.axis.end_us }
    }

    /// `in the last 6 h`, or both ends.
    fn words(&self) -> String {
        match self.last {
            Some(3600) => "in the last hour".to_owned(),
            Some(seconds) => {
                let name = WINDOWS.iter().find(|(_, choice)| *choice == seconds).map(|(name, _)| *name);
                let length = || show_duration(Duration::from_secs(seconds.unsigned_abs()));
                format!("in the last {}", name.map_or_else(length, str::to_owned))
            }
            None => {
                let end = |us| absolute(time(us));
                format!("from {} to {}", end(self.axis.begin_us), end(self.axis.end_us))
            }
        }
    }

    /// The address of another part: moved by a share of the width, and so many times as wide.
    fn address(&self, query: &Query, moved: f64, width: f64) -> String {
        let (begin, end) = (self.axis.begin_us, self.axis.end_us);
        let old = (end - begin) as f64;
        let half = (old * width / 2.0).clamp(*WIDTH_US.start() as f64 / 2.0, *WIDTH_US.end() as f64 / 2.0);
        let middle = begin as f64 + old / 2.0 + old * moved;
        let stamp = |us: f64| time(us as i64).rfc3339();
        let (from, to) = (stamp(middle - half), stamp(middle + half));
        format!("/timeline?{}", query.changed(&[("within", ""), ("from", &from), ("to", &to)]))
    }
}

pub(crate) fn page(app: &App, view: &View, query: &Query) -> Result<Page, Problem> {
    let window = Window::read(view, query)?;
    let wanted = wanted(query)?;
    let service = query.text("service");
    let span = window.span();
    let (events, failed) = lane_by_lane(app, span, &wanted, service)?;
    let answer = (span.to_us - span.from_us <= CORRELATED_US_MAX + CORRELATED_US_MAX / 20)
        .then(|| happenings::correlated(app, span, span.to_us.min(view.stamp.now.wall_us), service))
        .transpose();
    let known = answer.as_ref().ok().and_then(Option::as_ref);
    let listed = of_events(view.stamp, events.clone());
    let of_list = OfList {
        search: listed.list.search_box(query),
        order: listed.list.order_field(query),
        exports: listed.list.exports(query),
    };
    let update = if window.last.is_some() { Update::Rows } else { Update::Never };
    let mut rows = listed.rows(query, "events", update)?;
    rows.body = html! { h2 { "Everything in it" span class="quiet" { "newest first; the search is for these rows" } } (rows.body) };
    let section = match window.last {
        Some(_) => Section::live,
        None => Section::still,
    };
    let sentence = match events.is_empty() && !failed.is_empty() {
        true => format!("What happened {} is not known now.", window.words()),
        false => sentence(&window, &events, known, service),
    };
    let drawn = picture(app, &window, query, (&events, &failed), known, &wanted);
    let patterns = answer.map(|answer| together(view, answer.as_ref()));
    let live = if window.last.is_some() { Update::Live } else { Update::Never };
    Ok(Page {
        title: "Time line".to_owned(),
        sections: vec![
            section("sentence", html! { h1 class="sentence" { (sentence) } }),
            Section::still("filters", filters(app, view, &window, query, (&wanted, &of_list))),
            section("timeline", drawn),
            Section::tried("patterns", live, "What belongs together", patterns)?,
            rows,
        ],
    })
}

/// A lane that cannot be read, and what stands in its place.
type Failed = (Lane, Markup);

/// What happened, newest first, and the lanes that cannot be read: each is read from elsewhere, and fails alone.
fn lane_by_lane(
    app: &App,
    span: Span,
    wanted: &[Lane],
    service: Option<&str>,
) -> Result<(Vec<Happening>, Vec<Failed>), Problem> {
    let (mut events, mut failed) = (Vec::new(), Vec::new());
    for lane in wanted {
        match happenings::gather(app, span, &[*lane], service) {
            Ok(found) => events.extend(found),
            Err(problem) => failed.push((*lane, in_place(problem)?)),
        }
    }
    happenings::newest_first(&mut events);
    Ok((events, failed))
}

/// Everything in the window, for a file.
pub(crate) fn listed<'a>(app: &App, view: &View, query: &Query) -> Result<Listed<'a, Happening>, Problem> {
    let window = Window::read(view, query)?;
    let events = happenings::gather(app, window.span(), &wanted(query)?, query.text("service"))?;
    Ok(of_events(view.stamp, events))
}

fn of_events<'a>(stamp: Stamp, events: Vec<Happening>) -> Listed<'a, Happening> {
    let list = List {
        address: "/timeline",
        nouns: ("event", "events"),
        columns: columns(stamp),
        filters: ["within", "from", "to", "service", "lane"].map(Filter::elsewhere).into(),
        key: Box::new(|event: &Happening| event.id.clone()),
        empty: html! { p class="empty" { "Nothing happened in this time. Choose a longer one, or make something happen: " code { "homeostat chaos inject pause --target instance/NAME-0 --for 30s" } } },
    };
    Listed { list, source: Source::Whole(events) }
}

fn wanted(query: &Query) -> Result<Vec<Lane>, Problem> {
    let chosen: Vec<&str> = query.all("lane").collect();
    if chosen.is_empty() {
        return api::timeline::lanes(None);
    }
    api::timeline::lanes(Some(&chosen.join(",")))
        .map_err(|problem| Problem::field("lane", problem.detail.replace("`lanes`", "`lane`")))
}

/// What is surest, else how much there is of each kind.
fn sentence(
    window: &Window,
    events: &[Happening],
    answer: Option<&Correlation>,
    service: Option<&str>,
) -> String {
    let surest = answer.and_then(|answer| answer.patterns.first());
    if let Some(pattern) = surest.filter(|pattern| pattern.confidence.0 >= SURE_PERCENT) {
        return format!("{} ({:.0} % sure).", capital(&pattern.sentence), pattern.confidence.0);
    }
    let of = |kind: HappeningKind, one: &str, many: &str| {
        let n = events.iter().filter(|event| event.kind == kind).count();
        (n > 0).then(|| count(n, one, many))
    };
    let parts: Vec<String> = [
        of(HappeningKind::Issue, "issue", "issues"),
        of(HappeningKind::Incident, "incident", "incidents"),
        of(HappeningKind::Anomaly, "anomaly", "anomalies"),
        of(HappeningKind::Alert, "alert", "alerts"),
        of(HappeningKind::Remediation, "repair", "repairs"),
        of(HappeningKind::Experiment, "fault of our own", "faults of our own"),
        of(HappeningKind::Deployment, "deployment", "deployments"),
        of(HappeningKind::Trace, "trace that stands out", "traces that stand out"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let place = service.map(|service| format!(" at {service}")).unwrap_or_default();
    match parts.as_slice() {
        [] => format!("Nothing happened{place} {}.", window.words()),
        [one] => format!("{}{place} {}.", capital(one), window.words()),
        [most @ .., last] => format!("{} and {last}{place} {}.", capital(&most.join(", ")), window.words()),
    }
}

/// What the list of events has in the page's form.
struct OfList {
    search: Markup,
    order: Markup,
    exports: Markup,
}

fn filters(
    app: &App,
    view: &View,
    window: &Window,
    query: &Query,
    (wanted, of_list): (&[Lane], &OfList),
) -> Markup {
    let mut services: BTreeSet<String> = BTreeSet::new();
    if let Some(snapshot) = &view.snapshot {
        services.extend(snapshot.services.keys().map(ToString::to_string));
    }
    services.extend(app.telemetry.as_ref().map(telemetry::Telemetry::services).unwrap_or_default());
    let chosen = query.text("service");
    services.extend(chosen.map(str::to_owned));
    let custom = window.last.filter(|last| !WINDOWS.iter().any(|(_, seconds)| seconds == last));
    let is_open = ["service", "lane", "sort", "from"].iter().any(|name| query.text(name).is_some());
    let fields = html! {
        @match window.last {
            Some(last) => label { "Time"
                select name="within" {
                    @for (name, seconds) in WINDOWS { option value=(seconds) selected[seconds == last] { "last " (name) } }
                    @if let Some(last) = custom { option value=(last) selected { "last " (last) " s" } }
                }
            },
            None => {
                label { "From" input class="mono" type="text" name="from" size="24" value=(time(window.axis.begin_us).rfc3339()); }
                label { "To" input class="mono" type="text" name="to" size="24" value=(time(window.axis.end_us).rfc3339()); }
            },
        }
        label { "Service"
            select name="service" {
                option value="" { "all" }
                @for name in &services { option value=(name) selected[chosen == Some(name)] { (name) } }
            }
        }
        fieldset class="choices" {
            legend { "Lanes" }
            @for lane in Lane::ALL.into_iter().filter(|lane| *lane != Lane::Budget) {
                label { input type="checkbox" name="lane" value=(lane.name()) checked[wanted.contains(&lane)]; " " (lanes::title(lane)) }
            }
        }
        (of_list.order)
    };
    html! {
        form class="filters" method="get" action="/timeline" role="search" {
            (of_list.search)
            (folded(is_open, &fields))
            button type="submit" { "Show" }
            (of_list.exports)
        }
    }
}

fn picture(
    app: &App,
    window: &Window,
    query: &Query,
    (events, failed): (&[Happening], &[Failed]),
    answer: Option<&Correlation>,
    wanted: &[Lane],
) -> Markup {
    let groups = groups(answer);
    let always: Vec<Lane> = match query.all("lane").next() {
        // Who chose lanes sees those, empty or not.
        Some(_) => wanted.to_vec(),
        None => ALWAYS.to_vec(),
    };
    let drawn = lanes::lanes(events, wanted, &always, |event| groups.get(event.id.as_str()).cloned());
    let budget = match query.all("lane").next() {
        Some(_) => html! {},
        None => budget::lane(app, window.axis, query.text("service")),
    };
    let steps = [
        ("earlier", "Earlier", "ArrowLeft", window.address(query, -0.5, 1.0)),
        ("later", "Later", "ArrowRight", window.address(query, 0.5, 1.0)),
        ("in", "Zoom in", "+", window.address(query, 0.0, 0.5)),
        ("out", "Zoom out", "-", window.address(query, 0.0, 2.0)),
    ];
    html! {
        section class="timeline" aria-label="Time line" {
            h2 {
                "Time line"
                span class="quiet wide-words" { "drag to select, Ctrl and wheel to zoom" }
                span class="windows more" {
                    @for (name, words, key, address) in steps { a data-step=(name) aria-keyshortcuts=(key) href=(address) { (words) } }
                    @if window.last.is_none() {
                        a href={ "/timeline?" (query.changed(&[("from", ""), ("to", ""), ("within", "3600")])) } { "Now" }
                    }
                }
            }
            (selectable(window.axis, query.text("service"), &draw::draw(window.axis, &budget, &drawn)))
            @for (lane, notice) in failed { h3 { (lanes::title(*lane)) } (notice) }
            @if events.is_empty() && failed.is_empty() {
                p class="empty" {
                    "What is detected, repaired, injected, deployed and alerted stands here. Tell of what happens elsewhere with "
                    code { "POST /api/v3/observability/events" }
                }
            }
        }
    }
}

/// For each event the name of the group it belongs to.
fn groups(answer: Option<&Correlation>) -> BTreeMap<&str, String> {
    let groups = answer.map_or(&[][..], |answer| &answer.groups);
    groups
        .iter()
        .enumerate()
        .flat_map(|(n, group)| group.events.iter().map(move |(_, id)| (id.as_str(), format!("together-{n}"))))
        .collect()
}

fn together(view: &View, answer: Option<&Correlation>) -> Markup {
    html! {
        h2 { "What belongs together" }
        @match answer {
            None => p class="empty" { "What services were asked is known for a day: choose a shorter time." },
            Some(answer) if answer.patterns.is_empty() => p class="empty" {
                "No pattern was found: no service that is slow and fails at once, none that is worse since a deployment, none that several failing ones share."
            },
            Some(answer) => (told::patterns(view.stamp, answer, &answer.patterns)),
        }
    }
}

/// The same in words, for those who cannot see the picture or want to search it.
fn columns<'a>(stamp: Stamp) -> Vec<Column<'a, Happening>> {
    let length = |event: &Happening| Some((event.to_us? - event.from_us).unsigned_abs()).filter(|us| *us > 0);
    vec![
        Column::new("kind", "What", |event: &Happening| json!(event.kind.name()))
            .shown(|event| mark(of_bearing(event.bearing), event.kind.name()))
            .sorted(),
        Column::new("service", "Service", |event: &Happening| json!(event.service))
            .class("name")
            .shown(|event| match &event.service {
                Some(name) => html! { a href={ "/services/" (name) } { (name) } },
                None => html! { span class="quiet" { "–" } },
            })
            .sorted(),
        Column::new("title", "Sentence", |event: &Happening| json!(event.title))
            .class("what wide")
            .shown(|event| html! { a href=(lanes::href(event)) { (event.title) } }),
        Column::new("lasted_seconds", "Lasted", move |event: &Happening| {
            json!(length(event).map(|us| us as f64 / 1e6))
        })
        .class("number")
        .shown(move |event| match (event.to_us, length(event)) {
            (None, _) => stamp.lasting(time(event.from_us)),
            (_, None) => html! { span class="quiet" { "–" } },
            (_, Some(us)) => html! { (show_duration(Duration::from_micros(us))) },
        })
        .sorted(),
        Column::new("from", "When", |event: &Happening| json!(time(event.from_us).rfc3339()))
            .class("number")
            .shown(move |event| stamp.ago(time(event.from_us)))
            .sorted(),
        Column::unseen("to", |event: &Happening| json!(event.to_us.map(|us| time(us).rfc3339()))),
        Column::unseen("caller", |event: &Happening| json!(event.caller)),
        Column::unseen("severity", |event: &Happening| json!(event.severity.map(domain::Severity::name))),
        Column::unseen("id", |event: &Happening| json!(event.id)),
    ]
}
