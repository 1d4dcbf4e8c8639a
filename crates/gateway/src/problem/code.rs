//! The stable codes of errors: what clients match on, and what the page of each code says.
//!
//! A code has one status, one meaning and one remedy. Served at `/docs/errors/CODE`, and part of the reference.

use axum::http::StatusCode;

macro_rules! codes {
    ($($variant:ident $name:literal $status:ident $meaning:literal $remedy:literal;)+) => {
        /// What went wrong, for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code {
            $(#[doc = $meaning] $variant,)+
        }

        impl Code {
            /// Every code, in the order of the reference.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name on the wire.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            pub(crate) fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }

            /// When it is given, as one sentence.
            pub(crate) fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }

            /// What to do about it, as one sentence.
            pub(crate) fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)+ }
            }
        }
    };
}

codes! {
    BadRequest "bad_request" BAD_REQUEST
        "The request cannot be read: its address or its headers are malformed."
        "Check the address and the headers.";
    MalformedJson "malformed_json" BAD_REQUEST
        "The body is no valid JSON, or not of the kind that is expected."
        "Correct the body; the detail says where it stops making sense.";
    InvalidQuery "invalid_query" BAD_REQUEST
        "The GraphQL document cannot be read, or does not fit the schema."
        "Correct the document; the error says where, and introspection or GraphiQL shows the schema.";
    QueryTooComplex "query_too_complex" BAD_REQUEST
        "The query asks for more at a time than is answered."
        "Ask for fewer fields, fewer rows or a shorter range; the detail names the bound.";
    TokenMissing "token_missing" UNAUTHORIZED
        "What was asked for needs to know who asks, and nothing said so."
        "Send `Authorization: Bearer TOKEN`, or sign in on the page.";
    WrongToken "wrong_token" UNAUTHORIZED
        "The token is not known here."
        "Make a new one with `homeostat token create`, or read the one in the file `token` in the data directory.";
    TokenExpired "token_expired" UNAUTHORIZED
        "The token was good until a time that is over."
        "Make a new one with `homeostat token create`.";
    TokenRevoked "token_revoked" UNAUTHORIZED
        "The token was taken back."
        "Ask who took it back, or make a new one with `homeostat token create`.";
    SessionEnded "session_ended" UNAUTHORIZED
        "The session of the browser ended while something was kept open by it."
        "Sign in again.";
    SignInRefused "sign_in_refused" UNAUTHORIZED
        "Name, password or code are not those of a user who may sign in."
        "Try again; after several attempts each takes longer.";
    SecondFactorNeeded "code_needed" UNAUTHORIZED
        "The password is right, and this user has a second factor."
        "Send the code that the authenticator shows, or a recovery code.";
    OidcRefused "oidc_refused" UNAUTHORIZED
        "What the OpenID provider answered does not hold: it is for somebody else, for another server, or too old."
        "Begin to sign in again.";
    PasskeyRefused "passkey_refused" UNAUTHORIZED
        "What a passkey signed does not hold, or the passkey is not known here."
        "Try again; the detail says what is wrong with it. A password and code sign in as well.";
    Forbidden "forbidden" FORBIDDEN
        "Who asks is known, and holds no role that allows this."
        "Ask an admin for one of the roles that the detail names.";
    BeyondOwner "beyond_owner" FORBIDDEN
        "A token would hold more than who it belongs to."
        "Ask for roles and a scope within those of its owner.";
    OidcNoRole "oidc_no_role" FORBIDDEN
        "The OpenID provider knows who signs in, and no group of theirs has a role here."
        "Map one of their groups to a role in `[oidc]` of the configuration.";
    ForgedRequest "forged_request" FORBIDDEN
        "A write by cookie was not sent by a page of this server."
        "Open the page again and repeat it there; programs send a token instead.";
    WrongOrigin "wrong_origin" FORBIDDEN
        "A write came from a web page that is not ours, or without saying from which."
        "Write from this server's own page, or with a token instead of the page's cookie.";
    NotFound "not_found" NOT_FOUND
        "There is nothing of this name or id."
        "`listed_at` is the address of a list of those there are, where there is one.";
    OidcNotConfigured "oidc_not_configured" NOT_FOUND
        "No OpenID provider is configured here."
        "Set `[oidc]` in the configuration.";
    WrongMethod "wrong_method" METHOD_NOT_ALLOWED
        "The address exists and does not take this method."
        "Use one of those that the `Allow` header names.";
    BodyTooSlow "body_too_slow" REQUEST_TIMEOUT
        "The body came too slowly, and was not waited for."
        "Send it again, in one go.";
    Conflict "conflict" CONFLICT
        "It is not in a state in which this could be done."
        "Read it again; the detail says in which state it is.";
    NameTaken "name_taken" CONFLICT
        "Something of this name is there already."
        "Choose another name.";
    ChangedMeanwhile "changed_meanwhile" CONFLICT
        "Something else was changed at the same time."
        "Look again, and repeat what still holds.";
    NoSealingKey "no_sealing_key" CONFLICT
        "Secrets of a second factor cannot be kept: there is no key to seal them with."
        "Start the server with a data directory that it can write to.";
    Refused "refused" CONFLICT
        "The guard, a safety check or a switch refuses."
        "The detail names the rule with its limit and the value that was seen.";
    IdempotencyInUse "idempotency_in_use" CONFLICT
        "A request with the same idempotency key is being answered."
        "Wait for its answer, then send it again: the same answer is given.";
    PreconditionFailed "precondition_failed" PRECONDITION_FAILED
        "What is to be overwritten changed since it was read."
        "Read it again, and send `If-Match` with its new `ETag`.";
    BodyTooLarge "body_too_large" PAYLOAD_TOO_LARGE
        "The body has more bytes than are taken."
        "Send less at a time.";
    NotJson "not_json" UNSUPPORTED_MEDIA_TYPE
        "The body is not declared to be JSON."
        "Send it with `Content-Type: application/json`.";
    WrongHost "wrong_host" MISDIRECTED_REQUEST
        "The request names a host that is not this server."
        "Open the address that the detail names.";
    InvalidField "invalid_field" UNPROCESSABLE_ENTITY
        "A field of the body or a query parameter is missing, unknown or out of range; `field` names it."
        "Correct the field; the detail says what is allowed.";
    Unsupported "unsupported" UNPROCESSABLE_ENTITY
        "The provider cannot do this on this machine."
        "The detail says what would change that; `homeostat status` lists what can be done.";
    IdempotencyMismatch "idempotency_mismatch" UNPROCESSABLE_ENTITY
        "The idempotency key was used before, for another request."
        "Use a new key for a new request.";
    TooManyRequests "too_many_requests" TOO_MANY_REQUESTS
        "More is asked than is answered at a time."
        "Wait as long as `Retry-After` says.";
    TooManyAttempts "too_many_attempts" TOO_MANY_REQUESTS
        "Too many attempts to sign in failed, of this account or from this address."
        "Wait as long as `Retry-After` says.";
    RateLimited "rate_limited" TOO_MANY_REQUESTS
        "Who asks has asked more often than one may."
        "Wait as long as `Retry-After` says, and ask less often; the bounds are `gateway.requests_per_second` and `gateway.anonymous_requests_per_second`.";
    ShareTaken "share_taken" TOO_MANY_REQUESTS
        "Who asks has as many pages updated live as are left for everybody else."
        "Close one, or reload instead.";
    Overloaded "overloaded" TOO_MANY_REQUESTS
        "More telemetry comes than can be stored."
        "Wait as long as `Retry-After` says, then send it again.";
    Backlog "backlog" TOO_MANY_REQUESTS
        "Compaction of telemetry falls behind, and intake waits for it."
        "Wait as long as `Retry-After` says, then send it again.";
    Internal "internal" INTERNAL_SERVER_ERROR
        "The store or a loop failed; the request was fine."
        "Read the log of `homeostat serve`; send it again when the cause is mended.";
    Unsealable "unsealable" INTERNAL_SERVER_ERROR
        "The secret of a second factor cannot be read with the key that is here."
        "Restore the file `access.key` of the data directory, or have the user enrol anew.";
    OidcProvider "oidc_provider" BAD_GATEWAY
        "The OpenID provider does not answer, or not as its protocol says."
        "See whether the issuer in `[oidc]` is right and reachable; sign in with a password meanwhile.";
    Busy "busy" SERVICE_UNAVAILABLE
        "As many passwords are being checked as may be at a time."
        "Wait as long as `Retry-After` says.";
    NoTelemetry "no_telemetry" SERVICE_UNAVAILABLE
        "What is asked about is not kept here: telemetry is switched off."
        "Set `otlp.enabled = true` in the configuration and restart.";
    NotKnownYet "not_known_yet" SERVICE_UNAVAILABLE
        "Nothing was looked at yet: the control plane has just started."
        "Ask again in a few seconds.";
    Unavailable "unavailable" SERVICE_UNAVAILABLE
        "A loop or the provider does not answer."
        "The detail says which, and what to do.";
    TooManyPages "too_many_pages" SERVICE_UNAVAILABLE
        "More pages are updated live than are served at a time."
        "Close one, or reload instead.";
    ArchiveFull "archive_full" INSUFFICIENT_STORAGE
        "The archive has no room: three quarters hold traces that were asked for, or nothing in it may go by itself."
        "Remove archived traces that are not needed, or raise `telemetry.archive_mib`.";
    Disk "disk" SERVICE_UNAVAILABLE
        "The disk does not take what was sent."
        "Make room, then send it again.";
    ObjectStorageAway "object_storage_away" SERVICE_UNAVAILABLE
        "Part of the answer is in object storage, which does not answer."
        "Ask for a later time, or again when the storage is back.";
    TooSlow "too_slow" GATEWAY_TIMEOUT
        "There was no answer within the time that a request may take."
        "What was asked may still happen: look before asking again.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_named_once_and_is_an_error() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
        }
    }
}
