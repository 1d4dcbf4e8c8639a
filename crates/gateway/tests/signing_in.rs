//! Ways in, as people take them in a real browser: a passkey, a password with a code, an OpenID provider. Skipped, loudly,
//! where there is no chromedriver.

#[path = "support/oidc_provider.rs"]
mod oidc_provider;
mod support;

use std::net::TcpListener;
use std::sync::Arc;

use audit::Audit;
use aws_lc_rs::hmac;
use domain::Clock;
use gateway::access::{AccessConfig, SealingKey};
use oidc_provider::Provider;
use support::server::{Kept, Server, serve_on, serve_with};
use support::webdriver::{Browser, ENTER, Theme};
use support::{MachineClock, scene};

const PASSWORD: &str = "four plain words here";

fn browser() -> Option<Browser> {
    let browser = Browser::start(Theme::Light);
    if browser.is_none() {
        println!("skipped: no chromedriver");
    }
    browser
}

/// Makes the user ada, an operator.
fn make_ada(server: &Server) {
    let form = format!("name=ada&password={}&role=operator", PASSWORD.replace(' ', "+"));
    let made = server.submit("/users/create", &form, &server.cookie());
    assert_eq!(made.status, 303, "{}", made.body);
}

/// Signs in by name and password on the page, and is led to the account.
fn sign_in(server: &Server, browser: &Browser) {
    browser.open(&format!("{}/login?next=/account", server.origin()));
    browser.fill("#name", "ada");
    browser.fill("#password", &format!("{PASSWORD}{ENTER}"));
}

fn sign_out(browser: &Browser) {
    browser.press(".who button");
    browser.wait("location.pathname === '/' && document.querySelector('.who').innerText.includes('Sign in')");
}

/// What has to be true on the account page of ada.
fn account(browser: &Browser, condition: &str) {
    let page = "location.pathname === '/account' && document.querySelector('.who').innerText.includes('ada')";
    browser.wait(&format!("{page} && {condition}"));
}

#[test]
fn a_passkey_is_made_signs_in_and_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path(), Arc::new(MachineClock::start())).unwrap();
    let server = serve_with(scene::calm, Kept { audit: Some(audit.clone()), ..Kept::default() });
    make_ada(&server);
    let Some(browser) = browser() else { return };
    browser.open(&format!("{}/login", server.origin()));
    browser.add_authenticator();
    sign_in(&server, &browser);
    account(&browser, "document.querySelector('#passkeys').innerText.includes('There is none')");
    let fill = |password: &str| {
        browser.fill("form[action='/account/passkeys'] [name=name]", "laptop");
        browser.fill("form[action='/account/passkeys'] [name=present]", &format!("{password}{ENTER}"));
    };
    fill("not the password");
    browser.wait("document.querySelector('main').innerText.includes('wrong')");
    browser.open(&format!("{}/account", server.origin()));
    fill(PASSWORD);
    browser.wait("document.querySelector('form[data-passkey] button:enabled')");
    browser.press("form[data-passkey] button");
    let row = "document.querySelector('#passkeys tbody tr')?.innerText";
    account(
        &browser,
        &format!("{row}.includes('laptop') && {row}.includes('localhost') && {row}.includes('never')"),
    );

    sign_out(&browser);
    browser.open(&format!("{}/login?next=/account", server.origin()));
    browser.wait("document.querySelector('form[data-passkey] button:enabled')");
    browser.press("form[data-passkey] button");
    account(&browser, &format!("!{row}.includes('never')"));
    account(&browser, "document.querySelector('#sessions').innerText.toLowerCase().includes('passkey')");

    browser.run("document.querySelector('#passkeys details').open = true");
    browser.press("#passkeys details button");
    account(&browser, "document.querySelector('#passkeys').innerText.includes('There is none')");
    sign_out(&browser);
    browser.open(&format!("{}/login", server.origin()));
    browser.wait("document.querySelector('form[data-passkey] button:enabled')");
    browser.press("form[data-passkey] button");
    browser.wait("[...document.querySelectorAll('[role=alert]')].some((one) => one.innerText.includes('not known here'))");

    let all = audit.query(&audit::Filter { limit: audit::Filter::LIMIT_MAX, ..Default::default() }).unwrap();
    let told: Vec<String> = all
        .records
        .iter()
        .map(|one| format!("{} {} {} {:?}", one.who, one.action, one.target, one.outcome))
        .collect();
    for expected in [
        "ada users.enrol_passkey user/ada Refused",
        "ada users.register_passkey user/ada Done",
        "ada sessions.create session of ada Done",
        "ada users.remove_passkey user/ada Done",
        "anonymous sessions.create /login/passkey Refused",
    ] {
        assert!(told.iter().any(|one| one.starts_with(expected)), "{expected}: {told:#?}");
    }
}

#[test]
fn a_page_that_is_open_asks_again_when_its_session_ends_elsewhere() {
    let server = serve_with(scene::calm, Kept::default());
    let Some(browser) = browser() else { return };
    browser.open(&format!("{}/login", server.origin()));
    let cookie = server.cookie();
    browser.sign_in(&cookie);
    browser.open(&format!("{}/issues", server.origin()));
    browser.wait("document.querySelector('.who').innerText.includes('local token')");
    assert_eq!(server.submit("/logout", "", &cookie).status, 303);
    browser.wait(
        "location.pathname === '/issues' && document.querySelector('.who').innerText.includes('Sign in')",
    );
}

