//! Whom a receiver behind TLS is believed by where `Builder::authorities` says nothing.
//!
//! In: this machine's store, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name in its place. Out: their certificates, or why
//! there are none. Those of the web, which are built in, count where there is no store and nothing is named, as in a
//! container from scratch. Whoever emptied a store, or broke it, must not be given more than they had.

use std::env;
use std::ffi::OsStr;
use std::path::Path;

use openssl_probe::ProbeResult;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls_native_certs::CertificateResult;
use ureq::tls::{Certificate, RootCerts};

/// Where stores lie on Linux: one that this process may not look at counts as there, while `openssl_probe` takes it for none.
const STORES: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

/// Those that are believed. The error is why there are none: which place names none, and what is wrong there.
pub(super) fn believed() -> Result<RootCerts, String> {
    let [file, directories] = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(env::var_os);
    let place = named(file.as_deref(), directories.as_deref())
        .or_else(|| store(openssl_probe::probe(), &STORES.map(Path::new)));
    match place {
        None => Ok(RootCerts::WebPki),
        Some(place) => usable(&place, &rustls_native_certs::load_native_certs()),
    }
}

/// The variables that name something, as `rustls-native-certs` reads them: `SSL_CERT_FILE` where it is set, so that an empty
/// one names nobody, as with OpenSSL; `SSL_CERT_DIR` where a directory is in it.
fn named(file: Option<&OsStr>, directories: Option<&OsStr>) -> Option<String> {
    let is_one = |value: &&OsStr| env::split_paths(value).any(|directory| !directory.as_os_str().is_empty());
    match (file, directories.filter(is_one)) {
        (None, None) => None,
        (Some(_), None) => Some("SSL_CERT_FILE".to_owned()),
        (None, Some(_)) => Some("SSL_CERT_DIR".to_owned()),
        (Some(_), Some(_)) => Some("SSL_CERT_FILE and SSL_CERT_DIR".to_owned()),
    }
}

/// The machine's store, if there is one in what was found and in these places.
fn store(found: ProbeResult, places: &[&Path]) -> Option<String> {
    let found = found.cert_file.into_iter().chain(found.cert_dir).map(|path| path.display().to_string());
    let hidden = places.iter().filter_map(|place| {
        let error = place.try_exists().err()?;
        Some(format!("{} cannot be looked at: {error}", place.display()))
    });
    let there: Vec<String> = found.chain(hidden).collect();
    (!there.is_empty()).then(|| format!("this machine's store ({})", there.join(", ")))
}

/// What of a place can be used.
fn usable(place: &str, read: &CertificateResult) -> Result<RootCerts, String> {
    let is_usable =
        |der: &&CertificateDer<'_>| RootCertStore::empty().add(CertificateDer::from(der.as_ref())).is_ok();
    let certificates: Vec<_> =
        read.certs.iter().filter(is_usable).map(|der| Certificate::from_der(der).to_owned()).collect();
    if certificates.is_empty() {
        let why = read.errors.first().map(ToString::to_string);
        let why = why.unwrap_or_else(|| "there is no certificate in PEM form that can be read".to_owned());
        return Err(format!("{place} names none: {why}"));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use counterpart::Authority;

    use super::*;

    fn found(cert_file: Option<&str>, cert_dir: &[&str]) -> ProbeResult {
        let cert_dir = cert_dir.iter().map(PathBuf::from).collect();
        ProbeResult { cert_file: cert_file.map(PathBuf::from), cert_dir }
    }

    fn read(pem: &str) -> CertificateResult {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.crt"), pem).unwrap();
        rustls_native_certs::load_certs_from_paths(Some(&dir.path().join("ca.crt")), None)
    }

    #[test]
    fn a_store_counts_where_it_is_found_or_cannot_be_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(store(found(None, &[]), &[&dir.path().join("none")]), None);
        let there = store(found(Some("/x/ca.crt"), &["/x"]), &[]).unwrap();
        assert_eq!(there, "this machine's store (/x/ca.crt, /x)");
        // Neither a directory nor nothing, whoever looks.
        let circle = dir.path().join("certs");
        std::os::unix::fs::symlink(&circle, &circle).unwrap();
        let hidden = store(found(None, &[]), &[&circle]).unwrap();
        assert!(hidden.contains("certs cannot be looked at: "), "{hidden}");
    }

    #[test]
    fn of_a_store_that_is_there_what_can_be_read_is_believed_and_otherwise_nobody() {
        let torn = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
        let ours = Authority::new("ours").pem();
        match usable("the store", &read(&format!("{torn}{ours}"))) {
            Ok(RootCerts::Specific(one)) => assert_eq!(one.len(), 1),
            other => panic!("{other:?}"),
        }
        for (pem, says) in
            [("", "the store names none: there is no certificate"), (torn, "failed to read PEM")]
        {
            let why = usable("the store", &read(pem)).unwrap_err();
            assert!(why.contains(says), "{why}");
        }
    }

    #[test]
    fn a_file_counts_where_it_is_set_and_directories_where_there_is_one() {
        let named = |file: Option<&str>, directories: Option<&str>| {
            super::named(file.map(OsStr::new), directories.map(OsStr::new))
        };
        assert_eq!([named(None, None), named(None, Some("")), named(None, Some(":"))], [None, None, None]);
        assert_eq!(named(Some(""), Some("")).as_deref(), Some("SSL_CERT_FILE"));
        assert_eq!(named(None, Some(":/b")).as_deref(), Some("SSL_CERT_DIR"));
        assert_eq!(named(Some("/a"), Some("/b")).as_deref(), Some("SSL_CERT_FILE and SSL_CERT_DIR"));
    }
}
