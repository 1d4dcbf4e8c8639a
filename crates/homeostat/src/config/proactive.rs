//! Whether issues are raised before they come to pass, and how far ahead.

use std::time::Duration;

use domain::units::duration_ms;
use observe::Foresight;
use serde::{Deserialize, Serialize};

/// The proactive mode of the loop: memory and volumes that fill up steadily are issues before their bound is crossed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Proactive {
    /// Whether anything is foretold.
    pub enabled: bool,
    /// How far ahead at most, 10 s to 7 d. What grows is carried on for as long as it was watched, so as much is kept.
    #[serde(with = "duration_ms")]
    pub horizon: Duration,
    /// For how long a growth has to be watched before anything is foretold from it, 10 s to the horizon. What a process
    /// takes when it starts should be over by then.
    #[serde(with = "duration_ms")]
    pub watched_min: Duration,
}

impl Default for Proactive {
    fn default() -> Self {
        Self {
            enabled: true,
            horizon: Duration::from_secs(30 * 60),
            watched_min: Duration::from_secs(5 * 60),
        }
    }
}

/// The shortest time that is watched: the loop looks once a second.
const SHORTEST: Duration = Duration::from_secs(10);

/// The longest horizon: so far ahead a line says nothing of a week's rhythm.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

impl Proactive {
    /// What is watched; `None` where nothing is to be foretold.
    pub(crate) fn foresight(&self) -> Option<Foresight> {
        let Self { enabled, horizon, watched_min } = *self;
        enabled.then_some(Foresight { horizon, watched_min })
    }

    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let shown = |duration: Duration| domain::units::show_duration(duration);
        let wrong = |field: &str, is: Duration, most: Duration| {
            let range = format!("{} to {}", shown(SHORTEST), shown(most));
            Err((format!("proactive.{field}"), format!("is {}, must be {range}", shown(is))))
        };
        match *self {
            Self { horizon, .. } if !(SHORTEST..=LONGEST).contains(&horizon) => {
                wrong("horizon", horizon, LONGEST)
            }
            Self { horizon, watched_min, .. } if !(SHORTEST..=horizon).contains(&watched_min) => {
                wrong("watched_min", watched_min, horizon)
            }
            _ => Ok(()),
        }
    }
}
