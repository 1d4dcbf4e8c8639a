//! The authorities that are believed where no file names others: those of this machine.
//!
//! In: the machine's store, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name in its place, once for the process. Out: their
//! certificates as `ureq` takes them, and for people which they are and how many. A machine without a store, such as a
//! container from scratch, believes the authorities of the web, whose list is built in; where the environment names
//! what cannot be used nobody is believed, since more than was named must not be.

use std::fmt;
use std::sync::OnceLock;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls_native_certs::CertificateResult;
use ureq::tls::{Certificate, RootCerts};

/// What stands in the place of the machine's store, by the names that OpenSSL gave them.
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Who is believed where no file names others.
#[derive(Debug)]
pub struct Authorities {
    origin: Origin,
    roots: RootCerts,
    count: usize,
    /// What of the store could not be used.
    passed_over: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// These variables, as they are set.
    Environment(String),
    Machine,
    BuiltIn,
}

/// Those of this process: read when they are first asked for, so that what changes in the store counts from the next start.
pub fn authorities() -> &'static Authorities {
    static READ: OnceLock<Authorities> = OnceLock::new();
    READ.get_or_init(|| {
        let set =
            |name: &&str| std::env::var_os(name).filter(|value| *name == VARIABLES[0] || !value.is_empty());
        let named: Vec<String> =
            VARIABLES.iter().filter_map(|name| Some(format!("{name}={}", set(name)?.display()))).collect();
        let named = (!named.is_empty()).then(|| named.join(" and "));
        Authorities::of(named, rustls_native_certs::load_native_certs())
    })
}

impl Authorities {
    fn of(named: Option<String>, store: CertificateResult) -> Self {
        let mut passed_over: Vec<String> = store.errors.iter().map(ToString::to_string).collect();
        let mut usable = Vec::new();
        for der in &store.certs {
            match RootCertStore::empty().add(CertificateDer::from(der.as_ref())) {
                Ok(()) => usable.push(Certificate::from_der(der).to_owned()),
                Err(error) => passed_over.push(format!("a certificate cannot be read: {error}")),
            }
        }
        let (origin, roots, count) = match named {
            Some(named) => {
                let count = usable.len();
                (Origin::Environment(named), RootCerts::new_with_certs(&usable), count)
            }
            None if usable.is_empty() => {
                (Origin::BuiltIn, RootCerts::WebPki, webpki_roots::TLS_SERVER_ROOTS.len())
            }
            None => (Origin::Machine, RootCerts::new_with_certs(&usable), usable.len()),
        };
        Self { origin, roots, count, passed_over }
    }

    pub(crate) fn roots(&self) -> RootCerts {
        self.roots.clone()
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// What in the store could not be used, for people; a machine that has no store has nothing to complain of.
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// Why nobody is believed; `None` where somebody is.
    pub fn nobody(&self) -> Option<String> {
        let Origin::Environment(named) = &self.origin else { return None };
        let why = match self.passed_over.first() {
            Some(first) => first,
            None => "there is no certificate in PEM form",
        };
        (self.count == 0).then(|| format!("{named} names no authority: {why}"))
    }
}

impl fmt::Display for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = match self.count {
            1 => "1 authority".to_owned(),
            count => format!("{count} authorities"),
        };
        match &self.origin {
            Origin::Environment(named) => write!(f, "{count} of {named}"),
            Origin::Machine => write!(f, "{count} of this machine's store"),
            Origin::BuiltIn => write!(f, "{count} that are built in, for this machine has no store"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use counterpart::Authority;

    fn store(pem: &[u8]) -> CertificateResult {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), pem).unwrap();
        rustls_native_certs::load_certs_from_paths(Some(file.path()), None)
    }

    #[test]
    fn a_machine_without_a_store_believes_those_that_are_built_in_and_says_so() {
        let built_in = Authorities::of(None, CertificateResult::default());
        assert!(matches!(built_in.roots(), RootCerts::WebPki));
        assert!(built_in.count() > 100, "{built_in}");
        assert!(built_in.to_string().ends_with("built in, for this machine has no store"), "{built_in}");
        assert_eq!(built_in.nobody(), None);
    }

    #[test]
    fn a_store_is_believed_alone_with_what_of_it_can_be_used() {
        let none = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let read = Authorities::of(None, store(format!("{}{none}", Authority::new("ours").pem()).as_bytes()));
        assert!(matches!(read.roots(), RootCerts::Specific(_)));
        assert_eq!(
            (read.to_string().as_str(), read.passed_over().len()),
            ("1 authority of this machine's store", 1)
        );
    }

    #[test]
    fn where_the_environment_names_nobody_nobody_is_believed() {
        let named = || Some("SSL_CERT_FILE=/x/ca.pem".to_owned());
        let gone = rustls_native_certs::load_certs_from_paths(Some("/x/ca.pem".as_ref()), None);
        for (result, says) in
            [(gone, "No such file"), (store(b"nothing"), "there is no certificate in PEM form")]
        {
            let read = Authorities::of(named(), result);
            assert!(matches!(read.roots(), RootCerts::Specific(roots) if roots.is_empty()));
            let why = read.nobody().unwrap();
            assert!(
                why.starts_with("SSL_CERT_FILE=/x/ca.pem names no authority") && why.contains(says),
                "{why}"
            );
        }
    }
}
