//! Telemetry sent to the binary: what is acknowledged is there, after kills and on a disk that was full.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::Test;
use crate::fleet::{BINARY, Fleet, until};
use crate::port::free_port;
use crate::processes::{self, Part};
use crate::wrong_input::SMALL;

pub(crate) const TESTS: &[Test] = &[
    ("spans_sent_over_each_protocol_are_all_found_again", ingest),
    ("no_acknowledged_span_is_lost_when_the_server_is_killed", kills),
    ("a_full_disk_is_refused_and_taken_again_when_there_is_space", full_disk),
    ("a_control_plane_takes_spans_and_counts_what_it_refuses", control_plane),
    ("an_archived_trace_survives_a_kill_retention_and_a_backup", archived),
    ("services_that_are_brought_up_send_their_spans_to_who_looks_after_them", brought_up),
];

const SHOP: &str = include_str!("../../../../drills/shop.yaml");

fn brought_up() {
    let fleet = Fleet::up("", SHOP);
    let traced = || {
        let answer = fleet.get("/api/services")?;
        let names = answer["data"].as_array().ok_or_else(|| answer.to_string())?;
        let all = ["front", "cart", "database"].iter().all(|name| names.iter().any(|it| it == name));
        if all { Ok(()) } else { Err(answer.to_string()) }
    };
    until("their spans are there", traced);
    // Declared again while it runs, nothing changes and nobody is restarted.
    let before = fleet.pid("cart-0");
    let file = fleet.dir.parent().unwrap().join("fleet.yaml");
    fleet.run(&["up", file.to_str().unwrap()]).done();
    assert_eq!(fleet.pid("cart-0"), before);
}

fn archived() {
    const ID: &str = "5b8efff798038103d269b633813fc60c";
    let mut fleet = Fleet::up("", SMALL);
    let span = json!({"traceId": ID, "spanId": "eee19b7ec3c1b174", "name": "buy",
                      "startTimeUnixNano": "1000000000", "endTimeUnixNano": "2000000000"});
    let trace = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]});
    fleet.post("/api/v3/observability/trace", &trace).unwrap();
    let told = fleet.run(&["archive", "add", ID, "--json"]).json();
    assert_eq!((&told["keeping"], &told["spans"]), (&json!("asked"), &json!(1)));
    processes::kill(fleet.the(&Part::ControlPlane));
    // What retention leaves in the end.
    for tier in ["hot", "cold"] {
        std::fs::remove_dir_all(fleet.dir.join("telemetry").join(tier)).unwrap();
    }
    fleet.serve();
    let backup = fleet.dir.parent().unwrap().join("backup.tar.zst");
    fleet.run(&["backup", backup.to_str().unwrap()]).done();
    let mut elsewhere = Fleet::new("");
    elsewhere.run(&["restore", backup.to_str().unwrap()]).done();
    elsewhere.serve();
    for fleet in [&fleet, &elsewhere] {
        assert_eq!(fleet.run(&["archive", "list", "--json"]).json(), json!([told]));
        let found = fleet.get(&format!("/api/traces/{ID}")).unwrap();
        assert_eq!(found["data"][0]["spans"][0]["operationName"], "buy", "{found}");
    }
    fleet.run(&["archive", "remove", ID]).done();
    assert_eq!(fleet.run(&["archive", "list", "--json"]).json(), json!([]));
    let refused = fleet.run(&["archive", "add", ID]);
    assert!(refused.code != Some(0) && refused.err.contains("there is no trace"), "{refused:#?}");
}

fn ingest() {
    let fleet = Fleet::new("");
    for words in [&["--protocol", "http"][..], &["--protocol", "grpc"], &["--protocol", "grpc", "--gzip"]] {
        let ran = fleet.run(&[&["bench", "ingest", "--seconds", "1", "--json", "-"], words].concat());
        let figures = ran.done().json();
        assert_eq!(figures["lost"], 0, "{figures}");
        assert!(figures["spans"].as_u64().unwrap() > 0, "{figures}");
    }
}

fn kills() {
    let fleet = Fleet::new("");
    let ran = fleet.run(&["bench", "kill", "--count", "6", "--seed", "7"]).done();
    let summary: Value = serde_json::from_str(ran.out.lines().last().unwrap()).unwrap();
    assert_eq!((&summary["kills"], &summary["lost"]), (&6.into(), &0.into()), "{}", ran.out);
    assert!(summary["acknowledged"].as_u64().unwrap() > 0, "{}", ran.out);
}

fn full_disk() {
    let fleet = Fleet::new("");
    std::fs::create_dir_all(&fleet.dir).unwrap();
    for protocol in ["http", "grpc"] {
        let script = r#"mount -t tmpfs -o mode=0700,size=32m tmpfs "$1" || exit 77
            exec "$2" bench full-disk --store "$1" --protocol "$3""#;
        let output = Command::new("unshare")
            .args(["-Urm", "sh", "-c", script, "sh"])
            .args([&fleet.dir, Path::new(BINARY), Path::new(protocol)])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(77) || said.starts_with("unshare:") {
            println!("skipped: no user namespace");
            return;
        }
        assert!(output.status.success(), "{said}");
        let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(outcome["lost"], 0, "{outcome}");
        for field in ["acknowledged_before", "acknowledged_after", "refused"] {
            assert!(outcome[field].as_u64().unwrap() > 0, "{field}: {outcome}");
        }
    }
}

fn control_plane() {
    let (http, grpc) = (free_port(), free_port());
    let fleet = Fleet::up(&format!("[otlp]\nhttp_port = {http}\ngrpc_port = {grpc}\n"), SMALL);
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let send = |body: &str| {
        let request = agent.post(format!("http://127.0.0.1:{http}/v1/traces"));
        request.header("content-type", "application/json").send(body).unwrap().status().as_u16()
    };
    let span = r#"{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"a"}"#;
    assert_eq!(send(&format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#)), 200);
    assert_eq!(send("no JSON"), 400);
    let address = std::fs::read_to_string(fleet.dir.join("address")).unwrap();
    until("the counts", || {
        let mut answer = agent.get(format!("{address}/metrics")).call().map_err(|error| error.to_string())?;
        let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
        let lines = [
            "otlp_items_accepted_total{protocol=\"http\",signal=\"traces\"} 1",
            "otlp_requests_refused_total{protocol=\"http\",reason=\"malformed\"} 1",
        ];
        if lines.iter().all(|line| text.contains(line)) { Ok(()) } else { Err(text) }
    });
}
