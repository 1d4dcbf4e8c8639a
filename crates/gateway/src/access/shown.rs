//! What somebody showed who keeps a connection open: looked at again while it lasts.
//!
//! In: headers, or a token that was sent otherwise. Out: who that is now, and when it ends at the latest. A look writes
//! nothing: that a connection lasts is no use of a session, which ends unused as any other.

use axum::http::HeaderMap;
use domain::{Identity, Proof, Time};
use tokio::sync::watch;

use super::cookie::SessionCookie;
use super::error::AccessError;
use super::identify::sent_bearer;
use super::secret::Secret;
use super::sessions::{SESSION_IDLE, identity_of};
use super::{Access, local};

/// By what somebody proved who they are.
#[derive(Debug, Clone)]
pub(crate) enum Shown {
    /// Nothing was: there is nothing to lose.
    Nothing,
    /// A token.
    Bearer(Secret),
    /// The values of the session cookie that came along.
    Session(Vec<Secret>),
}

impl Shown {
    /// What the headers of whoever was identified by them say.
    pub(crate) fn by(identity: &Identity, headers: &HeaderMap, cookie: &SessionCookie) -> Self {
        match identity.proof {
            Proof::None => Self::Nothing,
            Proof::Token => sent_bearer(headers).map_or(Self::Nothing, Self::Bearer),
            Proof::Session => Self::Session(cookie.values(headers)),
        }
    }
}

impl Access {
    /// Who that is now, and when it ends at the latest where nothing changes.
    ///
    /// # Errors
    ///
    /// As [`Access::identify`], and [`AccessError::SessionEnded`].
    pub(crate) fn look_again(&self, shown: &Shown) -> Result<(Identity, Option<Time>), AccessError> {
        match shown {
            Shown::Nothing => Err(AccessError::NotSignedIn),
            Shown::Bearer(given) => match self.token_of_bearer(given)? {
                None => Ok((local(Proof::Token), None)),
                Some(token) => Ok((self.identity_of_token(&token, self.now())?, token.expires)),
            },
            Shown::Session(values) => {
                for value in values {
                    if let Some(session) = self.session(value)? {
                        let end = session.expires.min(session.used.plus(SESSION_IDLE));
                        return Ok((identity_of(&session), Some(end)));
                    }
                }
                Err(AccessError::SessionEnded)
            }
        }
    }

    /// Changes with every user, token and session that does.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }
}
