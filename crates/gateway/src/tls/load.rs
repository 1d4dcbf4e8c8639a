//! Certificate and key out of their files, with every reason not to use them.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use domain::Time;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::{CertificateFacts, TlsError, TlsFiles};

/// The longest file of certificates or of a key, in bytes: a chain has a few kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What handshakes use.
pub(super) struct Loaded {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) facts: CertificateFacts,
}

/// Reads both files and checks what they hold, but for its time: see [`in_time`].
pub(super) fn load(files: &TlsFiles, provider: &CryptoProvider) -> Result<Loaded, TlsError> {
    let chain = chain(&files.certificate)?;
    let Some(first) = chain.first() else {
        return Err(TlsError::NoCertificate { path: files.certificate.clone() });
    };
    let facts = facts(first).map_err(|why| TlsError::Certificate { path: files.certificate.clone(), why })?;
    let key = key(&files.key)?;
    let unusable = |error: Error| TlsError::Key { path: files.key.clone(), why: error.to_string() };
    let key = provider.key_provider.load_private_key(key).map_err(unusable)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => {}
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            return Err(TlsError::Mismatch {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
            });
        }
        Err(error) => {
            return Err(TlsError::Certificate { path: files.certificate.clone(), why: error.to_string() });
        }
    }
    if facts.names.is_empty() {
        return Err(TlsError::Nameless { path: files.certificate.clone() });
    }
    Ok(Loaded { certified: Arc::new(certified), facts })
}

/// Whether a certificate is valid now.
pub(super) fn in_time(facts: &CertificateFacts, path: &Path, now: Time) -> Result<(), TlsError> {
    let path = path.to_owned();
    let now = now.wall_us.div_euclid(1_000_000);
    if now > facts.expires {
        return Err(TlsError::Expired { path, since: rfc3339(facts.expires) });
    }
    if now < facts.valid_from {
        return Err(TlsError::NotYetValid { path, from: rfc3339(facts.valid_from) });
    }
    Ok(())
}

pub(super) fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| format!("second {seconds}"), |time| time.to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    input::read(path, FILE_BYTES_MAX).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::NotPem { path: path.to_owned(), why: error.to_string() })
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey { path: path.to_owned() },
        // Its words could quote the key.
        _ => TlsError::NotPem { path: path.to_owned(), why: "a block is broken off or garbled".to_owned() },
    })
}

fn facts(certificate: &CertificateDer<'_>) -> Result<CertificateFacts, String> {
    let certificate = Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let certificate = certificate.tbs_certificate();
    let seconds =
        |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    let names = certificate.get_extension::<SubjectAltName>().map_err(|error| error.to_string())?;
    let names = names.map(|(_, names)| names.0).unwrap_or_default();
    Ok(CertificateFacts {
        names: names.iter().filter_map(name).collect(),
        valid_from: seconds(certificate.validity().not_before),
        expires: seconds(certificate.validity().not_after),
    })
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()?;
            Some(address.to_string())
        }
        _ => None,
    }
}
