//! The load generator and its request log.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use homeostat::demo_load::{RequestCounts, read_log};

use crate::http::read_message;
use crate::shop::Shop;
use crate::{terminate, until};

#[test]
fn the_load_goes_on_while_the_shop_is_away() {
    let mut shop = Shop::start();
    let log = shop.directory.path().join("requests.log");
    let mut load = Load::start(shop.front(), &log);
    let served = || counts(&log).requests - counts(&log).failed;
    until("requests are served", || served() >= 50);
    let failed = counts(&log).failed;
    shop.kill("front");
    until("requests fail while the front is away", || counts(&log).failed >= failed + 20);
    shop.restart("front");
    let before = served();
    until("requests are served again", || served() >= before + 50);
    load.terminate();
}

#[test]
fn every_request_sent_is_one_line_in_the_log_and_failed_if_its_answer_was() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let front = listener.local_addr().unwrap().port();
    let answered = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&answered);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let count = Arc::clone(&count);
            std::thread::spawn(move || answer_some_with_500(stream, &count));
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("requests.log");
    let mut load = Load::start(front, &log);
    until("three hundred requests are sent", || counts(&log).requests >= 300);
    load.terminate();

    let (all, sent) = (counts(&log), answered.load(Ordering::SeqCst));
    assert_eq!((all.requests, all.failed), (sent, sent / 5));
    assert!(all.p50 > Some(Duration::ZERO) && all.p50 <= all.p95, "{all:?}");
    let lines = std::fs::read_to_string(&log).unwrap();
    assert_eq!(lines.lines().count() as u64, sent);
    assert!(lines.lines().all(|line| line.split(',').count() == 6), "{lines}");
}

/// The load generator.
struct Load(Child);

impl Load {
    fn start(front: u16, log: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_homeostat"))
            .args(["demo-load", "--rate", "50", "--seed", "7", "--log"])
            .arg(log)
            .env("FRONT_ADDRESS", format!("127.0.0.1:{front}"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn terminate(&mut self) {
        assert_eq!(terminate(&mut self.0), Some(0));
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves one connection: each request counts, and every fifth is answered with 500.
fn answer_some_with_500(mut caller: TcpStream, count: &AtomicU64) -> Option<()> {
    while read_message(&mut caller).is_some() {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        let status = if number.is_multiple_of(5) { "500 Internal Server Error" } else { "200 OK" };
        let answer = format!("HTTP/1.1 {status}\r\nx-shop-order: o\r\ncontent-length: 0\r\n\r\n");
        caller.write_all(answer.as_bytes()).ok()?;
    }
    None
}

fn counts(log: &Path) -> RequestCounts {
    let at = |boot_us| domain::Time { boot_us, wall_us: 0 };
    read_log(log, at(0), at(u64::MAX)).unwrap()
}
