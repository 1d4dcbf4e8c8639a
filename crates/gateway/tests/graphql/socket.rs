//! `/graphql/ws`: who is let in, what is told, and how a socket ends.

use std::time::Duration;

use domain::{Clock, IdSource, Issue, IssueKind, Reason, Severity};
use serde_json::{Value, json};

use crate::support::graphql::{Heard, Socket, wait};
use crate::support::server::{Server, TOKEN, start, start_with_metrics};
use crate::support::{scene, series};

const EVENTS: &str = "subscription { anomalyAlerts { change issue { id severity remediations { id } } } }";

fn issue(server: &Server, seed: u64, severity: Severity, resource: &str) -> Issue {
    let now = server.fleet.clock.now();
    Issue {
        id: IdSource::seeded(seed).next(now),
        kind: IssueKind::PodCrash,
        reason: Reason::Exit,
        resource: resource.parse().unwrap(),
        severity,
        description: "it ended".to_owned(),
        detected_at: now,
        last_seen: now,
        closed_at: None,
        metrics: Default::default(),
        recurrences: 0,
    }
}

/// Waits until a subscription listens: what it would be told of before is not told.
async fn listens(socket: &mut Socket) {
    // Messages are taken in order, so whoever is answered has been subscribed.
    socket.say(json!({"type": "ping"})).await;
    assert_eq!(socket.hear().await, Heard::Said(json!({"type": "pong"})));
    socket.subscribe("probe", "subscription { infrastructureStatus(id: \"none\") { state } }").await;
    assert_eq!(socket.event("probe").await["infrastructureStatus"]["state"], "ABSENT");
    socket.say(json!({"type": "complete", "id": "probe"})).await;
}

#[test]
fn an_issue_is_told_when_it_opens_changes_and_closes() {
    let server = start(scene::busy);
    wait(async {
        let mut socket = Socket::begin(&server).await;
        socket.subscribe("all", EVENTS).await;
        listens(&mut socket).await;
        let mut issue = issue(&server, 1, Severity::Medium, "instance/cart-0");
        for (change, severity) in [("OPENED", Severity::Medium), ("CHANGED", Severity::High)] {
            issue.severity = severity;
            server.fleet.store.save_issue(&issue).unwrap();
            let event = &socket.event("all").await["anomalyAlerts"];
            assert_eq!(
                (&event["change"], &event["issue"]["id"]),
                (&json!(change), &json!(issue.id.to_string()))
            );
            // Seen again as it was: that is no news.
            server.fleet.store.save_issue(&issue).unwrap();
        }
        issue.closed_at = Some(server.fleet.clock.now());
        server.fleet.store.save_issue(&issue).unwrap();
        assert_eq!(socket.event("all").await["anomalyAlerts"]["change"], "CLOSED");
    });
}

#[test]
fn alerts_are_told_by_severity_and_service() {
    let server = start(scene::calm);
    wait(async {
        let mut socket = Socket::begin(&server).await;
        let asked = "subscription { anomalyAlerts(severity: HIGH, service: \"cart\") { issue { severity service } } }";
        socket.subscribe("some", asked).await;
        listens(&mut socket).await;
        for (seed, severity, resource) in [
            (1, Severity::Medium, "instance/cart-0"),
            (2, Severity::Critical, "instance/front-0"),
            (3, Severity::Critical, "instance/cart-1"),
        ] {
            server.fleet.store.save_issue(&issue(&server, seed, severity, resource)).unwrap();
        }
        let told = socket.event("some").await;
        assert_eq!(told["anomalyAlerts"]["issue"], json!({"severity": "CRITICAL", "service": "cart"}));
    });
}

