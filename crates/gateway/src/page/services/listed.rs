//! The services as a list.

use domain::snapshot::ServiceState;
use domain::{ServiceName, Snapshot, Window};
use maud::html;
use serde_json::json;

use super::{USES, failed, felt, no_services, p95, rate, slots, worst_of, worst_use};
use crate::page::list::{Column, Filter, List, Listed, Source};
use crate::page::marks::mark;
use crate::page::view::View;

/// A service with its state.
type Declared<'a> = (&'a ServiceName, &'a ServiceState);

const STATES: [&str; 10] =
    ["healthy", "degraded", "down", "critical", "high", "medium", "low", "disturbed", "paused", "unknown"];

/// The services of the fleet.
pub(in crate::page) fn listed(view: &View) -> Listed<'_, Declared<'_>> {
    let services = view.snapshot.as_deref().map(|snapshot| snapshot.services.iter().collect());
    let list = List {
        address: "/services",
        nouns: ("service", "services"),
        columns: view.snapshot.as_deref().map_or_else(Vec::new, |snapshot| columns(view, snapshot)),
        filters: vec![
            Filter::choice("state", "State", STATES.map(|state| (state, state)))
                .keeping(|(name, state): &Declared<'_>, wanted| view.service_status(name, state).1 == wanted),
        ],
        key: Box::new(|(name, _)| name.to_string()),
        empty: no_services(),
    };
    Listed { list, source: Source::Whole(services.unwrap_or_default()) }
}

fn columns<'a>(view: &'a View, snapshot: &'a Snapshot) -> Vec<Column<'a, Declared<'a>>> {
    let measured = move |read: fn(&Window) -> Option<f64>| {
        move |(name, _): &Declared<'_>| json!(felt(snapshot, name).and_then(|window| read(&window)))
    };
    let mut columns = vec![
        Column::new("state", "State", |(name, state): &Declared<'_>| {
            json!(view.service_status(name, state).1)
        })
        .shown(|(name, state)| {
            let (meaning, word) = view.service_status(name, state);
            mark(meaning, word)
        })
        .ranked(|(name, state)| f64::from(view.service_status(name, state).0 as u8)),
        Column::new("service", "Service", |(name, _): &Declared<'_>| json!(name.to_string()))
            .class("name")
            .shown(|(name, _)| html! { a href={ "/services/" (name) } { (name) } })
            .sorted(),
        Column::new("instances", "Instances", |(_, state): &Declared<'_>| json!(state.instances.len()))
            .class("two")
            .shown(|(_, state)| slots(view, state))
            .sorted(),
        Column::new("requests_per_second", "Requests", measured(|window| Some(window.rate())))
            .class("number")
            .shown(|(name, _)| rate(felt(snapshot, name).as_ref()))
            .sorted(),
        Column::new(
            "failed_percent",
            "Failed",
            measured(|window| window.error_ratio().map(|ratio| ratio * 100.0)),
        )
        .class("number")
        .shown(|(name, _)| failed(view, felt(snapshot, name).as_ref(), None))
        .sorted(),
        Column::new("p95_ms", "p95", measured(|window| window.p95_ms))
            .class("number")
            .shown(|(name, _)| p95(view, felt(snapshot, name).as_ref(), None))
            .sorted(),
    ];
    columns.extend(USES.map(|(name, title, of)| {
        Column::new(name, title, move |(_, state): &Declared<'_>| {
            json!(worst_of(state, of).map(|(_, value, _)| value))
        })
        .class("number")
        .shown(move |(_, state)| worst_use(view, state, of))
        .sorted()
    }));
    columns.push(Column::unseen("replicas", |(_, state): &Declared<'_>| json!(state.replicas)));
    columns
}
