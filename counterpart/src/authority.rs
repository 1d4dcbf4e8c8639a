//! An authority with a key of its own, and certificates that it issues (RFC 5280; ECDSA over P-256 with SHA-256).

use std::net::IpAddr;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x509_cert::certificate::Rfc5280;
use x509_cert::der::asn1::{Any, BitString, GeneralizedTime, Ia5String, ObjectIdentifier, OctetString};
use x509_cert::der::{Encode, Tag, TagNumber};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::{Time, Validity};

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

/// `[0] EXPLICIT INTEGER 2`: version 3.
const VERSION_3: [u8; 5] = [0xa0, 3, 2, 1, 2];

const DAY: Duration = Duration::from_secs(86_400);

/// Who issues certificates.
pub struct Authority {
    name: Vec<u8>,
    key: Key,
    certificate: Vec<u8>,
}

/// A certificate with its key, in DER.
pub struct Issued {
    pub(crate) certificate: Vec<u8>,
    pub(crate) pkcs8: Vec<u8>,
}

struct Key {
    pair: EcdsaKeyPair,
    pkcs8: Vec<u8>,
}

impl Key {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).expect("a key");
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref()).expect("it is one");
        Self { pair, pkcs8: pkcs8.as_ref().to_vec() }
    }

    fn public(&self) -> Vec<u8> {
        let public: PublicKeyX509Der<'_> = self.pair.public_key().as_der().expect("it has one");
        public.as_ref().to_vec()
    }
}

impl Authority {
    /// One of this name, which nobody believes who was not given its certificate.
    pub fn new(name: &str) -> Self {
        let key = Key::new();
        let name = Name::from_str(&format!("CN={name}")).and_then(|name| name.to_der()).expect("a name");
        let constraints = BasicConstraints { ca: true, path_len_constraint: None };
        let extensions = [extension(BASIC_CONSTRAINTS, true, constraints.to_der().expect("it encodes"))];
        let certificate = signed(&key, &name, &name, key.public(), &extensions, around_now());
        Self { name, key, certificate }
    }

    /// Its certificate in PEM.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// A certificate for these hosts and addresses, from yesterday to tomorrow.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_within(names, around_now())
    }

    /// One whose time was over yesterday.
    pub fn issue_expired(&self, names: &[&str]) -> Issued {
        let (from, until) = around_now();
        self.issue_within(names, (from - 2 * DAY, until - 2 * DAY))
    }

    fn issue_within(&self, names: &[&str], validity: (Duration, Duration)) -> Issued {
        let key = Key::new();
        let alternatives = names.iter().map(|name| match name.parse::<IpAddr>() {
            Ok(address) => GeneralName::from(address),
            Err(_) => GeneralName::DnsName(Ia5String::new(name).expect("a host's name")),
        });
        let alternatives = SubjectAltName(alternatives.collect()).to_der().expect("it encodes");
        let subject = Name::from_str("CN=counterpart").and_then(|name| name.to_der()).expect("a name");
        let extensions = [extension(SUBJECT_ALT_NAME, false, alternatives)];
        let certificate = signed(&self.key, &self.name, &subject, key.public(), &extensions, validity);
        Issued { certificate, pkcs8: key.pkcs8 }
    }
}

impl Issued {
    /// The certificate in PEM.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// Its key in PEM.
    pub fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.pkcs8)
    }
}

fn around_now() -> (Duration, Duration) {
    #[expect(clippy::disallowed_methods, reason = "clients hold certificates against the machine's clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970");
    (now - DAY, now + DAY)
}

/// A certificate for `subject`, signed by `issuer`'s key.
fn signed(
    by: &Key,
    issuer: &[u8],
    subject: &[u8],
    public: Vec<u8>,
    extensions: &[Vec<u8>],
    (from, until): (Duration, Duration),
) -> Vec<u8> {
    let random = SystemRandom::new();
    let mut serial = [0; 16];
    random.fill(&mut serial).expect("random numbers");
    let serial = SerialNumber::<Rfc5280>::new(&serial).and_then(|serial| serial.to_der()).expect("a number");
    let validity = Validity::<Rfc5280>::new(time(from), time(until)).to_der().expect("it encodes");
    let algorithm = sequence(&[ECDSA_WITH_SHA256.to_der().expect("it encodes")]);
    // `[3] EXPLICIT SEQUENCE OF Extension`.
    let number = Tag::ContextSpecific { constructed: true, number: TagNumber(3) };
    let extensions = encoded(number, sequence(extensions));
    let to_be_signed = sequence(&[
        VERSION_3.to_vec(),
        serial,
        algorithm.clone(),
        issuer.to_vec(),
        validity,
        subject.to_vec(),
        public,
        extensions,
    ]);
    let signature = by.pair.sign(&random, &to_be_signed).expect("it signs");
    let signature = BitString::from_bytes(signature.as_ref()).and_then(|bits| bits.to_der());
    sequence(&[to_be_signed, algorithm, signature.expect("it encodes")])
}

fn time(since_1970: Duration) -> Time {
    let whole = Duration::from_secs(since_1970.as_secs());
    Time::GeneralTime(GeneralizedTime::from_unix_duration(whole).expect("a time of this century"))
}

fn extension(extn_id: ObjectIdentifier, critical: bool, value: Vec<u8>) -> Vec<u8> {
    let extn_value = OctetString::new(value).expect("it is short");
    Extension { extn_id, critical, extn_value }.to_der().expect("it encodes")
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    encoded(Tag::Sequence, parts.concat())
}

fn encoded(tag: Tag, value: Vec<u8>) -> Vec<u8> {
    Any::new(tag, value).and_then(|any| any.to_der()).expect("it encodes")
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
