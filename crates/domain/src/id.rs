//! Typed ids: UUIDv7 (RFC 9562), so that they sort by the time they were made. Made at the edge by an
//! [`IdSource`], never inside a pure stage, so that a seeded run can be replayed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::time::Time;

/// Why an id was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no id: copy it whole, such as 01900000-0000-7000-8000-000000000000")]
pub struct IdError {
    /// What was given.
    pub text: String,
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::parse_str(text).map(Self).map_err(|_| IdError { text: text.to_owned() })
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    };
}

typed_id!(
    /// Names one issue from its detection to its close.
    IssueId
);
typed_id!(
    /// Names one plan; plans are immutable, a changed plan is another plan.
    PlanId
);
typed_id!(
    /// Names one chaos experiment.
    ExperimentId
);
typed_id!(
    /// Names one event that was posted from outside.
    EventId
);

typed_id!(
    /// Names one deployment.
    DeploymentId
);

typed_id!(
    /// Names one person who may sign in.
    UserId
);
typed_id!(
    /// Names one API token; the token itself is a secret, this is not.
    TokenId
);
typed_id!(
    /// Names one session of a browser; the cookie's value is a secret, this is not.
    SessionId
);
typed_id!(
    /// Names one passkey; its authenticator calls it otherwise.
    PasskeyId
);

/// Makes ids from a time and a seeded generator.
#[derive(Debug)]
pub struct IdSource {
    rng: fastrand::Rng,
}

impl IdSource {
    /// A source that makes the same ids for the same seed and times.
    pub fn seeded(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed) }
    }

    /// The next id of type `T`, stamped with `now`.
    pub fn next<T: From<Uuid>>(&mut self, now: Time) -> T {
        let mut random = [0u8; 10];
        self.rng.fill(&mut random);
        let millis = u64::try_from(now.wall_us / 1000).unwrap_or(0);
        T::from(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids_and_later_ids_sort_later() {
        let early = Time { boot_us: 0, wall_us: 1_700_000_000_000_000 };
        let late = Time { boot_us: 5_000, wall_us: 1_700_000_000_005_000 };
        let (mut a, mut b) = (IdSource::seeded(7), IdSource::seeded(7));
        let first: IssueId = a.next(early);
        assert_eq!(first, b.next::<IssueId>(early));
        assert!(first < a.next::<IssueId>(late));
    }
}
