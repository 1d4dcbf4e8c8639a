//! Issues: the table `self_healing_issues`.

use std::cmp::Reverse;

use domain::{Issue, IssueId, IssueKind, ResourceId, Severity, Time};
use rusqlite::{Connection, ToSql, params};

use crate::changes::Topic;
use crate::error::Result;
use crate::store::{Purpose, Store, from_json, to_json};
use crate::{LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX};

/// Whether an issue is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssueState {
    /// It was not seen to be well yet.
    Open,
    /// It is over.
    Closed,
}

impl IssueState {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Open, Self::Closed];

    /// Of an issue.
    pub fn of(issue: &Issue) -> Self {
        if issue.closed_at.is_some() { Self::Closed } else { Self::Open }
    }

    /// The name in the API, the CLI and on pages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// Which issues to list.
#[derive(Debug, Clone, PartialEq)]
pub struct IssueFilter {
    /// How many at most; above [`LIST_LIMIT_MAX`] is taken as that.
    pub limit: usize,
    /// Only those older than this one: the next page.
    pub before: Option<IssueId>,
    /// Only open ones, or only those that are over.
    pub state: Option<IssueState>,
    /// Only of this type.
    pub kind: Option<IssueKind>,
    /// Only of this severity.
    pub severity: Option<Severity>,
    /// Only on this resource.
    pub resource: Option<ResourceId>,
    /// Only those detected at or after this time, by wall clock.
    pub since: Option<Time>,
}

impl Default for IssueFilter {
    fn default() -> Self {
        Self {
            limit: LIST_LIMIT_DEFAULT,
            before: None,
            state: None,
            kind: None,
            severity: None,
            resource: None,
            since: None,
        }
    }
}

impl Store {
    /// Writes an issue, new or changed.
    pub fn save_issue(&self, issue: &Issue) -> Result<()> {
        self.save_issues(&[issue])
    }

    /// Writes several, new or changed, in one transaction: on a disk each transaction is waited for.
    pub fn save_issues(&self, issues: &[&Issue]) -> Result<()> {
        if issues.is_empty() {
            return Ok(());
        }
        self.write(Purpose::Repair, |tx| issues.iter().try_for_each(|issue| upsert(tx, issue)))?;
        for issue in issues {
            self.listeners().tell(Topic::Issues, issue.id);
        }
        Ok(())
    }

    /// One issue.
    pub fn issue(&self, id: IssueId) -> Result<Option<Issue>> {
        let found = self.issues_where("id = ?1", &[&id.to_string()], 1)?;
        Ok(found.into_iter().next())
    }

    /// Those of these issues that there are, newest first, in one read.
    pub fn issues_by_id(&self, ids: &[IssueId]) -> Result<Vec<Issue>> {
        let ids: Vec<String> = ids.iter().map(IssueId::to_string).collect();
        self.issues_where("id IN (SELECT value FROM json_each(?1))", &[&to_json(&ids)?], usize::MAX)
    }

    /// Every issue that is not closed, newest first.
    pub fn open_issues(&self) -> Result<Vec<Issue>> {
        self.issues_where("closed_at IS NULL", &[], usize::MAX)
    }

    /// The issues that pass the filter, newest first.
    pub fn issues(&self, filter: &IssueFilter) -> Result<Vec<Issue>> {
        let (select, values) = listing(filter);
        let values: Vec<&dyn ToSql> = values.iter().map(|value| value as &dyn ToSql).collect();
        self.issues_of(&select, &values)
    }

    /// The issues that were open at some time of a range of the wall clock, newest first: all that are open now, and of the
    /// others the newest [`LIST_LIMIT_MAX`].
    pub fn issues_within(&self, from: Time, to: Time) -> Result<Vec<Issue>> {
        let (from, to) = (from.rfc3339(), to.rfc3339());
        // Read first: one that closes between the two is in both, never in none.
        let open = "detected_at <= ?1 AND id IN (SELECT id FROM self_healing_issues WHERE closed_at IS NULL)";
        let open = self.issues_where(open, &[&to], usize::MAX)?;
        let closed = "detected_at <= ?2 AND id IN (SELECT id FROM self_healing_issues WHERE closed_at >= ?1)";
        let mut found = self.issues_where(closed, &[&from, &to], LIST_LIMIT_MAX)?;
        found.extend(open);
        found.sort_by_key(|issue| Reverse(issue.id));
        found.dedup_by_key(|issue| issue.id);
        Ok(found)
    }

