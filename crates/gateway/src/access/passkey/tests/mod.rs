//! Whole ceremonies of an authenticator that is made here, and each thing that may be wrong with one.

mod authenticator;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use ciborium::cbor;
use domain::{Clock, Role};

use super::super::fixture::{self, HandClock};
use super::super::{Admission, UserRequest};
use super::*;
use authenticator::{AT, Authenticator, BE, BS, ED, Pair, Statement, UP, UV, b64};

const ORIGIN: &str = "http://localhost:4000";

fn party() -> RelyingParty {
    RelyingParty::of_origin(ORIGIN).unwrap()
}

/// Access with the user ada, and grace.
fn with_users() -> (Access, Arc<HandClock>) {
    let (access, clock) = fixture::access("the-local-token-of-the-tests");
    for name in ["ada", "grace"] {
        let request = UserRequest {
            name: name.to_owned(),
            display_name: String::new(),
            roles: vec![Role::Operator],
            password: None,
        };
        access.create_user(request).unwrap();
    }
    (access, clock)
}

fn register(
    access: &Access,
    name: &str,
    authenticator: &mut Authenticator,
) -> Result<PasskeyRecord, AccessError> {
    let user = access.user(name).unwrap();
    let options = access.begin_passkey(&user, "laptop", &party()).unwrap();
    access.add_passkey(&user, "laptop", &party(), &authenticator.create(&options))
}

fn send(access: &Access, answer: String) -> Result<SignedIn, AccessError> {
    let sent = PasskeySignIn { answer, party: party(), user_agent: "Firefox".to_owned(), before: Vec::new() };
    access.sign_in_by_passkey(&sent)
}

fn sign_in(access: &Access, authenticator: &mut Authenticator) -> Result<SignedIn, AccessError> {
    authenticator.count += 1;
    send(access, authenticator.get(&access.begin_passkey_sign_in(&party()).unwrap()))
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, AccessError>) -> PasskeyError {
    match result {
        Err(AccessError::Passkey(error)) => error,
        other => panic!("not refused as a passkey: {other:?}"),
    }
}

/// Ada with a passkey in this authenticator.
fn registered() -> (Access, Arc<HandClock>, Authenticator) {
    let (access, clock) = with_users();
    let mut authenticator = Authenticator::new();
    register(&access, "ada", &mut authenticator).unwrap();
    (access, clock, authenticator)
}

#[test]
fn a_passkey_of_each_algorithm_signs_its_user_in() {
    for pair in [
        Pair::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap()),
        Pair::Ed25519(Ed25519KeyPair::generate().unwrap()),
        Pair::Rs256(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
    ] {
        let (access, clock) = with_users();
        let mut authenticator = Authenticator::with(pair);
        let made = register(&access, "ada", &mut authenticator).unwrap();
        assert_eq!((made.name.as_str(), made.used, made.rp_id.as_str()), ("laptop", None, "localhost"));
        clock.wait(Duration::from_secs(60));
        let signed_in = sign_in(&access, &mut authenticator).unwrap();
        assert_eq!(
            (signed_in.identity.name.as_str(), &*signed_in.identity.roles),
            ("ada", &[Role::Operator][..])
        );
        let passkeys = access.passkeys(&signed_in.identity).unwrap();
        assert_eq!(passkeys[0].used, Some(clock.now()));
        let sessions = access.sessions(&signed_in.identity).unwrap();
        assert_eq!(sessions[0].signed_in_by.name(), "passkey");
    }
}

