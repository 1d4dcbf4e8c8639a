//! What faults on an HTTP link do to its callers and to its measurements, and that they end.

use super::*;

#[tokio::test]
async fn latency_is_felt_measured_and_gone_at_once() {
    let server = Server::start(0).await;
    let mut link = Link::to(&[&server]).await;
    link.inject(latency(800, PathScope::All));
    let reply = link.get("/").await;
    assert!(reply.took >= Duration::from_millis(800) && reply.took < DEADLINE, "{reply:?}");
    let p50 = link.counts()[0].latency.quantile_ms(0.5).unwrap();
    assert!((730.0..30_000.0).contains(&p50), "measured {p50} ms");
    eventually("the path check is slow too", || {
        link.backend(0).path_check.is_some_and(|took| took >= Duration::from_millis(800))
    })
    .await;

    let delayed = tokio::spawn(call(link.proxy.address(), Method::GET, "/"));
    eventually("it is on its way", || lock(&link.proxy.core.link).balancer.slots()[0].load() == 1).await;
    link.heal();
    assert!(link.is_quick().await);
    assert_eq!(delayed.await.unwrap().status, 200, "what was delayed still comes");
}

#[tokio::test]
async fn a_partition_breaks_what_is_under_way_and_refuses_the_rest() {
    let server = Server::start(0).await;
    let mut link = Link::to(&[&server]).await;
    let under_way = tokio::spawn(call(link.proxy.address(), Method::GET, "/hang"));
    eventually("the request arrives", || server.requests() == 1).await;
    link.inject(partition(PathScope::All));
    let broken = under_way.await.unwrap();
    // Not 504, as it would be if it had hung until the time limit.
    assert_eq!(broken.status, 502, "{broken:?}");
    assert_eq!(link.get("/").await.status, 502);
    assert_eq!(link.totals(), [2, 2, 0, 2]);
    assert_eq!(server.requests(), 1);
    eventually("path checks fail", || {
        let backend = link.backend(0);
        backend.path_check.is_none() && backend.path_check_failures >= 2
    })
    .await;

    link.heal();
    assert_eq!(link.get("/").await.status, 200);
    eventually("path checks pass", || link.backend(0).path_check_failures == 0).await;
}

#[tokio::test]
async fn a_partition_breaks_a_request_that_is_being_delayed() {
    let server = Server::start(0).await;
    let mut link = Link::to(&[&server]).await;
    link.inject(latency(60_000, PathScope::All));
    let delayed = tokio::spawn(call(link.proxy.address(), Method::GET, "/"));
    let connected = || lock(&link.proxy.core.link).balancer.slots()[0].load() == 1;
    eventually("it is on its way", connected).await;
    // Its connection is opened before the delay.
    eventually("it is connected", || server.connections.load(Ordering::Relaxed) >= 1).await;
    link.inject(partition(PathScope::All));
    let reply = delayed.await.unwrap();
    assert!(reply.status == 502 && reply.took < DEADLINE, "{reply:?}");
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn requests_above_the_rate_get_429_and_do_not_reach_the_instance() {
    let server = Server::start(0).await;
    let mut config = config([server.backend.clone()]);
    config.check_path = None;
    let mut link = Link::start(config).await;
    link.inject(FaultKind::ApiThrottling { requests_per_second: 1, scope: PathScope::All });
    let mut throttled = 0;
    for _ in 0..40 {
        throttled += u64::from(link.get("/").await.status == 429);
    }
    assert!((10..40).contains(&throttled), "{throttled} of 40 quick requests");
    assert_eq!(link.totals(), [40, throttled, throttled, 0]);
    assert_eq!(u64::from(server.requests()), 40 - throttled);
    link.heal();
    assert_eq!(link.get("/").await.status, 200);
}

#[tokio::test]
async fn a_fault_at_one_instance_leaves_the_other_alone() {
    let (a, b) = (Server::start(0).await, Server::start(1).await);
    let mut link = Link::to(&[&a, &b]).await;
    link.inject(latency(800, PathScope::Backend(instance(0))));
    let mut replies = Vec::new();
    for _ in 0..4 {
        replies.push(link.get("/").await);
    }
    assert_eq!((a.requests(), b.requests()), (2, 2));
    let (slow, other): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.body == "cart-0");
    assert!(slow.iter().all(|reply| reply.took >= Duration::from_millis(800)), "{slow:?}");
    assert!(other.iter().any(|reply| reply.took < QUICK) || link.is_quick().await, "{other:?}");
    eventually("path checks tell them apart", || {
        let took = [0, 1].map(|ordinal| link.backend(ordinal).path_check);
        matches!(took, [Some(slow), Some(quick)] if slow >= Duration::from_millis(800) && quick < QUICK)
    })
    .await;
}

