//! The gateway over TLS, as clients beyond this machine meet it.

mod client;
mod limits;
mod receivers;
#[path = "../support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use client::{Certificate, NAME, ask, listening, plain, request, start, until_closed};
use domain::access::AnonymousReads;
use gateway::{ConnectionLimits, GatewayError, Listening, Reload, TlsNotice};
use rustls::{NamedGroup, ProtocolVersion};
use support::scene;
use support::server::{Kept, Server, TOKEN, serve_on};

fn exposed() -> (Certificate, Server) {
    let certificate = Certificate::new();
    let server = start(certificate.open(), ConnectionLimits::exposed());
    (certificate, server)
}

fn host(to: SocketAddr) -> String {
    format!("{NAME}:{}", to.port())
}

#[test]
fn a_client_agrees_on_a_key_that_no_quantum_computer_finds() {
    let (certificate, server) = exposed();
    let stream = certificate.connect_with(server.address(), &["h2", "http/1.1"]).unwrap();
    let group = stream.conn.negotiated_key_exchange_group().expect("the handshake is done");
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
    assert_eq!(stream.conn.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
}

/// What `openssl s_client` says of a connection, or `None` where it cannot be run with these arguments.
fn s_client(certificate: &Certificate, to: SocketAddr, arguments: &[&str]) -> Option<String> {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &to.to_string(), "-servername", NAME, "-verify_return_error"])
        .arg("-CAfile")
        .arg(certificate.files().certificate)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_foreign_client_of_either_version_connects() {
    let (certificate, server) = exposed();
    let Some(said) = s_client(&certificate, server.address(), &["-tls1_3"]) else {
        println!("skipped: no openssl");
        return;
    };
    assert!(said.contains("TLSv1.3") && said.contains("Verify return code: 0 (ok)"), "{said}");
    let said = s_client(&certificate, server.address(), &["-tls1_2"]).unwrap();
    assert!(said.contains("TLSv1.2") && said.contains("Verify return code: 0 (ok)"), "{said}");
    let said = s_client(&certificate, server.address(), &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]).unwrap();
    assert!(said.contains("Cipher is (NONE)"), "{said}");
}

#[test]
fn a_foreign_client_agrees_on_such_a_key_too() {
    let known = Command::new("openssl").args(["list", "-tls-groups"]).output();
    if !known.is_ok_and(|known| String::from_utf8_lossy(&known.stdout).contains("X25519MLKEM768")) {
        println!("skipped: no openssl with X25519MLKEM768");
        return;
    }
    let (certificate, server) = exposed();
    let said = s_client(&certificate, server.address(), &["-groups", "X25519MLKEM768:X25519"]).unwrap();
    assert!(said.contains("X25519MLKEM768"), "{said}");
}

#[test]
fn an_answer_over_tls_binds_browsers_to_it() {
    let (certificate, server) = exposed();
    let mut stream = certificate.connect(server.address()).unwrap();
    let said = ask(&mut stream, &request("GET", "/health", &[("host", &host(server.address()))], ""));
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert!(said.contains("strict-transport-security: max-age=31536000\r\n"), "{said}");

    let (host, origin) = (host(server.address()), format!("https://{}", host(server.address())));
    let form =
        [("host", host.as_str()), ("origin", &origin), ("content-type", "application/x-www-form-urlencoded")];
    let said = ask(&mut stream, &request("POST", "/login", &form, &format!("token={TOKEN}&next=%2Fissues")));
    let cookie =
        said.lines().find(|line| line.starts_with("set-cookie: ")).unwrap_or_else(|| panic!("{said}"));
    assert!(cookie.ends_with("; Secure") && cookie.contains("HttpOnly"), "{cookie}");
}

#[test]
fn names_of_the_certificate_and_configured_ones_are_hosts_and_others_are_not() {
    let (certificate, server) = exposed();
    let port = server.address().port();
    let status = |host: &str| {
        let mut stream = certificate.connect(server.address()).unwrap();
        ask(&mut stream, &request("GET", "/api/v3/self-healing/issues", &[("host", host)], ""))
    };
    for host in [format!("{NAME}:{port}"), format!("proxy.example:{port}"), format!("127.0.0.1:{port}")] {
        assert!(status(&host).starts_with("HTTP/1.1 200"), "{host}");
    }
    let said = status(&format!("evil.example:{port}"));
    assert!(said.starts_with("HTTP/1.1 421") && said.contains("wrong_host"), "{said}");
    assert!(said.contains(&format!("https://proxy.example:{port}/")), "{said}");
    assert!(status(NAME).starts_with("HTTP/1.1 421"), "the port is not that of https");
}

