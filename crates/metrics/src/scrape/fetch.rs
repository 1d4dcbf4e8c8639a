//! One page fetched: asked for, read within its limits, unpacked.

use std::io::Read;

use outbound::{CredentialsError, TrustError};
use ureq::config::RedirectAuthHeaders;
use ureq::tls::TlsConfig;

use super::target::Target;
use crate::wire::text::{ACCEPT, Format, PageError};

/// Why a target is down.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// No answer, or none of HTTP, or too late.
    #[error("cannot fetch it: {}", outbound::reason(.0))]
    Fetch(Box<ureq::Error>),
    /// Whom to believe is not to be had.
    #[error("cannot fetch it: {0}")]
    Trust(#[from] TrustError),
    /// What we prove ourselves by is not to be had.
    #[error("cannot fetch it: {0}")]
    Credentials(#[from] CredentialsError),
    /// Another status than 200.
    #[error("it answered with the status {0}")]
    Status(u16),
    /// Neither of the text formats.
    #[error(
        "it answered with the content type {0:?}, which is neither text/plain nor application/openmetrics-text"
    )]
    ContentType(String),
    /// Another compression than was asked for.
    #[error("it answered in the encoding {0:?}; gzip was asked for")]
    Encoding(String),
    /// More bytes than a page may have.
    #[error("the page has more than {0} bytes")]
    TooLarge(usize),
    /// The body broke off, or is not packed as it says.
    #[error("the page cannot be read to its end: {0}")]
    Body(std::io::Error),
    /// The page is none.
    #[error("{0}")]
    Page(#[from] PageError),
}

impl Failed {
    /// Whether its certificate is not believed: the file of those that are may have changed since it was read.
    pub(super) fn is_untrusted(&self) -> bool {
        matches!(self, Self::Fetch(error) if outbound::is_untrusted(error))
    }
}

/// Redirects that are followed, as Prometheus does.
const REDIRECTS_MAX: u32 = 10;

/// A client that takes any status for an answer.
pub(super) fn agent(tls: TlsConfig) -> ureq::Agent {
    outbound::agent(tls)
        .max_redirects(REDIRECTS_MAX)
        // Credentials go along where the host stays the same, and never out of TLS.
        .redirect_auth_headers(RedirectAuthHeaders::SameHost)
        .accept(ACCEPT)
        .accept_encoding("gzip")
        .build()
        .into()
}

/// Fetches the page of a target, within its limits. What begins with TLS stays in it, wherever redirects lead.
pub(super) fn fetch(agent: &ureq::Agent, target: &Target) -> Result<(Format, Vec<u8>), Failed> {
    let Target { url, timeout, page_bytes_max: most, peer, .. } = target;
    let mut request = agent
        .get(url)
        .config()
        .timeout_global(Some(*timeout))
        .https_only(url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:")))
        .build()
        .header("x-prometheus-scrape-timeout-seconds", timeout.as_secs_f64().to_string());
    if let Some(header) = peer.authorization()? {
        request = request.header("authorization", header);
    }
    let response = request.call().map_err(|error| Failed::Fetch(Box::new(error)))?;
    let status = response.status().as_u16();
    if status != 200 {
        return Err(Failed::Status(status));
    }
    let header = |name: &str| {
        let value =
            response.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        value.unwrap_or_default()
    };
    let content_type = header("content-type");
    let format = Format::of_content_type(&content_type).ok_or(Failed::ContentType(content_type))?;
    let encoding = header("content-encoding");
    let body = response.into_body().into_reader();
    let page = match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => read(body, *most)?,
        "gzip" | "x-gzip" => read(flate2::read::MultiGzDecoder::new(body), *most)?,
        _ => return Err(Failed::Encoding(encoding)),
    };
    Ok((format, page))
}

fn read(body: impl Read, most: usize) -> Result<Vec<u8>, Failed> {
    let mut page = Vec::new();
    // One byte more shows that there are too many.
    body.take(most as u64 + 1).read_to_end(&mut page).map_err(Failed::Body)?;
    if page.len() > most { Err(Failed::TooLarge(most)) } else { Ok(page) }
}
