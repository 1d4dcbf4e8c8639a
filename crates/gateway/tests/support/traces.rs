//! Traces to look at, fed into a real store as OTLP.
//!
//! `shop` is an hour of checkouts, some slow, some failing, one of each odd kind; `fresh` is the last minute of two services that
//! sent nothing before; `large` is one trace of 50,000 spans; `release` is cart before and after a bad one.

use std::collections::BTreeMap;

use telemetry::{Telemetry, TraceId};

use super::otlp::{Message, int, request, text};

const MS: u64 = 1_000_000;

/// Fills a store; it is given the time, nanoseconds since 1970.
pub(crate) type Traces = fn(&Telemetry, u64);

/// The scenes by name.
pub(crate) const SCENES: [(&str, Traces); 5] =
    [("traces", shop), ("large", large), ("fresh", fresh), ("release", release), ("no-spans", |_, _| {})];

/// Spans under construction, by service.
pub(crate) struct Batch {
    spans: BTreeMap<&'static str, Vec<Message>>,
    next: u64,
}

/// What a span is made from.
pub(crate) struct Span<'a> {
    pub(crate) trace: u64,
    pub(crate) parent: u64,
    pub(crate) service: &'static str,
    pub(crate) name: &'a str,
    pub(crate) kind: u64,
    pub(crate) start: u64,
    pub(crate) nano: u64,
    pub(crate) failed: Option<&'a str>,
    pub(crate) more: Vec<Message>,
}

/// The id that trace number `trace` has.
pub(crate) fn trace_id(trace: u64) -> TraceId {
    TraceId((u128::from(trace.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64 | 0x51c6).to_be_bytes())
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self { spans: BTreeMap::new(), next: 0 }
    }

    /// Adds a span and answers its id.
    pub(crate) fn add(&mut self, span: Span<'_>) -> u64 {
        self.next += 1;
        let id = self.next.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1;
        let mut message = Message::default().bytes(1, trace_id(span.trace).0).bytes(2, id.to_be_bytes());
        if span.parent != 0 {
            message = message.bytes(4, span.parent.to_be_bytes());
        }
        message = message
            .bytes(5, span.name)
            .varint(6, span.kind)
            .fixed64(7, span.start)
            .fixed64(8, span.start + span.nano);
        for attribute in span.more {
            message = message.message(9, attribute);
        }
        if let Some(why) = span.failed {
            let event = Message::default()
                .fixed64(1, span.start + span.nano)
                .bytes(2, "exception")
                .message(3, text("exception.type", "Timeout"))
                .message(3, text("exception.message", why));
            message = message.message(11, event).message(15, Message::default().bytes(2, why).varint(3, 2));
        }
        self.spans.entry(span.service).or_default().push(message);
        id
    }

    /// Sends it all, and waits until the disk has it.
    pub(crate) fn send(self, telemetry: &Telemetry) {
        let intake = telemetry.intake();
        for (service, spans) in self.spans {
            for part in spans.chunks(2000) {
                let admission = intake.traces(&request(service, part.to_vec())).unwrap();
                admission.durable.wait().unwrap();
            }
        }
    }
}

