//! TLS of the binary: a certificate for first use, https for others, and the command line as ever.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use counterpart::{Authority, Server, answer};
use domain::Clock;
use provider::clock::SystemClock;

use crate::Test;
use crate::access::fed;
use crate::fleet::{Fleet, agent, until};
use crate::port::free_port;
use crate::wrong_input::{SMALL, nothing_runs, refused, up};

pub(crate) const TESTS: &[Test] = &[
    ("with_a_certificate_the_page_is_https_and_the_command_line_goes_on", https),
    ("who_signs_in_from_elsewhere_trusts_the_authority_it_names_and_no_other", login),
    ("without_a_file_the_machine_s_authorities_are_believed_as_the_environment_names_them", authorities),
    ("a_certificate_that_cannot_be_used_is_named_and_nothing_is_started", unusable),
    ("a_certificate_that_is_over_keeps_nothing_from_starting_and_is_said", over),
    ("beyond_loopback_nothing_is_started_that_anybody_could_read", exposed),
];

/// A fleet with a certificate in its data directory.
fn certified() -> Fleet {
    let fleet = Fleet::new("");
    let made = fleet.run(&["tls", "self-signed", "--name", "localhost", "--name", "127.0.0.1"]).done();
    assert!(made.out.starts_with("[tls]\ncertificate = "), "{}", made.out);
    let mode = fs::metadata(fleet.dir.join("key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the key is its owner's alone");
    let again = fleet.run(&["tls", "self-signed", "--name", "localhost"]);
    refused(&again, 2, &["key.pem is there already", "--key"]);
    // The configuration is read from elsewhere, and a key without its certificate would be in the way of the next try.
    let beside = fleet.dir.parent().unwrap();
    let certificate = fleet.dir.join("certificate.pem");
    let words = ["tls", "self-signed", "--name", "localhost", "--key", "beside.pem"];
    let mut taken = fleet.command(&[&words[..], &["--certificate", certificate.to_str().unwrap()]].concat());
    assert_eq!(taken.current_dir(beside).output().unwrap().status.code(), Some(2));
    assert!(!beside.join("beside.pem").exists(), "a key was left");
    let mut made = fleet.command(&[&words[..], &["--certificate", "other.pem"]].concat());
    let out = String::from_utf8(made.current_dir(beside).output().unwrap().stdout).unwrap();
    assert!(out.contains(&format!("{:?}", beside.join("beside.pem").display().to_string())), "{out}");
    fleet
}

fn configured(fleet: &Fleet, port: u16, more: &str) {
    let dir = fleet.dir.display();
    let text = format!(
        "[gateway]\nport = {port}\n{more}\n[otlp]\nenabled = false\n\
         [tls]\ncertificate = \"{dir}/certificate.pem\"\nkey = \"{dir}/key.pem\"\n"
    );
    fleet.write("homeostat.toml", &text);
}

fn https() {
    let fleet = certified();
    let port = free_port();
    configured(&fleet, port, "");
    let page = format!("https://localhost:{port}");
    let said = up(&fleet, SMALL).done();
    assert!(said.out.contains(&format!("is up: {page}\n")), "{}", said.out);
    assert!(fleet.run(&["health", "--json"]).out.contains("status"), "the command line finds it");
    let status = fleet.run(&["status"]).done();
    assert!(status.out.starts_with(&format!("{page}  health ")), "{}", status.out);
    let told = fleet.run(&["status", "--json"]).json();
    let local = fs::read_to_string(fleet.dir.join("address")).unwrap();
    assert_eq!((told["page"].as_str(), told["address"].as_str()), (Some(&*page), Some(&*local)));

    let mut plain = TcpStream::connect(("127.0.0.1", port)).unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    plain.write_all(format!("GET / HTTP/1.1\r\nhost: localhost:{port}\r\n\r\n").as_bytes()).unwrap();
    let mut said = String::new();
    plain.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 400") && said.contains("https://"), "{said}");
}

fn login() {
    let (fleet, other) = (certified(), certified());
    let port = free_port();
    configured(&fleet, port, "");
    up(&fleet, SMALL).done();
    let password = "a heron stood in the reeds\n";
    fed(&fleet, &["users", "create", "ada", "--role", "viewer"], password).done();
    let server = format!("https://localhost:{port}");
    let there = |words: &[&str]| fed(&fleet, &[words, &["--server", &server]].concat(), password);
    // What vouches for itself is nobody the machine trusts, nor does another one vouch for it.
    let ca = |fleet: &Fleet| fleet.dir.join("certificate.pem").display().to_string();
    refused(&there(&["login", "ada"]), 3, &["certificate"]);
    refused(&there(&["login", "ada", "--ca", &ca(&other)]), 3, &["certificate"]);
    refused(&there(&["login", "ada", "--ca", "/nowhere.pem"]), 2, &["/nowhere.pem"]);
    let file = fleet.dir.parent().unwrap().join("config/homeostat/servers.json");
    assert!(!file.exists(), "nothing was signed in to");

    there(&["login", "ada", "--ca", &ca(&fleet)]).done();
    // The authority is kept with the token: it need not be named again, wherever the command is run.
    let me = there(&["whoami", "--json"]).done();
    assert!(me.out.contains("\"ada\""), "{me:#?}");
    there(&["status"]).done();
    let by_address = format!("https://127.0.0.1:{port}");
    let by_address = fed(&fleet, &["login", "ada", "--ca", &ca(&fleet), "--server", &by_address], password);
    by_address.done();
    there(&["logout"]).done();
    refused(&there(&["whoami"]), 2, &["homeostat login"]);
}

fn authorities() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = Server::start(&ours.issue(&["localhost"]), |_| answer("200 OK", "", "up_there 1\n"));
    let target = format!("[[metrics.scrape]]\njob = \"db\"\nurl = \"{}\"\n", server.url("https", "/metrics"));
    let config = format!("{target}interval_seconds = 1\n[otlp]\nenabled = false\n");
    let mut fleet = Fleet::new(&config);
    // A server goes on where its environment names nobody, says so, and sends nothing to who is not believed.
    let nowhere = fleet.dir.join("nowhere.pem").display().to_string();
    fleet.serve_with(&[("SSL_CERT_FILE", &nowhere), ("SSL_CERT_DIR", "")]);
    let told = format!("SSL_CERT_FILE={nowhere} names no authority");
    until("it is said in the log", || if fleet.said().contains(&told) { Ok(()) } else { Err(fleet.said()) });
    until("a scrape failed for that", || {
        let targets = fleet.get("/api/v1/targets")?.to_string();
        if targets.contains("its certificate is not believed") { Ok(()) } else { Err(targets) }
    });
    assert_eq!(server.requests(), []);

    let mut fleet = Fleet::new(&config);
    let both = fleet.write("both.pem", &format!("{}{}", theirs.pem(), ours.pem())).display().to_string();
    fleet.serve_with(&[("SSL_CERT_FILE", &both), ("SSL_CERT_DIR", "")]);
    until("it is asked", || if server.requests().is_empty() { Err(fleet.said()) } else { Ok(()) });
    let told = format!("believed at https:// are 2 authorities of SSL_CERT_FILE={both}");
    assert!(fleet.said().contains(&told), "{}", fleet.said());
}

