//! What a file and the environment may say, and how what is wrong is named.

use proptest::prelude::{Strategy, any, prop_assert, prop_oneof, proptest};
use proptest::sample::Index;

use super::*;

mod peer;

fn load(text: &str) -> Result<Config, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Config::load_with(Some(file.path()), |_| None)
        .map_err(|error| error.to_string().replace(&file.path().display().to_string(), "homeostat.toml"))
}

#[test]
fn what_init_writes_reads_back_as_the_defaults() {
    assert_eq!(load(&Config::written_out()), Ok(Config::default()));
}

#[test]
fn a_provider_gives_roles_to_groups_and_is_reached_by_tls() {
    let with = |issuer: &str, roles: &str| {
        load(&format!("[oidc]\nissuer = \"{issuer}\"\nclient_id = \"homeostat\"\nroles = {{ {roles} }}\n"))
    };
    let config = with("https://id.example", "sre = \"operator\"").unwrap();
    let provider = config.oidc.unwrap().provider().unwrap();
    assert_eq!(provider.roles.get("sre"), Some(&domain::Role::Operator));
    assert_eq!(provider.groups_claim, "groups");
    assert!(with("http://localhost:8080/realms/a", "sre = \"viewer\"").is_ok());
    for issuer in ["http://id.example", "http://localhost.example", "id.example"] {
        let refused = with(issuer, "sre = \"viewer\"").unwrap_err();
        assert!(refused.starts_with("homeostat.toml:2: oidc.issuer"), "{refused}");
    }
    assert!(with("https://id.example", "").unwrap_err().contains("oidc.roles"));
    assert!(with("https://id.example", "sre = \"root\"").unwrap_err().contains("root"));
    let file = "[oidc]\nissuer = \"https://id.example\"\nclient_id = \"h\"\nroles = { a = \"viewer\" }\nclient_secret = \"s\"";
    assert!(load(file).unwrap_err().contains("client_secret"), "secrets stand in files of their own");
}

#[test]
fn a_secret_is_referred_to_found_beside_the_file_and_never_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("homeostat.toml");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Config::load_with(Some(&path), |_| None).map_err(|error| error.to_string())
    };
    std::fs::write(dir.path().join("hook"), "http://relay/canary\n").unwrap();
    let config = read("[notify]\nwebhook_url = \"${file:hook}\"\n").unwrap();
    assert_eq!(config.notify.receiver().unwrap().map(|to| to.url).as_deref(), Some("http://relay/canary"));
    assert!(!format!("{config:?}{}", toml::to_string(&config).unwrap()).contains("canary"));
    std::fs::write(dir.path().join("hook"), "ftp://relay/canary").unwrap();
    let refused = read("[notify]\nwebhook_url = \"${file:hook}\"\n").unwrap_err();
    assert!(
        refused.contains("homeostat.toml:2: notify.webhook_url must be https://")
            && !refused.contains("canary")
    );

    let oidc = |more: &str| {
        let provider =
            "[oidc]\nissuer = \"https://id.example\"\nclient_id = \"h\"\nroles = { a = \"viewer\" }\n";
        read(&format!("{provider}{more}\n"))
    };
    for text in ["client_secret = \"${file:hook}\"", "client_secret_file = \"hook\""] {
        let config = oidc(text).unwrap();
        assert!(config.oidc.as_ref().unwrap().provider().unwrap().client_secret.is_some());
        assert!(!format!("{config:?}").contains("canary"), "{text}");
    }
    for (text, says) in [
        ("client_secret = \"plain\"", ":5: oidc.client_secret must refer to the secret"),
        (
            "client_secret = \"${env:NO_SUCH_VARIABLE}\"",
            ":5: oidc.client_secret the environment has no variable",
        ),
        ("client_secret_file = \"none\"", ":5: oidc.client_secret_file cannot read"),
        ("client_secret = \"${file:hook}\"\nclient_secret_file = \"hook\"", "name the secret once"),
    ] {
        let refused = oidc(text).unwrap_err();
        assert!(refused.contains(says) && !refused.contains("canary"), "{refused}");
    }
    let refused = read("[alertmanager]\nurls = [\"http://${env:HOST}/\"]\n").unwrap_err();
    assert!(refused.contains("homeostat.toml:2: alertmanager.urls[0] refers to a secret"), "{refused}");
}

