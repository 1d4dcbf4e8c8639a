//! A list on a page: search, filters, order and paging in its address, and what is chosen by it as CSV or JSON.
//!
//! In: columns, filters and where rows come from ([`Source`]), declared by the page, and the query of the address. Out: a
//! form and a table as two sections, or a file. What is searched is what the columns say, so a new list has nothing to
//! add for it. Everything is a link or a form: no script is needed.

mod choose;
mod export;
pub(super) mod within;

use axum::http::Uri;
use maud::{Markup, html};
use serde_json::Value;

use super::sentence::capital;
use super::{Section, Update};
use crate::body::{Query, encode};
use crate::problem::Problem;
use choose::Chosen;
pub(super) use export::Format;

/// What every list takes beside its filters.
const OWN: [&str; 6] = ["q", "sort", "page", "before", "format", "part"];

/// What is said of a row.
type Of<'a, R, T> = Box<dyn Fn(&R) -> T + 'a>;

/// A column: its name in the address and in files, and what it says of a row.
pub(super) struct Column<'a, R> {
    name: &'static str,
    /// Its heading; `None` for what only files have.
    title: Option<&'static str>,
    class: &'static str,
    value: Of<'a, R, Value>,
    cell: Option<Of<'a, R, Markup>>,
    rank: Option<Of<'a, R, f64>>,
    sorts: bool,
    is_filed: bool,
}

impl<'a, R> Column<'a, R> {
    /// One that is shown as the text of its value.
    pub(super) fn new(name: &'static str, title: &'static str, value: impl Fn(&R) -> Value + 'a) -> Self {
        let value = Box::new(value);
        Self {
            name,
            title: Some(title),
            class: "",
            value,
            cell: None,
            rank: None,
            sorts: false,
            is_filed: true,
        }
    }

    /// One of buttons: there is nothing in it to search or to take away.
    pub(super) fn buttons(name: &'static str, cell: impl Fn(&R) -> Markup + 'a) -> Self {
        Self { is_filed: false, ..Self::new(name, "", |_| Value::Null).shown(cell) }
    }

    /// One that only files have, and the search.
    pub(super) fn unseen(name: &'static str, value: impl Fn(&R) -> Value + 'a) -> Self {
        Self { title: None, ..Self::new(name, "", value) }
    }

    /// What its cells show instead of the value.
    pub(super) fn shown(self, cell: impl Fn(&R) -> Markup + 'a) -> Self {
        Self { cell: Some(Box::new(cell)), ..self }
    }

    /// The classes of its cells.
    pub(super) fn class(self, class: &'static str) -> Self {
        Self { class, ..self }
    }

    /// Rows can be ordered by its values.
    pub(super) fn sorted(self) -> Self {
        Self { sorts: true, ..self }
    }

    /// Rows can be ordered by this, where the values' own order means nothing.
    pub(super) fn ranked(self, rank: impl Fn(&R) -> f64 + 'a) -> Self {
        Self { rank: Some(Box::new(rank)), sorts: true, ..self }
    }

    fn is_number(&self) -> bool {
        self.class.contains("number")
    }

    /// The classes that its heading shares with its cells.
    fn heading_class(&self) -> Option<String> {
        let shared = self.class.split(' ').filter(|class| ["number", "fold"].contains(class));
        Some(shared.collect::<Vec<_>>().join(" ")).filter(|class| !class.is_empty())
    }
}

type Keeps<'a, R> = Box<dyn Fn(&R, &str) -> bool + 'a>;

/// One filter of a list, by its name in the address.
pub(super) struct Filter<'a, R> {
    name: &'static str,
    title: &'static str,
    control: Control,
    /// Which rows it leaves; `None` where the source does that.
    keeps: Option<Keeps<'a, R>>,
}

enum Control {
    /// One of these values, each with its word; none means all.
    Choice(Vec<(String, String)>),
    /// Any text; an example of it.
    Text(&'static str),
    /// A part of the page's own form holds it, or an address that led here.
    Elsewhere,
    /// What the list is of, in every address of its page.
    Subject,
}

impl<'a, R> Filter<'a, R> {
    pub(super) fn choice<V: ToString, W: ToString>(
        name: &'static str,
        title: &'static str,
        choices: impl IntoIterator<Item = (V, W)>,
    ) -> Self {
        let choices = choices.into_iter().map(|(value, word)| (value.to_string(), word.to_string()));
        Self { name, title, control: Control::Choice(choices.collect()), keeps: None }
    }

    pub(super) fn text(name: &'static str, title: &'static str, example: &'static str) -> Self {
        Self { name, title, control: Control::Text(example), keeps: None }
    }

    /// One that the page's own form holds, or an address that leads here, and its source obeys.
    pub(super) fn elsewhere(name: &'static str) -> Self {
        Self { name, title: "", control: Control::Elsewhere, keeps: None }
    }

