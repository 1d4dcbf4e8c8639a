//! What somebody asks to be done, and to what, in words for the audit trail: the same by REST, GraphQL and forms.
//!
//! In: what was asked for, once it was read. Out: a [`Deed`] that goes with the answer, whatever that is. A handler tells it
//! before it does anything, by [`Telling`], so that what was refused is told as well. No secret gets in: passwords, tokens and
//! second factors are said to be there, of variables the names, and of a command that there is one. The trail bounds the length.

use std::cell::RefCell;
use std::time::Duration;

use axum::response::Response;
use domain::units::show_duration;
use domain::{Action, Fault, IssueId, PasskeyId, PlanId, PlanStatus, ResourceId, Role, ServiceName, TokenId};
use store::{Store, UserRecord};

use crate::access::{Access, Admission, Factors, TokenRequest, UserRequest, UserUpdate};
use crate::control::{Automation, DeployRequest, ExperimentRequest, Planned, RunMode, Target};
use crate::phrases;

/// What is done to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deed {
    /// The kind of thing and its name, such as `user/ada`, as resources are written.
    pub(crate) target: String,
    /// What it is to become, such as `roles viewer, approver`.
    pub(crate) detail: Option<String>,
    /// The reason that was given.
    pub(crate) why: Option<String>,
}

/// What the handler of one request told so far.
#[derive(Debug, Default)]
pub(crate) struct Telling(RefCell<Option<Deed>>);

impl Telling {
    /// Says what is about to be done, in place of what was said before.
    pub(crate) fn tell(&self, deed: Deed) {
        self.0.replace(Some(deed));
    }

    /// Says more of it, such as what came of it.
    pub(crate) fn add(&self, more: impl AsRef<str>) {
        self.change(|deed| deed.and(more));
    }

    /// Says which plan does it.
    pub(crate) fn planned(&self, mode: RunMode, planned: &Planned) {
        self.change(|deed| deed.planned(mode, planned));
    }

    /// The answer with what was told of it.
    pub(crate) fn with(self, mut answer: Response) -> Response {
        if let Some(deed) = self.0.into_inner() {
            answer.extensions_mut().insert(deed);
        }
        answer
    }

    fn change(&self, change: impl FnOnce(Deed) -> Deed) {
        let told = self.0.take();
        self.0.replace(told.map(change));
    }
}

impl Deed {
    /// Something is done to this.
    pub(crate) fn of(target: impl Into<String>) -> Self {
        Self { target: target.into(), detail: None, why: None }
    }

    /// What it becomes besides.
    #[must_use]
    pub(crate) fn and(self, more: impl AsRef<str>) -> Self {
        let more = more.as_ref();
        let detail = match self.detail {
            Some(detail) => format!("{detail}; {more}"),
            None => more.to_owned(),
        };
        Self { detail: Some(detail), ..self }
    }

