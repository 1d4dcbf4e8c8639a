//! HTTP without faults: balancing, connections, the breaker, counting, stopping.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[tokio::test]
async fn requests_go_to_the_least_busy_instance() {
    let (a, b) = (Server::start(0).await, Server::start(1).await);
    let link = Link::to(&[&a, &b]).await;
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        calls.spawn(call(link.proxy.address(), Method::GET, "/held"));
    }
    eventually("all arrive", || a.requests() + b.requests() == 8).await;
    assert_eq!((a.requests(), b.requests()), (4, 4));
    a.let_go();
    b.let_go();
    while let Some(reply) = calls.join_next().await {
        assert_eq!(reply.unwrap().status, 200);
    }
}

#[tokio::test]
async fn one_connection_carries_requests_that_come_one_after_another() {
    let server = Server::start(0).await;
    let link = Link::to(&[&server]).await;
    let mut caller = Caller::connect(link.proxy.address()).await;
    for _ in 0..200 {
        assert_eq!(caller.get("/").await, "cart-0");
    }
    assert_eq!(server.requests(), 200);
    assert_eq!(link.proxy.reset_connections(), 1);
}

#[tokio::test]
async fn a_get_is_tried_elsewhere_when_no_connection_can_be_made() {
    let server = Server::start(0).await;
    let (nobody, _socket) = refusing(1);
    let link = Link::start(config([server.backend.clone(), nobody])).await;
    for _ in 0..4 {
        assert_eq!(link.get("/").await.body, "cart-0");
    }
    assert_eq!(link.totals(), [4, 0, 0, 0], "only how it ended counts");
    assert!(link.counts().iter().all(|counts| counts.backend == Some(instance(0))));
}

#[tokio::test]
async fn a_post_is_not_tried_elsewhere() {
    let server = Server::start(0).await;
    let (nobody, _socket) = refusing(1);
    let link = Link::start(config([server.backend.clone(), nobody])).await;
    let mut statuses = [link.post("/").await.status, link.post("/").await.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502]);
    assert_eq!(link.totals(), [2, 1, 0, 1]);
}

#[tokio::test]
async fn an_idle_connection_the_instance_closed_costs_no_request() {
    let server = Server::start(0).await;
    let link = Link::to(&[&server]).await;
    for _ in 0..5 {
        assert_eq!(link.post("/").await.status, 200);
        server.close_connections();
    }
    assert_eq!(link.totals(), [5, 0, 0, 0]);
}

#[tokio::test]
async fn large_bodies_pass_whole_both_ways() {
    let server = Server::start(0).await;
    let link = Link::to(&[&server]).await;
    let body: String = (0..400_000).map(|n| format!("{n},")).collect();
    let request = Request::post("/echo").header("host", "cart").body(Full::from(body.clone())).unwrap();
    let reply = send(link.proxy.address(), request).await;
    assert_eq!(reply.status, 200);
    assert!(reply.body == body, "{} of {} bytes came back", reply.body.len(), body.len());
}

#[tokio::test]
async fn hop_by_hop_headers_stay_here() {
    let server = Server::start(0).await;
    let link = Link::to(&[&server]).await;
    let request = Request::get("/headers")
        .header("host", "cart")
        .header("connection", "keep-alive, x-private")
        .header("keep-alive", "timeout=5")
        .header("x-private", "1")
        .header("x-public", "1")
        .header("te", "trailers")
        .body(Full::default())
        .unwrap();
    assert_eq!(send(link.proxy.address(), request).await.body, "host,x-public");
}

/// A length that says less than the coding must not cut the answer short (RFC 9112 §6.3).
#[tokio::test]
async fn an_answer_with_two_framings_reaches_the_caller_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let backend = Backend { instance: instance(0), address, ready: true, ejected: false };
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n";
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let link = Link::start(LinkConfig { check_path: None, ..config([backend]) }).await;
    assert_eq!(link.get("/").await.body, "whole");
}

#[tokio::test]
async fn a_request_in_absolute_form_reaches_the_instance_with_a_path() {
    let server = Server::start(0).await;
    let link = Link::to(&[&server]).await;
    for (target, status) in [("http://cart", 200), ("http://cart?q=1", 200), ("http://cart/fail", 500)] {
        let mut stream = TcpStream::connect(link.proxy.address()).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: cart\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {answer}");
    }
}

#[tokio::test]
async fn an_upgrade_nobody_asked_for_is_a_broken_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let backend = Backend { instance: instance(0), address, ready: true, ejected: false };
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n").await;
    });
    let link = Link::start(LinkConfig { check_path: None, ..config([backend]) }).await;
    assert_eq!(link.get("/").await.status, 502);
}

#[tokio::test]
async fn nobody_ready_is_said_and_counted_without_an_instance() {
    let server = Server::start(0).await;
    let link = Link::start(config([Backend { ready: false, ..server.backend.clone() }])).await;
    let reply = link.get("/").await;
    assert_eq!((reply.status, reply.breaker), (503, None));
    assert!(reply.body.contains("no instance is ready"), "{}", reply.body);
    let counts = link.counts();
    assert_eq!((counts[0].backend.clone(), counts[0].errors, counts[0].unanswered), (None, 1, 1));
}

#[tokio::test]
async fn errors_of_the_instance_are_counted_as_answers() {
    let server = Server::start(0).await;
    let link = Link::to(&[&server]).await;
    assert_eq!(link.get("/fail").await.status, 500);
    assert_eq!(link.totals(), [1, 1, 0, 0]);
}

