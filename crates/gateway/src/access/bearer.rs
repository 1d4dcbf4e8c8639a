//! What an API token looks like: `hst_`, 43 random characters, 6 of checksum.
//!
//! 62 signs of 43 places are 256 bits. The prefix and the checksum (CRC-32, as GitHub's tokens have it) let secret
//! scanners find one with certainty, `hst_[0-9A-Za-z]{49}`, and a token that was cut or mistyped is told apart from one that
//! is not known without asking the store.

use super::error::AccessError;
use super::secret::{Secret, random};

const PREFIX: &str = "hst_";
const RANDOM: usize = 43;
const CHECKSUM: usize = 6;
const SIGNS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A new token.
pub(super) fn mint() -> Result<Secret, AccessError> {
    let mut text = PREFIX.to_owned();
    while text.len() < PREFIX.len() + RANDOM {
        // Bytes of 248 and above would favour the first signs.
        let bytes = random::<64>()?;
        let signs =
            bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(SIGNS[usize::from(byte % 62)]));
        text.extend(signs.take(PREFIX.len() + RANDOM - text.len()));
    }
    text.push_str(&checksum(&text));
    Ok(Secret::new(text))
}

/// Whether a text is whole. Says nothing of whether it is a token of ours.
pub(super) fn is_whole(text: &str) -> bool {
    text.is_ascii()
        && text.len() == PREFIX.len() + RANDOM + CHECKSUM
        && text.starts_with(PREFIX)
        && text[PREFIX.len() + RANDOM..] == checksum(&text[..PREFIX.len() + RANDOM])
}

fn checksum(text: &str) -> String {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut signs = [b'0'; CHECKSUM];
    for sign in signs.iter_mut().rev() {
        *sign = SIGNS[(rest % 62) as usize];
        rest /= 62;
    }
    signs.iter().map(|sign| char::from(*sign)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_was_cut_or_mistyped_is_not_whole() {
        let token = mint().unwrap();
        let text = token.expose();
        assert!(is_whole(text), "{text}");
        assert_eq!(text.len(), 53);
        assert_ne!(mint().unwrap(), token);
        for cut in 0..text.len() {
            assert!(!is_whole(&text[..cut]));
        }
        for at in 0..text.len() {
            let mut typed = text.as_bytes().to_vec();
            typed[at] = if typed[at] == b'x' { b'y' } else { b'x' };
            assert!(!is_whole(std::str::from_utf8(&typed).unwrap()), "at {at}");
        }
        assert!(!is_whole(&format!("{text} ")));
        assert!(!is_whole("hst_ä"));
    }
}
