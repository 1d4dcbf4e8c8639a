//! OTLP over gRPC: hyper's HTTP/2 client on a runtime of its own, one call at a time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::{HeaderMap, Request, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime::Runtime;

use super::{ANSWER_TIME, Answer, Packing};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// How long a client waits that is told to come again, where no time is named.
const RETRY_TIME: Duration = Duration::from_millis(250);

/// A connection that is kept.
pub(crate) struct Connection {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
    uri: Uri,
    packing: Packing,
}

impl Connection {
    pub(super) fn open(to: SocketAddr, packing: Packing) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let uri = format!("http://{to}{EXPORT}").parse().map_err(io::Error::other)?;
        let sender = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = Builder::new(TokioExecutor::new())
                .max_send_buf_size(1 << 20)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(io::Error::other)?;
            tokio::spawn(connection);
            Ok::<_, io::Error>(sender)
        })?;
        Ok(Self { runtime, sender, uri, packing })
    }

    pub(super) fn send(&mut self, mut frame: Vec<u8>) -> (io::Result<Answer>, Vec<u8>) {
        frame[0] = u8::from(self.packing == Packing::Gzip);
        let frame = Bytes::from(frame);
        let mut request = Request::new(Full::new(frame.clone()));
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert("content-type", hyper::header::HeaderValue::from_static("application/grpc"));
        headers.insert("te", hyper::header::HeaderValue::from_static("trailers"));
        if self.packing == Packing::Gzip {
            headers.insert("grpc-encoding", hyper::header::HeaderValue::from_static("gzip"));
        }
        let sender = &mut self.sender;
        let answer = self.runtime.block_on(async {
            let exchange = async {
                sender.ready().await?;
                let response = sender.send_request(request).await?;
                let head = response.headers().clone();
                let body = response.into_body().collect().await?;
                let trailers = body.trailers().cloned();
                Ok::<_, hyper::Error>((head, trailers, body.to_bytes()))
            };
            match tokio::time::timeout(ANSWER_TIME, exchange).await {
                Ok(answered) => answered.map_err(io::Error::other),
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            }
        });
        let answer = answer.map(|(head, trailers, body)| read_answer(&head, trailers.as_ref(), &body));
        // The connection has let go of its part by now, so that nothing is copied.
        (answer, Vec::from(frame))
    }
}

fn read_answer(head: &HeaderMap, trailers: Option<&HeaderMap>, body: &[u8]) -> Answer {
    let text = |name| {
        let value = trailers.and_then(|trailers| trailers.get(name)).or_else(|| head.get(name));
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    match text("grpc-status") {
        "0" if body.get(super::PREFIX..).is_none_or(super::is_whole) => Answer::Acknowledged,
        "0" => Answer::Refused(format!("a part: {}", String::from_utf8_lossy(body))),
        // Resource exhausted without details would be refused again; ours carries them.
        "8" | "14" if !text("grpc-status-details-bin").is_empty() => Answer::Busy(RETRY_TIME),
        "14" => Answer::Busy(RETRY_TIME),
        code => Answer::Refused(format!("{code}: {}", text("grpc-message"))),
    }
}
