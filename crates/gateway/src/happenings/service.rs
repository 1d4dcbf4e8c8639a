//! How one service is: what is known of it, gathered for `decide::service`.

use decide::service::{Calls, ServiceFacts, ServiceHealth, service_health};
use domain::snapshot::Phase;
use domain::{Happening, Issue, ServiceName, Time};

use super::{DAY_SECONDS, RECENT_SECONDS, Source, active_alerts, calls_over};
use crate::api::STALE_AFTER;
use crate::problem::Problem;
use crate::serve::App;
use crate::shapes::{ServiceContext, ServiceHealthShape};

/// A service, and how it is.
pub(crate) struct KnownService {
    pub(crate) name: String,
    pub(crate) health: ServiceHealth,
    pub(crate) last_deployment: Option<Happening>,
    active_alerts: Vec<Happening>,
    open_issues: usize,
    recent: Option<(Calls, Source)>,
    day: Option<Calls>,
}

/// What is known of a service; `None` where nothing is: not declared, no spans, nobody calls it.
pub(crate) fn known(app: &App, name: &str) -> Result<Option<KnownService>, Problem> {
    let issues = app.store.open_issues()?;
    of(app, name, &issues)
}

/// As [`known`], with the open issues at hand.
pub(crate) fn of(app: &App, name: &str, issues: &[Issue]) -> Result<Option<KnownService>, Problem> {
    let now = app.clock.now();
    let snapshot = app.control.snapshot();
    let declared = ServiceName::new(name)
        .ok()
        .and_then(|name| snapshot.as_ref().and_then(|snapshot| snapshot.services.get(&name)));
    let day = calls_over(app, name, DAY_SECONDS, now.wall_us);
    let recent = calls_over(app, name, RECENT_SECONDS, now.wall_us);
    if declared.is_none() && day.is_none() && recent.is_none() {
        return Ok(None);
    }
    // Where spans were counted today and none came lately, nothing was asked lately.
    let quiet = Calls { seconds: RECENT_SECONDS as f64, calls: 0.0, errors: 0.0, mean_ms: None };
    let recent = recent.or_else(|| day.map(|(_, source)| (quiet, source)));
    let fresh = snapshot.as_ref().is_some_and(|snapshot| now.since(snapshot.taken) <= STALE_AFTER);
    let instances = declared.filter(|_| fresh).map(|state| {
        let ready = state.instances.values().filter(|instance| instance.phase == Phase::Ready).count();
        (u32::try_from(ready).unwrap_or(u32::MAX), state.replicas)
    });
    let on_it = |issue: &&Issue| issue.resource.service().is_some_and(|service| service.as_str() == name);
    let open_issues = issues.iter().filter(on_it).count();
    let active_alerts = active_alerts(app, Some(name), now)?;
    let facts = ServiceFacts {
        instances,
        recent: recent.map(|(calls, _)| calls),
        day: day.map(|(calls, _)| calls),
        open_issues,
        active_alerts: active_alerts.len(),
    };
    Ok(Some(KnownService {
        name: name.to_owned(),
        health: service_health(&facts),
        last_deployment: super::last_deployment(app, name)?,
        active_alerts,
        open_issues,
        recent,
        day: day.map(|(calls, _)| calls),
    }))
}

impl KnownService {
    /// In words, who counted the recent calls, and over how many seconds.
    pub(crate) fn counted(&self) -> Option<(&'static str, f64)> {
        let (calls, source) = self.recent?;
        let words = match source {
            Source::Spans => "by its spans",
            Source::Links => "as its callers' proxies counted",
            Source::Look => "as its callers see them",
        };
        Some((words, calls.seconds))
    }

    /// As it goes over the wire.
    pub(crate) fn shape(&self, now: Time) -> ServiceHealthShape {
        let context = ServiceContext {
            last_deployment: self.last_deployment.as_ref(),
            active_alerts: &self.active_alerts,
            open_issues: self.open_issues,
            counted_by: self.recent.map(|(_, source)| source.name()),
            window_seconds: self.recent.map(|(calls, _)| calls.seconds),
            availability_window_seconds: self.day.map(|calls| calls.seconds),
            now,
        };
        ServiceHealthShape::new(&self.name, &self.health, &context)
    }
}
