//! Makes a certificate that vouches for itself: for tests, and for first use before an authority issues one.
//!
//! Clients must be given it to trust; browsers warn. X.509 version 3 (RFC 5280), ECDSA over P-256 with SHA-256, no
//! authority over others.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::Time;
use rustls::pki_types::ServerName;
use x509_cert::der::asn1::{Any, BitString, Ia5String, ObjectIdentifier, OctetString};
use x509_cert::der::{self, Encode, Tag, TagNumber};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, SubjectAltName};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::{Time as CertificateTime, Validity};

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");

/// `[0] EXPLICIT INTEGER 2`: version 3.
const VERSION_3: [u8; 5] = [0xa0, 3, 2, 1, 2];

/// A clock that is behind ours by less than this finds the certificate valid at once.
const CLOCK_DIFFERENCE: Duration = Duration::from_secs(3600);

/// A certificate and its key, in PEM.
pub struct SelfSigned {
    /// The certificate.
    pub certificate: String,
    /// Its private key, in PKCS#8: for the eyes of the server alone.
    pub key: String,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum SelfSignedError {
    /// Nobody to make it for.
    #[error("name at least one host or address the certificate is for")]
    Nameless,
    /// A name that is none.
    #[error("{name:?} is no host name and no address; write such as homeostat.example or 192.0.2.7")]
    Name {
        /// The name.
        name: String,
    },
    /// The cryptographic library failed.
    #[error("cannot make a key; the system may give no random numbers")]
    Key,
    /// A time or a name that X.509 cannot hold.
    #[error("cannot write the certificate: {why}")]
    Encode {
        /// What is wrong.
        why: String,
    },
}

impl From<der::Error> for SelfSignedError {
    fn from(error: der::Error) -> Self {
        Self::Encode { why: error.to_string() }
    }
}

/// Makes one for these hosts and addresses, valid from an hour before `now` until `lasts` after it.
///
/// # Errors
///
/// [`SelfSignedError`].
pub fn self_signed(names: &[String], now: Time, lasts: Duration) -> Result<SelfSigned, SelfSignedError> {
    let alternatives = names.iter().map(|name| general_name(name)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = names.first() else { return Err(SelfSignedError::Nameless) };
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
        .map_err(|_| SelfSignedError::Key)?;
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref())
        .map_err(|_| SelfSignedError::Key)?;
    let public: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(|_| SelfSignedError::Key)?;
    let mut serial = [0u8; 16];
    random.fill(&mut serial).map_err(|_| SelfSignedError::Key)?;
    let now = Duration::from_micros(now.wall_us.unsigned_abs());
    let validity = Validity::<x509_cert::certificate::Rfc5280>::new(
        time(now.saturating_sub(CLOCK_DIFFERENCE))?,
        time(now.saturating_add(lasts))?,
    );
    let name = Name::from_str(&format!("CN={first}"))?.to_der()?;
    let algorithm = sequence(&[ECDSA_WITH_SHA256.to_der()?])?;
    let signed = sequence(&[
        VERSION_3.to_vec(),
        SerialNumber::<x509_cert::certificate::Rfc5280>::new(&serial)?.to_der()?,
        algorithm.clone(),
        name.clone(),
        validity.to_der()?,
        name,
        public.as_ref().to_vec(),
        extensions(alternatives)?,
    ])?;
    let signature = key.sign(&random, &signed).map_err(|_| SelfSignedError::Key)?;
    let signature = BitString::from_bytes(signature.as_ref())?.to_der()?;
    let certificate = sequence(&[signed, algorithm, signature])?;
    Ok(SelfSigned { certificate: pem("CERTIFICATE", &certificate), key: pem("PRIVATE KEY", pkcs8.as_ref()) })
}

fn general_name(name: &str) -> Result<GeneralName, SelfSignedError> {
    let wrong = || SelfSignedError::Name { name: name.to_owned() };
    match ServerName::try_from(name).map_err(|_| wrong())? {
        ServerName::DnsName(_) => Ok(GeneralName::DnsName(Ia5String::new(name)?)),
        ServerName::IpAddress(address) => Ok(GeneralName::from(IpAddr::from(address))),
        _ => Err(wrong()),
    }
}

fn time(since_1970: Duration) -> Result<CertificateTime, der::Error> {
    let whole = Duration::from_secs(since_1970.as_secs());
    Ok(CertificateTime::GeneralTime(der::asn1::GeneralizedTime::from_unix_duration(whole)?))
}

/// `[3] EXPLICIT SEQUENCE OF Extension`: for whom it is, that it is a server's, and no authority's.
fn extensions(alternatives: Vec<GeneralName>) -> Result<Vec<u8>, der::Error> {
    let one = |extn_id, critical, value: Vec<u8>| {
        Extension { extn_id, critical, extn_value: OctetString::new(value)? }.to_der()
    };
    let all = sequence(&[
        one(BASIC_CONSTRAINTS, true, BasicConstraints { ca: false, path_len_constraint: None }.to_der()?)?,
        one(EXTENDED_KEY_USAGE, false, ExtendedKeyUsage(vec![SERVER_AUTH]).to_der()?)?,
        one(SUBJECT_ALT_NAME, false, SubjectAltName(alternatives).to_der()?)?,
    ])?;
    Any::new(Tag::ContextSpecific { constructed: true, number: TagNumber(3) }, all)?.to_der()
}

fn sequence(parts: &[Vec<u8>]) -> Result<Vec<u8>, der::Error> {
    Any::new(Tag::Sequence, parts.concat())?.to_der()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}
