//! Signing in: by the token of the data directory, or by name, password and code.
//!
//! Unknown, disabled, without a password, and wrong are one answer in one time.

use std::net::IpAddr;

use domain::{Identity, SessionId};
use store::{SessionHolder, SignedInBy, UserRecord};

use super::Access;
use super::attempts::Ended;
use super::error::AccessError;
use super::secret::{Secret, equal};

/// What somebody sent to sign in.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// The user's name.
    pub name: String,
    /// The password.
    pub password: Secret,
    /// A code of an authenticator, or a recovery code.
    pub code: Option<Secret>,
    /// Where it came from.
    pub address: IpAddr,
    /// What the browser calls itself.
    pub user_agent: String,
    /// The values of the session cookie that came along: their sessions end.
    pub before: Vec<Secret>,
}

/// Somebody signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// Who.
    pub identity: Identity,
    /// The cookie's value. It is set now and never shown again.
    pub cookie: Secret,
    /// The session's id.
    pub session: SessionId,
}

impl Access {
    /// Signs in by name, password, and code where TOTP is enrolled.
    ///
    /// # Errors
    ///
    /// [`AccessError::CodeNeeded`] where all that was sent is right and the code is missing; wrong and unknown are
    /// [`AccessError::SignInRefused`].
    pub fn sign_in(&self, sent: &SignIn) -> Result<SignedIn, AccessError> {
        self.counted(&sent.name, sent.address, Ended::SignedIn, || self.judge(sent))
    }

    /// Asks for a user's password again, before what a browser left alone must not do: another password, another second
    /// factor. Attempts are counted as those to sign in are.
    pub fn confirm_password(
        &self,
        name: &str,
        password: &Secret,
        address: IpAddr,
    ) -> Result<(), AccessError> {
        // Right, but nobody signed in: what was wrong before, a code above all, stays counted.
        self.counted(name, address, Ended::Open, || self.user_of_password(name, password).map(|_| ()))
    }

    /// Signs in by the token of the data directory.
    pub fn sign_in_by_local_token(
        &self,
        token: &Secret,
        user_agent: &str,
        before: &[Secret],
    ) -> Result<SignedIn, AccessError> {
        if !equal(&token.hash(), &self.inner.local_token) {
            return Err(AccessError::WrongToken);
        }
        let holder = SessionHolder::LocalToken(self.inner.local_token);
        self.begin_session(holder, SignedInBy::LocalToken, user_agent, before)
    }

    /// Judges an attempt where it is not too soon, and takes it back where nothing was wrong with it.
    fn counted<T>(
        &self,
        name: &str,
        address: IpAddr,
        right: Ended,
        judge: impl FnOnce() -> Result<T, AccessError>,
    ) -> Result<T, AccessError> {
        crate::serve::lock(&self.inner.attempts)
            .begin(name, address, self.now())
            .map_err(|seconds| AccessError::TooManyAttempts { seconds })?;
        let result = judge();
        let ended = match &result {
            Ok(_) => right,
            Err(AccessError::SignInRefused) => return result,
            Err(_) => Ended::Open,
        };
        crate::serve::lock(&self.inner.attempts).end(name, address, ended, self.now());
        result
    }

    fn user_of_password(&self, name: &str, password: &Secret) -> Result<UserRecord, AccessError> {
        let user = self.store().user(name)?.filter(|user| !user.disabled);
        let hash = user.as_ref().and_then(|user| user.password_hash.as_ref());
        let right = self.inner.hashing.is_right(password, hash)?;
        user.filter(|_| right).ok_or(AccessError::SignInRefused)
    }

    fn judge(&self, sent: &SignIn) -> Result<SignedIn, AccessError> {
        let user = self.user_of_password(&sent.name, &sent.password)?;
        let by = self.second_factor(&user, sent.code.as_ref())?;
        self.begin_session(SessionHolder::User(user), by, &sent.user_agent, &sent.before)
    }

    /// What the password was joined by.
    fn second_factor(&self, user: &UserRecord, code: Option<&Secret>) -> Result<SignedInBy, AccessError> {
        let Some(sealed) = &user.totp else { return Ok(SignedInBy::Password) };
        let Some(code) = code.filter(|code| !code.expose().trim().is_empty()) else {
            return Err(AccessError::CodeNeeded);
        };
        if self.use_recovery_code(user, code)? {
            return Ok(SignedInBy::PasswordAndRecoveryCode);
        }
        if self.use_totp(user, sealed, code)? {
            return Ok(SignedInBy::PasswordAndTotp);
        }
        Err(AccessError::SignInRefused)
    }
}
