//! A bucket, asked one thing at a time.
//!
//! In: names below the configured prefix. Out: objects, ranges, lists. A body is signed by its hash, so that what arrives
//! there is what was sent; a range is asked of the object as it was put there, so that what was put in its place is
//! never taken for it.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use outbound::Trust;
use sha2::{Digest, Sha256};
use ureq::http::{Method, Request, Response};
use ureq::tls::TlsConfig;
use ureq::{Agent, AsSendBody, Body};

use super::cache::Cache;
use super::config::{ObjectStorage, ObjectStorageError, is_region};
use super::credentials::Source;
use super::listing;
use super::sign::{self, authorization, hash, hexadecimal, percent};
use super::{BucketError, Object, ObjectCounters};
use crate::derive::now_unix_nano;

/// A header of an index: when its unit was written, nanoseconds since 1970.
pub(crate) const WRITTEN: &str = "x-amz-meta-written";

/// A connection is there within this, or the storage is away.
const CONNECT_TIME: Duration = Duration::from_secs(3);

/// An answer without a large body is there within this.
const ANSWER_TIME: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 20 });

/// What is sent or fetched as a whole may take longer by its size: as if a second took so many bytes.
const SLOWEST_BYTES: u64 = 128 << 10;

/// How long it is waited before the same is asked again, where storage says that it is busy.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// Most bytes of one object: what storage takes in a single request.
const OBJECT_BYTES_MAX: u64 = 5 << 30;

/// Most bytes of an index, a list or a refusal.
const WHOLE_BYTES_MAX: u64 = 1 << 30;

/// A bucket, and the prefix that is ours.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// `s3://bucket/prefix`, as it is shown.
    url: String,
    /// Scheme and authority of all requests.
    base: String,
    host: String,
    /// What stands before a key in a path.
    path: String,
    prefix: String,
    region: String,
    source: Source,
    agent: Agent,
    cache: Cache,
    counters: ObjectCounters,
}

/// An object as a whole.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) content: Vec<u8>,
    /// The header [`WRITTEN`], where it has one.
    pub(crate) written: Option<String>,
}

/// What is asked.
struct Ask<'a> {
    method: Method,
    /// Below the prefix; `None` for the bucket itself.
    name: Option<&'a str>,
    query: &'a str,
    headers: Vec<(&'static str, String)>,
    /// SHA-256 of the body.
    body: String,
    time: Duration,
}

impl<'a> Ask<'a> {
    fn new(method: Method, name: &'a str) -> Self {
        let (query, headers, body) = ("", Vec::new(), hash(b""));
        Self { method, name: Some(name), query, headers, body, time: ANSWER_TIME }
    }
}

impl Bucket {
    /// The bucket as configured; it is not asked anything yet. `variable` reads the environment.
    pub(crate) fn new(
        storage: &ObjectStorage,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ObjectStorageError> {
        storage.check()?;
        let source = Source::find(storage, &variable)?;
        let said = |name: &str| variable(name).filter(|value| !value.is_empty());
        let region =
            storage.region.clone().or_else(|| said("AWS_REGION")).or_else(|| said("AWS_DEFAULT_REGION"));
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        if !is_region(&region) {
            let why = format!("is {region:?} in AWS_REGION or AWS_DEFAULT_REGION, which is no region");
            return Err(ObjectStorageError::new("region", why));
        }
        let (bucket, prefix) = storage.place()?;
        let (scheme, host, path) = match storage.authority()? {
            Some((scheme, host)) => (scheme, host, format!("/{bucket}/")),
            // The certificates of Amazon's hosts do not cover names with dots.
            None if bucket.contains('.') => {
                ("https", format!("s3.{region}.amazonaws.com"), format!("/{bucket}/"))
            }
            None => ("https", format!("{bucket}.s3.{region}.amazonaws.com"), "/".to_owned()),
        };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(outbound::proxy())
            .timeout_connect(Some(CONNECT_TIME))
            .tls_config(trust(said("AWS_CA_BUNDLE"))?)
            .build();
        Ok(Self {
            url: format!("s3://{bucket}/{prefix}").trim_end_matches('/').to_owned(),
            base: format!("{scheme}://{host}"),
            host,
            path,
            prefix,
            region,
            source,
            agent: agent.into(),
            cache: Cache::default(),
            counters: ObjectCounters::default(),
        })
    }

    /// Which bucket, for people.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What went there and came from there.
    pub(crate) fn counters(&self) -> &ObjectCounters {
        &self.counters
    }

    /// Puts a file there.
    pub(crate) fn put_file(&self, name: &str, mut file: &File) -> Result<Object, BucketError> {
        let ours = |error: std::io::Error| BucketError::Ours(format!("{name} cannot be read: {error}"));
        let bytes = file.metadata().map_err(ours)?.len();
        if bytes > OBJECT_BYTES_MAX {
            return Err(BucketError::Ours(format!(
                "{name} has more than 5 GiB, which S3 takes in parts only"
            )));
        }
        let mut digest = Sha256::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = file.read(&mut buffer).map_err(ours)?;
            if read == 0 {
                break;
            }
            digest.update(&buffer[..read]);
        }
        file.rewind().map_err(ours)?;
        let ask = Ask { body: hexadecimal(&digest.finalize()), ..Ask::new(Method::PUT, name) };
        self.put(ask, bytes, file)
    }

