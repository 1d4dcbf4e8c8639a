//! A certificate in a directory of the test's own, a gateway with it, and clients that trust it.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::Clock;
use domain::access::AnonymousReads;
use gateway::{ConnectionLimits, Listening, Tls, TlsFiles, self_signed};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::server::{Kept, Server, serve_on};
use crate::support::{MachineClock, scene};

pub(crate) const NAME: &str = "ops.example";

/// By when something must have happened.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Certificate {
    dir: tempfile::TempDir,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let certificate = Self { dir: tempfile::tempdir().unwrap() };
        certificate.renew();
        certificate
    }

    pub(crate) fn files(&self) -> TlsFiles {
        TlsFiles { certificate: self.path("cert.pem"), key: self.path("key.pem") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Another one in the same files.
    pub(crate) fn renew(&self) {
        let names = [NAME.to_owned(), "127.0.0.1".to_owned()];
        let made = self_signed(&names, MachineClock::start().now(), Duration::from_secs(3600)).unwrap();
        fs::write(self.files().certificate, made.certificate).unwrap();
        fs::write(self.files().key, made.key).unwrap();
    }

    pub(crate) fn open(&self) -> Tls {
        Tls::open(self.files(), Arc::new(MachineClock::start())).unwrap()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.files().certificate).unwrap()
    }

    pub(crate) fn client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// A connection whose handshake is done.
    pub(crate) fn connect(&self, to: SocketAddr) -> std::io::Result<Stream> {
        self.connect_with(to, &["http/1.1"])
    }

    pub(crate) fn connect_with(&self, to: SocketAddr, alpn: &[&str]) -> std::io::Result<Stream> {
        let name = ServerName::try_from(NAME).unwrap();
        let connection = ClientConnection::new(self.client(alpn), name).unwrap();
        let mut stream = StreamOwned::new(connection, plain(to));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }
}

pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

pub(crate) fn plain(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// On loopback, as one beyond it is served.
pub(crate) fn start(tls: Tls, limits: ConnectionLimits) -> Server {
    serve_on(listening("127.0.0.1:0", Some(tls), limits), scene::calm, Kept::default()).unwrap()
}

pub(crate) fn listening(address: &str, tls: Option<Tls>, limits: ConnectionLimits) -> Listening {
    Listening {
        listener: TcpListener::bind(address).unwrap(),
        local: Some(TcpListener::bind("127.0.0.1:0").unwrap()),
        tls,
        hosts: vec!["proxy.example".to_owned()],
        anonymous: AnonymousReads::Refused,
        limits,
    }
}

pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text + "\r\n" + body
}

/// Sends a request and reads the answer to the end of its body.
pub(crate) fn ask(stream: &mut (impl Read + Write), request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    answer(stream)
}

/// Reads one answer with a length, or what comes before the end.
pub(crate) fn answer(stream: &mut impl Read) -> String {
    let mut text = String::new();
    let mut byte = [0];
    let whole = |text: &str| {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        Some(body.len() >= length.parse::<usize>().ok()?)
    };
    while whole(&text) != Some(true) {
        match stream.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => text.push(char::from(byte[0])),
            Err(error) if ended(&error) => break,
            Err(error) => panic!("{error} after {text:?}"),
        }
    }
    text
}

/// Waits until the server closes, and gives what it said before.
pub(crate) fn until_closed(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if ended(&error) => {}
        Err(error) => panic!("the server does not close: {error}"),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn ended(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe)
}
