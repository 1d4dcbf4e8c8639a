//! Issues: the table `self_healing_issues`.

use domain::{Issue, IssueId, IssueKind, ResourceId, Severity, Time};
use rusqlite::{Connection, ToSql, params};

use crate::changes::Topic;
use crate::error::Result;
use crate::store::{Purpose, Store, from_json, to_json};
use crate::{LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX};

/// Which issues to list.
#[derive(Debug, Clone, PartialEq)]
pub struct IssueFilter {
    /// How many at most; above [`LIST_LIMIT_MAX`] is taken as that.
    pub limit: usize,
    /// Only those older than this one: the next page.
    pub before: Option<IssueId>,
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
        let before = filter.before.map(|id| id.to_string());
        let kind = filter.kind.map(IssueKind::name);
        let severity = filter.severity.map(Severity::name);
        let resource = filter.resource.as_ref().map(ResourceId::to_string);
        let since = filter.since.map(Time::rfc3339);
        // Only what is asked for: a condition that may be none keeps the engine from using an index.
        let mut conditions = vec!["TRUE"];
        let mut values: Vec<&dyn ToSql> = Vec::new();
        if let Some(before) = &before {
            conditions.push("id < ?");
            values.push(before);
        }
        if let Some(kind) = &kind {
            conditions.push("type = ?");
            values.push(kind);
        }
        if let Some(severity) = &severity {
            conditions.push("severity = ?");
            values.push(severity);
        }
        if let Some(resource) = &resource {
            conditions.push("resource = ?");
            values.push(resource);
        }
        if let Some(since) = &since {
            conditions.push("detected_at >= ?");
            values.push(since);
        }
        self.issues_where(&conditions.join(" AND "), &values, filter.limit.min(LIST_LIMIT_MAX))
    }

    /// The issues that were open at some time of a range of the wall clock, newest first, at most [`LIST_LIMIT_MAX`].
    pub fn issues_within(&self, from: Time, to: Time) -> Result<Vec<Issue>> {
        self.issues_where(
            "detected_at <= ?2 AND id IN (
                 SELECT id FROM self_healing_issues WHERE closed_at >= ?1
                 UNION ALL SELECT id FROM self_healing_issues WHERE closed_at IS NULL)",
            &[&from.rfc3339(), &to.rfc3339()],
            LIST_LIMIT_MAX,
        )
    }

    fn issues_where(&self, condition: &str, values: &[&dyn ToSql], limit: usize) -> Result<Vec<Issue>> {
        self.read(|connection| {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut statement = connection.prepare_cached(&format!(
                "SELECT id, document FROM self_healing_issues WHERE {condition} ORDER BY id DESC LIMIT {limit}"
            ))?;
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
