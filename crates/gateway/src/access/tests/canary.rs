//! No secret is found where it must not be.

use domain::Proof;

use super::*;

#[test]
fn no_secret_is_in_the_database_in_debug_output_or_in_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let store = store::Store::open(dir.path()).unwrap();
    let (access, clock) = fixture::over(store, LOCAL);
    let (mut secrets, mut seen) = (vec![PASSWORD.to_owned(), LOCAL.to_owned()], String::new());
    let mut note = |debug: String| seen.push_str(&debug);

    add(&access, "ada", &[Role::Admin]);
    note(format!("{:?}", sent("ada", PASSWORD)));
    let signed_in = access.sign_in(&sent("ada", PASSWORD)).unwrap();
    note(format!("{signed_in:?}"));
    secrets.push(signed_in.cookie.expose().to_owned());
    let request = TokenRequest {
        name: "ci".to_owned(),
        owner: None,
        roles: vec![Role::Viewer],
        scope: None,
        expires: None,
    };
    let made = access.create_token(&local(Proof::Token), request).unwrap();
    note(format!("{made:?}"));
    secrets.push(made.secret.expose().to_owned());
    let enrolment = access.enrol_totp("ada").unwrap();
    note(format!("{enrolment:?}"));
    secrets.push(enrolment.typed.expose().to_owned());
    let pending = access.user("ada").unwrap().totp_pending.unwrap();
    let raw = fixture::key().open(&pending, "ada").unwrap();
    let code = totp::code_at(&raw, clock_step(&*clock));
    let codes = access.confirm_totp("ada", &Secret::new(format!("{code:06}"))).unwrap();
    note(format!("{codes:?}"));
    secrets.extend(codes.0.iter().map(|code| code.expose().to_owned()));
    note(format!("{:?} {access:?}", access.users().unwrap()));
    note(format!("{:?} {:?}", access.tokens(&signed_in.identity), access.sessions(&signed_in.identity)));
    let guessed = UserUpdate { password: Some(Secret::new("canary")), ..UserUpdate::default() };
    for error in [
        access.sign_in(&sent("ada", "canary-password")).unwrap_err(),
        access.sign_in(&with_code("ada", "canary-code")).unwrap_err(),
        access.sign_in_by_local_token(&Secret::new("canary-token"), "", &[]).unwrap_err(),
        bearer(&access, "canary-token").unwrap_err(),
        access.update_user(&access.user("ada").unwrap(), guessed).unwrap_err(),
    ] {
        note(format!("{error} {error:?}"));
        note(format!("{:?}", crate::problem::Problem::from(error)));
    }
    drop(access);

    secrets.extend(codes.0.iter().map(|code| code.expose().replace('-', "")));
    secrets.push("canary".to_owned());
    let files: Vec<Vec<u8>> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .collect();
    let holds = |bytes: &[u8], secret: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    assert!(files.iter().any(|file| holds(file, b"ada")), "the database was read");
    for secret in &secrets {
        assert!(!seen.contains(secret.as_str()), "{secret} was shown");
        assert!(!files.iter().any(|file| holds(file, secret.as_bytes())), "{secret} is in a file");
    }
    assert!(!files.iter().any(|file| holds(file, &raw)), "the TOTP secret is in a file");
}

fn clock_step(clock: &dyn domain::Clock) -> i64 {
    clock.now().wall_us / 30_000_000
}
