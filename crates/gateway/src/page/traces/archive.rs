//! Whether a trace is archived, and the buttons that archive and remove it.

use axum::response::Response;
use domain::{Permission, Time};
use maud::{Markup, html};
use telemetry::{Keeping, Telemetry, TraceId};

use crate::api::observability::no_telemetry;
use crate::deed::Deed;
use crate::page::actions::Submitted;
use crate::page::view::View;
use crate::problem::Problem;
use crate::routes::see_other;

pub(super) fn draw(view: &View, store: &Telemetry, id: TraceId) -> Markup {
    let archived = store.archived_trace(id);
    let is_asked_for = archived.is_some_and(|told| told.keeping == Keeping::Asked);
    html! {
        @if let Some(told) = archived {
            p class="facts" {
                span { "archived " (view.stamp.ago(time(told.archived_unix_us))) }
                @match told.keeping {
                    Keeping::Asked => span { "kept until somebody removes it" },
                    Keeping::Evidence => span { "an issue cites it: kept while there is room" },
                }
            }
        }
        div class="actions" {
            @if !is_asked_for && view.may(Permission::TelemetryWrite) {
                form method="post" action={ "/traces/" (id) "/archive" } {
                    button type="submit" title="Keeps this trace until somebody removes it from the archive" { "Archive" }
                }
            }
            @if archived.is_some() && view.may(Permission::ServerManage) {
                form method="post" action={ "/traces/" (id) "/archive/remove" } {
                    button type="submit" title="It goes with the others of its time then, at once where they are gone" { "Remove from the archive" }
                }
            }
        }
    }
}

fn time(unix_us: u64) -> Time {
    Time { boot_us: 0, wall_us: i64::try_from(unix_us).unwrap_or(i64::MAX) }
}

/// Archives the trace of a page.
pub(in crate::page) fn archive(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let (store, id): (_, TraceId) = (store(asked)?, asked.id()?);
    asked.deed.tell(Deed::trace(id).and("archived"));
    store.archive_trace(id, Keeping::Asked)?;
    Ok(see_other(&format!("/traces/{id}")))
}

/// Removes it from the archive again. Where nothing else has it, there is no page of it any more.
pub(in crate::page) fn unarchive(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let (store, id): (_, TraceId) = (store(asked)?, asked.id()?);
    asked.deed.tell(Deed::trace(id).and("no longer archived"));
    if !store.remove_archived(id)? {
        return Err(Problem::not_found(format!("trace {id} is not archived")));
    }
    let is_left = !store.trace(id)?.is_empty();
    Ok(see_other(&if is_left { format!("/traces/{id}") } else { "/traces".to_owned() }))
}

fn store<'a>(asked: &Submitted<'a>) -> Result<&'a Telemetry, Problem> {
    asked.app.telemetry.as_ref().ok_or_else(no_telemetry)
}