#[test]
fn restarts_are_automatic_and_the_rest_asks_unless_a_ladder_is_written_down() {
    let ladder = load("[policy.limits]\nat_a_time = 3\n").unwrap().policy.ladder;
    assert_eq!(ladder, Ladder::started_by_up());
    let ladder = load("[policy.ladder]\ndefault = \"observe\"\n").unwrap().policy.ladder;
    assert_eq!(ladder.default, decide::plan::policy::Rung::Observe);
}

#[test]
fn half_of_what_may_be_on_disk_may_wait_for_compaction_unless_it_is_written_down() {
    let of = |text: &str| load(text).unwrap().telemetry.store(Path::new("dir")).backlog_bytes_max;
    assert_eq!(of(""), 5 << 30);
    assert_eq!(of("[telemetry]\nretention_mib = 300\n"), 150 << 20);
    assert_eq!(of("[telemetry]\nbacklog_mib = 128\n"), 128 << 20);
    for (field, value, least) in [("backlog_mib", 127, 128), ("retention_mib", 255, 256)] {
        let error = load(&format!("[telemetry]\n{field} = {value}\n")).unwrap_err();
        let says = [format!("telemetry.{field}"), format!("must be {least} to"), "room for two".to_owned()];
        assert!(says.iter().all(|says| error.contains(says)), "{error}");
    }
}

#[test]
fn the_archive_has_room_of_its_own_and_never_none() {
    let of = |text: &str| load(text).map(|config| config.telemetry.store(Path::new("dir")).archive_bytes);
    assert_eq!(of(""), Ok(256 << 20));
    assert_eq!(of("[telemetry]\narchive_mib = 7\n"), Ok(7 << 20));
    let error = of("[telemetry]\narchive_mib = 0\n").unwrap_err();
    assert!(error.contains("telemetry.archive_mib") && error.contains("must be 1 to"), "{error}");
}

/// Both programs are asked: one that can do it, and one that was built without.
#[test]
fn a_bucket_is_taken_or_refused_by_field_and_never_in_silence() {
    let of = |more: &str| load(&format!("[telemetry.objects]\nurl = \"s3://spans/a\"\n{more}"));
    let loaded = of("endpoint = \"http://localhost:9000\"\n");
    assert_eq!(loaded.is_ok(), ::telemetry::ObjectStorage::BUILT_IN);
    match loaded {
        Ok(config) => {
            let objects = config.telemetry.store(Path::new("dir")).objects.unwrap();
            assert_eq!(objects.after, Duration::from_secs(24 * 3600));
            assert_eq!(objects.endpoint.as_deref(), Some("http://localhost:9000"));
        }
        Err(error) => {
            assert!(error.starts_with("homeostat.toml:2: telemetry.objects.url "), "{error}");
            assert!(error.contains("--features object-storage"), "{error}");
        }
    }
    for (more, field, says) in [
        ("after_hours = 0\n", "after_hours", "must be 1 to 167"),
        ("after_hours = 168\n", "after_hours", "telemetry.retention_days"),
        ("endpoint = \"localhost:9000\"\n", "endpoint", "https://HOST:PORT"),
        ("region = \"Frankfurt am Main\"\n", "region", "must be a region"),
    ] {
        let error = of(more).unwrap_err();
        assert!(error.starts_with(&format!("homeostat.toml:3: telemetry.objects.{field} ")), "{error}");
        assert!(error.contains(says), "{error}");
    }
    let error = load("[telemetry.objects]\nurl = \"https://spans\"\n").unwrap_err();
    assert!(error.starts_with("homeostat.toml:2: telemetry.objects.url is \"https://spans\""), "{error}");
    assert!(load("[telemetry.objects]\nbucket = \"spans\"\n").unwrap_err().contains("bucket"));
}

