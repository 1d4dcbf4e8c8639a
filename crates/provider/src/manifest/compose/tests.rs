//! What of Compose is taken over, and what is refused, where and with what to do.

use domain::infrastructure::Protocol;
use domain::{Bytes, Cores, Infrastructure};

use crate::manifest::{ManifestError, parse};

const SHOP: &str = r#"
name: shop
x-homeostat: { environment: staging }
volumes:
  data: { x-homeostat: { size: 64MiB } }
services:
  front:
    image: example.org:5000/shop/front:1.4.0
    entrypoint: [/usr/bin/front]
    command: --greeting 'good day' --price $$5
    environment: { COUNT: 3, DEBUG: true }
    ports: ["8080:80"]
    deploy:
      replicas: 2
      resources: { limits: { cpus: "0.5", memory: 64m } }
    depends_on: { database: { condition: service_healthy } }
    healthcheck:
      test: ["CMD-SHELL", "curl -f http://localhost:80/health || exit 1"]
      interval: 1s
      retries: 5
    stop_grace_period: 2s
    restart: always
    x-homeostat: { drain: { http: /drain }, protected: true }
  database:
    command: [/usr/bin/database, --port, "{port}"]
    environment: ["A=b=c"]
    expose: [5432]
    volumes: ["data:/var/lib/database"]
"#;

fn problems(text: &str) -> Vec<String> {
    match parse("compose.yaml", text) {
        Err(ManifestError::Wrong { problems }) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

fn shop() -> Infrastructure {
    parse("compose.yaml", SHOP).unwrap()
}

#[test]
fn what_compose_says_is_taken_over() {
    let shop = shop();
    assert_eq!((shop.name.as_str(), shop.environment), ("shop", domain::Environment::Staging));
    let front = &shop.services[&"front".parse().unwrap()];
    assert_eq!(front.command, ["/usr/bin/front", "--greeting", "good day", "--price", "$5"]);
    assert_eq!((front.version.as_deref(), front.replicas, front.publish), (Some("1.4.0"), 2, Some(8080)));
    assert_eq!(front.environment["COUNT"], "3");
    assert_eq!((front.limits.cpu, front.limits.memory), (Some(Cores(0.5)), Some(Bytes::mib(64))));
    assert_eq!(front.dependencies, ["database".parse().unwrap()]);
    assert_eq!(front.listens, Some(Protocol::Http), "its health check speaks HTTP");
    let readiness = front.readiness.as_ref().unwrap();
    assert_eq!((readiness.http.as_deref(), readiness.failures), (Some("/health"), 5));
    assert_eq!(front.stop_timeout, std::time::Duration::from_secs(2));
    assert!(front.protected && front.drain.is_some());
    let database = &shop.services[&"database".parse().unwrap()];
    assert_eq!((database.environment["A"].as_str(), database.listens), ("b=c", Some(Protocol::Tcp)));
    assert_eq!(database.volume.as_ref().unwrap().size, Bytes::mib(64));
}

#[test]
fn our_own_files_are_read_as_before() {
    let own = "name: a\nservices:\n  b:\n    command: [c]\n    replicas: 2\n    image: d\n";
    assert!(problems(own)[0].contains("services.b.image"), "an own key says what it is");
    let written = serde_json::to_string(&shop()).unwrap();
    assert_eq!(parse("shop.json", &written).unwrap(), shop());
}

/// Puts a line into the service `front`.
fn with(line: &str) -> Vec<String> {
    problems(&SHOP.replace("    restart: always\n", &format!("    {line}\n")))
}

#[test]
fn what_cannot_be_had_is_refused_at_its_place_with_what_to_do() {
    for (line, says) in [
        ("build: .", "build the program and name it in `command`"),
        ("networks: [back]", "depends_on"),
        ("privileged: true", "with its rights"),
        ("secrets: [key]", "let the command read the file"),
        ("env_file: .env", "write the variables under `environment`"),
        ("restart: on-failure", "write `always`"),
        ("something: else", "x-homeostat"),
        ("volumes: [\"./here:/there\"]", "named volume of a stated size"),
        ("cpus: lots", "number of cores"),
        ("scale: 3", "say it once"),
        ("tmpfs: /tmp", "remove it"),
    ] {
        let found = with(line);
        let key = line.split(':').next().unwrap();
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].starts_with("compose.yaml:22:") && found[0].contains(says), "{line}: {found:?}");
        assert!(found[0].contains(&format!("services.front.{key}")), "{line}: {found:?}");
    }
}

#[test]
fn every_problem_is_told_at_once() {
    let text = SHOP
        .replace("curl -f http://localhost:80/health", "pg_isready")
        .replace("\"8080:80\"", "\"80\"")
        .replace("COUNT: 3", "COUNT: \"${COUNT}\"")
        .replace("condition: service_healthy", "condition: service_completed_successfully")
        .replace("size: 64MiB", "driver: local");
    let found = problems(&text);
    for says in [
        "which is not run here",
        "names no port",
        "nobody fills in",
        "all services start at once",
        "needs a size",
    ] {
        assert!(found.iter().any(|problem| problem.contains(says)), "{says}: {found:#?}");
    }
}

#[test]
fn an_image_without_a_command_and_a_file_without_a_name_are_refused() {
    let found = problems("services:\n  web:\n    image: nginx\n");
    assert!(found[0].contains("services.web.command") && found[0].contains("no image is run"), "{found:?}");
    assert!(found[1].contains("name") && found[1].contains("name: shop"), "{found:?}");
}

#[test]
fn a_violation_has_the_place_of_the_key_of_compose() {
    let found = problems(&SHOP.replace("replicas: 2", "replicas: 1000"));
    assert_eq!(found, ["compose.yaml:14:17: services.front.deploy.replicas: is 1000, must be 1 to 100"]);
}

#[test]
fn a_callee_without_a_port_is_told_in_the_words_of_compose_where_it_is_named() {
    let mute = SHOP.replace("expose: [5432]", "x-a: b");
    let listed = mute.replace("{ database: { condition: service_healthy } }", "[front, database]");
    for (text, at) in [
        (&mute, "compose.yaml:16:19: services.front.depends_on.database: "),
        (&listed, "compose.yaml:16:25: services.front.depends_on[1]: "),
    ] {
        let found = problems(text);
        let of = found.iter().find(|problem| problem.contains("database")).unwrap();
        assert!(of.starts_with(at) && of.contains("give database `expose: [PORT]` or `ports`"), "{found:?}");
        assert!(found.iter().all(|problem| !problem.contains("listens:")), "{found:?}");
    }
    let own = "x-homeostat: { dependencies: [database] }";
    let found = problems(
        &mute
            .replace("depends_on: { database: { condition: service_healthy } }", "")
            .replace("x-homeostat: { drain: { http: /drain }, protected: true }", own),
    );
    assert!(found[0].contains(": services.front.x-homeostat.dependencies[0]: "), "{found:?}");
}
