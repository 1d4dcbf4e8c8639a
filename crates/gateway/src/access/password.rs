//! Passwords: which are taken, and how they are kept.
//!
//! In: a password. Out: Argon2id with 19 MiB, 2 passes, 1 lane, the first choice of OWASP's Password Storage Cheat Sheet,
//! in the PHC string format. At most two are hashed at a time and a few more wait: each takes memory and time by design,
//! and a flood of sign-ins must not take the machine's.
//!
//! Rules are those of NIST SP 800-63B: a least length, no required kinds of characters, no known passwords. A list of
//! leaked passwords that are 12 characters or longer would be mostly repetitions, sequences and joined common words, so
//! these are refused by rule, and what stands in `COMMON` by what it is made of.

use std::sync::{Condvar, Mutex, PoisonError};

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use store::PasswordHash;

use super::error::AccessError;
use super::secret::{Secret, random};

/// The least length, in characters.
pub const PASSWORD_LENGTH: usize = 12;

/// The greatest, in bytes: longer ones cost time before they are refused.
const LENGTH_MAX: usize = 1024;

/// How many are hashed at a time.
const RUNNING: usize = 2;

/// How many wait for that; more are refused. Fewer than the threads for blocking calls, so that others find one free.
const WAITING: usize = 6;

/// Hashed in place of a user's who is not there, so that the answer takes as long. Of no password: the hash is zeros.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What most leaked passwords are made of: the heads of the lists that the UK's NCSC and SplashData publish.
const COMMON: [&str; 36] = [
    "password",
    "passwort",
    "passw0rd",
    "p@ssw0rd",
    "letmein",
    "welcome",
    "qwertyuiop",
    "qwerty",
    "azerty",
    "qwertz",
    "asdfghjkl",
    "asdfgh",
    "zxcvbnm",
    "1q2w3e4r5t",
    "1q2w3e4r",
    "1qaz2wsx",
    "iloveyou",
    "sunshine",
    "princess",
    "football",
    "baseball",
    "liverpool",
    "superman",
    "batman",
    "dragon",
    "monkey",
    "master",
    "shadow",
    "michael",
    "changeme",
    "trustno1",
    "whatever",
    "starwars",
    "administrator",
    "admin",
    "homeostat",
];

/// Hashes and compares, a few at a time.
#[derive(Debug, Default)]
pub(super) struct Hashing {
    taken: Mutex<Taken>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Taken {
    running: usize,
    waiting: usize,
}

impl Hashing {
    /// The hash to keep of a password that is taken.
    pub(super) fn hash(&self, password: &Secret) -> Result<PasswordHash, AccessError> {
        let salt = random::<16>()?;
        let _turn = self.turn()?;
        let failed = |error: &dyn std::fmt::Display| AccessError::Hashing(error.to_string());
        let hash: Phc = argon2()
            .hash_password_with_salt(password.expose().as_bytes(), &salt)
            .map_err(|error| failed(&error))?;
        Ok(PasswordHash(hash.to_string()))
    }

    /// Whether it is the password of a hash; `None` for a user who has none takes as long, and it is not.
    pub(super) fn is_right(
        &self,
        password: &Secret,
        hash: Option<&PasswordHash>,
    ) -> Result<bool, AccessError> {
        let phc = Phc::new(hash.map_or(NOBODY, |hash| &hash.0))
            .map_err(|error| AccessError::Hashing(error.to_string()))?;
        let given = password.expose().as_bytes();
        let given = if given.len() > LENGTH_MAX { b"" } else { given };
        let _turn = self.turn()?;
        Ok(argon2().verify_password(given, &phc).is_ok() && hash.is_some())
    }

    fn turn(&self) -> Result<Turn<'_>, AccessError> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.running >= RUNNING {
            if taken.waiting >= WAITING {
                return Err(AccessError::Busy);
            }
            taken.waiting += 1;
            while taken.running >= RUNNING {
                taken = self.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
            }
            taken.waiting -= 1;
        }
        taken.running += 1;
        Ok(Turn { hashing: self })
    }
}