#[test]
fn a_challenge_is_good_once_for_five_minutes_and_for_what_it_was_given_out_for() {
    let (access, clock, mut authenticator) = registered();
    let options = access.begin_passkey_sign_in(&party()).unwrap();
    authenticator.count += 1;
    let answer = authenticator.get(&options);
    send(&access, answer.clone()).unwrap();
    assert!(matches!(refused(send(&access, answer)), PasskeyError::Challenge), "replayed");
    authenticator.count += 1;
    assert!(
        matches!(refused(send(&access, authenticator.get(&options))), PasskeyError::Challenge),
        "used up"
    );

    let late = access.begin_passkey_sign_in(&party()).unwrap();
    clock.wait(CHALLENGE_TIME);
    assert!(matches!(refused(send(&access, authenticator.get(&late))), PasskeyError::Challenge), "too old");

    let (ada, grace) = (access.user("ada").unwrap(), access.user("grace").unwrap());
    let to_register = access.begin_passkey(&ada, "phone", &party()).unwrap();
    let other_use = refused(send(&access, authenticator.get(&to_register)));
    assert!(matches!(other_use, PasskeyError::Challenge), "given out to register");
    let created = Authenticator { id: b"two".to_vec(), ..Authenticator::new() }.create(&to_register);
    let of_another = refused(access.add_passkey(&grace, "key", &party(), &created));
    assert!(matches!(of_another, PasskeyError::Challenge), "given out to ada");
    for guessed in [b64([0; 72]), b64([0; 71]), String::new()] {
        let answer = authenticator.get(&json!({"challenge": guessed}));
        assert!(matches!(refused(send(&access, answer)), PasskeyError::Challenge), "guessed");
    }
}

#[test]
fn a_page_elsewhere_gets_nobody_in() {
    let (access, _, mut authenticator) = registered();
    for origin in [
        "http://localhost:4001",
        "https://localhost:4000",
        "https://evil.example",
        "http://localhost:4000/",
        "null",
    ] {
        authenticator.origin = origin.to_owned();
        assert!(
            matches!(refused(sign_in(&access, &mut authenticator)), PasskeyError::Origin { .. }),
            "{origin}"
        );
    }
    authenticator.origin = ORIGIN.to_owned();
    for more in [json!({"crossOrigin": true}), json!({"topOrigin": "https://evil.example"})] {
        authenticator.more = more;
        assert!(matches!(refused(sign_in(&access, &mut authenticator)), PasskeyError::Framed));
    }
    authenticator.more = json!({});
    authenticator.host = "evil.example".to_owned();
    assert!(matches!(refused(sign_in(&access, &mut authenticator)), PasskeyError::RpId { .. }));
    authenticator.host = "localhost".to_owned();
    sign_in(&access, &mut authenticator).unwrap();
}

#[test]
fn a_passkey_of_another_host_of_ours_is_told_apart() {
    let (access, _, mut authenticator) = registered();
    let other = RelyingParty::of_origin("https://ops.example:4000").unwrap();
    authenticator.origin = other.origin.clone();
    let answer = authenticator.get(&access.begin_passkey_sign_in(&other).unwrap());
    let sent = PasskeySignIn { answer, party: other, user_agent: String::new(), before: Vec::new() };
    let error = refused(access.sign_in_by_passkey(&sent));
    assert!(matches!(&error, PasskeyError::OtherHost { registered } if registered == "localhost"), "{error}");
}

#[test]
fn nobody_gets_in_whom_the_authenticator_did_not_verify() {
    let (access, _, mut authenticator) = registered();
    for flags in [0, UP, UV] {
        authenticator.flags = flags;
        assert!(
            matches!(refused(sign_in(&access, &mut authenticator)), PasskeyError::NotVerified),
            "{flags}"
        );
    }
    let mut another = Authenticator { flags: UP, id: b"two".to_vec(), ..Authenticator::new() };
    assert!(matches!(refused(register(&access, "grace", &mut another)), PasskeyError::NotVerified));
}

#[test]
fn a_count_that_goes_back_or_stands_still_is_refused() {
    let (access, _, mut authenticator) = registered();
    authenticator.count = 9;
    sign_in(&access, &mut authenticator).unwrap();
    for count in [10, 9, 5, 0] {
        authenticator.count = count;
        let answer = authenticator.get(&access.begin_passkey_sign_in(&party()).unwrap());
        let error = refused(send(&access, answer));
        assert!(matches!(error, PasskeyError::Counter { last: 10, .. }), "{count}: {error}");
    }
    authenticator.count = 10;
    sign_in(&access, &mut authenticator).unwrap();
}