#[test]
fn a_write_comes_from_our_own_page_over_tls_or_from_none() {
    let (certificate, server) = exposed();
    let port = server.address().port();
    let write = |origin: &str| {
        let headers = [
            ("host", host(server.address())),
            ("authorization", format!("Bearer {TOKEN}")),
            ("content-type", "application/json".to_owned()),
            ("origin", origin.to_owned()),
        ];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut stream = certificate.connect(server.address()).unwrap();
        let path = "/api/v3/self-healing/toggle-auto-remediation";
        ask(&mut stream, &request("POST", path, &headers, "{\"enabled\":false}"))
    };
    let said = write(&format!("https://{NAME}:{port}"));
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    for origin in [
        format!("http://{NAME}:{port}"),
        format!("http://localhost:{port}"),
        format!("https://evil.example:{port}"),
        format!("https://{NAME}"),
        "null".to_owned(),
    ] {
        let said = write(&origin);
        assert!(said.starts_with("HTTP/1.1 403") && said.contains("wrong_origin"), "{origin}: {said}");
    }
}

#[test]
fn plain_http_is_told_to_speak_tls() {
    let (_certificate, server) = exposed();
    let mut stream = plain(server.address());
    let said = ask(&mut stream, &request("GET", "/health", &[("host", &host(server.address()))], ""));
    assert!(said.starts_with("HTTP/1.1 400") && said.contains("ask it by https://"), "{said}");
    assert_eq!(until_closed(&mut stream), "");
}

#[test]
fn programs_of_this_machine_need_no_tls() {
    let (_certificate, server) = exposed();
    let local = server.gateway.local_address();
    assert!(local.ip().is_loopback() && local != server.address());
    let ask = |host: &str| ask(&mut plain(local), &request("GET", "/health", &[("host", host)], ""));
    let said = ask(&format!("localhost:{}", local.port()));
    assert!(said.starts_with("HTTP/1.1 200") && !said.contains("strict-transport-security"), "{said}");
    assert!(ask(&format!("{NAME}:{}", local.port())).starts_with("HTTP/1.1 421"));
}

#[test]
fn beyond_loopback_nothing_is_served_without_tls_or_to_anybody() {
    let certificate = Certificate::new();
    let serve = |listening: Listening| serve_on(listening, scene::calm, Kept::default());
    let limits = ConnectionLimits::exposed;
    let Err(error) = serve(listening("0.0.0.0:0", None, limits())) else { panic!("without TLS") };
    assert!(matches!(error, GatewayError::ExposedWithoutTls { .. }), "{error}");
    let open = Listening {
        anonymous: AnonymousReads::Allowed,
        ..listening("0.0.0.0:0", Some(certificate.open()), limits())
    };
    let Err(error) = serve(open) else { panic!("to anybody") };
    assert!(matches!(error, GatewayError::ExposedToAnybody { .. }), "{error}");
    let local = Listening {
        local: Some(std::net::TcpListener::bind("0.0.0.0:0").unwrap()),
        ..listening("127.0.0.1:0", Some(certificate.open()), limits())
    };
    let Err(error) = serve(local) else { panic!("plain beyond loopback") };
    assert!(matches!(error, GatewayError::ExposedWithoutTls { .. }), "{error}");
    assert!(serve(listening("0.0.0.0:0", Some(certificate.open()), limits())).is_ok());
}

#[test]
fn a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let certificate = Certificate::new();
    let tls = certificate.open();
    let server = start(tls.clone(), ConnectionLimits::exposed());
    let asked = request("GET", "/health", &[("host", &host(server.address()))], "");
    let first = certificate.der();
    let mut old = certificate.connect(server.address()).unwrap();
    assert!(ask(&mut old, &asked).starts_with("HTTP/1.1 200"));

    certificate.renew();
    assert_ne!(certificate.der(), first);
    let (sender, told) = std::sync::mpsc::channel();
    let _watch = tls.watch(Duration::from_millis(20), move |said| sender.send(said).unwrap()).unwrap();
    let said = loop {
        match told.recv_timeout(client::DEADLINE).expect("the change is told") {
            TlsNotice::Taken(said) => break said,
            TlsNotice::Concern(_) => {}
            TlsNotice::Broken(said) => panic!("{said}"),
        }
    };
    assert!(said.contains(NAME), "{said}");

    let mut new = certificate.connect(server.address()).expect("who trusts the new one connects");
    assert_eq!(new.conn.peer_certificates().unwrap(), [certificate.der()]);
    assert!(ask(&mut new, &asked).starts_with("HTTP/1.1 200"));
    assert!(ask(&mut old, &asked).starts_with("HTTP/1.1 200"), "the old connection goes on");
    assert_eq!(tls.reload().unwrap(), Reload::Unchanged);
}
