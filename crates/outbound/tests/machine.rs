//! A client that was given no file, before a server of an authority of the test's own, in a process of its own: whom it
//! believes is what its environment names.

use std::process::{Command, Output};
use std::time::Duration;

use counterpart::{Authority, Server, answer};
use outbound::{Peer, authorities, reason};

/// What the process asks that the test starts.
const URL: &str = "HOMEOSTAT_TEST_URL";

/// Asks as every client does that knows no file, and says what came of it.
fn ask(url: &str) -> String {
    let agent: ureq::Agent =
        Peer::default().agent().unwrap().timeout_global(Some(Duration::from_secs(20))).build().into();
    match agent.get(url).call() {
        Ok(answer) => format!("{} with {}", answer.status().as_u16(), authorities()),
        Err(error) => reason(&error),
    }
}

#[test]
fn who_the_environment_names_is_believed_and_nobody_else() {
    if let Ok(url) = std::env::var(URL) {
        println!("{}", ask(&url));
        return;
    }
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = Server::start(&ours.issue(&["localhost"]), |_| answer("200 OK", "", "well"));
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let child = |variables: &[(&str, &str)]| -> String {
        let Output { stdout, stderr, status } = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "who_the_environment_names_is_believed_and_nobody_else", "--nocapture"])
            .env_remove("SSL_CERT_FILE")
            .env_remove("SSL_CERT_DIR")
            .env(URL, server.url("https", "/"))
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    };

    let whole = file("ca.pem", &ours.pem());
    let said = child(&[("SSL_CERT_FILE", &whole)]);
    assert!(said.contains(&format!("200 with 1 authority of SSL_CERT_FILE={whole}")), "{said}");
    // A directory is read whole, as OpenSSL's is.
    file("authorities/a.pem", &theirs.pem());
    file("authorities/b.pem", &ours.pem());
    let directory = dir.path().join("authorities").display().to_string();
    let said = child(&[("SSL_CERT_DIR", &directory)]);
    assert!(said.contains(&format!("200 with 2 authorities of SSL_CERT_DIR={directory}")), "{said}");
    assert_eq!(server.requests().len(), 2);

    // Neither what this machine has, nor another authority, nor what is built in steps in.
    let other = file("other.pem", &theirs.pem());
    let missing = dir.path().join("none.pem").display().to_string();
    for (variables, says) in [
        (vec![], "its certificate is not believed"),
        (vec![("SSL_CERT_FILE", &*other)], "its certificate is not believed"),
        (vec![("SSL_CERT_FILE", &*missing)], "none.pem names no authority"),
        (vec![("SSL_CERT_FILE", "")], "SSL_CERT_FILE= names no authority"),
    ] {
        let said = child(&variables);
        assert!(said.contains(says) && !said.contains("200 with"), "{variables:?}: {said}");
    }
    assert_eq!(server.requests().len(), 2, "nothing was sent to who is not believed");
}