#[tokio::test]
async fn stale_connections_are_slow_until_they_are_reset() {
    let server = Server::start(0).await;
    let mut link = Link::to(&[&server]).await;
    link.get("/").await;
    link.clock.advance(Duration::from_secs(6));
    link.inject(latency(800, PathScope::EstablishedConnections));
    for _ in 0..2 {
        assert!(link.get("/").await.took >= Duration::from_millis(800));
    }
    eventually("a fresh connection is well", || link.backend(0).path_check.is_some_and(|took| took < QUICK))
        .await;
    assert_eq!(link.proxy.reset_connections(), 1);
    assert!(link.is_quick().await);

    let [old, new] = [true, false].map(|old| {
        let mut latency = crate::sample::Histogram::default();
        for counts in link.counts().iter().filter(|counts| counts.old_connection == old) {
            latency.add(&counts.latency);
        }
        // The quickest of each.
        latency.quantile_ms(0.0).unwrap()
    });
    assert!(old > 730.0 && new < 730.0, "old {old} ms, new {new} ms");
}

#[tokio::test]
async fn a_reset_lets_the_request_on_the_connection_finish_and_then_closes_it() {
    let server = Server::start(0).await;
    let link = Link::to(&[&server]).await;
    let under_way = tokio::spawn(call(link.proxy.address(), Method::GET, "/held"));
    eventually("the request arrives", || server.requests() == 1).await;
    assert_eq!(link.proxy.reset_connections(), 1);
    server.let_go();
    assert_eq!(under_way.await.unwrap().status, 200);
    assert_eq!(link.proxy.reset_connections(), 0, "nothing was kept");
}

#[tokio::test]
async fn an_instance_that_cannot_be_reached_is_ejected_and_returns_when_it_can() {
    let (a, b) = (Server::start(0).await, Server::start(1).await);
    let mut link = Link::to(&[&a, &b]).await;
    link.inject(partition(PathScope::Backend(instance(0))));
    for _ in 0..12 {
        assert_eq!(link.get("/").await.body, "cart-1");
    }
    assert_eq!([0, 1].map(|ordinal| link.backend(ordinal).ejected), [true, false]);
    assert_eq!(link.post("/").await.status, 200);

    link.heal();
    link.clock.advance(Duration::from_secs(1));
    eventually("it returns", || !link.backend(0).ejected).await;
    for _ in 0..4 {
        link.get("/").await;
    }
    assert!(a.requests() > 0);
}

#[tokio::test]
async fn ejection_never_empties_the_link() {
    let (a, b) = (Server::start(0).await, Server::start(1).await);
    let mut link = Link::to(&[&a, &b]).await;
    link.inject(partition(PathScope::All));
    for _ in 0..30 {
        assert_eq!(link.post("/").await.status, 502);
    }
    assert_eq!([0, 1].iter().filter(|ordinal| link.backend(**ordinal).ejected).count(), 1);
    link.heal();
    assert_eq!(link.get("/").await.status, 200);
}

#[tokio::test]
async fn an_instance_ejected_by_a_plan_gets_no_requests_but_is_still_checked() {
    let (a, b) = (Server::start(0).await, Server::start(1).await);
    let mut link = Link::to(&[&a, &b]).await;
    link.change(|config| config.backends[0].ejected = true);
    for _ in 0..6 {
        assert_eq!(link.get("/").await.body, "cart-1");
    }
    eventually("it is checked", || link.backend(0).path_check.is_some()).await;
    assert!(link.backend(0).ejected);
}
