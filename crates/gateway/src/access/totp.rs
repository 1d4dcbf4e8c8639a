//! Codes of an authenticator: TOTP (RFC 6238) with SHA-1, six digits and 30 s, which every authenticator knows.
//!
//! In: a secret of 160 bits and a time of the wall clock. Out: the step a code belongs to. A code of the step before and
//! after is taken too, since clocks differ; that it is taken once is the store's compare-and-set.

use aws_lc_rs::hmac;

use super::error::AccessError;
use super::secret::random;

/// The length RFC 4226 recommends: that of SHA-1's output.
pub(super) const SECRET: usize = 20;

/// Seconds of a step.
const STEP: i64 = 30;

const SIGNS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

pub(super) fn new_secret() -> Result<[u8; SECRET], AccessError> {
    random()
}

/// The step that a code belongs to, at this time of the wall clock.
pub(super) fn step_of(secret: &[u8], code: &str, wall_us: i64) -> Option<i64> {
    let given: u32 =
        code.parse().ok().filter(|_| code.len() == 6 && code.bytes().all(|sign| sign.is_ascii_digit()))?;
    let now = wall_us.div_euclid(1_000_000 * STEP);
    // All three are computed whatever the first says.
    [now - 1, now, now + 1].into_iter().fold(None, |found, step| {
        let is_it = code_at(secret, step) == given;
        if is_it { Some(step) } else { found }
    })
}

/// The code of a step (RFC 4226, section 5.3).
pub(super) fn code_at(secret: &[u8], step: i64) -> u32 {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[tag.len() - 1] & 0xf);
    let word = u32::from_be_bytes([tag[at] & 0x7f, tag[at + 1], tag[at + 2], tag[at + 3]]);
    word % 1_000_000
}

/// The secret as people type it: base32 (RFC 4648) without padding.
pub(super) fn base32(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut held, mut bits) = (0u32, 0);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(SIGNS[(held >> bits) as usize & 31]));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(char::from(SIGNS[(held << (5 - bits)) as usize & 31]));
    }
    text
}

/// The address an authenticator scans. User names have no signs that would need escapes.
pub(super) fn uri(secret: &[u8], user: &str) -> String {
    let secret = base32(secret);
    format!(
        "otpauth://totp/Homeostat:{user}?secret={secret}&issuer=Homeostat&algorithm=SHA1&digits=6&period={STEP}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const RFC: &[u8] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_the_rfc() {
        // RFC 6238, appendix B, the last six of eight digits.
        for (seconds, code) in [
            (59, 287_082),
            (1_111_111_109, 81_804),
            (1_111_111_111, 50_471),
            (1_234_567_890, 5_924),
            (2_000_000_000, 279_037),
            (20_000_000_000, 353_130),
        ] {
            assert_eq!(code_at(RFC, seconds / STEP), code);
            assert_eq!(step_of(RFC, &format!("{code:06}"), seconds * 1_000_000), Some(seconds / STEP));
        }
    }

    #[test]
    fn one_step_off_is_taken_two_are_not() {
        let at = |seconds: i64| step_of(RFC, "287082", seconds * 1_000_000);
        assert_eq!([at(29), at(30), at(59), at(89), at(90)], [Some(1), Some(1), Some(1), Some(1), None]);
        for code in ["28708", "+28708", "0287082", "", "28708a"] {
            assert_eq!(step_of(RFC, code, 59_000_000), None, "{code}");
        }
    }

    #[test]
    fn base32_is_that_of_the_rfc() {
        for (text, written) in [("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foobar", "MZXW6YTBOI")] {
            assert_eq!(base32(text.as_bytes()), written);
        }
    }
}
