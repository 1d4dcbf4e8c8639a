//! An Alertmanager behind TLS that asks who we are.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alerting::{Address, Alertmanager, Rules, Settings};
use counterpart::{Authority, Request, Server, answer};
use domain::Clock;
use metrics::{Batch, Metrics, SourceName};
use outbound::{Credentials, Peer, Reference, Trust};
use promql::{Labels, Sample, Value};
use provider::clock::SystemClock;

const WAIT: Duration = Duration::from_secs(60);

const RULES: &str = "groups: [{name: a, rules: [{alert: High, expr: x > 10}]}]";

/// Rules with an alert that fires, told to this server.
fn firing(
    dir: &std::path::Path,
    server: &Server,
    peer: &Peer,
    say: impl Fn(&str) + Send + Sync + 'static,
) -> Rules {
    let store = Metrics::open(metrics::Config::new(dir.join("metrics"), Arc::new(SystemClock))).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let sample = Sample { at_ms: clock.now().wall_us / 1000, value: Value::Float(20.0) };
    let series = vec![(Labels::new([("__name__", "x")]), vec![sample])];
    store.append(&SourceName::new("test"), Batch { series, ..Batch::default() }).unwrap();
    let file = dir.join("rules.yaml");
    std::fs::write(&file, RULES).unwrap();
    let address = Address::parse(&server.url("https", "")).unwrap();
    let alertmanager = Alertmanager::start(vec![address], peer, &clock, say).unwrap();
    let settings = Settings { files: vec![file], interval: Duration::from_secs(1), ..Settings::default() };
    Rules::start(settings, store, clock, Some(alertmanager), |_: &str| {}).unwrap()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < WAIT, "not within {WAIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn believing(dir: &std::path::Path, authority: &Authority) -> Trust {
    let ca = dir.join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    Trust::File(ca)
}

fn takes(request: &Request) -> Vec<u8> {
    match request.header("authorization") {
        // A name and a password, as RFC 7617 writes them.
        Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==") => answer("200 OK", "", ""),
        _ => answer("401 Unauthorized", "", "who are you"),
    }
}

#[test]
fn an_alert_goes_over_tls_with_a_name_and_a_password() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
    let server = Server::start(&authority.issue(&["localhost"]), takes);
    let password = Reference::new("open sesame", |text| Ok(text.to_owned()));
    let credentials = Some(Credentials::Basic { username: "Aladdin".to_owned(), password });
    let peer = Peer { trust: believing(dir.path(), &authority), credentials };
    let rules = firing(dir.path(), &server, &peer, |_: &str| {});
    eventually("the alert was taken", || rules.alertmanagers()[0].sent > 0);
    let request = &server.requests()[0];
    assert_eq!(request.line, "POST /api/v2/alerts HTTP/1.1");
    let alerts: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(alerts[0]["labels"]["alertname"], "High");
    assert_eq!(rules.alertmanagers()[0].trouble, None);
}

#[test]
fn a_certificate_that_is_not_believed_is_a_trouble_and_the_alert_waits() {
    let (dir, ours) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
    let server = Server::start(&Authority::new("theirs").issue(&["localhost"]), takes);
    let peer = Peer { trust: believing(dir.path(), &ours), credentials: None };
    let said = Arc::new(Mutex::new(Vec::new()));
    let keeps = Arc::clone(&said);
    let rules =
        firing(dir.path(), &server, &peer, move |text: &str| keeps.lock().unwrap().push(text.to_owned()));
    eventually("it was tried twice in vain", || rules.alertmanagers()[0].failures > 1);
    let state = &rules.alertmanagers()[0];
    let trouble = state.trouble.as_deref().unwrap_or_default();
    assert!(
        trouble.contains("certificate is not believed") && trouble.contains("UnknownIssuer"),
        "{trouble}"
    );
    assert!(state.waiting > 0 && state.dropped == 0, "{state:?}");
    assert_eq!(*said.lock().unwrap(), [trouble], "it is told once");
    assert!(server.requests().is_empty());
}

#[test]
fn an_authority_that_is_put_into_the_file_is_believed_without_a_restart() {
    let (dir, theirs) = (tempfile::tempdir().unwrap(), Authority::new("theirs"));
    let server = Server::start(&theirs.issue(&["localhost"]), takes);
    let peer = Peer { trust: believing(dir.path(), &Authority::new("ours")), credentials: None };
    let rules = firing(dir.path(), &server, &peer, |_: &str| {});
    eventually("it was tried in vain", || rules.alertmanagers()[0].failures > 0);
    believing(dir.path(), &theirs);
    eventually("the alert comes", || !server.requests().is_empty());
}

#[test]
fn credentials_are_not_sent_in_the_clear() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let credentials = Some(Credentials::Bearer(Reference::new("x", |text| Ok(text.to_owned()))));
    let address = Address::parse("http://alerts.example:9093").unwrap();
    let peer = Peer { trust: Trust::Authorities, credentials };
    let refused = Alertmanager::start(vec![address], &peer, &clock, |_: &str| {}).unwrap_err().to_string();
    assert!(refused.contains("http://alerts.example:9093") && refused.contains("in the clear"), "{refused}");
}
