//! Which rows of a list are on the page: those that match, in order, so many.
//!
//! What is stored is read newest first and only as far as a page needs. A search reads on until it has a page or has
//! looked at [`LOOKED_AT`] rows, and says so; another order than theirs is that of the newest [`SORTED`] that match.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Column, List, Read, Source, text};
use crate::body::Query;
use crate::problem::Problem;

/// Rows of a page.
pub(super) const PAGE: usize = 50;

/// Rows that are read at once where some are left out.
const CHUNK: usize = 500;

/// Rows that one page looks at.
pub(super) const LOOKED_AT: usize = 5_000;

/// Rows that are ordered.
const SORTED: usize = 1_000;

/// How long rows are read for one file: well within the time that a request may take, whatever a row costs.
const FILE_TIME: Duration = Duration::from_secs(4);

/// How far is read for what was not found yet.
enum Bound {
    Rows(usize),
    Time(Instant),
}

impl Bound {
    fn is_reached(&self, looked: usize) -> bool {
        match self {
            Self::Rows(most) => looked >= *most,
            Self::Time(end) => Instant::now() >= *end,
        }
    }
}

/// The rows of a page.
pub(super) struct Chosen<R> {
    pub(super) rows: Vec<R>,
    /// How many are before them.
    pub(super) first: usize,
    /// How many there are in all; `None` where nobody counted.
    pub(super) total: Option<usize>,
    /// The key behind which older ones begin, where there may be some.
    pub(super) older: Option<String>,
    /// How many rows were looked at, where that was not enough.
    pub(super) looked_at: Option<usize>,
}

/// What was read of a source.
pub(super) struct Gathered<R> {
    pub(super) rows: Vec<R>,
    pub(super) older: Option<String>,
    pub(super) looked_at: Option<usize>,
}

/// The page that the address asks for.
pub(super) fn page<R>(
    list: &List<'_, R>,
    source: Source<'_, R>,
    query: &Query,
) -> Result<Chosen<R>, Problem> {
    let place = query.count("page", 1, 1_000_000)?.unwrap_or(1) - 1;
    let order = Order::read(list, query)?;
    let (rows, older, looked_at) = match (source, &order) {
        (Source::Whole(rows), _) => (matching(list, rows, query), None, None),
        (Source::Stored(read), None) => {
            let Gathered { rows, older, looked_at } =
                gather(list, &read, query, PAGE, Bound::Rows(LOOKED_AT))?;
            return Ok(Chosen { rows, first: 0, total: None, older, looked_at });
        }
        (Source::Stored(read), Some(_)) => {
            let Gathered { rows, older, looked_at } =
                gather(list, &read, query, SORTED, Bound::Rows(LOOKED_AT))?;
            (rows, older, looked_at)
        }
    };
    let mut rows = rows;
    if let Some(order) = order {
        order.sort(&mut rows);
    }
    let total = rows.len();
    let first = (place * PAGE).min(total.saturating_sub(1) / PAGE * PAGE);
    rows.drain(..first);
    rows.truncate(PAGE);
    Ok(Chosen { rows, first, total: Some(total), older, looked_at })
}

/// Every row that matches, in order, at most so many, and as far as [`FILE_TIME`] reaches.
pub(super) fn all<R>(
    list: &List<'_, R>,
    source: Source<'_, R>,
    query: &Query,
    most: usize,
) -> Result<Gathered<R>, Problem> {
    let order = Order::read(list, query)?;
    let mut gathered = match source {
        Source::Whole(rows) => {
            let mut rows = matching(list, rows, query);
            rows.truncate(most);
            Gathered { rows, older: None, looked_at: None }
        }
        Source::Stored(read) => gather(list, &read, query, most, Bound::Time(Instant::now() + FILE_TIME))?,
    };
    if let Some(order) = order {
        order.sort(&mut gathered.rows);
    }
    Ok(gathered)
}

