//! Whose certificates are believed.
//!
//! In: nothing, for the authorities of this machine ([`crate::authorities()`]), or a file with those of others. Out: the
//! settings of TLS that believe these and no others.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Whose certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Trust {
    /// Those that the authorities of this machine issued.
    #[default]
    Authorities,
    /// Those that the authorities in a PEM file issued, and no others.
    File(PathBuf),
}

/// A file that says nobody who could be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the certificates of {}: {why}", path.display())]
pub struct TrustError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl Trust {
    /// The same as `ureq` takes it. A file is read now.
    ///
    /// # Errors
    /// Where the file cannot be read, has no certificate in it, or one that is none.
    pub fn config(&self) -> Result<TlsConfig, TrustError> {
        let Self::File(path) = self else { return Ok(Self::machine()) };
        let certificates = read(path).map_err(|why| TrustError { path: path.clone(), why })?;
        Ok(believing(RootCerts::new_with_certs(&certificates)))
    }

    /// The authorities of this machine, for which nothing has to be given.
    pub fn machine() -> TlsConfig {
        believing(crate::authorities().roots())
    }
}

fn believing(roots: RootCerts) -> TlsConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    TlsConfig::builder().unversioned_rustls_crypto_provider(provider).root_certs(roots).build()
}

/// The longest file of authorities, in bytes: those of the whole web have a fifth of a megabyte.
const AUTHORITIES_BYTES_MAX: u64 = 4 << 20;

fn read(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let pem = input::read(path, AUTHORITIES_BYTES_MAX).map_err(|error| error.to_string())?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(one) = item.map_err(|error| error.to_string())? {
            // The client passes over what it cannot read, and would then believe nobody.
            let der = CertificateDer::from(one.der());
            RootCertStore::empty()
                .add(der)
                .map_err(|error| format!("certificate {} cannot be read: {error}", certificates.len() + 1))?;
            certificates.push(one);
        }
    }
    if certificates.is_empty() { Err("there is none in PEM form in it".to_owned()) } else { Ok(certificates) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use counterpart::Authority;

    #[test]
    fn a_file_that_names_nobody_is_refused_with_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |text: &str| {
            let path = dir.path().join("ca.pem");
            std::fs::write(&path, text).unwrap();
            Trust::File(path).config().unwrap_err().to_string()
        };
        assert!(refused("").contains("ca.pem: there is none in PEM form"));
        let key = Authority::new("ours").issue(&["localhost"]).key_pem();
        assert!(refused(&key).contains("there is none in PEM form"), "a key is no certificate");
        let none = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let good = Authority::new("ours").pem();
        let said = refused(&format!("{good}{none}"));
        assert!(said.contains("certificate 2 cannot be read"), "{said}");
        let missing = Trust::File(dir.path().join("none.pem")).config().unwrap_err().to_string();
        assert!(missing.contains("none.pem") && missing.contains("No such file"), "{missing}");
    }
}
