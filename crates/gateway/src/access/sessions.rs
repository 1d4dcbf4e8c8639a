//! Sessions of browsers: begun, listed, ended.

use std::time::Duration;

use domain::{Identity, PasskeyId, Permission, Proof, SessionId, Time};
use store::{Hash, SessionHolder, SessionRecord, SignedInBy, StoreError, TokenOwner, UserRecord};

use super::error::AccessError;
use super::secret::{Secret, equal};
use super::sign_in::SignedIn;
use super::{Access, local};

/// A session ends this long after it was last used.
pub const SESSION_IDLE: Duration = Duration::from_secs(12 * 3600);

/// A session ends this long after it began, used or not.
pub const SESSION_LENGTH: Duration = Duration::from_secs(7 * 24 * 3600);

/// That something was used is written at most this often.
pub(super) const USED_EVERY: Duration = Duration::from_secs(60);

/// Why a token that may less than its owner is refused.
const NO_SESSIONS: &str = "neither sees nor ends sessions";

/// What browsers call themselves is kept up to here, in characters.
const USER_AGENT_MAX: usize = 200;

impl Access {
    /// Begins a session with a value nobody had before, whatever cookie came with the request: that one's session ends.
    pub(super) fn begin_session(
        &self,
        holder: SessionHolder,
        signed_in_by: SignedInBy,
        user_agent: &str,
        before: &[Secret],
    ) -> Result<SignedIn, AccessError> {
        self.begin(holder, signed_in_by, user_agent, before, |session, value| {
            self.store().add_session(session, value)
        })
    }

    /// The same for who proved to have a passkey, where it is still there.
    pub(super) fn begin_session_by_passkey(
        &self,
        user: UserRecord,
        passkey: PasskeyId,
        user_agent: &str,
        before: &[Secret],
    ) -> Result<SignedIn, AccessError> {
        let holder = SessionHolder::User(user);
        self.begin(holder, SignedInBy::Passkey, user_agent, before, |session, value| {
            self.store().add_session_by_passkey(session, value, passkey)
        })
    }

    fn begin(
        &self,
        holder: SessionHolder,
        signed_in_by: SignedInBy,
        user_agent: &str,
        before: &[Secret],
        keep: impl FnOnce(&SessionRecord, &Hash) -> Result<bool, StoreError>,
    ) -> Result<SignedIn, AccessError> {
        for value in before {
            self.sign_out(value)?;
        }
        let (now, value) = (self.now(), Secret::random()?);
        let session = SessionRecord {
            id: self.id(now),
            holder,
            signed_in_by,
            user_agent: user_agent.chars().filter(|sign| !sign.is_control()).take(USER_AGENT_MAX).collect(),
            created: now,
            used: now,
            expires: now.plus(SESSION_LENGTH),
        };
        if !keep(&session, &value.hash())? {
            return Err(AccessError::SignInRefused);
        }
        Ok(SignedIn { identity: identity_of(&session), cookie: value, session: session.id })
    }

    /// The session of a cookie's value, where it stands.
    pub(super) fn session(&self, value: &Secret) -> Result<Option<SessionRecord>, AccessError> {
        let Some(session) = self.store().session_of_value(&value.hash())? else { return Ok(None) };
        Ok(self.stands(&session, self.now()).then_some(session))
    }

    /// Begins a session anew for a browser whose user proved itself again; the one it had ends, so that a copy of its cookie
    /// is of no use.
    pub fn begin_anew(
        &self,
        user: &UserRecord,
        user_agent: &str,
        before: &SessionRecord,
        cookies: &[Secret],
    ) -> Result<SignedIn, AccessError> {
        self.begin_session(SessionHolder::User(user.clone()), before.signed_in_by, user_agent, cookies)
    }

    /// The session of a browser, by the values of its cookie.
    pub(crate) fn session_of(&self, cookies: &[Secret]) -> Result<SessionRecord, AccessError> {
        for value in cookies {
            if let Some(session) = self.session(value)? {
                return Ok(session);
            }
        }
        Err(AccessError::SessionEnded)
    }

    /// Ends the session of a cookie's value, if there is one.
    pub fn sign_out(&self, value: &Secret) -> Result<(), AccessError> {
        if let Some(session) = self.store().session_of_value(&value.hash())? {
            self.store().end_session(session.id)?;
        }
        Ok(())
    }

    /// Ends every session of whoever asks. Returns how many there were.
    pub fn sign_out_everywhere(&self, asker: &Identity) -> Result<usize, AccessError> {
        Ok(match self.wholly_behind(asker, NO_SESSIONS)? {
            TokenOwner::LocalToken => self.store().end_sessions_of_local_token()?,
            TokenOwner::User(user) => self.store().end_sessions_of(user.id)?,
        })
    }

    /// The sessions that stand of whoever asks, newest first.
    pub fn sessions(&self, asker: &Identity) -> Result<Vec<SessionRecord>, AccessError> {
        let now = self.now();
        let mut sessions = match self.wholly_behind(asker, NO_SESSIONS)? {
            TokenOwner::User(user) => self.store().sessions(Some(user.id))?,
            TokenOwner::LocalToken => {
                let mut all = self.store().sessions(None)?;
                all.retain(|session| matches!(session.holder, SessionHolder::LocalToken(_)));
                all
            }
        };
        sessions.retain(|session| self.stands(session, now));
        Ok(sessions)
    }

    /// The sessions that stand of a user, newest first: for who manages access.
    pub(crate) fn sessions_of(&self, user: &str) -> Result<Vec<SessionRecord>, AccessError> {
        let (user, now) = (self.user(user)?, self.now());
        let mut sessions = self.store().sessions(Some(user.id))?;
        sessions.retain(|session| self.stands(session, now));
        Ok(sessions)
    }

    /// Ends one of the asker's sessions, or any where it manages access. One that is over is no error.
    pub fn end_session(&self, asker: &Identity, id: SessionId) -> Result<(), AccessError> {
        if asker.may(Permission::AccessManage) || self.sessions(asker)?.iter().any(|session| session.id == id)
        {
            self.store().end_session(id)?;
        }
        Ok(())
    }

    fn stands(&self, session: &SessionRecord, now: Time) -> bool {
        let in_time = !now.reached(session.expires) && !now.reached(session.used.plus(SESSION_IDLE));
        in_time
            && match &session.holder {
                SessionHolder::LocalToken(token) => equal(token, &self.inner.local_token),
                SessionHolder::User(user) => !user.disabled,
            }
    }
}

/// Who a session's browser is.
pub(super) fn identity_of(session: &SessionRecord) -> Identity {
    match &session.holder {
        SessionHolder::LocalToken(_) => local(Proof::Session),
        SessionHolder::User(user) => {
            Identity::proven(user.name.clone(), Proof::Session, user.roles.clone(), None)
        }
    }
}
