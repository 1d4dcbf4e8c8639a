//! TOTP and recovery codes: enrolled, confirmed, used up.
//!
//! A secret is in force once a code of it was given back, so that nobody is shut out by a QR code that was not scanned.

use store::{SealedSecret, UserRecord};

use super::error::AccessError;
use super::secret::{Secret, random};
use super::{Access, SealingKey, picture, totp};

/// How many recovery codes a user is given.
const CODES: usize = 10;

/// What an authenticator needs to know. It is shown now and never again.
#[derive(Debug)]
pub struct Enrolment {
    /// The `otpauth://` address.
    pub uri: Secret,
    /// The same as a QR code in SVG.
    pub picture: Secret,
    /// The secret as people type it.
    pub typed: Secret,
}

/// Codes that sign in once each, for who lost the authenticator. They are shown now and never again.
#[derive(Debug)]
pub struct RecoveryCodes(pub Vec<Secret>);

impl Access {
    /// Makes a TOTP secret for a user. It is in force once [`Access::confirm_totp`] was given a code of it; one that is in
    /// force stays so until then.
    pub fn enrol_totp(&self, name: &str) -> Result<Enrolment, AccessError> {
        let secret = totp::new_secret()?;
        let sealed = self.key()?.seal(&secret, name)?;
        self.known(name, self.store().set_totp_pending(name, &sealed)?)?;
        let uri = totp::uri(&secret, name);
        let picture = picture::svg(&uri).ok_or_else(|| {
            AccessError::field("name", "the name does not fit a QR code; take a shorter one")
        })?;
        Ok(Enrolment {
            uri: Secret::new(uri),
            picture: Secret::new(picture),
            typed: Secret::new(totp::base32(&secret)),
        })
    }

    /// Puts the secret that was made last in force, given a code of it.
    pub fn confirm_totp(&self, name: &str, code: &Secret) -> Result<RecoveryCodes, AccessError> {
        let user = self.user(name)?;
        let Some(pending) = &user.totp_pending else {
            return Err(AccessError::Changed("no TOTP secret waits to be confirmed"));
        };
        let secret = self.key()?.open(pending, name)?;
        let step = totp::step_of(&secret, code.expose().trim(), self.now().wall_us).ok_or_else(|| {
            AccessError::field(
                "code",
                "this is not the code the authenticator should show now; compare its clock with this machine's",
            )
        })?;
        let codes = (0..CODES).map(|_| recovery_code()).collect::<Result<Vec<_>, _>>()?;
        let hashes: Vec<_> = codes.iter().map(|code| whole(code).hash()).collect();
        if !self.store().confirm_totp(name, pending, step, &hashes)? {
            return Err(AccessError::Changed("another TOTP secret was made meanwhile"));
        }
        Ok(RecoveryCodes(codes))
    }

    /// Takes TOTP and its recovery codes from a user: for who lost both, by who manages access.
    pub fn remove_totp(&self, name: &str) -> Result<(), AccessError> {
        self.known(name, self.store().remove_totp(name)?)
    }

    pub(super) fn use_totp(
        &self,
        user: &UserRecord,
        sealed: &SealedSecret,
        code: &Secret,
    ) -> Result<bool, AccessError> {
        let secret = self.key()?.open(sealed, &user.name)?;
        match totp::step_of(&secret, code.expose().trim(), self.now().wall_us) {
            Some(step) => Ok(self.store().use_totp_step(user.id, step)?),
            None => Ok(false),
        }
    }

    pub(super) fn use_recovery_code(&self, user: &UserRecord, code: &Secret) -> Result<bool, AccessError> {
        let code = whole(code);
        Ok(code.expose().len() == 16 && self.store().use_recovery_code(user.id, &code.hash())?)
    }

    fn key(&self) -> Result<&SealingKey, AccessError> {
        self.inner.config.key.as_ref().ok_or(AccessError::NoKey)
    }
}

/// 80 random bits, in groups of four: more than can be guessed from their hash.
fn recovery_code() -> Result<Secret, AccessError> {
    let text = totp::base32(&random::<10>()?);
    let groups: Vec<&str> = (0..4).map(|group| &text[group * 4..group * 4 + 4]).collect();
    Ok(Secret::new(groups.join("-")))
}

/// A code as it is hashed, however it was typed.
fn whole(code: &Secret) -> Secret {
    let signs = code.expose().chars().filter(|sign| sign.is_ascii_alphanumeric());
    Secret::new(signs.map(|sign| sign.to_ascii_uppercase()).collect::<String>())
}