    /// What the list is of: it narrows nothing, and stays when everything is cleared. Its source obeys it.
    pub(super) fn subject(name: &'static str) -> Self {
        Self { name, title: "", control: Control::Subject, keeps: None }
    }

    fn is_subject(&self) -> bool {
        matches!(self.control, Control::Subject)
    }

    /// Which rows it leaves for a value.
    pub(super) fn keeping(self, keeps: impl Fn(&R, &str) -> bool + 'a) -> Self {
        Self { keeps: Some(Box::new(keeps)), ..self }
    }
}

/// So many rows that are older than the one with this key, newest first.
type Read<'a, R> = Box<dyn Fn(Option<&str>, usize) -> Result<Vec<R>, Problem> + 'a>;

/// Where the rows of a list come from.
pub(super) enum Source<'a, R> {
    /// They are all here, in the order in which they are shown.
    Whole(Vec<R>),
    /// They are many, and are read newest first.
    Stored(Read<'a, R>),
}

/// What a list is, apart from its rows.
pub(super) struct List<'a, R> {
    /// The address of its page.
    pub(super) address: &'static str,
    /// What its rows are called, one and many; files are named by the latter.
    pub(super) nouns: (&'static str, &'static str),
    pub(super) columns: Vec<Column<'a, R>>,
    pub(super) filters: Vec<Filter<'a, R>>,
    /// What names a row: unlike any other's, and for [`Source::Stored`] what `before` takes.
    pub(super) key: Of<'a, R, String>,
    /// What is said where there is nothing at all.
    pub(super) empty: Markup,
}

/// A list with its rows.
pub(super) struct Listed<'a, R> {
    pub(super) list: List<'a, R>,
    pub(super) source: Source<'a, R>,
}

/// The format that an address asks for instead of a page.
pub(super) fn format(uri: &Uri) -> Result<Option<Format>, Problem> {
    Query::parse(uri.query())?.read("format", Format::read, || "csv or json".to_owned())
}

impl<R> Listed<'_, R> {
    /// Whether there is nothing at all, whatever the address chooses.
    pub(super) fn is_bare(&self) -> bool {
        matches!(&self.source, Source::Whole(rows) if rows.is_empty())
    }

    /// Its form, and its rows as they are now.
    pub(super) fn sections(self, query: &Query, id: &'static str) -> Result<[Section; 2], Problem> {
        let form = self.list.search_form(query);
        Ok([Section::still("filters", form), self.rows(query, id, Update::Rows)?])
    }

    /// Its rows alone, for a page that has a form of its own.
    pub(super) fn rows(self, query: &Query, id: &'static str, update: Update) -> Result<Section, Problem> {
        self.list.check(query)?;
        let chosen = choose::page(&self.list, self.source, query);
        let body = chosen.map(|chosen| {
            let table = self.list.table(Some(query), &chosen.rows);
            self.list.body(query, &chosen, &table)
        });
        Section::tried(id, update, &capital(self.list.nouns.1), body)
    }

    /// Its form, and its rows as they are now, each drawn as a part of the page instead of a row of a table.
    pub(super) fn parts(
        self,
        query: &Query,
        id: &'static str,
        part: impl Fn(&R) -> Markup,
    ) -> Result<[Section; 2], Problem> {
        self.list.check(query)?;
        // Without headings the order is chosen in the form, however wide the screen is.
        let form = self.list.form(query, &self.list.order(query, None));
        let chosen = choose::page(&self.list, self.source, query);
        let body = chosen.map(|chosen| {
            let parts = html! { @for row in &chosen.rows { (part(row)) } };
            self.list.body(query, &chosen, &parts)
        });
        let rows = Section::tried(id, Update::Rows, &capital(self.list.nouns.1), body)?;
        Ok([Section::still("filters", form), rows])
    }
}

