//! The TLS handshake of a new connection, within its time.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The first byte of every TLS connection: a record of a handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;

/// What who speaks plain HTTP is told; it says nothing of the program behind.
const PLAIN: &str = "HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    connection: close\r\n\
    content-length: 41\r\n\r\n\
    this port speaks TLS: ask it by https://\n";

/// `None` where there is no TLS within the time; the connection is closed then.
pub(crate) async fn handshake(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    time: Duration,
) -> Option<TlsStream<TcpStream>> {
    tokio::time::timeout(time, attempt(acceptor, stream)).await.ok().flatten()
}

async fn attempt(acceptor: &TlsAcceptor, mut stream: TcpStream) -> Option<TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await.ok()? == 0 {
        return None;
    }
    match first {
        [HANDSHAKE] => acceptor.accept(stream).await.ok(),
        [first] => {
            if first.is_ascii_alphabetic() {
                // What was sent and is not read would make the kernel cut the answer short.
                let _ = stream.try_read(&mut [0; 16 << 10]);
                let _ = stream.write_all(PLAIN.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_answer_to_plain_http_is_as_long_as_it_says() {
        let (_, body) = super::PLAIN.split_once("\r\n\r\n").unwrap();
        assert!(super::PLAIN.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }
}
