//! HTTP/1.1 on a blocking socket: head and body go out in one call. OTLP, and Prometheus' remote-write.

use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{ANSWER_TIME, Answer, Packing};

/// Longer answers than this are none of ours.
const ANSWER_BYTES: usize = 64 << 10;

/// A connection that is kept.
pub(crate) struct Connection {
    stream: TcpStream,
    /// The head without the length.
    head: String,
    answer: Vec<u8>,
}

impl Connection {
    /// To a receiver of OTLP.
    pub(super) fn open(to: SocketAddr, packing: Packing) -> io::Result<Self> {
        let encoding = match packing {
            Packing::Plain => "",
            Packing::Gzip => "content-encoding: gzip\r\n",
        };
        Self::posting(to, "/v1/traces", encoding)
    }

    /// To a receiver of remote-write 1 at this path.
    pub(crate) fn remote_write(to: SocketAddr, path: &str) -> io::Result<Self> {
        let headers = "content-encoding: snappy\r\nx-prometheus-remote-write-version: 0.1.0\r\n";
        Self::posting(to, path, headers)
    }

    fn posting(to: SocketAddr, path: &str, headers: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIME))?;
        stream.set_write_timeout(Some(ANSWER_TIME))?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {to}\r\ncontent-type: application/x-protobuf\r\n{headers}content-length: "
        );
        Ok(Self { stream, head, answer: Vec::new() })
    }

    pub(crate) fn send(&mut self, message: &[u8]) -> io::Result<Answer> {
        let head = format!("{}{}\r\n\r\n", self.head, message.len());
        let mut parts = &mut [IoSlice::new(head.as_bytes()), IoSlice::new(message)][..];
        while !parts.is_empty() {
            let sent = self.stream.write_vectored(parts)?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut parts, sent);
        }
        self.receive()
    }

    fn receive(&mut self) -> io::Result<Answer> {
        self.answer.clear();
        loop {
            let mut piece = [0; 4096];
            let read = self.stream.read(&mut piece)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.answer.extend_from_slice(&piece[..read]);
            if let Some((head, body_begin)) = head_of(&self.answer) {
                let length = header(head, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
                if self.answer.len() >= body_begin + length {
                    return Ok(read_answer(head, &self.answer[body_begin..]));
                }
            }
            if self.answer.len() > ANSWER_BYTES {
                return Err(io::Error::other("the answer is too long"));
            }
        }
    }
}

fn head_of(answer: &[u8]) -> Option<(&str, usize)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((std::str::from_utf8(&answer[..end]).ok()?, end + 4))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn read_answer(head: &str, body: &[u8]) -> Answer {
    let status = head.split(' ').nth(1).unwrap_or_default();
    match status {
        "200" if super::is_whole(body) => Answer::Acknowledged,
        "204" => Answer::Acknowledged,
        "200" => Answer::Refused(format!("a part: {}", String::from_utf8_lossy(body))),
        "429" | "502" | "503" | "504" => {
            let wait = header(head, "retry-after").and_then(|text| text.parse().ok()).unwrap_or(1);
            Answer::Busy(Duration::from_secs(wait))
        }
        _ => Answer::Refused(format!("{status}: {}", String::from_utf8_lossy(body))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let read = |text: &str| {
            let (head, body) = head_of(text.as_bytes()).unwrap();
            read_answer(head, &text.as_bytes()[body..])
        };
        assert_eq!(read("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), Answer::Acknowledged);
        assert_eq!(
            read("HTTP/1.1 429 Too Many\r\nRetry-After: 3\r\n\r\n"),
            Answer::Busy(Duration::from_secs(3))
        );
        assert_eq!(
            read("HTTP/1.1 200 OK\r\n\r\n\n\0"),
            Answer::Acknowledged,
            "the Collector's whole success"
        );
        assert_eq!(read("HTTP/1.1 204 No Content\r\n\r\n"), Answer::Acknowledged, "remote-write");
        assert!(
            matches!(read("HTTP/1.1 200 OK\r\n\r\nx"), Answer::Refused(_)),
            "a partial success is a loss"
        );
        assert!(matches!(read("HTTP/1.1 400 Bad\r\n\r\nx"), Answer::Refused(_)));
    }
}
