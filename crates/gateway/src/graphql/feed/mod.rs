//! What subscriptions are fed from: work that is done once, however many listen.
//!
//! In: the store's changes, the loops' state and the series that somebody listens to. Out: channels that every listener has
//! an end of. Two tasks do it all ([`state`], [`series`]): they begin with the first listener and end with the last, and a
//! listener has neither thread nor timer.

pub(super) mod series;
pub(super) mod state;

/// The feeds of one server.
#[derive(Default)]
pub(super) struct Feeds {
    pub(super) state: state::StateFeed,
    pub(super) series: series::SeriesFeed,
}
