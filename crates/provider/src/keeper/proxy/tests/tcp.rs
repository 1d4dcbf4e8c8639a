//! TCP links: balancing, counting, and what faults do to bytes.

use std::cell::Cell;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// An instance that sends every byte back.
async fn echo(ordinal: u32) -> Backend {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
    Backend { instance: instance(ordinal), address, ready: true, ejected: false }
}

async fn link(backends: impl IntoIterator<Item = Backend>) -> Link {
    Link::start(LinkConfig { protocol: Protocol::Tcp, check_path: None, ..config(backends) }).await
}

impl Link {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.proxy.address()).await.unwrap()
    }
}

async fn ping(stream: &mut TcpStream) -> io::Result<Duration> {
    let began = Instant::now();
    stream.write_all(b"ping").await?;
    let mut back = [0; 4];
    stream.read_exact(&mut back).await?;
    assert_eq!(&back, b"ping");
    Ok(began.elapsed())
}

/// Whether a connection soon answers without delay. One answer alone may be late on a busy machine.
async fn is_quick(stream: &mut TcpStream) -> bool {
    let began = Instant::now();
    while began.elapsed() < DEADLINE {
        if ping(stream).await.unwrap() < QUICK {
            return true;
        }
    }
    false
}

/// How a connection that is closed for the caller reads.
async fn end_of(stream: &mut TcpStream) -> io::Result<usize> {
    tokio::time::timeout(DEADLINE, stream.read(&mut [0; 16])).await.expect("it ends")
}

#[tokio::test]
async fn connections_are_balanced_and_counted_once_at_their_first_answer() {
    let link = link([echo(0).await, echo(1).await]).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut stream = link.connect().await;
        ping(&mut stream).await.unwrap();
        ping(&mut stream).await.unwrap();
        open.push(stream);
    }
    let counts = link.counts();
    assert_eq!(link.totals(), [4, 0, 0, 0]);
    for ordinal in [0, 1] {
        let of = counts.iter().filter(|counts| counts.backend == Some(instance(ordinal)));
        assert_eq!(of.map(|counts| counts.requests).sum::<u64>(), 2);
    }
}

#[tokio::test]
async fn the_time_the_caller_takes_does_not_count_as_latency() {
    let link = link([echo(0).await]).await;
    let mut stream = link.connect().await;
    let connected = || {
        let open = Cell::new(0);
        // Counts the open connections, and cuts none of them.
        lock(&link.proxy.core.link).balancer.slots()[0].pool.cut(|_| {
            open.set(open.get() + 1);
            false
        });
        open.get() == 1
    };
    eventually("it is connected", connected).await;
    link.clock.advance(Duration::from_secs(60));
    ping(&mut stream).await.unwrap();
    assert!(link.counts()[0].latency.quantile_ms(1.0).unwrap() < 10_000.0);
}

#[tokio::test]
async fn a_connection_that_is_refused_is_made_elsewhere() {
    let (nobody, _socket) = refusing(1);
    let link = link([echo(0).await, nobody]).await;
    for _ in 0..4 {
        ping(&mut link.connect().await).await.unwrap();
    }
    assert_eq!(link.totals(), [4, 0, 0, 0]);
}

#[tokio::test]
async fn nobody_to_connect_to_is_unanswered() {
    let (nobody, _socket) = refusing(0);
    let link = link([nobody]).await;
    assert!(!matches!(end_of(&mut link.connect().await).await, Ok(1..)));
    eventually("it is counted", || link.totals() == [1, 1, 0, 1]).await;
}

#[tokio::test]
async fn bytes_arrive_late_and_in_order() {
    let mut link = link([echo(0).await]).await;
    let mut stream = link.connect().await;
    ping(&mut stream).await.unwrap();
    let (delay, jitter) = (Duration::from_millis(60), Duration::from_millis(50));
    link.inject(FaultKind::NetworkLatency { delay, jitter, scope: PathScope::All });
    let sent: Vec<u8> = (0..2_000_000u32).map(|n| (n % 251) as u8).collect();
    let (mut from, mut to) = stream.split();
    let mut back = vec![0; sent.len()];
    let began = Instant::now();
    let (written, read) = tokio::join!(to.write_all(&sent), from.read_exact(&mut back));
    written.unwrap();
    read.unwrap();
    assert!(back == sent, "the order was kept");
    let took = began.elapsed();
    assert!(took >= delay - jitter && took < DEADLINE, "{took:?}");
}