#[test]
fn records_are_kept_as_long_as_is_written_down() {
    assert_eq!(Config::default().retention.retention(), Retention::default());
    let kept = load("[retention]\nrecords_days = 7\n").unwrap().retention.retention();
    assert_eq!(kept, Retention { records: Duration::from_secs(7 * 86_400), ..Retention::default() });
}

#[test]
fn records_that_would_go_before_a_window_of_the_policy_is_over_are_refused_by_both_keys() {
    let text =
        |days: u64| format!("[retention]\nrecords_days = {days}\n[policy.limits]\nrepeat_window = \"7d\"\n");
    let error = load(&text(6)).unwrap_err();
    assert!(
        error.starts_with("homeostat.toml:2: retention.records_days is 6, must be at least 7"),
        "{error}"
    );
    assert!(error.contains("policy.limits.repeat_window"), "{error}");
    assert!(load(&text(7)).is_ok());
    // Two that add up.
    let scaled = "[retention]\nrecords_days = 7\n[policy.lifting]\nscale_back = \"7d\"\n";
    let error = load(scaled).unwrap_err();
    assert!(error.contains("must be at least 8") && error.contains("policy.lifting.scale_back"), "{error}");
}

#[test]
fn a_key_nobody_knows_is_named_with_its_line() {
    let error = load("[healing]\ndry_run = true\nscan_intervall_seconds = 3\n").unwrap_err();
    assert!(error.starts_with("homeostat.toml:3: ") && error.contains("scan_intervall_seconds"), "{error}");
}

#[test]
fn a_value_out_of_range_is_named_with_its_line() {
    let error = load("[gateway]\nrequests_per_second = 1000001\n").unwrap_err();
    assert_eq!(error, "homeostat.toml:2: gateway.requests_per_second is 1000001, must be 0 to 1000000");
    assert_eq!(load("[gateway]\nanonymous_requests_per_second = 0\n").map(|_| ()), Ok(()));
    let error = load("[healing]\n\nscan_interval_seconds = 0\n").unwrap_err();
    assert_eq!(error, "homeostat.toml:3: healing.scan_interval_seconds is 0, must be 1 to 3600");
    let error = load("[retention]\nhealth_days = 0\n").unwrap_err();
    assert_eq!(error, "homeostat.toml:2: retention.health_days is 0, must be 1 to 3650");
}

#[test]
fn a_value_of_another_kind_is_named_with_its_key_and_line() {
    let error = load("[healing]\ndry_run = true\nscan_interval_seconds = \"often\"\n").unwrap_err();
    assert!(error.starts_with("homeostat.toml:3: healing.scan_interval_seconds: "), "{error}");
    let error = load("[[metrics.scrape]]\njob = \"a\"\nurl = \"http://b\"\n[[metrics.scrape]]\njob = 3\n")
        .unwrap_err();
    assert!(error.starts_with("homeostat.toml:5: metrics.scrape[1].job: "), "{error}");
}

#[test]
fn a_text_with_nothing_in_it_is_named_with_its_line_and_what_belongs_there() {
    let certificate = "[tls]\ncertificate = \"c.pem\"\n";
    let scrape = "[[metrics.scrape]]\njob = \"a\"\nurl = \"https://b.example/x\"\n";
    for (text, line, field, says) in [
        (format!("{certificate}key = \"\"\n"), 3, "tls.key", "the path of a file"),
        (
            "[rules]\nfiles = [\n  \"a.yaml\",\n  \" \",\n]\n".to_owned(),
            4,
            "rules.files[1]",
            "the path of a file",
        ),
        ("[slo]\nfiles = [\"\"]\n".to_owned(), 2, "slo.files[0]", "the path of a file"),
        (
            "[notify]\nwebhook_url = \"https://a.example/x\"\n[notify.tls_config]\nca_file = \"\"\n"
                .to_owned(),
            4,
            "notify.tls_config.ca_file",
            "the path of a file",
        ),
        (
            format!("{scrape}{scrape}tls_config = {{ ca_file = \"\" }}\n"),
            7,
            "metrics.scrape[1].tls_config.ca_file",
            "the path of a file",
        ),
        (scrape.replace("\"a\"", "\"\""), 2, "metrics.scrape[0].job", "what it is to be"),
    ] {
        let error = load(&text).unwrap_err();
        assert!(
            error.starts_with(&format!("homeostat.toml:{line}: {field} is empty; write {says}")),
            "{error}"
        );
    }
    let labels =
        format!("[rules]\nexternal_labels = {{ zone = \"\" }}\n{scrape}labels = {{ zone = \"\" }}\n");
    assert!(load(&labels).is_ok(), "an empty label is none, as in Prometheus");
}

