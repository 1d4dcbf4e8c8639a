//! Who may do what: permissions, the roles that hold them, and the identity behind a request.
//!
//! A permission is what an endpoint, a page's button or a GraphQL field asks for. A role is a fixed set of permissions
//! (role-based access control, NIST RBAC0: no hierarchy beyond what the sets say). A token may narrow the permissions of
//! its roles by a scope, never widen them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What the name of a token's identity begins with. No user has such a name: users' names have no space.
pub const TOKEN_NAME: &str = "token ";

/// Who holds the token in the data directory is recorded by this name. No user has it: users' names have no space.
pub const LOCAL_TOKEN: &str = "local token";

/// One thing that may be allowed. The name is `area:verb`, as it stands in scopes, errors and documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Read issues, remediations, services, experiments, objectives, the time line, and the pages of them.
    StateRead,
    /// Read traces, log records, series, and the captured output of services.
    TelemetryRead,
    /// Send spans, log records, samples and events; archive traces.
    TelemetryWrite,
    /// Scrape `/metrics`; nothing else.
    MetricsScrape,
    /// Repair, pause, deploy, and switch automatic repair on or off.
    ServicesOperate,
    /// Bring an Infrastructure up or down, and scale what runs.
    InfrastructureWrite,
    /// Inject faults and run experiments.
    ChaosRun,
    /// Engage the emergency stop.
    EmergencyStop,
    /// Approve, reject and roll back plans; clear the emergency stop.
    PlansApprove,
    /// Read, export and verify the audit trail.
    AuditRead,
    /// Manage users and the tokens of others.
    AccessManage,
    /// Reload the configuration, set the log level, take backups and support bundles, remove old records.
    ServerManage,
}

impl Permission {
    /// Every permission, in the order of the permission table.
    pub const ALL: [Self; 12] = [
        Self::StateRead,
        Self::TelemetryRead,
        Self::TelemetryWrite,
        Self::MetricsScrape,
        Self::ServicesOperate,
        Self::InfrastructureWrite,
        Self::ChaosRun,
        Self::EmergencyStop,
        Self::PlansApprove,
        Self::AuditRead,
        Self::AccessManage,
        Self::ServerManage,
    ];

    /// The name in scopes, errors and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::StateRead => "state:read",
            Self::TelemetryRead => "telemetry:read",
            Self::TelemetryWrite => "telemetry:write",
            Self::MetricsScrape => "metrics:scrape",
            Self::ServicesOperate => "services:operate",
            Self::InfrastructureWrite => "infrastructure:write",
            Self::ChaosRun => "chaos:run",
            Self::EmergencyStop => "emergency:stop",
            Self::PlansApprove => "plans:approve",
            Self::AuditRead => "audit:read",
            Self::AccessManage => "access:manage",
            Self::ServerManage => "server:manage",
        }
    }

    /// What it allows, as the permission table says it.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::StateRead => {
                "read issues, remediations, services, experiments, objectives and the time line"
            }
            Self::TelemetryRead => "read traces, log records, series and the output of services",
            Self::TelemetryWrite => "send spans, log records, samples and events, archive traces",
            Self::MetricsScrape => "scrape /metrics",
            Self::ServicesOperate => "repair, pause and deploy services, switch automatic repair on or off",
            Self::InfrastructureWrite => "bring an Infrastructure up or down, scale services",
            Self::ChaosRun => "inject faults and run experiments",
            Self::EmergencyStop => "engage the emergency stop",
            Self::PlansApprove => "approve, reject and roll back plans, clear the emergency stop",
            Self::AuditRead => "read, export and verify the audit trail",
            Self::AccessManage => "manage users and the tokens of others",
            Self::ServerManage => {
                "reload the configuration, set the log level, take backups and support bundles, remove old records"
            }
        }
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A set of permissions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Permissions(u16);

impl Permissions {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// Everything.
    pub fn all() -> Self {
        Permission::ALL.into_iter().collect()
    }

    /// Whether it holds this one.
    pub fn allows(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// What is in both.
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// One after another, in the order of the permission table.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |permission| self.allows(*permission))
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().fold(0, |bits, permission| bits | permission.bit()))
    }
}