    /// The [`LIST_LIMIT_MAX`] issues that were closed last, newest first.
    pub fn issues_closed_last(&self) -> Result<Vec<Issue>> {
        let last = format!(
            "id IN (SELECT id FROM self_healing_issues WHERE closed_at IS NOT NULL
                 ORDER BY closed_at DESC LIMIT {LIST_LIMIT_MAX})"
        );
        self.issues_where(&last, &[], usize::MAX)
    }

    fn issues_where(&self, condition: &str, values: &[&dyn ToSql], limit: usize) -> Result<Vec<Issue>> {
        self.issues_of(&select("", condition, limit), values)
    }

    fn issues_of(&self, select: &str, values: &[&dyn ToSql]) -> Result<Vec<Issue>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(select)?;
            let mut rows = statement.query(values)?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let (id, document): (String, String) = (row.get(0)?, row.get(1)?);
                found.push(from_json(|| format!("issue {id}"), &document)?);
            }
            Ok(found)
        })
    }
}

/// Newest first; `by` is the index, where the engine must not choose.
fn select(by: &str, condition: &str, limit: usize) -> String {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    format!(
        "SELECT id, document FROM self_healing_issues {by} WHERE {condition} ORDER BY id DESC LIMIT {limit}"
    )
}

/// What asks for the issues that pass a filter, with its values. Only what is asked for: a condition that may be none
/// keeps the engine from using an index.
fn listing(filter: &IssueFilter) -> (String, Vec<String>) {
    // Open ones are few, whatever else is asked of them. Closed ones are nearly all, and come in order without an index
    // of when they closed.
    let (by, state) = match filter.state {
        Some(IssueState::Open) => ("INDEXED BY issues_open", "closed_at IS NULL"),
        Some(IssueState::Closed) => ("", "+closed_at IS NOT NULL"),
        None => ("", "TRUE"),
    };
    let asked = [
        ("id < ?", filter.before.map(|id| id.to_string())),
        ("type = ?", filter.kind.map(|kind| kind.name().to_owned())),
        ("severity = ?", filter.severity.map(|severity| severity.name().to_owned())),
        ("resource = ?", filter.resource.as_ref().map(ResourceId::to_string)),
        ("detected_at >= ?", filter.since.map(Time::rfc3339)),
    ];
    let (mut conditions, mut values) = (vec![state], Vec::new());
    for (condition, value) in asked {
        if let Some(value) = value {
            conditions.push(condition);
            values.push(value);
        }
    }
    (select(by, &conditions.join(" AND "), filter.limit.min(LIST_LIMIT_MAX)), values)
}

fn upsert(connection: &Connection, issue: &Issue) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO self_healing_issues (id, type, severity, resource, description, detected_at,
                 metrics, created_at, reason, closed_at, document)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (id) DO UPDATE SET severity = ?3, description = ?5, detected_at = ?6, metrics = ?7,
                 reason = ?9, closed_at = ?10, document = ?11",
        )?
        .execute(params![
            issue.id.to_string(),
            issue.kind.name(),
            issue.severity.name(),
            issue.resource.to_string(),
            issue.description,
            issue.detected_at.rfc3339(),
            to_json(&issue.metrics)?,
            issue.last_seen.rfc3339(),
            issue.reason.name(),
            issue.closed_at.map(Time::rfc3339),
            to_json(issue)?,
        ])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How the engine goes about a question, a line for each table or sort.
    fn way(store: &Store, select: &str, values: &[String]) -> Vec<String> {
        let explain = |connection: &Connection| -> Result<Vec<String>> {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {select}"))?;
            let values = rusqlite::params_from_iter(values);
            Ok(statement.query_map(values, |row| row.get(3))?.collect::<std::result::Result<_, _>>()?)
        };
        store.read(explain).unwrap()
    }

    #[test]
    fn open_issues_are_found_by_their_own_index_and_in_order_whatever_else_is_asked() {
        let store = Store::in_memory().unwrap();
        let open = IssueFilter { state: Some(IssueState::Open), ..IssueFilter::default() };
        let id: IssueId = "019aa000-0000-7000-8000-000000000000".parse().unwrap();
        let since = Some(Time { boot_us: 0, wall_us: 0 });
        let asked = [
            open.clone(),
            IssueFilter { before: Some(id), ..open.clone() },
            IssueFilter { since, ..open.clone() },
            IssueFilter { kind: Some(IssueKind::HighCpu), severity: Some(Severity::Low), ..open.clone() },
            IssueFilter {
                resource: Some("instance/cart-0".parse().unwrap()),
                before: Some(id),
                since,
                ..open
            },
        ];
        for filter in asked {
            let (select, values) = listing(&filter);
            let way = way(&store, &select, &values);
            assert!(way.len() == 1 && way[0].contains("INDEX issues_open"), "{filter:?}: {way:?}");
        }
    }

    #[test]
    fn a_page_of_closed_issues_reads_them_in_order_and_sorts_none() {
        let store = Store::in_memory().unwrap();
        let closed = IssueFilter { state: Some(IssueState::Closed), ..IssueFilter::default() };
        let (select, values) = listing(&closed);
        let way = way(&store, &select, &values);
        assert!(way.len() == 1 && !way[0].contains("issues_closed"), "{way:?}");
    }
}