#[test]
fn an_authenticator_that_does_not_count_is_taken() {
    let (access, _) = with_users();
    let mut authenticator = Authenticator { count: 0, ..Authenticator::new() };
    register(&access, "ada", &mut authenticator).unwrap();
    for _ in 0..2 {
        send(&access, authenticator.get(&access.begin_passkey_sign_in(&party()).unwrap())).unwrap();
    }
}

#[test]
fn whose_a_passkey_is_must_be_said_and_right() {
    let (access, _, mut authenticator) = registered();
    let mut hers = Authenticator { id: b"credential-two".to_vec(), ..Authenticator::new() };
    register(&access, "grace", &mut hers).unwrap();
    let mine = std::mem::replace(&mut authenticator.user_handle, hers.user_handle.clone());
    assert!(matches!(refused(sign_in(&access, &mut authenticator)), PasskeyError::OtherUser));
    authenticator.user_handle = mine;
    // The credential of another, signed by a key of one's own.
    let id = std::mem::replace(&mut authenticator.id, hers.id.clone());
    assert!(matches!(refused(sign_in(&access, &mut authenticator)), PasskeyError::OtherUser));
    let handle = std::mem::replace(&mut authenticator.user_handle, hers.user_handle.clone());
    assert!(matches!(refused(sign_in(&access, &mut authenticator)), PasskeyError::Signature));
    (authenticator.id, authenticator.user_handle) = (id, handle);
    let mut silent = authenticator.get_with(&access.begin_passkey_sign_in(&party()).unwrap(), UP | UV, &[]);
    silent["response"]["userHandle"] = Value::Null;
    assert!(matches!(refused(send(&access, silent.to_string())), PasskeyError::NoUserHandle));
    authenticator.id = b"nobody's".to_vec();
    assert!(matches!(refused(sign_in(&access, &mut authenticator)), PasskeyError::Unknown));
}

#[test]
fn what_was_changed_on_the_way_is_not_signed() {
    let (access, _, mut authenticator) = registered();
    authenticator.count = 7;
    let options = || access.begin_passkey_sign_in(&party()).unwrap();
    for part in ["signature", "authenticatorData", "clientDataJSON"] {
        let mut answer = authenticator.get_with(&options(), UP | UV, &[]);
        let bytes = answer["response"][part].as_str().unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(bytes).unwrap();
        match part {
            // A space in JSON changes its digest and nothing of its meaning.
            "clientDataJSON" => bytes.insert(1, b' '),
            // The count.
            "authenticatorData" => bytes[36] = 200,
            _ => *bytes.last_mut().unwrap() ^= 1,
        }
        answer["response"][part] = b64(bytes).into();
        assert!(matches!(refused(send(&access, answer.to_string())), PasskeyError::Signature), "{part}");
    }
    let other = Authenticator { user_handle: authenticator.user_handle.clone(), ..Authenticator::new() };
    assert!(matches!(refused(send(&access, other.get(&options()))), PasskeyError::Signature), "another key");
    send(&access, authenticator.get(&options())).unwrap();
}

#[test]
fn a_ceremony_is_not_taken_for_the_other() {
    let (access, _, authenticator) = registered();
    let mut answer = authenticator.get_with(&access.begin_passkey_sign_in(&party()).unwrap(), UP | UV, &[]);
    let options = access.begin_passkey_sign_in(&party()).unwrap();
    answer["response"]["clientDataJSON"] = b64(authenticator.client_data("webauthn.create", &options)).into();
    assert!(matches!(refused(send(&access, answer.to_string())), PasskeyError::Kind));
}

