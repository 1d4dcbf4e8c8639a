//! The marks: a shape for each meaning, so that none rests on colour alone.

use maud::{Markup, html};

/// A mark of 12 × 12 around its centre.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Good, and verified.
    Circle,
    /// Unknown, and effect proven.
    Ring,
    /// Attention, and detected.
    Triangle,
    /// Bad.
    Square,
    /// Disturbed by ourselves.
    Diamond,
    /// Diagnosed.
    Hexagon,
    /// First action.
    Chevron,
    /// Serving again.
    Half,
}

impl Shape {
    /// The outline, around (0, 0).
    fn path(self) -> &'static str {
        match self {
            Self::Circle | Self::Ring => "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
            Self::Triangle => "M0-5.5 5.5 4.5h-11z",
            Self::Square => "M-4.5-4.5h9v9h-9z",
            Self::Diamond => "M0-6 6 0 0 6-6 0z",
            Self::Hexagon => "M-5.2 0-2.6-4.5h5.2L5.2 0 2.6 4.5h-5.2z",
            Self::Chevron => "M-4-5.5 5 0-4 5.5z",
            Self::Half => "M0-5a5 5 0 0 1 0 10z M0-5a5 5 0 0 0 0 10",
        }
    }

    fn class(self) -> Option<&'static str> {
        match self {
            Self::Ring => Some("hollow"),
            Self::Half => Some("half"),
            _ => None,
        }
    }

    /// In running text.
    pub(super) fn mark(self, meaning: &str) -> Markup {
        html! {
            svg class=(format!("shape {meaning}")) viewBox="-7 -7 14 14" width="12" height="12" aria-hidden="true" {
                path class=[self.class()] d=(self.path()) {}
            }
        }
    }

    /// On a picture, at a place given in percent of its width and in pixels of its height.
    pub(super) fn at(self, meaning: &str, x_percent: f64, y: f64, title: &str) -> Markup {
        html! {
            svg class=(format!("shape {meaning}")) x=(format!("{x_percent:.2}%")) y=(y) overflow="visible" {
                title { (title) }
                path class=[self.class()] d=(self.path()) {}
            }
        }
    }
}