#[tokio::test]
async fn a_hung_instance_is_given_up_after_the_time_limit() {
    let server = Server::start(0).await;
    let link = Link::to(&[&server]).await;
    let reply = link.get("/hang").await;
    assert_eq!(reply.status, 504);
    assert!(reply.took >= Duration::from_secs(5) && reply.took < DEADLINE, "{:?}", reply.took);
    assert_eq!(link.totals(), [1, 1, 0, 1]);
}

#[tokio::test]
async fn a_caller_that_gives_up_counts_and_one_that_just_leaves_does_not() {
    let server = Server::start(0).await;
    let link = Link::to(&[&server]).await;
    link.clock.stop();
    for (stays, expected) in [(Duration::from_millis(20), 0), (Duration::from_millis(700), 1)] {
        let address = link.proxy.address();
        let before = server.requests();
        let caller = tokio::spawn(async move { call(address, Method::GET, "/hang").await });
        eventually("the request arrives", || server.requests() > before).await;
        link.clock.advance(stays);
        caller.abort();
        let under_way = || lock(&link.proxy.core.link).balancer.slots()[0].load();
        eventually("the request ends", || under_way() == 0).await;
        assert_eq!(link.totals(), [expected, expected, 0, expected]);
    }
}

#[tokio::test]
async fn an_old_connection_is_told_from_a_new_one() {
    let server = Server::start(0).await;
    let link = Link::to(&[&server]).await;
    link.get("/").await;
    link.clock.advance(Duration::from_secs(6));
    link.get("/").await;
    link.clock.advance(Duration::from_secs(1));
    let seconds = link.proxy.sample().seconds;
    let counts = seconds.iter().flat_map(|second| &second.counts);
    let ages: Vec<_> = counts.map(|counts| (counts.old_connection, counts.requests)).collect();
    assert_eq!(ages, [(false, 1), (true, 1)]);
}

#[tokio::test]
async fn an_open_breaker_answers_at_once_and_says_so() {
    let server = Server::start(0).await;
    let mut link = Link::to(&[&server]).await;
    assert_eq!(link.proxy.sample().breaker, None);
    link.change(|config| config.held_open = true);
    let reply = link.get("/").await;
    assert_eq!((reply.status, reply.breaker.as_deref()), (503, Some("open")));
    assert_eq!((server.requests(), link.rejected(), link.totals()), (0, 1, [0; 4]));
    assert_eq!(link.proxy.sample().breaker, Some(BreakerState::Open));
}

#[tokio::test]
async fn a_released_breaker_tries_a_few_and_closes_after_five_successes() {
    let server = Server::start(0).await;
    let mut link = Link::to(&[&server]).await;
    link.change(|config| config.held_open = true);
    link.change(|config| config.held_open = false);
    let mut calls = JoinSet::new();
    for _ in 0..12 {
        calls.spawn(call(link.proxy.address(), Method::GET, "/held"));
    }
    eventually("few pass", || (server.requests(), link.rejected()) == (5, 7)).await;
    server.let_go();
    let mut statuses = Vec::new();
    while let Some(reply) = calls.join_next().await {
        statuses.push(reply.unwrap().status);
    }
    let passed = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!((passed, server.requests(), link.rejected()), (5, 5, 7));
    assert_eq!(link.proxy.sample().breaker, Some(BreakerState::Closed));
}

#[tokio::test]
async fn a_released_breaker_stays_half_open_while_requests_fail() {
    let server = Server::start(0).await;
    let mut link = Link::to(&[&server]).await;
    link.change(|config| config.held_open = true);
    link.change(|config| config.held_open = false);
    for path in ["/fail", "/", "/", "/", "/", "/fail"] {
        link.get(path).await;
        assert_eq!(link.proxy.sample().breaker, Some(BreakerState::HalfOpen));
    }
}

#[tokio::test]
async fn stopping_lets_requests_finish_and_takes_no_more() {
    let server = Server::start(0).await;
    let link = Link::to(&[&server]).await;
    let address = link.proxy.address();
    let under_way = tokio::spawn(call(address, Method::GET, "/held"));
    eventually("the request arrives", || server.requests() == 1).await;
    let refused = || std::net::TcpStream::connect(address).is_err();
    tokio::join!(link.proxy.shutdown(DEADLINE), async {
        eventually("nobody is let in any more", refused).await;
        server.let_go();
    });
    assert_eq!(under_way.await.unwrap().status, 200);
}

#[tokio::test]
async fn stopping_does_not_wait_for_callers_that_ask_nothing() {
    let server = Server::start(0).await;
    let link = Link::to(&[&server]).await;
    let mut caller = Caller::connect(link.proxy.address()).await;
    assert_eq!(caller.get("/").await, "cart-0");
    let began = Instant::now();
    link.proxy.shutdown(DEADLINE).await;
    assert!(began.elapsed() < DEADLINE / 2, "{:?}", began.elapsed());
    caller.driver.await.unwrap().unwrap();
}

#[tokio::test]
async fn stopping_waits_no_longer_than_the_grace() {
    let server = Server::start(0).await;
    let link = Link::to(&[&server]).await;
    let under_way = tokio::spawn(call(link.proxy.address(), Method::GET, "/hang"));
    eventually("the request arrives", || server.requests() == 1).await;
    link.proxy.shutdown(Duration::from_millis(100)).await;
    // With more patience it would have got the 504 of the time limit.
    assert!(under_way.await.is_err(), "its connection is gone");
}
