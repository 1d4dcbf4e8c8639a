//! The authorities that are believed where no file names others: those of this machine.
//!
//! In: the machine's store, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name in its place, once for the process. Out: their
//! certificates as `ureq` takes them, and for people which they are and how many. A machine without a store, such as a
//! container from scratch, believes the authorities of the web, whose list is built in. Where there is a store, or the
//! environment names one, what of it can be read is believed and nobody else, also where that is nobody: whoever emptied it
//! or broke it must not be given more than they had.
//!
//! The variables count as `rustls-native-certs` reads them: `SSL_CERT_FILE` where it is set, so that an empty one names
//! nobody, as with OpenSSL; `SSL_CERT_DIR` where a directory is in it. `homeostat-tracer` has the same rule.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use openssl_probe::ProbeResult;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls_native_certs::CertificateResult;
use ureq::tls::{Certificate, RootCerts};

/// Where stores lie on Linux: one that this process may not look at counts as there, while `openssl_probe` takes it for none.
const STORES: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

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
    /// The store that lies there.
    Machine(String),
    BuiltIn,
}

impl Origin {
    /// What the variables say, if they name anything.
    fn named(file: Option<&OsStr>, directories: Option<&OsStr>) -> Option<Self> {
        let directories = directories
            .filter(|value| env::split_paths(value).any(|directory| !directory.as_os_str().is_empty()));
        let named: Vec<String> = [("SSL_CERT_FILE", file), ("SSL_CERT_DIR", directories)]
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", value?.display())))
            .collect();
        (!named.is_empty()).then(|| Self::Environment(named.join(" and ")))
    }

    /// The machine's store, if there is one in what was found and in these places; and why it cannot be looked at.
    fn store(found: ProbeResult, places: &[&Path]) -> (Self, Vec<String>) {
        let mut there: Vec<PathBuf> = found.cert_file.into_iter().chain(found.cert_dir).collect();
        let mut hidden = Vec::new();
        for place in places {
            if let Err(error) = place.try_exists() {
                hidden.push(format!("{} cannot be looked at: {error}", place.display()));
                there.push((*place).to_owned());
            }
        }
        if there.is_empty() {
            return (Self::BuiltIn, hidden);
        }
        let there: Vec<String> = there.iter().map(|path| path.display().to_string()).collect();
        (Self::Machine(there.join(", ")), hidden)
    }
}

/// Those of this process: read when they are first asked for, so that what changes in the store counts from the next start.
pub fn authorities() -> &'static Authorities {
    static READ: OnceLock<Authorities> = OnceLock::new();
    READ.get_or_init(|| {
        let [file, directories] = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(env::var_os);
        let (origin, hidden) = match Origin::named(file.as_deref(), directories.as_deref()) {
            Some(named) => (named, Vec::new()),
            None => Origin::store(openssl_probe::probe(), &STORES.map(Path::new)),
        };
        Authorities::of(origin, hidden, rustls_native_certs::load_native_certs())
    })
}

impl Authorities {
    /// `hidden` is what of the store could not even be looked at.
    fn of(origin: Origin, hidden: Vec<String>, store: CertificateResult) -> Self {
        if origin == Origin::BuiltIn {
            let count = webpki_roots::TLS_SERVER_ROOTS.len();
            return Self { origin, roots: RootCerts::WebPki, count, passed_over: Vec::new() };
        }
        let mut passed_over = hidden;
        passed_over.extend(store.errors.iter().map(ToString::to_string));
        let mut usable = Vec::new();
        for der in &store.certs {
            match RootCertStore::empty().add(CertificateDer::from(der.as_ref())) {
                Ok(()) => usable.push(Certificate::from_der(der).to_owned()),
                Err(error) => passed_over.push(format!("a certificate cannot be read: {error}")),
            }
        }
        Self { origin, roots: RootCerts::new_with_certs(&usable), count: usable.len(), passed_over }
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
        let named = match &self.origin {
            Origin::Environment(named) => named.clone(),
            Origin::Machine(there) => format!("this machine's store ({there})"),
            Origin::BuiltIn => return None,
        };
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
            Origin::Machine(_) => write!(f, "{count} of this machine's store"),
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

    fn machine() -> Origin {
        Origin::Machine("/etc/ssl/certs".to_owned())
    }

    fn found(cert_file: Option<&str>, cert_dir: &[&str]) -> ProbeResult {
        let cert_dir = cert_dir.iter().map(PathBuf::from).collect();
        ProbeResult { cert_file: cert_file.map(PathBuf::from), cert_dir }
    }

    #[test]
    fn a_machine_without_a_store_believes_those_that_are_built_in_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let (origin, hidden) = Origin::store(found(None, &[]), &[&dir.path().join("none")]);
        let built_in = Authorities::of(origin, hidden, CertificateResult::default());
        assert!(matches!(built_in.roots(), RootCerts::WebPki));
        assert!(built_in.count() > 100, "{built_in}");
        assert!(built_in.to_string().ends_with("built in, for this machine has no store"), "{built_in}");
        assert_eq!(built_in.nobody(), None);
    }

