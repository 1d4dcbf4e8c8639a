//! ID tokens: whether one holds (OpenID Connect Core 1.0, section 3.1.3.7), and what it says.
//!
//! Signatures of RS256, ES256 and EdDSA by keys of the provider alone: what the token says of its own key is not heard, and
//! a shared secret signs nothing here. Times are compared with the clock that is handed in.

use domain::Time;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::access::Secret;

/// How far the provider's clock may be off, in seconds.
const LEEWAY: i64 = 60;

/// What a token must say.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    pub(super) now: Time,
}

/// Why a token does not hold.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Invalid {
    #[error("it is no token")]
    Malformed,
    #[error("it is signed by a way other than RS256, ES256 and EdDSA")]
    Algorithm,
    #[error("it is signed with a key that the provider does not name")]
    UnknownKey,
    #[error("its signature is wrong, or it is of another issuer or for another client")]
    Signature,
    #[error("it was given to another party")]
    Party,
    #[error("it is expired, or of the future; compare the clocks")]
    Time,
    #[error("it is the answer to another request")]
    Nonce,
}

/// What is said of a person.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Claims {
    pub(super) sub: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Claims {
    pub(super) fn has(&self, claim: &str) -> bool {
        self.rest.contains_key(claim)
    }

    /// With what else is said; what was signed stays.
    pub(super) fn with(mut self, more: Self) -> Self {
        for (claim, value) in more.rest {
            self.rest.entry(claim).or_insert(value);
        }
        self
    }

    /// The groups of a claim: a list, or one.
    pub(super) fn groups(&self, claim: &str) -> Vec<String> {
        match self.rest.get(claim) {
            Some(Value::Array(groups)) => {
                groups.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            Some(Value::String(group)) => vec![group.clone()],
            _ => Vec::new(),
        }
    }

    /// What the person is called there.
    pub(super) fn called(&self) -> &str {
        self.text("preferred_username").or_else(|| self.text("email")).unwrap_or(&self.sub)
    }

    /// What people call it.
    pub(super) fn display_name(&self) -> &str {
        self.text("name").filter(|name| name.chars().count() <= 64).unwrap_or_else(|| self.called())
    }

    fn text(&self, claim: &str) -> Option<&str> {
        self.rest.get(claim).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    fn number(&self, claim: &str) -> Option<i64> {
        self.rest.get(claim).and_then(Value::as_f64).map(|seconds| seconds as i64)
    }
}

/// The claims of a token that holds.
pub(super) fn verify(token: &Secret, keys: &JwkSet, expected: &Expected<'_>) -> Result<Claims, Invalid> {
    let header = jsonwebtoken::decode_header(token.expose()).map_err(|_| Invalid::Malformed)?;
    if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA) {
        return Err(Invalid::Algorithm);
    }
    let key = key_of(keys, header.kid.as_deref(), header.alg).ok_or(Invalid::UnknownKey)?;
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(&[expected.issuer]);
    validation.set_audience(&[expected.client_id]);
    validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
    // By the clock that is handed in, below.
    validation.validate_exp = false;
    let claims: Claims =
        jsonwebtoken::decode(token.expose(), &key, &validation).map_err(|_| Invalid::Signature)?.claims;
    let others = matches!(claims.rest.get("aud"), Some(Value::Array(parties)) if parties.len() > 1);
    match claims.text("azp") {
        Some(party) if party != expected.client_id => return Err(Invalid::Party),
        None if others => return Err(Invalid::Party),
        _ => {}
    }
    let now = expected.now.wall_us.div_euclid(1_000_000);
    let in_time = claims.number("exp").is_some_and(|end| now < end.saturating_add(LEEWAY))
        && claims.number("iat").is_some_and(|made| made.saturating_sub(LEEWAY) <= now);
    if !in_time {
        return Err(Invalid::Time);
    }
    if claims.text("nonce") != Some(expected.nonce) {
        return Err(Invalid::Nonce);
    }
    Ok(claims)
}

/// The key of a name, or the only one there is where the token names none, fit for the algorithm.
fn key_of(keys: &JwkSet, kid: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
    let fits = |key: &&Jwk| {
        let signs = !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
        let named = kid.is_none_or(|kid| key.common.key_id.as_deref() == Some(kid));
        let decoding =
            DecodingKey::from_jwk(key).is_ok_and(|decoding| decoding.family() == algorithm.family());
        signs && named && decoding
    };
    let mut fitting = keys.keys.iter().filter(fits);
    let key = fitting.next()?;
    if kid.is_none() && fitting.next().is_some() {
        return None;
    }
    DecodingKey::from_jwk(key).ok()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::json;

    use super::*;

    const NOW: Time = Time { boot_us: 0, wall_us: 1_767_225_600_000_000 };
    const EXPECTED: Expected<'_> =
        Expected { issuer: "https://id.example", client_id: "homeostat", nonce: "n", now: NOW };

    struct Signer {
        key: EncodingKey,
        keys: JwkSet,
    }

    fn signer() -> Signer {
        let document = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "one", "use": "sig"});
        let keys = JwkSet { keys: vec![serde_json::from_value(key).unwrap()] };
        Signer { key: EncodingKey::from_ed_der(document.as_ref()), keys }
    }

    impl Signer {
        fn judged(&self, kid: &str, change: impl FnOnce(&mut Value)) -> Result<Claims, Invalid> {
            let now = NOW.wall_us / 1_000_000;
            let mut claims = json!({
                "iss": "https://id.example", "aud": "homeostat", "sub": "s", "nonce": "n",
                "exp": now + 300, "iat": now, "groups": ["sre"],
            });
            change(&mut claims);
            let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::EdDSA) };
            let token = jsonwebtoken::encode(&header, &claims, &self.key).unwrap();
            verify(&Secret::new(token), &self.keys, &EXPECTED)
        }
    }

    #[test]
    fn a_token_holds_for_its_issuer_client_request_and_time_alone() {
        let signer = signer();
        let claims = signer.judged("one", |_| {}).unwrap();
        assert_eq!((claims.sub.as_str(), claims.groups("groups")), ("s", vec!["sre".to_owned()]));
        let now = NOW.wall_us / 1_000_000;
        let cases: [(&str, Value, Invalid); 8] = [
            ("iss", json!("https://other.example"), Invalid::Signature),
            ("aud", json!("another"), Invalid::Signature),
            ("aud", json!(["homeostat", "another"]), Invalid::Party),
            ("azp", json!("another"), Invalid::Party),
            ("nonce", json!("another"), Invalid::Nonce),
            ("nonce", Value::Null, Invalid::Nonce),
            ("exp", json!(now - 60), Invalid::Time),
            ("iat", json!(now + 61), Invalid::Time),
        ];
        for (claim, value, invalid) in cases {
            let said = format!("{claim} {value}");
            let judged = signer.judged("one", |claims| claims[claim] = value);
            assert_eq!(judged.map(|claims| claims.sub), Err(invalid), "{said}");
        }
    }

    #[test]
    fn another_key_and_another_way_to_sign_are_refused() {
        let (signer, other) = (signer(), signer());
        assert_eq!(signer.judged("two", |_| {}).map(|claims| claims.sub), Err(Invalid::UnknownKey));
        let mixed = Signer { key: other.key, keys: signer.keys };
        assert_eq!(mixed.judged("one", |_| {}).map(|claims| claims.sub), Err(Invalid::Signature));
        let public = serde_json::to_vec(&mixed.keys).unwrap();
        let shared = jsonwebtoken::encode(
            &Header::new(Algorithm::HS256),
            &json!({"sub": "s"}),
            &EncodingKey::from_secret(&public),
        );
        let shared = verify(&Secret::new(shared.unwrap()), &mixed.keys, &EXPECTED);
        assert_eq!(shared.map(|claims| claims.sub), Err(Invalid::Algorithm));
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let none = format!("{}.{}.", part("{\"alg\":\"none\"}"), part("{\"sub\":\"s\"}"));
        for token in [none.as_str(), "", "a.b.c"] {
            let judged = verify(&Secret::new(token), &mixed.keys, &EXPECTED);
            assert_eq!(judged.map(|claims| claims.sub), Err(Invalid::Malformed), "{token}");
        }
    }
}