#[tokio::test]
async fn latency_is_on_connecting_and_on_every_answer() {
    let mut link = link([echo(0).await]).await;
    link.inject(latency(600, PathScope::All));
    let began = Instant::now();
    let mut stream = link.connect().await;
    ping(&mut stream).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(1200), "{:?}", began.elapsed());
    assert!(ping(&mut stream).await.unwrap() >= Duration::from_millis(600));
    link.heal();
    assert!(is_quick(&mut stream).await);
}

#[tokio::test]
async fn a_partition_resets_open_connections_and_new_ones() {
    let mut link = link([echo(0).await]).await;
    let mut stream = link.connect().await;
    ping(&mut stream).await.unwrap();
    link.inject(partition(PathScope::All));
    assert_eq!(end_of(&mut stream).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(end_of(&mut link.connect().await).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    eventually("both are counted, the first a second time", || link.totals() == [3, 2, 0, 2]).await;
    link.heal();
    ping(&mut link.connect().await).await.unwrap();
}

#[tokio::test]
async fn connections_above_the_rate_are_closed() {
    let mut link = link([echo(0).await]).await;
    link.inject(FaultKind::ApiThrottling { requests_per_second: 1, scope: PathScope::All });
    let mut closed = 0;
    for _ in 0..20 {
        closed += u64::from(ping(&mut link.connect().await).await.is_err());
    }
    assert!((5..20).contains(&closed), "{closed} of 20");
    assert_eq!(link.totals(), [20, closed, closed, 0]);
}

#[tokio::test]
async fn an_open_breaker_closes_connections_at_once() {
    let mut link = link([echo(0).await]).await;
    link.change(|config| config.held_open = true);
    assert_eq!(end_of(&mut link.connect().await).await.unwrap(), 0);
    eventually("it is counted", || link.rejected() == 1).await;
    assert_eq!(link.totals(), [0; 4]);
}

#[tokio::test]
async fn a_reset_ends_stale_connections_and_new_ones_are_well() {
    let mut link = link([echo(0).await]).await;
    let mut stream = link.connect().await;
    ping(&mut stream).await.unwrap();
    link.inject(latency(600, PathScope::EstablishedConnections));
    assert!(ping(&mut stream).await.unwrap() >= Duration::from_millis(600));
    assert_eq!(link.proxy.reset_connections(), 1);
    assert!(end_of(&mut stream).await.is_err());
    assert!(is_quick(&mut link.connect().await).await);
}

#[tokio::test]
async fn a_half_closed_connection_still_carries_the_answer() {
    let link = link([echo(0).await]).await;
    let mut stream = link.connect().await;
    stream.write_all(b"all of it").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut back = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut back)).await.unwrap().unwrap();
    assert_eq!(back, b"all of it");
    assert_eq!(link.totals(), [1, 0, 0, 0]);
}

#[tokio::test]
async fn path_checks_feel_the_faults() {
    let mut link = link([echo(0).await]).await;
    eventually("it passes", || link.backend(0).path_check.is_some()).await;
    link.inject(latency(300, PathScope::All));
    eventually("it is slow", || {
        link.backend(0).path_check.is_some_and(|took| took >= Duration::from_millis(300))
    })
    .await;
    link.inject(partition(PathScope::All));
    eventually("it fails", || link.backend(0).path_check_failures > 0).await;
}

#[tokio::test]
async fn an_instance_that_closes_without_an_answer_counts_as_unanswered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // Reads what was asked, so that closing sends FIN, then says nothing.
            tokio::spawn(async move { stream.read(&mut [0; 16]).await });
        }
    });
    let silent = Backend { instance: instance(0), address, ready: true, ejected: false };
    let link = link([silent]).await;
    let mut stream = link.connect().await;
    stream.write_all(b"hello?").await.unwrap();
    assert_eq!(end_of(&mut stream).await.unwrap(), 0);
    assert_eq!(link.totals(), [1, 1, 0, 1]);
}

#[tokio::test]
async fn a_connection_opened_and_closed_is_no_failure() {
    let link = link([echo(0).await]).await;
    drop(link.connect().await);
    eventually("it is counted", || link.totals() == [1, 0, 0, 0]).await;
}