    /// The reason that was given.
    #[must_use]
    pub(crate) fn because(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..self }
    }

    /// The plan that does it: what it would bring up, what it does where nothing was told of that, and whether it waits.
    #[must_use]
    pub(crate) fn planned(mut self, mode: RunMode, planned: &Planned) -> Self {
        if let Some(Action::BringUp { infrastructure, .. }) =
            planned.plan.steps.first().map(|step| &step.action)
        {
            self.target = format!("infrastructure/{}", infrastructure.name);
        }
        if self.detail.is_none() {
            self = self.and(&planned.plan.summary);
        }
        match (mode, planned.status) {
            (RunMode::DryRun, _) => self.and("dry run"),
            (RunMode::Run, PlanStatus::AwaitingApproval) => self.and("awaits approval"),
            (RunMode::Run, _) => self,
        }
    }

    pub(crate) fn automation(automation: Automation) -> Self {
        Self::of("automation").and(match automation {
            Automation::On => "on",
            Automation::Off => "off",
        })
    }

    pub(crate) fn service(name: &ServiceName) -> Self {
        Self::of(format!("service/{name}"))
    }

    pub(crate) fn pause(service: &ServiceName, time: Duration) -> Self {
        Self::service(service).and(format!("paused for {}", show_duration(time)))
    }

    pub(crate) fn resume(service: &ServiceName) -> Self {
        Self::service(service).and("no longer paused")
    }

    pub(crate) fn scale(service: &ServiceName, replicas: u32) -> Self {
        Self::service(service).and(format!("replicas {replicas}"))
    }

    pub(crate) fn version(service: &ServiceName, version: &str) -> Self {
        Self::service(service).and(format!("version {version}"))
    }

    /// A command may hold a password as a variable may.
    pub(crate) fn deploy(service: &ServiceName, request: &DeployRequest) -> Self {
        let DeployRequest { version, command, environment } = request;
        let mut deed = Self::version(service, version);
        if command.is_some() {
            deed = deed.and("another command");
        }
        if !environment.is_empty() {
            deed = deed.and(format!("environment {}", list(environment.keys())));
        }
        deed
    }

    /// Of one that is to be brought up the name is known once it is planned.
    pub(crate) fn bring_up() -> Self {
        Self::of("infrastructure")
    }

    pub(crate) fn take_down(name: &ServiceName) -> Self {
        Self::of(format!("infrastructure/{name}")).and("taken down with its volumes")
    }

    pub(crate) fn repair(issue: IssueId) -> Self {
        Self::of(format!("issue/{issue}"))
    }

    pub(crate) fn remediation(plan: PlanId) -> Self {
        Self::of(format!("remediation/{plan}"))
    }

    pub(crate) fn experiment(request: &ExperimentRequest) -> Self {
        let ExperimentRequest { kind, target, duration, .. } = request;
        let (resource, at) = match target {
            Target::Resource(resource) => (resource.clone(), resource.to_string()),
            Target::Service { service, max_targets } => {
                (ResourceId::Service(service.clone()), format!("up to {max_targets} of service {service}"))
            }
        };
        let fault = Fault { target: resource, kind: kind.clone(), duration: *duration };
        Self::of(at).and(phrases::fault(&fault))
    }

    pub(crate) fn trace(id: impl std::fmt::Display) -> Self {
        Self::of(format!("trace/{id}"))
    }

    pub(crate) fn user(name: &str) -> Self {
        Self::of(format!("user/{name}"))
    }

    pub(crate) fn new_user(request: &UserRequest) -> Self {
        let UserRequest { name, display_name, roles, password } = request;
        let mut deed = Self::user(name).and(roles_of(roles));
        if !display_name.is_empty() {
            deed = deed.and(format!("called {display_name:?}"));
        }
        deed.and(if password.is_some() { "with a password" } else { "without a password" })
    }

    pub(crate) fn changed_user(name: &str, update: &UserUpdate) -> Self {
        let UserUpdate { display_name, roles, admission, password, factors, sessions: _ } = update;
        let mut deed = Self::user(name);
        if let Some(roles) = roles {
            deed = deed.and(roles_of(roles));
        }
        if let Some(called) = display_name {
            deed = deed.and(format!("called {called:?}"));
        }
        if let Some(admission) = admission {
            deed = deed.and(admission_word(*admission));
        }
        if password.is_some() {
            deed = deed.and("another password");
        }
        match factors {
            Factors::Forgotten => deed.and("second factor and passkeys forgotten"),
            Factors::Kept => deed,
        }
    }

    pub(crate) fn admission(name: &str, admission: Admission) -> Self {
        Self::user(name).and(admission_word(admission))
    }

    pub(crate) fn roles(name: &str, roles: &[Role]) -> Self {
        Self::user(name).and(roles_of(roles))
    }

    pub(crate) fn new_token(request: &TokenRequest) -> Self {
        let TokenRequest { name, owner, roles, scope, expires } = request;
        let mut deed = Self::of(format!("token/{name}")).and(roles_of(roles));
        if let Some(owner) = owner {
            deed = deed.and(format!("of {owner}"));
        }
        if let Some(scope) = scope {
            deed = deed.and(format!("scope {}", list(scope.iter().map(|permission| permission.name()))));
        }
        match expires {
            Some(end) => deed.and(format!("until {}", end.rfc3339())),
            None => deed.and("without end"),
        }
    }

    /// A token by its name, where there is one.
    pub(crate) fn revoke(store: &Store, id: TokenId) -> Self {
        match store.token(id) {
            Ok(Some(token)) => Self::of(format!("token/{}", token.name)).and("revoked"),
            _ => Self::of(format!("token/{id}")),
        }
    }

    /// A passkey by the name its user gave it, where it is that user's.
    pub(crate) fn remove_passkey(access: &Access, user: &UserRecord, id: PasskeyId) -> Self {
        let deed = Self::user(&user.name);
        match access.passkey(id) {
            Ok((passkey, owner)) if owner.id == user.id => {
                deed.and(format!("without passkey {:?}", passkey.name))
            }
            _ => deed.and(format!("without passkey {id}")),
        }
    }
}

fn roles_of(roles: &[Role]) -> String {
    format!("roles {}", list(roles.iter().map(|role| role.name())))
}

fn admission_word(admission: Admission) -> &'static str {
    match admission {
        Admission::Enabled => "let in",
        Admission::Disabled => "shut out",
    }
}

fn list<T: AsRef<str>>(all: impl Iterator<Item = T>) -> String {
    all.map(|one| one.as_ref().to_owned()).collect::<Vec<_>>().join(", ")
}
