//! Signing in by a real OpenID provider.

#[path = "support/oidc_provider.rs"]
mod oidc_provider;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use domain::{Clock, Role, Time};
use gateway::access::{
    Access, AccessConfig, AccessError, Admission, OidcConfig, OidcReturn, Secret, SignedIn, UserRequest,
};
use oidc_provider::Provider;
use store::Store;

const BACK: &str = "http://localhost:4000/login/oidc/callback";

/// What a browser does at the provider: follows redirects with its cookies until it is sent back to us.
fn visit(provider: &Provider, location: &str, login: &str) -> (String, Secret) {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().max_redirects(0).http_status_as_error(false).build().into();
    let (mut cookies, mut next) = (BTreeMap::new(), location.to_owned());
    for _ in 0..10 {
        if let Some(query) = next.strip_prefix(&format!("{BACK}?")) {
            let of = |name: &str| {
                let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
                pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
            };
            return (of("state").unwrap(), Secret::new(of("code").unwrap_or_else(|| panic!("{next}"))));
        }
        let jar: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = agent.get(&next).header("cookie", jar.join("; ")).call().unwrap();
        for set in answer.headers().get_all("set-cookie") {
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            cookies.insert(name.to_owned(), value.to_owned());
        }
        let to = answer.headers().get("location");
        let to = to.unwrap_or_else(|| panic!("{} at {next}", answer.status())).to_str().unwrap();
        next = if to.starts_with('/') { format!("{}{to}", provider.issuer) } else { to.to_owned() };
        if next.contains("/interaction/") {
            next.push_str(&format!("?login={login}"));
        }
    }
    panic!("redirected without end to {next}");
}

/// The machine's clock, moved on by hand.
struct MovedClock(Instant, AtomicU64);

impl Clock for MovedClock {
    fn now(&self) -> Time {
        #[expect(clippy::disallowed_methods, reason = "the provider has the machine's clock")]
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let boot_us = self.0.elapsed().as_micros() as u64;
        let moved = Duration::from_secs(self.1.load(Ordering::Relaxed));
        Time { boot_us, wall_us: wall.as_micros() as i64 }.plus(moved)
    }

    fn wait(&self, duration: Duration) {
        self.1.fetch_add(duration.as_secs(), Ordering::Relaxed);
    }
}

fn access(config: OidcConfig) -> (Access, Arc<MovedClock>) {
    let clock = Arc::new(MovedClock(Instant::now(), AtomicU64::new(0)));
    let config = AccessConfig { oidc: Some(config), ..AccessConfig::default() };
    (Access::new(Store::in_memory().unwrap(), clock.clone(), "the-token-of-the-tests", config), clock)
}

fn back(state: String, code: Secret, browser: Secret) -> OidcReturn {
    OidcReturn { state, code: Ok(code), browser, user_agent: "Firefox".to_owned(), before: Vec::new() }
}

fn sign_in(provider: &Provider, access: &Access, login: &str) -> Result<SignedIn, AccessError> {
    let begun = access.begin_oidc(BACK)?;
    let (state, code) = visit(provider, &begun.location, login);
    access.finish_oidc(&back(state, code, begun.browser))
}

#[test]
fn groups_become_roles_whatever_signs_the_token() {
    let Some(provider) = Provider::start(BACK) else { return };
    for client in ["RS256", "ES256", "EdDSA"] {
        let (access, _) = access(provider.config(client));
        let first = sign_in(&provider, &access, "ada").unwrap_or_else(|error| panic!("{client}: {error}"));
        assert_eq!((first.identity.name.as_str(), &*first.identity.roles), ("ada", &[Role::Operator][..]));
        access.set_roles("ada", vec![Role::Admin]).unwrap();
        let second = sign_in(&provider, &access, "ada").unwrap();
        assert_eq!(second.identity.roles, [Role::Operator], "the provider's groups hold");
        let users = access.users().unwrap();
        assert_eq!(users.len(), 1);
        assert_eq!(
            (users[0].display_name.as_str(), &*users[0].roles),
            ("Ada Lovelace", &[Role::Operator][..])
        );
    }
}

#[test]
fn who_is_in_no_group_with_a_role_or_shut_out_or_called_as_another_is_refused() {
    let Some(provider) = Provider::start(BACK) else { return };
    let (access, _) = access(provider.config("RS256"));
    let refused = sign_in(&provider, &access, "bob").unwrap_err();
    assert_eq!(refused.code(), "oidc_no_role");
    assert!(refused.to_string().contains("chess"), "{refused}");
    assert_eq!(access.users().unwrap(), []);
    let local = UserRequest {
        name: "admin-of-old".to_owned(),
        display_name: String::new(),
        roles: vec![Role::Viewer],
        password: None,
    };
    access.create_user(local).unwrap();
    assert_eq!(sign_in(&provider, &access, "root").unwrap_err().code(), "name_taken");
    sign_in(&provider, &access, "ada").unwrap();
    access.set_admission("ada", Admission::Disabled).unwrap();
    assert_eq!(sign_in(&provider, &access, "ada").unwrap_err().code(), "sign_in_refused");
}

#[test]
fn what_comes_back_is_good_once_for_the_browser_that_began_and_for_ten_minutes() {
    let Some(provider) = Provider::start(BACK) else { return };
    let (access, clock) = access(provider.config("ES256"));
    let begin = || {
        let begun = access.begin_oidc(BACK).unwrap();
        let (state, code) = visit(&provider, &begun.location, "ada");
        back(state, code, begun.browser)
    };
    let refused = |back: &OidcReturn| access.finish_oidc(back).unwrap_err().code();
    let first = begin();
    access.finish_oidc(&first).unwrap();
    assert_eq!(refused(&first), "oidc_refused", "replayed");
    let stolen = OidcReturn { browser: Secret::new("another"), ..begin() };
    assert_eq!(refused(&stolen), "oidc_refused");
    let forged = OidcReturn { state: "guessed".to_owned(), ..begin() };
    assert_eq!(refused(&forged), "oidc_refused");
    // A code that was given for another sign-in: the provider holds it to its own PKCE challenge.
    let (mine, theirs) = (begin(), begin());
    assert_eq!(refused(&OidcReturn { code: theirs.code, ..mine }), "oidc_refused");
    let late = begin();
    clock.wait(Duration::from_secs(601));
    assert_eq!(refused(&late), "oidc_refused");
    clock.wait(Duration::from_secs(7200));
    let expired = access.finish_oidc(&begin()).unwrap_err();
    assert!(expired.to_string().contains("compare the clocks"), "{expired}");
}

#[test]
fn a_provider_that_cannot_be_used_is_said_to_be() {
    let Some(provider) = Provider::start(BACK) else { return };
    let begun = |config: OidcConfig| access(config).0.begin_oidc(BACK).map(|_| ()).unwrap_err();
    let plain = begun(OidcConfig { issuer: "http://192.0.2.1".to_owned(), ..provider.config("RS256") });
    assert!(plain.to_string().contains("neither https"), "{plain}");
    let renamed = provider.issuer.replace("127.0.0.1", "localhost");
    let renamed = begun(OidcConfig { issuer: renamed, ..provider.config("RS256") });
    assert!(renamed.to_string().contains("calls itself"), "{renamed}");
    let wrong = OidcConfig { client_secret: Some(Secret::new("canary-secret")), ..provider.config("RS256") };
    let refused = sign_in(&provider, &access(wrong).0, "ada").unwrap_err();
    assert_eq!(refused.code(), "oidc_refused");
    assert!(!format!("{refused} {refused:?}").contains("canary"), "{refused}");
}
