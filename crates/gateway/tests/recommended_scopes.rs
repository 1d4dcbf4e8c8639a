//! The tokens that the guide recommends for programs, each tried with what its program asks for.
//!
//! What is watched is asked for as the command line does it: a change, then what became of it.

mod support;

use domain::AnonymousReads;
use gateway::access::AccessConfig;
use serde_json::{Value, json};
use support::scene;
use support::server::{HEALING, Kept, Reply, Server, serve_with};

const GUIDE: &str = include_str!("../../../docs/guides/secure-it.md");

const EXPERIMENT: &str = "/api/v3/chaos/experiment";

/// The rows of the table: program, role, and scope.
fn recommended() -> Vec<(String, String, Vec<String>)> {
    let rows = GUIDE.lines().skip_while(|line| *line != "| program | role | scope |").skip(2);
    let cells =
        |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    rows.take_while(|line| line.starts_with('|'))
        .map(|row| {
            let [program, role, scope] = cells(row).try_into().unwrap();
            let scope = scope.split(',').map(|one| one.trim().trim_matches('`').to_owned()).collect();
            (program, role, scope)
        })
        .collect()
}

struct Program<'a> {
    server: &'a Server,
    name: String,
    bearer: String,
}

impl Program<'_> {
    fn ask(&self, method: &str, path: &str, body: &Value) -> Reply {
        let host = self.server.host();
        let headers = [
            ("host", host.as_str()),
            ("content-type", "application/json"),
            ("authorization", self.bearer.as_str()),
        ];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply = self.server.raw(method, path, &headers, &body);
        assert!(!matches!(reply.status, 401 | 403), "{}: {method} {path}: {}", self.name, reply.body);
        reply
    }

    fn reads(&self, path: &str) -> Reply {
        self.ask("GET", path, &Value::Null)
    }

    /// Begins something, and looks at what became of it: that it may is what counts, the fleet here keeps no plans.
    fn watches(&self, begin: &str, body: &Value, watched: &str) -> String {
        let begun = self.ask("POST", begin, body);
        assert!((200..300).contains(&begun.status), "{}: {}", self.name, begun.body);
        let path = format!("{watched}/{}", begun.json()["id"].as_str().unwrap());
        self.reads(&path);
        path
    }

    fn works(&self) {
        let plans = format!("{HEALING}/remediations");
        match self.name.as_str() {
            "Prometheus" => assert_eq!(self.reads("/metrics").status, 200),
            "Grafana" => {
                for path in
                    ["/api/v1/query?query=up", "/api/v1/labels", "/api/services", "/api/traces?service=cart"]
                {
                    self.reads(path);
                }
            }
            // Receivers that ask for a token ask for the same.
            "a collector of spans" => {
                drop(self.ask("POST", "/api/v3/observability/events", &json!({"title": "a release"})));
            }
            "a pipeline that deploys" => {
                self.watches(&format!("{HEALING}/deploy/cart"), &json!({"version": "3"}), &plans);
            }
            "a pipeline that scales" => {
                let up = self.reads("/api/v3/infrastructures").json();
                let scale = format!("/api/v3/infrastructures/{}/scale", up[0]["name"].as_str().unwrap());
                self.watches(&scale, &json!({"service": "cart", "replicas": 3}), &plans);
            }
            "a job that runs experiments" => {
                let fault = json!({
                    "name": "hang", "type": "pause", "target": {"resource": "instance/cart-0"}, "duration_seconds": 20
                });
                let experiment = self.watches(EXPERIMENT, &fault, EXPERIMENT);
                self.ask("DELETE", &experiment, &Value::Null);
            }
            other => panic!("what {other} asks for is tried nowhere"),
        }
    }
}

#[test]
fn each_token_of_the_guide_is_enough_for_its_program() {
    let access = AccessConfig { anonymous_reads: AnonymousReads::Refused, ..AccessConfig::default() };
    let server = serve_with(scene::calm, Kept { access, ..Kept::default() });
    *server.fleet.infrastructure.lock().unwrap() = Some(
        provider::manifest::parse("shop", "name: shop\nservices: { cart: { command: [cart] } }\n").unwrap(),
    );
    let recommended = recommended();
    assert!(recommended.len() >= 5, "{recommended:?}");
    for (name, role, scope) in recommended {
        let made =
            server.post("/api/v3/access/tokens", json!({"name": name, "roles": [role], "scope": scope}));
        assert_eq!(made.status, 201, "{name}: {}", made.body);
        let bearer = format!("Bearer {}", made.json()["token"].as_str().unwrap());
        Program { server: &server, name, bearer }.works();
    }
}
