//! A receiver behind TLS.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use counterpart::{Authority, Request, Server, answer};
use homeostat_tracer::{BuildError, Sampler, Tracer, span};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

/// How long an effect may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn takes(_: &Request) -> Vec<u8> {
    answer("200 OK", "", "")
}

fn tracer(server: &Server, authorities: String) -> Tracer {
    Tracer::builder("shop")
        .sampler(Sampler::Always)
        .endpoint(server.url("https", "/v1/traces"))
        .header("authorization", "Bearer secret")
        .authorities(authorities)
        .build()
        .unwrap()
}

#[test]
fn spans_go_over_tls_to_a_certificate_of_an_authority_that_was_given() {
    let authority = Authority::new("ours");
    let server = Server::start(&authority.issue(&["localhost"]), takes);
    let tracer = tracer(&server, authority.pem());
    drop(tracer.root("GET /cart").enter());
    tracer.flush(PATIENCE).unwrap();
    let request = &server.requests()[0];
    assert_eq!(request.line, "POST /v1/traces HTTP/1.1");
    assert_eq!(request.header("authorization"), Some("Bearer secret"));
    let sent = ExportTraceServiceRequest::decode(&request.body[..]).unwrap();
    assert_eq!(sent.resource_spans[0].scope_spans[0].spans[0].name, "GET /cart");
    assert_eq!(tracer.metrics().exported, 1);
}

#[test]
fn who_gives_no_authorities_believes_those_that_the_environment_names() {
    /// Where the process sends to that the test starts.
    const ENDPOINT: &str = "HOMEOSTAT_TEST_ENDPOINT";
    if let Ok(endpoint) = std::env::var(ENDPOINT) {
        let tracer = Tracer::builder("shop").sampler(Sampler::Always).endpoint(endpoint).build();
        match tracer {
            Ok(tracer) => {
                drop(tracer.root("GET /cart").enter());
                tracer.flush(PATIENCE).unwrap();
            }
            Err(error) => println!("{error}"),
        }
        return;
    }
    let authority = Authority::new("ours");
    let server = Server::start(&authority.issue(&["localhost"]), takes);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    let child = |file: &Path| {
        let ended = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "who_gives_no_authorities_believes_those_that_the_environment_names",
                "--nocapture",
            ])
            .env_remove("SSL_CERT_DIR")
            .env("SSL_CERT_FILE", file)
            .env(ENDPOINT, server.url("https", "/v1/traces"))
            .output()
            .unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    };
    // One that is not there, and one that is set to nothing.
    for file in [path.as_path(), Path::new("")] {
        let refused = child(file);
        assert!(refused.contains("the authorities cannot be used: SSL_CERT_FILE names none"), "{refused}");
    }
    assert!(server.requests().is_empty());
    std::fs::write(&path, authority.pem()).unwrap();
    child(&path);
    assert_eq!(server.requests()[0].line, "POST /v1/traces HTTP/1.1");
}

#[test]
fn a_certificate_that_is_not_believed_is_a_failure_with_its_reason_and_nothing_is_sent() {
    let server = Server::start(&Authority::new("theirs").issue(&["localhost"]), takes);
    let tracer = tracer(&server, Authority::new("ours").pem());
    {
        let _root = tracer.root("GET /cart").enter();
        drop(span("SELECT"));
    }
    let began = Instant::now();
    let why = loop {
        if let Some(why) = tracer.metrics().last_failure {
            break why;
        }
        assert!(began.elapsed() < PATIENCE, "no failure was told");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(why.contains("UnknownIssuer"), "{why}");
    assert!(server.requests().is_empty());
    // Nobody waits for what cannot be sent.
    let _ = tracer.shutdown(Duration::ZERO);
}

#[test]
fn authorities_that_are_none_are_refused() {
    for pem in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let refused = Tracer::builder("shop").endpoint("https://h/v1/traces").authorities(pem).build();
        assert!(matches!(refused, Err(BuildError::Authorities { .. })), "{pem}");
    }
}
