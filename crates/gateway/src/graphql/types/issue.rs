//! What is wrong, with what was done about it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use async_graphql::{ID, Object, SimpleObject};
use domain::IssueId;
use store::{PlanRecord, Store};

use super::remediation::Remediation;
use crate::graphql::scalars::{DateTime, IssueType, Severity};
use crate::problem::Problem;

/// What was read of each issue, once.
type Read<T> = OnceLock<Result<HashMap<IssueId, T>, Problem>>;

/// Issues that were asked for together: what lies beside one is read for all of them at once, when it is first asked for.
pub(in crate::graphql) struct Family {
    store: Store,
    ids: Vec<IssueId>,
    issues: Read<Arc<domain::Issue>>,
    plans: Read<Vec<Arc<PlanRecord>>>,
}

impl Family {
    /// Of these issues, read already.
    pub(in crate::graphql) fn of(store: &Store, issues: Vec<domain::Issue>) -> (Arc<Self>, Vec<Issue>) {
        let issues: Vec<Arc<domain::Issue>> = issues.into_iter().map(Arc::new).collect();
        let known = issues.iter().map(|issue| (issue.id, Arc::clone(issue))).collect();
        let family = Self {
            store: store.clone(),
            ids: issues.iter().map(|issue| issue.id).collect(),
            issues: OnceLock::from(Ok(known)),
            plans: OnceLock::new(),
        };
        let family = Arc::new(family);
        let rows = issues.into_iter().map(|issue| Issue { issue, family: Arc::clone(&family) }).collect();
        (family, rows)
    }

    /// Of the issues with these ids, which are read when one is asked for.
    pub(in crate::graphql) fn named(store: &Store, mut ids: Vec<IssueId>) -> Arc<Self> {
        ids.sort_unstable();
        ids.dedup();
        Arc::new(Self { store: store.clone(), ids, issues: OnceLock::new(), plans: OnceLock::new() })
    }

    /// Reads what lies beside now, so that resolvers that must not wait find it.
    pub(in crate::graphql) fn read_all(&self) -> Result<(), Problem> {
        self.issues()?;
        self.plans()?;
        Ok(())
    }

    pub(in crate::graphql) fn issue(self: &Arc<Self>, id: IssueId) -> Result<Option<Issue>, Problem> {
        let issue = self.issues()?.get(&id).cloned();
        Ok(issue.map(|issue| Issue { issue, family: Arc::clone(self) }))
    }

    fn issues(&self) -> Result<&HashMap<IssueId, Arc<domain::Issue>>, Problem> {
        let read = || {
            let found = self.store.issues_by_id(&self.ids)?;
            Ok(found.into_iter().map(|issue| (issue.id, Arc::new(issue))).collect())
        };
        self.issues.get_or_init(read).as_ref().map_err(Clone::clone)
    }

    fn plans(&self) -> Result<&HashMap<IssueId, Vec<Arc<PlanRecord>>>, Problem> {
        let read = || {
            let mut found: HashMap<IssueId, Vec<Arc<PlanRecord>>> = HashMap::new();
            for record in self.store.plans_of_issues(&self.ids)? {
                if let Some(issue) = super::remediation::issue_of(&record.plan) {
                    found.entry(issue).or_default().push(Arc::new(record));
                }
            }
            Ok(found)
        };
        self.plans.get_or_init(read).as_ref().map_err(Clone::clone)
    }
}

/// One of the issue types on one resource, from its detection to its close.
#[derive(Clone)]
pub(in crate::graphql) struct Issue {
    pub(in crate::graphql) issue: Arc<domain::Issue>,
    family: Arc<Family>,
}

/// A measured value.
#[derive(SimpleObject)]
struct Measured {
    /// What was measured; `threshold` is what it is judged by.
    name: String,
    /// The value, in the unit that the name says.
    value: f64,
}

/// One of the issue types on one resource, from its detection to its close.
#[Object]
impl Issue {
    /// Its id.
    async fn id(&self) -> ID {
        ID(self.issue.id.to_string())
    }

    /// What is wrong.
    async fn r#type(&self) -> IssueType {
        self.issue.kind.into()
    }

    /// The finer reason within the type.
    async fn reason(&self) -> &str {
        self.issue.reason.name()
    }

    /// How bad it is.
    async fn severity(&self) -> Severity {
        self.issue.severity.into()
    }

    /// Where, such as `instance/cart-0`.
    async fn resource(&self) -> String {
        self.issue.resource.to_string()
    }

    /// The service it is about; null where it is about none.
    async fn service(&self) -> Option<String> {
        self.issue.resource.service().map(ToString::to_string)
    }

    /// One sentence with figures and the limit they are judged by.
    async fn description(&self) -> &str {
        &self.issue.description
    }

    /// When it was first seen in this occurrence.
    async fn detected_at(&self) -> DateTime {
        DateTime(self.issue.detected_at)
    }

    /// When it was last seen.
    async fn last_seen(&self) -> DateTime {
        DateTime(self.issue.last_seen)
    }

    /// When its signal was back in bounds for good; null while it is open.
    async fn closed_at(&self) -> Option<DateTime> {
        self.issue.closed_at.map(DateTime)
    }

    /// Whether it was raised before it came to pass.
    async fn foretold(&self) -> bool {
        self.issue.is_foretold()
    }

    /// How often the same came back within the damping window.
    async fn recurrences(&self) -> u32 {
        self.issue.recurrences
    }

    /// The measured values.
    async fn evidence(&self) -> Vec<Measured> {
        let told = self
            .issue
            .metrics
            .iter()
            .filter(|(name, value)| value.is_finite() && !domain::Issue::NOTES.contains(&name.as_str()));
        told.map(|(name, value)| Measured { name: name.clone(), value: *value }).collect()
    }

    /// What was planned to repair it, newest first.
    #[graphql(complexity = "1 + 10 * child_complexity")]
    async fn remediations(&self) -> Result<Vec<Remediation>, Problem> {
        let plans = self.family.plans()?.get(&self.issue.id);
        let of = |record: &Arc<PlanRecord>| Remediation::stored(Arc::clone(record), &self.family);
        Ok(plans.into_iter().flatten().map(of).collect())
    }
}
