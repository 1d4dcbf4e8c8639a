//! The tables of servers that are asked, where they stand and what is refused of them.

use std::time::{Duration, Instant};

use counterpart::{Authority, Server, answer};
use gateway::{Notice, Webhook};

use super::Config;

/// Where a server is named, with the address that its name stands for.
const PLACES: [(&str, &str); 3] = [
    ("notify", "[notify]\nwebhook_url = \"URL\"\n"),
    ("metrics.scrape", "[[metrics.scrape]]\njob = \"node\"\nurl = \"URL\"\n"),
    ("alertmanager", "[alertmanager]\nurls = [\"URL\"]\n"),
];

/// A folder with an authority's certificate and a token.
fn folder(authority: &Authority) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
    std::fs::write(dir.path().join("token"), "canary-token\n").unwrap();
    dir
}

fn read(dir: &tempfile::TempDir, text: &str) -> Result<Config, String> {
    let path = dir.path().join("homeostat.toml");
    std::fs::write(&path, text).unwrap();
    Config::load_with(Some(&path), |_| None).map_err(|error| error.to_string())
}

#[test]
fn whom_to_believe_and_by_what_to_prove_ourselves_stands_beside_each_address() {
    let dir = folder(&Authority::new("ours"));
    for (place, begins) in PLACES {
        let begins = begins.replace("URL", "https://a.example/x");
        let bearer =
            "tls_config = { ca_file = \"ca.pem\" }\nauthorization = { credentials = \"${file:token}\" }\n";
        let config = read(&dir, &format!("{begins}{bearer}")).unwrap();
        let shown = format!("{config:?}{}", toml::to_string(&config).unwrap());
        assert!(!shown.contains("canary"), "{place}");
        let whole = dir.path().join("ca.pem").display().to_string();
        assert!(shown.contains(&whole), "{place}: files are named relative to the configuration");
        let basic = "basic_auth = { username = \"homeostat\", password = \"${file:token}\" }\n";
        assert!(read(&dir, &format!("{begins}{basic}")).is_ok(), "{place}");
    }
}

#[test]
fn what_is_wrong_with_them_is_named_by_its_field_and_quotes_no_secret() {
    let dir = folder(&Authority::new("ours"));
    let both = "authorization = { credentials = \"${file:token}\" }\nbasic_auth = { username = \"a\", password = \"${file:token}\" }\n";
    for (place, begins) in PLACES {
        let begins = begins.replace("URL", "https://a.example/x");
        let line = begins.lines().count() + 1;
        for (more, field, says) in [
            ("tls_config = { ca_file = \"none.pem\" }\n", "tls_config.ca_file", "No such file"),
            ("tls_config = { ca_file = \"token\" }\n", "tls_config.ca_file", "none in PEM form"),
            ("authorization = { credentials = \"canary\" }\n", "authorization.credentials", "must refer"),
            (
                "authorization = { credentials = \"${file:none}\" }\n",
                "authorization.credentials",
                "cannot read",
            ),
            (
                "basic_auth = { username = \"a\", password = \"canary\" }\n",
                "basic_auth.password",
                "must refer",
            ),
            (
                "basic_auth = { username = \"a:b\", password = \"${file:token}\" }\n",
                "basic_auth.username",
                "colon",
            ),
            (both, "basic_auth.username", "beside authorization"),
        ] {
            let line = if more == both { line + 1 } else { line };
            let refused = read(&dir, &format!("{begins}{more}")).unwrap_err();
            let (at, field) = (format!("homeostat.toml:{line}: {place}"), format!(".{field} "));
            let is_named = refused.contains(&at) && refused.contains(&field);
            assert!(is_named && refused.contains(says), "{at}{field}: {refused}");
            assert!(!refused.contains("canary"), "{refused}");
        }
        let refused = read(&dir, &format!("{begins}tls_config = {{ insecure_skip_verify = true }}\n"));
        assert!(refused.unwrap_err().contains("insecure_skip_verify"), "{place}");
    }
}