impl<R> List<'_, R> {
    /// Refuses what no filter takes.
    fn check(&self, query: &Query) -> Result<(), Problem> {
        let names: Vec<&str> = OWN.into_iter().chain(self.filters.iter().map(|filter| filter.name)).collect();
        query.only(&names)?;
        for filter in self.filters.iter().filter(|filter| filter.keeps.is_some()) {
            let Control::Choice(choices) = &filter.control else { continue };
            let read = |text: &str| choices.iter().find(|(value, _)| value == text).map(|_| ());
            let known = || choices.iter().map(|(value, _)| value.as_str()).collect::<Vec<_>>().join(", ");
            query.read(filter.name, read, || format!("one of {}", known()))?;
        }
        Ok(())
    }

    /// Whether rows are left out by anything in the address.
    fn is_narrowed(&self, query: &Query) -> bool {
        query.text("q").is_some() || self.is_filtered(query)
    }

    fn is_filtered(&self, query: &Query) -> bool {
        self.filters.iter().any(|filter| !filter.is_subject() && query.text(filter.name).is_some())
    }

    pub(super) fn search_form(&self, query: &Query) -> Markup {
        self.form(query, &self.order_field(query))
    }

    fn form(&self, query: &Query, order: &Markup) -> Markup {
        html! {
            form class="filters" method="get" action=(self.address) role="search" {
                (self.search_box(query))
                @let fields = html! { @for filter in &self.filters { (field(filter, query)) } (order) };
                (folded(self.is_filtered(query) || query.text("sort").is_some(), &fields))
                button type="submit" { "Show" }
                @if self.is_narrowed(query) { a class="button" href=(self.cleared(query)) { "Clear" } }
                (self.exports(query))
            }
        }
    }

    /// The order, for those to whom no headings are shown: rows are stacked on a narrow screen.
    pub(super) fn order_field(&self, query: &Query) -> Markup {
        self.order(query, Some("narrow-only"))
    }

    fn order(&self, query: &Query, class: Option<&str>) -> Markup {
        let chosen = query.text("sort");
        let sorting = || self.columns.iter().filter(|column| column.sorts);
        let shown = sorting().filter_map(|column| Some((column, column.title?)));
        html! {
            @if sorting().next().is_some() {
                label class=[class] { "Order"
                    select name="sort" {
                        option value="" { "as it comes" }
                        @for (column, title) in shown {
                            @for (value, arrow) in [(column.name.to_owned(), "↑"), (format!("-{}", column.name), "↓")] {
                                option value=(value) selected[chosen == Some(value.as_str())] { (title) " " (arrow) }
                            }
                        }
                    }
                }
            }
        }
    }

    /// The search box for a page's own form.
    pub(super) fn search_box(&self, query: &Query) -> Markup {
        html! {
            label class="search-box" { "Search"
                input type="search" name="q" value=[query.text("q")] placeholder={ "any words of " (self.nouns.1) } spellcheck="false" autocomplete="off";
            }
        }
    }

    /// Links to files of what is chosen.
    pub(super) fn exports(&self, query: &Query) -> Markup {
        let address = |format: &str| {
            format!(
                "{}?{}",
                self.address,
                query.changed(&[("format", format), ("page", ""), ("before", ""), ("limit", "")])
            )
        };
        html! {
            span class="exports" {
                "Export "
                a href=(address("csv")) download title={ "All that is chosen, at most " (export::ROWS) " rows" } { "CSV" } " "
                a href=(address("json")) download title={ "All that is chosen, at most " (export::ROWS) " rows" } { "JSON" }
            }
        }
    }

    fn body(&self, query: &Query, chosen: &Chosen<R>, rows: &Markup) -> Markup {
        html! {
            @if !chosen.rows.is_empty() { (rows) }
            @else if self.is_narrowed(query) {
                p class="empty" { "No " (self.nouns.0) " matches" (looked_at(chosen)) ". " a href=(self.cleared(query)) { "Clear search and filters" } }
            } @else { (self.empty) }
            (self.pager(query, chosen))
        }
    }

    /// Its rows on a page that is about something else: as they are given, without an order of their own.
    pub(super) fn plain(&self, rows: &[R]) -> Markup {
        if rows.is_empty() { self.empty.clone() } else { self.table(None, rows) }
    }

    fn table(&self, query: Option<&Query>, rows: &[R]) -> Markup {
        let shown: Vec<_> = self.columns.iter().filter_map(|column| Some((column, column.title?))).collect();
        html! {
            div class="scroll" { table class="stacks list" {
                thead { tr {
                    @for (column, title) in &shown {
                        th class=[column.heading_class()] aria-sort=[query.and_then(|query| direction(column, query))] {
                            @match query.filter(|_| column.sorts) {
                                Some(query) => a href=(self.order_address(column, query)) { (title) },
                                None => (title),
                            }
                        }
                    }
                } }
                tbody {
                    @for row in rows {
                        tr data-key=((self.key)(row)) {
                            @for (place, (column, title)) in shown.iter().enumerate() {
                                @let value = (column.value)(row);
                                @let label = (place > 1 && !column.class.contains("wide")).then_some(title);
                                td class={ (column.class) @if value.is_null() { " none" } } data-label=[label] {
                                    @match &column.cell { Some(cell) => (cell(row)), None => (text(&value)) }
                                }
                            }
                        }
                    }
                }
            } }
        }
    }

    /// From the order that is likelier wanted to the other one, and back to none.
    fn order_address(&self, column: &Column<'_, R>, query: &Query) -> String {
        let (up, down) = (column.name.to_owned(), format!("-{}", column.name));
        let (first, second) = if column.is_number() { (down, up) } else { (up, down) };
        let next = match query.text("sort") {
            Some(now) if now == first => second,
            Some(now) if now == second => String::new(),
            _ => first,
        };
        self.address_with(query, &[("sort", &next), ("page", "")])
    }

    /// The address of all that the list has.
    fn cleared(&self, query: &Query) -> String {
        let subjects = self.filters.iter().filter(|filter| filter.is_subject());
        let kept = subjects.filter_map(|filter| Some((filter.name, query.text(filter.name)?)));
        let kept: Vec<String> = kept.map(|(name, value)| format!("{name}={}", encode(value))).collect();
        if kept.is_empty() { self.address.to_owned() } else { format!("{}?{}", self.address, kept.join("&")) }
    }

    /// The address of what is seen, with parameters set to other values.
    pub(super) fn address_with(&self, query: &Query, changes: &[(&str, &str)]) -> String {
        match query.changed(changes) {
            rest if rest.is_empty() => self.address.to_owned(),
            rest => format!("{}?{rest}", self.address),
        }
    }

    fn pager(&self, query: &Query, chosen: &Chosen<R>) -> Markup {
        let at = |page: usize| {
            let page = if page > 1 { page.to_string() } else { String::new() };
            self.address_with(query, &[("page", &page)])
        };
        let (first, last) = (chosen.first + 1, chosen.first + chosen.rows.len());
        let page = chosen.first / choose::PAGE + 1;
        let goes_on = chosen.total.is_some_and(|total| last < total);
        let is_needed =
            chosen.first > 0 || goes_on || chosen.older.is_some() || query.text("before").is_some();
        html! {
            @if is_needed || chosen.total.is_some_and(|total| total > 0) {
                nav class="pager" aria-label={ "Pages of " (self.nouns.1) } {
                    @match chosen.total {
                        Some(1) => span { "1 " (self.nouns.0) },
                        Some(total) if chosen.rows.len() == total => span { (total) " " (self.nouns.1) },
                        Some(total) => span { (first) "–" (last) " of " (total) " " (self.nouns.1) },
                        None => span { (chosen.rows.len()) " " (self.nouns.1) " shown" },
                    }
                    @if chosen.looked_at.is_some() && !chosen.rows.is_empty() { span { (looked_at(chosen)) } }
                    @if chosen.first > 0 { a rel="prev" href=(at(page - 1)) { "Previous" } }
                    @if goes_on { a rel="next" href=(at(page + 1)) { "Next" } }
                    @if query.text("before").is_some() { a href=(self.address_with(query, &[("before", ""), ("page", "")])) { "Newest" } }
                    @if let (Some(older), false) = (&chosen.older, goes_on) {
                        a rel="next" href=(self.address_with(query, &[("before", older), ("page", "")])) { "Older" }
                    }
                }
            }
        }
    }
}

