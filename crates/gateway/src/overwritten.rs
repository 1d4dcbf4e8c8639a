//! What a form or a mutation overwrites, and as what it was seen: nobody undoes a change that they did not see.
//!
//! In: a thing, and the version that somebody saw of it. Out: the turn to overwrite it, or [`Code::PreconditionFailed`] with
//! how it is now.
//!
//! - A version is a hash of what people change of a thing. What changes by itself, such as when a user last signed in, is no
//!   part of it.
//! - Forms carry the version they were drawn from, GraphQL tells it as `etag` and takes it as `ifMatch`, and REST has
//!   entity tags of its own ([`crate::conditional`]). Writers by all three take the same turns, so that none lies between
//!   another's look and change.
//! - A write that brings no version says that it does not matter what is there.

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use domain::{Infrastructure, PlanId, PlanStatus, Role, ServiceName, Time};
use store::{Switches, UserRecord};

use crate::api;
use crate::conditional::{Turn, turn_of};
use crate::phrases;
use crate::problem::{Code, Listed, Problem};
use crate::security::hex;
use crate::serve::App;
use crate::shapes::managed;

/// The document that holds the figures of a user's own operation.
pub(crate) const FIGURES: &str = "statistics/baseline";

/// So many words are said of one thing at most.
const FACTS_MAX: usize = 40;

/// Something that people overwrite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Overwritten {
    /// A user, by name.
    User(String),
    /// The same by who it is, whose turn keeps nobody from it who manages users.
    OwnAccount(String),
    /// The master switch of automatic repair.
    Automation,
    /// The emergency stop, to be cleared.
    EmergencyStop,
    /// Whether a service is paused.
    Pause(ServiceName),
    /// How many instances of a service are to run.
    Size(ServiceName),
    /// What is up.
    Infrastructure(ServiceName),
    /// A plan, to be decided about.
    Remediation(PlanId),
    /// What the user's own operation was like before.
    Figures,
}

/// A word and what it was; for people.
pub(crate) type Fact = (String, String);

/// How something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Another one wherever people changed something.
    pub(crate) version: String,
    /// What can be shown of it; a password is part of the version and not of these.
    pub(crate) facts: Vec<Fact>,
}

/// The version of what is told and of what is not. Keyed anew by each process: what is hidden can be a password, which nobody
/// must be able to try against a version that everybody may read.
fn version_of(text: &str) -> String {
    static KEY: LazyLock<hmac::Key> = LazyLock::new(|| {
        hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .expect("aws-lc has random bytes, or ends the process by itself")
    });
    hex(&hmac::sign(&KEY, text.as_bytes()).as_ref()[..16])
}

impl Standing {
    fn new(hidden: &str, facts: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self::of(hidden, facts.into_iter().map(|(word, value)| (word.to_owned(), value)).collect())
    }

    fn of(hidden: &str, mut facts: Vec<Fact>) -> Self {
        let version = version_of(&format!("{facts:?} {hidden}"));
        facts.truncate(FACTS_MAX);
        Self { version, facts }
    }

    pub(crate) fn user(user: &UserRecord) -> Self {
        let roles: Vec<&str> = user.roles.iter().copied().map(Role::name).collect();
        let facts = [
            ("Called", user.display_name.clone()),
            ("Roles", roles.join(", ")),
            ("State", if user.disabled { "disabled" } else { "enabled" }.to_owned()),
            ("Password", if user.password_hash.is_some() { "set" } else { "none" }.to_owned()),
            ("Second factor", if user.totp.is_some() { "enrolled" } else { "none" }.to_owned()),
        ];
        Self::new(&managed(user), facts)
    }

    pub(crate) fn automation(switches: &Switches) -> Self {
        let word = if switches.automation { "on" } else { "off" };
        Self::new("", [("Automatic repair", word.to_owned())])
    }

    pub(crate) fn emergency_stop(switches: &Switches) -> Self {
        let since =
            switches.emergency_stop.map_or("not engaged".to_owned(), |at| format!("since {}", at.rfc3339()));
        Self::new("", [("Emergency stop", since)])
    }

    /// One that is over by itself is none.
    pub(crate) fn pause(switches: &Switches, service: &ServiceName, now: Time) -> Self {
        let until = switches.pauses.get(service).filter(|until| !now.reached(**until));
        let until = until.map_or("not paused".to_owned(), |until| format!("until {}", until.rfc3339()));
        Self::new(service.as_str(), [("Pause", until)])
    }

    pub(crate) fn size(service: &ServiceName, replicas: u32) -> Self {
        Self::new(service.as_str(), [("Instances", replicas.to_string())])
    }

    pub(crate) fn infrastructure(up: &Infrastructure) -> Self {
        let fact = |(name, spec): (&ServiceName, &domain::ServiceSpec)| {
            let version =
                spec.version.as_ref().map_or(String::new(), |version| format!(", version {version}"));
            (format!("Service {name}"), format!("declared with {} instances{version}", spec.replicas))
        };
        // Commands and environments are compared and not shown: they may hold secrets.
        Self::of(&format!("{up:?}"), up.services.iter().map(fact).collect())
    }

    pub(crate) fn remediation(id: PlanId, status: PlanStatus) -> Self {
        Self::new(&id.to_string(), [("State", phrases::status(status).to_owned())])
    }

    pub(crate) fn figures(document: Option<&str>) -> Self {
        let kept: Option<serde_json::Value> = document.and_then(|text| serde_json::from_str(text).ok());
        let figure = |name: &str| {
            let value = kept.as_ref().map(|kept| &kept[name]).filter(|value| !value.is_null());
            value.map_or("not known".to_owned(), ToString::to_string)
        };
        let facts = [
            ("Mean time to repair, minutes", figure("mttr_minutes")),
            ("An hour of outage costs", figure("outage_cost_per_hour")),
        ];
        Self::new("", facts)
    }
}

