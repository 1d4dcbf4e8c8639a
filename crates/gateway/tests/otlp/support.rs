//! Receivers on free ports, before a store that does what it is told.

use std::collections::VecDeque;
use std::future::Future;
use std::io::Write;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gateway::otlp::{Admission, Limits, OtlpConfig, OtlpReceivers, Sink};
use telemetry::Refusal;

/// How long an effect may take before a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// What the store does with one request.
pub(crate) enum Act {
    Refuse(Refusal),
    /// Take it, but so many items of it.
    TakePart {
        rejected: u64,
        reason: &'static str,
    },
    /// Take it; the disk answers when the other end says so.
    Wait(tokio::sync::oneshot::Receiver<Result<(), Refusal>>),
}

/// Signal and bytes.
type Request = (&'static str, Vec<u8>);

#[derive(Clone, Default)]
pub(crate) struct Script {
    acts: Arc<Mutex<VecDeque<Act>>>,
    pub(crate) taken: Arc<Mutex<Vec<Request>>>,
}

impl Script {
    pub(crate) fn then(&self, act: Act) {
        self.acts.lock().unwrap().push_back(act);
    }

    pub(crate) fn last(&self) -> Request {
        self.taken.lock().unwrap().last().cloned().expect("something was taken")
    }

    fn admit(&self, signal: &'static str, request: &[u8]) -> Result<Admission<Durable>, Refusal> {
        let act = self.acts.lock().unwrap().pop_front();
        if let Some(Act::Refuse(refusal)) = act {
            return Err(refusal);
        }
        self.taken.lock().unwrap().push((signal, request.to_vec()));
        let (rejected, reason) = match &act {
            Some(Act::TakePart { rejected, reason }) => (*rejected, Some((*reason).to_owned())),
            _ => (0, None),
        };
        let durable: Durable = match act {
            Some(Act::Wait(gate)) => Box::pin(async { gate.await.unwrap_or(Err(Refusal::Closing)) }),
            _ => Box::pin(std::future::ready(Ok(()))),
        };
        Ok(Admission { accepted: 1, rejected, reason, durable })
    }
}

type Durable = Pin<Box<dyn Future<Output = Result<(), Refusal>>>>;

impl Sink for Script {
    type Durable = Durable;

    fn traces(&self, request: &[u8]) -> Result<Admission<Durable>, Refusal> {
        self.admit("traces", request)
    }

    fn logs(&self, request: &[u8]) -> Result<Admission<Durable>, Refusal> {
        self.admit("logs", request)
    }
}

pub(crate) fn start(limits: Limits) -> (OtlpReceivers, Script) {
    let script = Script::default();
    let config = OtlpConfig { grpc_port: 0, http_port: 0, receivers: 2, limits, ..OtlpConfig::default() };
    let receivers = OtlpReceivers::start(&config, || script.clone()).unwrap();
    (receivers, script)
}

pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn gzip(message: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(message).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(message: &[u8]) -> Vec<u8> {
    zstd::encode_all(message, 1).unwrap()
}

/// Bytes that do not compress well, so that a body has its length.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(length)
    .collect()
}

/// A request with two data points.
pub(crate) const METRICS: &[u8] = b"\x0a\x0a\x12\x08\x12\x06\x2a\x04\x0a\x00\x0a\x00";

/// `google.rpc.RetryInfo` with a wait of 250 ms, as it ends a status.
pub(crate) const RETRY_250_MS: &[u8] =
    b"type.googleapis.com/google.rpc.RetryInfo\x12\x07\x0a\x05\x10\x80\xe5\x9a\x77";