#[test]
fn the_status_of_an_infrastructure_is_told_at_once_and_when_it_changes() {
    let server = start(scene::calm);
    let shop = |change: &dyn Fn(&mut domain::Snapshot)| {
        let mut seen = scene::snapshot(server.fleet.clock.now());
        seen.infrastructure = Some(domain::ServiceName::new("shop").unwrap());
        change(&mut seen);
        *server.fleet.snapshot.lock().unwrap() = Some(std::sync::Arc::new(seen));
    };
    shop(&|_| {});
    wait(async {
        let mut socket = Socket::begin(&server).await;
        let asked = "subscription { infrastructureStatus(id: \"shop\") { id state services servicesReady } }";
        socket.subscribe("shop", asked).await;
        let first = socket.event("shop").await;
        assert_eq!(first["infrastructureStatus"]["state"], "HEALTHY", "{first}");
        shop(&|seen| seen.services.values_mut().for_each(|state| state.replicas += 1));
        assert_eq!(socket.event("shop").await["infrastructureStatus"]["state"], "DEGRADED");
        shop(&|seen| seen.infrastructure = None);
        assert_eq!(socket.event("shop").await["infrastructureStatus"]["state"], "ABSENT");
    });
}

#[test]
fn a_stream_of_series_is_told_again_and_again() {
    let server = with_series();
    wait(async {
        let mut socket = Socket::begin(&server).await;
        let asked = "subscription { metricsStream(query: \"vector(1)\", interval: 1) { at series { points { text } } truncated } }";
        socket.subscribe("series", asked).await;
        let (first, second) = (socket.event("series").await, socket.event("series").await);
        assert_eq!(first["metricsStream"]["series"][0]["points"], json!([{"text": "1"}]));
        assert_ne!(first["metricsStream"]["at"], second["metricsStream"]["at"]);
        for (arguments, field) in [("query: \"sum(\"", "query"), ("query: \"1\", interval: 0", "interval")] {
            socket.say(json!({"type": "complete", "id": "series"})).await;
            socket
                .subscribe("wrong", &format!("subscription {{ metricsStream({arguments}) {{ at }} }}"))
                .await;
            let said = said_of(&mut socket, "wrong").await;
            let error = &said["payload"]["errors"][0];
            assert_eq!(
                (&error["extensions"]["code"], &error["extensions"]["field"]),
                (&json!("invalid_field"), &json!(field)),
                "{said}"
            );
            assert_eq!(said_of(&mut socket, "wrong").await["type"], "complete");
        }
    });
}

fn with_series() -> Server {
    let now = crate::support::MachineClock::start().now().wall_us / 1000;
    start_with_metrics(series::shop(now), Default::default())
}

/// The next message about one operation.
async fn said_of(socket: &mut Socket, id: &str) -> Value {
    loop {
        match socket.hear().await {
            Heard::Said(said) if said["id"] == id => return said,
            Heard::Said(_) => {}
            other => panic!("{other:?} instead of a message about {id}"),
        }
    }
}

#[test]
fn queries_and_mutations_are_answered_too() {
    let server = start(scene::busy);
    wait(async {
        let mut socket = Socket::begin(&server).await;
        socket.subscribe("read", "{ healthScore { overall } }").await;
        assert_eq!(socket.event("read").await["healthScore"]["overall"], 84);
        assert_eq!(socket.hear().await, Heard::Said(json!({"type": "complete", "id": "read"})));
        socket.subscribe("write", "mutation { setAutomation(enabled: false) }").await;
        assert_eq!(socket.event("write").await, json!({"setAutomation": false}));
        assert!(!server.fleet.store.switches().unwrap().automation);
        socket.subscribe("wrong", "{ nothing }").await;
        assert_eq!(said_of(&mut socket, "wrong").await["payload"][0]["extensions"]["code"], "invalid_query");
    });
}

#[test]
fn who_proves_nothing_reads_and_changes_nothing() {
    let server = start(scene::busy);
    wait(async {
        let mut socket = Socket::open(&server).await;
        socket.say(json!({"type": "connection_init"})).await;
        assert_eq!(socket.hear().await, Heard::Said(json!({"type": "connection_ack"})));
        socket.subscribe("write", "mutation { setAutomation(enabled: false) }").await;
        let said = said_of(&mut socket, "write").await;
        assert_eq!(said["payload"]["errors"][0]["extensions"]["code"], "token_missing", "{said}");
        assert!(server.fleet.store.switches().unwrap().automation);
    });
}

