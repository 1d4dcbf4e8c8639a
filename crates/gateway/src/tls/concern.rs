//! What a certificate's time gives people to do, and when that is said.
//!
//! In: the facts of a certificate, and the clock. Out: a [`Concern`] where its end is near, or it is not valid now.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use domain::Time;

use super::load::rfc3339;
use super::{CertificateFacts, Tls};

/// From so long before its end on, a certificate gives concern: authorities that issue for 90 days renew 30 days before, so
/// that a renewal has failed for two weeks by then.
pub const ENDS_SOON: Duration = Duration::from_secs(14 * 86_400);

/// Between two times that the same is said.
const AGAIN_S: i64 = 86_400;

/// What has to be done about a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concern {
    /// It ends within [`ENDS_SOON`].
    EndsSoon {
        /// Its file.
        file: PathBuf,
        /// Seconds since 1970.
        at: i64,
    },
    /// Its time is over: clients refuse it.
    Expired {
        /// Its file.
        file: PathBuf,
        /// Seconds since 1970.
        since: i64,
    },
    /// Its time has not come: clients refuse it, or this machine's clock is wrong.
    NotYetValid {
        /// Its file.
        file: PathBuf,
        /// Seconds since 1970.
        from: i64,
    },
}

impl fmt::Display for Concern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndsSoon { file, at } => {
                write!(formatter, "the certificate in {} ends at {}; renew it", file.display(), rfc3339(*at))
            }
            Self::Expired { file, since } => write!(
                formatter,
                "the certificate in {} expired at {}: clients beyond this machine refuse it; put a new one there",
                file.display(),
                rfc3339(*since)
            ),
            Self::NotYetValid { file, from } => write!(
                formatter,
                "the certificate in {} is not valid before {}: clients beyond this machine refuse it; look at this machine's \
                 clock, or use another",
                file.display(),
                rfc3339(*from)
            ),
        }
    }
}

impl Tls {
    /// What has to be done about the certificate now.
    pub fn concern(&self) -> Option<Concern> {
        of(&self.facts(), self.certificate_file().to_owned(), self.now())
    }

    pub(super) fn now(&self) -> Time {
        self.shared.clock.now()
    }
}

fn of(facts: &CertificateFacts, file: PathBuf, now: Time) -> Option<Concern> {
    let now = now.wall_us.div_euclid(1_000_000);
    let soon = i64::try_from(ENDS_SOON.as_secs()).unwrap_or(i64::MAX);
    match facts {
        facts if now < facts.valid_from => Some(Concern::NotYetValid { file, from: facts.valid_from }),
        facts if now > facts.expires => Some(Concern::Expired { file, since: facts.expires }),
        facts if facts.expires - now < soon => Some(Concern::EndsSoon { file, at: facts.expires }),
        _ => None,
    }
}

/// What was said of it.
#[derive(Debug, Default)]
pub(super) struct Said(Option<(Concern, i64)>);

impl Said {
    /// What is to be said now: what was not said before, and what was, a day later again.
    pub(super) fn next(&mut self, concern: Option<Concern>, now: Time) -> Option<Concern> {
        let now = now.wall_us.div_euclid(1_000_000);
        let said = self.0.take();
        let concern = concern?;
        match said {
            Some((before, at)) if before == concern && (at..at + AGAIN_S).contains(&now) => {
                self.0 = Some((before, at));
                None
            }
            _ => {
                self.0 = Some((concern.clone(), now));
                Some(concern)
            }
        }
    }
}
