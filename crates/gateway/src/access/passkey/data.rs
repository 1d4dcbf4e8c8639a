//! What authenticators and browsers send: client data, authenticator data, attestation objects.
//!
//! In: bytes that anybody may have made. Out: their parts, or [`PasskeyError::Malformed`]; nothing is judged here but form.
//! The sections named are those of Web Authentication Level 3, <https://www.w3.org/TR/webauthn-3/>.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ciborium::Value;
use serde::{Deserialize, Deserializer, de};

use super::PasskeyError;

/// The longest id of a credential (section 5.8.3).
const CREDENTIAL_MAX: usize = 1023;

const PRESENT: u8 = 1;
const VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const ATTESTED: u8 = 1 << 6;
const EXTENSIONS: u8 = 1 << 7;

/// Bytes as they stand in JSON: base64url without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        URL_SAFE_NO_PAD.decode(text).map(Self).map_err(de::Error::custom)
    }
}

/// What `navigator.credentials` gave, by `toJSON()` (sections 5.1, 5.2): what `R` is of depends on which of its functions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Given<R> {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) raw_id: Bytes,
    pub(super) response: R,
}

/// Of `create()`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attested {
    #[serde(rename = "clientDataJSON")]
    pub(super) client_data: Bytes,
    pub(super) attestation_object: Bytes,
}

/// Of `get()`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asserted {
    #[serde(rename = "clientDataJSON")]
    pub(super) client_data: Bytes,
    pub(super) authenticator_data: Bytes,
    pub(super) signature: Bytes,
    pub(super) user_handle: Option<Bytes>,
}

impl<R: de::DeserializeOwned> Given<R> {
    pub(super) fn read(json: &str) -> Result<Self, PasskeyError> {
        let given: Self = serde_json::from_str(json).map_err(|_| {
            PasskeyError::Malformed("the answer of the browser is not of the form it has to be")
        })?;
        if given.kind != "public-key" {
            return Err(PasskeyError::Malformed("the credential is no public key"));
        }
        Ok(given)
    }
}

/// What the browser says it signed for (section 5.8.1).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClientData {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) challenge: Bytes,
    pub(super) origin: String,
    #[serde(default)]
    pub(super) cross_origin: bool,
    pub(super) top_origin: Option<String>,
}

impl ClientData {
    pub(super) fn read(json: &[u8]) -> Result<Self, PasskeyError> {
        serde_json::from_slice(json).map_err(|_| PasskeyError::Malformed("the client data cannot be read"))
    }
}

/// What the authenticator says of itself and of the person (section 6.1).
#[derive(Debug)]
pub(super) struct AuthenticatorData {
    pub(super) rp_id_hash: [u8; 32],
    flags: u8,
    pub(super) sign_count: u32,
    /// Where a credential was made: it.
    pub(super) credential: Option<Credential>,
}

/// A credential that was made (section 6.5.1).
#[derive(Debug)]
pub(super) struct Credential {
    pub(super) id: Vec<u8>,
    /// As `COSE_Key`.
    pub(super) public_key: Vec<u8>,
}

impl AuthenticatorData {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, PasskeyError> {
        let short = PasskeyError::Malformed("the authenticator data is too short");
        let Some((rp_id_hash, rest)) = bytes.split_first_chunk::<32>() else { return Err(short) };
        let Some(([flags, count @ ..], mut rest)) = rest.split_first_chunk::<5>() else { return Err(short) };
        let flags = *flags;
        let credential =
            if flags & ATTESTED == 0 { None } else { Some(Credential::read(&mut rest).ok_or(short)?) };
        if flags & EXTENSIONS != 0 && !first(&mut rest).is_some_and(|extensions| extensions.is_map()) {
            return Err(PasskeyError::Malformed("the extensions of the authenticator data cannot be read"));
        }
        if !rest.is_empty() {
            return Err(PasskeyError::Malformed("something follows the authenticator data"));
        }
        let sign_count = u32::from_be_bytes(*count);
        Ok(Self { rp_id_hash: *rp_id_hash, flags, sign_count, credential })
    }

    pub(super) fn is_present(&self) -> bool {
        self.flags & PRESENT != 0
    }

    pub(super) fn is_verified(&self) -> bool {
        self.flags & VERIFIED != 0
    }

    pub(super) fn is_backup_eligible(&self) -> bool {
        self.flags & BACKUP_ELIGIBLE != 0
    }

    pub(super) fn is_backed_up(&self) -> bool {
        self.flags & BACKED_UP != 0
    }
}

impl Credential {
    /// After the model of the authenticator, which nobody asked for.
    fn read(rest: &mut &[u8]) -> Option<Self> {
        let (_model, after) = rest.split_first_chunk::<16>()?;
        let (length, after) = after.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (id, after) = after.split_at_checked(length)?;
        let mut behind = after;
        first(&mut behind)?;
        let public_key = after[..after.len() - behind.len()].to_vec();
        *rest = behind;
        (1..=CREDENTIAL_MAX).contains(&length).then(|| Self { id: id.to_vec(), public_key })
    }
}

/// The parts of an attestation object (section 6.5.4).
#[derive(Debug)]
pub(super) struct AttestationObject {
    pub(super) format: String,
    pub(super) statement: Vec<(Value, Value)>,
    pub(super) authenticator_data: Vec<u8>,
}

impl AttestationObject {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, PasskeyError> {
        let map = whole(bytes)?;
        let parts = || {
            Some(Self {
                format: by_name(&map, "fmt")?.as_text()?.to_owned(),
                statement: by_name(&map, "attStmt")?.as_map()?.clone(),
                authenticator_data: by_name(&map, "authData")?.as_bytes()?.clone(),
            })
        };
        parts().ok_or(PasskeyError::Malformed("the attestation object is not whole"))
    }
}

/// The map that these bytes are, to the last of them.
pub(super) fn whole(mut bytes: &[u8]) -> Result<Vec<(Value, Value)>, PasskeyError> {
    let value = first(&mut bytes).filter(|_| bytes.is_empty());
    value.and_then(|value| value.into_map().ok()).ok_or(PasskeyError::Malformed("it is no map of CBOR"))
}

/// The first value of CBOR, taken off.
fn first(bytes: &mut &[u8]) -> Option<Value> {
    ciborium::from_reader(bytes).ok()
}

pub(super) fn by_name<'a>(map: &'a [(Value, Value)], name: &str) -> Option<&'a Value> {
    map.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value)
}

pub(super) fn by_number(map: &[(Value, Value)], number: i64) -> Option<&Value> {
    map.iter().find(|(key, _)| key.as_integer() == Some(number.into())).map(|(_, value)| value)
}
