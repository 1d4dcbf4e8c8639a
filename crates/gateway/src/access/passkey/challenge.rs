//! Challenges of ceremonies: good once, for [`CHALLENGE_TIME`], for what they were given out for.
//!
//! In: what a ceremony is for. Out: random bytes with the time and a keyed checksum of both, so that nothing is kept of what
//! was only asked for: whoever asks without end takes no room from others. Kept is what signed somebody in or registered
//! something, for as long as it would be taken again. The key lives as long as the process.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use aws_lc_rs::hmac;
use domain::{Time, UserId};

use super::PasskeyError;
use crate::access::error::AccessError;
use crate::access::secret::random;
use crate::serve::lock;

/// How long somebody may take with the authenticator.
pub(crate) const CHALLENGE_TIME: Duration = Duration::from_secs(300);

/// More than is recommended (Web Authentication, section 13.4.3: at least 16).
const RANDOM: usize = 32;
const TIME: usize = 8;
const TAG: usize = 32;

/// What a challenge is given out for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Somebody, who is not known yet, signs in.
    SignIn,
    /// A user, who gave the password again, registers another passkey.
    Register(UserId),
}

/// One that stands, and was not used yet when it was looked at.
#[derive(Debug)]
pub(super) struct Fresh([u8; RANDOM], Time);

#[derive(Default)]
pub(super) struct Challenges {
    key: OnceLock<hmac::Key>,
    used: Mutex<HashMap<[u8; RANDOM], Time>>,
}

impl Challenges {
    pub(super) fn issue(&self, purpose: Purpose, rp_id: &str, now: Time) -> Result<Vec<u8>, AccessError> {
        if self.key.get().is_none() {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &random::<32>()?);
            let _ = self.key.set(key);
        }
        let key = self.key.get().ok_or(AccessError::Randomness)?;
        let mut challenge = random::<RANDOM>()?.to_vec();
        challenge.extend(now.boot_us.to_be_bytes());
        let tag = hmac::sign(key, &signed(&challenge, purpose, rp_id));
        challenge.extend(tag.as_ref());
        Ok(challenge)
    }

    /// Whether a challenge is ours, for this, and recent.
    pub(super) fn check(
        &self,
        challenge: &[u8],
        purpose: Purpose,
        rp_id: &str,
        now: Time,
    ) -> Result<Fresh, PasskeyError> {
        let (head, tag) = challenge
            .split_at_checked(RANDOM + TIME)
            .filter(|(_, tag)| tag.len() == TAG)
            .ok_or(PasskeyError::Challenge)?;
        let key = self.key.get().ok_or(PasskeyError::Challenge)?;
        hmac::verify(key, &signed(head, purpose, rp_id), tag).map_err(|_| PasskeyError::Challenge)?;
        let (random, time) = head.split_at(RANDOM);
        let (Ok(random), Ok(time)) = (random.try_into(), time.try_into()) else {
            return Err(PasskeyError::Challenge);
        };
        let end = Time { boot_us: u64::from_be_bytes(time), ..now }.plus(CHALLENGE_TIME);
        if now.reached(end) || lock(&self.used).contains_key(&random) {
            return Err(PasskeyError::Challenge);
        }
        Ok(Fresh(random, end))
    }

    /// Uses one up; of two who come at once with the same, one is refused.
    pub(super) fn use_up(&self, Fresh(random, end): Fresh, now: Time) -> Result<(), PasskeyError> {
        let mut used = lock(&self.used);
        used.retain(|_, end| !now.reached(*end));
        match used.insert(random, end) {
            None => Ok(()),
            Some(_) => Err(PasskeyError::Challenge),
        }
    }
}

/// What the checksum is of. The name of the host comes last: its length is its own.
fn signed(head: &[u8], purpose: Purpose, rp_id: &str) -> Vec<u8> {
    let (kind, user) = match purpose {
        Purpose::SignIn => (0, [0; 16]),
        Purpose::Register(user) => (1, *user.0.as_bytes()),
    };
    [head, &[kind], &user, rp_id.as_bytes()].concat()
}
