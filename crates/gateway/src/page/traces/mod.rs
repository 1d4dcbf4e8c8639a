//! Traces on pages: search, one trace, two compared, the service map, latencies over time.
//!
//! In: questions to [`telemetry::Telemetry`]. Out: pages. All pictures are drawn on the server and every view has an
//! address of its own, so that reading needs no script; the script only fetches the next part instead of the next page
//! (`part=` names the section).
//!
//! Deliberately absent: analysis of a single trace, which is [`telemetry::Trace`]'s; wire shapes for programs.

mod archive;
mod compare;
mod detail;
mod flame;
mod found;
mod heat;
pub(super) mod layout;
mod logs;
mod map;
mod minimap;
pub(super) mod range;
mod ranked;
mod scatter;
mod search;
mod span;
mod stand_out;
mod tags;
mod units;
mod visible;
mod waterfall;

pub(super) use archive::{archive, unarchive};
pub(super) use compare::compare;
pub(super) use detail::detail;
pub(super) use heat::latency;
pub(super) use map::service_map;
pub(super) use search::{around, listed, opened_by_id, search};

use maud::{Markup, html};
use telemetry::{Telemetry, Trace, TraceId};

use super::marks::{Meaning, mark};
use crate::problem::Problem;
use crate::serve::App;

/// The store, or the sentence that says that there is none.
fn store(app: &App) -> Result<&Telemetry, Markup> {
    app.telemetry.as_ref().ok_or_else(|| {
        html! {
            h1 class="sentence" { "Traces are not kept here." }
            p class="empty" {
                "This server runs without its telemetry store: it takes in no spans and has none to show. "
                "Where one is running, " code { "homeostat serve" } " says on which ports it listens."
            }
        }
    })
}

/// A trace by the id in an address.
fn load(store: &Telemetry, id: &str) -> Result<Trace, Problem> {
    let id: TraceId =
        id.parse().map_err(|error: telemetry::IdError| Problem::not_found(error.to_string()))?;
    let spans = store.trace(id)?;
    Trace::assemble(spans).ok_or_else(|| {
        Problem::not_found(format!(
            "there is no trace {id}: it was never sent here, or it is older than what is kept"
        ))
    })
}

/// Whether no span came but the control plane's own.
fn nobody_sends(store: &Telemetry) -> bool {
    store.services().iter().all(|service| service == crate::OWN_SERVICE)
}

/// Errors as a mark with their number, quiet where there are none.
fn errors(errors: usize) -> Markup {
    match errors {
        0 => html! { span class="quiet" { "no error" } },
        n => mark(Meaning::Bad, &super::sentence::count(n, "error", "errors")),
    }
}