/// An address is no name that a passkey could be for.
#[test]
fn at_an_address_the_page_says_why_there_are_no_passkeys() {
    let server = serve_with(scene::calm, Kept::default());
    let host = format!("127.0.0.1:{}", server.address().port());
    let page = server.raw("GET", "/login", &[("host", &host)], "");
    assert_eq!(page.status, 200);
    assert!(
        page.body.contains("Passkeys belong to a name") && !page.body.contains("data-passkey"),
        "{}",
        page.body
    );
    let options = server.raw("GET", "/login/passkey", &[("host", &host)], "");
    support::server::assert_problem(&options, 422, "invalid_field");
    assert!(server.get("/login").body.contains("data-passkey"));
    let options = server.get("/login/passkey").json();
    assert_eq!((&options["rpId"], &options["userVerification"]), (&"localhost".into(), &"required".into()));
}

/// The code of a step away from now (RFC 6238), by the secret as it is typed.
fn code(typed: &str, steps: i64) -> String {
    let signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: String = typed.chars().map(|sign| format!("{:05b}", signs.find(sign).unwrap())).collect();
    let bytes: Vec<u8> = bits
        .as_bytes()
        .chunks_exact(8)
        .map(|bits| u8::from_str_radix(std::str::from_utf8(bits).unwrap(), 2).unwrap())
        .collect();
    let step = MachineClock::start().now().wall_us / 30_000_000 + steps;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &bytes), &step.to_be_bytes());
    let at = usize::from(tag.as_ref()[19] & 15);
    let word = u32::from_be_bytes(tag.as_ref()[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", word % 1_000_000)
}

#[test]
fn a_second_factor_is_enrolled_and_then_asked_for() {
    let access = AccessConfig { key: Some(SealingKey::new(&[7; 32])), ..AccessConfig::default() };
    let server = serve_with(scene::calm, Kept { access, ..Kept::default() });
    make_ada(&server);
    let Some(browser) = browser() else { return };
    sign_in(&server, &browser);
    account(&browser, "document.querySelector('#second-factor').innerText.includes('none')");
    browser.fill("form[action='/account/totp'] [name=present]", &format!("{PASSWORD}{ENTER}"));
    browser.wait("document.querySelector('.qr svg') && document.querySelector('.secret')");
    let typed = browser.run("return document.querySelector('.secret').innerText");
    let typed = typed.as_str().unwrap().trim().to_owned();
    browser.fill("#code", &format!("{}{ENTER}", code(&typed, 0)));
    browser.wait("document.querySelectorAll('.codes li').length === 10");
    let recovery = browser.run("return document.querySelector('.codes li').innerText");
    let recovery = recovery.as_str().unwrap().trim().to_owned();
    browser.press("a[href='/account'].button");
    account(&browser, "document.querySelector('#second-factor').innerText.includes('enrolled')");

    sign_out(&browser);
    sign_in(&server, &browser);
    browser.wait("[...document.querySelectorAll('[role=alert]')].some((one) => one.innerText.includes('code of the authenticator'))");
    let with_code = |code: &str| {
        browser.open(&format!("{}/login?next=/account", server.origin()));
        browser.fill("#name", "ada");
        browser.fill("#password", PASSWORD);
        browser.fill("#code", &format!("{code}{ENTER}"));
    };
    with_code("000000x");
    browser.wait(
        "[...document.querySelectorAll('[role=alert]')].some((one) => one.innerText.includes('wrong'))",
    );
    // The code that put it in force is used up; the next one is good already.
    with_code(&code(&typed, 1));
    account(&browser, "document.querySelector('#sessions').innerText.toLowerCase().includes('totp')");
    sign_out(&browser);
    with_code(&recovery);
    account(
        &browser,
        "document.querySelector('#sessions').innerText.toLowerCase().includes('recovery code')",
    );
}

#[test]
fn who_comes_from_the_provider_is_signed_in_with_the_role_of_the_group() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let back = format!("http://localhost:{}/login/oidc/return", listener.local_addr().unwrap().port());
    let Some(provider) = Provider::start(&back) else { return };
    let access = AccessConfig { oidc: Some(provider.config("ES256")), ..AccessConfig::default() };
    let server = serve_on(listener.into(), scene::calm, Kept { access, ..Kept::default() }).unwrap();
    let Some(browser) = browser() else { return };
    let go = |login: &str| {
        browser.open(&format!("{}/login?next=/account", server.origin()));
        browser.press("a[href^='/login/oidc']");
        browser.fill("[name=login]", &format!("{login}{ENTER}"));
    };
    // Bob is in no group that has a role.
    go("bob");
    browser.wait("document.querySelector('main')?.innerText.includes('in no group that has a role')");
    // Who is signed in at the provider is not asked there again.
    browser.open(&provider.issuer);
    browser.forget_cookies();
    go("ada");
    account(&browser, "document.querySelector('main').innerText.includes('Role: operator')");
    let text = browser.run("return document.querySelector('main').innerText");
    let text = text.as_str().unwrap();
    assert!(text.contains("which has passkeys of its own"), "{text}");
    assert_eq!(server.fleet.store.users().unwrap().len(), 1);
}