#[test]
fn what_may_be_copied_does_not_change() {
    let (access, _) = with_users();
    let mut authenticator = Authenticator { flags: UP | UV | BE | BS, ..Authenticator::new() };
    assert!(register(&access, "ada", &mut authenticator).unwrap().backup_eligible);
    sign_in(&access, &mut authenticator).unwrap();
    authenticator.flags = UP | UV;
    assert!(matches!(refused(sign_in(&access, &mut authenticator)), PasskeyError::Backup));
    authenticator.flags = UP | UV | BS;
    assert!(matches!(refused(sign_in(&access, &mut authenticator)), PasskeyError::Backup), "impossible");
    authenticator.flags = UP | UV | BE;
    sign_in(&access, &mut authenticator).unwrap();
}

#[test]
fn attestation_is_none_or_the_keys_own() {
    let (access, _) = with_users();
    let ada = access.user("ada").unwrap();
    let try_with = |format: &'static str, statement: Statement| {
        let options = access.begin_passkey(&ada, "phone", &party()).unwrap();
        let mut authenticator = Authenticator::new();
        let answer = authenticator.create_with(&options, Some((format, statement)));
        access.add_passkey(&ada, "laptop", &party(), &answer)
    };
    assert!(matches!(
        refused(try_with("none", |_, _| cbor!({"sig" => 1}).unwrap())),
        PasskeyError::Attestation(_)
    ));
    assert!(matches!(refused(try_with("fido-u2f", |_, _| cbor!({}).unwrap())), PasskeyError::Attestation(_)));
    let forged = try_with("packed", |_, _| {
        cbor!({"alg" => -7, "sig" => ciborium::Value::Bytes(vec![0; 70])}).unwrap()
    });
    assert!(matches!(refused(forged), PasskeyError::Signature));
    let other_algorithm = try_with("packed", |this, signed| {
        cbor!({"alg" => -8, "sig" => ciborium::Value::Bytes(this.sign(signed))}).unwrap()
    });
    assert!(matches!(refused(other_algorithm), PasskeyError::Attestation(_)));
    try_with("packed", |this, signed| {
        cbor!({"alg" => -7, "sig" => ciborium::Value::Bytes(this.sign(signed))}).unwrap()
    })
    .unwrap();
}

#[test]
fn a_credential_and_a_name_are_registered_once_and_removed_for_good() {
    let (access, _, mut authenticator) = registered();
    let again = refused(register(&access, "grace", &mut authenticator));
    assert!(matches!(again, PasskeyError::Registered), "{again}");
    let mut another = Authenticator { id: b"two".to_vec(), ..Authenticator::new() };
    let (ada, grace) = (access.user("ada").unwrap(), access.user("grace").unwrap());
    for (name, code) in [("", "invalid_field"), (" \n", "invalid_field"), ("laptop ", "name_taken")] {
        assert_eq!(access.begin_passkey(&ada, name, &party()).unwrap_err().code(), code, "{name:?}");
    }
    let options = access.begin_passkey(&ada, "phone", &party()).unwrap();
    let answer = another.create(&options);
    assert_eq!(access.add_passkey(&ada, "laptop", &party(), &answer).unwrap_err().code(), "name_taken");
    assert_eq!(options["excludeCredentials"][0]["id"], b64(b"credential-one"));
    let id = access.passkeys_of("ada").unwrap()[0].id;
    assert_eq!(access.remove_passkey(&grace, id).unwrap_err().code(), "not_found");
    assert_eq!(access.passkeys_of("ada").unwrap().len(), 1, "hers alone");
    access.remove_passkey(&ada, id).unwrap();
    assert_eq!(access.passkey(id).unwrap_err().code(), "not_found");
    authenticator.user_handle = b64(ceremony::user_handle(ada.id));
    assert!(matches!(refused(sign_in(&access, &mut authenticator)), PasskeyError::Unknown));
}

