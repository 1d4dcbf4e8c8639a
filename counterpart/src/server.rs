//! A server behind TLS that answers as it is told and keeps what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::Issued;

/// How long a client may be silent.
const SILENCE: Duration = Duration::from_secs(10);

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The first line: method, path, version.
    pub line: String,
    /// Names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// What came behind them.
    pub body: Vec<u8>,
}

impl Request {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

/// An answer as it goes over the wire, with further headers, each with its line end.
pub fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}")
        .into_bytes()
}

/// A server on loopback. Dropping it stops it.
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers each request over TLS by what is made of it: bytes as they are.
    pub fn start(issued: &Issued, answers: impl Fn(&Request) -> Vec<u8> + Send + 'static) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(issued.pkcs8.clone()).expect("it is a key");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                let chain = vec![CertificateDer::from(issued.certificate.clone())];
                config.with_no_client_auth().with_single_cert(chain, key)
            });
        Self::run(Some(Arc::new(config.expect("certificate and key belong together"))), answers)
    }

    /// The same without TLS: where nothing should come.
    pub fn plain(answers: impl Fn(&Request) -> Vec<u8> + Send + 'static) -> Self {
        Self::run(None, answers)
    }

    fn run(tls: Option<Arc<ServerConfig>>, answers: impl Fn(&Request) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (requests, connections, over): (Arc<Mutex<Vec<Request>>>, Arc<AtomicUsize>, Arc<AtomicBool>) =
            Default::default();
        let (seen, came, ends) = (Arc::clone(&requests), Arc::clone(&connections), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                came.fetch_add(1, Ordering::AcqRel);
                // Who does not believe the certificate goes away in the middle of it.
                let _ = serve(stream, tls.as_ref(), &seen, &answers);
            }
        });
        Self { address, requests, connections, over, thread: Some(thread) }
    }

    /// `127.0.0.1` and its port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// An address on it, by the name `localhost`, with the scheme that it speaks, `https` or `http`.
    pub fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://localhost:{}{path}", self.address.port())
    }

    /// Requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connections so far, those that came to nothing among them.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // It looks whether all is over when somebody comes.
        if TcpStream::connect(self.address).is_ok()
            && let Some(thread) = self.thread.take()
        {
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
    }
}

fn serve(
    stream: TcpStream,
    tls: Option<&Arc<ServerConfig>>,
    seen: &Mutex<Vec<Request>>,
    answers: &impl Fn(&Request) -> Vec<u8>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    let Some(tls) = tls else { return exchange(stream, seen, answers) };
    let connection = ServerConnection::new(Arc::clone(tls)).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    exchange(&mut stream, seen, answers)?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// One request and its answer.
fn exchange<S: Read + Write>(
    stream: S,
    seen: &Mutex<Vec<Request>>,
    answers: &impl Fn(&Request) -> Vec<u8>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut request = Request { line: line.trim_end().to_owned(), headers: Vec::new(), body: Vec::new() };
    loop {
        let mut header = String::new();
        let read = reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(':').filter(|_| read > 0) else { break };
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    if request.line.is_empty() {
        return Ok(());
    }
    request.body = body(&mut reader, &request)?;
    let answer = answers(&request);
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    let stream = reader.get_mut();
    stream.write_all(&answer)?;
    stream.flush()
}

fn body(reader: &mut impl BufRead, request: &Request) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if let Some(length) = request.header("content-length").and_then(|length| length.parse().ok()) {
        reader.take(length).read_to_end(&mut body)?;
    } else if request.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = u64::from_str_radix(size.trim(), 16).map_err(std::io::Error::other)?;
            reader.take(size).read_to_end(&mut body)?;
            reader.read_line(&mut String::new())?;
            if size == 0 {
                break;
            }
        }
    }
    Ok(body)
}
