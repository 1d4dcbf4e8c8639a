//! Passwords, sessions, and how guessing is slowed down.

use std::time::Duration;

use domain::Clock;

use super::*;

#[test]
fn each_sign_in_is_a_new_value_and_ends_what_came_along() {
    let (access, _) = access();
    add(&access, "ada", &[Role::Operator]);
    let planted = Secret::new("planted-by-somebody-else");
    let first = access.sign_in(&SignIn { before: vec![planted.clone()], ..sent("ada", PASSWORD) }).unwrap();
    assert_ne!(first.cookie, planted);
    assert_eq!(by_cookie(&access, &planted), "anonymous");
    let again = SignIn { before: vec![first.cookie.clone()], ..sent("ada", PASSWORD) };
    let second = access.sign_in(&again).unwrap();
    assert_ne!(first.cookie, second.cookie);
    assert_eq!(by_cookie(&access, &first.cookie), "anonymous");
    assert_eq!(by_cookie(&access, &second.cookie), "ada");
}

#[test]
fn signing_out_ends_one_session_and_everywhere_all() {
    let (access, _) = access();
    add(&access, "ada", &[Role::Viewer]);
    let signed_in: Vec<_> = (0..3).map(|_| access.sign_in(&sent("ada", PASSWORD)).unwrap()).collect();
    access.sign_out(&signed_in[0].cookie).unwrap();
    let who = || signed_in.iter().map(|one| by_cookie(&access, &one.cookie)).collect::<Vec<_>>();
    assert_eq!(who(), ["anonymous", "ada", "ada"]);
    access.end_session(&signed_in[1].identity, signed_in[1].session).unwrap();
    assert_eq!(who(), ["anonymous", "anonymous", "ada"]);
    assert_eq!(access.sign_out_everywhere(&signed_in[2].identity).unwrap(), 1);
    assert_eq!(who(), ["anonymous"; 3]);
}

#[test]
fn nobody_ends_the_sessions_of_others() {
    let (access, _) = access();
    add(&access, "ada", &[Role::Viewer]);
    add(&access, "bob", &[Role::Viewer]);
    let (ada, bob) =
        (access.sign_in(&sent("ada", PASSWORD)).unwrap(), access.sign_in(&sent("bob", PASSWORD)).unwrap());
    access.end_session(&bob.identity, ada.session).unwrap();
    assert_eq!(by_cookie(&access, &ada.cookie), "ada");
    assert_eq!(access.sessions(&bob.identity).unwrap().len(), 1);
    access.end_session(&local(Proof::Token), ada.session).unwrap();
    assert_eq!(by_cookie(&access, &ada.cookie), "anonymous");
}

#[test]
fn a_session_ends_unused_and_in_any_case() {
    let (access, clock) = access();
    let sign_in = || access.sign_in_by_local_token(&Secret::new(LOCAL), "", &[]).unwrap().cookie;
    let unused = sign_in();
    clock.wait(SESSION_IDLE - Duration::from_secs(1));
    assert_eq!(by_cookie(&access, &unused), "local token");
    clock.wait(SESSION_IDLE);
    assert_eq!(by_cookie(&access, &unused), "anonymous");
    let used = sign_in();
    let end = clock.now().plus(SESSION_LENGTH);
    while !clock.now().plus(SESSION_IDLE / 2).reached(end) {
        assert_eq!(by_cookie(&access, &used), "local token");
        clock.wait(SESSION_IDLE / 2);
    }
    clock.wait(SESSION_IDLE / 2);
    assert_eq!(by_cookie(&access, &used), "anonymous");
}

fn set_password(access: &Access, password: &str) -> Result<store::UserRecord, AccessError> {
    let update = UserUpdate { password: Some(Secret::new(password)), ..UserUpdate::default() };
    access.update_user(&access.user("ada")?, update)
}

#[test]
fn being_shut_out_and_another_password_end_sessions_at_once() {
    let (access, _) = access();
    add(&access, "ada", &[Role::Admin]);
    let first = access.sign_in(&sent("ada", PASSWORD)).unwrap().cookie;
    set_password(&access, "another good sentence").unwrap();
    assert_eq!(by_cookie(&access, &first), "anonymous");
    assert_eq!(code(access.sign_in(&sent("ada", PASSWORD))), "sign_in_refused");
    let second = access.sign_in(&sent("ada", "another good sentence")).unwrap().cookie;
    access.set_admission("ada", Admission::Disabled).unwrap();
    assert_eq!(by_cookie(&access, &second), "anonymous");
    assert_eq!(code(access.sign_in(&sent("ada", "another good sentence"))), "sign_in_refused");
    access.set_admission("ada", Admission::Enabled).unwrap();
    assert_eq!(by_cookie(&access, &second), "anonymous", "what ended stays ended");
}