fn gather<R>(
    list: &List<'_, R>,
    read: &Read<'_, R>,
    query: &Query,
    most: usize,
    bound: Bound,
) -> Result<Gathered<R>, Problem> {
    let matcher = Matcher::new(list, query);
    let chunk = if matcher.keeps_all() { (most + 1).min(CHUNK) } else { CHUNK };
    let mut at = query.text("before").map(str::to_owned);
    let (mut kept, mut looked) = (Vec::new(), 0);
    loop {
        let rows = read(at.as_deref(), chunk)?;
        let is_last = rows.len() < chunk;
        for row in rows {
            let matches = matcher.matches(&row);
            if matches && kept.len() == most {
                return Ok(Gathered { rows: kept, older: at, looked_at: None });
            }
            at = Some((list.key)(&row));
            looked += 1;
            if matches {
                kept.push(row);
            }
        }
        if is_last {
            return Ok(Gathered { rows: kept, older: None, looked_at: None });
        }
        if bound.is_reached(looked) {
            return Ok(Gathered { rows: kept, older: at, looked_at: Some(looked) });
        }
    }
}

fn matching<R>(list: &List<'_, R>, rows: Vec<R>, query: &Query) -> Vec<R> {
    let matcher = Matcher::new(list, query);
    rows.into_iter().filter(|row| matcher.matches(row)).collect()
}

/// What the address leaves of the rows.
struct Matcher<'l, 'a, R> {
    list: &'l List<'a, R>,
    words: Vec<String>,
    filters: Vec<(usize, String)>,
}

impl<'l, 'a, R> Matcher<'l, 'a, R> {
    fn new(list: &'l List<'a, R>, query: &Query) -> Self {
        let words = query.text("q").unwrap_or("").split_whitespace().map(str::to_lowercase).collect();
        let given = list.filters.iter().enumerate().filter(|(_, filter)| filter.keeps.is_some());
        let filters =
            given.filter_map(|(n, filter)| Some((n, query.text(filter.name)?.to_owned()))).collect();
        Self { list, words, filters }
    }

    fn keeps_all(&self) -> bool {
        self.words.is_empty() && self.filters.is_empty()
    }

    fn matches(&self, row: &R) -> bool {
        let keeps = |(n, value): &(usize, String)| {
            self.list.filters[*n].keeps.as_ref().is_none_or(|keeps| keeps(row, value))
        };
        self.filters.iter().all(keeps) && (self.words.is_empty() || self.says(row))
    }

    /// Whether its columns say every word. Names are searched as they stand in files and as people read them.
    fn says(&self, row: &R) -> bool {
        let mut said = String::new();
        for column in &self.list.columns {
            let value = text(&(column.value)(row)).to_lowercase();
            said.push_str(&value);
            said.push('\n');
            if value.contains('_') {
                said.push_str(&value.replace('_', " "));
                said.push('\n');
            }
        }
        self.words.iter().all(|word| said.contains(word))
    }
}

/// The order that an address asks for.
struct Order<'l, 'a, R> {
    column: &'l Column<'a, R>,
    descends: bool,
}

impl<'l, 'a, R> Order<'l, 'a, R> {
    fn read(list: &'l List<'a, R>, query: &Query) -> Result<Option<Self>, Problem> {
        let sortable = || list.columns.iter().filter(|column| column.sorts);
        let read = |text: &str| {
            let (name, descends) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
            Some(Order { column: sortable().find(|column| column.name == name)?, descends })
        };
        let known = || {
            let names: Vec<&str> = sortable().map(|column| column.name).collect();
            format!("one of {}, with - in front for the other way", names.join(", "))
        };
        query.read("sort", read, known)
    }

    /// What has no value comes last either way.
    fn sort(&self, rows: &mut [R]) {
        let turned = |ordering: Ordering| if self.descends { ordering.reverse() } else { ordering };
        match &self.column.rank {
            Some(rank) => rows.sort_by(|a, b| turned(rank(a).total_cmp(&rank(b)))),
            None => rows
                .sort_by_cached_key(|row| Key { value: (self.column.value)(row), descends: self.descends }),
        }
    }
}