#[test]
fn credentials_and_authorities_for_no_address_are_refused() {
    let dir = folder(&Authority::new("ours"));
    for (place, address) in [("notify", "notify.webhook_url"), ("alertmanager", "alertmanager.urls")] {
        for (table, more) in [
            ("tls_config", "ca_file = \"ca.pem\""),
            ("authorization", "credentials = \"${file:token}\""),
            ("basic_auth", "username = \"a\"\npassword = \"${file:token}\""),
        ] {
            let refused = read(&dir, &format!("[log]\n[{place}.{table}]\n{more}\n")).unwrap_err();
            let at = format!("homeostat.toml:2: {place}.{table} is for");
            assert!(refused.contains(&at) && refused.contains(address), "{at}: {refused}");
        }
        assert_eq!(read(&dir, &format!("[{place}]\n")), Ok(Config::default()), "nobody is told");
    }
    for (place, begins) in PLACES {
        let begins = begins.replace("URL", "https://a.example/x");
        let refused = read(&dir, &format!("{begins}tls_config = {{}}\n")).unwrap_err();
        assert!(refused.contains(place) && refused.contains("has no ca_file"), "{refused}");
    }
}

#[test]
fn of_several_that_are_scraped_the_wrong_one_is_named_with_its_line() {
    let dir = folder(&Authority::new("ours"));
    let first = "[[metrics.scrape]]\njob = \"a\"\nurl = \"https://a.example/x\"\ntls_config = { ca_file = \"ca.pem\" }\n\
                 authorization = { credentials = \"${file:token}\" }\n\n";
    let second = "[[metrics.scrape]]\njob = \"b\"\nurl = \"https://b.example/x\"\n";
    for (more, field) in [
        ("tls_config = { ca_file = \"none.pem\" }\n", "tls_config.ca_file"),
        ("authorization = { credentials = \"${file:none}\" }\n", "authorization.credentials"),
        ("authorization = { credentials = \"canary\" }\n", "authorization.credentials"),
        ("interval_seconds = 0\n", "interval_seconds"),
    ] {
        let refused = read(&dir, &format!("{first}{second}{more}")).unwrap_err();
        let at = format!("homeostat.toml:10: metrics.scrape[1].{field} of the job \"b\"");
        assert!(refused.contains(&at) && !refused.contains("canary"), "{at}: {refused}");
    }
}

#[test]
fn credentials_go_to_others_over_tls_alone() {
    let dir = folder(&Authority::new("ours"));
    let token = "authorization = { credentials = \"${file:token}\" }\n";
    for (place, begins) in PLACES {
        let of = |url: &str| read(&dir, &format!("{}{token}", begins.replace("URL", url)));
        assert!(of("http://localhost:9000/x").is_ok(), "{place}: to this machine");
        let refused = of("http://a.example/x").unwrap_err();
        assert!(refused.contains(place) && refused.contains("in the clear; use https://"), "{refused}");
    }
}

#[test]
fn a_notice_goes_where_the_configuration_says_by_what_it_says() {
    let authority = Authority::new("ours");
    let server = Server::start(&authority.issue(&["localhost"]), |_| answer("204 No Content", "", ""));
    let dir = folder(&authority);
    std::fs::write(dir.path().join("hook"), server.url("https", "/hook")).unwrap();
    let text = "[notify]\nwebhook_url = \"${file:hook}\"\ntls_config.ca_file = \"ca.pem\"\nauthorization.credentials = \"${file:token}\"\n";
    let config = read(&dir, text).unwrap();
    let webhook = Webhook::start(config.notify.receiver().unwrap().unwrap(), |_| ()).unwrap();
    webhook.send(Notice {
        title: "cart hangs".to_owned(),
        severity: domain::Severity::High,
        resource: None,
        url: None,
        time: "2026-11-21T03:00:00.000Z".to_owned(),
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    while webhook.counts().delivered == 0 {
        assert!(Instant::now() < deadline, "it was not delivered");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(server.requests()[0].header("authorization"), Some("Bearer canary-token"));
}
