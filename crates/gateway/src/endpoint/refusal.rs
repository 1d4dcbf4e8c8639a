//! The codes an endpoint may refuse with.
//!
//! In: an endpoint's declaration, and what its handler adds ([`Endpoint::refuses`]). Out: the codes, as the document lists
//! them; tests hold every refusal they see against that list.

use axum::http::Method;

use super::{Access, Effect, Endpoint, Precondition};
use crate::api::SECRETS;
use crate::problem::Code;

/// What any request may meet on its way to a handler.
pub(crate) const ON_THE_WAY: [Code; 10] = [
    Code::BadRequest,
    Code::WrongToken,
    Code::TokenExpired,
    Code::TokenRevoked,
    Code::BodyTooLarge,
    Code::WrongHost,
    Code::RateLimited,
    // An unknown parameter is refused everywhere.
    Code::InvalidField,
    Code::Internal,
    Code::TooSlow,
];

impl Endpoint {
    /// Adds codes that the handler gives by itself.
    pub(crate) fn refuses(mut self, codes: impl IntoIterator<Item = Code>) -> Self {
        self.refusals.extend(codes);
        self
    }

    /// Every code it may refuse with, in the order of the reference.
    pub(crate) fn refusals(&self) -> Vec<Code> {
        let mut all: Vec<Code> = ON_THE_WAY.into_iter().chain(self.refusals.iter().copied()).collect();
        match self.access {
            Access::Open => {}
            Access::SignedIn => all.push(Code::TokenMissing),
            Access::Needs(_) => all.extend([Code::TokenMissing, Code::Forbidden]),
        }
        if self.effect == Effect::Writes {
            all.extend([Code::WrongOrigin, Code::ForgedRequest, Code::MalformedJson, Code::NotJson]);
        }
        if self.path.contains('{') {
            all.push(Code::NotFound);
        }
        if self.is_repeatable() {
            all.extend([Code::IdempotencyInUse, Code::IdempotencyMismatch, Code::Conflict]);
        }
        if !matches!(self.precondition, Precondition::Waived) {
            all.push(Code::PreconditionFailed);
        }
        if matches!(self.precondition, Precondition::Of { .. }) {
            // Somebody else overwrites the same thing.
            all.push(Code::Busy);
        }
        Code::ALL.iter().copied().filter(|code| all.contains(code)).collect()
    }

    /// Whether it takes an `Idempotency-Key`: answers that hold a new secret are shown once and kept nowhere.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.method == Method::POST && !self.path.starts_with(SECRETS)
    }
}