/// Fields of a form that a narrow screen folds away, so that what they are about is on it: open where one of them is
/// used. Where there is room they stand in the form as if there were no fold.
pub(super) fn folded(is_open: bool, fields: &Markup) -> Markup {
    html! {
        @if !fields.0.is_empty() {
            details class="folded" open[is_open] {
                summary class="button" { "Filters" }
                div class="fields" { (fields) }
            }
        }
    }
}

/// How the address orders by a column.
fn direction<R>(column: &Column<'_, R>, query: &Query) -> Option<&'static str> {
    let order = query.text("sort")?;
    let (name, word) = order.strip_prefix('-').map_or((order, "ascending"), |name| (name, "descending"));
    (name == column.name).then_some(word)
}

/// What a search that ended early looked at.
fn looked_at<R>(chosen: &Chosen<R>) -> String {
    chosen.looked_at.map_or(String::new(), |rows| format!(" among the {rows} that were looked at"))
}

fn field<R>(filter: &Filter<'_, R>, query: &Query) -> Markup {
    let chosen = query.text(filter.name);
    html! {
        @match &filter.control {
            Control::Choice(choices) => label { (filter.title)
                select name=(filter.name) {
                    option value="" { "all" }
                    @for (value, word) in choices { option value=(value) selected[chosen == Some(value)] { (word) } }
                    @if let Some(other) = chosen.filter(|chosen| !choices.iter().any(|(value, _)| value == chosen)) {
                        option value=(other) selected { (other) }
                    }
                }
            },
            Control::Text(example) => label { (filter.title)
                input type="text" name=(filter.name) value=[chosen] placeholder=(example) spellcheck="false";
            },
            // What no field shows is chosen on: the search is among what is seen.
            Control::Elsewhere | Control::Subject => @for value in query.all(filter.name) {
                input type="hidden" name=(filter.name) value=(value);
            },
        }
    }
}

/// A value as a cell shows it, and as it is searched.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
