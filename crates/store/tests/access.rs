//! Users, tokens and sessions as they are kept.

mod support;

use domain::*;
use store::boot::Boot;
use store::*;
use support::at;

fn user(store: &Store, name: &str) -> UserRecord {
    let user = UserRecord {
        id: IdSource::seeded(name.len() as u64).next(at(0)),
        name: name.to_owned(),
        display_name: "Ada".to_owned(),
        roles: vec![Role::Operator],
        password_hash: Some(PasswordHash("$argon2id$first".to_owned())),
        totp: None,
        totp_pending: None,
        totp_step: None,
        oidc: None,
        disabled: false,
        created: at(0),
        signed_in: None,
    };
    assert_eq!(store.add_user(&user).unwrap(), UserSaved::Saved);
    user
}

fn session(user: &UserRecord, seed: u64) -> (SessionRecord, Hash) {
    let session = SessionRecord {
        id: IdSource::seeded(seed).next(at(seed)),
        holder: SessionHolder::User(user.clone()),
        signed_in_by: SignedInBy::Password,
        user_agent: "Firefox".to_owned(),
        created: at(seed),
        used: at(seed),
        expires: at(seed + 3600),
    };
    (session, Hash([seed as u8; 32]))
}

#[test]
fn a_name_is_given_once_and_a_sign_in_is_noted() {
    let store = Store::in_memory().unwrap();
    let ada = user(&store, "ada");
    assert_eq!(store.add_user(&ada).unwrap(), UserSaved::NameTaken);
    let (open, value) = session(&ada, 5);
    assert!(store.add_session(&open, &value).unwrap());
    let found = store.user("ada").unwrap().unwrap();
    assert_eq!(found, UserRecord { signed_in: Some(at(5)), ..ada });
    let read = store.session_of_value(&value).unwrap().unwrap();
    assert_eq!(read, SessionRecord { holder: SessionHolder::User(found), ..open });
    assert_eq!(store.session_of_value(&Hash([9; 32])).unwrap(), None);
}

/// Changes a user as it is now.
fn changed(store: &Store, name: &str, change: UserChange) {
    let read = store.user(name).unwrap().unwrap();
    assert!(matches!(store.update_user(&read, &change).unwrap(), UserChanged::Changed(_)));
}

fn password(text: &str) -> UserChange {
    UserChange { password_hash: Some(PasswordHash(format!("$argon2id${text}"))), ..UserChange::default() }
}

#[test]
fn another_password_ends_the_sessions_that_are_asked_for_and_takes_factors_only_where_they_are() {
    let store = Store::in_memory().unwrap();
    let ada = user(&store, "ada");
    let secret = SealedSecret(vec![1]);
    store.set_totp_pending("ada", &secret).unwrap();
    assert!(store.confirm_totp("ada", &secret, 7, &[Hash([1; 32])]).unwrap());
    let passkey = PasskeyRecord {
        id: IdSource::seeded(9).next(at(1)),
        user: ada.id,
        credential: b"one".to_vec(),
        public_key: vec![1],
        sign_count: 0,
        backup_eligible: false,
        rp_id: "localhost".to_owned(),
        name: "laptop".to_owned(),
        created: at(1),
        used: None,
    };
    assert_eq!(store.add_passkey(&passkey, 2).unwrap(), PasskeySaved::Saved);
    let ada = store.user("ada").unwrap().unwrap();
    let (open, value) = session(&ada, 1);
    assert!(store.add_session(&open, &value).unwrap());
    let stands = |value| store.session_of_value(value).unwrap().is_some();
    changed(&store, "ada", UserChange { sessions: EndedSessions::None, ..password("second") });
    assert!(stands(&value));
    changed(&store, "ada", password("third"));
    assert!(!stands(&value));
    let (open, value) = session(&store.user("ada").unwrap().unwrap(), 2);
    assert!(store.add_session(&open, &value).unwrap());
    assert_eq!(store.passkey(passkey.id).unwrap().unwrap().1.name, "ada");
    assert!(store.user("ada").unwrap().unwrap().totp.is_some());
    changed(&store, "ada", UserChange { factors: Factors::Forgotten, ..UserChange::default() });
    assert!(!stands(&value), "who proves itself in fewer ways signs in again");
    assert_eq!(store.passkey(passkey.id).unwrap(), None);
    assert_eq!(store.user("ada").unwrap().unwrap().totp, None);
    assert_eq!(store.recovery_codes_left(ada.id).unwrap(), 0);
}

#[test]
fn another_password_and_being_shut_out_end_every_session() {
    let store = Store::in_memory().unwrap();
    let ada = user(&store, "ada");
    let (first, value) = session(&ada, 1);
    store.add_session(&first, &value).unwrap();
    changed(&store, "ada", password("second"));
    assert_eq!(store.session_of_value(&value).unwrap(), None);
    let (late, late_value) = session(&ada, 2);
    assert!(!store.add_session(&late, &late_value).unwrap(), "it was read before the password changed");
    let ada = store.user("ada").unwrap().unwrap();
    let (second, value) = session(&ada, 3);
    assert!(store.add_session(&second, &value).unwrap());
    assert!(store.set_user_disabled("ada", true).unwrap());
    assert_eq!(store.sessions(Some(ada.id)).unwrap(), []);
    assert!(!store.add_session(&second, &value).unwrap(), "disabled meanwhile");
}

