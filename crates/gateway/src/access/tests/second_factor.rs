//! TOTP and recovery codes: taken once, asked for once confirmed.

use std::time::Duration;

use domain::Clock;

use super::super::totp;
use super::*;

/// What an authenticator does with the typed secret.
fn shown(secret: &Secret, wall_us: i64) -> String {
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0u32, 0);
    for sign in secret.expose().bytes() {
        let value = if sign.is_ascii_uppercase() { sign - b'A' } else { sign - b'2' + 26 };
        held = ((held << 5) | u32::from(value)) & 0xffff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    format!("{:06}", totp::code_at(&bytes, wall_us / 30_000_000))
}

fn enrolled(access: &Access, clock: &HandClock) -> (Secret, RecoveryCodes) {
    add(access, "ada", &[Role::Admin]);
    let enrolment = access.enrol_totp("ada").unwrap();
    let code = shown(&enrolment.typed, clock.now().wall_us);
    let codes = access.confirm_totp("ada", &Secret::new(code)).unwrap();
    (enrolment.typed, codes)
}

#[test]
fn a_code_is_asked_for_once_it_was_confirmed_and_taken_once() {
    let (access, clock) = access();
    let (secret, _) = enrolled(&access, &clock);
    assert_eq!(code(access.sign_in(&sent("ada", PASSWORD))), "code_needed");
    let confirming = shown(&secret, clock.now().wall_us);
    assert_eq!(code(access.sign_in(&with_code("ada", &confirming))), "sign_in_refused", "used to confirm");
    clock.wait(Duration::from_secs(30));
    let now = shown(&secret, clock.now().wall_us);
    assert!(access.sign_in(&with_code("ada", &now)).is_ok());
    assert_eq!(code(access.sign_in(&with_code("ada", &now))), "sign_in_refused", "replayed");
    clock.wait(Duration::from_secs(300));
    let late = shown(&secret, clock.now().wall_us - 30_000_000);
    assert!(access.sign_in(&with_code("ada", &late)).is_ok(), "a clock that is a step behind");
}

#[test]
fn a_wrong_password_does_not_tell_whether_there_is_a_code_and_codes_are_not_guessed() {
    let (access, clock) = access();
    enrolled(&access, &clock);
    assert_eq!(code(access.sign_in(&sent("ada", "wrong"))), "sign_in_refused");
    for _ in 0..3 {
        assert_eq!(code(access.sign_in(&with_code("ada", "000000"))), "sign_in_refused");
    }
    assert_eq!(code(access.sign_in(&with_code("ada", "000001"))), "too_many_attempts");
}

#[test]
fn a_recovery_code_signs_in_once_however_it_is_typed() {
    let (access, clock) = access();
    let (_, RecoveryCodes(codes)) = enrolled(&access, &clock);
    assert_eq!(codes.len(), 10);
    let typed = codes[0].expose().to_lowercase().replace('-', " ");
    assert!(access.sign_in(&with_code("ada", &typed)).is_ok());
    assert_eq!(code(access.sign_in(&with_code("ada", &typed))), "sign_in_refused");
    assert!(access.sign_in(&with_code("ada", codes[1].expose())).is_ok());
}

#[test]
fn what_was_not_confirmed_is_not_asked_for_and_what_is_in_force_stays_until_then() {
    let (access, clock) = access();
    let (secret, _) = enrolled(&access, &clock);
    access.enrol_totp("ada").unwrap();
    assert_eq!(code(access.confirm_totp("ada", &Secret::new("abc"))), "invalid_field");
    clock.wait(Duration::from_secs(60));
    let now = shown(&secret, clock.now().wall_us);
    assert!(access.sign_in(&with_code("ada", &now)).is_ok());
    access.remove_totp("ada").unwrap();
    assert!(access.sign_in(&sent("ada", PASSWORD)).is_ok());
    assert_eq!(code(access.confirm_totp("ada", &Secret::new(now))), "changed_meanwhile");
}

#[test]
fn an_authenticator_is_told_everything_it_needs() {
    let (access, _) = access();
    add(&access, "ada", &[Role::Viewer]);
    let enrolment = access.enrol_totp("ada").unwrap();
    let (uri, typed) = (enrolment.uri.expose(), enrolment.typed.expose());
    assert!(uri.starts_with("otpauth://totp/Homeostat:ada?secret=") && uri.contains(typed), "{uri}");
    assert!(
        enrolment.picture.expose().starts_with("<svg ") && enrolment.picture.expose().ends_with("</svg>")
    );
}

#[test]
fn without_a_key_nothing_is_enrolled() {
    let store = store::Store::in_memory().unwrap();
    let (keyed, clock) = fixture::over(store.clone(), LOCAL);
    add(&keyed, "ada", &[Role::Viewer]);
    let without = Access::new(store, clock, LOCAL, AccessConfig::default());
    assert_eq!(code(without.enrol_totp("ada")), "no_sealing_key");
}