impl Overwritten {
    /// What it is, within a sentence.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::User(name) | Self::OwnAccount(name) => format!("the user {name}"),
            Self::Automation => "automatic repair".to_owned(),
            Self::EmergencyStop => "the emergency stop".to_owned(),
            Self::Pause(service) => format!("the pause of {service}"),
            Self::Size(service) => format!("the size of {service}"),
            Self::Infrastructure(name) => format!("the Infrastructure {name}"),
            Self::Remediation(id) => format!("the remediation {id}"),
            Self::Figures => "your figures".to_owned(),
        }
    }

    /// Keeps others from it, and looks how it is.
    ///
    /// # Errors
    ///
    /// [`Code::Busy`] where somebody else overwrites it, [`Code::NotFound`] where there is none.
    pub(crate) fn hold<'a>(&self, app: &'a App) -> Result<(Turn<'a>, Standing), Problem> {
        let turn = app.turns.take(self.turn(app)?)?;
        Ok((turn, self.now(app)?))
    }

    /// The same, only where it is still of the version that somebody saw.
    ///
    /// # Errors
    ///
    /// [`Code::PreconditionFailed`] where it is another, and what [`hold`](Self::hold) says.
    pub(crate) fn hold_as_seen<'a>(&self, app: &'a App, seen: Option<&str>) -> Result<Turn<'a>, Problem> {
        let (turn, now) = self.hold(app)?;
        match seen {
            Some(seen) if seen != now.version => {
                let facts = now.facts.iter().map(|(word, value)| format!("{word}: {value}"));
                Err(self.changed(&format!("now {}", facts.collect::<Vec<_>>().join("; "))))
            }
            _ => Ok(turn),
        }
    }

    /// The refusal of who saw it otherwise.
    pub(crate) fn changed(&self, now: &str) -> Problem {
        let detail = format!(
            "{} was changed after you read it ({now}); look again, and repeat what still holds",
            self.words()
        );
        Problem::new(Code::PreconditionFailed, detail)
    }

    /// As those who write it by REST take it.
    fn turn(&self, app: &App) -> Result<String, Problem> {
        Ok(match self {
            Self::User(name) => turn_of(api::USER, name),
            Self::OwnAccount(name) => turn_of(api::ME, name),
            Self::Automation => turn_of(api::SWITCH, ""),
            Self::EmergencyStop => turn_of(api::STOP, ""),
            Self::Pause(_) => turn_of(api::PAUSES, ""),
            Self::Size(_) => {
                let up = app.control.infrastructure()?;
                turn_of(api::SIZE, up.as_ref().map_or("", |up| up.name.as_str()))
            }
            Self::Infrastructure(name) => turn_of(api::INFRASTRUCTURE, name.as_str()),
            Self::Remediation(id) => turn_of(api::REMEDIATION, &id.to_string()),
            Self::Figures => FIGURES.to_owned(),
        })
    }

    /// How it is.
    ///
    /// # Errors
    ///
    /// [`Code::NotFound`] where there is none.
    pub(crate) fn now(&self, app: &App) -> Result<Standing, Problem> {
        let gone = |listed| Problem::not_among(listed, format!("there is no such thing as {}", self.words()));
        Ok(match self {
            Self::User(name) | Self::OwnAccount(name) => Standing::user(&app.door.access().user(name)?),
            Self::Automation => Standing::automation(&app.store.switches()?),
            Self::EmergencyStop => Standing::emergency_stop(&app.store.switches()?),
            Self::Pause(service) => Standing::pause(&app.store.switches()?, service, app.clock.now()),
            Self::Size(service) => {
                Standing::size(service, size(app, service)?.ok_or_else(|| gone(Listed::Services))?)
            }
            Self::Infrastructure(name) => {
                let up = app.control.infrastructure()?.filter(|up| up.name == *name);
                Standing::infrastructure(&up.ok_or_else(|| gone(Listed::Infrastructures))?)
            }
            Self::Remediation(id) => Standing::remediation(
                *id,
                app.store.plan(*id)?.ok_or_else(|| gone(Listed::Remediations))?.status,
            ),
            Self::Figures => Standing::figures(app.store.document(FIGURES)?.as_deref()),
        })
    }
}

/// As it was set by a plan, or declared.
fn size(app: &App, service: &ServiceName) -> Result<Option<u32>, Problem> {
    let seen = app.control.snapshot();
    if let Some(state) = seen.as_ref().and_then(|seen| seen.services.get(service)) {
        return Ok(Some(state.replicas));
    }
    let up = app.control.infrastructure()?;
    Ok(up.and_then(|up| up.services.get(service).map(|spec| spec.replicas)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_by_itself_is_no_other_version() {
        let service = ServiceName::new("cart").unwrap();
        let at = |seconds: u64| Time { boot_us: seconds * 1_000_000, wall_us: seconds as i64 * 1_000_000 };
        let with = |pauses| Switches { automation: true, emergency_stop: None, pauses };
        let (paused, never) = (with([(service.clone(), at(10))].into()), with([].into()));
        let version = |switches: &Switches, now| Standing::pause(switches, &service, at(now)).version;
        assert_eq!(version(&paused, 20), version(&never, 20));
        assert_ne!(version(&paused, 5), version(&never, 5));
    }

    #[test]
    fn versions_of_two_things_are_two() {
        let [cart, front] = ["cart", "front"].map(|name| ServiceName::new(name).unwrap());
        assert_ne!(Standing::size(&cart, 2).version, Standing::size(&front, 2).version);
        assert_ne!(Standing::size(&cart, 2).version, Standing::size(&cart, 3).version);
    }
}