#[test]
fn what_is_no_address_is_told_with_one_that_is() {
    for (section, text, such) in [
        ("gateway", "localhost:4000", "127.0.0.1:4000"),
        ("gateway", "", "[::]:4000"),
        ("otlp", "localhost", "127.0.0.1"),
        ("otlp", "", "0.0.0.0"),
    ] {
        let error = load(&format!("[{section}]\nlisten = \"{text}\"\n")).unwrap_err();
        let at = format!("homeostat.toml:2: {section}.listen: \"{text}\" is no address");
        assert!(error.starts_with(&at) && error.contains(such), "{error}");
    }
    let error = load("[otlp]\ngrpc_port = 4400\nhttp_port = 4400\n").unwrap_err();
    assert!(error.starts_with("homeostat.toml:3: otlp.http_port is 4400, as otlp.grpc_port is"), "{error}");
}

#[test]
fn files_are_named_as_seen_from_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("homeostat.toml");
    std::fs::write(&path, "[slo]\nfiles = [\"slos.yaml\"]\n[rules]\nfiles = [\"rules.yaml\"]\n").unwrap();
    let config = Config::load_with(Some(&path), |_| None).unwrap();
    assert_eq!(config.slo.files, [dir.path().join("slos.yaml")]);
    assert_eq!(config.rules.files, [dir.path().join("rules.yaml")]);
}

#[test]
fn limits_of_otlp_that_contradict_each_other_are_named() {
    let error = load("[otlp]\nmessage_bytes_max = 2000\nin_flight_bytes_max = 1000\n").unwrap_err();
    assert_eq!(error, "homeostat.toml:3: otlp.in_flight_bytes_max is 1000, must be 2000 to 1073741824");
    let receivers = load("[otlp]\nhttp_port = 14318\nbody_seconds = 5\n").unwrap().otlp.receivers();
    assert_eq!((receivers.http_port, receivers.limits.body_time), (14_318, Duration::from_secs(5)));
    assert_eq!(Otlp::default().receivers(), gateway::otlp::OtlpConfig::default());
}

#[test]
fn a_threshold_that_is_never_or_always_exceeded_is_refused() {
    for value in ["nan", "inf", "0.0", "-5.0"] {
        let error = load(&format!("[thresholds]\nerror_rate = {value}\n")).unwrap_err();
        assert!(error.starts_with("homeostat.toml:2: thresholds.error_rate "), "{error}");
    }
}

#[test]
fn the_environment_wins_over_the_file_and_is_named_when_it_is_wrong() {
    let set = |name: &str| (name == "DRY_RUN_MODE").then(|| "true".to_owned());
    assert!(Config::load_with(None, set).unwrap().healing.dry_run);
    let wrong = |name: &str| (name == "SCAN_INTERVAL_SECONDS").then(|| "often".to_owned());
    let error = Config::load_with(None, wrong).unwrap_err().to_string();
    assert!(error.contains("SCAN_INTERVAL_SECONDS") && error.contains("a whole number"), "{error}");
    // What is out of range is said of the variable, whatever the file says of that key.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[healing]\nhealth_check_interval_seconds = 60\n").unwrap();
    let never = |name: &str| (name == "HEALTH_CHECK_INTERVAL").then(|| "0".to_owned());
    let error = Config::load_with(Some(file.path()), never).unwrap_err().to_string();
    assert!(error.starts_with("environment variable HEALTH_CHECK_INTERVAL: healing."), "{error}");
}

