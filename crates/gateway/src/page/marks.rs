//! Status marks: a shape, a colour and a word, so that none has to be believed alone.

use domain::{Bearing, OutcomeKind, PlanStatus, Severity};
use maud::{Markup, html};

pub(crate) use crate::phrases::{outcome as outcome_word, status as status_word};

/// The five meanings and the lack of one, from quiet to loud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Meaning {
    /// Filled circle.
    Good,
    /// Ring: not known.
    Unknown,
    /// Circle in the colour of information: something is under way.
    Info,
    /// Diamond: a fault we injected ourselves.
    Disturbed,
    /// Triangle.
    Attention,
    /// Square.
    Bad,
}

impl Meaning {
    /// Its CSS class.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unknown => "unknown",
            Self::Info => "info",
            Self::Disturbed => "disturbed",
            Self::Attention => "attention",
            Self::Bad => "bad",
        }
    }

    /// The outline in a box of 12 by 12.
    fn shape(self) -> &'static str {
        match self {
            Self::Good | Self::Info => "M6 1.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 1 1 0-9z",
            Self::Unknown => "M6 2a4 4 0 1 1 0 8a4 4 0 1 1 0-8z",
            Self::Disturbed => "M6 0L12 6L6 12L0 6z",
            Self::Attention => "M6 .5L12 11H0z",
            Self::Bad => "M1 1H11V11H1z",
        }
    }
}

/// A mark with its word.
pub(crate) fn mark(meaning: Meaning, word: &str) -> Markup {
    html! {
        span class={ "mark " (meaning.class()) } {
            svg viewBox="0 0 12 12" aria-hidden="true" { path d=(meaning.shape()) {} }
            (word)
        }
    }
}

/// A mark's shape alone, on a time line, 12 high: `x` is a length of SVG.
pub(crate) fn shape_at(meaning: Meaning, x: &str, y: usize) -> Markup {
    html! {
        svg class="shape" x=(x) y=(y) width="12" height="12" viewBox="-2 -2 16 16" aria-hidden="true" { path d=(meaning.shape()) {} }
    }
}

/// A severity as a mark.
pub(crate) fn severity(severity: Severity) -> Markup {
    mark(of_severity(severity), severity.name())
}

/// What a severity means.
pub(crate) fn of_severity(severity: Severity) -> Meaning {
    match severity {
        Severity::Critical | Severity::High => Meaning::Bad,
        Severity::Medium | Severity::Low => Meaning::Attention,
    }
}

/// What a thing on the time line means.
pub(crate) fn of_bearing(bearing: Bearing) -> Meaning {
    match bearing {
        Bearing::Well => Meaning::Good,
        Bearing::Change => Meaning::Info,
        Bearing::Attention => Meaning::Attention,
        Bearing::Bad => Meaning::Bad,
        Bearing::Disturbance => Meaning::Disturbed,
        Bearing::Unclear => Meaning::Unknown,
    }
}

/// What a plan's status means.
pub(crate) fn of_status(status: PlanStatus) -> Meaning {
    match status {
        PlanStatus::Success => Meaning::Good,
        PlanStatus::InProgress | PlanStatus::Verifying | PlanStatus::Pending => Meaning::Info,
        PlanStatus::AwaitingApproval | PlanStatus::RolledBack => Meaning::Attention,
        PlanStatus::Failed => Meaning::Bad,
        PlanStatus::Refused => Meaning::Unknown,
    }
}

/// What an outcome means.
pub(crate) fn of_outcome(outcome: OutcomeKind) -> Meaning {
    match outcome {
        OutcomeKind::Healed | OutcomeKind::SelfRecovered => Meaning::Good,
        OutcomeKind::Mitigated => Meaning::Attention,
        OutcomeKind::NotHealed => Meaning::Bad,
        OutcomeKind::Refused => Meaning::Unknown,
    }
}
