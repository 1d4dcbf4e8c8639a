//! TLS of everything that listens: one certificate with its key, taken from files and taken again when they change.
//!
//! ```text
//! files ─► load (checked: readable, belongs together, names somebody) ─► Tls ─► handshakes of new connections
//!   ▲                                                                     │
//!   └─ TlsWatch looks every few seconds; what is broken changes nothing ──┘
//! ```
//!
//! **A certificate whose time is over, or has not come, does not keep a server from starting**: after a reboot the loop has
//! to heal, whatever became of a renewal or of the machine's clock. It is shown as it is, exactly as by a server that ran
//! when its time ended: clients refuse it by themselves, and nothing is sent that is not encrypted. Loopback needs none. It
//! is said in the log, daily, at `/health` and at `/metrics` ([`Tls::concern`]). One that is put in the place of another has
//! to be valid, else the other stays.
//!
//! In: paths of PEM files. Out: a `rustls::ServerConfig` for each protocol, the facts of the certificate, sentences
//! for people when it changes. TLS 1.3, and 1.2 for old clients; the key exchange preferred is X25519MLKEM768
//! (draft-ietf-tls-ecdhe-mlkem), so that what is recorded today cannot be read by a quantum computer later.
//!
//! Deliberately absent: client certificates, ACME, several certificates chosen by name.

mod concern;
mod load;
mod self_signed;
#[cfg(test)]
mod tests;
mod watch;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use domain::Clock;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

pub use concern::{Concern, ENDS_SOON};
pub use self_signed::{SelfSigned, SelfSignedError, self_signed};
pub use watch::{Reload, TlsNotice, TlsWatch};

use load::Loaded;
use watch::Seen;

/// Where certificate and key are, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, then those that lead from it towards an authority.
    pub certificate: PathBuf,
    /// The private key of the first of them: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// What the certificate in use says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Names and addresses it was issued for (`subjectAltName`), in lower case; `*.` stands for one label.
    pub names: Vec<String>,
    /// When it begins to be valid, in seconds since 1970.
    pub valid_from: i64,
    /// When it ceases to be valid, in seconds since 1970.
    pub expires: i64,
}

/// Why certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}; [tls] certificate and key must name PEM files that this process may read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is no PEM.
    #[error("{} is no PEM: {why}", path.display())]
    NotPem {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// There is no certificate in the file of certificates.
    #[error("{} holds no certificate; it must have a block that begins with -----BEGIN CERTIFICATE-----", path.display())]
    NoCertificate {
        /// Which.
        path: PathBuf,
    },
    /// There is no key in the file of the key.
    #[error("{} holds no private key; it must have a block that begins with -----BEGIN PRIVATE KEY-----, without a password", path.display())]
    NoKey {
        /// Which.
        path: PathBuf,
    },
    /// The certificate cannot be read.
    #[error("the first certificate in {} cannot be read: {why}", path.display())]
    Certificate {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The key cannot be used.
    #[error("the key in {} cannot be used: {why}; use ECDSA (P-256, P-384), Ed25519, or RSA of 2048 bits or more", path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Certificate and key are of different pairs.
    #[error(
        "the key in {} does not belong to the first certificate in {}; the server's own certificate comes first, the others after it",
        key.display(),
        certificate.display()
    )]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// Its time is over.
    #[error("the certificate in {} expired at {since}; put a new one there", path.display())]
    Expired {
        /// Its file.
        path: PathBuf,
        /// Since when, in RFC 3339.
        since: String,
    },
    /// Its time has not come.
    #[error("the certificate in {} is not valid before {from}; look at this machine's clock, or use another", path.display())]
    NotYetValid {
        /// Its file.
        path: PathBuf,
        /// From when, in RFC 3339.
        from: String,
    },
    /// It names nobody.
    #[error("the certificate in {} has no subjectAltName with a host or an address, so every client would refuse it", path.display())]
    Nameless {
        /// Its file.
        path: PathBuf,
    },
}

/// Makes the provider of what listens that of every client in the process, where none was chosen for it. To be called once,
/// first thing; later calls change nothing.
pub fn choose_provider() {
    // Somebody did already, and it is the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// What is spoken inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// HTTP/2, or HTTP/1.1 with who does not know it.
    Http,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone: gRPC.
    Http2,
}

impl Speaks {
    /// Names of the protocols in ALPN (RFC 7301), the preferred first.
    fn alpn(self) -> Vec<Vec<u8>> {
        match self {
            Self::Http => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Self::Http1 => vec![b"http/1.1".to_vec()],
            Self::Http2 => vec![b"h2".to_vec()],
        }
    }
}

/// A certificate in use. Clones share it: all of them show a new one at the same time.
#[derive(Clone)]
pub struct Tls {
    shared: Arc<Shared>,
}

struct Shared {
    files: TlsFiles,
    clock: Arc<dyn Clock>,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<Loaded>>,
    seen: std::sync::Mutex<Seen>,
}

impl Tls {
    /// Takes certificate and key from their files. What the certificate's time is, is told by [`Tls::concern`].
    ///
    /// # Errors
    ///
    /// [`TlsError`] with the file and what is wrong in it.
    pub fn open(files: TlsFiles, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let seen = Seen::of(&files);
        let loaded = load::load(&files, &provider)?;
        let current = RwLock::new(Arc::new(loaded));
        Ok(Self { shared: Arc::new(Shared { files, clock, provider, current, seen: seen.into() }) })
    }

    /// What the certificate says of itself: its names, and when it is valid.
    pub fn facts(&self) -> CertificateFacts {
        self.shared.current().facts.clone()
    }

    /// The file the certificate comes from.
    pub(crate) fn certificate_file(&self) -> &Path {
        &self.shared.files.certificate
    }

    /// Whether the certificate was issued for this host name or address.
    pub(crate) fn is_named(&self, host: &str) -> bool {
        self.shared.current().facts.names.iter().any(|name| matches_name(name, host))
    }

    /// What handshakes follow.
    pub(crate) fn server_config(&self, speaks: Speaks) -> Arc<ServerConfig> {
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.shared.provider))
            .with_protocol_versions(&versions)
            .expect("the provider has suites of both versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.shared) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = speaks.alpn();
        Arc::new(config)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tls").field("files", &self.shared.files).finish_non_exhaustive()
    }
}

impl Shared {
    fn current(&self) -> Arc<Loaded> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Shared {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current().certified))
    }
}

/// Whether a name of a certificate covers a host: the same, or with `*.` for its first label (RFC 9525, 6.3).
pub(crate) fn matches_name(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(rest) => host.split_once('.').is_some_and(|(_, of)| of.eq_ignore_ascii_case(rest)),
        None => name.eq_ignore_ascii_case(host),
    }
}
