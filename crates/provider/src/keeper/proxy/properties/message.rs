//! A second reader of HTTP/1.1 (RFC 9112), with no tolerance at all.
//!
//! In: bytes that left the proxy. Out: one message and its length, or why it has no single meaning. It is
//! small on purpose and shares nothing with the one it checks.

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Response,
}

/// One message.
#[derive(Debug)]
pub(super) struct Message {
    start: String,
    body: Vec<u8>,
    /// Whether only the end of the connection ends it.
    pub(super) closes: bool,
}

/// The head of what came in, as an eager reader sees it.
pub(super) struct Framing {
    lengths: Vec<String>,
    codings: usize,
}

type Read<T> = Result<Option<T>, String>;

impl Message {
    /// The message at the start of `bytes` and its length; nothing where more is needed.
    pub(super) fn read(kind: Kind, bytes: &[u8]) -> Read<(Self, usize)> {
        let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
        let lines = lines(&bytes[..end])?;
        let (start, fields) = lines.split_first().ok_or("no line")?;
        check_start(kind, start)?;
        let (mut lengths, mut codings) = (Vec::new(), Vec::new());
        for line in fields {
            let (name, value) = field(line)?;
            match name.to_ascii_lowercase().as_str() {
                "content-length" => lengths.push(value.to_owned()),
                "transfer-encoding" => codings.push(value.to_ascii_lowercase()),
                _ => {}
            }
        }
        let mut message = Self { start: start.clone(), body: Vec::new(), closes: false };
        let rest = end + 4;
        let bodiless = kind == Kind::Response && matches!(message.status(), 100..=199 | 204 | 304);
        let body = match (lengths.as_slice(), codings.as_slice()) {
            _ if bodiless => Some((Vec::new(), 0)),
            ([], []) if kind == Kind::Request => Some((Vec::new(), 0)),
            ([], []) => {
                message.closes = true;
                Some((bytes[rest..].to_vec(), bytes.len() - rest))
            }
            ([length], []) => {
                let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
                let length = digits.then(|| length.parse::<usize>().ok()).flatten().ok_or("no length")?;
                bytes[rest..].get(..length).map(|body| (body.to_vec(), length))
            }
            ([], [coding]) if coding == "chunked" => chunks(&bytes[rest..])?,
            _ => return Err(format!("not one framing: lengths {lengths:?}, codings {codings:?}")),
        };
        Ok(body.map(|(body, length)| {
            message.body = body;
            (message, rest + length)
        }))
    }

    /// The method of a request.
    pub(super) fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// The status of a response.
    pub(super) fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The body, without its framing.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }
}

impl Framing {
    /// Of the first head of `bytes`, where it has one.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        // A line may end with LF alone (RFC 9112 §2.2), and so may the head.
        let begin = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
        let bytes = &bytes[begin..];
        let end = [find(bytes, b"\n\n"), find(bytes, b"\n\r\n")].into_iter().flatten().min()?;
        let mut found = Self { lengths: Vec::new(), codings: 0 };
        let text = String::from_utf8_lossy(&bytes[..end]);
        for line in text.split('\n') {
            let Some((name, value)) = line.split_once(':') else { continue };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => found.lengths.push(value.trim().to_owned()),
                "transfer-encoding" => found.codings += 1,
                _ => {}
            }
        }
        Some(found)
    }

    /// A length and a coding: one reader takes the one, another the other.
    pub(super) fn is_double(&self) -> bool {
        !self.lengths.is_empty() && self.codings > 0
    }

    /// Two lengths that differ.
    pub(super) fn conflicts(&self) -> bool {
        self.codings == 0 && self.lengths.windows(2).any(|pair| pair[0] != pair[1])
    }
}

/// The lines of a head; a CR or LF within one, or a line that goes on the one before, is refused.
fn lines(head: &[u8]) -> Result<Vec<String>, String> {
    let text: String = head.iter().map(|byte| char::from(*byte)).collect();
    let lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
    for line in &lines {
        if line.starts_with([' ', '\t']) {
            return Err(format!("a folded line: {line:?}"));
        }
        if line.chars().any(|c| c.is_ascii_control() && c != '\t') {
            return Err(format!("a control character: {line:?}"));
        }
    }
    Ok(lines)
}

fn check_start(kind: Kind, line: &str) -> Result<(), String> {
    let parts: Vec<&str> = line.splitn(3, ' ').collect();
    let good = match (kind, parts.as_slice()) {
        (Kind::Request, [method, target, "HTTP/1.1"]) => is_token(method) && !target.is_empty(),
        (Kind::Response, ["HTTP/1.1" | "HTTP/1.0", status, ..]) => {
            status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit())
        }
        _ => false,
    };
    if good { Ok(()) } else { Err(format!("a first line that is none: {line:?}")) }
}

fn field(line: &str) -> Result<(&str, &str), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("no field: {line:?}"))?;
    if !is_token(name) {
        return Err(format!("no name of a field: {line:?}"));
    }
    Ok((name, value.trim_matches([' ', '\t'])))
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// A chunked body and the length it had with its framing.
fn chunks(bytes: &[u8]) -> Read<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let line = String::from_utf8_lossy(&bytes[at..at + end]).into_owned();
        let digits = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = digits.then(|| usize::from_str_radix(&line, 16).ok()).flatten();
        let size = size.ok_or_else(|| format!("no size of a chunk: {line:?}"))?;
        at += end + 2;
        if size == 0 {
            return trailers(&bytes[at..]).map(|end| end.map(|end| (body, at + end)));
        }
        let Some(chunk) = bytes[at..].get(..size) else { return Ok(None) };
        body.extend_from_slice(chunk);
        at += size;
        match bytes[at..].get(..2) {
            None => return Ok(None),
            Some(b"\r\n") => at += 2,
            Some(_) => return Err("a chunk longer than it says".to_owned()),
        }
    }
}

/// How long the fields after the last chunk are, with the empty line.
fn trailers(bytes: &[u8]) -> Read<usize> {
    if bytes.starts_with(b"\r\n") {
        return Ok(Some(2));
    }
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    for line in lines(&bytes[..end])? {
        field(&line)?;
    }
    Ok(Some(end + 4))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|part| part == what)
}
