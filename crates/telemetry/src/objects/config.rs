//! What is said of a bucket before anything is asked of it.

use std::path::PathBuf;
use std::time::Duration;

/// Most bytes of a prefix: keys have 1,024 at most.
const PREFIX_BYTES_MAX: usize = 512;

/// Where old compacted spans and log records are kept: a bucket that speaks S3.
///
/// Who may use it is told by the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`) or by a
/// file in the form of AWS's command line, never by the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectStorage {
    /// `s3://BUCKET` or `s3://BUCKET/PREFIX`. One store for each prefix.
    pub url: String,
    /// `http://HOST:PORT` or `https://HOST:PORT` of another storage than Amazon's.
    pub endpoint: Option<String>,
    /// Its region. Where it is not said, `AWS_REGION`, `AWS_DEFAULT_REGION`, or else `us-east-1`.
    pub region: Option<String>,
    /// A file with credentials, read anew for each request, so that it can be replaced. Where it is not said, the
    /// environment, or else the file that `AWS_SHARED_CREDENTIALS_FILE` names. `AWS_PROFILE` says which part of a file.
    pub credentials_file: Option<PathBuf>,
    /// Units that were written longer ago are moved. Younger ones are, oldest first, where three quarters of the bytes
    /// that retention allows are in use.
    pub after: Duration,
}

/// Why a bucket cannot be used as it is described.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {why}")]
pub struct ObjectStorageError {
    /// Which field of [`ObjectStorage`], by its name.
    pub field: &'static str,
    /// What is wrong, in words that follow the field's name.
    pub why: String,
}

impl ObjectStorageError {
    pub(crate) fn new(field: &'static str, why: impl Into<String>) -> Self {
        Self { field, why: why.into() }
    }
}

impl ObjectStorage {
    /// Whether this program was built with the feature `object-storage`.
    pub const BUILT_IN: bool = cfg!(feature = "object-storage");

    /// Whether what is said makes sense, and this program can do it. Nothing is asked of anybody.
    ///
    /// # Errors
    ///
    /// [`ObjectStorageError`] names what does not.
    pub fn check(&self) -> Result<(), ObjectStorageError> {
        self.place()?;
        self.authority()?;
        if let Some(region) = &self.region
            && !is_region(region)
        {
            let why = format!("is {region:?}, must be a region such as eu-central-1");
            return Err(ObjectStorageError::new("region", why));
        }
        if !Self::BUILT_IN {
            let why = "asks for object storage, which this program was built without; build it with \
                       `cargo build --release --features object-storage`";
            return Err(ObjectStorageError::new("url", why));
        }
        Ok(())
    }

