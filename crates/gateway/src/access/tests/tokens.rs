//! API tokens: who they are, when they end, and that none does more than its owner.

use std::time::Duration;

use domain::access::Permissions;
use domain::{Clock, Permission, Proof};

use super::*;

fn admin() -> Identity {
    local(Proof::Token)
}

fn request(name: &str, roles: &[Role]) -> TokenRequest {
    TokenRequest { name: name.to_owned(), owner: None, roles: roles.to_vec(), scope: None, expires: None }
}

#[test]
fn a_token_is_who_it_was_made_for_and_a_guessed_or_cut_one_is_nobody() {
    let (access, _) = access();
    let made = access.create_token(&admin(), request("ci", &[Role::Operator])).unwrap();
    let text = made.secret.expose();
    let identity = bearer(&access, text).unwrap();
    assert_eq!((identity.name.as_str(), identity.proof), ("token ci", Proof::Token));
    assert!(identity.may(Permission::ServicesOperate) && !identity.may(Permission::PlansApprove));
    let guessed = super::super::bearer::mint().unwrap();
    for wrong in [guessed.expose(), &text[..text.len() - 1], "hst_", "", "secret", &text.to_lowercase()] {
        assert_eq!(code(bearer(&access, wrong)), "wrong_token", "{wrong}");
    }
    assert_eq!(bearer(&access, LOCAL).unwrap().name, "local token");
}

#[test]
fn a_wrong_bearer_is_not_saved_by_a_cookie() {
    let (access, _) = access();
    let signed_in = access.sign_in_by_local_token(&Secret::new(LOCAL), "", &[]).unwrap();
    let mut headers = HeaderMap::new();
    let cookie = format!("homeostat-4000={}", signed_in.cookie.expose());
    headers.insert(header::COOKIE, HeaderValue::from_str(&cookie).unwrap());
    for wrong in ["Bearer nonsense", "Basic YTpi", "Bearer"] {
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(wrong).unwrap());
        let asked = access.identify(&headers, &SessionCookie::of_port(4000), HERE);
        assert_eq!(code(asked), "wrong_token", "{wrong}");
    }
    let as_bearer = bearer(&access, signed_in.cookie.expose());
    assert_eq!(code(as_bearer), "wrong_token", "a cookie is no bearer");
}

#[test]
fn a_token_ends_when_it_expires_or_is_revoked() {
    let (access, clock) = access();
    let expires = Some(clock.now().plus(Duration::from_secs(60)));
    let made =
        access.create_token(&admin(), TokenRequest { expires, ..request("ci", &[Role::Viewer]) }).unwrap();
    clock.wait(Duration::from_secs(59));
    assert!(bearer(&access, made.secret.expose()).is_ok());
    clock.wait(Duration::from_secs(1));
    assert_eq!(code(bearer(&access, made.secret.expose())), "token_expired");
    let made = access.create_token(&admin(), request("cd", &[Role::Viewer])).unwrap();
    access.revoke_token(&admin(), made.record.id).unwrap();
    assert_eq!(code(bearer(&access, made.secret.expose())), "token_revoked");
    assert_eq!(code(access.revoke_token(&admin(), made.record.id)), "not_found");
    let past = TokenRequest { expires: Some(clock.now()), ..request("late", &[Role::Viewer]) };
    assert_eq!(code(access.create_token(&admin(), past)), "invalid_field");
    assert_eq!(code(access.create_token(&admin(), request("cd", &[Role::Viewer]))), "name_taken");
}

#[test]
fn a_scope_holds_and_nobody_gives_more_than_they_have() {
    let (access, _) = access();
    add(&access, "ada", &[Role::Operator]);
    let ada = access.sign_in(&sent("ada", PASSWORD)).unwrap().identity;
    let scope = Some([Permission::MetricsScrape].into_iter().collect());
    let made =
        access.create_token(&ada, TokenRequest { scope, ..request("scraper", &[Role::Viewer]) }).unwrap();
    let scraper = bearer(&access, made.secret.expose()).unwrap();
    assert!(scraper.may(Permission::MetricsScrape) && !scraper.may(Permission::StateRead));
    assert_eq!(code(access.create_token(&ada, request("root", &[Role::Admin]))), "beyond_owner");
    let wide = Some([Permission::ServicesOperate].into_iter().collect());
    let widened = TokenRequest { scope: wide, ..request("wide", &[Role::Viewer]) };
    assert_eq!(code(access.create_token(&ada, widened)), "invalid_field");
    let narrow = TokenRequest { scope, ..request("child", &[Role::Viewer]) };
    let refused = access.create_token(&scraper, narrow).unwrap_err();
    assert_eq!(refused.code(), "forbidden", "what is for one thing makes nothing");
    assert!(refused.to_string().contains("access:manage"), "{refused}");
    let scope = Some([Permission::AccessManage].into_iter().collect());
    let manages = TokenRequest { scope, ..request("manages", &[Role::Admin]) };
    let manages = access.create_token(&admin(), manages).unwrap();
    let manages = bearer(&access, manages.secret.expose()).unwrap();
    let by_it = access.create_token(&manages, request("more", &[Role::Viewer]));
    assert_eq!(code(by_it), "beyond_owner", "a scope is not shaken off");
    let for_other = TokenRequest { owner: Some("bob".to_owned()), ..request("bobs", &[Role::Viewer]) };
    assert_eq!(code(access.create_token(&ada, for_other)), "forbidden");
    let nobody = Identity::anonymous(AnonymousReads::Allowed);
    assert_eq!(code(access.create_token(&nobody, request("free", &[Role::Viewer]))), "token_missing");
}