#[test]
fn a_known_variable_that_nothing_follows_is_said_with_what_there_is_instead() {
    let said = unfollowed(|name| matches!(name, "SLACK_WEBHOOK_URL" | "HEALTH_CHECK_INTERVAL"));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("SLACK_WEBHOOK_URL is set and not followed") && said[0].contains("webhook_url")
    );
}

/// A key of the file as it is written out, with another value.
fn changed() -> impl Strategy<Value = String> {
    (any::<Index>(), prop_oneof!["-?[0-9]{1,20}", "[0-9.e+-]{1,10}", "true|nan|inf|\"\"|\\[\\]", ".*"])
        .prop_map(|(at, value)| {
            let text = Config::written_out();
            let keys: Vec<usize> =
                text.lines().enumerate().filter(|(_, l)| l.contains(" = ")).map(|(n, _)| n).collect();
            let wanted = keys[at.index(keys.len())];
            let change = |(n, line): (usize, &str)| match line.split_once(" = ") {
                Some((key, _)) if n == wanted => format!("{} = {value}", key.trim_start_matches("# ")),
                _ => line.to_owned(),
            };
            text.lines().enumerate().map(change).collect::<Vec<_>>().join("\n")
        })
}

proptest! {
    /// Whatever is in the file: it is read, or refused with file and line.
    #[test]
    fn no_file_panics(text in prop_oneof![any::<String>(), changed()]) {
        if let Err(error) = load(&text) {
            prop_assert!(error.contains("homeostat.toml"), "{error}");
        }
    }

    #[test]
    fn no_environment_panics(value in ".*") {
        let _ = Config::load_with(None, |_| Some(value.clone()));
    }
}

#[test]
fn what_listens_beyond_loopback_needs_a_certificate() {
    let tls = "[tls]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n";
    for (section, listen) in [("gateway", "0.0.0.0:4000"), ("gateway", "[::]:4000"), ("otlp", "192.0.2.7")] {
        let text = format!("[{section}]\nlisten = \"{listen}\"\n");
        let error = load(&text).unwrap_err();
        assert!(error.starts_with(&format!("homeostat.toml:2: {section}.listen is ")), "{error}");
        assert!(error.contains("tls.certificate and tls.key"), "{error}");
        assert!(load(&format!("{text}{tls}")).is_ok(), "{section}");
    }
    let both = "[gateway]\nlisten = \"127.0.0.1:4000\"\n[otlp]\nlisten = \"0.0.0.0\"\n";
    assert!(load(both).unwrap_err().starts_with("homeostat.toml:4: otlp.listen"), "in its own section");
    let files = load(tls).unwrap().tls.files().unwrap();
    assert!(files.key.is_absolute() && files.key.ends_with("k.pem"), "beside the file: {files:?}");
    let error = load("[tls]\nkey = \"k.pem\"\n").unwrap_err();
    assert!(error.starts_with("homeostat.toml:2: tls.key needs tls.certificate"), "{error}");
}

#[test]
fn the_gateway_listens_where_the_port_or_the_address_says() {
    let address = |text: &str| load(text).map(|config| config.gateway.address().to_string());
    assert_eq!(address(""), Ok("127.0.0.1:4000".to_owned()));
    assert_eq!(address("[gateway]\nport = 4001\n"), Ok("127.0.0.1:4001".to_owned()));
    assert_eq!(address("[gateway]\nlisten = \"[::1]:4002\"\n"), Ok("[::1]:4002".to_owned()));
    assert!(
        address("[gateway]\nport = 4001\nlisten = \"127.0.0.1:4002\"\n")
            .unwrap_err()
            .contains("gateway.port is 4001")
    );
    assert!(address("[gateway]\nlisten = \"localhost\"\n").unwrap_err().starts_with("homeostat.toml:2:"));
    let error = address("[gateway]\nhosts = [\"ops.example\"]\n").unwrap_err();
    assert!(error.contains("names for https"), "{error}");
    let tls = "[tls]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n";
    let error = address(&format!("[gateway]\nhosts = [\"https://ops.example\"]\n{tls}")).unwrap_err();
    assert!(error.contains("without scheme"), "{error}");
}