#[test]
fn a_step_and_a_recovery_code_are_used_once() {
    let store = Store::in_memory().unwrap();
    let ada = user(&store, "ada");
    let (shown, again) = (SealedSecret(vec![1]), SealedSecret(vec![2]));
    store.set_totp_pending("ada", &shown).unwrap();
    store.set_totp_pending("ada", &again).unwrap();
    let codes = [Hash([1; 32]), Hash([2; 32])];
    assert!(!store.confirm_totp("ada", &shown, 7, &codes).unwrap(), "another was shown since");
    assert!(store.confirm_totp("ada", &again, 7, &codes).unwrap());
    assert!(!store.use_totp_step(ada.id, 7).unwrap(), "the confirming code is used up");
    assert!(store.use_totp_step(ada.id, 8).unwrap());
    assert!(!store.use_totp_step(ada.id, 8).unwrap());
    assert!(!store.use_totp_step(ada.id, 7).unwrap());
    assert!(store.use_recovery_code(ada.id, &codes[0]).unwrap());
    assert!(!store.use_recovery_code(ada.id, &codes[0]).unwrap());
    assert_eq!(store.recovery_codes_left(ada.id).unwrap(), 1);
    assert!(store.remove_totp("ada").unwrap());
    assert_eq!(store.recovery_codes_left(ada.id).unwrap(), 0);
    assert_eq!(store.user("ada").unwrap().unwrap().totp, None);
}

#[test]
fn a_token_stands_for_its_owner_and_one_of_the_data_directory_for_who_holds_that() {
    let store = Store::in_memory().unwrap();
    let ada = user(&store, "ada");
    for (seed, name, owner) in [(1, "hers", Some(ada.id)), (2, "nobody's", None)] {
        let token = NewToken {
            id: IdSource::seeded(seed).next(at(1)),
            name: name.to_owned(),
            secret: Hash([seed as u8; 32]),
            owner,
            made_by: None,
            roles: vec![Role::Viewer],
            scope: None,
            created: at(1),
            expires: None,
        };
        store.add_token(&token).unwrap();
    }
    let behind = |name: &str| store.person_behind(name).unwrap();
    assert_eq!(
        ["token hers", "token nobody's", "token unknown", "ada", "local token"].map(behind),
        ["ada", "local token", "token unknown", "ada", "local token"]
    );
}

#[test]
fn tokens_are_found_by_their_secret_and_revoked_once() {
    let store = Store::in_memory().unwrap();
    let ada = user(&store, "ada");
    let scope = [Permission::MetricsScrape, Permission::StateRead].into_iter().collect();
    let token = NewToken {
        id: IdSource::seeded(1).next(at(1)),
        name: "scraper".to_owned(),
        secret: Hash([3; 32]),
        owner: Some(ada.id),
        made_by: None,
        roles: vec![Role::Viewer],
        scope: Some(scope),
        created: at(1),
        expires: Some(at(60)),
    };
    assert!(store.add_token(&token).unwrap());
    let other = NewToken { id: IdSource::seeded(2).next(at(1)), secret: Hash([4; 32]), ..token.clone() };
    assert!(!store.add_token(&other).unwrap(), "the name is taken");
    let found = store.token_of_secret(&token.secret).unwrap().unwrap();
    assert_eq!(
        (&found.owner, found.scope, found.expires),
        (&TokenOwner::User(ada), Some(scope), Some(at(60)))
    );
    assert_eq!(store.revoke_token(token.id, at(2)).unwrap(), Some(Vec::new()));
    assert_eq!(store.revoke_token(token.id, at(3)).unwrap(), None);
    assert_eq!(store.token(token.id).unwrap().unwrap().revoked, Some(at(2)));
    assert_eq!(store.tokens().unwrap().len(), 1);
}

/// Keeps a token of this name that another made.
fn made(store: &Store, seed: u8, name: &str, owner: Option<UserId>, made_by: Option<TokenId>) -> TokenId {
    let token = NewToken {
        id: IdSource::seeded(u64::from(seed)).next(at(u64::from(seed))),
        name: name.to_owned(),
        secret: Hash([seed; 32]),
        owner,
        made_by,
        roles: vec![Role::Viewer],
        scope: None,
        created: at(u64::from(seed)),
        expires: None,
    };
    assert!(store.add_token(&token).unwrap());
    token.id
}