struct Key {
    value: Value,
    descends: bool,
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let ordering = match (&self.value, &other.value) {
            (Value::Null, Value::Null) => return Ordering::Equal,
            (Value::Null, _) => return Ordering::Greater,
            (_, Value::Null) => return Ordering::Less,
            (Value::Number(a), Value::Number(b)) => {
                a.as_f64().unwrap_or(f64::NAN).total_cmp(&b.as_f64().unwrap_or(f64::NAN))
            }
            (a, b) => text(a).to_lowercase().cmp(&text(b).to_lowercase()),
        };
        if self.descends { ordering.reverse() } else { ordering }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key {}

#[cfg(test)]
mod tests {
    use maud::html;
    use serde_json::json;

    use super::*;
    use crate::page::list::Filter;

    /// Rows are numbers; the newest is the greatest.
    fn numbers() -> List<'static, usize> {
        List {
            address: "/numbers",
            nouns: ("number", "numbers"),
            columns: vec![
                Column::new("number", "Number", |n: &usize| json!(n)).class("number").sorted(),
                Column::new("kind", "Kind", |n: &usize| {
                    if n.is_multiple_of(2) { json!("even_one") } else { Value::Null }
                })
                .sorted(),
            ],
            filters: vec![
                Filter::choice("third", "Third", [("yes", "yes"), ("no", "no")])
                    .keeping(|n, value| (n % 3 == 0) == (value == "yes")),
            ],
            key: Box::new(ToString::to_string),
            empty: html! { "none" },
        }
    }

    fn stored(from: usize) -> Source<'static, usize> {
        Source::Stored(Box::new(move |before, limit| {
            let newest = before.map_or(from, |before| before.parse::<usize>().unwrap() - 1);
            Ok((1..=newest).rev().take(limit).collect())
        }))
    }

    fn ask(text: &str, source: Source<'static, usize>) -> Chosen<usize> {
        page(&numbers(), source, &Query::parse(Some(text)).unwrap()).unwrap()
    }

    #[test]
    fn pages_of_what_is_stored_follow_each_other_without_a_gap() {
        let first = ask("", stored(120));
        assert_eq!((first.rows.first(), first.rows.last()), (Some(&120), Some(&71)));
        let second = ask(&format!("before={}", first.older.unwrap()), stored(120));
        assert_eq!((second.rows.first(), second.rows.len()), (Some(&70), 50));
        let third = ask(&format!("before={}", second.older.unwrap()), stored(120));
        assert_eq!((third.rows.len(), third.older), (20, None));
    }

    #[test]
    fn a_search_reads_on_until_it_has_a_page_or_looked_far_enough() {
        let found = ask("q=even+one&third=yes", stored(10_000));
        assert!(found.rows.iter().all(|n| n % 6 == 0) && found.rows.len() == PAGE);
        assert_eq!(found.older.as_deref(), Some("9697"), "the last that was looked at before the next match");
        let rare = ask("q=11", stored(10_000));
        assert!(rare.looked_at.is_none() && rare.rows.len() == PAGE);
        let none = ask("q=nothing", stored(10_000));
        assert_eq!((none.rows.len(), none.looked_at, none.older.as_deref()), (0, Some(5000), Some("5001")));
    }

    #[test]
    fn order_is_by_number_and_what_has_no_value_is_last_both_ways() {
        let rows = |text| ask(text, Source::Whole((1..=60).collect())).rows;
        assert_eq!(rows("sort=-number")[..3], [60, 59, 58]);
        assert_eq!(rows("sort=number&page=2"), (51..=60).collect::<Vec<_>>());
        assert!(rows("sort=kind")[0] % 2 == 0 && rows("sort=-kind")[0] % 2 == 0);
        let refused = page(&numbers(), Source::Whole(vec![1]), &Query::parse(Some("sort=colour")).unwrap());
        assert_eq!(refused.err().and_then(|problem| problem.field).as_deref(), Some("sort"));
    }

    #[test]
    fn a_page_behind_the_last_is_the_last() {
        let chosen = ask("page=9", Source::Whole((1..=60).collect()));
        assert_eq!((chosen.first, chosen.rows.len(), chosen.total), (50, 10, Some(60)));
        assert_eq!(ask("page=3", Source::Whole(Vec::new())).total, Some(0));
    }
}