#[test]
fn a_web_page_of_another_server_gets_no_socket() {
    let server = start(scene::calm);
    let (cookie, origin) = (server.cookie(), server.origin());
    wait(async {
        for headers in [
            vec![("origin", "http://evil.example")],
            vec![("origin", "http://localhost:1"), ("cookie", &cookie)],
            // By cookie, without saying whose page it is.
            vec![("cookie", &cookie)],
        ] {
            let error = Socket::try_open(&server, &headers).await.map(|_| ()).unwrap_err();
            assert!(error.to_string().contains("403"), "{headers:?}: {error}");
        }
        let ours = [("origin", origin.as_str()), ("cookie", &cookie)];
        let mut socket = Socket::try_open(&server, &ours).await.unwrap();
        socket.say(json!({"type": "connection_init"})).await;
        assert_eq!(socket.hear().await, Heard::Said(json!({"type": "connection_ack"})));
        socket.subscribe("write", "mutation { setAutomation(enabled: false) }").await;
        assert_eq!(socket.event("write").await, json!({"setAutomation": false}));
    });
}

#[test]
fn what_breaks_the_protocol_closes_the_socket_with_its_code() {
    let server = start(scene::calm);
    let token = json!({"type": "connection_init", "payload": {"Authorization": format!("Bearer {TOKEN}")}});
    let subscribe = json!({"type": "subscribe", "id": "a", "payload": {"query": "subscription { anomalyAlerts { id } }"}});
    let guessed =
        json!({"type": "connection_init", "payload": {"Authorization": "Bearer guessed-guessed-guessed"}});
    for (code, messages) in [
        (4400, vec![json!({"type": "nonsense"})]),
        (4401, vec![subscribe.clone()]),
        (4403, vec![guessed]),
        (4429, vec![token.clone(), token.clone()]),
        (4409, vec![token.clone(), subscribe.clone(), subscribe.clone()]),
    ] {
        wait(async {
            let mut socket = Socket::open(&server).await;
            for message in messages {
                socket.say(message).await;
            }
            loop {
                match socket.hear().await {
                    Heard::Said(_) => {}
                    ended => break assert_eq!(ended, Heard::Closed(code)),
                }
            }
        });
    }
    wait(async {
        let mut silent = Socket::open(&server).await;
        assert_eq!(silent.hear().await, Heard::Closed(4408));
    });
}

#[test]
fn a_socket_has_so_many_operations_at_a_time_and_no_more() {
    let server = start(scene::calm);
    wait(async {
        let mut socket = Socket::begin(&server).await;
        for number in 0..33 {
            socket.subscribe(&format!("s{number}"), EVENTS).await;
        }
        let Heard::Said(said) = socket.hear().await else { panic!("the socket ended") };
        assert_eq!((&said["type"], &said["id"]), (&json!("error"), &json!("s32")), "{said}");
        assert_eq!(said["payload"][0]["extensions"]["code"], "too_many_requests");
        socket.say(json!({"type": "complete", "id": "s0"})).await;
        listens(&mut socket).await;
    });
}

#[test]
fn a_client_that_does_not_read_is_let_go_and_others_go_on() {
    let server = start(scene::calm);
    wait(async {
        let (mut slow, mut quick) = (Socket::begin(&server).await, Socket::begin(&server).await);
        let asked = "subscription { anomalyAlerts { id issue { description } } }";
        for socket in [&mut slow, &mut quick] {
            socket.subscribe("all", asked).await;
            listens(socket).await;
        }
        // More than the buffers of a connection hold on any kernel.
        for seed in 0..60 {
            let mut issue = issue(&server, seed, Severity::High, "instance/cart-0");
            issue.description = "x".repeat(1 << 20);
            server.fleet.store.save_issue(&issue).unwrap();
            quick.event("all").await;
        }
        // The server gives up within what all of this may take; what it had sent before is still there to be read.
        while !server.get("/metrics").body.contains("\ngateway_graphql_sockets 1\n") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        listens(&mut quick).await;
        while let Heard::Said(_) = slow.hear().await {}
    });
}

#[test]
fn sockets_end_with_the_server() {
    let server = start(scene::calm);
    wait(async {
        let mut socket = Socket::begin(&server).await;
        socket.subscribe("all", EVENTS).await;
        listens(&mut socket).await;
        let stopping = std::thread::spawn(move || server.gateway.shutdown());
        assert_eq!(socket.hear().await, Heard::Closed(1001));
        stopping.join().unwrap();
    });
}