#[test]
fn what_a_token_made_ends_with_it_and_with_its_owner() {
    let store = Store::in_memory().unwrap();
    let (ada, grace) = (user(&store, "ada"), user(&store, "grace"));
    let first = made(&store, 1, "first", Some(ada.id), None);
    let second = made(&store, 2, "second", Some(grace.id), Some(first));
    let third = made(&store, 3, "third", None, Some(second));
    let beside = made(&store, 4, "beside", Some(ada.id), None);
    let by_beside = made(&store, 5, "by beside", Some(grace.id), Some(beside));
    let makers: Vec<String> =
        store.makers_of_token(third).unwrap().into_iter().map(|token| token.name).collect();
    assert_eq!(makers, ["second", "first"]);
    assert_eq!(store.token(third).unwrap().unwrap().made_by.as_deref(), Some("second"));
    assert_eq!(store.makers_of_token(first).unwrap(), []);

    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    assert_eq!(store.revoke_token(first, at(9)).unwrap(), names(&["second", "third"]));
    let revoked = |id| store.token(id).unwrap().unwrap().revoked;
    assert_eq!([first, second, third].map(revoked), [Some(at(9)); 3]);
    assert_eq!([beside, by_beside].map(revoked), [None, None]);
    assert_eq!(store.retire_user("ada", at(10)).unwrap(), names(&["beside", "by beside"]));
    assert_eq!([second, by_beside].map(revoked), [Some(at(9)), Some(at(10))], "each ended once");
    assert_eq!(store.retire_user("nobody", at(10)).unwrap(), None);
}

#[test]
fn ends_are_kept_across_a_reboot() {
    let dir = tempfile::tempdir().unwrap();
    let boot = |id: &str, now| Boot { id: id.to_owned(), now };
    let store = Store::open_in_boot(dir.path(), &boot("one", at(0))).unwrap();
    let ada = user(&store, "ada");
    let (open, value) = session(&ada, 1);
    store.add_session(&open, &value).unwrap();
    drop(store);
    let reboot = Time { boot_us: 1_000_000, wall_us: at(10).wall_us };
    let store = Store::open_in_boot(dir.path(), &boot("two", reboot)).unwrap();
    let read = store.session_of_value(&value).unwrap().unwrap();
    assert_eq!(read.expires.since(reboot), open.expires.since(at(10)));
}

#[test]
fn a_passkey_is_its_users_alone_and_its_count_only_grows() {
    let store = Store::in_memory().unwrap();
    let (ada, grace) = (user(&store, "ada"), user(&store, "grace"));
    let passkey = |whose: &UserRecord, seed: u64, name: &str, credential: &[u8]| PasskeyRecord {
        id: IdSource::seeded(seed).next(at(seed)),
        user: whose.id,
        credential: credential.to_vec(),
        public_key: vec![1, 2],
        sign_count: 0,
        backup_eligible: true,
        rp_id: "localhost".to_owned(),
        name: name.to_owned(),
        created: at(seed),
        used: None,
    };
    let laptop = passkey(&ada, 1, "laptop", b"one");
    assert_eq!(store.add_passkey(&laptop, 2).unwrap(), PasskeySaved::Saved);
    let again = |whose, name: &str, credential: &[u8]| {
        store.add_passkey(&passkey(whose, 2, name, credential), 2).unwrap()
    };
    assert_eq!(again(&grace, "laptop", b"one"), PasskeySaved::CredentialTaken);
    assert_eq!(again(&ada, "laptop", b"two"), PasskeySaved::NameTaken);
    assert_eq!(again(&ada, "phone", b"two"), PasskeySaved::Saved);
    assert_eq!(store.add_passkey(&passkey(&ada, 3, "key", b"three"), 2).unwrap(), PasskeySaved::TooMany);
    let (found, whose) = store.passkey_of_credential(b"one").unwrap().unwrap();
    assert_eq!((found, whose.name.as_str()), (laptop.clone(), "ada"));
    let used = |count| store.use_passkey(laptop.id, count, at(9)).unwrap();
    assert_eq!([0, 0, 7, 7, 0, 6, 8].map(used), [true, true, true, false, false, false, true]);
    assert_eq!(store.passkeys_of(ada.id).unwrap()[0].used, Some(at(9)));
    assert!(!store.remove_passkey(grace.id, laptop.id).unwrap(), "it is not hers");
    let (open, value) = session(&ada, 1);
    assert!(store.add_session_by_passkey(&open, &value, laptop.id).unwrap());
    assert!(store.remove_passkey(ada.id, laptop.id).unwrap());
    let (late, value) = session(&ada, 2);
    assert!(!store.add_session_by_passkey(&late, &value, laptop.id).unwrap(), "it is gone meanwhile");
    let (wrong, value) = session(&grace, 3);
    let phone = store.passkeys_of(ada.id).unwrap()[0].id;
    assert!(!store.add_session_by_passkey(&wrong, &value, phone).unwrap(), "it is not hers");
    assert!(!store.use_passkey(laptop.id, 9, at(9)).unwrap());
    store.retire_user("ada", at(10)).unwrap();
    assert_eq!(store.passkeys_of(ada.id).unwrap(), []);
}