/// One of the few that hash.
struct Turn<'a> {
    hashing: &'a Hashing,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.hashing.taken.lock().unwrap_or_else(PoisonError::into_inner).running -= 1;
        self.hashing.freed.notify_one();
    }
}

fn argon2() -> Argon2<'static> {
    // The default parameters of the crate are OWASP's, and named here so that they cannot change behind us.
    let params = Params::new(19 * 1024, 2, 1, None).unwrap_or(Params::DEFAULT);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Refuses passwords that are short, or among the first to be guessed.
pub(super) fn check(password: &Secret, user: &str) -> Result<(), AccessError> {
    let text = password.expose();
    let refused = |why: &str| Err(AccessError::field("password", format!("the password {why}")));
    if text.chars().count() < PASSWORD_LENGTH {
        return refused("needs at least 12 characters; a few words in a row are easy to remember");
    }
    if text.len() > LENGTH_MAX {
        return refused("has more than 1024 bytes; take a shorter one");
    }
    if is_common(text, user) {
        return refused("is among the first to be guessed: take one that is no sequence, repetition or name");
    }
    Ok(())
}

/// Whether little is left without what is guessed first: common words, the user's name, runs of one sign and sequences.
fn is_common(text: &str, user: &str) -> bool {
    let mut rest = text.to_lowercase();
    for word in COMMON.iter().copied().chain([user]).filter(|word| !word.is_empty()) {
        rest = rest.replace(word, "");
    }
    let signs: Vec<u32> = rest.chars().map(u32::from).collect();
    let told = |at: usize| {
        // A sign tells something where it does not follow from the one before it, or repeats the text's beginning.
        let follows = at > 0 && signs[at].abs_diff(signs[at - 1]) <= 1;
        let repeats = (1..=4).any(|period| at >= period && signs[at] == signs[at - period]);
        !follows && !repeats
    };
    (0..signs.len()).filter(|at| told(*at)).count() < 5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_guessed_first_is_refused_and_words_in_a_row_are_not() {
        let refused = |text: &str| check(&Secret::new(text), "ada").is_err();
        for text in [
            "short",
            "elevenchars",
            "aaaaaaaaaaaaaa",
            "123456789012",
            "abcdefghijklm",
            "passwordpassword",
            "Password1234!",
            "qwertyuiop123",
            "adaadaadaada",
            "P@ssw0rd2024",
            "abcabcabcabc",
            "homeostat2026",
        ] {
            assert!(refused(text), "{text}");
        }
        for text in ["correct horse battery staple", "mQ7vTz2LpX9w", "der Fluss fließt leise"] {
            assert!(!refused(text), "{text}");
        }
    }

    #[test]
    fn a_hash_tells_its_password_from_others_and_is_salted() {
        let hashing = Hashing::default();
        let password = Secret::new("correct horse battery staple");
        let hash = hashing.hash(&password).unwrap();
        assert!(hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.0);
        assert_ne!(hashing.hash(&password).unwrap(), hash);
        assert!(hashing.is_right(&password, Some(&hash)).unwrap());
        assert!(!hashing.is_right(&Secret::new("correct horse"), Some(&hash)).unwrap());
        assert!(!hashing.is_right(&password, None).unwrap());
    }

    #[test]
    fn a_flood_is_refused_and_those_let_in_are_answered() {
        let hashing = Hashing::default();
        let turns: Vec<_> = (0..RUNNING).map(|_| hashing.turn().unwrap()).collect();
        hashing.taken.lock().unwrap().waiting = WAITING;
        assert!(matches!(hashing.turn(), Err(AccessError::Busy)));
        hashing.taken.lock().unwrap().waiting = 0;
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| hashing.turn().is_ok());
            drop(turns);
            assert!(waiting.join().unwrap());
        });
    }
}
