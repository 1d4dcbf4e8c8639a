//! Public keys of passkeys, as `COSE_Key` (RFC 9052, section 7; RFC 9053, section 7; RFC 8230, section 4).
//!
//! In: CBOR of an authenticator. Out: a key that verifies signatures: ES256, EdDSA with Ed25519, or RS256, which Windows
//! Hello makes. What is of another kind, or no point of its curve, is refused when it is registered.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use ciborium::Value;

use super::PasskeyError;
use super::data::{by_number, whole};

/// The algorithms that are asked for, best first, by their numbers at IANA.
pub(super) const ALGORITHMS: [i64; 3] = [EDDSA, ES256, RS256];

const EDDSA: i64 = -8;
const ES256: i64 = -7;
const RS256: i64 = -257;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// A point of P-256, uncompressed.
    Es256(Vec<u8>),
    Ed25519(Vec<u8>),
    Rs256 {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
}

impl PublicKey {
    pub(super) fn read(cose: &[u8]) -> Result<Self, PasskeyError> {
        let map = whole(cose)?;
        let number = |label| by_number(&map, label).and_then(|value| value.as_integer()?.try_into().ok());
        let bytes = |label| by_number(&map, label).and_then(Value::as_bytes).cloned();
        let (kind, algorithm): (Option<i64>, Option<i64>) = (number(1), number(3));
        let is = |kty, alg| kind == Some(kty) && algorithm == Some(alg);
        let missing = || PasskeyError::Malformed("the public key is not whole");
        if is(2, ES256) && number(-1) == Some(1) {
            let (x, y) = bytes(-2).zip(bytes(-3)).ok_or_else(missing)?;
            if (x.len(), y.len()) != (32, 32) {
                return Err(missing());
            }
            let point = [&[4][..], &x, &y].concat();
            ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &point).map_err(|_| missing())?;
            return Ok(Self::Es256(point));
        }
        if is(1, EDDSA) && number(-1) == Some(6) {
            let point = bytes(-2).filter(|point| point.len() == 32).ok_or_else(missing)?;
            ParsedPublicKey::new(&ED25519, &point).map_err(|_| missing())?;
            return Ok(Self::Ed25519(point));
        }
        if is(3, RS256) {
            let (modulus, exponent) = bytes(-1).zip(bytes(-2)).ok_or_else(missing)?;
            // 2048 to 8192 bits, as signatures are verified.
            if !(256..=1024).contains(&modulus.len()) || !(1..=8).contains(&exponent.len()) {
                return Err(missing());
            }
            return Ok(Self::Rs256 { modulus, exponent });
        }
        Err(PasskeyError::Algorithm(algorithm.unwrap_or_default()))
    }

    pub(super) fn algorithm(&self) -> i64 {
        match self {
            Self::Es256(_) => ES256,
            Self::Ed25519(_) => EDDSA,
            Self::Rs256 { .. } => RS256,
        }
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), PasskeyError> {
        let verified =
            match self {
                Self::Es256(point) => {
                    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature)
                }
                Self::Ed25519(point) => UnparsedPublicKey::new(&ED25519, point).verify(message, signature),
                Self::Rs256 { modulus, exponent } => RsaPublicKeyComponents { n: modulus, e: exponent }
                    .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
            };
        verified.map_err(|_| PasskeyError::Signature)
    }
}
