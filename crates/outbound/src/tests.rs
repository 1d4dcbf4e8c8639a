//! Clients before a server with a certificate of an authority of the test's own.

use std::time::Duration;

use counterpart::{Authority, Issued, Server, answer};

use super::*;

/// A file with the authority's certificate, and a peer that believes it.
fn believing(authority: &Authority) -> (tempfile::NamedTempFile, Peer) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority.pem()).unwrap();
    let trust = Trust::File(file.path().to_owned());
    (file, Peer { trust, credentials: None })
}

fn ask(peer: &Peer, url: &str) -> Result<u16, ureq::Error> {
    let agent: ureq::Agent =
        peer.agent().unwrap().timeout_global(Some(Duration::from_secs(20))).build().into();
    agent.get(url).call().map(|answer| answer.status().as_u16())
}

fn server(issued: &Issued) -> Server {
    Server::start(issued, |_| answer("200 OK", "", "well"))
}

#[test]
fn a_certificate_of_an_authority_that_is_named_is_believed() {
    let ours = Authority::new("ours");
    let server = server(&ours.issue(&["localhost", "127.0.0.1"]));
    let (_file, peer) = believing(&ours);
    assert_eq!(ask(&peer, &server.url("https", "/")).unwrap(), 200);
    assert_eq!(ask(&peer, &format!("https://{}/", server.address())).unwrap(), 200);
    assert_eq!(
        server.requests()[0].header("user-agent"),
        Some(concat!("homeostat/", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn another_authority_another_name_and_a_time_that_is_over_are_told_apart_and_nothing_is_sent() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (_file, peer) = believing(&ours);
    for (issued, says) in [
        (theirs.issue(&["localhost"]), "UnknownIssuer"),
        (ours.issue(&["elsewhere.example"]), "not valid for name"),
        (ours.issue_expired(&["localhost"]), "expired"),
    ] {
        let server = server(&issued);
        let error = ask(&peer, &server.url("https", "/")).unwrap_err();
        assert!(is_untrusted(&error), "{error:?}");
        let reason = reason(&error);
        assert!(reason.starts_with("its certificate is not believed") && reason.contains(says), "{reason}");
        assert_eq!((server.requests(), server.connections()), (Vec::new(), 1));
    }
    // The authorities of the web did not issue it either.
    let server = server(&ours.issue(&["localhost"]));
    assert!(is_untrusted(&ask(&Peer::default(), &server.url("https", "/")).unwrap_err()));
}

#[test]
fn a_server_without_tls_is_no_reason_to_do_without() {
    let plain = Server::plain(|_| answer("200 OK", "", "well"));
    let error = ask(&Peer::default(), &plain.url("https", "/")).unwrap_err();
    assert!(!is_untrusted(&error), "{}", reason(&error));
    assert!(plain.requests().iter().all(|request| !request.line.starts_with("GET")));
}

#[test]
fn credentials_go_over_tls_or_to_this_machine() {
    let credentials = Some(Credentials::Bearer(Reference::new("x", |text| Ok(text.to_owned()))));
    let peer = Peer { trust: Trust::Authorities, credentials };
    let may = |url: &str| peer.may_ask(&url.parse().unwrap()).is_ok();
    for url in ["https://a.example/x", "http://localhost:1/", "http://127.0.0.1/", "http://[::1]:9/"] {
        assert!(may(url), "{url}");
    }
    for url in ["http://a.example/", "http://localhost.example/", "http://127.0.0.1.example/", "/path"] {
        assert!(!may(url), "{url}");
    }
    assert_eq!(Peer::default().may_ask(&"http://a.example/".parse().unwrap()), Ok(()));
}

#[test]
fn a_proxy_is_never_asked_for_this_machine() {
    let named = ureq::Proxy::new("http://who:secret@proxy.example:3128").unwrap();
    let proxy = proxy::but_for_this_machine(&named, "internal.example, .corp").unwrap();
    let is_passed_by = |address: &str| proxy.is_no_proxy(&address.parse().unwrap());
    for address in [
        "http://localhost:4000/",
        "http://127.0.0.1:4000/",
        "http://[::1]:4000/",
        "http://internal.example/",
        "https://a.corp/",
    ] {
        assert!(is_passed_by(address), "{address}");
    }
    for address in ["https://example.org/", "http://localhost.example.org/"] {
        assert!(!is_passed_by(address), "{address}");
    }
    assert_eq!(
        (proxy.host(), proxy.port(), proxy.username(), proxy.password()),
        ("proxy.example", 3128, Some("who"), Some("secret"))
    );
}