    /// Bucket and prefix; the prefix is empty or ends in a slash.
    pub(crate) fn place(&self) -> Result<(String, String), ObjectStorageError> {
        let wrong = |why: &str| ObjectStorageError::new("url", format!("is {:?}, {why}", self.url));
        let rest = self.url.strip_prefix("s3://").ok_or_else(|| wrong("must begin with s3://BUCKET"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if !(3..=63).contains(&bucket.len())
            || !bucket.chars().all(|c| plain(c) || c == '-' || c == '.')
            || !bucket.starts_with(plain)
            || !bucket.ends_with(plain)
        {
            return Err(wrong("must name a bucket of 3 to 63 lower-case letters, digits, hyphens and dots"));
        }
        let prefix = prefix.trim_end_matches('/');
        let part = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        if !prefix.is_empty() && !prefix.split('/').all(part) || prefix.len() > PREFIX_BYTES_MAX {
            return Err(wrong(
                "must have a prefix of letters, digits, hyphens, underscores, dots and single slashes, \
                 512 bytes at most",
            ));
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok((bucket.to_owned(), prefix))
    }

    /// Scheme and host of the endpoint, with the port where it is not the scheme's own; `None` where it is Amazon's.
    pub(crate) fn authority(&self) -> Result<Option<(&'static str, String)>, ObjectStorageError> {
        let Some(endpoint) = &self.endpoint else { return Ok(None) };
        let wrong = || {
            let why = format!("is {endpoint:?}, must be http://HOST:PORT or https://HOST:PORT");
            ObjectStorageError::new("endpoint", why)
        };
        let (scheme, rest, own) = match endpoint.split_once("://") {
            Some(("http", rest)) => ("http", rest, ":80"),
            Some(("https", rest)) => ("https", rest, ":443"),
            _ => return Err(wrong()),
        };
        let host = rest.strip_suffix('/').unwrap_or(rest);
        let host = host.strip_suffix(own).unwrap_or(host);
        let (name, port) = match host.rsplit_once(':') {
            // The colons of an IPv6 address are within brackets.
            Some((name, port)) if !port.contains(']') => (name, Some(port)),
            _ => (host, None),
        };
        let bracketed = name.starts_with('[') && name.ends_with(']');
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let sound = !name.is_empty()
            && if bracketed {
                name[1..name.len() - 1].parse::<std::net::Ipv6Addr>().is_ok()
            } else {
                name.chars().all(known)
            };
        if !sound || port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err(wrong());
        }
        Ok(Some((scheme, host.to_ascii_lowercase())))
    }
}

pub(crate) fn is_region(region: &str) -> bool {
    (1..=40).contains(&region.len())
        && region.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage(url: &str, endpoint: Option<&str>) -> ObjectStorage {
        ObjectStorage {
            url: url.to_owned(),
            endpoint: endpoint.map(str::to_owned),
            region: None,
            credentials_file: None,
            after: Duration::from_secs(3600),
        }
    }

    #[test]
    fn a_url_names_a_bucket_and_a_prefix() {
        for (url, bucket, prefix) in [
            ("s3://spans", "spans", ""),
            ("s3://spans/", "spans", ""),
            ("s3://my.spans-2/a/b_c/", "my.spans-2", "a/b_c/"),
            ("s3://spans/a.b", "spans", "a.b/"),
        ] {
            assert_eq!(storage(url, None).place(), Ok((bucket.to_owned(), prefix.to_owned())), "{url}");
        }
    }

    #[test]
    fn what_is_no_bucket_and_no_endpoint_is_refused_by_field() {
        for url in [
            "",
            "spans",
            "http://spans",
            "s3://",
            "s3://ab",
            "s3://Spans",
            "s3://-spans",
            "s3://spans/a//b",
            "s3://spans/../b",
            "s3://spans/a b",
            "s3://spans/ä",
            "s3://spans?x",
        ] {
            let error = storage(url, None).check().expect_err(url);
            assert_eq!(error.field, "url", "{error}");
        }
        for endpoint in [
            "",
            "minio:9000",
            "ftp://h",
            "http://",
            "http://h:x",
            "http://u:p@h",
            "http://h/path",
            "http://[::1",
        ] {
            let error = storage("s3://spans", Some(endpoint)).check().expect_err(endpoint);
            assert_eq!(error.field, "endpoint", "{error}");
        }
        let error = ObjectStorage { region: Some("Frankfurt 1".to_owned()), ..storage("s3://spans", None) };
        assert_eq!(error.check().expect_err("no region").field, "region");
    }

    #[test]
    fn an_endpoint_is_written_as_the_host_header_has_it() {
        for (endpoint, scheme, host) in [
            ("http://127.0.0.1:9000", "http", "127.0.0.1:9000"),
            ("https://S3.example.com:443/", "https", "s3.example.com"),
            ("http://minio:443", "http", "minio:443"),
            ("http://[::1]:9000", "http", "[::1]:9000"),
            ("http://[::1]", "http", "[::1]"),
        ] {
            let authority = storage("s3://spans", Some(endpoint)).authority();
            assert_eq!(authority, Ok(Some((scheme, host.to_owned()))), "{endpoint}");
        }
    }

    /// A program without the feature refuses the same configuration that one with it takes.
    #[test]
    fn a_program_that_lacks_object_storage_says_how_to_build_one() {
        let refused = storage("s3://spans", None).check().err();
        assert_eq!(refused.is_none(), ObjectStorage::BUILT_IN);
        if let Some(error) = refused {
            assert!(error.field == "url" && error.why.contains("--features object-storage"), "{error}");
        }
    }
}
