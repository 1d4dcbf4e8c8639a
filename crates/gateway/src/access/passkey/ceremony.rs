//! The two ceremonies as they are verified: Web Authentication Level 3, section 7.1 (registration) and section 7.2
//! (authentication), <https://www.w3.org/TR/webauthn-3/#sctn-rp-operations>. Numbers in comments are steps there.
//!
//! In: what the browser sent, for which host, and what judges a challenge. Out: a credential, or that one signed. Nothing is
//! kept here.

use domain::UserId;
use sha2::{Digest, Sha256};
use store::PasskeyRecord;

use super::data::{Asserted, AttestationObject, Attested, AuthenticatorData, ClientData, Given, by_name};
use super::key::PublicKey;
use super::{PasskeyError, RelyingParty};

/// A credential that was registered.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) credential: Vec<u8>,
    pub(super) public_key: Vec<u8>,
    pub(super) sign_count: u32,
    pub(super) backup_eligible: bool,
}

/// Verifies a registration; gives what the judge of challenges gave with it.
pub(super) fn registered<F>(
    given: &Given<Attested>,
    party: &RelyingParty,
    judge: impl FnOnce(&[u8]) -> Result<F, PasskeyError>,
) -> Result<(Registered, F), PasskeyError> {
    let client_data = &given.response.client_data.0;
    let fresh = said(client_data, "webauthn.create", party, judge)?;
    let object = AttestationObject::read(&given.response.attestation_object.0)?;
    let data = AuthenticatorData::read(&object.authenticator_data)?;
    stands(&data, party)?;
    let made = data.credential.as_ref().ok_or(PasskeyError::Malformed("no credential was made"))?;
    if made.id != given.raw_id.0 {
        return Err(PasskeyError::Malformed("the credential is called two ways"));
    }
    let key = PublicKey::read(&made.public_key)?;
    let signed = [&object.authenticator_data[..], &Sha256::digest(client_data)].concat();
    attested(&object, &key, &signed)?;
    let registered = Registered {
        credential: made.id.clone(),
        public_key: made.public_key.clone(),
        sign_count: data.sign_count,
        backup_eligible: data.is_backup_eligible(),
    };
    Ok((registered, fresh))
}

/// We ask for no attestation. Browsers leave one alone that says nothing of the device: the new key's own signature
/// (section 5.1.3, `none`; section 8.2, self attestation).
fn attested(object: &AttestationObject, key: &PublicKey, signed: &[u8]) -> Result<(), PasskeyError> {
    let statement = &object.statement;
    let refused = || Err(PasskeyError::Attestation(object.format.chars().take(32).collect()));
    match object.format.as_str() {
        "none" if statement.is_empty() => Ok(()),
        "packed" if by_name(statement, "x5c").is_none() => {
            let algorithm = by_name(statement, "alg").and_then(|value| value.as_integer());
            let signature = by_name(statement, "sig").and_then(|value| value.as_bytes());
            match signature {
                Some(signature) if algorithm == Some(key.algorithm().into()) => key.verify(signed, signature),
                _ => refused(),
            }
        }
        _ => refused(),
    }
}

/// Verifies that a passkey signed; gives its new count, and what the judge of challenges gave.
pub(super) fn asserted<F>(
    given: &Given<Asserted>,
    passkey: &PasskeyRecord,
    party: &RelyingParty,
    judge: impl FnOnce(&[u8]) -> Result<F, PasskeyError>,
) -> Result<(u32, F), PasskeyError> {
    let response = &given.response;
    // 6: nobody was named before, so the handle names whose it is.
    let handle = response.user_handle.as_ref().ok_or(PasskeyError::NoUserHandle)?;
    if handle.0 != user_handle(passkey.user) {
        return Err(PasskeyError::OtherUser);
    }
    if passkey.rp_id != party.id {
        return Err(PasskeyError::OtherHost { registered: passkey.rp_id.clone() });
    }
    let fresh = said(&response.client_data.0, "webauthn.get", party, judge)?;
    let data = AuthenticatorData::read(&response.authenticator_data.0)?;
    stands(&data, party)?;
    // 19
    if data.is_backup_eligible() != passkey.backup_eligible {
        return Err(PasskeyError::Backup);
    }
    let signed = [&response.authenticator_data.0[..], &Sha256::digest(&response.client_data.0)].concat();
    PublicKey::read(&passkey.public_key)?.verify(&signed, &response.signature.0)?;
    // 22: the store compares it again when it is written.
    let (count, last) = (data.sign_count, passkey.sign_count);
    if (count, last) != (0, 0) && count <= last {
        return Err(PasskeyError::Counter { count, last });
    }
    Ok((count, fresh))
}

/// What a user is called to authenticators: its id, which says nothing of the person (section 14.6.1).
pub(super) fn user_handle(user: UserId) -> [u8; 16] {
    *user.0.as_bytes()
}

/// What the browser says (7.1: 7 to 11, 7.2: 10 to 14).
fn said<F>(
    client_data: &[u8],
    kind: &str,
    party: &RelyingParty,
    judge: impl FnOnce(&[u8]) -> Result<F, PasskeyError>,
) -> Result<F, PasskeyError> {
    let said = ClientData::read(client_data)?;
    if said.kind != kind {
        return Err(PasskeyError::Kind);
    }
    let fresh = judge(&said.challenge.0)?;
    if said.origin != party.origin {
        return Err(PasskeyError::Origin {
            given: said.origin.chars().take(200).collect(),
            ours: party.origin.clone(),
        });
    }
    if said.cross_origin || said.top_origin.is_some() {
        return Err(PasskeyError::Framed);
    }
    Ok(fresh)
}

/// What the authenticator says (7.1: 14 to 18, 7.2: 15 to 18).
fn stands(data: &AuthenticatorData, party: &RelyingParty) -> Result<(), PasskeyError> {
    if data.rp_id_hash[..] != Sha256::digest(party.id.as_bytes())[..] {
        return Err(PasskeyError::RpId { ours: party.id.clone() });
    }
    if !data.is_present() || !data.is_verified() {
        return Err(PasskeyError::NotVerified);
    }
    if data.is_backed_up() && !data.is_backup_eligible() {
        return Err(PasskeyError::Backup);
    }
    Ok(())
}
