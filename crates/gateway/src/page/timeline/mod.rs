//! The time line: the picture that several pages share, and the page of its own.

mod budget;
mod draw;
mod lanes;
mod page;
mod told;

pub(crate) use budget::about as budgets_about;
pub(crate) use draw::{Axis, WINDOWS};
pub(crate) use page::{listed, page};
pub(crate) use told::{changed_before, patterns};

use decide::correlate::Span;
use domain::Lane;
use maud::{Markup, html};

use crate::body::encode;
use crate::happenings;
use crate::problem::Problem;
use crate::serve::App;

/// The lanes that are always there, even where they are empty: what they lack is told by that.
const ALWAYS: [Lane; 4] = [Lane::Issues, Lane::Actions, Lane::Faults, Lane::Deployments];

/// The lanes over an axis: those that are always there and those that hold something; of one service, where one is
/// named. A part that is selected is shown on the page of its own.
pub(crate) fn shared(
    app: &App,
    axis: Axis,
    service: Option<&str>,
    wanted: &[Lane],
) -> Result<Markup, Problem> {
    let events =
        happenings::gather(app, Span { from_us: axis.begin_us, to_us: axis.end_us }, wanted, service)?;
    let lanes = lanes::lanes(&events, wanted, &ALWAYS, |_| None);
    let budget = budget::lane(app, axis, service);
    Ok(selectable(axis, service, &draw::draw(axis, &budget, &lanes)))
}

/// Lanes in which a part can be selected, or zoomed into.
fn selectable(axis: Axis, service: Option<&str>, lanes: &Markup) -> Markup {
    let address = match service {
        None => "/timeline".to_owned(),
        Some(service) => format!("/timeline?service={}", encode(service)),
    };
    html! { div class="lanes" data-axis=(axis.ends_ms()) data-zoom=(address) { (lanes) } }
}