/// A set of permissions that people and tokens are given by name. One identity may hold several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees everything but the audit trail; changes nothing.
    Viewer,
    /// Repairs, deploys, scales and disturbs, as far as the guard lets them; approves nothing.
    Operator,
    /// Decides about what others ask for; starts nothing but the emergency stop.
    Approver,
    /// Everything.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Approver, Self::Admin];

    /// The name in the API, the command line and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Admin => "admin",
        }
    }

    /// What it allows.
    pub fn permissions(self) -> Permissions {
        use Permission as P;
        let viewer: Permissions = [P::StateRead, P::TelemetryRead, P::MetricsScrape].into_iter().collect();
        let own: Permissions = match self {
            Self::Viewer => Permissions::NONE,
            Self::Operator => {
                [P::TelemetryWrite, P::ServicesOperate, P::InfrastructureWrite, P::ChaosRun, P::EmergencyStop]
                    .into_iter()
                    .collect()
            }
            Self::Approver => [P::EmergencyStop, P::PlansApprove, P::AuditRead].into_iter().collect(),
            Self::Admin => Permissions::all(),
        };
        viewer.with(own)
    }

    /// What several allow together.
    pub fn permissions_of(roles: &[Self]) -> Permissions {
        roles.iter().fold(Permissions::NONE, |all, role| all.with(role.permissions()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A name that is none of a role's or permission's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not one of {known}")]
pub struct UnknownName {
    /// What was given.
    pub given: String,
    /// The names there are, separated by commas.
    pub known: String,
}

fn named<T: Copy>(text: &str, all: &[T], name: impl Fn(T) -> &'static str) -> Result<T, UnknownName> {
    all.iter().copied().find(|one| name(*one) == text).ok_or_else(|| UnknownName {
        given: text.to_owned(),
        known: all.iter().map(|one| name(*one)).collect::<Vec<_>>().join(", "),
    })
}

impl FromStr for Role {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        named(text, &Self::ALL, Self::name)
    }
}

impl FromStr for Permission {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        named(text, &Self::ALL, Self::name)
    }
}

/// Who asks, as far as it was proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who is recorded to have asked: a user's name, a token's as `token NAME`, or `anonymous`.
    pub name: String,
    /// By what it was proven.
    pub proof: Proof,
    /// The roles it holds.
    pub roles: Vec<Role>,
    /// What it may do: what its roles allow, within the scope of a token.
    pub permissions: Permissions,
}

/// By what an identity was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// By nothing.
    None,
    /// By a token, sent as bearer.
    Token,
    /// By the cookie of a page where somebody signed in.
    Session,
}

impl Identity {
    /// Nobody in particular: sees what a viewer sees where `reads` says so, else nothing.
    pub fn anonymous(reads: AnonymousReads) -> Self {
        let roles = match reads {
            AnonymousReads::Allowed => vec![Role::Viewer],
            AnonymousReads::Refused => Vec::new(),
        };
        let permissions = Role::permissions_of(&roles);
        Self { name: "anonymous".to_owned(), proof: Proof::None, roles, permissions }
    }

    /// One that holds roles, within a scope where there is one.
    pub fn proven(
        name: impl Into<String>,
        proof: Proof,
        roles: Vec<Role>,
        scope: Option<Permissions>,
    ) -> Self {
        let all = Role::permissions_of(&roles);
        let permissions = scope.map_or(all, |scope| all.within(scope));
        Self { name: name.into(), proof, roles, permissions }
    }

    /// Whether it may.
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.allows(permission)
    }
}

/// Whether who proves nothing may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnonymousReads {
    /// As a viewer does: on loopback, until it is switched off.
    Allowed,
    /// Nothing without proof.
    Refused,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for permission in Permission::ALL {
            assert_eq!(permission.name().parse(), Ok(permission));
        }
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert_eq!(
            "root".parse::<Role>().unwrap_err().to_string(),
            "\"root\" is not one of viewer, operator, approver, admin"
        );
    }

    #[test]
    fn only_an_admin_may_everything_and_nobody_else_may_manage_access() {
        assert_eq!(Role::Admin.permissions(), Permissions::all());
        for role in [Role::Viewer, Role::Operator, Role::Approver] {
            assert!(!role.permissions().allows(Permission::AccessManage), "{role}");
            assert!(!role.permissions().allows(Permission::ServerManage), "{role}");
        }
    }

    #[test]
    fn who_starts_does_not_approve_and_who_approves_does_not_start() {
        assert!(!Role::Operator.permissions().allows(Permission::PlansApprove));
        for permission in [Permission::ServicesOperate, Permission::ChaosRun, Permission::InfrastructureWrite]
        {
            assert!(!Role::Approver.permissions().allows(permission), "{permission}");
        }
    }

    #[test]
    fn a_scope_narrows_and_never_widens() {
        let scope = [Permission::MetricsScrape, Permission::AccessManage].into_iter().collect();
        let identity = Identity::proven("token scraper", Proof::Token, vec![Role::Viewer], Some(scope));
        assert!(identity.may(Permission::MetricsScrape));
        assert!(!identity.may(Permission::AccessManage));
        assert!(!identity.may(Permission::StateRead));
    }
}