#[test]
fn who_is_shut_out_has_no_way_in_by_a_passkey() {
    let (access, _, mut authenticator) = registered();
    access.set_admission("ada", Admission::Disabled).unwrap();
    assert_eq!(sign_in(&access, &mut authenticator).unwrap_err().code(), "sign_in_refused");
    access.set_admission("ada", Admission::Enabled).unwrap();
    sign_in(&access, &mut authenticator).unwrap();
    access.retire_user("ada").unwrap();
    access.set_admission("ada", Admission::Enabled).unwrap();
    assert!(matches!(refused(sign_in(&access, &mut authenticator)), PasskeyError::Unknown));
}

#[test]
fn what_cannot_be_read_is_refused_and_never_panics() {
    let (access, _, mut authenticator) = registered();
    authenticator.count = 5;
    for text in ["", "{}", "[]", "null", "{\"type\":\"public-key\",\"rawId\":\"!\",\"response\":{}}"] {
        assert!(matches!(refused(send(&access, text.to_owned())), PasskeyError::Malformed(_)), "{text}");
    }
    let options = || access.begin_passkey_sign_in(&party()).unwrap();
    for (flags, rest) in
        [(UP | UV, &b"more"[..]), (UP | UV | ED, b""), (UP | UV | AT, b"short"), (UP | UV | ED, b"\x01")]
    {
        let answer = authenticator.get_with(&options(), flags, rest).to_string();
        assert!(matches!(refused(send(&access, answer)), PasskeyError::Malformed(_)), "{flags} {rest:?}");
    }
    send(&access, authenticator.get_with(&options(), UP | UV | ED, b"\xa0").to_string()).unwrap();
    // Every shorter form of what an authenticator makes is read or refused.
    let whole = authenticator.cose();
    for end in 0..whole.len() {
        assert!(key::PublicKey::read(&whole[..end]).is_err(), "{end}");
    }
    let deep = [0x81; 100_000];
    assert!(data::whole(&deep).is_err());
    assert!(data::whole(&[0xbf, 0xff, 0]).is_err(), "something follows");
    assert!(data::whole(&[0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err(), "a huge length");
}

#[test]
fn passkeys_are_for_names_over_tls_and_for_localhost() {
    let host = |origin: &str| RelyingParty::of_origin(origin).map(|party| party.host().to_owned());
    assert_eq!(host("http://localhost:4000").as_deref(), Some("localhost"));
    assert_eq!(host("https://Ops.Example:4000").as_deref(), Some("ops.example"));
    assert_eq!(host("https://ops.example").as_deref(), Some("ops.example"));
    for none in [
        "http://127.0.0.1:4000",
        "http://[::1]:4000",
        "https://192.0.2.7",
        "http://ops.example:4000",
        "https://",
        "x",
    ] {
        assert_eq!(host(none), None, "{none}");
    }
}

#[test]
fn who_signs_in_by_the_provider_has_no_passkey_here() {
    let (access, _) = with_users();
    let mut ada = access.user("ada").unwrap();
    ada.oidc = Some(store::OidcSubject { issuer: "https://sso.example".to_owned(), subject: "1".to_owned() });
    assert!(matches!(refused(access.begin_passkey(&ada, "phone", &party())), PasskeyError::OfProvider));
}

proptest::proptest! {
    /// Whatever an authenticator or a browser sends: it is read or refused.
    #[test]
    fn nothing_that_is_sent_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), flags: u8) {
        let _ = data::AttestationObject::read(&bytes);
        let _ = data::ClientData::read(&bytes);
        let _ = key::PublicKey::read(&bytes);
        let head = [&[0; 32][..], &[flags], &[0; 4], &bytes].concat();
        let _ = data::AuthenticatorData::read(&head);
        // A credential of a length that fits, then anything.
        let made = [&[0; 32][..], &[AT | UP | UV], &[0; 20], &[0, 2, 7, 7], &bytes].concat();
        let _ = data::AuthenticatorData::read(&made);
    }
}