    /// Puts bytes there, with a header of ours where one is given.
    pub(crate) fn put_bytes(
        &self,
        name: &str,
        content: &[u8],
        header: Option<(&'static str, String)>,
    ) -> Result<Object, BucketError> {
        let headers = header.into_iter().collect();
        let ask = Ask { body: hash(content), headers, ..Ask::new(Method::PUT, name) };
        self.put(ask, content.len() as u64, content)
    }

    fn put(&self, mut ask: Ask<'_>, bytes: u64, body: impl AsSendBody) -> Result<Object, BucketError> {
        ask.time = ANSWER_TIME + Duration::from_secs(bytes / SLOWEST_BYTES);
        let answer = accepted(self.send(&ask, body)?)?;
        self.counters.uploaded_bytes.add(bytes);
        Ok(Object { bytes, etag: etag(&answer) })
    }

    /// What is there under a name; `None` where there is nothing.
    pub(crate) fn head(&self, name: &str) -> Result<Option<Object>, BucketError> {
        let answer = self.send(&Ask::new(Method::HEAD, name), ())?;
        if answer.status().as_u16() == 404 {
            return Ok(None);
        }
        let answer = accepted(answer)?;
        let length = answer.headers().get("content-length").and_then(|length| length.to_str().ok());
        let bytes = length.and_then(|length| length.parse().ok());
        let bytes = bytes.ok_or_else(|| BucketError::Different(format!("{name} is there without a size")))?;
        Ok(Some(Object { bytes, etag: etag(&answer) }))
    }

    /// A whole object; `None` where there is none.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Whole>, BucketError> {
        let time = ANSWER_TIME + Duration::from_secs(64);
        let answer = self.send_patiently(&Ask { time, ..Ask::new(Method::GET, name) })?;
        let mut answer = match accepted(answer) {
            Err(error) if error.is_absence() => return Ok(None),
            answer => answer?,
        };
        let header = answer.headers().get(WRITTEN).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Some(Whole { content: whole(&mut answer)?, written: header }))
    }

    /// Reads a range of an object, as it was put there.
    pub(crate) fn read(
        &self,
        name: &str,
        object: &Object,
        offset: u64,
        len: usize,
    ) -> Result<Vec<u8>, BucketError> {
        let fetch = |from, until| self.fetch(name, object, from, until);
        let read = self.cache.read((name, &object.etag, object.bytes), offset, len, fetch);
        let read = read.inspect_err(|_| self.counters.read_failures.add(1))?;
        read.ok_or_else(|| BucketError::Different(format!("{name} is shorter than its index says")))
    }

    fn fetch(&self, name: &str, object: &Object, from: u64, until: u64) -> Result<Vec<u8>, BucketError> {
        let mut headers = vec![("range", format!("bytes={from}-{}", until - 1))];
        if !object.etag.is_empty() {
            headers.push(("if-match", object.etag.clone()));
        }
        let len = until - from;
        let time = ANSWER_TIME + Duration::from_secs(len / SLOWEST_BYTES);
        let answer = self.send_patiently(&Ask { headers, time, ..Ask::new(Method::GET, name) })?;
        let mut answer = match answer.status().as_u16() {
            206 => answer,
            // The whole of it, where that is what was asked for.
            200 if from == 0 && until == object.bytes => answer,
            412 => return Err(BucketError::Different(format!("{name} is not what was put there"))),
            200 => return Err(BucketError::Different("it does not give ranges of objects".to_owned())),
            _ => return Err(refused(answer)),
        };
        let bytes = whole(&mut answer)?;
        if bytes.len() as u64 != len {
            return Err(BucketError::Different(format!(
                "{name} was answered with {} of {len} bytes",
                bytes.len()
            )));
        }
        self.counters.ranged_reads.add(1);
        self.counters.read_bytes.add(len);
        Ok(bytes)
    }

    /// Removes what is there under a name, if there is anything.
    pub(crate) fn delete(&self, name: &str) -> Result<(), BucketError> {
        match accepted(self.send(&Ask::new(Method::DELETE, name), ())?) {
            Err(error) if !error.is_absence() => Err(error),
            _ => Ok(()),
        }
    }

    /// The names below the prefix, each with the bytes of its object.
    pub(crate) fn list(&self) -> Result<Vec<(String, u64)>, BucketError> {
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let from = next.take().map(|token| format!("continuation-token={}&", percent(&token)));
            let query = format!("{}list-type=2&prefix={}", from.unwrap_or_default(), percent(&self.prefix));
            let ask = Ask { name: None, query: &query, ..Ask::new(Method::GET, "") };
            let mut answer = accepted(self.send_patiently(&ask)?)?;
            let part = listing::read(&whole(&mut answer)?);
            let part = part.ok_or_else(|| BucketError::Different("its list cannot be read".to_owned()))?;
            let ours =
                |(key, bytes): (String, u64)| Some((key.strip_prefix(&self.prefix)?.to_owned(), bytes));
            found.extend(part.objects.into_iter().filter_map(ours));
            match part.next {
                Some(token) => next = Some(token),
                None => return Ok(found),
            }
        }
    }

    /// Asks what can be asked again, and does while storage says that it is busy.
    fn send_patiently(&self, ask: &Ask<'_>) -> Result<Response<Body>, BucketError> {
        for pause in PAUSES {
            let answer = self.send(ask, ())?;
            if answer.status().as_u16() < 500 {
                return Ok(answer);
            }
            thread::sleep(pause);
        }
        self.send(ask, ())
    }

    fn send(&self, ask: &Ask<'_>, body: impl AsSendBody) -> Result<Response<Body>, BucketError> {
        let credentials =
            self.source.read().map_err(|why| BucketError::Ours(format!("credentials_file {why}")))?;
        let now = i64::try_from(now_unix_nano() / 1_000_000_000).ok();
        let now = now.and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or_default();
        let stamp = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let path = match ask.name {
            Some(name) => format!("{}{}{name}", self.path, self.prefix),
            None => self.path.clone(),
        };
        let mut headers = ask.headers.clone();
        headers.extend([
            ("host", self.host.clone()),
            ("x-amz-content-sha256", ask.body.clone()),
            ("x-amz-date", stamp.clone()),
        ]);
        headers.extend(credentials.session_token.clone().map(|token| ("x-amz-security-token", token)));
        headers.sort_unstable();
        let (method, query) = (ask.method.as_str(), ask.query);
        let request = sign::Request { method, path: &path, query, headers: &headers, body: &ask.body };
        let signed = authorization(&request, &credentials, &self.region, &stamp);
        let mark = if query.is_empty() { "" } else { "?" };
        let mut request =
            Request::builder().method(ask.method.clone()).uri(format!("{}{path}{mark}{query}", self.base));
        for (name, value) in &headers {
            request = request.header(*name, value);
        }
        let request = request.header("authorization", signed).body(body);
        let request =
            request.map_err(|error| BucketError::Ours(format!("a request cannot be made: {error}")))?;
        let request = self.agent.configure_request(request).timeout_global(Some(ask.time)).build();
        self.agent.run(request).map_err(|error| BucketError::Unreachable(error.to_string()))
    }
}

