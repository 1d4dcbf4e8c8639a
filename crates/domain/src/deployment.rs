//! Deployments: a service began to run something else.
//!
//! In: nothing. Out: what a service runs ([`Release`]), and the record that this changed ([`Deployment`]), with what
//! its callers counted before, so that "it got worse since" can be told from counts.
//!
//! Deliberately absent: whether a deployment is to blame for anything; diagnosis says that.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{DeploymentId, PlanId};
use crate::resource::ServiceName;
use crate::time::Time;

/// What the instances of a service run. Changing it is a deployment; putting it back is a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Release {
    /// What it is called; `None` where nobody gave it a name.
    #[serde(default)]
    pub version: Option<String>,
    /// Program and arguments, as declared.
    pub command: Vec<String>,
    /// Environment variables, as declared.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

impl Release {
    /// The longest name of a version, in bytes.
    pub const VERSION_MAX: usize = 128;

    /// What is wrong with a version's name, `None` where it can be used.
    pub fn version_fault(version: &str) -> Option<String> {
        let plain = |c: char| c.is_ascii_graphic() && !",=;\"\\%".contains(c);
        if version.is_empty() || version.len() > Self::VERSION_MAX || !version.chars().all(plain) {
            return Some(format!(
                "{version:?} is no version: 1 to {} letters, digits and signs such as `.`, `-`, `+`, without spaces, commas, `=`, `;`, `%`, quotes and backslashes",
                Self::VERSION_MAX
            ));
        }
        None
    }

    /// What is wrong with a command, `None` where it can be run.
    pub fn command_fault(command: &[String]) -> Option<&'static str> {
        if command.first().is_none_or(String::is_empty) {
            return Some("is empty; name the program to run");
        }
        let zero = command.iter().any(|word| word.contains('\0'));
        zero.then_some("holds a zero byte, which no program can be given")
    }

    /// Variables by which the keeper knows its processes. A service cannot say otherwise.
    pub const RESERVED_VARIABLES: [&str; 3] = ["HOMEOSTAT_INSTANCE", "HOMEOSTAT_KEEPER", "HOMEOSTAT_WORKER"];

    /// What is wrong with a variable of an environment, `None` where a process can be given it.
    pub fn variable_fault(name: &str, value: &str) -> Option<&'static str> {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Some(
                "is no environment variable: its name is empty or holds `=`, or there is a zero byte",
            );
        }
        Self::RESERVED_VARIABLES.contains(&name).then_some(
            "is set by Homeostat, which knows its processes by it; remove it, or choose another name",
        )
    }
}

/// How a deployment came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeenBy {
    /// A plan of ours made it.
    Plan,
    /// The spans of the service carry another `service.version` than before.
    Spans,
    /// Somebody told.
    Posted,
}

impl SeenBy {
    /// The name in the API, the CLI and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Spans => "spans",
            Self::Posted => "posted",
        }
    }
}

impl fmt::Display for SeenBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where the deployments of late come from.
pub trait DeploymentSource: Send + Sync {
    /// Those that began at or after `since`, oldest first. Empty where they cannot be read.
    fn deployments_since(&self, since: Time) -> Vec<Deployment>;
}

/// Requests to one service over some time, from all its callers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CallCounts {
    /// How many ended.
    pub requests: u64,
    /// Of these, failed.
    pub errors: u64,
    /// Of these, slower than the service's latency threshold.
    pub slow: u64,
}

/// A service began to run something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// Which service.
    pub service: ServiceName,
    /// What it runs since then; `None` where that has no name.
    pub version: Option<String>,
    /// What it ran before; `None` where that has no name, or nobody knows it.
    pub previous_version: Option<String>,
    /// When it began.
    pub at: Time,
    /// When every instance ran it; `None` while it is under way, or where nobody knows.
    pub finished_at: Option<Time>,
    /// How it came to be known.
    pub seen_by: SeenBy,
    /// The plan that made it, where one did.
    pub plan: Option<PlanId>,
    /// The deployment it takes back, where it is a rollback.
    #[serde(default)]
    pub rolls_back: Option<DeploymentId>,
    /// What to put back to take it back; known of those that a plan made.
    #[serde(default)]
    pub former: Option<Release>,
    /// What the callers counted in the minute before; `None` where nobody did.
    #[serde(default)]
    pub before: Option<CallCounts>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_goes_into_a_resource_attribute_as_it_is() {
        for good in ["2", "1.4.0-rc.1+build.7", "v2024/11/21", "sha256:0a1b"] {
            assert_eq!(Release::version_fault(good), None);
        }
        for bad in ["", "a b", "a,b", "a=b", "a\nb", "ä", "50%", &"x".repeat(129)] {
            assert!(Release::version_fault(bad).is_some_and(|why| why.contains("is no version")), "{bad:?}");
        }
    }
}
