//! An authenticator with its browser, made of keys alone: it says what it is told to say.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ciborium::cbor;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::ORIGIN;

/// Makes the statement of an attestation, of what it has to sign.
pub(super) type Statement = fn(&Authenticator, &[u8]) -> ciborium::Value;

pub(super) enum Pair {
    Es256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rs256(RsaKeyPair),
}

/// An authenticator with one passkey, and what it and its browser say.
pub(super) struct Authenticator {
    pub(super) pair: Pair,
    pub(super) id: Vec<u8>,
    pub(super) user_handle: String,
    pub(super) count: u32,
    pub(super) flags: u8,
    pub(super) host: String,
    pub(super) origin: String,
    /// Beside type, challenge and origin.
    pub(super) more: Value,
}

pub(super) const UP: u8 = 1;
pub(super) const UV: u8 = 4;
pub(super) const BE: u8 = 8;
pub(super) const BS: u8 = 16;
pub(super) const AT: u8 = 64;
pub(super) const ED: u8 = 128;

pub(super) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Authenticator {
    pub(super) fn new() -> Self {
        Self::with(Pair::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap()))
    }

    pub(super) fn with(pair: Pair) -> Self {
        Self {
            pair,
            id: b"credential-one".to_vec(),
            user_handle: String::new(),
            count: 1,
            flags: UP | UV,
            host: "localhost".to_owned(),
            origin: ORIGIN.to_owned(),
            more: json!({"crossOrigin": false}),
        }
    }

    pub(super) fn cose(&self) -> Vec<u8> {
        let bytes = |bytes: &[u8]| ciborium::Value::Bytes(bytes.to_vec());
        let map = match &self.pair {
            Pair::Es256(pair) => {
                let point = pair.public_key().as_ref();
                cbor!({1 => 2, 3 => -7, -1 => 1, -2 => bytes(&point[1..33]), -3 => bytes(&point[33..])})
            }
            Pair::Ed25519(pair) => cbor!({1 => 1, 3 => -8, -1 => 6, -2 => bytes(pair.public_key().as_ref())}),
            Pair::Rs256(pair) => {
                // RSAPublicKey (RFC 8017, A.1.1) of 2048 bits: both lengths are always the same.
                let der = pair.public_key().as_ref();
                cbor!({1 => 3, 3 => -257, -1 => bytes(&der[9..265]), -2 => bytes(&der[267..])})
            }
        };
        let mut written = Vec::new();
        ciborium::into_writer(&map.unwrap(), &mut written).unwrap();
        written
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Es256(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
        }
    }

    pub(super) fn client_data(&self, kind: &str, options: &Value) -> String {
        let mut said = json!({"type": kind, "challenge": options["challenge"], "origin": self.origin});
        for (name, value) in self.more.as_object().unwrap() {
            said[name] = value.clone();
        }
        said.to_string()
    }

    fn data(&self, flags: u8, rest: &[u8]) -> Vec<u8> {
        let head = Sha256::digest(self.host.as_bytes());
        [&head[..], &[flags], &self.count.to_be_bytes(), rest].concat()
    }

    /// What `create()` gives, with another format of attestation than none where `statement` says so.
    pub(super) fn create_with(&mut self, options: &Value, statement: Option<(&str, Statement)>) -> String {
        self.user_handle = options["user"]["id"].as_str().unwrap().to_owned();
        let client_data = self.client_data("webauthn.create", options);
        let length = u16::try_from(self.id.len()).unwrap().to_be_bytes();
        let credential = [&[0; 16][..], &length, &self.id, &self.cose()].concat();
        let data = self.data(self.flags | AT, &credential);
        let signed = [&data[..], &Sha256::digest(&client_data)].concat();
        let (format, statement) = match statement {
            None => ("none", cbor!({}).unwrap()),
            Some((format, statement)) => (format, statement(self, &signed)),
        };
        let object =
            cbor!({"fmt" => format, "attStmt" => statement, "authData" => ciborium::Value::Bytes(data)});
        let mut written = Vec::new();
        ciborium::into_writer(&object.unwrap(), &mut written).unwrap();
        let response =
            json!({"clientDataJSON": b64(client_data), "attestationObject": b64(written), "transports": []});
        json!({"type": "public-key", "id": b64(&self.id), "rawId": b64(&self.id), "response": response})
            .to_string()
    }

    pub(super) fn create(&mut self, options: &Value) -> String {
        self.create_with(options, None)
    }

    pub(super) fn get_with(&self, options: &Value, flags: u8, rest: &[u8]) -> Value {
        let client_data = self.client_data("webauthn.get", options);
        let data = self.data(flags, rest);
        let signature = self.sign(&[&data[..], &Sha256::digest(&client_data)].concat());
        let response = json!({
            "clientDataJSON": b64(client_data), "authenticatorData": b64(data), "signature": b64(signature),
            "userHandle": self.user_handle,
        });
        json!({"type": "public-key", "id": b64(&self.id), "rawId": b64(&self.id), "response": response})
    }

    pub(super) fn get(&self, options: &Value) -> String {
        self.get_with(options, self.flags, &[]).to_string()
    }
}