/// Whose certificates are believed: those of the file that the environment names, or else those of this machine's authorities.
fn trust(bundle: Option<String>) -> Result<TlsConfig, ObjectStorageError> {
    let trust = bundle.map_or(Trust::Authorities, |path| Trust::File(path.into()));
    trust.config().map_err(|error| {
        ObjectStorageError::new("endpoint", format!("cannot be trusted: AWS_CA_BUNDLE: {error}"))
    })
}

fn etag(answer: &Response<Body>) -> String {
    answer.headers().get("etag").and_then(|etag| etag.to_str().ok()).unwrap_or_default().to_owned()
}

fn whole(answer: &mut Response<Body>) -> Result<Vec<u8>, BucketError> {
    let body = answer.body_mut().with_config().limit(WHOLE_BYTES_MAX).read_to_vec();
    body.map_err(|error| BucketError::Unreachable(error.to_string()))
}

fn accepted(answer: Response<Body>) -> Result<Response<Body>, BucketError> {
    if answer.status().is_success() { Ok(answer) } else { Err(refused(answer)) }
}

/// Why it refused, as far as it says.
fn refused(mut answer: Response<Body>) -> BucketError {
    let status = answer.status().as_u16();
    let region = answer.headers().get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
    let region = region.map(|region| format!("; the bucket is in region {region}")).unwrap_or_default();
    let said = whole(&mut answer).ok().and_then(|body| listing::refusal(&body));
    let (code, message) = said.unwrap_or_default();
    let reason = answer.status().canonical_reason().unwrap_or("no reason given");
    let why = if code.is_empty() { reason.to_owned() } else { format!("{code}: {message}") };
    BucketError::Refused { status, code, why: format!("{why}{region}") }
}