    #[test]
    fn a_store_is_believed_alone_with_what_of_it_can_be_used() {
        let none = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let torn = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
        let ours = Authority::new("ours").pem();
        let read = Authorities::of(machine(), Vec::new(), store(format!("{torn}{none}{ours}").as_bytes()));
        assert!(matches!(read.roots(), RootCerts::Specific(_)));
        assert_eq!(
            (read.to_string().as_str(), read.passed_over().len(), read.nobody()),
            ("1 authority of this machine's store", 2, None)
        );
    }

    #[test]
    fn a_store_that_is_there_and_names_nobody_is_no_reason_to_believe_those_that_are_built_in() {
        let dir = tempfile::tempdir().unwrap();
        // Neither a directory nor nothing, whoever looks: as one that lies where this process may not look.
        let circle = dir.path().join("certs");
        std::os::unix::fs::symlink(&circle, &circle).unwrap();
        let torn = b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
        let unreadable = || rustls_native_certs::load_certs_from_paths(None, Some(&circle));
        for (found, places, result, says) in [
            (
                found(Some("/x/ca.crt"), &[]),
                &[][..],
                store(b""),
                "store (/x/ca.crt) names no authority: there is no",
            ),
            (
                found(None, &["/x", "/y"]),
                &[],
                CertificateResult::default(),
                "store (/x, /y) names no authority",
            ),
            (found(Some("/x/ca.crt"), &["/x"]), &[], store(torn), "failed to read PEM"),
            (found(None, &["/x"]), &[], unreadable(), "opening directory"),
            (
                found(None, &[]),
                &[circle.as_path()],
                CertificateResult::default(),
                "certs cannot be looked at",
            ),
        ] {
            let (origin, hidden) = Origin::store(found, places);
            let read = Authorities::of(origin, hidden, result);
            assert!(matches!(read.roots(), RootCerts::Specific(roots) if roots.is_empty()), "{says}");
            let why = read.nobody().unwrap();
            assert!(why.starts_with("this machine's store (") && why.contains(says), "{why}");
        }
    }

    #[test]
    fn a_file_counts_where_it_is_set_and_directories_where_there_is_one() {
        let named = |file: Option<&str>, directories: Option<&str>| {
            Origin::named(file.map(OsStr::new), directories.map(OsStr::new))
        };
        let environment = |text: &str| Some(Origin::Environment(text.to_owned()));
        assert_eq!(named(None, None), None);
        assert_eq!(named(Some(""), None), environment("SSL_CERT_FILE="));
        assert_eq!(named(Some("/a"), Some("")), environment("SSL_CERT_FILE=/a"));
        assert_eq!((named(None, Some("")), named(None, Some(":"))), (None, None));
        assert_eq!(named(Some("/a"), Some(":/b")), environment("SSL_CERT_FILE=/a and SSL_CERT_DIR=:/b"));
    }

    #[test]
    fn where_the_environment_names_nobody_nobody_is_believed() {
        let named = || Origin::Environment("SSL_CERT_FILE=/x/ca.pem".to_owned());
        let gone = rustls_native_certs::load_certs_from_paths(Some("/x/ca.pem".as_ref()), None);
        for (result, says) in
            [(gone, "No such file"), (store(b"nothing"), "there is no certificate in PEM form")]
        {
            let read = Authorities::of(named(), Vec::new(), result);
            assert!(matches!(read.roots(), RootCerts::Specific(roots) if roots.is_empty()));
            let why = read.nobody().unwrap();
            assert!(
                why.starts_with("SSL_CERT_FILE=/x/ca.pem names no authority") && why.contains(says),
                "{why}"
            );
        }
    }
}
