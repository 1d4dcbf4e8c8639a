//! Deployments: the table `deployments`.

use domain::{Deployment, DeploymentId, DeploymentSource, PlanId, SeenBy, ServiceName, Time};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params, params_from_iter};

use crate::LIST_LIMIT_MAX;
use crate::changes::Topic;
use crate::error::Result;
use crate::plans::column;
use crate::store::{Purpose, Store, from_json, to_json};

/// Which deployments are listed.
#[derive(Debug, Clone)]
pub struct DeploymentFilter {
    /// That began at or after this, by wall clock.
    pub since: Time,
    /// Of one service.
    pub service: Option<ServiceName>,
    /// Only those that are listed behind this one.
    pub before: Option<DeploymentId>,
    /// At most this many, and never more than [`LIST_LIMIT_MAX`].
    pub limit: usize,
}

impl Store {
    /// Deployments, newest first. Behind one that is not there nothing is listed.
    pub fn list_deployments(&self, filter: &DeploymentFilter) -> Result<Vec<Deployment>> {
        let before = filter.before.map(|id| id.to_string());
        self.deployments_where(
            "began_wall_us >= ?1 AND (?2 IS NULL OR service = ?2)
             AND (?3 IS NULL OR (began_wall_us, id) < (SELECT began_wall_us, id FROM deployments WHERE id = ?3))",
            &[&filter.since.wall_us, &filter.service.as_ref().map(ServiceName::as_str), &before],
            filter.limit,
        )
    }

    /// Records a deployment, or what is known of it by now.
    ///
    /// What spans show or somebody tells is recorded once: where the last deployment of the service is to the same
    /// version, nothing is written. Returns the deployment that stands for it.
    pub fn record_deployment(&self, deployment: &Deployment) -> Result<Deployment> {
        let (stands, written) = self.write(Purpose::Record, |tx| {
            if deployment.seen_by != SeenBy::Plan
                && let Some(last) = last_of(tx, &deployment.service)?
                && last.id != deployment.id
                && last.version == deployment.version
            {
                return Ok((last, false));
            }
            upsert(tx, deployment)?;
            Ok((deployment.clone(), true))
        })?;
        if written {
            self.listeners().tell(Topic::Deployments, stands.id);
        }
        Ok(stands)
    }

    /// The deployments that began at or after `since`, by wall clock, oldest first; of more than
    /// [`LIST_LIMIT_MAX`] the newest.
    pub fn deployments(&self, since: Time) -> Result<Vec<Deployment>> {
        let mut found = self.deployments_where("began_wall_us >= ?1", &[&since.wall_us], LIST_LIMIT_MAX)?;
        found.reverse();
        Ok(found)
    }

    /// One deployment.
    pub fn deployment(&self, id: DeploymentId) -> Result<Option<Deployment>> {
        Ok(self.deployments_where("id = ?1", &[&id.to_string()], 1)?.pop())
    }

    /// The last deployment of a service.
    pub fn last_deployment(&self, service: &ServiceName) -> Result<Option<Deployment>> {
        self.read(|connection| last_of(connection, service))
    }

    /// The deployment that a plan made.
    pub fn deployment_of_plan(&self, plan: PlanId) -> Result<Option<Deployment>> {
        Ok(self.deployments_where("plan_id = ?1", &[&plan.to_string()], 1)?.pop())
    }

    /// The newest of those, at most `limit`.
    fn deployments_where(
        &self,
        condition: &str,
        values: &[&dyn ToSql],
        limit: usize,
    ) -> Result<Vec<Deployment>> {
        let limit = limit.min(LIST_LIMIT_MAX);
        let bound = values.len() + 1;
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT id, document FROM deployments WHERE {condition}
                 ORDER BY began_wall_us DESC, id DESC LIMIT ?{bound}"
            ))?;
            let mut rows =
                statement.query(params_from_iter(values.iter().copied().chain([&limit as &dyn ToSql])))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(read(row)?);
            }
            Ok(found)
        })
    }
}

impl DeploymentSource for Store {
    /// A look at the fleet does not fail because the past cannot be read; who lists deployments is told the error.
    fn deployments_since(&self, since: Time) -> Vec<Deployment> {
        self.deployments(since).unwrap_or_default()
    }
}

fn last_of(connection: &Connection, service: &ServiceName) -> Result<Option<Deployment>> {
    connection
        .prepare_cached(
            "SELECT id, document FROM deployments WHERE service = ?1
             ORDER BY began_wall_us DESC, id DESC LIMIT 1",
        )?
        .query_row([service.as_str()], |row| Ok(read(row)))
        .optional()?
        .transpose()
}

fn read(row: &Row<'_>) -> Result<Deployment> {
    let (id, document): (String, String) = (row.get(0)?, row.get(1)?);
    from_json(|| format!("deployment {id}"), &document)
}

fn upsert(connection: &Connection, deployment: &Deployment) -> Result<()> {
    let (boot_us, wall_us) = column(deployment.at);
    connection
        .prepare_cached(
            "INSERT INTO deployments (id, service, version, previous_version, seen_by, plan_id, began_boot_us,
                 began_wall_us, document)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (id) DO UPDATE SET document = ?9",
        )?
        .execute(params![
            deployment.id.to_string(),
            deployment.service.as_str(),
            deployment.version,
            deployment.previous_version,
            deployment.seen_by.name(),
            deployment.plan.map(|plan| plan.to_string()),
            boot_us,
            wall_us,
            to_json(deployment)?,
        ])?;
    Ok(())
}