/// The `n`th of a row of numbers that look random, below `limit`.
fn pick(n: u64, salt: u64, limit: u64) -> u64 {
    let mixed = (n ^ salt.wrapping_mul(0x9e37_79b9)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    ((mixed >> 32) ^ mixed).wrapping_mul(0x9e37_79b9_7f4a_7c15) % limit
}

/// An hour of a shop.
pub(crate) fn shop(telemetry: &Telemetry, now: u64) {
    let mut batch = Batch::new();
    let mut logs = Vec::new();
    for n in 0..400 {
        let start = now - 3_300_000 * MS + n * 8_200 * MS + pick(n, 1, 5000) * MS;
        checkout(&mut batch, &mut logs, n + 1, start);
    }
    odd(&mut batch, now);
    batch.send(telemetry);
    let admission = telemetry.intake().logs(&request("payments", logs)).unwrap();
    admission.durable.wait().unwrap();
}

fn checkout(batch: &mut Batch, logs: &mut Vec<Message>, n: u64, start: u64) {
    let region = if pick(n, 2, 5) == 0 { "west" } else { "east" };
    let slow = region == "west" && pick(n, 3, 10) < 7;
    let failed = (pick(n, 4, 14) == 0).then_some("the bank did not answer within 400 ms");
    let charge = MS
        * match (failed, slow) {
            (Some(_), _) => 400,
            (None, true) => 210 + pick(n, 5, 160),
            (None, false) => 18 + pick(n, 5, 30),
        };
    let rest = (14 + pick(n, 6, 20)) * MS;
    let common = |more: Vec<Message>| {
        let mut all = vec![text("cloud.region", region), int("shop.items", 1 + pick(n, 7, 4))];
        all.extend(more);
        all
    };
    let mut span = |parent, service, name, kind, start, nano, failed, more| {
        batch.add(Span { trace: n, parent, service, name, kind, start, nano, failed, more: common(more) })
    };
    let status = int("http.response.status_code", if failed.is_some() { 502 } else { 200 });
    let asked_for = vec![text("http.request.method", "POST"), status];
    let root = span(0, "front", "POST /checkout", 2, start, charge + rest, failed, asked_for);
    let asked =
        span(root, "front", "GET cart", 3, start + MS, 6 * MS, None, vec![text("server.address", "cart")]);
    let cart = span(asked, "cart", "GET /items", 2, start + 2 * MS, 4 * MS, None, vec![]);
    let query = vec![
        text("db.system", "postgresql"),
        text("db.query.text", "select item, amount from cart where user = $1"),
        text("peer.service", "database"),
    ];
    span(cart, "cart", "select cart", 3, start + 3 * MS, 2 * MS, None, query);
    let paid = span(root, "front", "POST payments", 3, start + 8 * MS, charge + 4 * MS, failed, vec![]);
    let bank = vec![text("payment.provider", "bank-a")];
    let payments = span(paid, "payments", "charge", 2, start + 9 * MS, charge + 2 * MS, failed, bank);
    let again = text("payment.retry", if failed.is_some() { "yes" } else { "no" });
    let bank = vec![text("peer.service", "bank"), again];
    span(payments, "payments", "POST bank", 3, start + 10 * MS, charge, failed, bank);
    let (end, kafka) = (start + charge + rest, || vec![text("messaging.system", "kafka")]);
    let told = span(root, "front", "send orders", 4, end - 4 * MS, MS, None, kafka());
    let stock = span(told, "catalogue", "reserve", 5, end - 3 * MS, 9 * MS, None, kafka());
    span(stock, "catalogue", "update stock", 1, end - 2 * MS, 5 * MS, None, vec![]);
    logs.push(log_record(n, payments, start + 10 * MS, 9, "charging 41.90 EUR"));
    if let Some(why) = failed {
        logs.push(log_record(n, payments, start + charge, 17, why));
    }
}

/// Traces of one span each, a nanosecond apart, with one log record each that says `words`.
pub(crate) fn logged(
    telemetry: &Telemetry,
    (service, words): (&'static str, &str),
    began: u64,
    traces: std::ops::Range<u64>,
) {
    let mut batch = Batch::new();
    let mut logs = Vec::new();
    for trace in traces {
        let (start, more) = (began + trace, Vec::new());
        let root =
            Span { trace, parent: 0, service, name: "pay", kind: 2, start, nano: MS, failed: None, more };
        let span = batch.add(root);
        logs.push(log_record(trace, span, start, 9, words));
    }
    batch.send(telemetry);
    telemetry.intake().logs(&request(service, logs)).unwrap().durable.wait().unwrap();
}

/// What was logged in a span of trace number `trace`.
fn log_record(trace: u64, span: u64, at: u64, severity: u64, words: &str) -> Message {
    Message::default()
        .fixed64(1, at)
        .varint(2, severity)
        .bytes(3, if severity >= 17 { "ERROR" } else { "INFO" })
        .message(5, Message::default().bytes(1, words))
        .message(6, int("attempt", 1))
        .bytes(9, trace_id(trace).0)
        .bytes(10, span.to_be_bytes())
}

/// Two services that began to send less than a minute ago: 100 calls in 50 s.
pub(crate) fn fresh(telemetry: &Telemetry, now: u64) {
    let mut batch = Batch::new();
    for n in 0..100 {
        let start = now - 51_000 * MS + n * 500 * MS;
        let nano = (2 + pick(n, 9, 40)) * MS;
        let mut span = |parent, service, name, kind| {
            batch.add(Span {
                trace: n + 1,
                parent,
                service,
                name,
                kind,
                start,
                nano,
                failed: None,
                more: vec![],
            })
        };
        let asked = span(0, "front", "GET cart", 3);
        span(asked, "cart", "GET /items", 2);
    }
    batch.send(telemetry);
}

/// Seconds since the release that made cart fail: before every repair of `scene::past` but one.
pub(crate) const RELEASED_S: u64 = 1300;

/// Two thirds of an hour of front, which calls cart, which calls database: since the release every third call of cart
/// fails, and the others are slow.
pub(crate) fn release(telemetry: &Telemetry, now: u64) {
    let mut batch = Batch::new();
    let calls = 2400 * 2;
    for n in 0..calls {
        let age = (calls - n) * 500 + pick(n, 11, 300);
        let start = now - age * MS;
        let bad = age < RELEASED_S * 1000;
        let failed = (bad && n % 3 == 0).then_some("no such column: amount");
        let own = if bad && failed.is_none() { 260 + pick(n, 12, 300) } else { 4 + pick(n, 12, 9) };
        let mut span = |parent, service, name, kind, start, nano, failed| {
            batch.add(Span { trace: n + 1, parent, service, name, kind, start, nano, failed, more: vec![] })
        };
        let root = span(0, "front", "GET /cart", 2, start, (own + 6) * MS, failed);
        let asked = span(root, "front", "GET cart", 3, start + MS, (own + 4) * MS, failed);
        let cart = span(asked, "cart", "GET /items", 2, start + 2 * MS, (own + 2) * MS, failed);
        let query = span(cart, "cart", "select cart", 3, start + 3 * MS, 2 * MS, None);
        span(query, "database", "select", 2, start + 3 * MS, MS, None);
    }
    batch.send(telemetry);
}

/// Number of the trace whose parents are missing.
pub(crate) const MISSING: u64 = 9001;
/// Number of the trace whose clocks differ.
pub(crate) const SKEWED: u64 = 9002;

fn odd(batch: &mut Batch, now: u64) {
    let start = now - 200_000 * MS;
    let mut span = |trace, parent, service, name, start, nano| {
        batch.add(Span { trace, parent, service, name, kind: 2, start, nano, failed: None, more: vec![] })
    };
    span(MISSING, 77, "orders", "place order", start, 90 * MS);
    let lost = span(MISSING, 78, "payments", "charge", start + 20 * MS, 50 * MS);
    span(MISSING, lost, "payments", "POST bank", start + 25 * MS, 40 * MS);
    let root = span(SKEWED, 0, "front", "GET /orders", start, 60 * MS);
    let other = span(SKEWED, root, "orders", "list", start - 35 * MS, 40 * MS);
    span(SKEWED, other, "orders", "select orders", start - 30 * MS, 30 * MS);
}

/// Number of the trace with 50,000 spans.
pub(crate) const LARGE: u64 = 5000;
/// Its spans.
pub(crate) const LARGE_SPANS: usize = 50_000;

/// One nightly run over 500 accounts, 50,000 spans.
pub(crate) fn large(telemetry: &Telemetry, now: u64) {
    let mut batch = Batch::new();
    let start = now - 600_000 * MS;
    let span = |parent, service, name, start, nano, failed, n: u64| Span {
        trace: LARGE,
        parent,
        service,
        name,
        kind: 1,
        start,
        nano,
        failed,
        more: vec![
            int("account.id", n),
            text("batch.name", "nightly settlement"),
            text("db.system", "postgresql"),
        ],
    };
    let root = batch.add(span(0, "settlement", "nightly run", start, 500 * 1000 * MS, None, 0));
    for account in 0..500 {
        let from = start + account * 1000 * MS;
        let one = batch.add(span(root, "settlement", "settle account", from, 990 * MS, None, account));
        for booking in 0..if account == 0 { 30 } else { 33 } {
            let at = from + booking * 20 * MS;
            let failed =
                (pick(account * 100 + booking, 8, 900) == 0).then_some("booking refused: limit reached");
            let booked = batch.add(span(
                one,
                "ledger",
                "book",
                at,
                (8 + pick(booking, account, 12)) * MS,
                failed,
                account,
            ));
            batch.add(span(booked, "ledger", "select balance", at + MS, 2 * MS, None, account));
            batch.add(span(booked, "database", "insert booking", at + 3 * MS, 4 * MS, failed, account));
        }
    }
    let missing = LARGE_SPANS as u64 - batch.next;
    for n in 0..missing {
        batch.add(span(root, "audit", "write", start + n * MS, MS / 2, None, n));
    }
    batch.send(telemetry);
}