#[test]
fn another_token_of_the_data_directory_ends_its_sessions() {
    let store = store::Store::in_memory().unwrap();
    let (access, _) = fixture::over(store.clone(), LOCAL);
    let cookie = access.sign_in_by_local_token(&Secret::new(LOCAL), "", &[]).unwrap().cookie;
    assert_eq!(by_cookie(&fixture::over(store.clone(), LOCAL).0, &cookie), "local token");
    assert_eq!(by_cookie(&fixture::over(store, "another-token-of-it").0, &cookie), "anonymous");
    assert_eq!(code(access.sign_in_by_local_token(&Secret::new("guess"), "", &[])), "wrong_token");
}

#[test]
fn unknown_wrong_disabled_and_without_password_are_one_answer() {
    let (access, _) = access();
    for name in ["ada", "shut"] {
        add(&access, name, &[Role::Viewer]);
    }
    access.set_admission("shut", Admission::Disabled).unwrap();
    let request = UserRequest {
        name: "sso".to_owned(),
        display_name: String::new(),
        roles: vec![Role::Viewer],
        password: None,
    };
    access.create_user(request).unwrap();
    let answers: Vec<String> =
        [("nobody", PASSWORD), ("ada", "wrong"), ("shut", PASSWORD), ("sso", PASSWORD)]
            .into_iter()
            .map(|(name, password)| access.sign_in(&sent(name, password)).unwrap_err().to_string())
            .collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[test]
fn guessing_is_slowed_down_for_known_and_unknown_names_alike() {
    let (access, clock) = access();
    add(&access, "ada", &[Role::Viewer]);
    for name in ["ada", "nobody"] {
        for _ in 0..4 {
            assert_eq!(code(access.sign_in(&sent(name, "wrong"))), "sign_in_refused");
        }
        assert_eq!(code(access.sign_in(&sent(name, PASSWORD))), "too_many_attempts", "{name}");
    }
    clock.wait(Duration::from_secs(1));
    assert!(access.sign_in(&sent("ada", PASSWORD)).is_ok(), "a delay, no lock");
    let local = access.sign_in_by_local_token(&Secret::new(LOCAL), "", &[]);
    assert!(local.is_ok(), "the token of the data directory is never held up");
}

#[test]
fn a_password_is_asked_for_again_and_guessing_it_there_is_slowed_down_too() {
    let (access, _) = access();
    add(&access, "ada", &[Role::Viewer]);
    access.confirm_password("ada", &Secret::new(PASSWORD), HERE).unwrap();
    for _ in 0..4 {
        let asked = access.confirm_password("ada", &Secret::new("wrong"), HERE);
        assert_eq!(code(asked), "sign_in_refused");
    }
    assert_eq!(code(access.confirm_password("ada", &Secret::new(PASSWORD), HERE)), "too_many_attempts");
    assert_eq!(code(access.sign_in(&sent("ada", PASSWORD))), "too_many_attempts", "one count for both");
}

#[test]
fn weak_passwords_and_names_that_stand_for_others_are_refused() {
    let (access, _) = access();
    let make = |name: &str, password: &str| {
        access.create_user(UserRequest {
            name: name.to_owned(),
            display_name: String::new(),
            roles: vec![Role::Viewer],
            password: Some(Secret::new(password)),
        })
    };
    for name in ["", "anonymous", "local token", "token ci", "Ada", "-a", "a\n", &"a".repeat(65)] {
        assert_eq!(code(make(name, PASSWORD)), "invalid_field", "{name:?}");
    }
    assert_eq!(code(make("ada", "password1234")), "invalid_field");
    assert!(access.users().unwrap().is_empty());
    assert_eq!(code(access.set_roles("nobody", vec![Role::Viewer])), "not_found");
    make("ada", PASSWORD).unwrap();
    assert_eq!(code(make("ada", PASSWORD)), "name_taken");
    assert_eq!(code(access.set_roles("ada", Vec::new())), "invalid_field");
}

#[test]
fn the_cookie_is_out_of_reach_of_scripts_and_other_sites() {
    let cookie = SessionCookie::of_port(4000);
    let value = Secret::new("value");
    let set = |transport| cookie.set(&value, transport).to_str().unwrap().to_owned();
    let tls = set(Transport::Tls);
    assert!(tls.starts_with("__Host-homeostat=value; Path=/; HttpOnly; SameSite=Strict;"), "{tls}");
    assert!(tls.ends_with("; Secure") && !tls.contains("Domain"), "{tls}");
    let plain = set(Transport::Plain);
    assert!(plain.starts_with("homeostat-4000=value; Path=/; HttpOnly; SameSite=Strict;"), "{plain}");
    assert!(cookie.clear(Transport::Tls).to_str().unwrap().contains("Max-Age=0"));
}
