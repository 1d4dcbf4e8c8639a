//! Which rows a table has: in a large fleet the overview shows what is not well and counts the rest.

use super::marks::Meaning;
use super::view::View;

/// More services than this push what needs a person out of sight.
const FEW: usize = 20;

/// Which rows a table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// Every one, by name.
    All,
    /// Those that are not well, the worst first; the others as one number.
    NotWell,
}

/// A row with its status, as a mark and a word.
pub(super) type Ranked<T> = ((Meaning, &'static str), T);

impl Rows {
    /// The rows of the overview.
    pub(super) fn of_overview(view: &View) -> Self {
        let services = view.snapshot.as_deref().map_or(0, |snapshot| snapshot.services.len());
        if services > FEW { Self::NotWell } else { Self::All }
    }

    /// The chosen rows, and how many are left out: those that mean no more than `well`.
    pub(super) fn choose<T>(self, mut rows: Vec<Ranked<T>>, well: Meaning) -> (Vec<Ranked<T>>, usize) {
        let all = rows.len();
        if self == Self::NotWell {
            rows.retain(|((meaning, _), _)| *meaning > well);
            rows.sort_by_key(|((meaning, _), _)| std::cmp::Reverse(*meaning));
        }
        let left_out = all - rows.len();
        (rows, left_out)
    }
}