#[test]
fn tokens_follow_their_owner() {
    let (access, _) = access();
    add(&access, "ada", &[Role::Operator]);
    let owned = TokenRequest { owner: Some("ada".to_owned()), ..request("ci", &[Role::Operator]) };
    let made = access.create_token(&admin(), owned).unwrap();
    let may = |permission| bearer(&access, made.secret.expose()).map(|identity| identity.may(permission));
    assert!(may(Permission::ServicesOperate).unwrap());
    access.set_roles("ada", vec![Role::Viewer]).unwrap();
    assert!(!may(Permission::ServicesOperate).unwrap());
    assert!(may(Permission::StateRead).unwrap());
    access.set_admission("ada", Admission::Disabled).unwrap();
    assert_eq!(code(may(Permission::StateRead)), "token_revoked");
}

#[test]
fn what_a_token_made_ends_with_it_and_may_no_more_than_it() {
    let (access, _) = access();
    for name in ["ada", "bob"] {
        add(&access, name, &[Role::Admin]);
    }
    let ada = access.sign_in(&sent("ada", PASSWORD)).unwrap().identity;
    let make = |asker: &Identity, name: &str, owner: &str| {
        let request = TokenRequest { owner: Some(owner.to_owned()), ..request(name, &[Role::Admin]) };
        access.create_token(asker, request).unwrap()
    };
    let who = |made: &MadeToken| bearer(&access, made.secret.expose());
    let first = make(&ada, "first", "ada");
    let second = make(&who(&first).unwrap(), "second", "bob");
    let third = make(&who(&second).unwrap(), "third", "bob");
    let by_name = |name: &str| -> Option<String> {
        let all = access.tokens(&admin()).unwrap();
        all.into_iter().find(|token| token.name == name).unwrap().made_by
    };
    assert_eq!((first.record.made_by, by_name("first")), (None, None), "a session made it");
    assert_eq!(third.record.made_by.clone(), by_name("third"));
    assert_eq!(by_name("third").as_deref(), Some("second"));

    // Its owner holds all of it; who made it does not any more.
    access.set_roles("ada", vec![Role::Viewer]).unwrap();
    assert_eq!(who(&third).unwrap().permissions, Role::Viewer.permissions());
    access.set_roles("ada", vec![Role::Admin]).unwrap();
    assert_eq!(who(&third).unwrap().permissions, Permissions::all());
    access.set_admission("ada", Admission::Disabled).unwrap();
    assert_eq!(code(who(&third)), "token_revoked");
    access.set_admission("ada", Admission::Enabled).unwrap();
    who(&third).unwrap();

    assert_eq!(access.revoke_token(&admin(), first.record.id).unwrap(), ["second", "third"]);
    assert_eq!(code(who(&second)), "token_revoked");
    assert_eq!(code(who(&third)), "token_revoked");
}

#[test]
fn so_many_tokens_make_each_other_and_no_more() {
    let (access, _) = access();
    let mut asker = admin();
    for name in ["1", "2", "3", "4", "5", "6", "7", "8"] {
        let made = access.create_token(&asker, request(name, &[Role::Viewer])).unwrap();
        asker = bearer(&access, made.secret.expose()).unwrap();
    }
    assert_eq!(code(access.create_token(&asker, request("9", &[Role::Viewer]))), "invalid_field");
}

#[test]
fn one_sees_and_revokes_ones_own_tokens() {
    let (access, clock) = access();
    for name in ["ada", "bob"] {
        add(&access, name, &[Role::Viewer]);
    }
    let identity = |name: &str| access.sign_in(&sent(name, PASSWORD)).unwrap().identity;
    let (ada, bob) = (identity("ada"), identity("bob"));
    let made = access.create_token(&ada, request("adas", &[Role::Viewer])).unwrap();
    assert_eq!(access.tokens(&bob).unwrap(), []);
    assert_eq!(code(access.revoke_token(&bob, made.record.id)), "not_found");
    bearer(&access, made.secret.expose()).unwrap();
    let first = access.tokens(&ada).unwrap()[0].used;
    assert_eq!(first, Some(clock.now()));
    clock.wait(Duration::from_secs(59));
    bearer(&access, made.secret.expose()).unwrap();
    assert_eq!(access.tokens(&ada).unwrap()[0].used, first, "noted once a minute");
    clock.wait(Duration::from_secs(1));
    bearer(&access, made.secret.expose()).unwrap();
    assert_eq!(access.tokens(&admin()).unwrap()[0].used, Some(clock.now()));
    access.revoke_token(&ada, made.record.id).unwrap();
}

#[test]
fn a_refusal_names_the_permission_its_holders_and_who_one_is() {
    let (access, _) = access();
    add(&access, "ada", &[Role::Viewer]);
    let ada = access.sign_in(&sent("ada", PASSWORD)).unwrap().identity;
    let text = AccessError::lacks(&ada, Permission::PlansApprove).to_string();
    for part in ["ada", "plans:approve", "approver, admin", "viewer"] {
        assert!(text.contains(part), "{text}");
    }
}
