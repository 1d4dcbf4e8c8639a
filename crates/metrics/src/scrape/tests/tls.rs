//! Targets behind TLS, and targets that ask who we are.

use std::path::{Path, PathBuf};

use counterpart::{Authority, Request, Server, answer};
use outbound::{Credentials, Peer, Reference, Trust};

use super::{Health, Target, TargetError, error_of, scraper, target, until};

fn page(_: &Request) -> Vec<u8> {
    answer("200 OK", "content-type: text/plain; version=0.0.4\r\n", "a 7\n")
}

/// A folder with the authority's certificate in `ca.pem`.
fn folder(authority: &Authority) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, authority.pem()).expect("a file");
    (dir, path)
}

/// Follows a reference to the file of that name.
fn of_file(name: &str) -> Result<String, String> {
    std::fs::read_to_string(name).map_err(|error| format!("{name}: {error}"))
}

fn token(path: &Path) -> Option<Credentials> {
    Some(Credentials::Bearer(Reference::new(path.display().to_string(), of_file)))
}

fn behind(server: &Server, peer: Peer) -> Target {
    Target { peer, ..target(&server.url("https", "/metrics")) }
}

#[test]
fn a_page_comes_over_tls_by_the_token_that_is_kept_at_the_time() {
    let authority = Authority::new("ours");
    let server = Server::start(&authority.issue(&["localhost"]), page);
    let (dir, ca) = folder(&authority);
    let file = dir.path().join("token");
    std::fs::write(&file, "first\n").expect("a file");
    let (scraper, recorder) = scraper();
    let peer = Peer { trust: Trust::File(ca), credentials: token(&file) };
    scraper.set_targets(vec![behind(&server, peer)]).expect("a target");
    until("the page", || (recorder.of("a").first() == Some(&7.0)).then_some(()));
    assert_eq!(server.requests()[0].header("authorization"), Some("Bearer first"));
    std::fs::write(&file, "second\n").expect("a file");
    until("the other token", || {
        server
            .requests()
            .iter()
            .any(|asked| asked.header("authorization") == Some("Bearer second"))
            .then_some(())
    });
    assert!(!format!("{:?}", scraper.targets()).contains("first"));
    std::fs::remove_file(&file).expect("it is there");
    until("the failure", || {
        scraper.targets()[0].error.clone().filter(|error| error.contains("No such file"))
    });
}

#[test]
fn a_name_and_a_password_are_sent() {
    let authority = Authority::new("ours");
    let server = Server::start(&authority.issue(&["localhost"]), page);
    let (_dir, ca) = folder(&authority);
    let password = Reference::new("open sesame", |text| Ok(text.to_owned()));
    let credentials = Some(Credentials::Basic { username: "Aladdin".to_owned(), password });
    let (scraper, recorder) = scraper();
    scraper
        .set_targets(vec![behind(&server, Peer { trust: Trust::File(ca), credentials })])
        .expect("a target");
    until("the page", || recorder.of("a").first().copied());
    assert_eq!(server.requests()[0].header("authorization"), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
}

#[test]
fn a_certificate_that_is_not_believed_is_a_target_that_is_down_until_it_is() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = Server::start(&theirs.issue(&["localhost"]), page);
    let (_dir, ca) = folder(&ours);
    let (scraper, recorder) = scraper();
    let peer = Peer { trust: Trust::File(ca.clone()), credentials: None };
    scraper.set_targets(vec![behind(&server, peer)]).expect("a target");
    let error = error_of(&scraper);
    assert!(error.contains("certificate is not believed") && error.contains("UnknownIssuer"), "{error}");
    assert_eq!(recorder.of("up")[0], 0.0);
    assert!(server.requests().is_empty());
    // The file is read again once it did not do.
    std::fs::write(&ca, theirs.pem()).expect("a file");
    until("the page", || (scraper.targets()[0].health == Health::Up).then_some(()));
}

#[test]
fn a_file_of_certificates_that_is_gone_is_a_target_that_is_down() {
    let authority = Authority::new("ours");
    let server = Server::start(&authority.issue(&["localhost"]), page);
    let (scraper, _) = scraper();
    let peer = Peer { trust: Trust::File("/no/such/ca.pem".into()), credentials: None };
    scraper.set_targets(vec![behind(&server, peer)]).expect("a target");
    let error = error_of(&scraper);
    assert!(error.contains("/no/such/ca.pem"), "{error}");
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_redirect_is_followed_within_tls_and_not_out_of_it() {
    let authority = Authority::new("ours");
    let plain = Server::plain(page);
    let out = format!("location: {}\r\n", plain.url("http", "/metrics"));
    let server = Server::start(&authority.issue(&["localhost"]), move |asked| match &*asked.line {
        "GET /metrics HTTP/1.1" => answer("302 Found", "location: /metrics/\r\n", ""),
        "GET /metrics/ HTTP/1.1" => page(asked),
        _ => answer("302 Found", &out, ""),
    });
    let (dir, ca) = folder(&authority);
    let file = dir.path().join("token");
    std::fs::write(&file, "canary").expect("a file");
    let peer = Peer { trust: Trust::File(ca), credentials: token(&file) };
    let within = behind(&server, peer);
    let leaves = Target { job: "leaves".to_owned(), url: server.url("https", "/leaves"), ..within.clone() };
    let (scraper, recorder) = scraper();
    scraper.set_targets(vec![within, leaves]).expect("targets");
    until("the page", || recorder.of("a").first().copied());
    let down = until("the refusal", || {
        let states = scraper.targets();
        states.iter().find(|state| state.target.job == "leaves" && state.error.is_some()).cloned()
    });
    assert_eq!(
        down.error.as_deref(),
        Some("cannot fetch it: it leads from https:// to http://, which is not followed")
    );
    assert!(server.requests().iter().all(|asked| asked.header("authorization") == Some("Bearer canary")));
    assert_eq!(plain.connections(), 0);
}

#[test]
fn credentials_are_not_sent_in_the_clear() {
    let (scraper, _) = scraper();
    let peer = Peer { trust: Trust::Authorities, credentials: token(Path::new("token")) };
    let elsewhere = Target { peer, ..target("http://db.example:9100/metrics") };
    let refused = scraper.set_targets(vec![elsewhere]).expect_err("no target");
    assert!(matches!(refused, TargetError::InTheClear { .. }), "{refused}");
    assert!(refused.to_string().contains("in the clear; use https://"), "{refused}");
}