fn unusable() {
    let fleet = certified();
    configured(&fleet, free_port(), "");
    let key = fleet.dir.join("key.pem");
    fs::rename(&key, fleet.dir.join("kept.pem")).unwrap();
    refused(&fleet.run(&["serve"]), 1, &["cannot listen with TLS", "key.pem"]);
    fs::write(&key, "no key").unwrap();
    refused(&fleet.run(&["serve"]), 1, &["key.pem holds no private key"]);
    nothing_runs(&fleet);
}

fn over() {
    const DAY: Duration = Duration::from_secs(86_400);
    let fleet = Fleet::new("");
    configured(&fleet, free_port(), "");
    let put = |made_before: Duration, days: u32| {
        let made =
            gateway::self_signed(&["localhost".to_owned()], SystemClock.now().minus(made_before), DAY * days);
        let made = made.unwrap();
        fs::write(fleet.dir.join("certificate.pem"), made.certificate).unwrap();
        fs::write(fleet.dir.join("key.pem"), made.key).unwrap();
    };
    fs::create_dir_all(&fleet.dir).unwrap();
    put(DAY * 3, 1);
    up(&fleet, SMALL).done();
    let trouble = fleet.run(&["health", "--json"]).json()["troubles"].to_string();
    assert!(trouble.contains("certificate.pem expired at"), "{trouble}");
    let status = fleet.run(&["status"]).out;
    assert!(status.contains("certificate.pem expired at"), "{status}");
    let not_after = |fleet: &Fleet| -> i64 {
        let address = fs::read_to_string(fleet.dir.join("address")).unwrap();
        let mut page = agent().get(format!("{address}/metrics")).call().unwrap();
        let page = page.body_mut().read_to_string().unwrap();
        let line =
            page.lines().find_map(|line| line.strip_prefix("tls_certificate_not_after_timestamp_seconds "));
        line.unwrap_or_else(|| panic!("{page}")).parse().unwrap()
    };
    let now = SystemClock.now().wall_us / 1_000_000;
    assert!(not_after(&fleet) < now);

    // One that cannot be used is refused with the reload; another one that ends soon is taken, and said to.
    let key = fs::read(fleet.dir.join("key.pem")).unwrap();
    put(Duration::ZERO, 90);
    fs::write(fleet.dir.join("key.pem"), key).unwrap();
    refused(&fleet.run(&["reload"]), 2, &["does not belong to", "stays as it was"]);
    put(Duration::ZERO, 10);
    fleet.run(&["reload"]).done();
    assert!(not_after(&fleet) > now);
    let trouble = fleet.run(&["health", "--json"]).json()["troubles"].to_string();
    assert!(trouble.contains("certificate.pem ends at"), "{trouble}");
    put(Duration::ZERO, 90);
    fleet.run(&["reload"]).done();
    assert_eq!(fleet.run(&["health", "--json"]).json()["troubles"].to_string(), "[]");
    fleet.run(&["down"]).done();
}

fn exposed() {
    let fleet = certified();
    let port = free_port();
    configured(&fleet, 4000, &format!("listen = \"0.0.0.0:{port}\"\nanonymous_reads = true"));
    refused(&fleet.run(&["serve"]), 2, &["gateway.anonymous_reads", "beyond loopback everybody signs in"]);
    nothing_runs(&fleet);
}
